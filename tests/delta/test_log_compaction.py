"""Log compaction files: as good as the commits they stand for, and never used where they lie."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lakehouse
from catalog.errors import CorruptionError, LakehouseError, NotFoundError
from catalog.storage import StoredObject
from lakehouse.delta import actions as act
from lakehouse.delta.codec import from_lines, to_lines
from lakehouse.delta.log import parse_listing, segment
from lakehouse.delta.replay import replay

LATE = datetime(2024, 1, 1, tzinfo=UTC)


def compacted(commits):
    """Reconcile commits as the protocol says ("Action Reconciliation"), independent of ours."""
    newest: dict[object, act.Action] = {}
    for commit in commits:
        for action in sorted(commit, key=lambda action: isinstance(action, act.AddFile)):
            match action:
                case act.AddFile() | act.RemoveFile():
                    newest["file", action.key] = action
                case act.Transaction():
                    newest["txn", action.app_id] = action
                case act.DomainMetadata():
                    newest["domain", action.domain] = action
                case act.CommitInfo():
                    pass
                case _:
                    newest[type(action)] = action
    return list(newest.values())


names = st.sampled_from("abcd")
vectors = st.sampled_from(
    [None, act.DeletionVector("i", "x", 1, 1), act.DeletionVector("i", "y", 1, 1)]
)
adds = st.builds(
    act.AddFile,
    path=names,
    partition_values=st.just({}),
    size=st.integers(0, 9),
    modification_time=st.just(1),
    deletion_vector=vectors,
)
removes = st.builds(
    act.RemoveFile, path=names, deletion_timestamp=st.integers(1, 3), deletion_vector=vectors
)
others = st.one_of(
    st.builds(act.Transaction, names, st.integers(0, 5)),
    st.builds(act.DomainMetadata, names, st.sampled_from(["{}", "{1}"]), st.booleans()),
    st.builds(act.CommitInfo, st.just({"inCommitTimestamp": 7})),
)
singular = st.one_of(
    st.builds(act.Metadata, names, st.just("{}")),
    st.builds(act.Protocol, st.integers(1, 3), st.just(7)),
)


def _what(action):
    return getattr(action, "key", None) or type(action)


commit_actions = st.tuples(
    st.lists(st.one_of(adds, removes), max_size=4, unique_by=_what),
    st.lists(others, max_size=2),
    st.lists(singular, max_size=2, unique_by=type),
).map(lambda parts: [action for part in parts for action in part])
histories = st.lists(commit_actions, min_size=1, max_size=10)


@st.composite
def logs(draw):
    """Draw a history, compacted ranges of it, a checkpoint, and which single commits are left."""
    history = draw(histories)
    last = len(history) - 1
    ranges = draw(
        st.lists(
            st.tuples(st.integers(0, last), st.integers(0, last)).filter(lambda r: r[0] < r[1]),
            max_size=4,
            unique=True,
        )
        if last
        else st.just([])
    )
    gone = draw(st.sets(st.integers(0, last), max_size=3))
    checkpoint = draw(st.none() | st.integers(0, last))
    return history, ranges, gone, checkpoint


def _log(history, ranges, gone, checkpoint):
    """Return the log's files, by path: the actions in each."""
    files = {f"{v:020d}.json": c for v, c in enumerate(history) if v not in gone}
    for first, last in ranges:
        files[f"{first:020d}.{last:020d}.compacted.json"] = compacted(history[first : last + 1])
    if checkpoint is not None:
        files[f"{checkpoint:020d}.checkpoint.parquet"] = compacted(history[: checkpoint + 1])
    return {f"_delta_log/{name}": actions for name, actions in files.items()}


def _listing(files):
    return parse_listing(StoredObject(path, 1, LATE) for path in sorted(files))


def _state(tail):
    """Return what a table is: order, tombstones of old and provenance are not part of it."""
    return (
        {add.key: add for add in tail.adds},
        tail.metadata,
        tail.protocol,
        dict(tail.transactions),
        dict(tail.domains),
    )


@given(logs())
def test_every_version_that_can_be_read_is_what_its_single_commits_say(log):
    history = log[0]
    files = _log(*log)
    listing = _listing(files)
    for version in range(len(history)):
        try:
            chosen = segment(listing, version)
        except (NotFoundError, CorruptionError):
            continue
        base = [] if chosen.checkpoint is None else [files[chosen.checkpoint.paths[0]]]
        parts = [from_lines(to_lines(files[c.path]), where=c.path) for c in chosen.commits]
        assert _state(replay([*base, *parts])) == _state(replay(history[: version + 1]))
        assert all(c.version <= version for c in chosen.commits)
        if chosen.checkpoint is None:
            found = {r.key for r in replay(parts).removes}
            assert found == {r.key for r in replay(history[: version + 1]).removes}


@given(logs())
def test_a_version_is_read_where_any_files_hold_it_and_by_no_more_of_them_than_needed(log):
    history, ranges, gone, checkpoint = log
    listing = _listing(_log(*log))
    spans = [(v, v) for v in range(len(history)) if v not in gone] + ranges
    for version in range(len(history)):
        base = checkpoint if checkpoint is not None and checkpoint <= version else -1
        fewest = _fewest(spans, base + 1, version)
        try:
            chosen = segment(listing, version)
        except (NotFoundError, CorruptionError):
            if not (checkpoint is None and version > max(_ends(listing), default=-1)):
                assert fewest is None
            continue
        assert fewest is not None
        within = [span for span in spans if span[0] > base]
        assert len(chosen.commits) == (_fewest(within, base + 1, version) or fewest)


def _ends(listing):
    return [f.version for f in (*listing.commits, *listing.compacted, *listing.checkpoints)]


def _fewest(spans, first, last):
    """Return the least number of spans that cover first..last, by trying all; None if none do."""
    steps = {first: 0}
    for position in range(first, last + 1):
        if position not in steps:
            continue
        for start, end in spans:
            if start <= position <= end <= last:
                for reached in range(position + 1, end + 2):
                    steps[reached] = min(steps.get(reached, 99), steps[position] + 1)
    return steps.get(last + 1)


def _object(name):
    return StoredObject(f"_delta_log/{name}", 1, LATE)


def test_a_version_inside_a_compacted_file_is_not_found_and_the_text_says_which_is():
    names_ = [f"{v:020d}.json" for v in (0, 1, 5)] + [f"{2:020d}.{5:020d}.compacted.json"]
    listing = parse_listing(map(_object, names_))
    assert [c.version for c in segment(listing, 5).commits] == [0, 1, 5]
    with pytest.raises(NotFoundError, match=r"version 3 cannot be read.* up to 5.*compacted"):
        segment(listing, 3)


def test_files_that_only_look_like_compactions_are_not_used():
    bad = [f"{2:020d}.{2:020d}.compacted.json", f"{3:020d}.{1:020d}.compacted.json"]
    listing = parse_listing([_object(f"{0:020d}.json"), *map(_object, bad)])
    assert listing.latest == 0
    assert not listing.compacted


@pytest.fixture
def lake(tmp_path):
    with lakehouse.connect(tmp_path / "lake", durable=False) as lake:
        yield lake


@pytest.fixture
def table(lake):
    table = lake.create_table(
        "bronze.t", {"n": "BIGINT"}, properties={"delta.checkpointInterval": 99}
    )
    for number in range(6):
        table.append([{"n": number}], idempotency_key=("job", number))
    table.overwrite([{"n": number} for number in range(10, 13)])
    table.append([{"n": 20}])
    return table


def _commit(table, version):
    return Path(table.uri, "_delta_log", f"{version:020d}.json")


def _compact(table, first, last, *, remove):
    paths = [_commit(table, version) for version in range(first, last + 1)]
    commits = [from_lines(path.read_bytes(), where=str(path)) for path in paths]
    target = paths[0].with_name(f"{first:020d}.{last:020d}.compacted.json")
    target.write_bytes(to_lines(compacted(commits)))
    for path in paths if remove else ():
        path.unlink()
    return target


def _reopened(lake):
    return lakehouse.connect(lake.uri, durable=False).table("bronze.t")


@pytest.mark.parametrize("remove", [True, False])
def test_a_compacted_log_reads_as_before_and_goes_on(lake, table, remove):
    before, expected = table.version, sorted(table.read().fetchall())
    _compact(table, 2, before, remove=remove)
    again = _reopened(lake)
    assert again.version == before
    assert sorted(again.read().fetchall()) == expected
    assert again.append([{"n": 5}], idempotency_key=("job", 5)).replayed or remove
    again.append([{"n": 30}])
    assert sorted(table.read().fetchall()) == sorted([*expected, (30,)])
    again.checkpoint()
    assert sorted(_reopened(lake).read().fetchall()) == sorted([*expected, (30,)])


def test_a_damaged_compaction_is_passed_over_while_its_commits_are_there(lake, table):
    expected = sorted(table.read().fetchall())
    _compact(table, 1, 6, remove=False).write_text('{"add": 1')
    assert sorted(_reopened(lake).read().fetchall()) == expected
    for version in range(1, 7):
        _commit(table, version).unlink()
    with pytest.raises(LakehouseError, match="compacted"):
        _reopened(lake).read()


@pytest.mark.parametrize("compact", [True, False])
def test_the_time_of_a_version_is_that_of_its_commit(lake, table, compact):
    long_ago = (LATE - timedelta(days=9)).timestamp()
    os.utime(_commit(table, table.version), (long_ago, long_ago))
    if compact:
        _compact(table, 0, table.version, remove=False)
    else:
        table.checkpoint()
    assert _reopened(lake).snapshot().time == LATE - timedelta(days=9)


def test_the_time_that_a_commit_carries_itself_survives_compaction_and_checkpoint(lake, table):
    for number in range(table.version + 1):
        lines = [json.loads(line) for line in _commit(table, number).read_text().splitlines()]
        for line in lines:
            if "commitInfo" in line:
                line["commitInfo"]["inCommitTimestamp"] = 1_700_000_000_000 + number
            if "metaData" in line:
                line["metaData"]["configuration"]["delta.enableInCommitTimestamps"] = "true"
        _commit(table, number).write_text("\n".join(map(json.dumps, lines)))
    latest = table.version
    fresh = _reopened(lake)
    assert fresh.snapshot().timestamp == 1_700_000_000_000 + latest
    _compact(table, 0, latest, remove=False)
    assert _reopened(lake).snapshot().timestamp == 1_700_000_000_000 + latest
    fresh.checkpoint()
    assert _reopened(lake).snapshot().timestamp == 1_700_000_000_000 + latest
