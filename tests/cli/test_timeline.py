"""history and restore."""

from pathlib import Path

import pytest

from tests.cli.conftest import Run


def test_history(run: Run, lake: Path) -> None:
    commits = run("history", "silver.flights", "--json").json
    assert [commit["version"] for commit in commits] == [2, 1, 0]
    assert commits[2]["operation"] == "CREATE TABLE"
    text = run("history", "silver.flights", "--limit", "1").out
    assert "WRITE (append)" in text
    assert "+1 rows, +1 files" in text
    assert "CREATE TABLE" not in text


class TestRestore:
    def test_says_what_will_happen_and_refuses(self, run: Run, lake: Path) -> None:
        outcome = run("restore", "silver.flights", "--version", "1")
        assert outcome.code == 2
        assert "removes 1 files and brings 0 back; 2 stay" in outcome.err
        assert "--yes" in outcome.err
        assert run("show", "silver.flights", "--json").json["version"] == 2

    def test_yes(self, run: Run, lake: Path) -> None:
        report = run("restore", "silver.flights", "--version", "0", "--yes", "--json").json
        assert (report["version"], report["restored"], report["files_removed"]) == (3, 0, 3)
        assert "RESTORE to 0" in run("history", "silver.flights").out

    @pytest.mark.parametrize(("answer", "version"), [("y\n", 3), ("n\n", 2)])
    def test_asks(
        self, run: Run, lake: Path, monkeypatch: pytest.MonkeyPatch, answer: str, version: int
    ) -> None:
        monkeypatch.setattr("lakehouse.cli.output.is_interactive", lambda: True)
        run("restore", "silver.flights", "--version", "1", stdin=answer)
        assert run("show", "silver.flights", "--json").json["version"] == version

    def test_timestamp(self, run: Run, lake: Path) -> None:
        at = run("history", "silver.flights", "--json").json[2]["timestamp"]
        report = run("restore", "silver.flights", "--timestamp", at, "-y", "--json").json
        assert report["restored"] == 0

    @pytest.mark.parametrize(
        ("args", "code"),
        [
            ([], 2),
            (["--version", "1", "--timestamp", "2024-01-01"], 2),
            (["--version", "9"], 3),
            (["--timestamp", "2001-01-01"], 3),
            (["--timestamp", "yesterday"], 2),
        ],
    )
    def test_wrong_input(self, run: Run, lake: Path, args: list[str], code: int) -> None:
        assert run("restore", "silver.flights", *args, "--yes").code == code
