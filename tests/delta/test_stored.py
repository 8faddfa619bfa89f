"""Files that stay in a checkpoint's Parquet: the same index as one in memory, read only where asked."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lakehouse
from catalog.storage import open_storage
from lakehouse.delta import actions as act
from lakehouse.delta import replay
from lakehouse.delta.checkpoint import write_checkpoint
from lakehouse.delta.codec import to_lines
from lakehouse.delta.files import bulk
from lakehouse.delta.log import commit_path
from lakehouse.delta.snapshot import load, load_latest, refresh
from lakehouse.duck.engine import VERSION, Engine
from lakehouse.scan.may import EVERY
from tests.scan.test_prune_rules import LAYOUT, PRUNER, filters
from tests.types.engines import effort

PROTOCOL = act.Protocol(3, 7, frozenset(("deletionVectors",)), frozenset(("deletionVectors",)))


def metadata(**properties):
    properties = {name.replace("_", "."): value for name, value in properties.items()}
    return act.Metadata("id", LAYOUT.schema.to_json(), ("p",), properties)


def bounds(values):
    return st.tuples(values, values).map(sorted)


@st.composite
def statistics(draw):
    """Draw a file's statistics: any of them may be missing, NaN is in some."""
    if draw(st.integers(0, 5)) == 0:
        return draw(st.sampled_from([None, "{}", "no JSON"]))
    rows = draw(st.integers(1, 9))
    n, g = draw(bounds(st.integers(-3, 3))), draw(bounds(st.floats(-3, 3)))
    found = {
        "numRecords": rows,
        "minValues": {"n": n[0], "g": g[0]},
        "maxValues": {"n": n[1], "g": g[1]},
        "nullCount": {"n": draw(st.integers(0, rows)), "g": draw(st.integers(0, rows))},
        "nanCount": {"g": draw(st.sampled_from([0, 0, 1]))},
    }
    for kind in draw(st.sets(st.sampled_from(sorted(found)), max_size=2)):
        del found[kind]
    if "maxValues" in found and draw(st.booleans()):
        del found["maxValues"]["n"]
    return json.dumps(found)


@st.composite
def histories(draw):
    """Draw commits of adds, removes, new deletion vectors, and files that come back."""
    live: dict[str, act.AddFile] = {}
    commits: list[list[act.Action]] = []
    for _ in range(draw(st.integers(2, 5))):
        commit: list[act.Action] = []
        for path in draw(st.sets(st.sampled_from(["a b", "é", "[c]", "d/e", "f%"]), max_size=4)):
            add = live.pop(path, None)
            if add is not None:
                commit.append(add.removed(deletion_timestamp=1))
                if draw(st.booleans()):
                    continue
            vector = act.DeletionVector("u", "ab^-aqEH.-t@S}K{vb[*k^", 40, 1, len(commits))
            text = draw(st.none() | st.integers(-3, 3).map(str))
            live[path] = act.AddFile(
                path.replace("%", "%25").replace(" ", "%20"), {"p": text},
                draw(st.integers(0, 10**6)), 1, True, draw(statistics()), None if add is None else vector,
                draw(st.sampled_from([{}, {"tags": {"k": "v"}}])),
            )  # fmt: skip
            commit.append(live[path])
        commits.append(commit)
    return commits


def written(folder, commits, **properties):
    storage = open_storage(folder, durable=False)
    first = [PROTOCOL, metadata(**properties), act.Transaction("app", 3)]
    for version, commit in enumerate([first, *commits]):
        storage.put(commit_path(version), to_lines([act.CommitInfo({}), *commit]))
    return storage


def both(storage, engine, monkeypatch):
    """Load the newest version twice: with the checkpoint's files in memory, and in Parquet."""
    monkeypatch.setattr(replay, "STORED_FROM", 10**9)
    held = load_latest(storage, engine)
    monkeypatch.setattr(replay, "STORED_FROM", 0)
    return held, load_latest(storage, engine)


def kept(index, may, engine):
    predicate = may.exact if index.stored is None else may.stored
    with engine.work("choose") as cursor, index.on(cursor, engine) as source:
        columns = "file, deletion_vector, size, rows, p0, min0, max0, nulls0, min1, max1, nan1"
        query = f"SELECT {columns} FROM {source} WHERE {predicate}"
        return sorted(map(repr, cursor.execute(query).fetchall()))


@pytest.fixture(scope="module")
def engine():
    with Engine() as engine:
        yield engine


@effort(0.1)
@given(commits=histories(), data=st.data())
def test_a_stored_index_is_the_index_in_memory(engine, tmp_path_factory, commits, data):
    storage = written(tmp_path_factory.mktemp("t"), commits)
    at = data.draw(st.integers(1, len(commits)))
    with pytest.MonkeyPatch.context() as patch:
        write_checkpoint(load(storage, engine, version=at), engine, now=2)
        held, stored = both(storage, engine, patch)
        again = stored
        if data.draw(st.booleans()):
            write_checkpoint(stored, engine, now=2)
            again = load_latest(storage, engine)
    assert held.files.stored is None
    for snapshot in (stored, again):
        files = snapshot.files
        assert files.stored is not None
        assert (snapshot.protocol, snapshot.metadata) == (PROTOCOL, metadata())
        assert snapshot.transactions == held.transactions
        assert (len(files), files.bytes) == (len(held.files), held.files.bytes)
        assert files.rows(engine) == held.files.rows(engine)
        assert files.keys() == held.files.keys()
        for texts in (data.draw(st.lists(filters(), max_size=2)) for _ in range(3)):
            may = PRUNER.may_match(tuple(texts))
            assert kept(files, may, engine) == kept(held.files, may, engine)
        names = {file for file, _ in sorted(files.keys())[:2]} | {"nothing"}
        assert files.find(names).keys() == held.files.find(names).keys()
        actions = {add.key: (add.stats, dict(add.extra)) for add in files.adds()}
        assert actions == {add.key: (add.stats, dict(add.extra)) for add in held.files.adds()}


def many(count, **add):
    """Return adds of one row each, in no order: n is a file's number, p its hundred."""
    order = [number * 7919 % count for number in range(count)]
    stats = (
        '{"numRecords":1,"minValues":{"n":%d,"g":0.5},"maxValues":{"n":%d,"g":0.5},'
        '"nullCount":{"n":0,"g":0},"nanCount":{"g":0}}'
    )
    return [
        act.AddFile(f"{n}.parquet", {"p": str(n // 100)}, 10, 1, True, stats % (n, n), **add)
        for n in order
    ]


def row_groups(storage, version, engine, where):
    url = storage.url(f"_delta_log/{version:020d}.checkpoint.parquet")
    stored = load_latest(storage, engine).files.stored
    assert stored is not None
    assert stored.urls == (url,)
    with engine.work("explain") as cursor:
        query = f"SELECT count(path) FROM ({stored.typed(LAYOUT)}) WHERE {where}"
        plan = cursor.execute(f"EXPLAIN ANALYZE {query}").fetchall()[0][1]
    found = re.search(r"Row Groups Scanned: (\d+) / (\d+)", plan)
    return tuple(map(int, found.groups())) if found else (0, 0)


@pytest.mark.parametrize("as_json", ["true", "false"])
def test_row_groups_prune_whatever_the_order_of_files(engine, tmp_path, monkeypatch, as_json):
    monkeypatch.setattr("lakehouse.delta.checkpoint._ROW_GROUP", 2048)
    monkeypatch.setattr(bulk, "BULK_FROM", 0)
    properties = {"delta_checkpoint_writeStatsAsJson": as_json}
    storage = written(tmp_path, [many(20_000)], **properties)
    write_checkpoint(load_latest(storage, engine), engine)
    held, stored = both(storage, engine, monkeypatch)
    assert stored.files.stored is not None
    columns = [column.name for column in stored.files.stored.add.children]
    assert ("stats" in columns) == (as_json == "true")
    assert "deletionVector" not in columns
    assert stored.files.rows(engine) == held.files.rows(engine) == 20_000
    key = "a" * 20
    for text, most in ((f"(c0_{key} = 7777)", 1), (f"(c2_{key} = 3)", 1), (f"(c0_{key} > 19990)", 1),
                       (f"((c0_{key} = 3) OR (c0_{key} = 10))", 1)):  # fmt: skip
        may = PRUNER.may_match((text,))
        assert kept(stored.files, may, engine) == kept(held.files, may, engine) != []
        if VERSION >= (2, 0):
            read, total = row_groups(storage, 1, engine, may.stored)
            # One for the files, and the first, where the other actions stand.
            assert read <= most + 1 < total


def test_an_index_that_is_asked_often_is_read_into_memory(engine, tmp_path, monkeypatch):
    storage = written(tmp_path, [many(300)])
    write_checkpoint(load_latest(storage, engine), engine)
    _, stored = both(storage, engine, monkeypatch)
    index = stored.files
    before = kept(index, EVERY, engine)
    assert index.stored is not None
    memory = index.stored._memory
    in_memory = [memory.index is not None]
    memory.seconds = 1e9
    assert kept(index, EVERY, engine) == before
    assert [*in_memory, memory.index is not None] == [False, True]
    gone = [add.key for add in many(300)[:5]]
    after = index.changed(adds=[], gone=gone, engine=engine)
    assert len(kept(after, EVERY, engine)) == len(after) == 295


def test_large_commits_are_read_in_bulk_as_line_by_line(engine, tmp_path, monkeypatch):
    adds = many(300)
    again = [*adds[:3], act.RemoveFile(adds[4].path, 1), act.CommitInfo({"x": 1})]
    storage = written(tmp_path, [adds, [adds[5].removed(deletion_timestamp=1)], again])
    slow = load_latest(storage, engine)
    monkeypatch.setattr(bulk, "BULK_FROM", 0)
    quick = load_latest(storage, engine)
    assert len(quick.files) == 298
    assert quick.files.adds()
    assert {add.key: add for add in quick.files.adds()} == {a.key: a for a in slow.files.adds()}
    assert (quick.metadata, quick.protocol) == (slow.metadata, slow.protocol)


@pytest.mark.parametrize(
    "line",
    ['{"add":{"path":"x","partitionValues":{},"size":1,"modificationTime":1}}',
     '{"add":{"path":"x","partitionValues":{},"size":1,"modificationTime":1,"stats":null}}',
     '{"add":{"path":"é%20x","partitionValues":{"p":"}\\"é"},"size":1,"modificationTime":1,'
     '"dataChange":true,"stats":"{\\"numRecords\\":3}"}}',
     '{"add":{"path":"x","partitionValues":{"p":null},"size":1,"modificationTime":1}}',
     '{"add":{"size":1,"path":"x","partitionValues":{},"modificationTime":1,"dataChange":true}}',
     '{ "add": {"path": "x", "partitionValues": {}, "size": 1, "modificationTime": 1} }',
     '{"add":{"path":"x","partitionValues":{},"size":1,"modificationTime":1,"tags":{"a":"b"}}}',
     '{"add":{"path":"x","partitionValues":{},"size":1,"modificationTime":1,"stats":'
     '"{}","baseRowId":7}}'],
)  # fmt: skip
def test_a_line_means_the_same_in_a_large_commit(engine, tmp_path, monkeypatch, line):
    storage = written(tmp_path, [many(3)])
    path = commit_path(1)
    storage.put(path, storage.read(path) + line.encode() + b"\n")
    slow = load_latest(storage, engine)
    monkeypatch.setattr(bulk, "BULK_FROM", 0)
    monkeypatch.delattr(bulk, "read_entries")  # all of it is read in bulk
    quick = load_latest(storage, engine)
    assert len(quick.files) == 4
    assert {add.key: add for add in quick.files.adds()} == {a.key: a for a in slow.files.adds()}


@pytest.mark.parametrize(
    "line",
    ['{"add":{"path":"x","path":"x","partitionValues":{},"size":1,"modificationTime":1}}',
     '{"add":{"path":"../x","partitionValues":{},"size":1,"modificationTime":1}}',
     '{"add":{"path":"x","partitionValues":{},"size":-1,"modificationTime":1}}',
     '{"add":{"path":"x","partitionValues":{},"size":1.5,"modificationTime":1}}',
     '{"add":{"path":"x","partitionValues":{},"size":"1","modificationTime":1}}',
     '{"add":{"path":"x","partitionValues":{},"size":1,"modificationTime":1},"more":{"a":"b"}}',
     '{"add":{"path":7,"partitionValues":{},"size":1,"modificationTime":1}}',
     '{"add":{"path":"0.parquet","partitionValues":{},"size":1,"modificationTime":1}}', "{"],
)  # fmt: skip
def test_what_is_wrong_in_a_large_commit_is_found(engine, tmp_path, monkeypatch, line):
    monkeypatch.setattr(bulk, "BULK_FROM", 0)
    storage = written(tmp_path, [many(10)])
    path = commit_path(1)
    storage.put(path, storage.read(path) + line.encode() + b"\n")
    with pytest.raises(lakehouse.CorruptionError):
        load_latest(storage, engine)


@pytest.mark.parametrize("path", ["../outside.parquet", "/etc/passwd", "7.parquet"])
def test_files_of_a_checkpoint_are_checked_before_they_are_used(tmp_path, monkeypatch, path):
    monkeypatch.setattr(replay, "STORED_FROM", 0)
    with lakehouse.connect(tmp_path / "lake", durable=False) as lake:
        storage = written(tmp_path / "t", [many(20)])
        write_checkpoint(load_latest(storage, lake._engine), lake._engine)
        file = f"{tmp_path}/t/_delta_log/{1:020d}.checkpoint.parquet"
        with lake._engine.work("forge") as cursor:
            cursor.execute(
                f"COPY (SELECT * REPLACE (struct_update(add, path := CASE WHEN add.path = "
                f"'3.parquet' THEN '{path}' ELSE add.path END) AS add) FROM '{file}') TO '{file}.new'"
                f" (FORMAT parquet)"
            )
        (tmp_path / f"t/_delta_log/{1:020d}.checkpoint.parquet.new").rename(file)
        table = lake.register_table("bronze.t", tmp_path / "t")
        assert table.version == 1
        with pytest.raises(lakehouse.CorruptionError):
            table.read()
        with pytest.raises(lakehouse.CorruptionError):
            table.snapshot().files.adds()


def test_an_open_table_goes_on_when_its_checkpoint_expires(engine, tmp_path, monkeypatch):
    monkeypatch.setattr(replay, "STORED_FROM", 0)
    storage = written(tmp_path, [many(20)])
    write_checkpoint(load_latest(storage, engine), engine)
    opened = load_latest(storage, engine)
    storage.put(commit_path(2), to_lines([act.AddFile("x", {"p": None}, 1, 1)]))
    write_checkpoint(load_latest(storage, engine), engine)
    newer = refresh(opened, engine)
    assert (newer.version, newer.checkpoint_version, len(newer.files)) == (2, 2, 21)
    storage.delete([f"_delta_log/{1:020d}.checkpoint.parquet", commit_path(0), commit_path(1)])
    assert refresh(opened, engine).checkpoint_version == 2


def test_bounds_of_columns_come_from_the_log(tmp_path, monkeypatch):
    monkeypatch.setattr(replay, "STORED_FROM", 0)
    with lakehouse.connect(tmp_path / "lake", durable=False) as lake:
        columns = {"n": "BIGINT", "p": "VARCHAR", "b": "BLOB"}
        table = lake.create_table("bronze.t", columns, partition_by="p")
        assert table.bounds("n") == (None, None)
        table.append([{"n": 3, "p": "x", "b": b""}, {"n": 7, "p": "y", "b": b""}])
        table.append([{"n": None, "p": None, "b": None}])
        table.checkpoint()
        again = lakehouse.connect(lake.uri).table("bronze.t")
        assert [again.bounds(name) for name in ("N", "p", "b")] == [
            (3, 7),
            ("x", "y"),
            (None, None),
        ]
        with pytest.raises(lakehouse.NotFoundError):
            again.bounds("nothing")
