"""What plain conditions keep in memory is what the same conditions keep in SQL."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.scan import plain, quick
from lakehouse.scan.join_keys import Keys, may_match
from lakehouse.scan.may import all_of
from lakehouse.scan.prune import Pruner
from tests.scan.test_from_log import changed
from tests.types.engines import effort, new_table

KEY = "_" + "0123456789" * 2
MOMENT = dt.datetime.fromisoformat("2024-01-01 00:00:00")
COLUMNS = {"i": "INTEGER", "l": "BIGINT", "s": "VARCHAR", "d": "DATE", "t": "TIMESTAMP", "z": "TIMESTAMPTZ", "f": "DOUBLE"}  # fmt: skip
ROWS = [
    {
        "i": None if n % 4 == 0 else n,
        "l": n * 10**9,
        "s": ["", "a", "it's", "é", "a\nb", "z" * 40][n % 6],
        "d": None if n > 20 else (MOMENT + dt.timedelta(n)).date(),
        "t": MOMENT + dt.timedelta(hours=n, microseconds=n),
        "z": (MOMENT + dt.timedelta(hours=n, microseconds=n)).replace(tzinfo=dt.UTC),
        "f": n / 2,
    }
    for n in range(24)
]
_WHEN = st.integers(-2, 30).map(lambda n: MOMENT + dt.timedelta(hours=n, microseconds=n % 3))
CONSTANTS = {
    "i": st.integers(-2, 30).map(str) | st.just(str(2**40)),
    "l": st.integers(-2, 30).map(lambda n: str(n * 10**9)) | st.just("2.5"),
    "s": st.sampled_from(["''", "'a'", "'it''s'", "'é'", "'a\nb'", "'" + "z" * 39 + "'"]),
    "d": st.dates(dt.date(2023, 12, 30), dt.date(2024, 2, 1)).map(lambda d: f"'{d}'::DATE"),
    "t": _WHEN.map(lambda t: f"'{t}'::TIMESTAMP") | st.just("'infinity'::TIMESTAMP"),
    "z": _WHEN.map(lambda t: f"'{t}+00'::TIMESTAMP WITH TIME ZONE"),
    "f": st.integers(0, 12).map(str),
}


@st.composite
def filters(draw):
    """Draw filters as a plan shows them."""
    found = []
    for _ in range(draw(st.integers(1, 3))):
        number, name = draw(st.sampled_from(list(enumerate(COLUMNS))))
        column, constants = f"c{number}{KEY}", CONSTANTS[name]
        kind = draw(st.sampled_from(["one", "one", "both", "list", "either"]))
        some = draw(st.lists(constants, min_size=1, max_size=4))
        operator = draw(st.sampled_from(["=", "!=", "<", "<=", ">", ">="]))
        if kind == "one":
            found.append(f"({column} {operator} {some[0]})")
        elif kind == "both":
            found.append(f"(({column} >= {some[0]}) AND ({column} <= {some[-1]}))")
        elif kind == "list":
            found.append(f"({column} IN ({', '.join(some)}))")
        else:
            found.append(
                "(" + " OR ".join(f"({column} = {value})" for value in (*some, some[0])) + ")"
            )
    return tuple(found)


@pytest.fixture(scope="module")
def tables(lake):
    """Give tables with statistics as ours are, and as others may be."""
    made = [new_table(lake, COLUMNS) for _ in range(2)]
    for table in made:
        for start in range(0, len(ROWS), 3):
            table.append(ROWS[start : start + 3])
    changed(made[1], ("no statistics", "wide", "no NULL counts", "as it is"))
    return made


@effort(2)
@given(asked=filters(), which=st.integers(0, 1))
def test_kept_in_memory_and_in_sql(lake, tables, asked, which):
    index = tables[which].snapshot().files
    tests = quick.tests(asked, index.layout)
    floats, wide = (
        f"c6{KEY}",
        any(word in text for text in asked for word in ("'inf", "2.5", str(2**40))),
    )
    if tests is None:
        assert wide or any(floats in text for text in asked)
        return
    sql = Pruner(index.layout).may_match(asked).exact
    with lake._engine.work("compare") as cursor, index.on(cursor, lake._engine) as source:
        expected = cursor.execute(
            f"SELECT file FROM {source} WHERE {sql} ORDER BY position"
        ).fetchall()
    typed = index.in_memory(lake._engine)
    assert typed is not None
    assert quick.kept(typed, tests, ["file"])["file"].to_pylist() == [file for (file,) in expected]


@st.composite
def joined(draw):
    """Draw keys of joins, as a profile shows them."""
    found = []
    for _ in range(draw(st.integers(1, 2))):
        number, name = draw(st.sampled_from(list(enumerate(COLUMNS))))
        low, high, *values = draw(st.lists(CONSTANTS[name], min_size=3, max_size=5))
        some = [draw(st.booleans()) for _ in range(3)]
        found.append(
            Keys(
                number,
                low if some[0] else None,
                high if some[1] else None,
                tuple(values) if some[2] else None,
            )
        )
    return tuple(found)


@effort(1)
@given(keys=joined(), which=st.integers(0, 1))
def test_keys_of_joins_keep_the_same_in_memory_and_in_sql(lake, tables, keys, which):
    index = tables[which].snapshot().files
    tests = quick.of_keys(keys, index.layout)
    typed = index.in_memory(lake._engine)
    assert typed is not None
    if tests is None:
        asked = [(one.column, one.low, one.high, *(one.values or ())) for one in keys]
        odd = {"2.5", str(2**40), "'infinity'::TIMESTAMP"}
        assert any(6 in one or odd & set(one) for one in asked)
        return
    sql = all_of([may_match(one, index.layout) for one in keys]).exact
    with lake._engine.work("compare") as cursor, index.on(cursor, lake._engine) as source:
        expected = cursor.execute(
            f"SELECT file FROM {source} WHERE {sql} ORDER BY position"
        ).fetchall()
    assert quick.kept(typed, tests, ["file"])["file"].to_pylist() == [file for (file,) in expected]


@pytest.mark.parametrize(
    "text",
    [
        f"((c0{KEY} = 1) OR (c1{KEY} = 2))", f"NOT (c0{KEY} = 1)",
        f"(c0{KEY} = 1 + 1)", f"(c0{KEY} IS NULL)", f"((c0{KEY} = 1) OR (c0{KEY} > 2))",
        f"(c0{KEY} IN (1, x))", "random() > 0",
    ],
)  # fmt: skip
def test_what_is_not_plain(tables, text):
    layout = tables[0].snapshot().files.layout
    assert quick.tests((text,), layout) is None
    assert plain.conditions((text, f"(c0{KEY} = 1)"), layout) is None
