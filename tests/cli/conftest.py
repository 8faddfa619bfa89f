"""Run the program in this process, on a small lake."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import lakehouse
from lakehouse.cli import app


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document on standard output."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """The JSON lines on standard output."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def error(self) -> dict[str, Any]:
        """The JSON error; it must be all that standard error holds."""
        assert self.out == ""
        document: dict[str, dict[str, Any]] = json.loads(self.err)
        assert list(document) == ["error"]
        return document["error"]


Run = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, without a lake in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LAKEHOUSE_URI", raising=False)
    monkeypatch.delenv("COLUMNS", raising=False)  # pytest-xdist sets it, and tables obey
    monkeypatch.setenv("NO_COLOR", "1")
    return tmp_path


@pytest.fixture
def run() -> Run:
    def invoke(*args: str, stdin: str | None = None) -> Outcome:
        result = CliRunner().invoke(app, list(args), input=stdin, prog_name="lakehouse")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Outcome(result.exit_code, result.stdout, result.stderr)

    return invoke


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lake that each test gets a copy of."""
    place = tmp_path_factory.mktemp("model") / "lake"
    with lakehouse.connect(place, durable=False) as opened:
        table = opened.create_table(
            "silver.flights",
            {"carrier": "VARCHAR", "delay": "INTEGER NOT NULL"},
            partition_by="carrier",
            description="flights with delays",
            properties={"delta.appendOnly": "false"},
        )
        table.append([{"carrier": "AA", "delay": 11}, {"carrier": "UA B", "delay": -4}])
        table.append([{"carrier": "AA", "delay": 2}])
    return place


@pytest.fixture
def lake(model: Path, folder: Path) -> Path:
    """``./lake`` with ``silver.flights``: three versions, partitioned by carrier."""
    return Path(shutil.copytree(model, folder / "lake"))
