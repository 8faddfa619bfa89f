"""Statements that are piped in: in order, up to the first that fails."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.cli.conftest import Run


def test_piped_statements_run_in_order(run: Run, lake: Path) -> None:
    text = "select 1 as a; -- one;\nselect ';' as b;\n\nselect count(*) as n from silver.flights"
    assert run("sql", "--json", stdin=text).lines == [{"a": 1}, {"b": ";"}, {"n": 3}]
    assert run("sql", "-", "--json", stdin=text).lines == [{"a": 1}, {"b": ";"}, {"n": 3}]
    assert run("sql", "select 1 as a; select 2 as a", "--json").lines == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("select nme from silver.flights", 2, "line 3"),
        ("from silver.flight", 3, "line 3: no table silver.flight"),
        (".nope", 2, "line 3: there is no command .nope"),
        ("from 'gone.parquet'", 5, "line 3"),
    ],
)
def test_the_first_that_fails_is_the_last(
    run: Run, lake: Path, text: str, code: int, words: str
) -> None:
    outcome = run("sql", "--json", stdin=f"select 1 as a;\n\n{text}\n;\nselect 2 as a;")
    assert outcome.code == code
    assert outcome.lines == [{"a": 1}]
    assert words in json.loads(outcome.err)["error"]["message"]


def test_an_open_quote_may_hide_anything_so_nothing_runs(run: Run, lake: Path) -> None:
    outcome = run("sql", "--json", stdin="select 1 as a; select 'b; select 2 as c;")
    assert outcome.code == 2
    assert "not closed" in outcome.error["message"]


def test_an_empty_text(run: Run, lake: Path) -> None:
    assert run("sql", stdin="").code == 2
    assert "empty" in run("sql", stdin=" -- nothing\n;").err


def test_commands(run: Run, lake: Path, folder: Path) -> None:
    outcome = run(
        "sql",
        stdin=".tables\n.schema silver.flights\n.history silver.flights\n"
        "select delay from silver.flights where carrier = 'AA';\n.explain\n.help\n.refresh\n"
        ".quit\nselect 'never';",
    )
    assert (outcome.code, outcome.err) == (0, "")
    for text in (
        "flights with delays",
        "NOT NULL",
        "CREATE TABLE",
        "2 of 3 files",
        ".timer on|off",
    ):
        assert text in outcome.out
    assert "never" not in outcome.out


def test_where_results_go(run: Run, lake: Path, folder: Path) -> None:
    outcome = run(
        "sql",
        stdin=".mode csv\nselect 1 as a;\n.output 'b.json'\nselect 2 as a;\n.output c.csv\n"
        ".mode parquet d.parquet\nfrom range(1000);\n.output\nselect 3 as a;\n"
        ".limit 2\nfrom range(5);\n.limit all\n.mode json\nfrom range(3);\n",
    )
    assert outcome.out.splitlines() == [
        *("a", "1"),
        *(" a", " ─", " 3"),
        *(" range", " ─────", "     0", "     1"),
        *('{"range":0}', '{"range":1}', '{"range":2}'),
    ]
    assert "3 more rows" in outcome.err
    assert (folder / "b.json").read_text() == "a\n2\n"  # the mode was chosen, not by the suffix
    assert pq.read_metadata(folder / "d.parquet").num_rows == 1000


def test_what_programs_read_is_whole(run: Run, lake: Path) -> None:
    outcome = run("sql", stdin=".mode csv\nfrom range(1000);\n.limit 3\nfrom range(1000);")
    assert len(outcome.out.splitlines()) == 1001 + 4
    assert outcome.err.startswith("… more rows")


@pytest.mark.parametrize(
    "command",
    [".mode parquet", ".mode chart a.csv", ".mode x", ".limit few", ".timer", ".timer maybe",
     ".output a.xyz", ".tables silver", ".schema", ".schema silver.flight", ".explain",
     ".t"],
)  # fmt: skip
def test_commands_that_cannot_be(run: Run, lake: Path, command: str) -> None:
    outcome = run("sql", stdin=command)
    assert outcome.code in (2, 3)
    assert outcome.err.startswith("Error: ")


def test_part_of_a_commands_name_will_do(run: Run, lake: Path) -> None:
    assert run("sql", stdin=".he").out == run("sql", stdin=".help").out != ""


def test_timer(run: Run, lake: Path) -> None:
    assert run("sql", stdin=".timer on\nselect 1;").err.endswith(" s\n")
