"""Reports say which filters skip no file, why, and what would."""

import pytest

from tests.types.engines import new_table

COLUMNS = {"i": "BIGINT", "j": "BIGINT", "ts": "TIMESTAMP", "s": "VARCHAR", "b": "BOOLEAN"}


@pytest.fixture(scope="module")
def table(lake):
    made = new_table(lake, COLUMNS)
    made.append(lake.sql("SELECT 1::BIGINT i, 2::BIGINT j, now()::TIMESTAMP ts, 's' s, true b"))
    return made


@pytest.mark.parametrize(
    ("where", "why", "hint"),
    [
        ("strftime(ts, '%Y-%m') = '2024-01'", "this function", "date_trunc('month', ts)"),
        ("month(ts) = 3", "every year", "a range of ts itself"),
        ("lower(s) = 'a'", "case decides", "Store s in one case"),
        ("s LIKE '%a%'", "only a prefix", "LIKE 'text%'"),
        ("ts::VARCHAR LIKE '2024%'", "as text", "Compare ts with a value"),
        ("i % 2 = 0", "a remainder", "Partition by"),
        ("substring(s, 2, 2) = 'ab'", "this function", "starts_with(s, 'text')"),
        ("i > j", "columns with each other", None),
        ("b", "smallest and largest value of b", None),
        ("abs(i) = 3", "no comparison", "Compare i itself"),
    ],
)
def test_why_a_filter_skips_nothing(lake, table, where, why, hint):
    (seen,) = lake.explain(f"SELECT * FROM {table.name} WHERE {where} AND i > 0").tables
    (reason,) = seen.not_pruned
    assert why in reason.why
    assert (reason.hint is None) if hint is None else (hint in (reason.hint or ""))
    assert "c0_" not in reason.filter


def test_filters_that_skip_files_need_no_reason(lake, table):
    query = f"SELECT * FROM {table.name} WHERE i IN (1, 7) AND s LIKE 'a%' AND year(ts) > 2020"
    assert lake.explain(query).tables[0].not_pruned == ()
    assert lake.explain(f"SELECT count(*) FROM {table.name}").tables[0].not_pruned == ()
