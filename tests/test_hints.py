"""Which conditions skip no file, why, and what to write instead."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lakehouse
from lakehouse.lake.hints import parts


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> lakehouse.Lake:
    place: Path = tmp_path_factory.mktemp("hints")
    lake = lakehouse.connect(place, durable=False)
    columns = {
        "n": "BIGINT",
        "m": "BIGINT",
        "ts": "TIMESTAMP",
        "s": "VARCHAR",
        "ok": "BOOLEAN",
        "p": "VARCHAR",
    }
    table = lake.create_table("bronze.t", columns, partition_by="p")
    for n in (1, 2):
        table.append(
            lake.sql(
                f"SELECT {n} AS n, {n} AS m, TIMESTAMP '2024-0{n}-01' AS ts, 's{n}' AS s, "
                f"true AS ok, 'p{n}' AS p"
            )
        )
    return lake


@pytest.mark.parametrize(
    ("where", "word", "hint"),
    [
        (
            "strftime(ts, '%Y-%m') = '2024-01'",
            "texts made of times",
            "date_trunc instead of strftime",
        ),
        ("month(ts) = 1", "again and again", None),
        ("lower(s) = 's1'", "changed text", "as it is"),
        ("s LIKE '%1'", "anywhere", "LIKE 'abc%'"),
        ("n % 3 = 1", "all over", None),
        ("n = m + 1", "with each other", None),
        ("ok", "no bounds of ok", None),
        ("n > 0 OR lower(s) = 's1'", "side of the OR", "each side"),
        ("ts::VARCHAR LIKE '2024-01%'", "texts", "own type"),
    ],
)
def test_what_helps_not(lake: lakehouse.Lake, where: str, word: str, hint: str | None) -> None:
    explained = lake.explain(f"SELECT * FROM bronze.t WHERE ({where}) AND n < 10")
    (table,) = explained.tables
    found = table.not_pruned[0]  # DuckDB may conclude more of them
    assert word in found.why
    assert (found.hint is None) == (hint is None)
    assert hint is None or hint in (found.hint or "")
    assert "n < 10" not in found.filter
    assert found.why in str(explained)


@pytest.mark.parametrize(
    "where",
    [
        "n = 1 AND ts >= '2024-01-01' AND s LIKE 's%' AND m IN (1, 2)",
        "date_trunc('month', ts) = TIMESTAMP '2024-01-01'",
        "upper(p) = 'P1'",
        "n IS NULL OR m > 1",
        "true",
    ],
)
def test_what_helps(lake: lakehouse.Lake, where: str) -> None:
    (table,) = lake.explain(f"SELECT * FROM bronze.t WHERE {where}").tables
    assert table.not_pruned == ()


CONDITIONS = st.sampled_from(
    ["a = 1", "(b OR c)", "d BETWEEN 1 AND 2", "e = 'x AND (y'", '"AND" > 3', "f(g AND h)"]
)


@given(st.lists(CONDITIONS, min_size=1, max_size=5), st.booleans(), st.booleans())
def test_parts_are_what_was_joined(texts: list[str], around: bool, each: bool) -> None:
    joined = " AND ".join(f"({text})" if each else text for text in texts)
    found = parts(f"(({joined}))" if around else joined)
    assert [part.strip("()") for part in found] == [text.strip("()") for text in texts]
