"""The store that fails on purpose: what each fault does, and that a seed repeats it."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog import OutcomeUnknownError, StorageError, open_storage
from lakehouse.testing import Faults, Injector, connect_faulty, lint
from lakehouse.testing.agreement import count_rows

PUTS = ("dropped", "error_after", "repeated", "error_before", "torn", "unavailable", "refused")


def faulty(**faults):
    slept: list[float] = []
    injector = Injector(Faults(**faults), sleep=slept.append)
    return open_storage("memory://").wrapped(injector.over), injector, slept


@pytest.mark.parametrize("fault", PUTS)
def test_a_put_if_absent_lands_or_not_as_its_fault_says(fault):
    plain = open_storage(f"memory://{fault}")
    only: dict[str, Any] = {fault: 1.0}
    injector = Injector(Faults(**only, paths="a/*"))
    place = plain.wrapped(injector.over).child("a")
    if fault == "repeated":
        assert place.put_if_absent("1.json", b"{}") is False
    else:
        kind = StorageError if fault == "refused" else OutcomeUnknownError
        with pytest.raises(kind, match=f"a/1.json .*{fault}"):
            place.put_if_absent("1.json", b"{}")
    arrived = fault in ("dropped", "error_after", "repeated")
    assert [item.path for item in plain.list()] == ["a/1.json"] * arrived
    assert [(item.call, item.path, item.fault) for item in injector.log] == [
        ("put_if_absent", "a/1.json", fault)
    ]


@pytest.mark.parametrize("fault", ["dropped", "error_after", "error_before", "refused"])
def test_a_put_and_a_delete_happen_or_not_as_their_fault_says(fault):
    storage, _, _ = faulty(**{fault: 1.0}, paths="fails*")
    storage.put("kept", b"")
    with pytest.raises((StorageError, OutcomeUnknownError)):
        storage.put("fails", b"")
    arrived = fault in ("dropped", "error_after")
    assert (storage.child("").put_if_absent("kept", b""), len([*storage.list()])) == (
        False,
        1 + arrived,
    )


def test_a_deleted_file_is_gone_though_nobody_said_so():
    storage, _, _ = faulty(dropped=1.0, paths="gone")
    storage.put("gone.not", b"")
    storage.put_if_absent("other", b"")
    with pytest.raises(StorageError, match="cannot delete gone"):
        storage.delete(["gone", "other"])
    assert [item.path for item in storage.list()] == ["gone.not"]


def test_a_listing_breaks_halfway_or_leaves_out_the_newest():
    storage, _, _ = faulty(torn=1.0, paths="t")
    plain, _, _ = faulty(stale=1.0, paths="t")
    for number in range(4):
        storage.put(f"t/{number}", b"")
        plain.put(f"t/{number}", b"")
    found = storage.list("t")
    assert [next(found).path, next(found).path] == ["t/0", "t/1"]
    with pytest.raises(StorageError, match="torn"):
        next(found)
    assert [item.path for item in plain.list("t")] == ["t/0", "t/1", "t/2"]


def test_a_storm_lasts():
    storage, injector, _ = faulty(unavailable=1.0, storm=4, paths="first")
    for path in ("first", "second", "third", "fourth"):
        with pytest.raises(StorageError):
            storage.read(path)
    with pytest.raises(StorageError) as missing:
        storage.read("fifth")
    assert missing.value.missing
    assert len(injector.log) == 4


def test_every_third_only_and_late():
    storage, injector, slept = faulty(dropped=1.0, every=3, latency=0.5)
    for number in range(9):
        try:
            storage.put(f"{number}", b"")
        except OutcomeUnknownError:
            assert number % 3 == 2
    assert len(injector.log) == 3
    assert len(slept) == 9
    assert all(0 <= wait <= 0.5 for wait in slept)


@given(pages=st.integers(1, 9), files=st.integers(0, 20), after=st.integers(0, 20))
def test_pages_make_the_same_listing(pages, files, after):
    storage, _, _ = faulty(pages=pages)
    for number in range(files):
        storage.put(f"t/{number:02}", b"")
    start = f"t/{after:02}"
    found = [item.path for item in storage.list("t", start_after=start)]
    assert found == [f"t/{number:02}" for number in range(after + 1, files)]


def _calls(storage):
    for number in range(60):
        try:
            if number % 3:
                storage.put_if_absent(f"{number}", b"")
            else:
                [*storage.list()]
        except (StorageError, OutcomeUnknownError):
            continue


@settings(max_examples=10)
@given(seed=st.integers())
def test_a_seed_repeats_its_faults_and_a_log_replays_them(seed):
    runs = []
    for _ in range(2):
        storage, injector, _ = faulty(seed=seed, dropped=0.2, torn=0.2, unavailable=0.05)
        _calls(storage)
        runs.append(injector.log)
    assert runs[0] == runs[1]
    again = Injector(Faults(), replay=runs[0])
    _calls(open_storage("memory://").wrapped(again.over))
    assert again.log == runs[0]


def _insist(call):
    """Call until it returns, as a job that is tried again does."""
    for _ in range(200):
        try:
            return call()
        except (StorageError, OutcomeUnknownError) as error:
            problem = error
    raise problem


@settings(max_examples=5)
@given(seed=st.integers(0, 1 << 30))
def test_a_job_that_insists_is_done_once_on_a_bad_day(tmp_path_factory, seed):
    place = tmp_path_factory.mktemp("lake")
    injector = Injector(Faults.bad_day(seed=seed), sleep=lambda seconds: None)
    lake = _insist(lambda: connect_faulty(place, injector))
    with lake:
        table = _insist(lambda: lake.create_table("bronze.t", {"n": "BIGINT"}, if_not_exists=True))
        for number in range(8):
            key = ("job", number)
            _insist(lambda: table.append([{"n": number}], idempotency_key=key))  # noqa: B023
        _insist(lambda: table.delete("n % 4 = 1"))
        _insist(lambda: table.rewrite(table.files()["path"].to_pylist()))
        rows = _insist(lambda: count_rows(table.read().to_arrow_table()))
        assert rows == {(n,): 1 for n in (0, 2, 3, 4, 6, 7)}
        assert lint(table.uri) == []
