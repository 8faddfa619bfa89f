"""Files that hold a row which one of a source's keys equals are those that a merge looks into."""

import contextlib

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lakehouse
from catalog.errors import InputError
from lakehouse.dml import covering
from lakehouse.dml.clauses import Clause, Merge
from lakehouse.dml.covering import MOST_VALUES, every, is_ordered_alike, ranges, some
from lakehouse.dml.joining import Join, join_of, own_conditions, scope_of
from lakehouse.dml.keys import reached
from lakehouse.dml.parts import opened
from lakehouse.dml.workspace import Given, workspace
from lakehouse.duck.describe import DuckType, columns_of
from lakehouse.duck.engine import Engine
from lakehouse.duck.sql import identifier
from lakehouse.scan.matching import answers, may_match
from lakehouse.scan.views import file_column
from tests.types.engines import effort, new_table

NUMBERS = st.integers(-130, 130).map(str) | st.sampled_from(
    ("0", "-0.0", "1.5", "0.1", "0.10000001", "1e10", "123456789.01", "nan", "inf", "-inf",
     "9007199254740993", "9007199254740992", "9223372036854775807", "-9223372036854775808")
)  # fmt: skip
DAYS = st.dates().map(str)
MOMENTS = st.sampled_from(
    ("2020-01-01", "2020-01-01 00:00:00.000999", "2020-01-01 00:00:00.001",
     "1969-12-31 23:59:59.999999", "0001-01-01", "9999-12-31 23:59:59.999999", "2020-01-01 09:00:00")
)  # fmt: skip
# Texts of values, types of columns, and types of keys that a family has.
FAMILIES = (
    (
        NUMBERS,
        ("TINYINT", "INTEGER", "BIGINT", "DECIMAL(9,2)", "DECIMAL(38,9)", "FLOAT", "DOUBLE"),
        ("UTINYINT", "SMALLINT", "BIGINT", "UBIGINT", "HUGEINT", "DECIMAL(6,1)", "FLOAT", "DOUBLE"),
    ),
    (
        st.text(max_size=3) | st.text("\xe4\U0001f600z", min_size=30, max_size=40),
        ("VARCHAR",),
        ("VARCHAR",),
    ),
    (DAYS | MOMENTS, ("DATE", "TIMESTAMP"), ("DATE", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_NS")),
    (DAYS | MOMENTS, ("TIMESTAMPTZ",), ("TIMESTAMPTZ",)),
    (st.sampled_from(("true", "false")), ("BOOLEAN",), ("BOOLEAN",)),
)

_FLOATING = {"FLOAT", "DOUBLE"}  # decimals are not looked up beside these


@st.composite
def tables(draw):
    """Draw types of columns and keys, the rows of some files, and the keys."""
    texts, columns, keys = draw(st.sampled_from(FAMILIES))
    text = st.none() | texts
    row = st.tuples(text, st.none() | st.integers(0, 3).map(str))
    files = draw(st.lists(st.lists(row, min_size=1, max_size=3), min_size=1, max_size=4))
    known = st.sampled_from([row for file in files for row in file])
    source = draw(st.lists(row | known, max_size=6))
    return draw(st.sampled_from(columns)), draw(st.sampled_from(keys)), files, source


def rows_of(space, rows, type_):
    """Keep rows of texts as values of a type, NULL where they are none."""
    given = space.keep(
        pa.table({n: pa.array([r[i] for r in rows], "string") for i, n in enumerate("ab")})
    )
    cast = f"SELECT TRY_CAST(a AS {type_}) AS a, TRY_CAST(b AS INTEGER) AS b FROM {given.place}"
    place = space.new_place("rows")
    with space.engine.work("make rows") as cursor:
        cursor.execute(f"CREATE TABLE {place} AS {cast}")
        return Given(place, columns_of(cursor.sql(f"FROM {place}")), len(rows))


@effort(0.4)
@given(
    drawn=tables(), on=st.sampled_from(("a", ("a", "b"))), null_safe=st.booleans(),
    partitioned=st.booleans(), as_ranges=st.booleans(), clause=st.sampled_from((None, "t.b > 1")),
)  # fmt: skip
def test_files_with_a_row_that_a_key_equals_are_asked_for(
    lake, drawn, on, null_safe, partitioned, as_ranges, clause
):
    """Whatever types are compared, and however the keys are told: no file is passed over."""
    column, key, files, source = drawn
    table = new_table(
        lake, {"a": column, "b": "INTEGER"}, partition_by=["b"] if partitioned else []
    )
    merge = Merge((Clause("matched", "delete", clause),), on, null_safe=null_safe)
    with workspace(table._engine) as space, pytest.MonkeyPatch.context() as patch:
        if as_ranges:
            patch.setattr(covering, "MOST_VALUES", 0)
        for file in files:
            table.append(space.relation(rows_of(space, file, column)))
        given_ = rows_of(space, source, key)
        snapshot, scanner = table.snapshot(), table._scanner
        scope = scope_of(merge, snapshot.schema, ["a", "b"])
        join = join_of(merge, scope, space)
        asked = reached(merge, join, scope, given_, snapshot, space=space, scanner=scanner)
        found = {answer.key for answer in answers(snapshot.files, asked, space.engine)}
        adds = snapshot.files.adds()
        assert found == set(may_match(adds, snapshot.files.layout, asked, space.engine))
        sql = (
            f"SELECT DISTINCT {identifier(file_column(snapshot.schema))} FROM {{}} AS t "
            f"JOIN {given_.place} AS s ON {join.sql} WHERE {clause or 'true'}"
        )
        met = set()
        # DuckDB may refuse to compare a date of far away with a time.
        with (
            contextlib.suppress(InputError),
            opened(snapshot, scanner, "look") as there,
        ):
            for (number,) in there.cursor.execute(sql.format(there.place)).fetchall():
                met.add(there.adds[number].key)
        assert met <= found
        kinds = {column.partition("(")[0], key.partition("(")[0]}
        is_searched = column != "BOOLEAN" and not ("DECIMAL" in kinds and kinds & _FLOATING)
        if not source and is_searched:
            assert found == set()


@pytest.mark.parametrize(
    "type_", ["BIGINT", "VARCHAR", "DATE", "TIMESTAMP", "DECIMAL(9,3)", "DOUBLE"]
)
@pytest.mark.parametrize("partitioned", [False, True])
def test_only_files_near_keys_are_asked_for(lake, type_, partitioned):
    values = {
        "VARCHAR": "printf('%05d', i)", "DATE": "DATE '2020-01-01' + i::INTEGER",
        "TIMESTAMP": "TIMESTAMP '2020-01-01' + to_seconds(i::INTEGER)",
    }  # fmt: skip
    value = values.get(type_, f"i::{type_}")
    columns = {"k": type_, "v": "INTEGER"}
    table = new_table(lake, columns, partition_by=["k"] if partitioned else [])
    for file in range(6):
        sql = f"SELECT {value} AS k, 1 AS v FROM range({file * 10}, {file * 10 + 3}) AS t(i)"
        table.append(lake.sql(sql))
    merge = Merge((Clause("matched", "delete"),), "k")
    with workspace(table._engine) as space:
        source = lake.sql(f"SELECT {value} AS k FROM (VALUES (11), (35), (52), (900)) AS t(i)")
        kept, snapshot = space.keep(source), table.snapshot()
        scope = scope_of(merge, snapshot.schema, ["k"])
        asked = reached(
            merge, join_of(merge, scope, space), scope, kept, snapshot,
            space=space, scanner=table._scanner,
        )  # fmt: skip
        found = answers(snapshot.files, asked, space.engine)
    # Of the files 10-12 and 50-52 each; where a file is a value, of these values.
    assert len(found) == 2
    assert len(snapshot.files.adds()) == (18 if partitioned else 6)


@pytest.fixture(scope="module")
def engine():
    with Engine({"threads": 1}) as engine:
        yield engine


def test_gaps_that_stand_out_are_left_out(engine):
    """A source that updates a narrow range and adds new keys says nothing of what is between."""
    keys = "(FROM range(5000, 7000) AS t(k) UNION ALL FROM range(90000, 90010) UNION ALL SELECT 5)"
    with engine.work("cover") as cursor:

        def found(type_):
            of_type = f"(SELECT CAST(k AS {type_}) AS k FROM {keys})"
            return cursor.execute(ranges(of_type, DuckType(type_.lower(), type_))).fetchall()

        assert found("BIGINT") == [("5", "5"), ("5000", "6999"), ("90000", "90009")]
        assert len(found("VARCHAR")) == 64
        even = "(SELECT k * 211 AS k FROM range(2000) AS t(k))"
        assert cursor.execute(ranges(even, DuckType("bigint", "BIGINT"))).fetchall() == [
            ("0", str(1999 * 211))
        ]


def test_only_orders_that_casts_keep_are_used():
    def alike(one, other):
        return is_ordered_alike(DuckType(one, one), DuckType(other, other))

    assert alike("integer", "bigint")
    assert alike("date", "timestamp")
    assert not alike("varchar", "integer")  # '10' < '9'
    assert not alike("timestamp", "timestamp with time zone")
    assert not alike("blob", "blob")


def test_words():
    assert (every([]), some([])) == ("true", "false")
    assert some(["a = 1", "true"]) == "true"


@pytest.fixture(scope="module")
def table(lake):
    table = lake.create_table(
        "silver.covered", {"id": "BIGINT", "d": "DATE", "v": "VARCHAR", "s": "STRUCT(a INTEGER)"}
    )
    table.append([{"id": 1}])
    return table


@pytest.mark.parametrize(
    ("on", "pairs", "own"),
    [
        ("id", [("id", '"s"."id"')], ()),
        (("id", "V"), [("id", '"s"."id"'), ("v", '"s"."v"')], ()),
        ("t.id = s.id AND t.v > 'x'", [("id", "s.id")], ("(v > 'x')",)),
        ("s.id + 1 = id AND s.v = 'x'", [("id", "(s.id + 1)")], ()),
        ("t.id = s.id OR t.v = s.v", [], ()),
        ("t.id + 0 = s.id AND t.s.a = s.id", [], ()),
        ("t.id = 5 AND t.v = s.v", [("v", "s.v")], ("(id = 5)",)),
        ("NOT (t.id = s.id)", [], ()),
        ("t.id = t.s.a", [], ("(id = s.a)",)),
    ],
)
def test_what_a_condition_says_of_columns(table, on, pairs, own):
    merge = Merge((Clause("matched", "delete"),), on)
    names = ["id", "v", "x"] if on != "s.id + 1 = id AND s.v = 'x'" else ["v"]
    scope = scope_of(merge, table.snapshot().schema, names)
    with workspace(table._engine) as space:
        found = join_of(merge, scope, space)
    assert [(pair.column, pair.source) for pair in found.pairs] == pairs
    assert found.own == own


@pytest.mark.parametrize(
    ("clauses", "number"),
    [
        ([("matched", "update", None)], 2),
        ([("matched", "update", "t.d > DATE '2020-01-05' AND s.id > 1")], 1),
        ([("matched", "delete", "s.id > 1")], 2),
        ([("not matched", "insert", None), ("matched", "delete", "t.d > DATE '2020-01-05'")], 2),
        ([("not matched by source", "delete", "t.d > DATE '2020-01-08'")], 2),
        ([("not matched by source", "delete", None)], 10),
        ([("matched", "delete", None), ("not matched by source", "delete", "t.id = 9")], 3),
        ([("not matched", "insert", None)], 2),
    ],
)
def test_files_that_a_merge_depends_on(lake, clauses, number):
    table = new_table(lake, {"id": "BIGINT", "d": "DATE"})
    for day in range(10):
        table.append(lake.sql(f"SELECT {day} AS id, DATE '2020-01-01' + {day} AS d"))
    merge = Merge(tuple(Clause(*clause) for clause in clauses), "id")
    snapshot = table.snapshot()
    with workspace(table._engine) as space:
        scope = scope_of(merge, snapshot.schema, ["id"])
        join: Join = join_of(merge, scope, space)
        for ids in ([7, 3, None, 7], [3, *[7] * MOST_VALUES, *range(70, 80 + MOST_VALUES)]):
            kept = space.keep(pa.table({"id": pa.array(ids, "int64")}))
            asked = reached(merge, join, scope, kept, snapshot, space=space, scanner=table._scanner)
            assert len(answers(snapshot.files, asked, space.engine)) == number
        assert own_conditions(None, scope, space) == ()


def test_keys_of_another_order_look_everywhere(lake):
    """Texts are compared as numbers with a number: their own order says nothing."""
    table = lake.create_table("silver.texts", {"id": "INTEGER", "n": "INTEGER"})
    for start in (1, 9, 100):
        table.append([{"id": start, "n": 0}])
    source = [{"key": "9"}, {"key": "100"}]
    merge = table.merge(source, on="t.id = s.key").when_matched_update({"n": "1"})
    assert merge.run().rows_updated == 2
    assert isinstance(lake, lakehouse.Lake)
