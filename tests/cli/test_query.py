"""sql and explain: every format, every way to pass a query, and values that are hard to show."""

import csv
import io
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from lakehouse.cli import result
from tests.cli.conftest import Run

VALUES = """
    SELECT 12345678901234567890.12::DECIMAL(38, 2) AS d, 170141183460469231731687303715884105727 AS h,
    TIMESTAMP_NS '2024-01-01 00:00:00.123456789' AS ns, 'NaN'::DOUBLE AS nan, -'inf'::DOUBLE AS inf,
    '' AS empty, NULL AS nothing, 'say "NaN"' AS text, [1, NULL] AS list, {'a': {'b': 1}} AS s,
    TIMESTAMPTZ '2024-01-01 12:00:00+02' AS at
"""


def test_table(run: Run, lake: Path) -> None:
    outcome = run("sql", "select carrier, delay from silver.flights order by delay")
    assert outcome.out.splitlines() == [
        " carrier   delay",
        " ───────────────",
        " UA B         -4",
        " AA            2",
        " AA           11",
    ]
    assert outcome.err == ""


def test_time_travel(run: Run, lake: Path) -> None:
    query = "select count(*) as n from silver.flights at (version => 1)"
    assert run("sql", query, "--json").lines == [{"n": 2}]


def test_limit(run: Run, lake: Path) -> None:
    query = "select * from range(1000)"
    outcome = run("sql", query)
    assert len(outcome.out.splitlines()) == 2 + result.SHOWN
    assert outcome.err == "… 950 more rows; use --all or --limit.\n"
    assert run("sql", query, "--limit", "0").err.startswith("… 1,000 more rows")
    assert len(run("sql", query, "--all").out.splitlines()) == 1002
    assert "more than 1,000,000" in run("sql", "select * from range(1100000)").err
    assert len(run("sql", query, "--json").lines) == 1000
    assert len(run("sql", query, "--json", "--limit", "3").lines) == 3
    assert run("sql", query, "--all", "--limit", "3").code == 2


def test_values_as_json_lines(run: Run, lake: Path) -> None:
    (line,) = run("sql", VALUES, "--json").out.splitlines()
    assert '"d":12345678901234567890.12' in line
    row = json.loads(line)
    assert row["h"] == 2**127 - 1
    assert row["ns"] == "2024-01-01 00:00:00.123456789"
    assert (row["nan"], row["inf"], row["text"]) == ("NaN", "-Infinity", 'say "NaN"')
    assert (row["empty"], row["nothing"]) == ("", None)
    assert (row["list"], row["s"]) == ([1, None], {"a": {"b": 1}})
    assert row["at"] == "2024-01-01 10:00:00+00"


def test_values_as_csv(run: Run, lake: Path) -> None:
    outcome = run("sql", VALUES, "--format", "csv")
    head, row = csv.reader(io.StringIO(outcome.out))
    values = dict(zip(head, row, strict=True))
    assert values["d"] == "12345678901234567890.12"
    assert values["text"] == 'say "NaN"'
    assert ',"",,' in outcome.out  # empty text, then NULL


@pytest.mark.parametrize("name", ["a.csv", "a.json", "a.parquet"])
def test_files(run: Run, lake: Path, folder: Path, name: str) -> None:
    outcome = run("sql", "select * from silver.flights", "-o", name)
    assert (outcome.code, outcome.out) == (0, "")
    assert run("sql", f"select count(*) as n from '{name}'", "--json").lines == [{"n": 3}]
    assert [path.name for path in folder.iterdir() if path.name != "lake"] == [name]


def test_parquet_keeps_types(run: Run, lake: Path, folder: Path) -> None:
    run("sql", "select delay from silver.flights", "--format", "parquet", "-o", "a.bin")
    assert str(pq.read_schema(folder / "a.bin").field("delay").type) == "int32"


def test_a_failed_query_leaves_the_file_as_it_was(run: Run, lake: Path, folder: Path) -> None:
    (folder / "a.csv").write_text("precious")
    query = "select if(range = 9999, error('boom'), 1) as x from range(10000)"
    for name in ("a.csv", "a.parquet"):
        outcome = run("sql", query, "-o", name)
        assert outcome.code == 2
        assert "boom" in outcome.err
    assert (folder / "a.csv").read_text() == "precious"
    assert [path.name for path in folder.iterdir() if path.name != "lake"] == ["a.csv"]


@pytest.mark.parametrize(
    "args",
    [
        ["--format", "parquet"],
        ["--format", "csv", "--json"],
        ["-o", "a.xyz"],
        ["-o", "a.csv", "--format", "table"],
    ],
)
def test_options_that_do_not_go_together(run: Run, lake: Path, args: list[str]) -> None:
    assert run("sql", "select 1", *args).code == 2


def test_a_folder_that_is_not_there(run: Run, lake: Path) -> None:
    assert run("sql", "select 1", "-o", "nope/a.csv").code == 5


def test_query_from_stdin_and_file(run: Run, lake: Path, folder: Path) -> None:
    (folder / "q.sql").write_text("select 1 as x;\n")
    assert run("sql", "-", "--json", stdin="select 1 as x").lines == [{"x": 1}]
    assert run("sql", "@q.sql", "--json").lines == [{"x": 1}]
    assert run("sql", "@nope.sql").code == 2
    assert run("sql", " ").code == 2


@pytest.mark.parametrize(
    ("query", "code", "word"),
    [
        ("selec 1", 2, "syntax error"),
        ("select nme from silver.flights", 2, "nme"),
        ("select * from silver.flight", 3, "Did you mean silver.flights?"),
        ("select error('boom')", 2, "boom"),
        ("select * from silver.flights at (version => 9)", 3, "9"),
    ],
)
def test_errors(run: Run, lake: Path, query: str, code: int, word: str) -> None:
    for args in ([], ["--json"], ["--format", "csv"]):
        outcome = run("sql", query, *args)
        assert outcome.code == code
        assert word.lower() in outcome.err.lower()
        assert "Traceback" not in outcome.err


def test_other_statements(run: Run, lake: Path) -> None:
    assert "─" in run("sql", "explain select 1").out
    assert "delay" in run("sql", "describe silver.flights").out
    assert run("sql", "create table x (i int)").code == 2


def test_text_cannot_steer_the_terminal(run: Run, lake: Path) -> None:
    outcome = run("sql", "select chr(27) || '[31m[red]' || chr(10) as x")
    assert outcome.out.splitlines()[-1] == r" \x1b[31m[red]\n"


def test_columns_that_fit() -> None:
    assert result.columns_that_fit([10] * 9, 90) == list(range(9))
    assert result.columns_that_fit([10] * 9, 56) == [0, 1, 2, 7, 8]
    assert result.columns_that_fit([100], 20) == [0]
    assert result.columns_that_fit([100, 100, 100], 20) == [0, 2]


class TestExplain:
    QUERY = "select delay from silver.flights where carrier = 'UA B'"

    def test_for_people(self, run: Run, lake: Path) -> None:
        outcome = run("explain", self.QUERY)
        assert "1 of 3 files" in outcome.out
        assert "skipped  2 files" in outcome.out
        assert "carrier='UAB'" in outcome.out.replace(" ", "")
        assert run("sql", self.QUERY, "--explain").out == outcome.out
        assert len(run("explain", self.QUERY, "--plan").out) > len(outcome.out)

    def test_an_answer_from_the_log(self, run: Run, lake: Path) -> None:
        outcome = run("explain", "select count(*) from silver.flights")
        assert "0 of 3 files" in outcome.out
        assert "no file: answered from the log" in outcome.out
        assert "skipped" not in outcome.out

    def test_as_json(self, run: Run, lake: Path) -> None:
        document = run("explain", self.QUERY, "--json").json
        (table,) = document["tables"]
        assert (table["name"], table["files_kept"], table["files_total"]) == (
            "silver.flights",
            1,
            3,
        )
        assert document["plan"]

    def test_no_table(self, run: Run, lake: Path) -> None:
        assert run("explain", "select 1").err == "The query reads no table of the lake.\n"


def test_statements_and_views(run: Run, lake: Path) -> None:
    (report,) = run("sql", "CREATE TABLE gold.days AS SELECT 1 AS n", "--json").lines
    assert (report["name"], report["rows"]) == ("gold.days", 1)
    assert run("sql", "INSERT INTO gold.days VALUES (2)").code == 0
    run("sql", "CREATE VIEW gold.late COMMENT 'after one' AS FROM gold.days WHERE n > 1")
    assert run("sql", "FROM gold.late", "--json").lines == [{"n": 2}]
    kinds = {row["name"]: row["kind"] for row in run("ls", "--json").json}
    assert kinds == {"gold.days": "table", "gold.late": "view", "silver.flights": "table"}
    assert "view after one" in run("ls", "gold").out
    assert "gold.late" in run("ls", "--names").out
    shown = run("show", "gold.late", "--json").json
    assert (shown["depends_on"], shown["schema"]) == (
        ["gold.days"],
        [{"name": "n", "type": "INTEGER"}],
    )
    assert "FROM gold.days WHERE n > 1" in run("show", "Gold.Late").out
    refused = run("drop", "gold.days", "--yes")
    assert (refused.code, "gold.late" in refused.err) == (2, True)
    assert "Dropped with it: gold.late" in run("drop", "gold.days", "--yes", "--cascade").err
    assert run("sql", "INSERT INTO gold.days VALUES (1)", "--json").error["type"] == "NotFoundError"
