"""Leftovers of dead writers: found and collected, and never a file that a version needs."""

import json
import os
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lakehouse
from catalog.errors import CorruptionError, InputError, UnsupportedError
from catalog.storage import StoredObject
from lakehouse.delta import actions as act
from lakehouse.delta import replay
from lakehouse.delta.codec import encode_path
from lakehouse.delta.leftovers import fold, leftovers, named_by
from lakehouse.write import data_files

NOW = datetime(2024, 6, 15, 12, tzinfo=UTC)
WEEK = timedelta(days=7)
VECTOR = "deletion_vector_d2c639aa-8816-431a-aaf6-d3fe2512ff61.bin"
TEMPORARY = f".tmp-{uuid.uuid4().hex}"

folders = st.sampled_from(
    ["", "p=1/", "P=1/", "p=a%20b/", "ä/", "a\u0308/", "_delta_log/", "_delta_log/_sidecars/",
     "_change_data/", "_change_data/p=1/", "_change_data/_x/", "_other/", ".hidden/", "p=1/_x/",
     "inner/", "inner/_delta_log/", "inner/p=1/"]
)  # fmt: skip
names = st.sampled_from(
    ["a.parquet", "b.parquet", "_a.parquet", ".a.parquet", TEMPORARY, VECTOR, "x.tmp", ".x.tmp",
     f"{7:020d}.json", f"{7:020d}.checkpoint.parquet", "_last_checkpoint", "readme.md", "a.csv",
     "_commit_d2c639aa-8816-431a-aaf6-d3fe2512ff61.json.tmp"]
)  # fmt: skip
files = st.builds(str.__add__, folders, names)


@given(
    found=st.dictionaries(files, st.integers(-2, 20), max_size=30),
    adds=st.sets(files),
    removes=st.sets(files),
    changes=st.sets(files),
    days=st.integers(0, 15),
)
def test_only_old_unnamed_files_of_known_kinds_are_leftovers(found, adds, removes, changes, days):
    objects = [StoredObject(p, 1, NOW - timedelta(days=age)) for p, age in sorted(found.items())]
    actions: list[act.Action] = [
        *(act.AddFile(encode_path(path), {}, 1, 1) for path in adds),
        *(act.RemoveFile(encode_path(path), 1) for path in removes),
        *(act.OtherAction("cdc", {"path": encode_path(path)}) for path in changes),
    ]
    named = set(named_by(actions))
    chosen = leftovers(objects, named, now=NOW, older_than=timedelta(days=days))
    paths = {item.path for item in chosen}
    for item in chosen:
        assert item.age > timedelta(days=days)
        assert fold(item.path) not in {fold(path) for path in adds | removes | changes}
        folder, _, name = item.path.rpartition("/")
        hidden = [part for part in folder.split("/") if part.startswith(("_", "."))]
        if hidden == ["_delta_log"]:
            assert name.endswith(".tmp") or name == TEMPORARY
        else:
            assert hidden in ([], ["_change_data"])
            assert not name.startswith("_")
            assert name.endswith(("parquet", ".bin")) or name == TEMPORARY
        if any(path.startswith("inner/_delta_log/") for path in found):
            assert not item.path.startswith("inner/")
    for path, age in found.items():
        if path in ("a.parquet", "p=1/a.parquet", VECTOR, f"_delta_log/{TEMPORARY}", TEMPORARY):
            is_free = fold(path) not in named and age > days
            assert (path in paths) == is_free


@pytest.mark.parametrize(
    "action",
    [
        act.AddFile("s3://bucket/a.parquet", {}, 1, 1),
        act.RemoveFile("/a.parquet", 1),
        act.AddFile("a", {}, 1, 1, deletion_vector=act.DeletionVector("p", "file:///a.bin", 1, 1)),
    ],
)
def test_absolute_paths_make_leftovers_undecidable(action):
    with pytest.raises(UnsupportedError, match="absolute path"):
        list(named_by([action]))


@pytest.fixture
def lake(tmp_path):
    with lakehouse.connect(tmp_path / "lake", durable=False) as lake:
        yield lake


@pytest.fixture
def table(lake):
    table = lake.create_table("bronze.t", {"n": "BIGINT", "p": "VARCHAR"}, partition_by="p")
    table.append([{"n": 1, "p": "ä b%"}, {"n": 2, "p": None}])
    table.overwrite([{"n": 3, "p": "ä b%"}])
    table.append([{"n": 4, "p": "x"}])
    return table


class _Died(BaseException):
    """End a writer where it stands, as a kill does: nothing of ours cleans up."""


def _die_before_commit(table, monkeypatch):
    def die(*_):
        raise _Died

    with monkeypatch.context() as patch:
        patch.setattr(data_files, "discard", lambda storage, token: None)
        patch.setattr(type(table.snapshot().storage), "put_if_absent", die)
        with pytest.raises(_Died):
            table.append([{"n": 9, "p": "x"}, {"n": 9, "p": "dead"}])
    folder = Path(table.uri)
    (folder / "_delta_log" / TEMPORARY).write_bytes(b"half a com")
    (folder / TEMPORARY).write_bytes(b"")
    (folder / VECTOR).write_bytes(b"x")


def _everything(table):
    folder = Path(table.uri)
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def _age(table, days=30):
    then = (datetime.now(UTC) - timedelta(days=days)).timestamp()
    for path in Path(table.uri).rglob("*"):
        os.utime(path, (then, then), follow_symlinks=False)


def test_what_a_dead_writer_left_is_collected_by_age_and_nothing_else(lake, table, monkeypatch):
    _age(table)
    before = _everything(table)
    history = {version: sorted(table.read(version=version).fetchall()) for version in range(4)}
    _die_before_commit(table, monkeypatch)
    left = _everything(table) - before
    assert len(left) == 5
    assert table.leftovers() == ()
    found = table.leftovers(older_than=timedelta(0))
    assert {item.path for item in found} == left
    assert {item.why.split(" that ")[0] for item in found} == {
        "data file", "deletion vector file", "temporary file", "temporary file in the log"
    }  # fmt: skip
    _age(table)
    assert table.collect_leftovers(dry_run=True).files == 5
    assert _everything(table) - before == left
    report = table.collect_leftovers()
    assert ({item.path for item in report.leftovers}, report.files) == (left, 5)
    assert report.bytes == sum(item.size for item in report.leftovers) > 0
    assert _everything(table) == before
    for version, rows in history.items():
        assert sorted(table.read(version=version).fetchall()) == rows


@pytest.mark.parametrize("stored_from", [0, replay.STORED_FROM], ids=["stored", "held"])
def test_files_that_only_a_checkpoint_names_are_needed(lake, table, monkeypatch, stored_from):
    monkeypatch.setattr(replay, "STORED_FROM", stored_from)
    table.checkpoint()
    for version in range(3):
        Path(table.uri, "_delta_log", f"{version:020d}.json").unlink()
    _age(table)
    with lakehouse.connect(lake.uri) as fresh:
        again = fresh.table("bronze.t")
        before = _everything(again)
        assert again.collect_leftovers(older_than=timedelta(0)).files == 0
        assert _everything(again) == before
        checkpoint = Path(again.uri, "_delta_log", f"{3:020d}.checkpoint.parquet")
        checkpoint.write_bytes(b"PAR1 nonsense PAR1")
        with pytest.raises(CorruptionError):
            again.collect_leftovers(older_than=timedelta(0))
        assert _everything(again) == before


def test_change_data_links_and_other_tables_inside_are_left_alone(lake, table, tmp_path):
    folder = Path(table.uri)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x.parquet").write_bytes(b"x")
    (folder / "linked").symlink_to(outside)
    (folder / "link.parquet").symlink_to(outside / "x.parquet")
    changes = folder / "_change_data"
    changes.mkdir()
    for name in ("named.parquet", "unnamed.parquet"):
        (changes / name).write_bytes(b"x")
    inner = folder / "inner" / "_delta_log"
    inner.mkdir(parents=True)
    (inner / f"{0:020d}.json").write_text("{}")
    (folder / "inner" / "p.parquet").write_bytes(b"x")
    commit = folder / "_delta_log" / f"{3:020d}.json"
    cdc = {"cdc": {"path": "_change_data/named.parquet", "size": 1, "dataChange": False}}
    commit.write_text(commit.read_text() + json.dumps(cdc) + "\n")
    _age(table)
    os.utime(outside / "x.parquet", (0, 0))
    with lakehouse.connect(lake.uri) as fresh:
        report = fresh.table("bronze.t").collect_leftovers()
    assert [item.path for item in report.leftovers] == ["_change_data/unnamed.parquet"]
    assert (outside / "x.parquet").exists()
    assert (folder / "link.parquet").is_symlink()


def test_a_negative_age_is_refused(table):
    with pytest.raises(InputError, match="older_than"):
        table.collect_leftovers(older_than=timedelta(days=-1))


@pytest.mark.parametrize("hours", [-48, 48])
def test_ages_are_counted_by_the_earlier_of_two_clocks(table, monkeypatch, hours):
    stray = Path(table.uri, "stray.parquet")
    stray.write_bytes(b"x")
    storage = type(table.snapshot().storage)
    shift = timedelta(hours=hours)
    monkeypatch.setattr(storage, "now", lambda self: datetime.now(UTC) + shift)
    assert table.leftovers(older_than=timedelta(hours=1)) == ()
