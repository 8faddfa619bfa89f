"""Files that lose few of their rows are written as they were, without these: as by a copy."""

import datetime as dt
import json
from collections import Counter
from decimal import Decimal
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st

import lakehouse
from lakehouse.delta.actions import AddFile
from lakehouse.delta.commit import Change, commit
from lakehouse.dml import copies, output, remaking, thinning
from lakehouse.duck.engine import VERSION
from lakehouse.testing.judges import verdicts
from tests.dml.remade import maker, noted, raced
from tests.dml.test_merge_races import BASE
from tests.dml.test_splicing import (
    KINDS,
    check_statistics,
    lose_statistics,
    of_foreign_file,
    rows_of,
    strays,
    with_another_calendar,
    with_vectors,
)
from tests.types.engines import comparable

few = settings(max_examples=settings().max_examples // 10, report_multiple_bugs=False)
COLUMNS = {
    "id": "BIGINT", "n": "INTEGER", "small": "SMALLINT", "p": "VARCHAR", "s": "VARCHAR",
    "u": "VARCHAR", "x": "DOUBLE", "f": "FLOAT", "b": "BOOLEAN", "raw": "BLOB", "day": "DATE",
    "at": "TIMESTAMP WITH TIME ZONE", "local": "TIMESTAMP", "cents": "DECIMAL(9,2)",
    "money": "DECIMAL(18,4)", "l": "STRUCT(a INTEGER, b VARCHAR[])",
}  # fmt: skip
NOON = dt.datetime(2024, 1, 1, 12)  # noqa: DTZ001


def row(i, **values):
    return {
        "id": i, "n": i % 10, "small": i % 3 - 1, "p": "ab"[i % 2], "s": f"text {i % 50} é" * 3,
        "u": f"{i:>40}", "x": [i / 3, -0.0, 1e300][i % 3], "f": i / 8, "b": i % 3 == 0,
        "raw": bytes([i % 200, 0, 255]), "day": NOON.date() + dt.timedelta(i),
        "at": (NOON + dt.timedelta(seconds=i / 8)).replace(tzinfo=dt.UTC),
        "local": NOON - dt.timedelta(seconds=i), "cents": Decimal(i) / 100,
        "money": Decimal(-i) / 10_000, "l": {"a": i, "b": ["x", None]},
    } | values  # fmt: skip


@pytest.fixture
def thinned(monkeypatch):
    return noted(monkeypatch, thinning.thin, copies, output)


@pytest.fixture
def make(lake):
    return maker(lake, COLUMNS)


def test_rows_that_stay_are_written_as_they_were(make, thinned):
    table = make(columns={"id": "BIGINT", "s": "VARCHAR", "u": "VARCHAR"})
    with duckdb.connect() as source:
        sql = "SELECT range AS id, 'text ' || range % 9000 AS s, hash(range)::VARCHAR AS u"
        table.append(source.sql(f"{sql} FROM range(130_000)"))
        report = table.delete("id % 100 = 7 OR s = 'text 0'")
        ((old, new),) = thinned
        files = [str(Path(table.uri, add.key[0])) for add in (old, new)]
        before, after = map(pq.read_metadata, files)
        for leaf in range(3):
            was, now = (m.row_group(0).column(leaf) for m in (before, after))
            assert (was.compression, was.has_dictionary_page) == (
                now.compression, now.has_dictionary_page,
            )  # fmt: skip
            assert now.statistics.null_count == 0
            assert now.total_compressed_size <= was.total_compressed_size * 1.05
        texts = [after.row_group(group).column(1).statistics for group in range(2)]
        assert [(s.min, s.max) for s in texts] == [("text 1", "text 999"), ("text 1", "text 999")]
        # Of the Bloom filters, too, which tell what is not there.
        probe = "SELECT count(*) FROM parquet_bloom_probe(?, 's', ?) WHERE bloom_filter_excludes"
        assert source.execute(probe, [files[1], "text 77"]).fetchall() == [(0,)]
        assert source.execute(probe, [files[1], "no such text"]).fetchall() == [(2,)]
    lost = sum(i % 100 == 7 or i % 9000 == 0 for i in range(130_000))
    assert (report.rows_deleted, report.files_removed, report.files_added) == (lost, 1, 1)
    assert json.loads(new.stats)["minValues"]["s"] == "text 1"
    check_statistics(table)
    wrong = "id % 100 = 7 OR s <> 'text ' || id % 9000 OR u <> hash(id)::VARCHAR"
    assert table.read(where=wrong).fetchall() == []
    assert table.read().aggregate("count(*)").fetchall() == [(130_000 - lost,)]


def told(table):
    """Return what the log says of each file's rows, less the names of files."""
    found = []
    for add in table.snapshot().files.adds():
        stats = json.loads(add.stats)
        found.append((json.dumps(stats, sort_keys=True), sorted(add.partition_values.items())))
    return sorted(found)


def by_ours(table, rows):
    table.append(rows)


def by_delta_rs(table, rows):
    write_deltalake(table.uri, pa.Table.from_pylist(rows, table.schema), mode="append")


def by_polars(table, rows):
    data = pl.DataFrame(pa.Table.from_pylist(rows, table.schema))
    data.write_delta(table.uri, mode="append")


WRITERS = {"ours": by_ours, "delta-rs": by_delta_rs, "Polars": by_polars}
WHERES = ["id % 9 = 1", "n IS NULL AND id < 40", "s = 'text 3 é' || s[10:]", "id = 0 OR p = 'c'"]
NULLS = [{}, {"n": None, "x": None, "day": None}, {"s": None, "l": None}, {"x": float("nan")}]


def shown(values):
    """Return a row as text; of zeros, a dictionary of DuckDB 1.5's has that which came first."""
    text = repr(values)
    return text if VERSION >= (2, 0) else text.replace(" -0.0,", " 0.0,")


@few
@given(data=st.data())
def test_a_change_is_the_same_by_a_copy(tmp_path_factory, data):
    kind = data.draw(st.sampled_from(sorted(KINDS)))
    writer = data.draw(st.sampled_from(sorted(WRITERS))) if kind == "plain" else "ours"
    partition_by = data.draw(st.sampled_from([(), ("p",)]))
    where = data.draw(st.sampled_from(WHERES))
    nulls, every = data.draw(st.sampled_from(NULLS)), data.draw(st.integers(1, 7))
    sizes = data.draw(st.lists(st.sampled_from([50, 200, 3000]), min_size=1, max_size=2))
    merged = data.draw(st.none() | st.lists(st.integers(-5, 200), unique=True, max_size=9))
    found = []
    for least in (1, 1 << 40):
        with (
            pytest.MonkeyPatch.context() as patch,
            lakehouse.connect(tmp_path_factory.mktemp("lake"), durable=False) as lake,
        ):
            patch.setattr(remaking, "LEAST", least)
            table = lake.create_table(
                "silver.t", COLUMNS, partition_by=partition_by, properties=KINDS[kind]
            )
            for count in sizes:
                rows = [row(i, **(nulls if i % every == 0 else {})) for i in range(count)]
                WRITERS[writer](table, rows)
            source = pa.Table.from_pylist([row(i, s="new") for i in merged or ()], table.schema)
            deletes = merged is None
            report = table.delete(where) if deletes else table.upsert(source, key="id")
            feed: Counter[str] = Counter()
            if "delta.enableChangeDataFeed" in KINDS[kind]:
                changes = table.changes(since=report.version)
                feed = Counter(
                    map(shown, changes.project("* EXCLUDE (_commit_timestamp)").fetchall())
                )
            names = ("rows", "rows_deleted", "rows_updated", "rows_inserted", "rows_copied")
            counts = [getattr(report, name, None) for name in names]
            found.append(([*map(shown, rows_of(table))], counts, feed))
            if least == 1:
                for _, seen in verdicts(table.uri):
                    assert comparable(seen) == comparable(table.read().to_arrow_table())
    assert found[0] == found[1]


@few
@given(data=st.data())
def test_statistics_are_those_of_a_copy(tmp_path_factory, data):
    where = data.draw(st.sampled_from(["id % 9 = 1", "id < 20", "id > 180", "s > 'text 46'"]))
    nulls, every = data.draw(st.sampled_from(NULLS)), data.draw(st.integers(1, 7))
    found = []
    for least in (1, 1 << 40):
        with (
            pytest.MonkeyPatch.context() as patch,
            lakehouse.connect(tmp_path_factory.mktemp("lake"), durable=False) as lake,
        ):
            patch.setattr(remaking, "LEAST", least)
            table = lake.create_table("silver.t", COLUMNS)
            table.append([row(i, **(nulls if i % every == 0 else {})) for i in range(200)])
            table.delete(where)
            found.append(told(table))
    assert found[0] == found[1]


def encoded(path):
    rows = pq.read_table(path, partitioning=None)
    pq.write_table(rows, path, use_dictionary=False, column_encoding={"id": "DELTA_BINARY_PACKED"})


def of_old_times(path):
    pq.write_table(
        pq.read_table(path, partitioning=None), path, use_deprecated_int96_timestamps=True
    )


LEFT = {
    "a deletion vector": with_vectors,
    "dates of another calendar": of_foreign_file(with_another_calendar),
    "no statistics": lose_statistics,
    "an encoding that is not written here": of_foreign_file(encoded),
    "another type of times": of_foreign_file(of_old_times),
    "more than an eighth": lambda table: table.delete("id < 20 AND false"),
}


@pytest.mark.parametrize("case", LEFT)
def test_what_is_left_to_a_copy(make, thinned, case):
    table = make([row(i) for i in range(200)])
    LEFT[case](table)
    thinned.clear()
    before = {r[0]: r for r in rows_of(table)}
    where, lost = ("id < 50", range(50)) if "eighth" in case else ("id = 7", [7])
    assert table.delete(where).rows_deleted == len(lost)
    assert thinned == []
    assert {r[0]: r for r in rows_of(table)} == {i: r for i, r in before.items() if i not in lost}
    assert strays(table) == set()


def test_row_groups_that_do_not_fit_in_memory_are_left_to_a_copy(make, thinned, monkeypatch):
    table = make([row(i) for i in range(200)])
    monkeypatch.setattr(thinning, "_SHARE", 1 << 60)
    table.delete("id = 7")
    assert thinned == []
    monkeypatch.undo()
    table.append([row(i) for i in range(200)])
    assert table.delete("id = 8").files_added == 1  # small files become one


@pytest.mark.parametrize("lost", ["n < 2500", "n >= 2500 AND n < 5100", "n % 9 = 0"])
def test_row_groups_that_lose_all_their_rows(lake, make, thinned, lost):
    groups = [2500, 2600, 30_000, 3, 1]
    table = make(columns={"n": "INTEGER", "s": "VARCHAR"})
    rows = pa.table({"n": range(sum(groups)), "s": [f"{n % 7}" for n in range(sum(groups))]})
    path = Path(table.uri, "odd.parquet")
    with pq.ParquetWriter(path, table.schema, compression="zstd") as writer:
        for number, count in enumerate(groups):
            writer.write_table(rows.slice(sum(groups[:number]), count).cast(table.schema))
    add = AddFile(path.name, {}, path.stat().st_size, 1, stats=f'{{"numRecords":{sum(groups)}}}')
    commit(table.snapshot(), lambda _: Change("WRITE", (add,)), engine=lake._engine)
    with duckdb.connect() as source:
        stays = f"SELECT n, s FROM rows WHERE NOT ({lost}) ORDER BY n"
        expected = source.execute(stays).fetchall()
    table.delete(lost)
    assert len(thinned) == 1
    assert table.read().order("n").fetchall() == expected
    check_statistics(table)


def test_odd_names(tmp_path, thinned):
    """Of folders, of columns, of partitions."""
    names = ["a.b", 'say "é"', "list.element", "file_row_number", "p"]
    with lakehouse.connect(tmp_path / "l[a]*ke %41#?é") as lake:
        columns = dict.fromkeys(names[:3], "VARCHAR") | {names[3]: "BIGINT", "p": "VARCHAR"}
        table = lake.create_table("silver.t", columns, partition_by="p")
        rows = [dict.fromkeys(names[:3], f"x{i % 50}") | {names[3]: i} for i in range(3000)]
        table.append([row | {"p": "c d/[é]*"} for row in rows])
        table.delete("file_row_number % 100 = 7 OR \"a.b\" = 'x3'")
        assert len(thinned) == 1
        assert table.read(where="\"a.b\" = 'x3'").fetchall() == []
        assert rows_of(table) == sorted(
            [
                (*[f"x{i % 50}"] * 3, i, "c d/[é]*")
                for i in range(3000)
                if i % 100 != 7 and i % 50 != 3
            ],
            key=repr,
        )


@pytest.mark.parametrize("where", ["memory", "minio"])
def test_object_storage(where, thinned, request):
    place, options = "memory://", {}
    if where == "minio":
        store = request.getfixturevalue("server")("minio")
        place, options = store.bucket(), store.options()
    with lakehouse.connect(place, **options) as lake:
        table = lake.create_table("silver.t", COLUMNS, partition_by="p")
        table.append([row(i) for i in range(2000)])
        table.delete("id % 100 = 0 AND p = 'a'")
        assert len(thinned) == 1
        assert table.read().aggregate("count(*), min(id)").fetchall() == [(1980, 1)]
        assert strays(table) == set()


@pytest.fixture
def pair(tmp_path, monkeypatch, thinned):
    yield from raced(tmp_path, monkeypatch)


@pytest.mark.parametrize(("theirs", "again"), [("id = 2", 1), ("id = 21", 0), ("id = 5", 1)])
def test_a_delete_beside_a_delete(pair, thinned, theirs, again):
    pair.first.delete(theirs)
    pair.stale.delete("id IN (3, 13)")
    assert pair.rows().keys() == BASE.keys() - {3, 13, int(theirs.removeprefix("id = "))}
    # Theirs, two of ours, and one of these again where they have changed its file.
    assert len(thinned) == 1 + 2 + again


@pytest.mark.parametrize("error", [OSError("no space left"), KeyboardInterrupt, ValueError("odd")])
@pytest.mark.parametrize("verb", ["delete", "upsert"])
def test_nothing_is_left_of_what_fails(make, thinned, monkeypatch, error, verb):
    table = make([row(i) for i in range(200)])
    table.append([row(i) for i in range(200, 400)])
    write, calls = thinning._write, []

    def failing(*args, **options):
        made = write(*args, **options)
        calls.append(args)
        if len(calls) == 2:
            raise error
        return made

    def change():
        if verb == "delete":
            return table.delete("id % 100 = 7")
        return table.upsert([row(i, n=-1) for i in range(7, 400, 100)], key="id")

    monkeypatch.setattr(thinning, "_write", failing)
    if error is KeyboardInterrupt:
        with pytest.raises(KeyboardInterrupt):
            change()
        assert table.version == 2
    else:
        change()
        assert len(thinned) == 1
        left = table.read().aggregate("count(*) FILTER (n >= 0), count(*)").fetchall()
        assert left == [(396, 396 if verb == "delete" else 400)]
    assert strays(table) == set()


def test_what_comes_of_thinned_files_stands_in_a_file_of_its_own(make, thinned):
    table = make([row(i) for i in range(200)])
    table.append([row(i) for i in range(200, 400)])
    rows = pa.Table.from_pylist([row(i, s="new") for i in (7, 207, 900)], table.schema)
    report = table.upsert(rows, key="id")
    assert (report.rows_updated, report.rows_inserted, report.rows_copied) == (2, 1, 398)
    assert (report.files_removed, report.files_added, len(thinned)) == (2, 3, 2)
    thinned.clear()
    report = table.merge([{"id": 9}], on="id").when_matched_update({"s": "s || '!'"}).run()
    assert (report.rows_updated, report.rows_inserted, len(thinned)) == (1, 0, 1)
    assert table.read(columns=["s"], where="id = 9").fetchall() == [(row(9)["s"] + "!",)]
    assert table.read(columns=["id"], where="s = 'new'").order("id").fetchall() == [
        (7,), (207,), (900,),
    ]  # fmt: skip


def test_partitions_get_no_further_files(make, thinned):
    table = make([row(i) for i in range(200)], partition_by="p")
    table.upsert(pa.Table.from_pylist([row(7, s="new")], table.schema), key="id")
    assert thinned == []
    assert table.detail().files == 2
