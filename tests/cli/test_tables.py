"""create, register, rename, drop, ls, show, layers."""

import shutil
from pathlib import Path

import pytest

import lakehouse
from lakehouse.cli import listing
from tests.cli.conftest import Run


class TestCreate:
    def test_from_columns(self, run: Run, lake: Path) -> None:
        made = run(
            "create", "gold.days",
            "--column", "day DATE NOT NULL",
            "--column", '"mean delay" DECIMAL(10, 2)',
            "--column", "carrier VARCHAR",
            "--partition-by", "carrier",
            "--description", "one row a day",
            "--property", "delta.appendOnly=true",
            "--json",
        ).json  # fmt: skip
        assert made["version"] == 0
        shown = run("show", "gold.days", "--json").json
        assert [(c["name"], c["type"], c["nullable"]) for c in shown["schema"]] == [
            ("day", "DATE", False),
            ("mean delay", "DECIMAL(10,2)", True),
            ("carrier", "VARCHAR", True),
        ]
        assert shown["partition_by"] == ["carrier"]
        assert shown["description"] == "one row a day"
        assert shown["properties"] == {"delta.appendOnly": "true"}

    def test_from_a_file(self, run: Run, lake: Path, folder: Path) -> None:
        (folder / "days.csv").write_text("day,delay\n2013-01-01,5\n")
        assert run("create", "gold.days", "--from", "days.csv").code == 0
        shown = run("show", "gold.days", "--json").json
        assert [(c["name"], c["type"]) for c in shown["schema"]] == [
            ("day", "DATE"),
            ("delay", "BIGINT"),
        ]
        assert shown["rows"] == 0

    def test_it_exists(self, run: Run, lake: Path) -> None:
        again = ("create", "silver.flights", "-c", "id BIGINT")
        assert run(*again).code == 2
        assert run(*again, "--if-not-exists").code == 0

    @pytest.mark.parametrize(
        "args",
        [
            [],
            ["-c", "id"],
            ["-c", "id BIGINT", "-c", "id INT"],
            ["-c", "id NOSUCHTYPE"],
            ["-c", "id BIGINT", "--from", "x.csv"],
            ["-c", "id BIGINT", "--partition-by", "idd"],
            ["-c", "id BIGINT", "--property", "novalue"],
        ],
    )
    def test_wrong_input(self, run: Run, lake: Path, args: list[str]) -> None:
        outcome = run("create", "gold.days", *args)
        assert outcome.code == 2
        assert "Traceback" not in outcome.err
        assert run("ls", "gold", "--names").out == ""


def test_register_rename_drop(run: Run, lake: Path, folder: Path) -> None:
    dropped = run("drop", "silver.flights", "--yes", "--json").json
    assert dropped["files_deleted"] == 0
    place = dropped["uri"].removeprefix("file://")
    assert run("register", "silver.back", place).code == 0
    assert run("rename", "silver.back", "gold.flights", "--json").json == {
        "table": "gold.flights",
        "was": "silver.back",
    }
    assert run("ls", "--names").out == "gold.flights\n"
    assert run("sql", "select count(*) as n from gold.flights", "--json").lines == [{"n": 3}]
    assert run("register", "silver.nothing", str(folder)).code == 3


class TestDrop:
    def test_asks_where_nobody_can_answer(self, run: Run, lake: Path) -> None:
        outcome = run("drop", "silver.flights")
        assert outcome.code == 2
        assert "3 rows in 3 files" in outcome.err
        assert "--yes" in outcome.err
        assert run("drop", "silver.flights", "--json").error["next_step"].startswith("Pass --yes")
        assert run("ls", "--names").out == "silver.flights\n"

    @pytest.mark.parametrize(("answer", "left"), [("y\n", ""), ("n\n", "silver.flights\n")])
    def test_asks(
        self, run: Run, lake: Path, monkeypatch: pytest.MonkeyPatch, answer: str, left: str
    ) -> None:
        monkeypatch.setattr("lakehouse.cli.output.is_interactive", lambda: True)
        assert run("drop", "silver.flights", stdin=answer).code == (0 if answer == "y\n" else 1)
        assert run("ls", "--names").out == left

    def test_purge(self, run: Run, lake: Path) -> None:
        assert run("drop", "silver.flights", "--purge", "--yes").code == 0
        assert list((lake / "silver").rglob("*.parquet")) == []

    def test_what_cannot_be_opened(self, run: Run, lake: Path) -> None:
        shutil.rmtree(next((lake / "silver").iterdir()) / "_delta_log")
        outcome = run("drop", "silver.flights", "--yes")
        assert outcome.code == 0
        assert "cannot be opened" in outcome.err


class TestLs:
    def test_figures(self, run: Run, lake: Path) -> None:
        (row,) = run("ls", "--json").json
        assert row["name"] == "silver.flights"
        assert (row["rows"], row["files"], row["version"]) == (3, 3, 2)
        assert row["bytes"] > 0
        assert row["modified"].startswith("20")
        text = run("ls").out
        assert "silver.flights" in text
        assert "flights with delays" in text

    def test_layer(self, run: Run, lake: Path) -> None:
        assert run("ls", "gold", "--json").json == []
        assert run("ls", "sliver", "--json").error["near"] == ["silver"]

    def test_many_tables_are_not_opened_unasked(
        self, run: Run, lake: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(listing, "MANY", 0)
        assert run("ls", "--json").json[0]["rows"] is None
        assert "--details" in run("ls").err
        assert run("ls", "--details", "--json").json[0]["rows"] == 3

    def test_a_broken_table_does_not_hide_the_others(self, run: Run, lake: Path) -> None:
        run("create", "gold.days", "-c", "day DATE")
        shutil.rmtree(next((lake / "silver").iterdir()) / "_delta_log")
        outcome = run("ls")
        assert outcome.code == 0
        assert "gold.days" in outcome.out
        assert "1 of 2 tables cannot be opened" in outcome.err
        assert [row["error"] is None for row in run("ls", "--json").json] == [True, False]


class TestShow:
    def test_for_people(self, run: Run, lake: Path) -> None:
        outcome = run("show", "SILVER.flights")
        for word in ("INTEGER", "NOT NULL", "partition", "flights with delays", "CREATE TABLE"):
            assert word in outcome.out

    def test_as_json(self, run: Run, lake: Path) -> None:
        shown = run("show", "silver.flights", "--json").json
        assert (shown["version"], shown["rows"], shown["files"]) == (2, 3, 3)
        assert [commit["version"] for commit in shown["history"]] == [2, 1, 0]


def test_names_are_not_markup(run: Run, folder: Path) -> None:
    with lakehouse.connect(folder / "lake") as opened:
        opened.create_table("gold.a", {"[red]x\x1b[31m": "BIGINT[]"}, description="[bold]b[/bold]")
    shown = run("show", "gold.a").out
    assert "[red]x\\x1b[31m" in shown
    assert "BIGINT[]" in shown
    assert "[bold]b[/bold]" in run("ls").out


def test_layers(run: Run, lake: Path) -> None:
    run("layers", "--declare", "raw", "--description", "as it came")
    assert run("layers").out.splitlines() == ["bronze", "silver", "gold", "raw  as it came"]
    names = [layer["name"] for layer in run("layers", "--json").json["layers"]]
    assert names == ["bronze", "silver", "gold", "raw"]
