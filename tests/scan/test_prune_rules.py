"""The pruner as a pure function: its SQL is true for every file that has a matching row."""

import re

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.delta.files.layout import Layout
from lakehouse.delta.schema.fields import Field, Primitive, Struct
from lakehouse.scan import plain
from lakehouse.scan.may import EVERY, NONE, May
from lakehouse.scan.plan import split_filters
from lakehouse.scan.prune import Pruner
from tests.types.engines import effort

KEY = "a" * 20
OPERATORS = st.sampled_from(("=", "!=", "<", "<=", ">", ">="))
NUMBERS = st.none() | st.integers(-3, 3)
LAYOUT = Layout(
    Struct((Field("n", Primitive("long")), Field("g", Primitive("double")),
            Field("p", Primitive("long")))),
    ("p",),
)  # fmt: skip
PRUNER = Pruner(LAYOUT, lambda names: "random" in names)


def literal(value):
    return "NULL" if value is None else f"'{value}'::DOUBLE" if value != value else str(value)


@st.composite
def filters(draw):
    columns = st.sampled_from([f"c{i}_{KEY}" for i in range(3)])
    constants = (st.integers(-3, 3) | st.just(float("nan"))).map(literal)
    leaf = st.one_of(
        st.builds("({} {} {})".format, columns, OPERATORS, constants),
        st.builds("({2} {1} {0})".format, columns, OPERATORS, constants),
        st.builds("({} IN ({}, {}))".format, columns, constants, constants),
        st.builds("({} BETWEEN {} AND {})".format, columns, constants, constants),
        st.builds("({} IS NULL)".format, columns),
        st.builds("({} IS NOT NULL)".format, columns),
        st.builds("(({} + 1) = {})".format, columns, constants),
        st.sampled_from(["true", "false", "NULL", f"(c0_{KEY} = c2_{KEY})"]),
    )  # fmt: skip
    return draw(
        st.recursive(
            leaf,
            lambda inner: st.one_of(
                st.builds("({} AND {})".format, inner, inner),
                st.builds("({} OR {})".format, inner, inner),
                st.builds("(NOT {})".format, inner),
            ),
            max_leaves=4,
        )
    )


@st.composite
def files(draw):
    """Draw the rows of a file of one partition, and its row in the index, known or not."""
    p = draw(NUMBERS)
    rows = draw(st.lists(st.tuples(NUMBERS, NUMBERS | st.just(float("nan"))), min_size=1))
    ns = [n for n, _ in rows if n is not None]
    gs = [g for _, g in rows if g is not None]
    has_nan = any(g != g for g in gs)
    index = {
        "rows": len(rows), "p0": p,
        "min0": min(ns, default=None), "max0": max(ns, default=None), "nulls0": len(rows) - len(ns),
        "min1": None if has_nan else min(gs, default=None),
        "max1": None if has_nan else max(gs, default=None), "nulls1": len(rows) - len(gs),
        "nan1": None if has_nan else 0,
    }  # fmt: skip
    for name in draw(st.sets(st.sampled_from([n for n in index if n != "p0"]))):
        index[name] = None
    return [(n, g, p) for n, g in rows], index


@pytest.fixture(scope="module")
def connection():
    with duckdb.connect() as connection:
        yield connection


@effort(1)
@given(texts=st.lists(filters(), min_size=1, max_size=2), file=files())
def test_no_file_with_a_matching_row_is_dropped(connection, texts, file):
    rows, index = file
    predicate = PRUNER.may_match(tuple(texts))
    types = {"p0": "BIGINT", "min1": "DOUBLE", "max1": "DOUBLE"}
    columns = ", ".join(
        f"CAST({literal(value)} AS {types.get(name, 'BIGINT')}) AS {name}"
        for name, value in index.items()
    )
    kept, stored = connection.sql(
        f"SELECT {predicate.exact}, {predicate.stored} FROM (SELECT {columns})"
    ).fetchall()[0]
    assert kept is not None
    # What follows from the predicate drops no file that the predicate keeps.
    assert kept is bool(stored)
    names = ", ".join(f"c{i}_{KEY}" for i in range(3))
    values = ", ".join(
        f"({literal(n)}::BIGINT, {literal(g)}::DOUBLE, {literal(p)}::BIGINT)" for n, g, p in rows
    )
    matching = connection.sql(
        f"SELECT count(*) FROM (VALUES {values}) AS t({names}) WHERE {' AND '.join(texts)}"
    ).fetchall()[0][0]
    assert kept or not matching


@effort(1)
@given(
    values=st.lists(st.integers(-500, 500), min_size=1, max_size=150),
    low=st.none() | st.integers(-520, 520),
    width=st.none() | st.integers(0, 60),
)
def test_long_lists_keep_the_files_that_hold_a_value(connection, values, low, width):
    high = None if low is None or width is None else low + width
    may = PRUNER.may_match((f"(c0_{KEY} IN ({', '.join(map(str, values))}))",))
    kept, stored = connection.sql(
        f"SELECT {may.exact}, {may.stored} FROM (SELECT {literal(low)}::BIGINT AS min0, "
        f"{literal(high)}::BIGINT AS max0, 9 AS rows, 0 AS nulls0)"
    ).fetchall()[0]
    above, below = low is None, high is None
    assert kept is any((above or low <= v) and (below or v <= high) for v in values)
    assert kept is bool(stored)


@pytest.mark.parametrize(
    "text",
    [
        "", "(", "c0", f"(c9_{KEY} = 3)", f"(other.c0_{KEY} = 3)", f"(c2_{KEY} = random())",
        f"(c0_{KEY} = c1_{KEY})", f"(abs(c0_{KEY}) = 3)", "('c0' = 'p0')", "no SQL at all !!",
        f"(c0_{KEY} = 3" + " OR true" * 40_000 + ")", "(" * 3000 + "true" + ")" * 3000,
    ],
    ids=lambda text: text[:30],
)  # fmt: skip
def test_what_is_not_understood_keeps_the_file(text):
    assert PRUNER.may_match((text,)) == EVERY


def test_very_long_lists_prune_nothing():
    text = f"(c0_{KEY} IN ({', '.join(map(str, range(50_000)))}))"
    assert plain.may_match((text,), PLAIN) == Pruner(PLAIN).may_match((text,)) == EVERY


def test_rules_that_are_simple():
    assert PRUNER.may_match(()) == EVERY
    assert PRUNER.may_match(("false",)) == NONE
    assert PRUNER.may_match((f"(c2_{KEY} = 3)",)).exact == "coalesce(((p0 = 3)), false)"
    assert "min0" in PRUNER.may_match((f"(c0_{KEY} = 3)",)).needs
    # The name stands in a string here.
    exact = PRUNER.may_match((f"(c2_{KEY} = 'c2_{KEY}')",)).exact
    assert exact.endswith(f"'c2_{KEY}')), false)")


@given(st.lists(st.text("ab'\n ()", max_size=12), min_size=1, max_size=4))
def test_split_filters_puts_constants_together_again(constants):
    """Joined by line breaks, as DuckDB shows them, filters come apart where they were joined."""
    texts = [f"(c{i} = '{c.replace(chr(39), chr(39) * 2)}')" for i, c in enumerate(constants)]
    assert split_filters("\n".join(texts)) == tuple(texts)
    assert split_filters("\n".join(texts).split("\n")) == tuple(texts)


def test_split_filters_gives_up_on_an_open_quote():
    assert split_filters("(c0 = 'a)\n(c1 = 3)") == ()
    assert split_filters("optional: (c0 = 3)") == ("(c0 = 3)",)


PLAIN = Layout(
    Struct(tuple(Field(name, Primitive(type_)) for name, type_ in (
        ("n", "long"), ("s", "string"), ("at", "timestamp"), ("day", "date"), ("raw", "binary"),
        ("p", "string"), ("q", "date"), ("g", "double"),
    ))),
    ("q", "p"),
)  # fmt: skip


NUMBERS = st.integers(-9, 9)


@st.composite
def plain_filters(draw):
    column = st.sampled_from([f"c{i}_{KEY}" for i in range(7)])
    constant = st.one_of(
        st.integers(-(10**20), 10**20).map(str),
        st.decimals(-99, 99, places=2).map("{:f}".format),
        st.text("a'(1 \\n", max_size=6).map(lambda text: "'" + text.replace("'", "''") + "'"),
        st.sampled_from(["'2024-01-31'::DATE", "'2024-01-31 12:00:00+00'::TIMESTAMP WITH TIME ZONE",
                         "'2024-01-31 12:00:00'::TIMESTAMP", f"'c0_{KEY} = 1 AND '"]),
    )  # fmt: skip
    condition = st.one_of(
        st.builds("({} {} {})".format, column, OPERATORS, constant),
        st.builds("({} IS NULL)".format, column),
        st.builds("({} IS NOT NULL)".format, column),
    )
    remainder = st.builds(f"((c0_{KEY} % {{}}) {{}} {{}})".format, NUMBERS, OPERATORS, NUMBERS)
    lists = st.lists(constant, min_size=1, max_size=3).map(", ".join)
    conjunction = st.lists(condition, min_size=1, max_size=3).map(
        lambda found: found[0] if len(found) == 1 else f"({' AND '.join(found)})"
    )
    disjunction = st.lists(conjunction, min_size=2, max_size=3).map(" OR ".join)
    return draw(
        st.one_of(
            conjunction,
            disjunction.map("({})".format),
            st.builds("({} IN ({}))".format, column, lists),
            remainder,
            st.builds("({} AND {})".format, remainder, condition),
            st.builds("({} IS DISTINCT FROM true)".format, remainder),
        )
    )


@effort(2)
@given(texts=st.lists(plain_filters(), min_size=1, max_size=2))
def test_plain_filters_mean_what_the_parser_says(texts):
    for given_texts in (texts, [text.replace(" = ", "=") for text in texts]):
        found = plain.may_match(given_texts, PLAIN)
        assert found is not None
        assert found == Pruner(PLAIN).may_match(tuple(given_texts))


@effort(1)
@given(texts=st.lists(filters(), min_size=1, max_size=2))
def test_what_is_not_plain_is_left_to_the_parser(texts):
    found = plain.may_match(texts, LAYOUT)
    assert found is None or _flat(found) == _flat(PRUNER.may_match(tuple(texts)))


def _flat(may: May) -> str:
    """Return a predicate without its parentheses: a plain one's are those of its own filter."""
    return re.sub("[()]", "", may.exact)


@pytest.mark.parametrize(
    "text",
    [
        f"(c0_{KEY} = 1) OR (c0_{KEY} = 2)",
        f"NOT (c0_{KEY} = 1)",
        f"(c0_{KEY} = 1::DOUBLE)",
        f"(c0_{KEY} = 1e5)",
        f"(c0_{KEY} = 1 + 1)",
        f"(c1_{KEY} = 'a'::TIMESTAMP_NS)",
        f"(c1_{KEY} = 'a' || 'b')",
        f"(c1_{KEY}.x = 'a')",
        f"(x.c1_{KEY} = 'a')",
        f"f(c1_{KEY} = 'a')",
        f"(c7_{KEY} = 1)",
        f"(c8_{KEY} = 1)",
        "x",
        "(x AND x)",
        f"(c5_{KEY} = 'a') AND random()",
        f"((c5_{KEY} % 7) = 3)",
        f"((c5_{KEY} = 'a') IS DISTINCT FROM true)",
        f"((c0_{KEY} + c0_{KEY}) IS DISTINCT FROM true)",
        f"((c0_{KEY} % c0_{KEY}) = 3)",
        "",
    ],
)
def test_filters_that_need_the_parser(text):
    assert plain.may_match([text], PLAIN) is None
