"""Updates that write only the columns they set: the same table as by a copy of all values."""

import dataclasses
import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st

import lakehouse
from catalog.storage import local
from lakehouse import lit
from lakehouse.delta.actions import AddFile
from lakehouse.delta.commit import Change, commit
from lakehouse.delta.features import GENERATED
from lakehouse.delta.schema.fields import Struct
from lakehouse.dml import output, remaking, splicing
from lakehouse.testing.judges import verdicts
from tests.dml.remade import maker, noted, raced
from tests.dml.test_merge_races import BASE
from tests.types.engines import comparable
from tests.write.test_rules import alter

few = settings(max_examples=settings().max_examples // 12, report_multiple_bugs=False)
COLUMNS = {
    "id": "BIGINT", "n": "INTEGER", "p": "VARCHAR", "s": "VARCHAR", "x": "DOUBLE",
    "l": "STRUCT(a INTEGER, b VARCHAR[])",
}  # fmt: skip


@pytest.fixture
def spliced(monkeypatch):
    return noted(monkeypatch, splicing.splice, output)


@pytest.fixture
def make(lake):
    return maker(lake, COLUMNS)


def row(i, **values):
    return {
        "id": i, "n": i % 10, "p": "ab"[i % 2], "s": f"text {i}" * 5, "x": i / 3,
        "l": {"a": i, "b": ["x", None]},
    } | values  # fmt: skip


MANY = "id, (id % 10)::INTEGER AS n, id / 3 AS x, {'a': id::INTEGER, 'b': ['x', NULL]} AS l"
ROWS = [row(i) for i in range(200)]


def rows_of(table, columns=None):
    return sorted(table.read(columns=columns).fetchall(), key=repr)


def chunks(table, add):
    """Return the bytes of a file's columns, by path and row group."""
    path = Path(table.uri, add.key[0])
    data, meta = path.read_bytes(), pq.read_metadata(path)
    found = {}
    for group in range(meta.num_row_groups):
        for i in range(meta.num_columns):
            c = meta.row_group(group).column(i)
            start = c.dictionary_page_offset or c.data_page_offset
            found[c.path_in_schema, group] = data[start : start + c.total_compressed_size]
    return found


def strays(table):
    """Return the data files that no version names."""
    storage = table.snapshot().storage
    versions = range(table.version + 1)
    named = {a.key[0] for v in versions for a in table.snapshot(version=v).files.adds()}
    return {i.path for i in storage.list() if i.path.endswith(".parquet")} - named


def test_all_but_the_columns_that_are_set_is_taken_over_byte_for_byte(make, spliced):
    table = make()
    with duckdb.connect() as source:
        table.append(source.sql(f"SELECT {MANY} FROM (SELECT range AS id FROM range(130_000))"))
    report = table.update({"n": "n + 100", "x": "NULL"}, where="id % 3 = 0")
    ((old, new),) = spliced
    before, after = chunks(table, old), chunks(table, new)
    assert before.keys() == after.keys()
    assert {group for _, group in after} == {0, 1}
    changed = {path for path, group in after if before[path, group] != after[path, group]}
    assert changed == {"n", "x"}
    assert (report.rows_updated, report.rows_copied) == (43_334, 86_666)
    assert (report.files_removed, report.files_added) == (1, 1)
    wrong = "n <> id % 10 + if(id % 3 = 0, 100, 0) OR (x IS NULL) <> (id % 3 = 0) OR l.a <> id"
    assert table.read(where=wrong).fetchall() == []
    assert table.read().aggregate("sum(n), count(x), sum(id)").fetchall() == [
        (130_000 * 9 // 2 + 4_333_400, 86_666, 130_000 * 129_999 // 2)
    ]


@pytest.mark.parametrize("foreseen", [True, False])
def test_row_groups_of_any_size(lake, make, spliced, monkeypatch, foreseen):
    """They are made in runs, and one by one where DuckDB cuts a run otherwise than foreseen."""
    groups = [2500, 2600, 700, 5000, 2048, 2048, 3, 1]
    table = make()
    rows = pa.Table.from_pylist([row(i) for i in range(sum(groups))], table.schema)
    path = Path(table.uri, "odd.parquet")
    with pq.ParquetWriter(path, table.schema) as writer:
        for number, count in enumerate(groups):
            writer.write_table(rows.slice(sum(groups[:number]), count))
    stats = json.dumps({"numRecords": rows.num_rows})
    add = AddFile(path.name, {}, path.stat().st_size, 1, stats=stats)
    commit(table.snapshot(), lambda _: Change("WRITE", (add,)), engine=lake._engine)
    if not foreseen:
        monkeypatch.setattr(splicing, "runs", lambda groups, _: [range(len(groups))])
    table.update({"n": "n + 100"}, where="id % 3 = 0")
    ((_, new),) = spliced
    meta = pq.read_metadata(Path(table.uri, new.key[0]))
    assert [meta.row_group(i).num_rows for i in range(meta.num_row_groups)] == groups
    wrong = "n <> id % 10 + if(id % 3 = 0, 100, 0) OR l.a <> id"
    assert table.read(where=wrong).fetchall() == []
    assert table.read().aggregate("count(DISTINCT id)").fetchall() == [(sum(groups),)]


VALUES: dict[str, list[Any]] = {
    "n": ["n + 1", "NULL", lit(7)],
    "s": ["upper(s)", lit("it's"), "NULL", "CAST(n AS VARCHAR)"],
    "x": ["x * 2", "id", lit(float("nan"))],
    "id": ["id + 1", "-id"],
}
KINDS = {
    "plain": {},
    "feed": {"delta.enableChangeDataFeed": "true"},
    "names": {"delta.columnMapping.mode": "name"},
    "ids": {"delta.columnMapping.mode": "id", "delta.enableChangeDataFeed": "true"},
}


@few
@given(data=st.data())
def test_an_update_is_the_same_by_a_copy(tmp_path_factory, data):
    kind = data.draw(st.sampled_from(sorted(KINDS)))
    partition_by = data.draw(st.sampled_from([(), ("p",)]))
    names = data.draw(
        st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=3, unique=True)
    )
    values = {name: data.draw(st.sampled_from(VALUES[name])) for name in names}
    where = data.draw(st.sampled_from(["id % 7 = 1", "n IS NULL OR s > 'text 5'", "p = 'a'", None]))
    nulls = data.draw(st.sampled_from([{}, {"n": None, "x": None}, {"s": None, "l": None}]))
    counts = data.draw(st.lists(st.sampled_from([1, 50, 3000]), min_size=1, max_size=3))
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
            for number, count in enumerate(counts):
                table.append([row(i, **(nulls if i % 5 == number else {})) for i in range(count)])
            if kind == "plain":
                rows = pa.Table.from_pylist([row(i) for i in range(2500)], table.schema)
                write_deltalake(table.uri, rows, mode="append")
            report = table.update(values, where=where)
            feed: Counter[str] = Counter()
            if "delta.enableChangeDataFeed" in KINDS[kind]:
                told = table.changes(since=report.version).project("* EXCLUDE (_commit_timestamp)")
                feed = Counter(map(repr, told.fetchall()))
            found.append((repr(rows_of(table)), report.rows_updated, report.rows_copied, feed))
            check_statistics(table)
            if least == 1:
                for _, seen in verdicts(table.uri):
                    assert comparable(seen) == comparable(table.read().to_arrow_table())
    assert found[0] == found[1]


def check_statistics(table):
    """Hold what the log says of each file to what is in it."""
    for add in table.snapshot().files.adds():
        rows = pq.read_table(Path(table.uri, add.key[0]), partitioning=None)
        stats = json.loads(add.stats)
        assert stats["numRecords"] == rows.num_rows
        for name in rows.column_names:
            column = rows[name]
            if pa.types.is_nested(column.type):
                continue
            assert stats["nullCount"][name] == column.null_count
            if pa.types.is_floating(column.type):
                continue
            found = stats["minValues"].get(name), stats["maxValues"].get(name)
            low, high = pc.min_max(column).as_py().values()
            if not pa.types.is_string(column.type) or low is None:
                assert found == (low, high), name
            else:  # of texts there is a prefix
                assert found[0] <= low <= high <= found[1], name


def test_rules_hold_for_the_rows_that_change(lake, make, spliced):
    table = make(columns={**COLUMNS, "twice": "BIGINT"})
    alter(lake, table, twice={GENERATED: "n * 2"})
    table.append([row(i) for i in range(3000)])
    table.append([row(i) for i in range(3000, 3100)])
    table.alter().set_not_null("s")
    table.alter().add_constraint("small", "n < 100 AND id >= 0")
    before = table.version
    for change, reason in (
        ({"n": "n + 95"}, "small.*1550 rows"),
        ({"s": "nullif(s, repeat('text 3050', 5))"}, "'s' is NULL in a NOT NULL column in 1 row"),
        ({"n": "3000000000"}, "does not fit INTEGER"),
        ({"twice": "5"}, "must be n"),
        ({"n": "CAST(s AS INTEGER)"}, "Could not convert|rows"),
    ):
        with pytest.raises(lakehouse.LakehouseError, match=reason):
            table.update(change)
        assert strays(table) == set()
    assert table.version == before
    spliced.clear()
    table.update({"n": "n + 1"}, where="id < 3050")
    assert len(spliced) == 2
    assert table.read(where="twice <> n * 2").fetchall() == []
    assert table.read(where="n = 1 + id % 10").aggregate("count(*)").fetchall() == [(3050,)]
    # The rows that do not change keep what is wrong with them.
    alter(lake, table, properties={"delta.constraints.no": "x > 10"})
    spliced.clear()
    table.update({"n": "0"}, where="x > 500")
    assert len(spliced) == 2


def test_a_null_of_another_engine_where_there_must_be_none(lake, make, spliced):
    """It is refused where its row changes, though its column does not; elsewhere it stays."""
    table = make([row(i, s=None if i == 2 else "x") for i in range(200)])

    def plan(current):
        fields = (dataclasses.replace(f, nullable=f.name != "s") for f in current.schema)
        text = Struct(tuple(fields)).to_json()
        return Change("ALTER", (dataclasses.replace(current.metadata, schema_string=text),))

    commit(table.snapshot(), plan, engine=lake._engine)
    with pytest.raises(lakehouse.DataError, match="'s' is NULL in a NOT NULL column in 1 row"):
        table.update({"n": "n + 1"}, where="id < 10")
    assert spliced == []
    table.update({"n": "77"}, where="id > 2")
    assert len(spliced) == 1
    assert table.read(where="n = 77").aggregate("count(*)").fetchall() == [(197,)]
    assert table.read(columns=["id"], where="s IS NULL").fetchall() == [(2,)]


def with_vectors(table):
    table.alter().set_properties({"delta.enableDeletionVectors": "true"})
    table.delete("id = 5")
    table.alter().set_properties({"delta.enableDeletionVectors": "false"})


def of_foreign_file(change):
    """Return a preparation that rewrites a table's file in place, as some other writer's."""

    def prepare(table):
        (add,) = table.snapshot().files.adds()
        path = Path(table.uri, add.key[0])
        change(path)

    return prepare


def with_another_calendar(path):
    rows = pq.read_table(path, partitioning=None)
    meta = {"org.apache.spark.legacyDateTime": "", "org.apache.spark.version": "3.5.0"}
    pq.write_table(rows.replace_schema_metadata(meta), path)


def with_nothing_but(column):
    def change(path):
        rows = pq.read_table(path, partitioning=None)
        pq.write_table(rows.select([column, "id", "p", "s", "x", "l"]), path)

    return change


def lose_statistics(table):
    """Let the table's file be one of which the log says its number of rows alone."""

    def plan(current):
        (add,) = current.files.adds()
        return Change("X", (dataclasses.replace(add, stats="{}"),))

    commit(table.snapshot(), plan, engine=table._engine)


LEFT: dict[str, dict[str, Any]] = {
    "a deletion vector": {"prepare": with_vectors},
    "a partition column": {"set": {"p": lit("c")}, "partition_by": "p"},
    "a nested column": {"set": {"l": "NULL"}},
    "all columns": {"set": {"id": "id + 1"}, "columns": {"id": "BIGINT"}},
    "a column that the file lacks": {
        "prepare": lambda t: t.alter().add_column("new", "INTEGER"), "set": {"new": "4"},
    },
    "a column that was dropped": {
        "prepare": lambda t: t.alter().drop_column("x"), "properties": KINDS["names"],
    },
    "row tracking": {"properties": {"delta.enableRowTracking": "true"}},
    "dates of another calendar": {"prepare": of_foreign_file(with_another_calendar)},
    "no statistics": {"prepare": lose_statistics},
    "a source": {"merge": True},
}  # fmt: skip


@pytest.mark.parametrize("case", LEFT)
def test_what_is_left_to_a_copy_of_all_values(make, spliced, case):
    given = {"set": {"n": "n + 100"}} | LEFT[case]
    rows = [{"id": i} for i in range(200)] if "columns" in given else ROWS
    options = {name: given[name] for name in ("partition_by", "properties") if name in given}
    try:
        table = make(rows, given.get("columns"), **options)
    except lakehouse.UnsupportedError:
        assert case == "row tracking"  # such a table is not written at all
        return
    given.get("prepare", lambda table: None)(table)
    if "merge" in given:
        table.merge([{"id": 7}], on="id").when_matched_update(given["set"]).run()
    else:
        assert table.update(given["set"], where="id % 10 = 7").rows_updated == 20
    assert spliced == []
    left = 199 if case.endswith("vector") else 200
    assert table.read().aggregate("count(*)").fetchall() == [(left,)]


def test_small_files_and_large_columns_are_left_to_a_copy(make, spliced, monkeypatch):
    table = make([row(i, s=hashlib.sha256(b"%d" % i).hexdigest()) for i in range(3000)])
    table.update({"s": "reverse(s)"}, where="id = 1")  # as good as all of the file
    assert spliced == []
    table.update({"n": "n + 1"}, where="id = 1")
    assert len(spliced) == 1
    monkeypatch.undo()
    table.append(ROWS)
    assert table.update({"n": "n + 1"}, where="id = 1").files_added == 1  # they are one now


def test_an_engine_that_may_mix_rows(tmp_path, spliced):
    config = {"preserve_insertion_order": False}
    with lakehouse.connect(tmp_path / "lake", durable=False, duckdb_config=config) as lake:
        table = lake.create_table("silver.t", COLUMNS)
        table.append(ROWS)
        table.update({"n": "n + 1"}, where="id = 1")
        assert spliced == []
        assert table.read(columns=["n"], where="id = 1").fetchall() == [(2,)]


def test_wider_types(make, spliced):
    """A column that was narrower in its file is as wide as the table has it; others stay."""
    table = make(
        ROWS, {**COLUMNS, "id": "INTEGER"}, properties={"delta.enableTypeWidening": "true"}
    )
    table.alter().change_type("n", "BIGINT")
    table.alter().change_type("id", "BIGINT")
    table.update({"n": "n + 3000000000"}, where="id % 2 = 0")
    ((_, new),) = spliced
    types = pq.read_schema(Path(table.uri, new.key[0]))
    assert (types.field("n").type, types.field("id").type) == (pa.int64(), pa.int32())
    assert rows_of(table, ["id", "n"]) == sorted(
        [(i, i % 10 + 3_000_000_000 * (i % 2 == 0)) for i in range(200)], key=repr
    )


def test_odd_names_and_durable_files(tmp_path, spliced, monkeypatch):
    """Of columns, of partitions' folders; and what is written is on disk before a commit names it."""
    synced = []

    def noted(path):
        synced.append(path)
        return sync(path)

    sync = local._sync
    monkeypatch.setattr(local, "_sync", noted)
    names = ["a.b", 'say "é"', "file_row_number", "t", "Lakehouse is changed", "p"]
    with lakehouse.connect(tmp_path / "l[a]*ke") as lake:
        table = lake.create_table(
            "silver.t", dict.fromkeys(names, "BIGINT") | {"p": "VARCHAR"}, partition_by="p"
        )
        rows = [dict.fromkeys(names[:5], i) | {"p": "c d/[é]*"} for i in range(3000)]
        table.append(rows)
        for name in names[:5]:
            spliced.clear()
            column = '"' + name.replace('"', '""') + '"'
            table.update({name: f"{column} + 1"}, where=f"{column} % 2 = 0")
            ((_, new),) = spliced
            assert str(Path(table.uri, new.key[0])) in synced
        assert rows_of(table) == sorted(
            [(*[i + (i % 2 == 0)] * 5, "c d/[é]*") for i in range(3000)], key=repr
        )
        for _, seen in verdicts(table.uri):
            assert comparable(seen) == comparable(table.read().to_arrow_table())


@pytest.mark.parametrize("where", ["memory", "minio"])
def test_object_storage(where, spliced, request):
    place, options = "memory://", {}
    if where == "minio":
        store = request.getfixturevalue("server")("minio")
        place, options = store.bucket(), store.options()
    with lakehouse.connect(place, **options) as lake:
        table = lake.create_table("silver.t", COLUMNS, partition_by="p")
        table.append([row(i) for i in range(5000)])
        table.update({"n": "n + 1"}, where="id % 2 = 0")
        assert len(spliced) == 1
        assert table.read().aggregate("sum(n), count(*)").fetchall() == [(25_000, 5000)]
        assert strays(table) == set()


@pytest.fixture
def pair(tmp_path, monkeypatch, spliced):
    yield from raced(tmp_path, monkeypatch)


@pytest.mark.parametrize(("theirs", "plans"), [("id = 2", 2), ("id = 21", 1), ("id = 5", 2)])
def test_an_update_beside_a_delete(pair, spliced, theirs, plans):
    pair.first.delete(theirs)
    pair.stale.update({"n": "n + 1"}, where="id IN (2, 3, 13)")
    expected = BASE | {2: 1, 3: 1, 13: 1}
    del expected[int(theirs.removeprefix("id = "))]
    assert pair.rows() == expected
    assert pair.plans == plans
    assert len(spliced) == plans + 1  # what was made of the other file is used again


def test_two_updates(pair, spliced):
    pair.first.update({"n": "n + 1"}, where="id < 5")
    pair.stale.update({"n": "n + 1"}, where="id > 3")
    assert pair.rows() == {i: (i < 5) + (i > 3) for i in BASE}
    assert (pair.plans, len(spliced)) == (2, 1 + 4 + 1)


@pytest.mark.parametrize("error", [OSError("no space left"), KeyboardInterrupt, ValueError("odd")])
def test_nothing_is_left_of_what_fails(make, spliced, monkeypatch, error):
    table = make(ROWS)
    table.append([row(i) for i in range(200, 300)])
    assemble, calls = splicing._assemble, []

    def failing(path, *args):
        assemble(path, *args)
        calls.append(path)
        if len(calls) == 2:
            raise error

    monkeypatch.setattr(splicing, "_assemble", failing)
    if error is KeyboardInterrupt:
        with pytest.raises(KeyboardInterrupt):
            table.update({"n": "n + 1"})
        assert table.version == 2
    else:
        assert table.update({"n": "n + 1"}).rows_updated == 300
        assert table.read().aggregate("sum(n)").fetchall() == [(300 * 9 // 2 + 300,)]
        assert len(spliced) == 1
    assert strays(table) == set()
