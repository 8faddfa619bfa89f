"""Vacuum end to end: what goes, what stays readable, and what brings it back."""

import os
import time
from datetime import timedelta
from pathlib import Path

import deltalake
import pytest

import compaction
import lakehouse
from lakehouse.delta.vacuum import unneeded
from lakehouse.table import vacuuming

DAY = 86_400
WEEK = timedelta(days=7)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "lake"


@pytest.fixture
def lake(place: Path):
    with lakehouse.connect(place, durable=False) as lake:
        yield lake


def aged(table: lakehouse.Table, days: float) -> None:
    """Let all files that are there have been written so long ago."""
    then = time.time() - days * DAY
    for path in Path(table.uri).rglob("*"):
        if path.is_file() and not path.is_symlink():
            later = int(path.stem) if path.stem.isdigit() else 0  # versions, one after the other
            os.utime(path, (then + later, then + later))


def history_of(lake: lakehouse.Lake, **options) -> lakehouse.Table:
    """Make a table of three versions with rows: two of them 20 days old."""
    table = lake.create_table("silver.t", {"id": "BIGINT"}, **options)
    table.append([{"id": 1}, {"id": 2}])
    table.overwrite([{"id": 3}, {"id": 4}])
    aged(table, 20)
    table.overwrite([{"id": 5}])
    return table


def ids(table: lakehouse.Table, version: int | None = None) -> list[int]:
    return sorted(row[0] for row in table.read(version=version).fetchall())


def test_what_the_retention_covers_stays_readable(lake) -> None:
    table = history_of(lake)
    planned = table.vacuum(dry_run=True)
    assert (planned.files, planned.oldest_version, planned.dry_run) == (1, 2, True)
    assert ids(table, 1) == [1, 2]
    report = table.vacuum()
    assert (report.files, report.bytes) == (1, planned.bytes)
    assert {item.why for item in report.deleted} == {
        "data file of versions that are not kept any more"
    }
    # Version 2 was the newest until a moment ago: a reader of a week ago would read it.
    assert (ids(table), ids(table, 2)) == ([5], [3, 4])
    with pytest.raises(lakehouse.StorageError):
        ids(table, 1)
    assert deltalake.DeltaTable(table.uri).to_pyarrow_table is not None
    assert table.vacuum().files == 0


def test_a_retention_below_a_day_must_be_meant(lake) -> None:
    table = history_of(lake)
    with pytest.raises(lakehouse.InputError, match="enforce_retention"):
        table.vacuum(retention=timedelta(hours=1))
    assert table.vacuum(retention=timedelta(0), enforce_retention=False).files == 2
    assert ids(table) == [5]


def test_a_table_may_say_it_itself(lake) -> None:
    kept = {"delta.deletedFileRetentionDuration": "interval 30 days"}
    table = history_of(lake, properties=kept)
    assert table.vacuum().files == 0
    table.alter().set_properties({"delta.deletedFileRetentionDuration": "interval 2 days"})
    assert table.vacuum().files == 1


def test_files_of_writers_at_work_stay(lake) -> None:
    table = history_of(lake)
    for name, days in (("part-young.parquet", 0.5), ("part-old.parquet", 9)):
        path = Path(table.uri) / name
        path.write_bytes(b"1234")
        os.utime(path, (time.time() - days * DAY,) * 2)
    report = table.vacuum(retention=timedelta(0), enforce_retention=False)
    assert (Path(table.uri) / "part-young.parquet").exists()
    assert "part-old.parquet" in {item.path for item in report.deleted}


def test_deletion_vectors_and_change_files_live_as_long_as_their_versions(lake) -> None:
    properties = {"delta.enableDeletionVectors": True, "delta.enableChangeDataFeed": True}
    table = lake.create_table("silver.t", {"id": "BIGINT"}, properties=properties)
    table.append([{"id": n} for n in range(5000)])
    table.delete("id = 7")
    aged(table, 20)
    table.delete("id = 8")
    table.delete("id = 9")
    report = table.vacuum()
    assert len(ids(table)) == 4997
    assert len(ids(table, 2)) == 4999  # the newest a week ago
    assert {row[0] for row in table.changes(since=3).select("id").fetchall()} == {8, 9}
    gone = {item.path for item in report.deleted}
    assert gone == {path for path in gone if path.startswith("_change_data/")}
    with pytest.raises(lakehouse.LakehouseError):
        table.changes(since=2).fetchall()


def test_links_and_paths_that_lead_out_are_not_touched(lake, tmp_path: Path) -> None:
    table = history_of(lake)
    outside = tmp_path / "outside"
    outside.mkdir()
    for name in ("a.parquet", "b.parquet"):
        (outside / name).write_bytes(b"1234")
        os.utime(outside / name, (time.time() - 90 * DAY,) * 2)
    (Path(table.uri) / "linked").symlink_to(outside)
    (Path(table.uri) / "link.parquet").symlink_to(outside / "b.parquet")
    inner = Path(table.uri) / "nested" / "_delta_log"
    inner.mkdir(parents=True)
    (inner.parent / "c.parquet").write_bytes(b"1234")
    (inner / f"{0:020}.json").write_bytes(b"{}")
    for path in (inner.parent / "c.parquet", inner / f"{0:020}.json"):
        os.utime(path, (time.time() - 90 * DAY,) * 2)
    table.vacuum()
    assert {path.name for path in outside.iterdir()} == {"a.parquet", "b.parquet"}
    assert (inner.parent / "c.parquet").exists()
    assert (Path(table.uri) / "link.parquet").is_symlink()


def test_named_snapshots_keep_their_versions_and_log(lake) -> None:
    table = lake.create_table("silver.t", {"id": "BIGINT"})
    table.append([{"id": 1}, {"id": 2}])
    named = lake.name_snapshot("q1", description="closed books")
    assert named.versions == {"silver.t": 1}
    table.overwrite([{"id": 3}])
    table.overwrite([{"id": 4}])
    aged(table, 60)
    table.overwrite([{"id": 5}])
    table.checkpoint()
    report = table.vacuum()
    assert (report.held, report.files) == ((1,), 1)
    table.expire_log()
    lake.rename_table("silver.t", "silver.renamed")
    with lake.snapshot("q1") as view:
        assert sorted(view.sql("SELECT id FROM silver.renamed").fetchall()) == [(1,), (2,)]
    with pytest.raises(lakehouse.InputError, match="snapshots"):
        lake.drop_table("silver.renamed", purge=True)
    with pytest.raises(lakehouse.AlreadyExistsError):
        lake.name_snapshot("q1")
    with pytest.raises(lakehouse.NotFoundError, match="q2"):
        lake.snapshot("q2")
    assert [one.name for one in lake.named_snapshots()] == ["q1"]
    lake.drop_snapshot("q1")
    assert lake.table("silver.renamed").vacuum().files == 1


def test_a_reader_holds_its_versions_until_it_is_done(place: Path, lake) -> None:
    table = lake.create_table("silver.t", {"id": "BIGINT"})
    table.append([{"id": 1}])
    with lakehouse.connect(place) as other, other.snapshot(hold=timedelta(hours=1)) as view:
        table.overwrite([{"id": 2}])
        aged(table, 20)
        table.overwrite([{"id": 3}])
        short = timedelta(0)
        assert table.vacuum(retention=short, enforce_retention=False).held == (1,)
        assert view.sql("SELECT id FROM silver.t").fetchall() == [(1,)]
    assert table.vacuum(retention=short, enforce_retention=False).files == 1
    assert ids(table) == [3]


def test_a_damaged_hold_stops_all_deleting(place: Path, lake) -> None:
    table = history_of(lake)
    lake.name_snapshot("q1")
    (place / "_holds" / "named" / "q1.json").write_text("{")
    with pytest.raises(lakehouse.CorruptionError, match="q1"):
        table.vacuum()
    assert ids(table, 1) == [1, 2]


def test_the_trash_brings_files_back(lake) -> None:
    table = history_of(lake)
    report = table.vacuum(trash=True)
    assert table.trash() == (report.trash,)
    with pytest.raises(lakehouse.StorageError):
        ids(table, 1)
    assert table.vacuum().files == 0  # what is in the trash is no leftover
    back = table.undo_vacuum(str(report.trash))
    assert (back.files, back.bytes, table.trash()) == (1, report.bytes, ())
    assert ids(table, 1) == [1, 2]
    with pytest.raises(lakehouse.NotFoundError):
        table.undo_vacuum(str(report.trash))
    table.vacuum(trash=True)
    assert table.empty_trash().files == 0
    assert table.empty_trash(older_than=timedelta(0)).files == 1


def test_a_restore_that_lands_first_keeps_its_files(lake, monkeypatch) -> None:
    table = history_of(lake)

    def late(*args, **options):
        found = unneeded(*args, **options)
        lake.table("silver.t").restore(1)  # between the look and the deletion
        return found

    monkeypatch.setattr(vacuuming, "unneeded", late)
    assert table.vacuum().files == 0
    assert ids(table) == [1, 2]


def test_what_is_needed_since_the_plan_stays(lake, monkeypatch) -> None:
    table = history_of(lake)
    found = table.plan_vacuum()
    assert len(found.gone) == 1
    with monkeypatch.context() as patched:
        patched.setattr(lakehouse.Table, "held_versions", lambda _: {1, 3})
        report = table.vacuum_as_planned(found)
    assert (report.files, report.held, ids(table, 1)) == (0, (1,), [1, 2])
    lake.table("silver.t").restore(1)
    assert table.vacuum_as_planned(found).files == 0
    assert ids(table) == [1, 2]


def test_where_all_that_is_old_is_live_the_log_is_not_read(lake, monkeypatch) -> None:
    table = lake.create_table("silver.t", {"id": "BIGINT"})
    table.append([{"id": 1}])
    aged(table, 20)
    monkeypatch.setattr(vacuuming, "read_each", None)
    assert table.vacuum().files == 0


def test_a_log_without_its_first_commits(lake) -> None:
    table = history_of(lake)
    table.checkpoint()
    aged(table, 45)
    table.append([{"id": 6}])
    assert table.expire_log().files
    table.overwrite([{"id": 7}])
    assert table.vacuum().files == 2
    assert ids(table) == [7]


def test_a_runner_that_lost_its_lease_deletes_nothing(lake) -> None:
    table = history_of(lake)

    def lost() -> int:
        raise lakehouse.ConflictError("another worker took over")

    (report,) = compaction.run(lake, fence=lambda _: lost)
    assert (report.files_deleted, report.problems) == (0, ("another worker took over",))
    assert ids(table, 1) == [1, 2]
    assert compaction.run(lake)[0].files_deleted == 1
