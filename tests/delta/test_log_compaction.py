"""Log compaction files: as good as the commits they stand for, and never used where they lie."""

import json
import os
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given

import lakehouse
from catalog.errors import CorruptionError, LakehouseError, NotFoundError
from catalog.storage import StoredObject
from lakehouse.delta.codec import from_lines, to_lines
from lakehouse.delta.log import parse_listing, segment
from lakehouse.delta.replay import replay
from tests.delta.histories import LATE, compacted, files_of, listing_of, logs, state


@given(logs())
def test_every_version_that_can_be_read_is_what_its_single_commits_say(log):
    history = log[0]
    files = files_of(*log)
    listing = listing_of(files)
    for version in range(len(history)):
        try:
            chosen = segment(listing, version)
        except (NotFoundError, CorruptionError):
            continue
        base = [] if chosen.checkpoint is None else [files[chosen.checkpoint.paths[0]]]
        parts = [from_lines(to_lines(files[c.path]), where=c.path) for c in chosen.commits]
        assert state(replay([*base, *parts])) == state(replay(history[: version + 1]))
        assert all(c.version <= version for c in chosen.commits)
        if chosen.checkpoint is None:
            found = {r.key for r in replay(parts).removes}
            assert found == {r.key for r in replay(history[: version + 1]).removes}


@given(logs())
def test_a_version_is_read_where_any_files_hold_it_and_by_no_more_of_them_than_needed(log):
    history, ranges, gone, checkpoint = log
    listing = listing_of(files_of(*log))
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
