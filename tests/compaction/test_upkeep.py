"""Upkeep: what a round does to each table, and `lakehouse maintain` around it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

import lakehouse
from compaction import cli
from compaction.upkeep import upkeep

PROGRAM = [sys.executable, "-W", "error", "-c", "from compaction.cli import app; app()"]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A lake with three tables of three small files each."""
    with lakehouse.connect(tmp_path / "lake", durable=False) as lake:
        for name in ("bronze.a", "bronze.b", "bronze.c"):
            table = lake.create_table(name, {"n": "BIGINT"})
            for n in range(3):
                table.append([{"n": n}])
    return tmp_path / "lake"


def spoil(place: Path, name: str) -> None:
    with lakehouse.connect(place) as lake:
        log = Path(lake.table(name).uri) / "_delta_log"
    (log / "00000000000000000001.json").write_text("{")


def test_a_round(place: Path) -> None:
    with lakehouse.connect(place) as lake:
        reports = list(upkeep(lake))
        assert [r.table for r in reports] == ["bronze.a", "bronze.b", "bronze.c"]
        assert {(r.files_before, r.files_after, r.problems) for r in reports} == {(3, 1, ())}
        assert {r.bytes_rewritten for r in upkeep(lake)} == {0}  # nothing is left to do
        assert lake.sql("SELECT count(*), sum(n) FROM bronze.a").fetchall() == [(3, 3)]


def test_leftovers_of_dead_writers_go(place: Path) -> None:
    with lakehouse.connect(place) as lake:
        dead = Path(lake.table("bronze.a").uri) / "part-dead.parquet"
        dead.write_bytes(b"1234")
        old = time.time() - 8 * 86_400
        os.utime(dead, (old, old))
        report = next(upkeep(lake))
    assert (report.leftovers, report.leftover_bytes, dead.exists()) == (1, 4, False)


def test_trouble_with_one_table_is_not_that_of_others(place: Path) -> None:
    spoil(place, "bronze.b")
    with lakehouse.connect(place) as lake:
        reports = {report.table: report for report in upkeep(lake)}
    assert [name for name, report in reports.items() if report.problems] == ["bronze.b"]
    assert reports["bronze.c"].files_after == 1


def test_a_table_that_does_not_allow_it_is_skipped(place: Path, monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise lakehouse.UnsupportedError("it has the feature x")

    monkeypatch.setattr(lakehouse.Table, "collect_leftovers", refuse)
    with lakehouse.connect(place) as lake:
        reports = list(upkeep(lake))
    assert {(r.skipped, r.problems) for r in reports} == {(("it has the feature x",), ())}
    assert {r.files_after for r in reports} == {1}


def test_a_table_that_goes_meanwhile_is_passed_over(place: Path) -> None:
    with lakehouse.connect(place) as lake:
        rounds = upkeep(lake)
        next(rounds)
        lake.drop_table("bronze.b")
        assert [report.table for report in rounds] == ["bronze.c"]
        (named,) = upkeep(lake, tables=["bronze.b"])
        assert "no table bronze.b" in named.problems[0]


def test_it_stops_between_tables(place: Path) -> None:
    answers = iter([False, False, True])
    with lakehouse.connect(place) as lake:
        reports = list(upkeep(lake, stop=lambda: next(answers)))
    assert [report.table for report in reports] == ["bronze.a", "bronze.b"]


class TestCommand:
    def run(self, *args: str) -> tuple[int, list[dict]]:
        result = CliRunner().invoke(cli.app, [*args, "--json"])
        return result.exit_code, [json.loads(line) for line in result.stdout.splitlines()]

    def test_once(self, place: Path, tmp_path: Path) -> None:
        health = tmp_path / "healthy"
        code, lines = self.run("--lake", str(place), "--health-file", str(health))
        assert code == 0
        assert [line.get("files_after") for line in lines] == [1, 1, 1, None]
        assert lines[-1] == {"round": {"tables": 3, "failed": 0}}
        assert health.exists()

    def test_failure_is_told(self, place: Path, tmp_path: Path) -> None:
        spoil(place, "bronze.a")
        health = tmp_path / "healthy"
        code, lines = self.run("--lake", str(place), "--health-file", str(health))
        assert code == cli.FAILED
        assert lines[-1] == {"round": {"tables": 3, "failed": 1}}
        assert lines[0]["problems"]
        assert not health.exists()

    def test_some_tables(self, place: Path) -> None:
        code, lines = self.run("bronze.c", "--lake", str(place))
        assert (code, [line.get("table") for line in lines]) == (0, ["bronze.c", None])

    def test_words(self, place: Path) -> None:
        result = CliRunner().invoke(cli.app, ["--lake", str(place)])
        assert "bronze.a: 3 files became 1" in result.stderr
        assert (result.exit_code, result.stdout) == (0, "")

    @pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
    def test_sigterm_ends_the_rest(self, place: Path, tmp_path: Path) -> None:
        health = tmp_path / "healthy"
        process = subprocess.Popen(
            [*PROGRAM, "--every", "3600", "--lake", str(place), "--json"],
            env={**os.environ, "LAKEHOUSE_HEALTH_FILE": str(health)},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        while "round" not in json.loads(process.stdout.readline()):
            pass
        assert health.exists()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        process.stdout.close()
