"""Rows marked in deletion vectors are gone for every reader, and a mark is made where it is cheaper."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import event, given, note
from hypothesis import strategies as st

import lakehouse
from catalog.errors import StorageError
from catalog.storage import open_storage
from lakehouse.delta import vector_files
from lakehouse.delta.actions import AddFile, DeletionVector
from lakehouse.delta.bitmap import bitmap, row_numbers
from lakehouse.delta.deletion_vector import Vectors, relative_path
from lakehouse.delta.vector_files import write_vectors
from lakehouse.dml import marking, merging, output, parts
from lakehouse.dml.marking import is_cheaper
from lakehouse.testing import predicates, rows
from tests.dml.test_delete import ROWS, SCHEMA, left, three_files
from tests.scan.test_pruning import layouts, plain
from tests.types.engines import PEERS, comparable, effort, new_table, ours

VECTORS = {"delta.enableDeletionVectors": True}
BOTH = {**VECTORS, "delta.enableChangeDataFeed": True}


@effort(0.08)
@given(data=st.data(), layout=layouts(), mapped=st.booleans(), in_files=st.booleans())
def test_rows_after_deletes_and_partial_overwrites(lake, data, layout, mapped, in_files):
    schema, partition_by, appends = layout
    properties = {**BOTH, **({"delta.columnMapping.mode": "name"} if mapped else {})}
    table = new_table(lake, schema, partition_by=partition_by, properties=properties)
    for given_ in appends:
        table.append(given_)
    raw = pa.concat_tables(appends)
    with pytest.MonkeyPatch.context() as patch:
        if in_files:
            patch.setattr(vector_files, "_INLINE", 0)
        for _ in range(3):
            where, before = data.draw(predicates(raw)), table.detail()
            note(where)
            rest = left(raw, where)
            # A predicate on renamed fields of structs cannot check new rows.
            if mapped or data.draw(st.booleans()):
                report = table.delete(where)
            else:
                new = data.draw(rows(schema, max_rows=2, partition_by=partition_by))
                with plain(new=new) as connection:
                    new = connection.sql(f"SELECT * FROM new WHERE {where}").to_arrow_table()
                report = table.overwrite(new.cast(schema), where=where)
                rest = pa.concat_tables([rest.cast(schema), new.cast(schema)])
            assert report.rows_deleted == len(raw) + report.rows - len(rest)
            assert comparable(ours(table)) == comparable(rest)
            assert table.detail().rows == len(rest)
            assert table.detail().files == before.files + report.files_added - report.files_removed
            event(f"files marked: {bool(report.files_marked)}")
            raw = rest


@pytest.mark.parametrize("partition_by", [(), ("p",)], ids=["plain", "partitioned"])
def test_other_readers_see_what_is_left(lake, partition_by):
    table = three_files(lake, partition_by=partition_by, properties=VECTORS)
    assert table.delete("i % 7 = 0 OR v IN ('v3', 'v4')").files_marked > 0
    assert table.delete("i % 5 = 0 OR p = 'c'").files_marked > 0
    rest = [r for r in ROWS if r["i"] % 7 and r["i"] % 5 and r["i"] not in (3, 4) and r["p"] != "c"]
    expected = comparable(pa.Table.from_pylist(rest))
    for read in (ours, *PEERS.values()):
        assert comparable(read(table).select(list(SCHEMA))) == expected


def test_an_update_reads_the_rows_that_it_marks_once(lake, monkeypatch):
    """They are kept where they were found, whatever their columns are called."""
    names = ("local", "file", "row", "k", "t", "lakehouse")
    table = new_table(lake, dict.fromkeys(names, "INTEGER"), properties=VECTORS)
    for start in (0, 100, 200):
        rest = ", ".join(f"i * {factor} AS {name}" for factor, name in enumerate(names[1:], 2))
        table.append(
            lake.sql(f"SELECT i AS local, {rest} FROM range({start}, {start + 100}) AS t(i)")
        )
    opened: list[tuple[str, int]] = []
    open_ = parts.opened

    def noted(snapshot, scanner, doing):
        opened.append((doing, len(snapshot.files.adds())))
        return open_(snapshot, scanner, doing)

    for module in (merging, output):
        monkeypatch.setattr(module, "opened", noted)
    expected: dict[int, list[int | None]] = {
        i: [i * factor for factor in range(1, 7)] for i in range(300)
    }
    for digit in (3, 4):  # the second finds vectors, and a file more
        report = table.update({"file": "local + row", "t": "NULL"}, where=f"local % 10 = {digit}")
        assert (report.rows_updated, report.files_marked > 0) == (30, True)
        for i, row in expected.items():
            if i % 10 == digit:
                row[1], row[4] = i + i * 3, None
        found = {row[0]: list(row) for row in table.read(columns=list(names)).fetchall()}
        assert found == expected
    assert [files for doing, files in opened if doing == "find the rows that match"] == [3, 4]
    assert [files for doing, files in opened if doing == "write rows"] == [0, 0]


@given(
    size=st.integers(1, 1 << 40),
    count=st.integers(1, 10**9),
    before=st.integers(0, 10**9),
    some=st.integers(0, 10**9),
    more=st.integers(0, 10**9),
)
def test_a_mark_that_is_cheaper_stays_so_for_fewer_rows(size, count, before, some, more):
    before, some = before % count, some % count
    vector = DeletionVector("i", "", 0, before) if before else None
    add = AddFile("a", {}, size, 1, stats=f'{{"numRecords":{count}}}', deletion_vector=vector)
    if is_cheaper(add, some + more):
        assert is_cheaper(add, some)
    if (some + before) * 2 <= count:
        assert is_cheaper(add, some)  # half of a file is never copied
    if size > 1 << 30 and (some + before) * 10 >= count * 9 and some + before <= count:
        assert not is_cheaper(add, some)  # a tenth of a large one is
    assert not is_cheaper(AddFile("a", {}, size, 1, stats=None), 1)
    assert not is_cheaper(AddFile("a", {}, size, 1, stats='{"numRecords":null}'), 1)


@given(
    sets=st.lists(st.sets(st.integers(0, 1 << 33), min_size=1), max_size=6),
    inline=st.sampled_from([0, 40, 1 << 20]),
    largest=st.sampled_from([1, 100, 1 << 20]),
)
def test_vectors_are_read_as_they_were_written(sets, inline, largest):
    storage = open_storage("memory://")
    bitmaps = [bitmap(pa.array(sorted(numbers), pa.int64())) for numbers in sets]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vector_files, "_INLINE", inline)
        patch.setattr(vector_files, "_LARGEST_FILE", largest)
        made = write_vectors(storage, bitmaps)
    reader = Vectors(storage)
    found = [set(row_numbers(reader.rows(vector)).to_pylist()) for vector in made.vectors]
    assert found == sets
    assert [vector.cardinality for vector in made.vectors] == [len(numbers) for numbers in sets]
    assert sorted(made.paths) == sorted({item.path for item in storage.list()})
    stored = {relative_path(v) for v in made.vectors if v.storage_type == "u"}
    assert stored == set(made.paths)
    assert all(v.size_in_bytes <= inline for v in made.vectors if v.storage_type == "i")


def vectors_of(table) -> list[DeletionVector]:
    found = [add.deletion_vector for add in table.snapshot().files.adds()]
    return [vector for vector in found if vector is not None]


def test_vectors_stand_side_by_side_in_one_file(lake, monkeypatch):
    monkeypatch.setattr(vector_files, "_INLINE", 0)
    table = new_table(lake, {"n": "BIGINT"}, properties=VECTORS)
    for start in (0, 1000, 2000):
        table.append(pa.table({"n": list(range(start, start + 1000))}))
    report = table.delete("n % 3 = 0")
    assert (report.files_marked, report.files_added, report.files_removed) == (3, 0, 0)
    assert report.rows_deleted == 334 + 333 + 333
    (file,) = Path(table.uri).glob("deletion_vector_*.bin")
    vectors = vectors_of(table)
    assert min(vector.offset or 0 for vector in vectors) == 1
    assert len({vector.path_or_inline for vector in vectors}) == 1
    assert file.read_bytes()[0] == 1
    end = max((vector.offset or 0) + vector.size_in_bytes for vector in vectors)
    assert file.stat().st_size == 4 + end + 4
    expected = [(n,) for n in range(3000) if n % 3]
    assert sorted(table.read().fetchall()) == expected
    for read in PEERS.values():
        assert sorted(read(table)["n"].to_pylist()) == [n for (n,) in expected]


def test_what_a_commit_says_of_a_marked_file(lake):
    table = new_table(lake, {"n": "BIGINT", "d": "DECIMAL(30,3)"}, properties=VECTORS)
    table.append([{"n": n, "d": None} for n in range(10)])
    table.overwrite(
        lake.sql("SELECT n, 12345678901234567890123.456::DECIMAL(30,3) AS d FROM range(10) t(n)")
    )
    (before,) = table.snapshot().files.adds()
    table.delete("n = 3")
    table.delete("n = 4")
    (add,) = table.snapshot().files.adds()
    assert add.path == before.path
    assert [vector.cardinality for vector in vectors_of(table)] == [2]
    text = add.stats or ""
    stats = json.loads(text)
    assert (stats["numRecords"], stats["tightBounds"]) == (10, False)
    assert text.count("tightBounds") == 1
    assert "12345678901234567890123.456" in text
    metrics = table.history()[0].metrics
    assert (metrics["numDeletedRows"], metrics["numDeletionVectorsAdded"]) == ("1", "1")
    assert table.bounds("n") == (0, 9)
    assert lake.sql(f"SELECT count(*), min(n) FROM {table.name}").fetchall() == [(8, 0)]
    table.delete("n < 3")
    assert lake.sql(f"SELECT count(*), min(n) FROM {table.name}").fetchall() == [(5, 5)]


def test_the_last_rows_of_a_file_take_it_away(lake):
    table = new_table(lake, {"n": "BIGINT"}, properties=VECTORS)
    table.append([{"n": n} for n in range(4)])
    assert table.delete("n IN (0, 2)").files_marked == 1
    report = table.delete("n IN (1, 3)")
    assert (report.files_marked, report.files_removed, report.rows_deleted) == (0, 1, 2)
    assert table.files().num_rows == 0


def test_a_mostly_dead_large_file_is_copied(lake, monkeypatch):
    monkeypatch.setattr(marking, "_FILE", 0)
    table = new_table(lake, {"n": "BIGINT"}, properties=VECTORS)
    table.append([{"n": n} for n in range(100)])
    report = table.delete("n >= 10")
    assert (report.files_marked, report.files_added, report.files_removed) == (0, 1, 1)
    report = table.delete("n = 5")
    assert (report.files_marked, report.files_added) == (1, 0)
    assert sorted(table.read().fetchall()) == [(n,) for n in range(10) if n != 5]


def test_marking_is_switched_on_and_off(lake):
    table = new_table(lake, {"n": "BIGINT"})
    table.append([{"n": n} for n in range(9)])
    assert (table.detail().min_reader, table.delete("n = 0").files_marked) == (1, 0)
    table.alter().set_properties(VECTORS)
    detail = table.detail()
    assert (detail.min_reader, detail.min_writer) == (3, 7)
    assert "deletionVectors" in detail.features
    assert table.delete("n = 1").files_marked == 1
    table.alter().set_properties({"delta.enableDeletionVectors": False})
    report = table.delete("n = 2")
    assert (report.files_marked, report.files_added) == (0, 1)
    assert not table.snapshot().files.has_deletion_vectors
    assert sorted(table.read().fetchall()) == [(n,) for n in range(3, 9)]


def test_a_rewrite_purges_and_versions_stay(lake):
    table = new_table(lake, {"n": "BIGINT"}, properties=VECTORS)
    table.append([{"n": n} for n in range(6)])
    table.delete("n = 1")
    table.delete("n = 2")
    versions = {1: [0, 1, 2, 3, 4, 5], 2: [0, 2, 3, 4, 5], 3: [0, 3, 4, 5]}
    table.rewrite(table.files()["path"].to_pylist())
    assert not table.snapshot().files.has_deletion_vectors
    assert table.detail().rows == 4
    table.checkpoint()
    for version, numbers in versions.items():
        assert sorted(n for (n,) in table.read(version=version).fetchall()) == numbers
    for version in (2, 3, 1, 2):
        table.restore(version)
        assert sorted(n for (n,) in table.read().fetchall()) == versions[version]
        for read in PEERS.values():
            assert sorted(read(table)["n"].to_pylist()) == versions[version]


def test_two_deletes_of_one_file_end_as_both(tmp_path):
    with lakehouse.connect(tmp_path, durable=False) as lake:
        table = lake.create_table("bronze.t", {"n": "BIGINT"}, properties=BOTH)
        table.append([{"n": n} for n in range(100)])
        with ThreadPoolExecutor(4) as pool:
            reports = list(pool.map(lambda n: table.delete(f"n % 10 = {n}"), range(8)))
        assert sum(report.rows_deleted for report in reports) == 80
        assert {report.files_marked for report in reports} == {1}
        rest = [(n,) for n in range(100) if n % 10 >= 8]
        assert sorted(table.read().fetchall()) == rest
        assert [vector.cardinality for vector in vectors_of(table)] == [80]
        gone = table.changes(since=2).filter("_change_type = 'delete'")
        assert sorted(gone.select("n").fetchall()) == sorted({(n,) for n in range(100)} - set(rest))
        assert table.leftovers(older_than=timedelta(0)) == ()


def test_what_was_written_for_a_lost_race_is_deleted(tmp_path, monkeypatch):
    monkeypatch.setattr(vector_files, "_INLINE", 0)
    with lakehouse.connect(tmp_path, durable=False) as lake, lakehouse.connect(tmp_path) as other:
        table = lake.create_table("bronze.t", {"n": "BIGINT"}, properties=BOTH)
        table.append([{"n": n} for n in range(20)])
        stale = other.table("bronze.t")
        seen = stale.snapshot()
        with monkeypatch.context() as patch:
            patch.setattr(stale, "_refreshed", lambda: seen)
            table.delete("n IN (1, 2)")
            report = stale.delete("n IN (2, 3)")
            assert (report.rows_deleted, report.attempts) == (1, 2)
        table.delete("n = 4")
        assert sorted(table.read().fetchall()) == [(n,) for n in range(20) if n not in (1, 2, 3, 4)]
        assert len(list(Path(table.uri).glob("deletion_vector_*.bin"))) == 3
        assert len(list(Path(table.uri).glob("_change_data/*.parquet"))) == 3
        assert table.leftovers(older_than=timedelta(0)) == ()


def test_change_files_of_a_plan_that_needs_none_in_the_end_are_deleted(tmp_path, monkeypatch):
    with lakehouse.connect(tmp_path, durable=False) as lake, lakehouse.connect(tmp_path) as other:
        feed = {"delta.enableChangeDataFeed": True}
        table = lake.create_table("bronze.t", {"n": "BIGINT"}, properties=feed)
        table.append([{"n": n} for n in range(20)])
        stale = other.table("bronze.t")
        seen = stale.snapshot()
        with monkeypatch.context() as patch:
            patch.setattr(stale, "_refreshed", lambda: seen)
            table.delete("n >= 5")
            report = stale.overwrite([{"n": 1}], where="n < 5")
        # Planned again, it takes a whole file: its adds and removes tell the change.
        assert (report.rows_deleted, report.attempts) == (5, 2)
        assert table.read().fetchall() == [(1,)]
        kinds = table.changes(since=3).select("_change_type").fetchall()
        assert sorted(kinds) == [("delete",)] * 5 + [("insert",)]
        assert len(list(Path(table.uri).glob("_change_data/*.parquet"))) == 1
        assert table.leftovers(older_than=timedelta(0)) == ()


def test_a_delete_that_fails_leaves_nothing(lake, monkeypatch):
    monkeypatch.setattr(vector_files, "_INLINE", 0)
    table = new_table(lake, {"n": "BIGINT"}, properties=BOTH)
    table.append([{"n": n} for n in range(20)])
    files = sorted(path for path in Path(table.uri).rglob("*") if path.is_file())

    def refuse(*_):
        raise StorageError("no")

    with monkeypatch.context() as patch:
        patch.setattr(type(table.snapshot().storage), "put_if_absent", refuse)
        with pytest.raises(StorageError):
            table.delete("n < 3")
        with pytest.raises(StorageError):
            table.overwrite([{"n": 1}], where="n < 3")
    assert sorted(path for path in Path(table.uri).rglob("*") if path.is_file()) == files
    assert table.delete("n < 3").files_marked == 1
