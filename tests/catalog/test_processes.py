"""One catalog, many processes: one winner for each name, and no update is lost."""

import multiprocessing
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from catalog import Catalog, open_storage
from tests.catalog.rivals import POOL, race_to_create, scramble

RIVALS = 4


def run(worker: Callable[..., Any], uri: Path, amount: int) -> list[Any]:
    # A fork would copy the threads' locks of whatever ran in this process before.
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, ProcessPoolExecutor(RIVALS, mp_context=context) as pool:
        barrier = manager.Barrier(RIVALS)
        futures = [pool.submit(worker, str(uri), barrier, i, amount) for i in range(RIVALS)]
        return [future.result(timeout=60) for future in futures]


def test_each_name_has_one_winner(tmp_path: Path) -> None:
    rounds = 25
    won = run(race_to_create, tmp_path, rounds)
    assert sorted(number for mine in won for number in mine) == list(range(rounds))
    catalog = Catalog.open(open_storage(tmp_path), create=False)
    ids = {table.name: table.id for table in catalog.tables()}
    assert ids == {f"gold.race{number}": str(i) for i in range(RIVALS) for number in won[i]}
    # All of them created the lake, too, and one did.
    operations = Counter(change.operation for change in catalog.history())
    assert operations == {"create catalog": 1, "add table": rounds}


def test_no_update_is_lost(tmp_path: Path) -> None:
    Catalog.open(open_storage(tmp_path, durable=False))
    done = run(scramble, tmp_path, 200)
    catalog = Catalog.open(open_storage(tmp_path), create=False)
    history = catalog.history()[::-1]
    assert [change.version for change in history] == list(range(len(history)))
    for rival, acknowledged in enumerate(done):
        recorded = [(c.operation, *c.names) for c in history if c.user == f"rival {rival}"]
        assert recorded == acknowledged
    assert len(history) == 1 + sum(map(len, done))
    # Replayed one after the other, the changes lead to what the catalog holds.
    names: set[str] = set()
    for change in history[1:]:
        match change.operation, *change.names:
            case "add table", name:
                assert name not in names
                names.add(name)
            case "drop table", name:
                names.remove(name)
            case _, old, new:
                assert new not in names
                names.remove(old)
                names.add(new)
    assert names == {table.name for table in catalog.tables()}
    assert names <= set(POOL)
    assert list(tmp_path.rglob(".tmp-*")) == []
