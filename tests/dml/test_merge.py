"""Merges, upserts and updates through the public API: rules, refusals, evolution, reports."""

import datetime as dt
import threading
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

import lakehouse
from lakehouse import lit
from lakehouse.delta.features import DEFAULT, GENERATED
from lakehouse.testing.judges import verdicts
from tests.write.test_rules import alter

_numbers = iter(range(1_000_000))


@pytest.fixture
def make(lake):
    def make(rows, columns=None, **options):
        columns = columns or {"id": "BIGINT", "n": "INTEGER", "p": "VARCHAR"}
        table = lake.create_table(f"silver.t{next(_numbers)}", columns, **options)
        if rows:
            table.append(rows)
        return table

    return make


def rows_of(table, columns=None):
    return sorted(table.read(columns=columns).fetchall(), key=repr)


ROWS = [{"id": i, "n": i * 10, "p": "ab"[i % 2]} for i in range(4)]


def test_clauses_are_tried_in_order(make):
    table = make(ROWS)
    report = (
        table.merge([{"id": i, "n": 1, "p": "z"} for i in range(1, 6)], on="id")
        .when_matched_delete(condition="s.id = 1")
        .when_matched_update({"n": "t.n + s.n"}, condition="s.id <= 2")
        .when_matched_update(["p"])
        .when_not_matched_insert({"id": "s.id", "n": lit(7)}, condition="s.id = 4")
        .when_not_matched_insert(["id"])
        .when_not_matched_by_source_update({"p": lit("gone")})
        .run()
    )
    assert rows_of(table) == sorted(
        [(0, 0, "gone"), (2, 21, "a"), (3, 30, "z"), (4, 7, None), (5, None, None)], key=repr
    )
    assert (report.operation, report.rows_updated) == ("merge", 3)
    assert (report.rows_inserted, report.rows_deleted) == (2, 1)
    assert report.version == table.version == 2
    assert table.history(1)[0].operation == "MERGE"
    for _, found in verdicts(table.uri):
        assert sorted(map(tuple, zip(*found.to_pydict().values(), strict=True)), key=repr) == (
            rows_of(table)
        )


@pytest.mark.parametrize(
    "clauses",
    [
        {"matched": "update"},
        {"matched": "delete", "not_matched": "insert"},
        {"not_matched": "insert"},
        {"not_matched_by_source": "delete"},
        {"matched": "update", "not_matched": "insert", "not_matched_by_source": "delete"},
    ],
    ids=lambda clauses: ", ".join(f"{kind}: {verb}" for kind, verb in clauses.items()),
)
def test_keywords_run_at_once(make, clauses):
    table, expected = make(ROWS), {row["id"]: (row["id"], row["n"], row["p"]) for row in ROWS}
    source = [{"id": 1, "n": 5}, {"id": 9, "n": 6}]
    foreseen = table.merge(source, on="id", dry_run=True, **clauses)
    report = table.merge(source, "id", **clauses)
    if "matched" in clauses:
        expected[1] = (1, 5, "b")
    if clauses.get("matched") == "delete":
        del expected[1]
    if "not_matched" in clauses:
        expected[9] = (9, 6, None)
    if "not_matched_by_source" in clauses:
        expected = {key: row for key, row in expected.items() if key in (1, 9)}
    assert rows_of(table) == sorted(expected.values(), key=repr)
    counts = (
        int(clauses.get("matched") == "update"),
        int("not_matched" in clauses),
        int(clauses.get("matched") == "delete") + 3 * int("not_matched_by_source" in clauses),
    )
    for done in (foreseen, report):
        assert (done.rows_updated, done.rows_inserted, done.rows_deleted) == counts
    assert (foreseen.dry_run, foreseen.version, report.version) == (True, 1, 2)


@pytest.mark.parametrize(
    ("clauses", "message"),
    [
        ({"matched": "insert"}, "matched='insert' is not known; it may be 'update' or 'delete'"),
        ({"not_matched": True}, "not_matched=True is not known; it may be 'insert'"),
        ({"not_matched_by_source": "update"}, "not_matched_by_source='update' is not known"),
    ],
)
def test_keywords_that_are_none(make, clauses, message):
    table = make(ROWS)
    with pytest.raises(lakehouse.InputError, match=message):
        table.merge([{"id": 1}], on="id", **clauses)
    assert table.version == 1


def test_aliases(make):
    table = make(ROWS)
    merge = table.merge([{"id": 1, "n": 5}], on="mine.id = theirs.id", aliases=("mine", "theirs"))
    merge.when_matched_update({"n": "mine.n + theirs.n"}).run()
    assert rows_of(table, ["n"]) == [(0,), (15,), (20,), (30,)]


@pytest.mark.parametrize("kind", ["reader", "relation", "query", "pandas", "polars", "dict", "now"])
def test_sources_of_all_kinds(lake, make, kind, monkeypatch):
    table = make(ROWS)
    arrow = pa.table({"id": [1, 9], "n": pa.array([5, 6], pa.int32())})
    source = {
        "reader": arrow.to_reader,
        "relation": lambda: duckdb.from_arrow(arrow),
        "query": lambda: lake.sql("SELECT * FROM (VALUES (1, 5), (9, 6)) AS v(id, n)"),
        "now": lambda: lake.sql(
            "SELECT id, n FROM (VALUES (1, 5), (9, 6)) AS v(id, n) WHERE now() > DATE '2020-01-01'"
        ),
        "pandas": arrow.to_pandas,
        "polars": lambda: pytest.importorskip("polars").from_arrow(arrow),
        "dict": arrow.to_pydict,
    }[kind]()
    report = table.upsert(source, key="id")
    assert (report.rows_updated, report.rows_inserted) == (1, 1)
    assert rows_of(table, ["id", "n"]) == [(0, 0), (1, 5), (2, 20), (3, 30), (9, 6)]


def test_a_query_of_the_table_itself(lake, make):
    table = make(ROWS)
    query = lake.sql(f"SELECT id, n + 1 AS n FROM {table.name} WHERE id > 1")
    table.upsert(query, key="id")
    assert rows_of(table, ["id", "n"]) == [(0, 0), (1, 10), (2, 21), (3, 31)]


def test_a_stream_outlives_a_lost_race(lake, make):
    table = make(ROWS)
    other = lakehouse.connect(lake.uri, durable=False).table(table.name)
    builder = table.merge(pa.table({"id": [1, 100], "n": [5, 6]}).to_reader(), on="id")

    class Source:
        def __arrow_c_stream__(self, requested_schema=None):
            other.append([{"id": 100, "n": 1}])
            return pa.table({"id": [1, 100], "n": [5, 6]}).__arrow_c_stream__(requested_schema)

    report = table.upsert(Source(), key="id")
    assert (report.rows_updated, report.rows_inserted, report.attempts) == (2, 0, 2)
    assert builder.when_matched_update().run().rows_updated == 2


def test_nothing_is_left_in_the_engine(lake, make):
    table = make(ROWS)
    table.upsert([{"id": 1, "n": 5}], key="id")
    with pytest.raises(lakehouse.DataError):
        table.upsert([{"id": 1, "n": 2**40}], key="id")
    now = lake.sql("SELECT 1 AS id, 5 AS n WHERE now() > DATE '2020-01-01'")
    assert table.upsert(now, key="id").rows_updated == 1
    with pytest.raises(lakehouse.LakehouseError, match="keep the rows"):
        table.upsert(
            lake.sql("SELECT CAST(v AS BIGINT) AS id FROM (VALUES ('x')) AS t(v)"), key="id"
        )
    with table._engine.work("look") as cursor:
        names = [
            row[0]
            for row in cursor.execute("SELECT database_name FROM duckdb_databases()").fetchall()
        ]
    assert not [name for name in names if name.startswith("lakehouse work")]


# Keys: duplicates and NULL ----------------------------------------------------------------------

TWICE = [{"id": 1, "n": 5}, {"id": 1, "n": 6}, {"id": 2, "n": 7}]


def test_source_rows_that_would_update_one_row_are_refused(make):
    table = make(ROWS)
    with pytest.raises(
        lakehouse.DataError, match=r"several rows.*1 row of the table.*id is 1"
    ) as caught:
        table.merge(TWICE, on="id").when_matched_update().run()
    assert (caught.value.column, caught.value.count, caught.value.samples) == ("id", 1, ("1",))
    assert table.version == 1


def test_source_rows_whose_clause_does_not_apply_disturb_nobody(make):
    table = make(ROWS)
    table.merge(TWICE, on="id").when_matched_update(condition="s.n <> 5").run()
    assert rows_of(table, ["n"]) == [(0,), (30,), (6,), (7,)]


def test_several_source_rows_delete_a_row_once(make):
    table = make(ROWS)
    assert table.merge(TWICE, on="id").when_matched_delete().run().rows_deleted == 2


@pytest.mark.parametrize(
    ("keep", "n"), [("latest by n", 6), ("first by n", 5), ("LAST BY N".lower(), 6)]
)
def test_duplicates_are_left_out_on_request(make, keep, n):
    table = make(ROWS)
    report = table.upsert(TWICE, key="id", deduplicate=keep)
    assert report.rows_updated == 2
    assert table.read(columns=["n"], where="id = 1").fetchall() == [(n,)]


def test_duplicates_that_the_order_does_not_tell_apart_are_refused(make):
    table = make(ROWS)
    same = [{"id": 1, "n": 5, "p": "x"}, {"id": 1, "n": 5, "p": "y"}]
    with pytest.raises(lakehouse.DataError, match="several rows"):
        table.upsert(same, key="id", deduplicate="latest by n")
    assert table.upsert([same[0]] * 2, key="id", deduplicate="latest by n").rows_updated == 1
    assert table.upsert(same, key="id", deduplicate="any").rows_updated == 1


def test_duplicates_that_match_nothing(make):
    """By SQL each is inserted; an upsert, whose keys stand once, refuses them."""
    table = make(ROWS)
    new = [{"id": 9, "n": 1}, {"id": 9, "n": 2}]
    with pytest.raises(lakehouse.DataError, match=r"several rows for each of 1 key id; .* 9"):
        table.upsert(new, key="id")
    assert table.merge(new, on="id").when_not_matched_insert().run().rows_inserted == 2


def test_null_matches_nothing_unless_asked_to(make):
    table = make([{"id": None, "n": 1}])
    rows = [{"id": None, "n": 2}]
    with pytest.raises(lakehouse.DataError, match="NULL matches nothing"):
        table.upsert(rows, key="id")
    assert table.upsert(rows, key="id", null_safe=True).rows_updated == 1
    assert table.upsert(rows, key="id", null_safe=True).rows_inserted == 0
    assert table.merge(rows, on="id").when_not_matched_insert().run().rows_inserted == 1
    assert rows_of(table, ["id", "n"]) == [(None, 2), (None, 2)]


# What delta-rs got wrong -------------------------------------------------------------------------


def test_partition_values_with_spaces(make):
    """delta-rs 4352: the file of a partition 'a b' was never removed, each merge doubled it."""
    for value in ("a b", "a%20b", "a/b=c", "ä"):
        rows = [{"id": i, "n": 0, "p": value} for i in range(3)]
        table = make(rows, partition_by="p")
        for n in (1, 2):
            report = table.upsert([{**row, "n": n} for row in rows], key=["id", "p"])
            assert (report.files_removed, report.rows_updated) == (1, 3)
        assert rows_of(table, ["id", "n"]) == [(0, 2), (1, 2), (2, 2)]


@pytest.mark.parametrize("rows", [8_192, 8_193, 120_000])
def test_a_large_table_merged_with_itself(make, rows):
    """delta-rs 4471, 4475, 4572: beyond a batch of rows, false reports of duplicate matches."""
    data = pa.table({"id": range(rows), "n": pa.array([0] * rows, pa.int32()), "p": ["a"] * rows})
    table = make(data, partition_by="p")
    report = table.upsert(
        data.set_column(1, "n", pa.array([1] * rows, pa.int32())), key=["id", "p"]
    )
    assert (report.rows_updated, report.rows_inserted, report.rows_copied) == (rows, 0, 0)
    assert table.read().aggregate("count(*), sum(n)").fetchall() == [(rows, rows)]


# Values ------------------------------------------------------------------------------------------


def test_values_that_would_change_are_refused_with_samples(make):
    table = make(ROWS)
    for change in (
        lambda: table.upsert([{"id": 1, "n": 1.5}, {"id": 9, "n": 1.0}], key="id"),
        lambda: table.update({"n": "n / 4.0"}),
        lambda: table.update({"n": 2**40}, where="id = 1"),
        lambda: table.merge([{"id": 9, "n": 2**40}], on="id").when_not_matched_insert().run(),
    ):
        with pytest.raises(lakehouse.DataError, match="'n' does not fit INTEGER in") as caught:
            change()
        assert caught.value.column == "n"
        assert caught.value.samples
    assert table.upsert([{"id": 1, "n": 2.0}], key="id").rows_updated == 1
    assert table.version == 2


def test_one_clause_does_not_bend_the_values_of_another(make):
    """In one CASE of all clauses, DuckDB would give whole numbers the type DOUBLE."""
    large = 2**53 + 1
    table = make([{"id": 1, "n": large}, {"id": 2, "n": large}], {"id": "BIGINT", "n": "BIGINT"})
    source = [{"id": 1, "f": 2.0}, {"id": 2, "f": 3.0}]
    (
        table.merge(source, on="id")
        .when_matched_update({"n": "s.f"}, condition="s.id = 1")
        .when_matched_update({"n": "t.n"})
        .run()
    )
    assert rows_of(table) == [(1, 2), (2, large)]


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        ("VARCHAR", "it's 'quoted'"), ("INTEGER", 5), ("DOUBLE", float("inf")), ("BOOLEAN", True),
        ("DATE", dt.date(2024, 1, 2)), ("DECIMAL(9,2)", Decimal("1.25")), ("BLOB", b"\x00'"),
        ("TIMESTAMPTZ", dt.datetime(2024, 1, 2, tzinfo=dt.UTC)), ("VARCHAR", None),
        ("INTEGER[]", [1, 2]), ("STRUCT(a INTEGER)", {"a": 3}), ("STRUCT(a INTEGER)", None),
    ],
)  # fmt: skip
def test_python_values(make, type_, value):
    table = make([{"id": 1}, {"id": 2}], {"id": "BIGINT", "v": type_})
    table.update({"v": lit(value)}, where="id = 1")
    assert rows_of(table) == sorted([(1, value), (2, None)], key=repr)
    if not isinstance(value, str):
        table.update({"v": value})
        assert rows_of(table) == sorted([(1, value), (2, value)], key=repr)


def test_values_see_the_row_as_it_was(make):
    table = make([{"id": 1, "n": 10}], {"id": "BIGINT", "n": "BIGINT"})
    table.update({"id": "n", "n": "id"})
    assert rows_of(table) == [(10, 1)]


def test_columns_with_the_names_that_the_engine_uses(make):
    names = ["row", "source", "file", "clause", "local", "file_index", "file_row_number", "t", "s"]
    columns = {"id": "BIGINT", **dict.fromkeys(names, "BIGINT")}
    table = make([{"id": i, **dict.fromkeys(names, i)} for i in range(3)], columns)
    table.update({name: f"{name} + 10" for name in names}, where="row = 1 AND source = 1")
    source = [{"id": 2, **dict.fromkeys(names, 5)}, {"id": 7, **dict.fromkeys(names, 7)}]
    table.merge(source, on="id").when_matched_update(
        {name: f"t.{name} + s.{name}" for name in names}
    ).when_not_matched_insert().run()
    expected = [(i, *[n] * len(names)) for i, n in ((0, 0), (1, 11), (2, 7), (7, 7))]
    assert rows_of(table) == expected


def test_rules_hold_for_changed_rows_only(make):
    table = make(
        [{"id": 1, "n": 1, "p": "a"}, {"id": 2, "n": 2, "p": "b"}],
        {"id": "BIGINT", "n": "INTEGER", "p": "VARCHAR"},
    )
    table.alter().set_not_null("p")
    table.alter().add_constraint("small", "n < 10")
    before = table.version
    for change, reason in (
        (lambda: table.update({"n": "n + 8"}), "small.*1 row"),
        (lambda: table.update({"p": None}, where="id = 1"), "'p' is NULL in a NOT NULL column"),
        (lambda: table.upsert([{"id": 3, "n": 10, "p": "c"}], key="id"), "small"),
        (lambda: table.upsert([{"id": 1, "n": 3}], key="id"), "'p' is NOT NULL and the rows"),
    ):
        with pytest.raises(lakehouse.DataError, match=reason):
            change()
    assert table.version == before
    assert table.merge([{"id": 1, "n": 3}], on="id").when_matched_update().run().rows_updated == 1


def test_computed_columns_follow(lake, make):
    table = make([], {"id": "BIGINT", "n": "INTEGER", "twice": "BIGINT", "made": "TIMESTAMPTZ"})
    alter(lake, table, twice={GENERATED: "n * 2"}, made={DEFAULT: "current_timestamp()"})
    table.append([{"id": 1, "n": 1}, {"id": 2, "n": 2}])
    table.update({"n": "n + 10"}, where="id = 1")
    rows = [{"id": 2, "n": 20}, {"id": 3, "n": 30}]
    table.upsert(rows, key="id")
    assert rows_of(table, ["id", "n", "twice"]) == [(1, 11, 22), (2, 20, 40), (3, 30, 60)]
    assert not table.read(where="made IS NULL").fetchall()
    with pytest.raises(lakehouse.DataError, match=r"'twice' \(must be n \* 2\) is broken by 1 row"):
        table.update({"twice": "5"}, where="id = 1")
    with pytest.raises(lakehouse.InputError, match="is set twice"):
        table.update({"n": "1", "N": "2"})


def test_rows_move_between_partitions(make):
    table = make(ROWS, partition_by="p")
    report = table.update({"p": lit("c d")}, where="id <= 1")
    assert (report.rows_updated, report.rows_copied, report.files_removed) == (2, 2, 2)
    assert table.read(where="p = 'c d'").aggregate("count(*)").fetchall() == [(2,)]
    partitions = table.files()["partition.p"].to_pylist()
    assert sorted(partitions) == ["a", "b", "c d"]


# Evolution ---------------------------------------------------------------------------------------


def test_source_columns_that_the_table_lacks(make):
    table = make(ROWS)
    rows = [{"id": 1, "w": "new"}, {"id": 9, "w": "new"}]
    with pytest.raises(lakehouse.DataError, match="no column 'w'"):
        table.upsert(rows, key="id")
    table.upsert(rows, key="id", schema_mode="add")
    assert table.schema.names == ["id", "n", "p", "w"]
    assert rows_of(table, ["id", "n", "w"]) == [
        (0, 0, None), (1, 10, "new"), (2, 20, None), (3, 30, None), (9, None, "new"),
    ]  # fmt: skip


def test_columns_of_explicit_clauses_do_not_evolve_the_table(make):
    table = make(ROWS)
    merge = table.merge([{"id": 1, "w": 5}], on="id", schema_mode="add")
    merge.when_matched_update({"n": "s.w"}).run()
    assert table.schema.names == ["id", "n", "p"]


def test_wider_values(make):
    table = make(ROWS, properties={"delta.enableTypeWidening": "true"})
    rows = [{"id": 1, "n": 2**40}]
    with pytest.raises(lakehouse.DataError, match="does not fit INTEGER"):
        table.upsert(rows, key="id")
    table.upsert(rows, key="id", schema_mode="widen")
    assert rows_of(table, ["n"]) == [(0,), (1 << 40,), (20,), (30,)]
    plain = make(ROWS)
    with pytest.raises(lakehouse.InputError, match="change a column's type in all files"):
        plain.upsert(rows, key="id", schema_mode="widen")


def test_new_fields_of_structs_and_mapped_columns(make):
    table = make(
        [{"id": 1, "s": {"a": 1}}, {"id": 2, "s": None}],
        {"id": "BIGINT", "s": "STRUCT(a INTEGER)"},
        properties={"delta.columnMapping.mode": "name"},
    )
    table.alter().rename_column(("s", "a"), "x")
    rows = [{"id": 1, "s": {"x": 5, "y": "new"}}, {"id": 3, "s": {"x": 6, "y": None}}]
    table.upsert(rows, key="id", schema_mode="add")
    table.update({"s": "{'x': s.x + 1, 'y': s.y}"}, where="s.x > 5")
    assert rows_of(table) == [
        (1, {"x": 5, "y": "new"}), (2, None), (3, {"x": 7, "y": None}),
    ]  # fmt: skip


# What is read and written ------------------------------------------------------------------------


def test_only_touched_files_are_written_and_only_candidates_read(make):
    table = make([])
    for start in range(0, 400, 100):
        table.append([{"id": start + i, "n": i} for i in range(100)])
    untouched = set(table.files()["path"].to_pylist()[:3])
    report = table.upsert([{"id": 310, "n": 1}, {"id": 1000, "n": 1}], key="id")
    assert (report.files_removed, report.files_added, report.rows_copied) == (1, 2, 99)
    assert untouched < set(table.files()["path"].to_pylist())
    before = table.version
    foreseen = table.update({"n": "1"}, where="id % 100 = 7", dry_run=True)
    assert (foreseen.files_removed, foreseen.rows_updated, foreseen.dry_run) == (5 - 1, 4, True)
    assert table.version == before


@pytest.mark.parametrize("marks", ["false", "true"], ids=["copies", "vectors"])
@pytest.mark.parametrize("keys", [3, 3_000], ids=["few keys", "many keys"])
def test_partitions_that_no_key_is_of_are_not_read(make, keys, marks):
    """A file that must not be read is damaged: whoever opens it fails."""
    data = pa.table({"id": range(12_000), "n": pa.array([0] * 12_000, pa.int32())})
    place = pa.array(["abcd"[i % 4] for i in range(12_000)])
    properties = {"delta.enableDeletionVectors": marks}
    table = make(data.append_column("p", place), partition_by="p", properties=properties)
    for path in table.files()["path"].to_pylist():
        if not path.startswith("p=a/"):
            Path(table.uri, path).write_bytes(b"x" * Path(table.uri, path).stat().st_size)
    ids = range(0, 4 * keys - 4, 4)
    rows = [{"id": i, "n": 1, "p": "a"} for i in [*ids, 20_000]]
    report = table.upsert(rows, key=["id", "p"])
    assert (report.rows_updated, report.rows_inserted) == (keys - 1, 1)
    merged = table.merge(rows, on="t.id = s.id AND t.p = 'a'").when_matched_update({"n": "2"})
    assert merged.run().rows_updated == keys
    found = table.read(where="p = 'a'").aggregate("count(*), sum(n)").fetchall()
    assert found == [(3_001, 2 * keys)]
    with pytest.raises(lakehouse.LakehouseError):
        table.upsert(rows, key="id")  # that would look everywhere


def test_small_results_are_folded_into_few_files(make):
    table = make([])
    for start in range(0, 400, 100):
        table.append([{"id": start + i, "n": i} for i in range(100)])
    report = table.upsert([{"id": i, "n": 1} for i in (5, 105, 205, 305, 900)], key="id")
    assert (report.files_removed, report.files_added) == (4, 2)


def test_whole_files_are_dropped_without_a_copy(make):
    table = make([{"id": i, "n": i, "p": "ab"[i // 2]} for i in range(4)], partition_by="p")
    report = table.merge([{"id": 0}, {"id": 1}], on="id").when_matched_delete().run()
    assert (report.files_removed, report.files_added, report.rows_copied) == (1, 0, 0)


def test_the_current_time_is_the_same_in_all_clauses(make):
    """Each new row is inserted once, whichever of two clauses that share the clock takes it."""
    table = make([])
    for turn in range(8):
        report = (
            table.merge([{"id": turn}], on="id")
            .when_not_matched_insert({"id": "s.id", "n": "1"}, condition="epoch_us(now()) % 2 = 0")
            .when_not_matched_insert({"id": "s.id", "n": "2"})
            .run()
        )
        assert report.rows_inserted == 1
    assert rows_of(table, ["id"]) == [(turn,) for turn in range(8)]
    times = make([{"id": 1}, {"id": 2}], {"id": "BIGINT", "a": "TIMESTAMPTZ", "b": "TIMESTAMPTZ"})
    report = (
        times.merge([{"id": 1}, {"id": 3}], on="id")
        .when_matched_update({"a": "now()", "b": "current_timestamp"})
        .when_not_matched_insert({"id": "s.id", "a": "now()", "b": "transaction_timestamp()"})
        .when_not_matched_by_source_update(
            {"a": "now()", "b": "a"}, condition="now() > '2024-01-01'"
        )
        .run()
    )
    assert (report.rows_updated, report.rows_inserted) == (2, 1)
    found = times.read().aggregate("count(a), count(DISTINCT a), count(DISTINCT b)").fetchall()
    assert found == [(3, 1, 1)]


def test_nothing_to_do_commits_nothing(make):
    table = make(ROWS)
    assert table.update({"n": "1"}, where="id = 77").version == 1
    assert table.merge([{"id": 77}], on="id").when_matched_delete().run().version == 1
    empty = pa.table({"id": pa.array([], pa.int64())})
    assert table.upsert(empty, key="id").version == 1
    assert table.version == 1


def test_the_same_key_does_the_work_once(make):
    table = make(ROWS)
    first = table.update({"n": "n + 1"}, idempotency_key=("job", 1), metadata={"run": 7})
    again = table.update({"n": "n + 1"}, idempotency_key=("job", 1))
    assert (again.version, again.rows_updated, again.replayed) == (first.version, 4, True)
    assert table.history(1)[0].metadata == {"run": 7}


# Refusals ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error", "reason"),
    [
        (lambda t: t.update({"m": "1"}), lakehouse.DataError, "no column 'm'"),
        (lambda t: t.update({}), lakehouse.InputError, "nothing is to be set"),
        (lambda t: t.update({"n": "random()"}), lakehouse.InputError, "not fixed by a row"),
        (lambda t: t.update({"n": "(SELECT 1)"}), lakehouse.InputError, "subquery"),
        (lambda t: t.update({"n": "1"}, where="n"), lakehouse.InputError, "true or false"),
        (lambda t: t.update({"n": "1) FROM x --"}), lakehouse.InputError, "cannot be read"),
        (lambda t: t.merge([{"id": 1}], on="id").run(), lakehouse.InputError, "at least one clause"),
        (lambda t: t.upsert([{"id": 1}], key="di"), lakehouse.InputError, "no column 'di' to match"),
        (lambda t: t.upsert([{"id": 1}], key=[]), lakehouse.InputError, "needs a key"),
        (lambda t: t.upsert([], key="id"), lakehouse.DataError, "no columns"),
        (
            lambda t: t.upsert([{"id": 1}], key="id", deduplicate="newest"),
            lakehouse.InputError, "latest by",
        ),
        (
            lambda t: t.merge([{"id": 1}], on="id").when_matched_update().when_matched_delete().run(),
            lakehouse.InputError, "follows one without a condition",
        ),
        (
            lambda t: t.merge([{"id": 1, "n": 1}], on="id").when_matched_update({"n": "n"}).run(),
            lakehouse.InputError, "mbiguous",
        ),
        (
            lambda t: t.merge([{"id": 1}], on="id").when_matched_update({"n": "s.nn"}).run(),
            lakehouse.InputError, "nn",
        ),
    ],
)  # fmt: skip
def test_refusals_say_what_is_wrong(make, change, error, reason):
    table = make(ROWS)
    with pytest.raises(error, match=reason):
        change(table)
    assert table.version == 1


def test_append_only_tables_take_inserts_alone(make):
    table = make(ROWS, properties={"delta.appendOnly": "true"})
    with pytest.raises(lakehouse.InputError, match="append-only"):
        table.upsert([{"id": 1, "n": 1}], key="id")
    insert = table.merge([{"id": 1, "n": 1}, {"id": 9, "n": 1}], on="id").when_not_matched_insert()
    assert insert.run().rows_inserted == 1


# Removing duplicates, replacing partitions -------------------------------------------------------


@pytest.mark.parametrize(("keep", "kept"), [("latest by n", {3, 2}), ("first by n", {1, 2})])
def test_repeated_rows_are_removed(make, keep, kept):
    table = make([{"id": 1, "n": 1}, {"id": 2, "n": 2}, {"id": None, "n": 8}])
    table.append([{"id": 1, "n": 3}, {"id": 1, "n": None}, {"id": None, "n": 9}])
    assert table.deduplicate(key="id", keep=keep, dry_run=True).rows_deleted == 2
    assert table.deduplicate(key="id", keep=keep).rows_deleted == 2
    assert {n for _, n in rows_of(table, ["id", "n"])} == kept | {8, 9}
    assert table.deduplicate(key="id", keep=keep).version == table.version
    assert table.deduplicate(key="id", null_safe=True).rows_deleted == 1


def test_a_repeated_row_that_comes_meanwhile_is_removed(lake, make, monkeypatch):
    table = make([{"id": 1, "n": 1}, {"id": 1, "n": 2}])
    seen = table.snapshot()
    lakehouse.connect(lake.uri, durable=False).table(table.name).append([{"id": 1, "n": 3}])
    monkeypatch.setattr(table, "_refreshed", lambda: seen)
    assert table.deduplicate(key="id", keep="latest by n").rows_deleted == 2
    monkeypatch.undo()
    assert rows_of(table, ["n"]) == [(3,)]


def test_partitions_that_the_rows_are_of_are_replaced(make):
    table = make([*ROWS, {"id": 9, "n": 9, "p": None}], partition_by="p")
    report = table.overwrite([{"id": 7, "n": 7, "p": "a"}], partitions="dynamic")
    assert (report.rows, report.rows_deleted) == (1, 2)
    assert rows_of(table, ["id"]) == [(1,), (3,), (7,), (9,)]
    rows = pa.table({"id": [8], "p": pa.array([None], pa.string())})
    table.overwrite(rows.to_reader(), partitions="dynamic")
    assert rows_of(table, ["id"]) == [(1,), (3,), (7,), (8,)]
    assert table.overwrite(rows.slice(0, 0), partitions="dynamic").version == table.version
    with pytest.raises(lakehouse.DataError, match="lack the partition column 'p'"):
        table.overwrite([{"id": 1}], partitions="dynamic")
    with pytest.raises(lakehouse.InputError, match="both say"):
        table.overwrite(rows, partitions="dynamic", where="p = 'a'")
    with pytest.raises(lakehouse.InputError, match="no partitions"):
        make(ROWS).overwrite(rows, partitions="dynamic")


def test_two_merges_in_threads_of_one_handle(make):
    table = make(ROWS)
    work = [
        threading.Thread(target=lambda i=i: table.upsert([{"id": i, "n": 1}], key="id"))
        for i in range(4)
    ]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    assert rows_of(table, ["n"]) == [(1,)] * 4


def test_more_rows_than_memory(tmp_path):
    """Source, hits and copies are spilled: DuckDB would raise where they could not be."""
    with lakehouse.connect(
        tmp_path / "lake", durable=False, duckdb_config={"memory_limit": "130MB", "threads": 1}
    ) as lake:
        table = lake.create_table("silver.large", {"id": "BIGINT", "v": "VARCHAR"})
        text = "repeat(md5(range::VARCHAR), 8)"
        for start in (0, 200_000):
            ids = f"range({start}, {start + 200_000})"
            table.append(lake.sql(f"SELECT range AS id, {text} AS v FROM {ids}"))
        source = lake.sql(f"SELECT range * 2 AS id, {text} AS v FROM range(300_000)")
        report = table.upsert(source, key="id")
        assert (report.rows_updated, report.rows_inserted) == (200_000, 100_000)
        assert table.update({"v": "'x' || v"}, where="id % 2 = 0").rows_updated == 300_000
        found = table.read().aggregate("count(*), count(DISTINCT id), sum(length(v))").fetchall()
        assert found == [(500_000, 500_000, 256 * 500_000 + 300_000)]
