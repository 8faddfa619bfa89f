"""Log expiry: what is left is whole, and what is kept reads as before, for us and for others."""

import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import deltalake
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lakehouse
from catalog.errors import CorruptionError, NotFoundError, UnsupportedError
from catalog.storage import StoredObject
from lakehouse.delta.expiry import DAY, expired
from lakehouse.delta.log import LOG, monotone_times, parse_listing, segment
from lakehouse.delta.replay import replay
from lakehouse.table import retention
from tests.delta.histories import files_of, logs, state

NOON = datetime(2024, 6, 15, 12, tzinfo=UTC)
NOW = int(NOON.timestamp() * 1000)
DAYS = "interval {} days"


@st.composite
def aged_logs(draw):
    """Draw a log, further checkpoints of it, and the age of each file in days."""
    history, ranges, gone, checkpoint = draw(logs())
    files = files_of(history, ranges, gone, checkpoint)
    for version in draw(st.sets(st.integers(0, len(history) - 1), max_size=3)):
        files[f"{LOG}/{version:020d}.checkpoint.parquet"] = [
            a for c in history[: version + 1] for a in c
        ]
    files[f"{LOG}/{0:020d}.crc"] = []
    files[f"{LOG}/{1:020d}.checkpoint.{1:010d}.{2:010d}.parquet"] = []  # incomplete
    oldest = draw(st.integers(0, 9))
    ages = {}
    for path in sorted(files):
        version = int(path.removeprefix(f"{LOG}/")[:20])
        skew = draw(st.sampled_from([0, 0, 0, 1, -1]))
        ages[path] = max(0, oldest - version + skew)
    return history, files, ages


@given(
    aged_logs(),
    st.integers(0, 8),
    st.sets(st.integers(0, 9), max_size=2),
)
def test_what_is_kept_reads_as_before_at_the_same_times(log, days, keep):
    history, files, ages = log
    objects = [StoredObject(path, 1, NOON - timedelta(days=ages[path])) for path in sorted(files)]
    properties = {"delta.logRetentionDuration": DAYS.format(days)}
    plan = expired(objects, properties, now=NOW, keep_versions=keep)
    gone = {item.path for item in plan.entries}
    before, after = (
        parse_listing(items) for items in (objects, [o for o in objects if o.path not in gone])
    )
    assert (plan.checkpoint is None) == (plan.reason is not None)
    assert plan.checkpoint is not None or not gone
    times = dict(zip(before.commits, monotone_times(before.commits), strict=True))
    left = dict(zip(after.commits, monotone_times(after.commits), strict=True))
    assert {commit: times[commit] for commit in left} == left
    midnight = (NOW - max(days, 1) * DAY) // DAY * DAY
    for version in range(len(history)):
        is_recent = any(c.version >= version and t > midnight for c, t in times.items())
        current = max((c.version for c, t in times.items() if t <= midnight), default=-1)
        is_kept = any(kept <= version for kept in keep)
        if not (is_recent and version >= current) and not is_kept:
            continue
        try:
            segment(before, version)
        except (NotFoundError, CorruptionError):
            continue
        chosen = segment(after, version)
        paths = [*(chosen.checkpoint.paths if chosen.checkpoint else ())]
        parts = [[action] for path in paths for action in files[path]]
        parts += [files[commit.path] for commit in chosen.commits]
        assert state(replay(parts)) == state(replay(history[: version + 1]))


@pytest.fixture
def lake(tmp_path):
    with lakehouse.connect(tmp_path / "lake", durable=False) as lake:
        yield lake


def _path(table, name):
    return Path(table.uri, "_delta_log", name)


@pytest.fixture
def table(lake):
    """Return a table of one commit a day for 40 days, with a checkpoint every tenth version."""
    properties = {"delta.checkpointInterval": 1000}
    table = lake.create_table("bronze.t", {"n": "BIGINT"}, properties=properties)
    for version in range(1, 41):
        table.append([{"n": version}])
        if version % 10 == 0:
            table.checkpoint()
    _age(table)
    return table


def _age(table, days=40):
    for file in Path(table.uri, "_delta_log").iterdir():
        if file.name[:20].isdigit():
            at = (NOON - timedelta(days=days - int(file.name[:20]))).timestamp()
            os.utime(file, (at, at))


def _expire(lake, *, now=NOON, **options):
    fresh = lakehouse.connect(lake.uri, durable=False)
    snapshot = fresh.table("bronze.t").snapshot()
    return retention.expire_log(snapshot, engine=fresh._engine, now=now, **options)


def _versions(table):
    names = [path.name for path in _path(table, "").glob("*.json")]
    return sorted(int(name[:20]) for name in names)


def test_entries_older_than_the_retention_go_and_the_rest_reads_as_before(lake, table):
    rows = {version: sorted(table.read(version=version).fetchall()) for version in (10, 11, 25, 40)}
    planned = _expire(lake, dry_run=True)
    assert _versions(table) == list(range(41))
    report = _expire(lake)
    # Midnight 30 days ago: version 9 was current, so the checkpoint before it is none; later 10.
    assert report.reason == "no checkpoint is old enough"
    report = _expire(lake, now=NOON + timedelta(days=1))
    assert report.oldest_version == 10
    assert _versions(table) == list(range(10, 41))
    assert report.files == 10
    assert planned.files == 0
    with lakehouse.connect(lake.uri) as fresh:
        again = fresh.table("bronze.t")
        for version, expected in rows.items():
            assert sorted(again.read(version=version).fetchall()) == expected
        with pytest.raises(NotFoundError, match="has expired"):
            again.read(version=9)
        assert again.history()[-1].version == 10
        again.append([{"n": 41}])
    peer = deltalake.DeltaTable(table.uri)
    assert peer.version() == 41
    assert len(peer.file_uris()) == 41
    assert len(deltalake.DeltaTable(table.uri, version=12).file_uris()) == 12


@pytest.mark.parametrize(("keep", "oldest"), [({25}, 20), ({30, 33}, 30), ({5}, None)])
def test_versions_that_somebody_keeps_stay_with_all_after_them(lake, table, keep, oldest):
    report = _expire(lake, now=NOON + timedelta(days=365), keep_versions=keep)
    assert report.oldest_version == oldest
    assert len(table.read(version=min(keep)).fetchall()) == min(keep)


def test_nothing_goes_that_only_a_damaged_checkpoint_covers(lake, table):
    for version in (20, 30):
        _path(table, f"{version:020d}.checkpoint.parquet").write_bytes(b"PAR1 nonsense PAR1")
    (_path(table, "_last_checkpoint")).unlink()
    _path(table, f"{40:020d}.checkpoint.parquet").unlink()
    assert _expire(lake, now=NOON + timedelta(days=365)).oldest_version == 10
    assert len(table.read(version=11).fetchall()) == 11


@pytest.mark.parametrize(
    ("properties", "reason"),
    [
        ({"delta.enableExpiredLogCleanup": "false"}, "enableExpiredLogCleanup"),
        ({"delta.logRetentionDuration": "interval 2000 days"}, "old enough"),
    ],
)
def test_properties_keep_the_log(lake, properties, reason):
    table = lake.create_table("bronze.t", {"n": "BIGINT"}, properties=properties)
    table.append([{"n": 1}])
    table.checkpoint()
    _age(table)
    report = _expire(lake, now=NOON + timedelta(days=365))
    assert (report.files, reason in str(report.reason)) == (0, True)
    assert table.expire_log(dry_run=True).files == 0


def test_a_retention_that_another_writer_set_and_we_cannot_read_keeps_the_log():
    names = [f"{0:020d}.json", f"{1:020d}.json", f"{1:020d}.checkpoint.parquet"]
    objects = [
        StoredObject(f"{LOG}/{name}", 1, NOON - timedelta(days=99 - int(name[19])))
        for name in names
    ]
    assert len(expired(objects, {}, now=NOW).entries) == 1
    plan = expired(objects, {"delta.logRetentionDuration": "interval 1 year"}, now=NOW)
    assert (plan.entries, plan.checkpoint) == ((), None)
    assert "not an interval" in str(plan.reason)


def test_a_table_with_checkpoint_protection_is_left_alone(lake, table):
    first = _path(table, f"{0:020d}.json")
    text = first.read_text().replace(
        '{"minReaderVersion":1,"minWriterVersion":2}',
        '{"minReaderVersion":1,"minWriterVersion":7,"writerFeatures":["checkpointProtection"]}',
    )
    assert "checkpointProtection" in text
    first.write_text(text)
    for checkpoint in _path(table, "").glob("*.checkpoint.parquet"):
        checkpoint.unlink()
    with lakehouse.connect(lake.uri) as fresh:
        with pytest.raises(UnsupportedError, match="checkpointProtection"):
            fresh.table("bronze.t").expire_log()
    assert _versions(table) == list(range(41))


@pytest.mark.parametrize(("version", "stays"), [(40, True), (20, False)])
def test_sidecars_go_when_no_checkpoint_that_stays_names_them(lake, table, version, stays):
    sidecars = _path(table, "_sidecars")
    sidecars.mkdir()
    shutil.copy(_path(table, f"{version:020d}.checkpoint.parquet"), sidecars / "named.parquet")
    (sidecars / "unnamed.parquet").write_bytes(b"x")
    (sidecars / "young.parquet").write_bytes(b"x")
    for name in ("named", "unnamed"):
        os.utime(sidecars / f"{name}.parquet", (NOON.timestamp(), NOON.timestamp()))
    lines = _path(table, f"{0:020d}.json").read_text().splitlines()
    others = [line for line in lines if "protocol" in line[:12] or "metaData" in line[:12]]
    listed = '{"sidecar":{"path":"named.parquet","sizeInBytes":1,"modificationTime":1}}'
    name = f"{version:020d}.checkpoint.80a083e8-7026-4e79-81be-64bd76c43a11.json"
    _path(table, name).write_text("\n".join([*others, listed]))
    assert _expire(lake, now=NOON + timedelta(days=41)).oldest_version == 40
    left = {path.name for path in sidecars.iterdir()}
    assert left == {"young.parquet"} | ({"named.parquet"} if stays else set())
    assert len(table.read(version=40).fetchall()) == 40


def test_a_retention_that_is_no_interval_keeps_the_log():
    plan = expired([], {"delta.logRetentionDuration": "two years"}, now=NOW)
    assert (list(plan.entries), "not an interval" in str(plan.reason)) == ([], True)
