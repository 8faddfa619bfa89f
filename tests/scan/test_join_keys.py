"""What the small side of a join leaves out cannot match: results equal plain DuckDB's."""

import datetime as dt
import decimal
import json
import math

import duckdb
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lakehouse.scan import probe
from lakehouse.scan.join_keys import Keys, profiled
from lakehouse.scan.probe import MANY_FILES, Size, large
from lakehouse.scan.values import holding
from tests.scan.test_pruning import plain, same
from tests.types.engines import effort, new_table

few = effort(0.15)
FILES = MANY_FILES + 4
NAME = "c2_" + "0123456789" * 2

MOMENTS = st.datetimes(
    dt.datetime.fromisoformat("2024-01-01"), dt.datetime.fromisoformat("2024-01-03")
)
KINDS = {
    "TINYINT": st.integers(-3, 12),
    "INTEGER": st.integers(-3, 40),
    "BIGINT": st.integers(-3, 40) | st.sampled_from([2**53, 2**53 + 1, -(2**62)]),
    "DATE": st.dates(dt.date(2024, 1, 1), dt.date(2024, 2, 9)),
    "VARCHAR": st.sampled_from(
        ["", "a", "ab", "it's", "a\nb", "c1 = 2", "é", "z" * 40, "z" * 41, "3", "17", "2024-01-05"]
    ),
    "DOUBLE": st.integers(0, 20).map(lambda n: n / 3) | st.sampled_from([math.nan, math.inf, -0.0]),
    "FLOAT": st.sampled_from([0.125, 0.5, 3.0, 16777216.0]),
    "DECIMAL(10,2)": st.integers(0, 2000).map(lambda n: decimal.Decimal(n) / 100),
    "TIMESTAMP": MOMENTS,
    "TIMESTAMPTZ": MOMENTS.map(lambda moment: moment.replace(tzinfo=dt.UTC)),
    "BOOLEAN": st.booleans(),
}
# What DuckDB compares without being told how.
PAIRS = [
    ("BIGINT", "INTEGER"), ("INTEGER", "BIGINT"), ("TINYINT", "BIGINT"), ("BIGINT", "DOUBLE"),
    ("DOUBLE", "BIGINT"), ("BIGINT", "DECIMAL(10,2)"), ("DECIMAL(10,2)", "INTEGER"),
    ("DATE", "TIMESTAMP"), ("TIMESTAMP", "DATE"), ("TIMESTAMPTZ", "DATE"), ("FLOAT", "DOUBLE"),
    ("DOUBLE", "FLOAT"), *((kind, kind) for kind in KINDS),
]  # fmt: skip
SHAPES = (
    "SELECT * FROM <0> AS f JOIN <1> AS d ON f.k = d.k WHERE d.n < {x}",
    "SELECT * FROM <1> AS d JOIN <0> AS f ON f.k = d.k AND f.n = d.n",
    "SELECT * FROM <0> AS f LEFT JOIN <1> AS d ON f.k = d.k AND d.n < {x}",
    "SELECT * FROM <1> AS d LEFT JOIN <0> AS f ON f.k = d.k WHERE d.n < {x}",
    "SELECT * FROM <0> AS f RIGHT JOIN <1> AS d ON f.k = d.k AND f.n > {x}",
    "SELECT * FROM <0> AS f FULL JOIN <1> AS d ON f.k = d.k",
    "SELECT * FROM <0> AS f SEMI JOIN <1> AS d ON f.k = d.k AND d.n < {x}",
    "SELECT * FROM <0> AS f ANTI JOIN <1> AS d ON f.k = d.k",
    "SELECT * FROM <0> WHERE k IN (SELECT k FROM <1> WHERE n < {x})",
    "SELECT * FROM <0> WHERE k NOT IN (SELECT k FROM <1> WHERE k IS NOT NULL)",
    "SELECT * FROM <0> WHERE k NOT IN (SELECT k FROM <1>)",
    "SELECT * FROM <0> AS f WHERE EXISTS (SELECT 1 FROM <1> AS d WHERE d.k = f.k AND d.n < {x})",
    "SELECT * FROM <0> AS f WHERE NOT EXISTS (SELECT 1 FROM <1> AS d WHERE d.k = f.k)",
    "SELECT * FROM <0> AS f WHERE f.k IN (SELECT k FROM <1>) OR f.n = {x}",
    "SELECT * FROM <0> WHERE k = (SELECT max(k) FROM <1> WHERE n < {x})",
    "SELECT * FROM <0> WHERE k >= (SELECT max(k) FROM <1> WHERE n < {x})",
    "SELECT *, (SELECT count(*) FROM <1> AS d WHERE d.k = f.k) AS c FROM <0> AS f",
    "SELECT * FROM <0> AS f JOIN <0> AS g ON f.k = g.k AND g.n = {x}",
    "SELECT * FROM <0> AS f JOIN <1> AS d ON f.k IS NOT DISTINCT FROM d.k",
    "SELECT * FROM <0> AS f JOIN <1> AS d ON f.k > d.k AND f.n = d.n",
    "SELECT * FROM <0> AS f JOIN <1> AS d ON f.k BETWEEN d.k AND d.k",
    "SELECT d.n, count(*), min(f.n) FROM <0> AS f JOIN <1> AS d USING (k) GROUP BY d.n",
    "SELECT * FROM <0> AS f JOIN (SELECT k, count(*) AS c FROM <1> GROUP BY k HAVING count(*) > 1) AS d USING (k)",
    "WITH d AS (SELECT DISTINCT k FROM <1> WHERE n < {x}) SELECT f.* FROM <0> AS f JOIN d USING (k) UNION ALL SELECT f.* FROM <0> AS f JOIN d ON f.n = {x}",
    "WITH d AS MATERIALIZED (SELECT k FROM <1>), f AS MATERIALIZED (SELECT * FROM <0>) SELECT f.* FROM f SEMI JOIN d USING (k) UNION ALL SELECT * FROM f WHERE n = {x}",
    "SELECT f.* FROM <0> AS f JOIN <1> AS d ON f.k = d.k JOIN <1> AS e ON e.n = f.n WHERE e.n < {x}",
    "SELECT f.* FROM <0> AS f JOIN (SELECT d.k FROM <1> AS d JOIN <0> AS g ON g.k = d.k WHERE g.n = {x}) AS d USING (k)",
    # DuckDB 1.5 lets NULL take part where one side is small.
    "SELECT * FROM <0> AS f ASOF JOIN <1> AS d ON f.n = d.n AND f.k >= d.k WHERE f.k IS NOT NULL",
    "SELECT f.n FROM <0> AS f, (SELECT k FROM <1> ORDER BY k, n LIMIT 2) AS d WHERE f.k = d.k",
    "SELECT f.n FROM <0> AS f WHERE f.n IN (SELECT unnest([{x}, 3])) AND f.b IN (VALUES (1), ({x}))",
    "SELECT count(*) FROM <0> AS f JOIN <1> AS d ON f.k = d.k WHERE f.n < {x} OR d.n < {x}",
)  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def patient():
    """Let small sides take as long as they do on a busy machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probe, "_SECONDS", 100)
        yield


@st.composite
def stars(draw):
    """Draw a table of many files, a small one, and what their keys are called."""
    left, right = draw(st.sampled_from(PAIRS))
    fact = [
        {
            "b": b,
            "k": draw(st.none() | KINDS[left]) if b % 5 else None,
            "n": draw(st.integers(0, 9)),
        }
        for b in range(FILES)
        for _ in range(draw(st.integers(1, 2)))
    ]
    keys = st.none() | KINDS[right]
    dim = draw(st.lists(st.fixed_dictionaries({"k": keys, "n": st.integers(0, 9)}), max_size=25))
    return left, right, fact, dim


@few
@given(data=st.data(), star=stars(), partition_by=st.sampled_from(["b", "b", "k"]))
def test_joins(lake, data, star, partition_by):
    left, right, fact, dim = star
    if partition_by == "k" and left not in ("INTEGER", "DATE", "VARCHAR", "BIGINT"):
        partition_by = "b"
    facts = new_table(lake, {"b": "INTEGER", "k": left, "n": "INTEGER"}, partition_by=partition_by)
    facts.append([row for row in fact if partition_by == "b" or row["k"] != ""])
    dims = new_table(lake, {"k": right, "n": "INTEGER"})
    if dim:
        dims.append(dim)
    raw = {t: table.read().to_arrow_table() for t, table in (("facts", facts), ("dims", dims))}
    with plain(**raw) as connection:
        for _ in range(6):
            shape = data.draw(st.sampled_from(SHAPES))
            query = shape.replace("{x}", str(data.draw(st.integers(0, 9))))
            same(lake, connection, query, (facts.name, "facts"), (dims.name, "dims"))


@pytest.fixture(scope="module")
def star(lake):
    """Give a table of many files, and a small one."""
    facts = new_table(
        lake,
        {"b": "INTEGER", "i": "INTEGER", "day": "DATE", "s": "VARCHAR", "f": "DOUBLE"},
        partition_by="b",
    )
    facts.append(
        [
            {"b": b, "i": b * 10 + n, "day": dt.date(2024, 1, 1) + dt.timedelta(b),
             "s": f"s{b:03}", "f": b + n / 4}
            for b in range(FILES) for n in range(2)
        ]
    )  # fmt: skip
    dims = new_table(
        lake, {"n": "INTEGER", "i": "BIGINT", "day": "DATE", "s": "VARCHAR", "f": "DOUBLE"}
    )
    dims.append(
        [
            {"n": b, "i": b * 10, "day": dt.date(2024, 1, 1) + dt.timedelta(b), "s": f"s{b:03}",
             "f": float(b)}
            for b in range(FILES)
        ]
    )  # fmt: skip
    return facts, dims


# How many files of FILES may be read at most.
SELECTIVE = [
    ("SELECT count(*) FROM <0> AS f JOIN <1> AS d ON f.i = d.i WHERE d.n IN (3, 9, 20)", 3),
    ("SELECT count(*) FROM <1> AS d, <0> AS f WHERE f.i = d.i AND d.n IN (3, 9, 20)", 3),
    ("SELECT count(*) FROM <0> AS f JOIN <1> AS d ON f.b = d.n WHERE d.s IN ('s003', 's020')", 2),
    ("SELECT count(*) FROM <0> AS f JOIN <1> AS d USING (s) WHERE d.n IN (3, 20)", 2),
    ("SELECT count(*) FROM <0> AS f JOIN <1> AS d USING (f) WHERE d.n IN (3, 20)", 2),
    ("SELECT count(*) FROM <0> WHERE i IN (SELECT i FROM <1> WHERE n > 30)", FILES - 31),
    ("SELECT count(*) FROM <0> AS f SEMI JOIN <1> AS d ON f.i = d.i AND d.n = 3", 1),
    ("SELECT count(f.i) FROM <1> AS d LEFT JOIN <0> AS f USING (i) WHERE d.n = 3", 1),
    ("SELECT count(*) FROM <0> WHERE i = (SELECT max(i) FROM <1> WHERE n < 5)", 1),
    ("SELECT count(*) FROM <0> AS f JOIN (VALUES (30), (90)) AS v(i) USING (i)", 2),
    ("SELECT count(*) FROM <0> AS f JOIN <1> AS d USING (i) WHERE d.n = 3 AND f.day < now()", 1),
    ("SELECT count(*) FROM <0> AS f JOIN <1> AS d USING (i) WHERE d.n = ?", 1),
    ("WITH d AS MATERIALIZED (FROM <1> WHERE n = 3) SELECT count(*) FROM <0> JOIN d USING (i)", 1),
]  # fmt: skip
# All files must be read.
WHOLE = [
    "SELECT count(*), count(d.n) FROM <0> AS f LEFT JOIN <1> AS d ON f.i = d.i AND d.n = 3",
    "SELECT count(*) FROM <0> AS f ANTI JOIN <1> AS d ON f.i = d.i AND d.n = 3",
    "SELECT count(*) FROM <0> WHERE i NOT IN (SELECT i FROM <1> WHERE n = 3)",
    "SELECT count(*) FROM <0> AS f FULL JOIN <1> AS d ON f.i = d.i AND d.n = 3",
    "SELECT count(*) FROM <0> AS f JOIN (SELECT i FROM <1> ORDER BY n % 2 LIMIT 1) AS d USING (i)",
    "SELECT count(*) > 9 FROM <0> AS f, <0> AS g WHERE f.i = g.i",
]  # fmt: skip


@pytest.mark.parametrize(("query", "most"), [*SELECTIVE, *((q, FILES) for q in WHOLE)])
def test_files_are_skipped(lake, star, query, most):
    facts, dims = star
    params = [3] if "?" in query else None
    named = query.replace("<0>", facts.name).replace("<1>", dims.name)
    seen = {table.name: table for table in lake.explain(named, params).tables}[facts.name]
    assert seen.files_total == FILES
    assert seen.files_kept <= most
    assert (seen.files_kept == FILES) == (most == FILES)
    assert bool(seen.join_keys) == (most < FILES)
    raw = {t: table.read().to_arrow_table() for t, table in (("facts", facts), ("dims", dims))}
    with plain(**raw) as connection:
        same(lake, connection, query, (facts.name, "facts"), (dims.name, "dims"), params=params)


def test_more_values_than_fit_a_text(lake, star):
    facts, dims = star
    query = f"SELECT count(*) FROM {facts.name} JOIN {dims.name} AS d USING (i) WHERE d.n % 3 > 0"
    assert lake.sql(query).fetchall() == [(FILES * 2 // 3,)]
    seen = next(table for table in lake.explain(query).tables if table.name == facts.name)
    assert seen.files_kept == FILES * 2 // 3
    assert [keys.values for keys in seen.join_keys if keys.values] == [FILES * 2 // 3]


def test_what_differs_each_time_decides_nothing(lake, star):
    facts, dims = star
    query = f"SELECT count(*) FROM {facts.name} JOIN {dims.name} AS d USING (i) WHERE random() < 2"
    assert lake.sql(query).fetchall() == [(FILES,)]
    seen = {table.name: table for table in lake.explain(query).tables}[facts.name]
    assert (seen.files_kept, seen.join_keys) == (FILES, ())


def test_a_file_that_changes_before_the_result_is_read(lake, star, tmp_path):
    facts, _ = star
    ids = tmp_path / "ids.csv"
    ids.write_text("i\n30\n")
    result = lake.sql(f"SELECT sum(f.i) FROM {facts.name} AS f JOIN '{ids}' AS c USING (i)")
    ids.write_text("i\n90\n")
    assert result.fetchall() == [(90,)]


def test_errors_of_a_query_stay_errors(lake, star):
    facts, dims = star
    query = f"SELECT 1 FROM {facts.name} JOIN {dims.name} AS d USING (i) WHERE error(d.s) = 's'"
    with pytest.raises(duckdb.Error, match="s000"):
        lake.sql(query).fetchall()


def profile(*scans, kind="HASH_JOIN", other="DUMMY_SCAN", table="m.main.b"):
    """Return a profile of a join of a stand-in's scan, with dynamic filters, and another side."""
    scan = {"type": "TABLE_SCAN", "extra_info": {"Table": table, "Dynamic Filters": list(scans)}}
    join = {"type": kind, "extra_info": {}, "children": [scan, {"type": other, "extra_info": {}}]}
    return f'{{"operator": [{json.dumps(join)}]}}'


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        (f"({NAME} = 3)", [Keys(2, values=("3",))]),
        (f"optional: {NAME}>=3 AND optional: {NAME}<=-5.5", [Keys(2, low="3"), Keys(2, high="-5.5")]),
        (f"(optional: ({NAME} IN ('a', 'it''s'))", [Keys(2, values=("'a'", "'it''s'"))]),
        (f"((optional: ({NAME} >= 1)) AND optional: {NAME} IN BF(x) AND {NAME} = 9", [Keys(2, low="1")]),
        (f"optional: {NAME} IN PRF({NAME} = 3)", []),
        (f"({NAME} = 3 OR {NAME} = 4)", []),
        (f"NOT ({NAME} = 3)", []),
        (f"({NAME} = y)", []),
        (f"{NAME}='a IN BF(b'", [Keys(2, values=("'a IN BF(b'",))]),
        (f"({NAME} = '2024-01-05 10:00:00+00'::TIMESTAMP WITH TIME ZONE)",
         [Keys(2, values=("'2024-01-05 10:00:00+00'::TIMESTAMP WITH TIME ZONE",))]),
    ],
)  # fmt: skip
def test_what_a_profile_says(entry, found):
    assert profiled(profile(entry), frozenset("b")).scans == {"b": (tuple(found),)}


def test_other_sides_that_are_not_the_same_each_time():
    entry = f"({NAME} = 3)"
    for other in ("LIMIT", "TOP_N", "RESERVOIR_SAMPLE", "WINDOW", "SOMETHING_NEW", "CTE_SCAN"):
        found = profiled(profile(entry, other=other), frozenset("b"))
        assert found.scans == {"b": ((),)}, other
    assert profiled(
        profile(entry, kind="LEFT_DELIM_JOIN", other="DELIM_SCAN"), frozenset("b")
    ).scans == {"b": ((),)}


@given(
    st.lists(st.lists(st.none() | st.integers(0, 30), min_size=2, max_size=2)),
    st.sets(st.integers(0, 30)),
)
@example([[5, 5], [6, 9]], {5})
def test_ranges_that_hold_a_value(ranges, values):
    low, high = (pa.array([r[side] for r in ranges], pa.int64()) for side in (0, 1))
    expected = [None in r or any(r[0] <= value <= r[1] for value in values) for r in ranges]
    assert holding(low, high, pa.array(sorted(values), pa.int64())).to_pylist() == expected


@given(
    st.lists(
        st.builds(Size, st.integers(0, 30_000), st.integers(0, 10**10)), min_size=1, max_size=5
    )
)
def test_large_tables_are_larger_than_all_small_ones_together(sizes):
    found = large(sizes)
    small = sum(size.weight for number, size in enumerate(sizes) if number not in found)
    assert all(sizes[number].weight >= 8 * small for number in found) or not found
    assert not found or any(sizes[number].files >= MANY_FILES for number in found)
