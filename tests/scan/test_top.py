"""ORDER BY with LIMIT reads the files that can hold the first rows, and gives the first rows."""

import datetime as dt
import json
import math

import pytest
from hypothesis import given, note
from hypothesis import strategies as st

from lakehouse.scan.plan import Order, reaches
from lakehouse.testing import predicates
from tests.scan.test_from_log import KINDS, changed, quoted
from tests.scan.test_pruning import layouts, plain, written
from tests.types.engines import effort, new_table

few = effort(0.3)


def texts(relation) -> list[str]:
    # Of 0.0 and -0.0, which are equal, either may come first.
    return [repr(row).replace("-0.0", "0.0") for row in relation.fetchall()]


@few
@given(data=st.data(), layout=layouts())
def test_first_rows(lake, data, layout):
    schema, partition_by, appends = layout
    table = written(lake, schema, partition_by, appends)
    if data.draw(st.booleans()):
        changed(table, data.draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=12)))
    raw = table.read().to_arrow_table()
    with plain(raw=raw) as connection:
        for _ in range(4):
            columns = [quoted(data.draw(st.sampled_from(schema.names))) for _ in range(2)]
            keys = [
                f"{column} {data.draw(st.sampled_from(['', 'ASC', 'DESC']))} "
                f"{data.draw(st.sampled_from(['', '', 'NULLS FIRST', 'NULLS LAST']))}"
                for column in columns
            ]
            where = ""
            if data.draw(st.booleans()):
                where = f"WHERE {data.draw(predicates(raw))}"
            limit = f"LIMIT {data.draw(st.integers(0, 5))} OFFSET {data.draw(st.integers(0, 3))}"
            query = (
                f"SELECT {', '.join(columns)} FROM <0> {where} ORDER BY {', '.join(keys)} {limit}"
            )
            note(query)
            ours = lake.sql(query.replace("<0>", table.name))
            assert texts(ours) == texts(connection.sql(query.replace("<0>", "raw")))


ROWS = [
    {
        "p": n // 4,
        "i": n,
        "ts": dt.datetime.fromisoformat(f"2024-01-{1 + n // 24:02}T{n % 24:02}:00:00"),
        "s": f"{n:03}: a text that is long enough to be cut in statistics",
        "f": math.nan if n == 6 else n / 3,
        "n": None if n % 3 else n,
        "tie": 7,
    }
    for n in range(80)
]
COLUMNS = {"p": "INTEGER", "i": "BIGINT", "ts": "TIMESTAMP", "s": "VARCHAR", "f": "DOUBLE", "n": "INTEGER", "tie": "INTEGER"}  # fmt: skip
# How many of twenty files with four rows each may be read at most.
SELECTIVE = [
    ("ORDER BY ts DESC LIMIT 3", 1), ("ORDER BY ts DESC LIMIT 4 OFFSET 2", 2),
    ("ORDER BY i LIMIT 1", 1), ("ORDER BY i ASC, s DESC LIMIT 5", 2), ("ORDER BY 2 DESC LIMIT 3", 1),
    ("ORDER BY p DESC, i LIMIT 3", 1), ("ORDER BY s DESC LIMIT 2", 1),
    ("ORDER BY n DESC LIMIT 2", 2), ("WHERE i < 40 ORDER BY i DESC LIMIT 4", 1),
    ("WHERE p IN (3, 5) ORDER BY ts LIMIT 4", 1), ("WHERE ts >= '2024-01-02' ORDER BY ts LIMIT 4", 1),
    ("WHERE i <> 79 AND ts < current_date ORDER BY i DESC LIMIT 2", 2),
]  # fmt: skip
WHOLE = [
    "ORDER BY i + 1 LIMIT 2", "ORDER BY n NULLS FIRST LIMIT 2", "ORDER BY tie LIMIT 2",
    "WHERE i % 2 = 0 ORDER BY i LIMIT 2", "ORDER BY i LIMIT 80", "WHERE n <> 3 ORDER BY n LIMIT 2",
    "WHERE i > random() ORDER BY n LIMIT 2",
]  # fmt: skip


@pytest.mark.parametrize(("rest", "most"), [*SELECTIVE, *((rest, 20) for rest in WHOLE)])
def test_files_are_skipped(lake, twenty, rest, most):
    query = f"SELECT p, i, n, tie FROM {twenty.name} {rest}"
    (seen,) = lake.explain(query).tables
    assert seen.files_total == 20
    assert seen.files_kept <= most
    assert bool(seen.order) == (most < 20 or "tie" in rest or "NULLS" in rest) or most == 20
    with plain(raw=twenty.read().to_arrow_table()) as connection:
        if "tie" not in rest and "NULLS" not in rest:
            theirs = connection.sql(query.replace(twenty.name, "raw"))
            assert lake.sql(query).fetchall() == theirs.fetchall()


@pytest.fixture(scope="module")
def twenty(lake):
    table = new_table(lake, COLUMNS, partition_by="p")
    table.append(ROWS)
    return table


def test_what_the_report_says(lake, twenty):
    seen = lake.explain(f"SELECT i FROM {twenty.name} ORDER BY ts DESC LIMIT 3 OFFSET 1").tables[0]
    assert (seen.order, seen.rows_kept) == ("the first 4 by ts DESC", 4)


def test_what_the_report_says_of_few_files_each_time(lake):
    table = new_table(lake, {"k": "BIGINT"})
    for start in range(0, 9, 3):
        table.append([{"k": n} for n in range(start, start + 3)])
    for _ in range(2):
        seen = lake.explain(f"SELECT k FROM {table.name} ORDER BY k DESC LIMIT 2").tables[0]
        assert (seen.order, seen.files_kept) == ("the first 2 by k DESC", 1)
    table.append([{"k": 100}])
    assert lake.sql(f"SELECT k FROM {table.name} ORDER BY k DESC LIMIT 2").fetchall() == [
        (100,),
        (8,),
    ]


def node(name, *children, **info):
    return {"name": name, "extra_info": info, "children": list(children)}


def test_orders_that_are_not_the_scans_own():
    """The filter that says which column it is may belong to another LIMIT above."""
    name = "c3_" + "0123456789" * 2
    dynamic = f"optional: Dynamic Filter ({name})"

    def order(wrap, filters=dynamic):
        scan = node("SEQ_SCAN ", Table="stand_in.main.t", Filters=filters)
        return reaches(json.dumps([wrap(scan)]))["t"][0].order

    def top(*below, by="x DESC"):
        return node("TOP_N", *below, **{"Top": "3", "Offset": "2", "Order By": by})

    assert order(top) == Order(3, descending=True, rows=5)
    assert order(lambda scan: top(node("PROJECTION", scan))) == Order(3, descending=True, rows=5)
    assert order(lambda scan: top(scan, by=["x ASC", "y DESC"])) == Order(3, False, 5, mixed=True)
    assert order(lambda scan: top(top(scan))) is None
    assert order(lambda scan: top(node("FILTER", node("PROJECTION", scan)))) is None
    assert order(lambda scan: top(node("HASH_GROUP_BY", scan))) is None
    assert order(lambda scan: top(node("UNION", scan))) is None
    assert order(lambda scan: node("LIMIT", scan)) is None
    assert order(top, filters=f"optional: (({name} IS NULL) OR Dynamic Filter ({name}))") is None
    assert order(top, filters=[dynamic, dynamic.replace("c3", "c4")]) is None
    assert order(top, filters=f"(({name} < 3) AND {dynamic})") == Order(3, descending=True, rows=5)


def test_filters_beside_the_one_that_narrows():
    name = "c3_" + "0123456789" * 2
    for narrowing in (
        f"Dynamic Filter ({name})",
        f"(({name} IS NULL) OR Dynamic Filter ({name}))",
        f"{name} IS NULL OR Dynamic Filter ({name})",
    ):
        filters = f"({name} < 'it''s, optional: so') AND optional: {narrowing}"
        scan = node("SEQ_SCAN", Table="t", Filters=filters)
        found = reaches(json.dumps([node("TOP_N", scan, Top="3", **{"Order By": "x DESC"})]))
        assert found["t"][0].filters == (f"({name} < 'it''s, optional: so')",)
