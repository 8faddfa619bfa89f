"""Commits among several writers: rules, lost races, lost answers, real processes."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lakehouse
from catalog import OutcomeUnknownError
from lakehouse.delta import actions as act
from lakehouse.delta.conflict import Reads, conflict
from lakehouse.testing import Faults, Injector, connect_faulty

PATHS = ["a", "b", "c"]
adds = st.builds(
    act.AddFile,
    path=st.sampled_from(PATHS),
    partition_values=st.just({}),
    size=st.just(1),
    modification_time=st.just(1),
    data_change=st.booleans(),
)
removes = st.builds(
    act.RemoveFile,
    path=st.sampled_from(PATHS),
    deletion_timestamp=st.just(1),
    data_change=st.booleans(),
)
changes = st.lists(st.one_of(adds, removes), max_size=5)


@given(ours=st.lists(adds), winner=changes)
def test_a_blind_append_never_conflicts_with_rows(ours, winner):
    assert conflict(ours, Reads(), winner) is None


@given(winner=changes, read=st.frozensets(st.sampled_from(PATHS)))
def test_a_file_that_was_read_and_then_removed_conflicts_whatever_data_change_says(winner, read):
    reason = conflict([], Reads(frozenset((path, "") for path in read)), winner)
    touched = {action.path for action in winner}
    if read & {a.path for a in winner if isinstance(a, act.RemoveFile)}:
        assert reason is not None
    if not read & touched:
        assert reason is None


@given(winner=changes)
def test_who_read_everything_sees_every_new_row(winner):
    reason = conflict([], Reads(everything=True), winner)
    if any(isinstance(action, act.AddFile) for action in winner):
        assert reason is not None


@pytest.mark.parametrize(
    "action",
    [act.Metadata("id", "{}"), act.Protocol(1, 2)],
)
def test_a_change_of_the_table_itself_conflicts(action):
    assert conflict([], Reads(), [action]) is not None


def test_the_same_application_conflicts():
    ours = [act.Transaction("job", 2)]
    assert "job" in str(conflict(ours, Reads(), [act.Transaction("job", 2)]))
    assert conflict(ours, Reads(), [act.Transaction("other", 2)]) is None


@pytest.fixture
def lake(tmp_path):
    with lakehouse.connect(tmp_path / "lake", durable=False) as lake:
        yield lake


def _stale_pair(lake):
    """Return two handles on one table, the second of which does not know the first's commits."""
    first = lake.create_table("bronze.t", {"n": "BIGINT"})
    first.append([{"n": 1}])
    other = lakehouse.connect(lake.uri, durable=False).table("bronze.t")
    assert other.version == 1
    return first, other


def test_appends_from_stale_handles_all_land(lake):
    first, other = _stale_pair(lake)
    first.append([{"n": 2}])
    assert other.append([{"n": 3}]).version == 3
    assert sorted(first.read().fetchall()) == [(1,), (2,), (3,)]


def test_an_overwrite_replaces_rows_that_it_had_not_seen(lake):
    first, other = _stale_pair(lake)
    stale = other.snapshot()
    first.append([{"n": 2}])
    other._latest = stale
    other._refreshed = lambda: stale  # the race: planned before, committed after
    report = other.overwrite([{"n": 9}])
    assert report.attempts == 2
    assert first.read().fetchall() == [(9,)]


def test_a_rewrite_that_lost_its_files_changes_nothing(lake):
    first, other = _stale_pair(lake)
    first.append([{"n": 2}])
    stale = other.snapshot()
    paths = other.files()["path"].to_pylist()
    first.overwrite([{"n": 7}])
    other._refreshed = lambda: stale
    report = other.rewrite(paths)
    assert (report.files_added, report.files_removed) == (0, 0)
    assert first.read().fetchall() == [(7,)]
    assert len(list(_data_files(first))) == 3  # two old ones and the live one; no leftover


def test_two_rewrites_of_the_same_files_do_not_duplicate_rows(lake):
    first, other = _stale_pair(lake)
    first.append([{"n": 2}])
    stale = other.snapshot()
    paths = other.files()["path"].to_pylist()
    assert first.rewrite(paths).files_removed == 2
    other._refreshed = lambda: stale
    assert other.rewrite(paths).files_removed == 0
    assert sorted(first.read().fetchall()) == [(1,), (2,)]


def _data_files(table):
    return (item for item in table.snapshot().storage.list() if item.path.endswith(".parquet"))


class _LosesAnswers:
    """Wrap a backend so that puts happen, or not, and no answer comes back."""

    def __init__(self, backend, *, lands):
        self._backend = backend
        self._lands = lands
        self.puts = 0

    def __getattr__(self, name):
        return getattr(self._backend, name)

    def put_if_absent(self, path, data):
        self.puts += 1
        if self.puts == 1:
            if self._lands:
                self._backend.put_if_absent(path, data)
            raise OutcomeUnknownError("no answer")
        return self._backend.put_if_absent(path, data)


@pytest.mark.parametrize("lands", [True, False])
def test_a_lost_answer_is_looked_up_and_the_rows_are_there_once(lake, lands):
    table = lake.create_table("bronze.t", {"n": "BIGINT"})
    storage = table.snapshot().storage
    object.__setattr__(storage, "_backend", _LosesAnswers(storage._backend, lands=lands))
    report = table.append([{"n": 1}])
    assert report.version == 1
    assert table.read().fetchall() == [(1,)]
    assert table.version == 1


@pytest.mark.parametrize(
    "error", [OutcomeUnknownError("no answer"), lakehouse.StorageError("no network")]
)
def test_a_commit_that_landed_and_cannot_be_looked_up_keeps_its_files(lake, error):
    table = lake.create_table("bronze.t", {"n": "BIGINT"})
    storage = table.snapshot().storage
    backend = storage._backend

    class Gone(_LosesAnswers):
        """The first put lands without an answer, and then the storage is out of reach."""

        def put_if_absent(self, path, data):
            if self.puts:
                raise error
            return super().put_if_absent(path, data)

        def read(self, path):
            if self.puts and path.endswith("1.json"):
                raise lakehouse.StorageError("no network")
            return self._backend.read(path)

    object.__setattr__(storage, "_backend", Gone(backend, lands=True))
    with pytest.raises(lakehouse.OutcomeUnknownError, match="version 1"):
        table.append([{"n": 1}], idempotency_key=("job", 1))
    object.__setattr__(storage, "_backend", backend)
    again = table.append([{"n": 1}], idempotency_key=("job", 1))
    assert (again.replayed, again.version) == (True, 1)
    assert table.read().fetchall() == [(1,)]


def test_data_files_of_a_commit_that_cannot_be_confirmed_are_kept(lake, monkeypatch):
    table = lake.create_table("bronze.t", {"n": "BIGINT"})
    storage = table.snapshot().storage
    backend = storage._backend

    class Silent(_LosesAnswers):
        def put_if_absent(self, path, data):
            raise OutcomeUnknownError("no answer")

    object.__setattr__(storage, "_backend", Silent(backend, lands=False))
    with pytest.raises(lakehouse.OutcomeUnknownError, match="version 1"):
        table.append([{"n": 1}])
    assert len(list(_data_files(table))) == 1


class _Storm(Injector):
    """Lose the answer to one put, and fail a few times after it."""

    def __init__(self):
        super().__init__(Faults())
        self.coming = []

    def next(self, call, path):
        if self.coming and (call == "put_if_absent" or self.coming[0] == "unavailable"):
            return self.coming.pop(0)
        return None


@pytest.mark.parametrize("fault", ["dropped", "error_after", "repeated"])
def test_a_commit_whose_answer_is_lost_survives_the_storm_that_follows(tmp_path, fault):
    """Once, the storm was taken for a refusal, and the files that were live by now deleted."""
    storm = _Storm()
    with connect_faulty(tmp_path / "lake", storm) as lake:
        table = lake.create_table("bronze.t", {"n": "BIGINT"})
        assert table.version == 0
        storm.coming = [fault, *["unavailable"] * 5]
        assert table.append([{"n": 1}]).version == 1
        assert storm.coming == []
        assert table.read().fetchall() == [(1,)]


@pytest.mark.parametrize("fault", ["dropped", "error_after", "repeated"])
def test_a_table_is_created_though_the_answer_is_lost(tmp_path, fault):
    """Once, a client that repeated the put by itself was told that the table exists."""
    only: dict[str, Any] = {fault: 1.0}
    injector = Injector(Faults(**only, paths="bronze/*_delta_log/*0.json"))
    with connect_faulty(tmp_path / "lake", injector) as lake:
        table = lake.create_table("bronze.t", {"n": "BIGINT"})
        assert table.version == 0
        assert [item.fault for item in injector.log] == [fault]


def test_a_writer_who_was_away_for_long_catches_up_at_once(lake):
    first, other = _stale_pair(lake)
    stale = other.snapshot()
    for number in range(7):
        first.append([{"n": number}])
    other._refreshed = lambda: stale
    assert other.append([{"n": 9}]).attempts == 2


ROWS, COMMITS, WRITERS = 3, 10, 3


def _append_many(uri, writer):
    with lakehouse.connect(uri, durable=False) as lake:
        table = lake.table("bronze.t")
        for number in range(COMMITS):
            table.append([{"writer": writer, "n": number * ROWS + i} for i in range(ROWS)])
    return writer


def _rewrite_many(uri):
    merged = 0
    with lakehouse.connect(uri, durable=False) as lake:
        table = lake.table("bronze.t")
        while (table.detail().rows or 0) < WRITERS * COMMITS * ROWS:
            paths = table.files()["path"].to_pylist()
            if len(paths) > 3:
                merged += table.rewrite(paths).files_removed
    return merged


def test_processes_that_append_and_rewrite_lose_and_duplicate_nothing(lake):
    table = lake.create_table("bronze.t", {"writer": "INTEGER", "n": "BIGINT"})
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(WRITERS + 1, mp_context=spawn) as pool:
        appenders = [pool.submit(_append_many, lake.uri, writer) for writer in range(WRITERS)]
        rewriter = pool.submit(_rewrite_many, lake.uri)
        assert sorted(done.result() for done in appenders) == list(range(WRITERS))
        assert rewriter.result() > 0
    expected = [(w, n) for w in range(WRITERS) for n in range(COMMITS * ROWS)]
    assert sorted(table.read().fetchall()) == expected
    peer = table.to_deltalake()
    assert set(peer.file_uris()) == {f"{table.uri}/{p}" for p in table.files()["path"].to_pylist()}


def _create(uri, number):
    with lakehouse.connect(uri, durable=False) as lake:
        try:
            lake.create_table("bronze.raced", {f"column_{number}": "BIGINT"})
        except lakehouse.AlreadyExistsError:
            return None
        return number


def test_one_of_several_processes_that_create_a_table_wins(lake):
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(4, mp_context=spawn) as pool:
        won = [w for w in pool.map(_create, [lake.uri] * 8, range(8)) if w is not None]
    assert len(won) == 1
    table = lake.table("bronze.raced")
    assert table.schema.names == [f"column_{won[0]}"]
    local = lake.catalog.storage.local_path / "bronze"
    assert [path.name for path in local.iterdir() if any(path.rglob("*.json"))] == [
        table.uri.rsplit("/", 1)[-1]
    ]
