"""The predicate that covers a source's keys is true for every row that one of them equals."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lakehouse
from lakehouse.dml.clauses import Clause, Merge
from lakehouse.dml.covering import (
    MOST_VALUES,
    every,
    is_ordered_alike,
    one_of,
    ranges,
    some,
    within,
)
from lakehouse.dml.joining import Join, join_of, own_conditions, scope_of
from lakehouse.dml.keys import reached
from lakehouse.dml.workspace import workspace
from lakehouse.duck.describe import DuckType
from lakehouse.duck.engine import Engine

TYPES = {
    "BIGINT": st.integers(-(2**63), 2**63 - 1),
    "DOUBLE": st.floats(),
    "VARCHAR": st.text(max_size=4),
    "DATE": st.dates(),
    "TIMESTAMP": st.datetimes(),
    "BOOLEAN": st.booleans(),
}
quick = settings(max_examples=settings().max_examples // 2)


@pytest.fixture(scope="module")
def engine():
    with Engine({"threads": 1}) as engine:
        yield engine


@given(data=st.data(), type_=st.sampled_from(sorted(TYPES)), nulls=st.booleans())
@quick
def test_values_and_ranges_cover_the_keys(engine, data, type_, nulls):
    keys = data.draw(st.lists(TYPES[type_], min_size=1, max_size=20))
    rows = data.draw(
        st.lists(st.one_of(st.none(), TYPES[type_], st.sampled_from(keys)), max_size=20)
    )
    duck = DuckType(type_.lower(), type_)
    with engine.work("cover") as cursor:
        cursor.execute(f"CREATE OR REPLACE TEMP TABLE keys (k {type_})")
        cursor.execute(f"CREATE OR REPLACE TEMP TABLE rows (k {type_})")
        cursor.executemany("INSERT INTO keys VALUES (?)", [[key] for key in keys])
        if rows:
            cursor.executemany("INSERT INTO rows VALUES (?)", [[row] for row in rows])
        texts = [
            t
            for (t,) in cursor.execute("SELECT CAST(k AS VARCHAR) FROM keys ORDER BY k").fetchall()
        ]
        most = data.draw(st.integers(1, len(texts)))
        parts = cursor.execute(ranges("keys", duck, most=most)).fetchall()
        assert 1 <= len(parts) <= most
        by_values = one_of("k", duck, texts, nulls=nulls)
        by_ranges = within("k", duck, parts, nulls=nulls)
        for predicate in (by_values, by_ranges):
            missed = cursor.execute(
                f"SELECT count(*) FROM rows WHERE (k IN (FROM keys) OR ({nulls} AND k IS NULL)) "
                f"AND ({predicate}) IS NOT TRUE"
            ).fetchone()
            assert missed == (0,)
        exact = cursor.execute(
            f"SELECT count(*) FROM rows WHERE ({by_values}) AND k NOT IN (FROM keys)"
        ).fetchone()
        assert exact == (0,)


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
    assert one_of("a", DuckType("integer", "INTEGER"), []) == "false"


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
    ("clauses", "expected"),
    [
        ([("matched", "update", None)], '("id" IN (3, 7))'),
        ([("matched", "update", "t.v = 'x' AND s.id > 1")], "(v = 'x')"),
        ([("matched", "delete", "s.id > 1")], '("id" IN (3, 7))'),
        ([("not matched", "insert", None), ("matched", "delete", "t.v = 'x'")], '("id" IN (3, 7))'),
        ([("not matched by source", "delete", "t.v = 'x'")], "(v = 'x')"),
        ([("not matched by source", "delete", None)], "true"),
    ],
)
def test_rows_that_a_merge_depends_on(table, clauses, expected):
    merge = Merge(tuple(Clause(*clause) for clause in clauses), "id")
    snapshot = table.snapshot()
    with workspace(table._engine) as space:
        kept = space.keep([{"id": 7}, {"id": 3}, {"id": None}, {"id": 7}])
        scope = scope_of(merge, snapshot.schema, ["id"])
        join: Join = join_of(merge, scope, space)
        found = reached(merge, join, scope, kept, snapshot, space)
        assert expected in found
        assert ("IN (3, 7)" in found) == (
            clauses[0][0] != "not matched by source" or expected != "true"
        )
        many = space.keep(pa.table({"id": range(MOST_VALUES + 1)}))
        assert found == "true" or "BETWEEN" in reached(merge, join, scope, many, snapshot, space)
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
