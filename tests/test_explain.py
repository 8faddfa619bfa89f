"""What explain says of a query: as data, text and HTML; and its advice is true."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import lakehouse
from tests.cli.conftest import Run, folder, run  # noqa: F401 - fixtures

FILES = 34  # as many as are worth the look at a join's keys
# Nothing that compresses: the files are of a size that is worth advice.
ROWS = 15_000  # a file
SOURCE = """
    SELECT (hash(range + {seed}) >> 20)::BIGINT AS id,
    TIMESTAMP '2024-01-01' + to_microseconds(((hash(range + {seed} + 7) >> 4) % 31536000000000)::BIGINT) AS ts,
    hash(range + {seed} + 11)::VARCHAR AS what FROM range({rows})
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with the same rows in ``silver.mixed`` and, in order of time, ``silver.sorted``."""
    uri = tmp_path_factory.mktemp("explain") / "lake"
    with lakehouse.connect(uri, durable=False) as lake:
        mixed = lake.create_table("silver.mixed", lake.sql(SOURCE.format(rows=ROWS, seed=0)))
        ordered = lake.create_table("silver.sorted", lake.sql(SOURCE.format(rows=ROWS, seed=0)))
        for number in range(FILES):
            mixed.append(lake.sql(SOURCE.format(rows=ROWS, seed=number * 1_000_000)))
        rows = lake.sql("FROM silver.mixed ORDER BY ts").to_arrow_table()
        for start in range(0, rows.num_rows, ROWS):
            ordered.append(rows.slice(start, ROWS))
        lake.create_table("gold.ids", {"id": "BIGINT", "name": "VARCHAR"}).append(
            lake.sql(
                "SELECT id, what AS name FROM silver.mixed WHERE id > 8000000000000 ORDER BY id LIMIT 3"
            )
        )
    return uri


@pytest.fixture
def lake(place: Path) -> Iterator[lakehouse.Lake]:
    with lakehouse.connect(place) as opened:
        yield opened


@pytest.mark.parametrize(
    "where",
    [
        "ts BETWEEN '2024-03-01' AND '2024-03-02'",
        "ts >= '2024-12-15'",
        "date_trunc('day', ts) = TIMESTAMP '2024-05-05'",
        "ts < '2024-02-01' AND what <> ''",
    ],
)
def test_advice_is_true(lake: lakehouse.Lake, where: str) -> None:
    explained = lake.explain(f"SELECT what FROM silver.mixed WHERE {where}")
    (advice,) = explained.advice
    assert (advice.table, advice.action, advice.column) == ("silver.mixed", "cluster", "ts")
    assert advice.files == FILES == explained.tables[0].files_kept
    followed = lake.explain(f"SELECT what FROM silver.sorted WHERE {where}")
    assert followed.advice == ()
    assert followed.tables[0].files_kept <= advice.files_then
    assert "clustered (sorted) by ts" in str(explained)
    assert "clustered (sorted) by ts" in explained._repr_html_()


@pytest.mark.parametrize(
    "query",
    [
        "SELECT what FROM silver.mixed WHERE ts > '2024-02-01'",  # most rows match
        "SELECT what FROM silver.mixed WHERE strftime(ts, '%Y-%m-%d') = '2024-05-05'",  # no bounds
        "SELECT what FROM silver.mixed WHERE strftime(ts, '%Y-%m') = '2024-05' AND ts < '2025-01-01'",
        "SELECT what FROM silver.mixed",
        "SELECT count(*) FROM silver.mixed",
        "SELECT a.what FROM silver.mixed a JOIN silver.mixed b ON a.ts = b.ts WHERE a.id < b.id",
        "SELECT 1",
    ],
)
def test_no_advice(lake: lakehouse.Lake, query: str) -> None:
    assert lake.explain(query).advice == ()


def test_keys_of_a_join_are_advice_too(lake: lakehouse.Lake) -> None:
    query = "SELECT m.what FROM silver.mixed m JOIN gold.ids i USING (id) WHERE i.name <> ''"
    explained = lake.explain(query)
    mixed = next(table for table in explained.tables if table.name == "silver.mixed")
    (keys,) = mixed.join_keys
    assert keys.column == "id"
    assert "by the other side of a join" in str(explained)
    assert mixed.files_kept == FILES
    assert [(advice.table, advice.column) for advice in explained.advice] == [
        ("silver.mixed", "id")
    ]


def test_analyze(lake: lakehouse.Lake) -> None:
    query = "SELECT what FROM silver.mixed WHERE id < $id"
    assert lake.explain(query, {"id": 10}).analysis is None
    explained = lake.explain(query, {"id": 2**62}, analyze=True)
    assert explained.analysis is not None
    assert explained.analysis.rows == FILES * ROWS
    assert explained.analysis.planning > 0
    assert "510,000 rows in" in str(explained)
    with lake.snapshot() as view:
        again = view.explain("SELECT max(what) FROM silver.mixed", analyze=True)
        assert again.analysis is not None
        assert again.analysis.rows == 1
    with pytest.raises(lakehouse.InputError, match="boom"):
        lake.explain("SELECT error('boom') FROM silver.mixed", analyze=True)


def test_data(lake: lakehouse.Lake) -> None:
    query = "SELECT what FROM silver.mixed WHERE ts < '2024-01-02'"
    document = json.loads(json.dumps(lake.explain(query, analyze=True).to_dict()))
    assert list(document) == ["kept", "tables", "advice", "analysis", "plan"]
    assert document["advice"][0]["column"] == "ts"
    assert document["analysis"]["rows"] > 0
    assert document["tables"][0]["columns"] == ["ts", "what"]


def test_html_shows_names_as_they_are(lake: lakehouse.Lake) -> None:
    html = lake.explain("SELECT 1 FROM silver.mixed WHERE what = '<b>&'")._repr_html_()
    assert "&lt;b&gt;&amp;" in html
    assert "<b>&" not in html
    assert "script" not in html
    opened = re.findall(r"<(\w+)", html)
    closed = re.findall(r"</(\w+)", html)
    assert sorted(opened) == sorted(closed)
    assert re.search(r"width:\d+\.\d%", html)


def test_in_the_terminal(run: Run, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    query = "SELECT what FROM silver.mixed WHERE ts < '2024-01-02' AND what <> 'a long one'"
    args = ("explain", "--analyze", "--lake", str(place), query)
    piped = run(*args).out.splitlines()
    assert any("34 of 34 files" in line for line in piped)
    assert any(line.startswith("advice   silver.mixed") and "rather than" in line for line in piped)
    assert any(line.startswith("ran      ") for line in piped)
    monkeypatch.setenv("COLUMNS", "80")
    narrow = run(*args).out.splitlines()
    assert len(narrow) > len(piped)
    assert max(map(len, narrow)) <= 80
    # Long texts go on below themselves, beside the tree.
    assert all(line[:2] in ("si", "├─", "│ ", "└─", "  ", "ad", "ra") for line in narrow)
