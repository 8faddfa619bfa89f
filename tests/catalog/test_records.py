"""Records: none is lost or told twice while documents are folded, and they are bounded."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog import CorruptionError, StorageError, open_storage
from catalog.records import Records, kept
from lakehouse.testing.watched import Watched
from tests.catalog.keeping import add


def record(number: int, key: str = "a") -> dict[str, str]:
    return {"id": str(number), "key": key, "at": f"2026-01-01T00:00:00.{number:06}+00:00"}


@given(
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["add", "fold", "die", "read"]))),
    st.integers(1, 6),
)
def test_folding_loses_nothing(steps, fold_at) -> None:
    plain, dies = open_storage("memory://"), False

    def around(call, path, make):
        if call == "delete" and dies:
            raise StorageError("killed")
        return make()

    storage = plain.wrapped(lambda inner: Watched(inner, around))
    hands = [Records(storage, fold_at=fold_at) for _ in range(3)]
    added = []
    for number, (who, what) in enumerate(steps):
        dies = what == "die"
        try:
            if what == "add":
                added.append(str(number))
                hands[who].add(record(number))
            elif what in ("fold", "die"):
                hands[who].fold()
        except StorageError:
            assert dies
        assert [r["id"] for r in hands[who].all()] == added
    assert [r["id"] for r in Records(plain).all()] == added
    dies = False
    hands[0].fold()
    assert len(list(plain.list())) == 1


@given(st.lists(st.sampled_from("abc"), max_size=30), st.integers(1, 9))
def test_what_is_kept(keys, keep) -> None:
    records = [record(number, key) for number, key in enumerate(keys)]
    left = kept(records, keep=keep)
    assert left == [r for r in records if r in left]
    assert left[-keep:] == records[-keep:]
    assert len(left) <= keep + 3
    assert {r["key"]: r["id"] for r in left} == {r["key"]: r["id"] for r in records}


def test_old_ones_go_but_the_last_of_each_key(tmp_path) -> None:
    records = Records(open_storage(tmp_path, durable=False), keep=10, fold_at=4)
    records.add(record(0, "seldom"))
    for number in range(1, 60):
        records.add(record(number, "often"))
    left = records.all()
    assert len(left) <= 10 + 4 + 1
    assert left[0]["key"] == "seldom"
    assert records.newest()["often"]["id"] == "59"
    assert len(list(tmp_path.iterdir())) <= 5


def test_many_processes(tmp_path) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([add.__module__])
    with ProcessPoolExecutor(3, mp_context=context) as pool:
        jobs = [pool.submit(add, str(tmp_path), who, 20) for who in range(3)]
        assert all(job.result(timeout=60) >= 20 for job in jobs)
    found = Records(open_storage(tmp_path)).all()
    assert sorted(r["id"] for r in found) == sorted(f"{w}-{n}" for w in range(3) for n in range(20))
    assert [r["at"] for r in found] == sorted(r["at"] for r in found)


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"records": [{"id": 1}]}', '{"records": 7}'])
def test_damage_is_named(tmp_path, damage: str) -> None:
    (tmp_path / "1-run-x.json").write_text(damage)
    (tmp_path / "notes.txt").write_text("not a record")
    with pytest.raises(CorruptionError, match="1-run-x"):
        Records(open_storage(tmp_path)).all()
