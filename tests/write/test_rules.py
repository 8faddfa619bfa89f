"""Constraints, invariants, generated columns, defaults: exactly the rows that break them are refused."""

import dataclasses
import datetime as dt
import json
from decimal import Decimal

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from deltalake.exceptions import DeltaError
from hypothesis import given, settings
from hypothesis import strategies as st

import lakehouse
from lakehouse.delta.commit import Change, commit
from lakehouse.delta.features import CONSTRAINT, DEFAULT, GENERATED, INVARIANTS
from lakehouse.delta.protocol import upgraded
from lakehouse.delta.schema.fields import Field, Primitive, Struct
from lakehouse.write.rules import rules_of

few = settings(max_examples=settings().max_examples // 8)
TYPES = {"a": "INTEGER", "b": "BIGINT", "s": "VARCHAR", "d": "DATE", "ts": "TIMESTAMPTZ"}


@pytest.fixture
def lake(tmp_path):
    with lakehouse.connect(tmp_path / "lake", durable=False) as lake:
        yield lake


def alter(lake, table, *, properties=(), **fields):
    """Change a table's metadata as another engine would: properties, and metadata of columns."""

    def plan(current):
        configuration = {**current.properties, **dict(properties)}
        schema = Struct(
            tuple(
                dataclasses.replace(field, metadata=fields.get(field.name, {}))
                for field in current.schema
            )
        )
        protocol = upgraded(current.protocol, schema, configuration)
        metadata = dataclasses.replace(
            current.metadata, configuration=configuration, schema_string=schema.to_json()
        )
        return Change("ALTER", (protocol, metadata))

    commit(table.snapshot(), plan, engine=lake._engine)


def is_refused(error, write):
    try:
        write()
    except error:
        return True
    return False


def invariant(sql):
    return {INVARIANTS: json.dumps({"expression": {"expression": sql}})}


numbers = st.one_of(st.none(), st.integers(-3, 3))
comparisons = st.tuples(st.sampled_from("ab"), st.sampled_from(["<", "<=", "=", "<>", "<=>"]), st.integers(-2, 2))  # fmt: skip


def holds(value, operator, other):
    """SQL's three-valued logic."""
    if operator == "<=>":
        return value == other
    if value is None:
        return None
    return {"<": value < other, "<=": value <= other, "=": value == other, "<>": value != other}[operator]  # fmt: skip


def both(left, right):
    if left is False or right is False:
        return False
    return None if left is None or right is None else True


@few
@given(
    rows=st.lists(st.fixed_dictionaries({"a": numbers, "b": numbers}), min_size=1, max_size=6),
    first=comparisons,
    second=comparisons,
    negated=st.booleans(),
)
def test_exactly_the_rows_that_break_a_constraint_are_refused(
    tmp_path_factory, rows, first, second, negated
):
    word = "NOT " if negated else ""
    sql = f"{word}({first[0]} {first[1]} {first[2]} AND {second[0]} {second[1]} {second[2]})"

    def kept(row):
        truth = both(
            *(holds(row[name], operator, other) for name, operator, other in (first, second))
        )
        return (truth is False) if negated else (truth is True)

    broken = [row for row in rows if not kept(row)]
    with lakehouse.connect(tmp_path_factory.mktemp("lake"), durable=False) as lake:
        table = lake.create_table("silver.t", {"a": "INTEGER", "b": "BIGINT"})
        alter(lake, table, properties={CONSTRAINT + "c": sql})
        data = pa.Table.from_pylist(rows, schema=pa.schema([("a", pa.int32()), ("b", pa.int64())]))
        if not broken:
            assert table.append(data).rows == len(rows)
            assert sorted(map(str, table.read().fetchall())) == sorted(
                str((row["a"], row["b"])) for row in rows
            )
            return
        files = len(list(table.snapshot().storage.list()))
        with pytest.raises(lakehouse.DataError) as caught:
            table.append(data)
        assert caught.value.count == len(broken)
        assert "constraint 'c'" in str(caught.value)
        used = {first[0], second[0]}
        texts = [{n: None if row[n] is None else str(row[n]) for n in used} for row in broken]
        assert all(sample in texts for sample in caught.value.samples)
        assert table.version == 1
        assert len(list(table.snapshot().storage.list())) == files
        # The same rows, as a constraint to be added to a table that has them.
        other = lake.create_table("silver.u", {"a": "INTEGER", "b": "BIGINT"})
        other.append(data)
        with pytest.raises(lakehouse.DataError) as again:
            other.alter().add_constraint("c", sql.replace("<=>", "IS NOT DISTINCT FROM"))
        assert again.value.count == len(broken)
        assert other.version == 1


@few
@given(rows=st.lists(st.fixed_dictionaries({"a": st.integers(-3, 3), "s": st.sampled_from(["", "x", "yy"])}), min_size=1, max_size=4))  # fmt: skip
def test_delta_rs_agrees(tmp_path_factory, rows):
    with lakehouse.connect(tmp_path_factory.mktemp("lake"), durable=False) as lake:
        table = lake.create_table("silver.t", {"a": "INTEGER", "s": "VARCHAR"})
        table.alter().add_constraint("c", "a > 0 AND length(s) < 2")
        data = pa.Table.from_pylist(rows, schema=pa.schema([("a", pa.int32()), ("s", pa.string())]))
        ours = is_refused(lakehouse.DataError, lambda: table.append(data))
        theirs = is_refused(DeltaError, lambda: write_deltalake(table.uri, data, mode="append"))
        assert ours == theirs


def test_add_and_drop(lake):
    table = lake.create_table("silver.t", TYPES)
    table.append([{"a": 1, "b": 10, "s": "x"}])
    report = table.alter().add_constraint("Positive", '"a" > 0 AND b::INT <> 3')
    assert (report.operation, report.version) == ("alter", 2)
    assert table.properties["delta.constraints.positive"] == "`a` > 0 AND CAST(b AS INT) <> 3"
    assert table.detail().min_writer == 3
    assert table.history(1)[0].operation == "ADD CONSTRAINT"
    with pytest.raises(lakehouse.AlreadyExistsError, match="positive"):
        table.alter().add_constraint("POSITIVE", "a > 1")
    for write in (table.append, table.overwrite):
        with pytest.raises(
            lakehouse.DataError, match=r"constraint 'positive'.* 2 rows.*a = 0, b = 1"
        ):
            write([{"a": 0, "b": 1}, {"a": 1, "b": 1}, {"a": None, "b": 1}])
    with pytest.raises(lakehouse.NotFoundError, match="Did you mean 'positive'"):
        table.alter().drop_constraint("positiv")
    nothing = table.alter().drop_constraint("none", if_exists=True)
    assert nothing.version == 2
    table.alter().drop_constraint("positive")
    table.append([{"a": 0, "b": 1}])
    assert not [name for name in table.properties if "constraints" in name]
    with pytest.raises(lakehouse.DataError, match=r"is broken by 1 row; for example a = 0"):
        table.alter().add_constraint("positive", "a > 0")


def test_a_constraint_conflicts_with_rows_that_come_meanwhile(lake):
    table = lake.create_table("silver.t", TYPES)
    stale = table.snapshot()
    table.append([{"a": -1}])
    table._refreshed = lambda: stale
    with pytest.raises(lakehouse.DataError, match="broken by 1 row"):
        table.alter().add_constraint("c", "a > 0")
    del table._refreshed
    stale = table.snapshot()
    table.alter().add_constraint("c", "a < 0")
    table._refreshed = lambda: stale
    with pytest.raises(lakehouse.DataError, match="constraint 'c'"):
        table.append([{"a": 1}])  # written before the constraint was seen, and checked again
    assert len(list(table.snapshot().storage.list())) > 0
    del table._refreshed
    assert table.read().fetchall() == [(-1, None, None, None, None)]


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("zz > 1", "no column 'zz'"),
        ("a > (SELECT 1)", "not known"),
        ("sum(a) > 1", "not known"),
        ("random() > 0.5", "not known"),
        ("ts > now()", "not known"),
        ("a + 1", "it is a integer, not true or false"),
        ("a >", "parsed"),
        ("a > 1; DROP TABLE x", "one expression"),
        ("1 = 1", "names no column"),
        ("", "one expression"),
        ("s = 'a\\b'", "backslash"),
        ("s ~ 'a'", "regexp_matches"),
        ("regexp_matches(s, '(?i)a')", "not read alike"),
        ("s > 3", "compares integer with string"),
    ],
)
def test_what_cannot_be_a_constraint(lake, sql, words):
    table = lake.create_table("silver.t", TYPES)
    with pytest.raises(lakehouse.InputError, match=words):
        table.alter().add_constraint("c", sql)
    assert table.version == 0


def test_names_of_constraints(lake):
    table = lake.create_table("silver.t", TYPES)
    with pytest.raises(lakehouse.InputError, match="cannot name"):
        table.alter().add_constraint("a b", "a > 1")


@pytest.mark.parametrize(
    "sql", ["hash(a) > 1", "a IN (SELECT 1)", "s RLIKE '['", "m['k'] = 1", "("]
)
@pytest.mark.parametrize("feature", ["checkConstraints", "invariants", "generatedColumns"])
def test_what_another_engine_wrote_and_we_cannot_evaluate_is_refused_by_name(lake, sql, feature):
    table = lake.create_table("silver.t", TYPES)
    table.append([{"a": 1, "b": 1}])
    if feature == "checkConstraints":
        alter(lake, table, properties={CONSTRAINT + "c": sql})
    elif feature == "invariants":
        alter(lake, table, a=invariant(sql))
    else:
        alter(lake, table, b={GENERATED: sql})
    before = len(list(table.snapshot().storage.list()))
    with pytest.raises(lakehouse.UnsupportedError, match=feature) as caught:
        table.append([{"a": 1}])
    assert caught.value.features == (feature,)
    assert len(list(table.snapshot().storage.list())) == before
    assert len(table.read().fetchall()) == 1
    table.rewrite([file["path"] for file in table.files().to_pylist()])  # no row changes


def test_an_invariant(lake):
    table = lake.create_table("silver.t", TYPES)
    alter(lake, table, a=invariant("a > 3"))
    table.append([{"a": 4}])
    with pytest.raises(
        lakehouse.DataError, match=r"invariant of 'a' \(a > 3\) is broken by 2 rows"
    ):
        table.append([{"a": 3}, {"a": 4}, {"a": None}])


def test_generated_columns(lake):
    table = lake.create_table(
        "silver.t",
        {
            "ts": "TIMESTAMPTZ",
            "n": "INTEGER",
            "day": "DATE",
            "y": "INTEGER NOT NULL",
            "twice": "BIGINT",
        },
        partition_by="day",
    )
    alter(
        lake,
        table,
        day={GENERATED: "CAST(ts AS DATE)"},
        y={GENERATED: "YEAR(ts)"},
        twice={GENERATED: "n * 2"},
    )
    assert table.detail().min_writer == 4
    at = dt.datetime(2024, 2, 29, 23, 59, tzinfo=dt.UTC)
    table.append([{"ts": at, "n": 1}])
    table.append([{"ts": at, "n": 2, "twice": 4, "y": 2024, "day": at.date()}])
    rows = sorted(table.read(columns=["n", "day", "y", "twice"]).fetchall())
    assert rows == [(1, at.date(), 2024, 2), (2, at.date(), 2024, 4)]
    assert [row[0] for row in table.read(where="day = DATE '2024-02-29'", columns=["n"]).fetchall()]
    with pytest.raises(
        lakehouse.DataError, match=r"'twice' \(must be n \* 2\) is broken by 1 row"
    ) as caught:
        table.append([{"ts": at, "n": 2, "twice": 5}, {"ts": at, "n": 2, "twice": 4}])
    assert caught.value.samples == ({"twice": "5", "n": "2"},)
    with pytest.raises(lakehouse.DataError, match=r"'y' \(is NULL in a NOT NULL column\)"):
        table.append([{"ts": None, "n": 1}])
    assert len(table.read().fetchall()) == 2


def test_defaults(lake):
    table = lake.create_table("silver.t", {"n": "INTEGER", "s": "VARCHAR", "at": "TIMESTAMPTZ"})
    alter(lake, table, s={DEFAULT: "'none'"}, at={DEFAULT: "current_timestamp()"})
    table.append([{"n": 1}])
    table.append([{"n": 2, "s": None}])
    rows = sorted(table.read().fetchall())
    assert [row[:2] for row in rows] == [(1, "none"), (2, None)]
    assert all(row[2] is not None for row in rows)


def test_names_in_any_case_nested_and_mapped():
    schema = Struct(
        (
            Field("Unit Price", Primitive("double"), True, {"delta.columnMapping.physicalName": "c1"}),
            Field("a", Struct((Field("B", Primitive("integer"), True, {"delta.columnMapping.physicalName": "c3"}),)), True, {"delta.columnMapping.physicalName": "c2"}),
        )
    )  # fmt: skip
    (rule,) = rules_of(schema, {CONSTRAINT + "c": "`unit price` > 0 AND A.b = 1"}).rules
    assert rule.columns == {"Unit Price": '"c1"', "a.B": "struct_extract(\"c2\", 'c3')"}


@pytest.mark.parametrize("mode", ["name", "id"])
def test_mapped_columns(lake, mode):
    table = lake.create_table(
        "silver.t",
        {"Unit Price": "DOUBLE", "p": "STRUCT(x INTEGER, y INTEGER)", "twice": "DOUBLE"},
        properties={"delta.columnMapping.mode": mode},
    )
    physical = [field.physical_name for field in table.snapshot().schema]
    assert physical != ["Unit Price", "p", "twice"]
    table.append([{"Unit Price": 1.0, "p": {"x": 1, "y": 2}}])
    table.alter().add_constraint("price", '"unit price" > 0 AND P.X < p.y')
    assert table.properties["delta.constraints.price"] == "`unit price` > 0 AND P.X < p.y"
    table.append([{"Unit Price": 2.0, "p": {"x": 1, "y": 2}}])
    with pytest.raises(lakehouse.DataError, match=r"Unit Price = -1\.0, p\.x = 1, p\.y = 2"):
        table.append([{"Unit Price": -1.0, "p": {"x": 1, "y": 2}}])
    with pytest.raises(lakehouse.InputError, match="constraint 'price'"):
        table.alter().rename_column("Unit Price", "price")
    with pytest.raises(lakehouse.DataError, match=r"'more' .* is broken by 1 row"):
        table.alter().add_constraint("more", "`Unit Price` > 1 AND p.x = 1")
    table.alter().rename_column("twice", "double")
    with pytest.raises(lakehouse.DataError, match="'price'"):
        table.append([{"Unit Price": 2.0, "p": {"x": 2, "y": 2}, "double": 4.0}])
    assert len(table.read().fetchall()) == 2


def test_alter_table_in_sql(lake):
    table = lake.create_table("silver.t", {"a": "BIGINT"})
    table.append([{"a": 1}])
    lake.sql("ALTER TABLE silver.t ADD CONSTRAINT positive CHECK (a > 0)")
    with pytest.raises(lakehouse.DataError, match="'positive'"):
        table.append([{"a": 0}])
    lake.sql("ALTER TABLE silver.t DROP CONSTRAINT positive")
    table.append([{"a": 0}])


def test_a_nested_column(lake):
    table = lake.create_table("silver.t", {"p": "STRUCT(x INTEGER, y INTEGER)"})
    table.alter().add_constraint("c", "p.X < p.y")
    table.append([{"p": {"x": 1, "y": 2}}])
    with pytest.raises(lakehouse.DataError, match=r"p\.x = 3, p\.y = 2"):
        table.append([{"p": {"x": 3, "y": 2}}])


def test_a_stream_is_refused_with_the_row_that_was_seen(lake):
    table = lake.create_table("silver.t", {"a": "BIGINT"})
    table.alter().add_constraint("c", "a > 0")
    reader = pa.table({"a": [1, -5]}).to_reader()
    with pytest.raises(lakehouse.DataError, match="at least 1 row; for example a = -5") as caught:
        table.append(reader)
    assert caught.value.samples == ({"a": "-5"},)


def test_decimals_and_dates_are_compared_exactly(lake):
    table = lake.create_table("silver.t", {"n": "DECIMAL(10,2)", "d": "DATE"})
    table.alter().add_constraint("c", "n >= 0.10 AND d > '1900-01-01'")
    table.append([{"n": Decimal("0.10"), "d": dt.date(1900, 1, 2)}])
    with pytest.raises(lakehouse.DataError, match="2 rows"):
        table.append([{"n": Decimal("0.09"), "d": dt.date(2000, 1, 1)}, {"n": Decimal(1), "d": dt.date(1900, 1, 1)}])  # fmt: skip


def test_a_column_that_others_are_computed_from_keeps_its_type(lake):
    table = lake.create_table("silver.t", {"n": "INTEGER", "twice": "BIGINT", "m": "INTEGER"})
    table.append([{"n": 1, "twice": 2, "m": 1}])
    alter(lake, table, twice={GENERATED: "n * 2"})
    with pytest.raises(lakehouse.InputError, match="'twice' is computed from it"):
        table.alter().change_type("n", "DOUBLE")
    with pytest.raises(lakehouse.InputError, match="'twice' is computed from it"):
        table.append([{"n": 0.5, "m": 2}], schema_mode="widen")
    table.alter().change_type("m", "BIGINT")
    table.append([{"n": 2, "m": 2**40}])
    assert sorted(table.read().fetchall()) == [(1, 2, 1), (2, 4, 2**40)]
