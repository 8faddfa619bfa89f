"""A consumer sees every change once: after crashes, resets, and beside others of its name."""

import contextlib
import multiprocessing
import os
import signal
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lakehouse
from catalog.catalog import Catalog
from catalog.storage import open_storage
from lakehouse.duck.engine import Engine
from lakehouse.testing.watched import Watched
from tests.types.engines import effort, new_table

FEED = {"delta.enableChangeDataFeed": True, "delta.enableDeletionVectors": True}
SCHEMA = {"k": "BIGINT"}
KEPT = {"k": "BIGINT", "change": "VARCHAR", "version": "BIGINT"}
ROWS = "k, _change_type AS change, _commit_version AS version"


def sources(lake):
    return new_table(lake, SCHEMA, properties=FEED), new_table(lake, KEPT)


def seen(batches) -> list[tuple[int, int, bool]]:
    return [(batch.first, batch.last, batch.is_snapshot) for batch in batches]


def state_of(changes) -> Counter:
    rows: Counter = Counter()
    for k, change, _ in changes:
        rows[k] += 1 if change in ("insert", "update_postimage") else -1
    return +rows


def now(table) -> Counter:
    return Counter(k for (k,) in table.read().fetchall())


class StopError(Exception):
    """End a consumer in the middle of a batch."""


@effort(0.08)
@given(
    steps=st.lists(st.sampled_from(["append", "delete", "run", "crash", "late crash"]), max_size=8),
    inside=st.booleans(),
    most=st.sampled_from([None, 1, 2]),
)
def test_what_is_written_for_a_consumer_is_every_change_once(lake, steps, inside, most):
    table, target = sources(lake)
    table.append([{"k": 0}])

    def run(fail: str = "") -> None:
        """Copy all changes to the target; fail at the second batch before, or after, writing it."""
        into = target if inside else None
        for number, batch in enumerate(table.consume("copy", into=into, most_versions=most)):
            if fail == "crash" and number:
                raise StopError
            target.append(batch.rows().select(ROWS), idempotency_key=batch.key)
            if fail == "late crash":
                raise StopError

    for number, step in enumerate(steps):
        match step:
            case "append":
                table.append([{"k": number}, {"k": number + 1}])
            case "delete":
                table.delete(f"k % 3 = {number % 3}")
            case "run":
                run()
            case _:
                with contextlib.suppress(StopError):
                    run(step)
    run()
    changes = target.read().fetchall()
    assert state_of(changes) == now(table)
    versions = sorted({version for _, _, version in changes})
    whole = table.changes(since=versions[0] + 1).select(ROWS).fetchall() if versions else []
    later = [row for row in changes if row[2] != versions[0]]
    assert Counter(later) == Counter(whole)
    before = target.version
    run()
    assert target.version == before


def test_batches_from_the_start_that_is_asked_for(lake):
    table, _ = sources(lake)
    table.append([{"k": 1}])
    table.append([{"k": 2}])
    assert seen(table.consume("a")) == [(2, 2, True)]
    assert seen(table.consume("b", start="now")) == []
    assert seen(table.consume("c", start=1, most_versions=1)) == [(1, 1, False), (2, 2, False)]
    assert seen(table.consume("d", start=9)) == []
    table.delete("k = 1")
    for name in "abc":
        (batch,) = table.consume(name)
        assert (batch.first, batch.last, batch.is_snapshot) == (3, 3, False)
        assert batch.rows().select("k, _change_type, _commit_version").fetchall() == [
            (1, "delete", 3)
        ]
        assert seen(table.consume(name)) == []
    assert seen(table.consume("e", start=1)) == [(1, 3, False)]
    found = {consumer.name: consumer.version for consumer in table.consumers()}
    assert found == dict.fromkeys("abce", 3)


def test_a_snapshot_is_the_table_as_inserts(lake):
    table, _ = sources(lake)
    table.append([{"k": 1}, {"k": 2}])
    table.delete("k = 2")
    (batch,) = table.consume("a")
    assert repr(batch) == "Batch(snapshot of versions 2 to 2)"
    rows = batch.rows()
    assert rows.columns == table.changes(since=1).columns
    assert rows.fetchall() == [(1, "insert", 2, table.snapshot().time)]


def test_a_batch_that_comes_again_is_the_same(lake):
    table, _ = sources(lake)
    table.append([{"k": 1}])
    first = next(iter(table.consume("a")))
    table.append([{"k": 2}])
    again = next(iter(table.consume("a")))
    assert (first.first, first.last, first.key) == (again.first, again.last, again.key)
    assert again.rows().select("k").fetchall() == [(1,)]
    for batch in table.consume("a"):
        if not batch.is_snapshot:
            break  # not done, and so it comes again
    assert seen(table.consume("a")) == [(2, 2, False)]


def test_two_processes_under_one_name(lake):
    table, target = sources(lake)
    table.append([{"k": 1}])
    one, other = table.consume("a"), table.consume("a")
    assert next(one).last == next(other).last == 1
    assert list(one) == []
    with pytest.raises(lakehouse.ConflictError, match="another process"):
        next(other)
    one, other = table.consume("a", into=target), table.consume("a", into=target)
    first, second = next(one), next(other)
    target.append(first.rows().select(ROWS), idempotency_key=first.key)
    assert target.append(second.rows().select(ROWS), idempotency_key=second.key).replayed
    table.append([{"k": 2}])
    shorter = next(table.consume("a", into=target))
    table.append([{"k": 3}])
    longer = next(table.consume("a", into=target))
    assert (shorter.last, longer.last) == (2, 3)
    target.append(shorter.rows().select(ROWS), idempotency_key=shorter.key)
    with pytest.raises(lakehouse.ConflictError, match="another process"):
        target.append(longer.rows().select(ROWS), idempotency_key=longer.key)
    for batch in table.consume("a", into=target):
        target.append(batch.rows().select(ROWS), idempotency_key=batch.key)
    assert state_of(target.read().fetchall()) == now(table)


def test_resets(lake):
    table, target = sources(lake)
    for k in range(3):
        table.append([{"k": k}])
    assert seen(table.consume("a")) == [(3, 3, True)]
    assert table.reset_consumer("a", version=1).version == 1
    for batch in table.consume("a"):
        target.append(batch.rows().select(ROWS), idempotency_key=batch.key)
    assert sorted(target.read().select("k").fetchall()) == [(1,), (2,)]
    table.reset_consumer("a", version=1)
    for batch in table.consume("a"):
        target.append(batch.rows().select(ROWS), idempotency_key=batch.key)
    assert sorted(target.read().select("k").fetchall()) == [(1,), (1,), (2,), (2,)]
    assert table.reset_consumer("a").version is None
    assert [(consumer.name, consumer.version) for consumer in table.consumers()] == [("a", None)]
    for batch in table.consume("a"):
        assert batch.is_snapshot
        report = target.append(batch.rows().select(ROWS), idempotency_key=batch.key)
        assert (report.rows, report.replayed) == (3, False)  # no key that was used before
    assert [(consumer.name, consumer.version) for consumer in table.consumers()] == [("a", 3)]
    assert table.leftovers() == ()


def test_what_cannot_be_consumed(lake):
    table, _ = sources(lake)
    for name in ("", "a/b", ".a", "ä", "x" * 101):
        with pytest.raises(lakehouse.InputError, match="no name"):
            table.consume(name)
    with pytest.raises(lakehouse.InputError, match="most_versions"):
        table.consume("a", most_versions=0)
    with pytest.raises(lakehouse.InputError, match="start"):
        table.consume("a", start=-1)
    with pytest.raises(lakehouse.InputError, match="enableChangeDataFeed"):
        new_table(lake, SCHEMA).consume("a")


def _consume(uri: str, inside: bool, deadly: int) -> None:
    """Copy changes to another table, and die right before or after a write to the storage."""
    plain, count = open_storage(uri, durable=False), 0

    def deadly_call(call, path, make):
        nonlocal count
        if not call.startswith("put"):
            return make()
        count += 1
        if count == deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        result = make()
        if count == -deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    storage = plain.wrapped(lambda inner: Watched(inner, deadly_call))
    catalog = Catalog.open(storage, create=False, probe="never")
    with lakehouse.Lake(storage, catalog, Engine({"threads": 1})) as lake:
        table, target = lake.table("bronze.source"), lake.table("bronze.target")
        into = target if inside else None
        for batch in table.consume("copy", into=into, most_versions=2):
            target.append(batch.rows().select(ROWS), idempotency_key=batch.key)


@pytest.mark.parametrize(
    ("inside", "deaths"),
    [(True, (1, -1, 0)), (False, (2, -2, 3, 0))],
    ids=["into", "beside"],
)
def test_a_consumer_that_is_killed_goes_on_where_it_was(tmp_path, inside, deaths):
    """Each death is before (or, if negative, after) a write to the storage, by its number."""
    with lakehouse.connect(tmp_path, durable=False) as lake:
        table = lake.create_table("bronze.source", SCHEMA, properties=FEED)
        target = lake.create_table("bronze.target", KEPT)
        spawn = multiprocessing.get_context("spawn")
        for number, deadly in enumerate(deaths):
            table.append([{"k": number}, {"k": number + 100}])
            table.delete(f"k = {number + 99}")
            process = spawn.Process(target=_consume, args=(lake.uri, inside, deadly))
            process.start()
            process.join()
            assert process.exitcode == (-signal.SIGKILL if deadly else 0)
        changes = target.read().fetchall()
        assert state_of(changes) == now(table)
        first = min(version for *_, version in changes)
        later = [row for row in changes if row[2] != first]
        assert Counter(later) == Counter(table.changes(since=first + 1).select(ROWS).fetchall())
        assert Path(table.uri, "_consumers").exists() == (not inside)
