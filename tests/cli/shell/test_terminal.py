"""The shell as people use it, in a pseudo-terminal."""

import os
from pathlib import Path

import pytest

if os.name != "posix":
    pytest.skip("pseudo-terminals as POSIX has them", allow_module_level=True)

from tests.cli.shell.terminal import opened


def test_a_session(lake: Path, folder: Path) -> None:
    with opened(["sql"], folder / "state") as terminal:
        terminal.wait_for("1 table")
        terminal.wait_for("lake>")
        # Completion: a table, then a column of it, with the cursor before.
        terminal.type("from silver.fl\t")
        terminal.wait_for("ights")  # only what changes is drawn
        terminal.type(" select carr\t")
        terminal.wait_for("ier")
        terminal.type(", delay order by delay;\r")
        shown = terminal.wait_for(" UA B         -4\r\n")
        assert "carrier   delay" in shown
        terminal.wait_for(" s\r\n")  # how long it took
        terminal.wait_for("lake>")
        # A statement of several lines, with a ; that ends nothing.
        terminal.type("select 'a;b' as x,\r6 * 7\r")
        terminal.wait_for("...")
        terminal.type("as answer;\r")
        terminal.wait_for(" a;b       42\r\n")
        # Errors are shown, and end nothing.
        terminal.type("select nme from silver.flights;\r")
        terminal.wait_for("Error: ")
        terminal.type(".mode csv\rselect 1 as a, NULL as b; from range(51);\r")
        terminal.wait_for("a,b\r\n1,\r\n")
        terminal.wait_for("\r\n49\r\n… more rows; use .limit.\r\n")
        terminal.type(".timer off\rselect 1 as x, 'k' as password, token('t') = 'very secret';\r")
        terminal.wait_for("Error: ")
        terminal.type(".mode chart\rselect 'A' as name, 3 as n;\r")
        terminal.wait_for("█")
        terminal.wait_for("lake>")
        terminal.type("\x04")
        assert terminal.ends() == 0
    kept = (folder / "state" / "lakehouse" / "sql_history").read_text()
    assert "+from silver.flights select carrier, delay order by delay;" in kept
    assert "very secret" not in kept


def test_history_and_ctrl_c(lake: Path, folder: Path) -> None:
    with opened(["sql", "--format", "json"], folder / "state") as terminal:
        terminal.wait_for("lake>")
        terminal.type("select 40 + 2 as x;\r")
        terminal.wait_for('{"x":42}')
        terminal.type(".quit\r")
        assert terminal.ends() == 0
    with opened(["sql"], folder / "state") as terminal:
        terminal.wait_for("lake>")
        terminal.type("\x1b[A\x1b[A\r")  # two up
        terminal.wait_for(" x\r\n ──\r\n 42\r\n")
        terminal.wait_for("lake>")
        # Ctrl-C drops what is typed, and stops a query, but not the shell.
        terminal.type("select nothing\x03")
        terminal.wait_for("lake>")
        terminal.type("select count(*) from range(100000000000) where hash(range) = 7;\r")
        terminal.wait_for("has begun")
        terminal.type("\x03")
        terminal.wait_for("Interrupted.")
        terminal.wait_for("lake>")
        terminal.type("select count(*) as n from silver.flights;\r")
        terminal.wait_for(" n\r\n ─\r\n 3\r\n")
        terminal.wait_for("lake>")
        terminal.type("\x04")
        assert terminal.ends() == 0
