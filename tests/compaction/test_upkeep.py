"""Upkeep: what a round does to each table, and `lakehouse maintain` around it."""

import dataclasses
import datetime as dt
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

import lakehouse
from catalog import Leases, OutcomeUnknownError, open_storage
from compaction import Defaults, Keeper, Schedule, keeper, run, upkeep
from compaction.cli import maintain
from lakehouse.table.rewriting import Rewriter

HOUR = dt.timedelta(hours=1)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A lake with three tables of three small files each."""
    with lakehouse.connect(tmp_path / "lake", durable=False) as lake:
        for name in ("bronze.a", "bronze.b", "bronze.c"):
            table = lake.create_table(name, {"n": "BIGINT"})
            for n in range(3):
                table.append([{"n": n}])
    return tmp_path / "lake"


@pytest.fixture
def lake(place: Path):
    with lakehouse.connect(place, durable=False) as opened:
        yield opened


def spoil(place: Path, name: str) -> None:
    with lakehouse.connect(place) as lake:
        log = Path(lake.table(name).uri) / "_delta_log"
    (log / "00000000000000000001.json").write_text("{")


def leases_of(place: Path) -> Leases:
    return Leases(open_storage(place / "_leases", durable=False))


def test_a_round(lake) -> None:
    reports = list(upkeep(lake))
    assert [r.table for r in reports] == ["bronze.a", "bronze.b", "bronze.c"]
    assert {(r.before.files, r.after.files, r.problems, r.outcome) for r in reports} == {
        (3, 1, (), "done")
    }
    assert {r.bytes_rewritten for r in upkeep(lake)} == {0}  # nothing is left to do
    assert lake.sql("SELECT count(*), sum(n) FROM bronze.a").fetchall() == [(3, 3)]
    assert lake.table("bronze.a").history(1)[0].operation == "OPTIMIZE"  # no mark of the lease


def test_leftovers_of_dead_writers_go(lake) -> None:
    dead = Path(lake.table("bronze.a").uri) / "part-dead.parquet"
    dead.write_bytes(b"1234")
    old = time.time() - 8 * 86_400
    os.utime(dead, (old, old))
    report = next(upkeep(lake))
    assert (report.files_deleted, report.bytes_deleted, dead.exists()) == (1, 4, False)


def test_trouble_with_one_table_is_not_that_of_others(place: Path) -> None:
    spoil(place, "bronze.b")
    with lakehouse.connect(place) as lake:
        reports = {report.table: report for report in upkeep(lake)}
    assert [name for name, report in reports.items() if report.problems] == ["bronze.b"]
    assert reports["bronze.b"].outcome == "failed"
    assert reports["bronze.c"].after.files == 1


def test_a_table_that_does_not_allow_it_is_skipped(lake, monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise lakehouse.UnsupportedError("it has the feature x")

    monkeypatch.setattr(lakehouse.Table, "vacuum", refuse)
    reports = list(upkeep(lake))
    assert {(r.problems, r.files_deleted, r.after.files) for r in reports} == {((), 0, 1)}


def test_a_table_that_goes_meanwhile_is_passed_over(lake) -> None:
    rounds = upkeep(lake)
    next(rounds)
    lake.drop_table("bronze.b")
    assert [report.table for report in rounds] == ["bronze.c"]
    with pytest.raises(lakehouse.NotFoundError, match=r"no table bronze\.b"):
        next(upkeep(lake, tables=["bronze.b"]))


def test_it_stops_between_tables(lake) -> None:
    asked: list[str] = []
    rounds = upkeep(lake, stop=lambda: bool(asked))
    assert next(rounds).table == "bronze.a"
    asked.append("to stop")
    assert list(rounds) == []


def test_what_ended_early_is_due_again(lake) -> None:
    one = Keeper(lake)
    (task,) = one.tasks(["bronze.a"])
    report = one.attend(task, stop=lambda: True)
    assert (report.outcome, report.after.files) == ("stopped", 3)
    assert [r["outcome"] for r in one.records.all()] == ["stopped"]
    assert one.attend(task).outcome == "done"


def test_what_ran_is_not_due_until_its_time_comes(lake) -> None:
    now = [dt.datetime.now(dt.UTC)]
    one = Keeper(lake, clock=lambda: now[0], defaults=Defaults(Schedule(every=HOUR)))
    lake.table("bronze.b").alter().set_properties({"lakehouse.upkeepSchedule": "3 hours"})

    def due() -> list[str]:
        return sorted(report.table for report in upkeep(lake, due_only=True, keeper=one))

    assert due() == ["bronze.a", "bronze.b", "bronze.c"]
    assert due() == []
    now[0] += HOUR
    assert due() == ["bronze.a", "bronze.c"]
    now[0] += 2 * HOUR
    assert due() == ["bronze.a", "bronze.b", "bronze.c"]


def test_a_schedule_that_makes_no_sense_is_told(lake) -> None:
    lake.table("bronze.b").alter().set_properties({"lakehouse.upkeepSchedule": "61 3 * * *"})
    tasks = {task.table: task for task in Keeper(lake).tasks()}
    assert "lakehouse.upkeepSchedule" in (tasks["bronze.b"].problem or "")
    assert tasks["bronze.a"].problem is None


def test_a_table_belongs_to_one_keeper_at_a_time(lake, place) -> None:
    first, second = Keeper(lake, name="first"), Keeper(lake, name="second")
    tasks = {task.table: task for task in second.tasks()}
    with leases_of(place).holding(f"upkeep-{tasks['bronze.b'].table_id}"):
        reports = {r.table: r.outcome for r in upkeep(lake, keeper=first)}
        assert reports == {"bronze.a": "done", "bronze.b": "elsewhere", "bronze.c": "done"}
    # It saw all of them due; who holds the lease asks again.
    assert second.attend(tasks["bronze.a"]).outcome == "not due"
    assert second.attend(tasks["bronze.a"], due_only=False).outcome == "done"
    assert second.attend(tasks["bronze.b"]).outcome == "done"
    records = second.records.all()
    assert [r["worker"] for r in records] == ["first", "first", "second", "second"]
    assert {(r["outcome"], r["files_after"], sum(r["sizes_after"])) for r in records} == {
        ("done", 1, 1)
    }


def test_who_takes_over_from_the_dead_keeps_them_out(lake, place) -> None:
    (task,) = Keeper(lake).tasks(["bronze.a"])
    dead = leases_of(place).acquire(f"upkeep-{task.table_id}")
    assert dead is not None
    later = Keeper(lake, clock=lambda: dt.datetime.now(dt.UTC) + HOUR)
    assert later.attend(task).outcome == "done"
    table = lake.table("bronze.a")
    assert [c.operation for c in table.history(2)] == ["OPTIMIZE", "SET TRANSACTION"]
    table.append([{"n": 9}])
    (late,) = run(lake, tables=["bronze.a"], fence=lambda name: lambda: dead.token)
    assert "this upkeep is over" in late.problems[0]


def test_a_fence_that_could_not_be_set_is_left_to_the_next(lake, place, monkeypatch) -> None:
    (task,) = Keeper(lake).tasks(["bronze.a"])
    leases_of(place).acquire(f"upkeep-{task.table_id}")
    ahead = [HOUR]
    late = Keeper(lake, clock=lambda: dt.datetime.now(dt.UTC) + ahead[0])

    def mute(*_: object) -> None:
        raise OutcomeUnknownError("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(Rewriter, "fence", mute)
        report = late.attend(task)
    assert (report.outcome, report.after.files) == ("failed", 3)
    assert late.attend(task, due_only=False).outcome == "elsewhere"
    ahead[0] = 2 * HOUR
    assert late.attend(task, due_only=False).outcome == "done"
    assert "SET TRANSACTION" in [c.operation for c in lake.table("bronze.a").history(2)]


def test_who_lost_the_lease_stops_and_records_nothing(lake, place, monkeypatch) -> None:
    clock = [dt.datetime.now(dt.UTC)]
    slow = Keeper(lake, clock=lambda: clock[0])
    (task,) = slow.tasks(["bronze.a"])

    def sleep(*_: object, **__: object) -> None:
        clock[0] += 2 * HOUR
        monkeypatch.undo()
        assert Keeper(lake, clock=lambda: clock[0]).attend(task).outcome == "done"
        raise lakehouse.ConflictError("fenced off")

    monkeypatch.setattr(keeper, "run", sleep)
    report = slow.attend(task)
    assert (report.outcome, report.bins) == ("lost", 0)
    assert len(slow.records.all()) == 1


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
def test_a_process_that_is_paused_right_before_its_commit_commits_nothing(lake) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.compaction.sleeper", lake.uri],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1])
    later = Keeper(lake, clock=lambda: dt.datetime.now(dt.UTC) + HOUR)
    (task,) = later.tasks(["bronze.a"])
    assert later.attend(task).outcome == "done"
    process.send_signal(signal.SIGCONT)
    assert (process.communicate(timeout=120)[0], process.returncode) == ("lost", 0)
    operations = [commit.operation for commit in lake.table("bronze.a").history(3)]
    assert operations == ["OPTIMIZE", "SET TRANSACTION", "WRITE"]
    assert lake.sql("SELECT count(*), sum(n) FROM bronze.a").fetchall() == [(3, 3)]
    assert [record["worker"] for record in later.records.all()] == [later.name]


class TestCommand:
    def run(self, *args: str) -> tuple[int, list[dict]]:
        result = CliRunner().invoke(maintain.app, [*args, "--json"])
        return result.exit_code, [json.loads(line) for line in result.stdout.splitlines()]

    def test_once_and_again(self, place: Path) -> None:
        code, lines = self.run("--lake", str(place))
        assert code == 0
        assert [line.get("after", {}).get("files") for line in lines] == [1, 1, 1, None]
        assert lines[-1] == {"round": {"tables": 3, "failed": 0}}
        assert self.run("--lake", str(place)) == (0, [{"round": {"tables": 0, "failed": 0}}])
        assert len(self.run("--lake", str(place), "--now")[1]) == 4

    def test_schedules_of_layers(self, place: Path) -> None:
        self.run("--lake", str(place))
        every = ("--lake", str(place), "--every", "1", "--schedule", "Bronze=@monthly")
        assert self.run(*every)[1] == [{"round": {"tables": 0, "failed": 0}}]
        result = CliRunner().invoke(maintain.app, ["--lake", str(place), "--schedule", "gold=x"])
        assert isinstance(result.exception, lakehouse.InputError)

    def test_failure_is_told(self, place: Path) -> None:
        spoil(place, "bronze.a")
        code, lines = self.run("--lake", str(place))
        assert code == maintain.FAILED
        assert lines[-1] == {"round": {"tables": 3, "failed": 1}}
        assert lines[0]["problems"]

    def test_some_tables(self, place: Path) -> None:
        code, lines = self.run("bronze.c", "--lake", str(place))
        assert (code, [line.get("table") for line in lines]) == (0, ["bronze.c", None])

    def test_words(self, place: Path) -> None:
        result = CliRunner().invoke(maintain.app, ["--lake", str(place)])
        assert "bronze.a: 3 files became 1" in result.stderr
        assert (result.exit_code, result.stdout) == (0, "")


def test_a_copy_of_a_table_has_a_turn_of_its_own(lake, tmp_path) -> None:
    shutil.copytree(lake.table("bronze.a").uri, tmp_path / "copy")
    lake.register_table("gold.copy", tmp_path / "copy")
    assert len({task.table_id for task in Keeper(lake).tasks()}) == 4
    reports = {r.table: r.after.files for r in upkeep(lake, due_only=True)}
    assert reports["bronze.a"] == reports["gold.copy"] == 1


def test_a_hostile_name_does_no_harm(lake) -> None:
    lake.create_table("bronze.यौगिक", {"n": "BIGINT"})
    assert {r.table for r in upkeep(lake)} >= {"bronze.यौगिक"}
    (task,) = Keeper(lake).tasks(["bronze.a"])
    # A table that was registered has the id that its log says, whatever that is.
    hostile = dataclasses.replace(task, table_id="../../x/\x1b[31m" + "y" * 500)
    assert Keeper(lake).attend(hostile).outcome == "done"
    assert Keeper(lake).attend(hostile).outcome == "not due"


def test_leases_of_tables_that_are_gone_go_too(lake, place) -> None:
    ahead = [dt.timedelta(0)]
    keeper = Keeper(lake, clock=lambda: dt.datetime.now(dt.UTC) + ahead[0])
    assert len([*upkeep(lake, keeper=keeper)]) == len(lake.tables())
    before = set(leases_of(place).names())
    gone = f"upkeep-{lake.catalog.table('bronze.a').id}"
    lake.drop_table("bronze.a", purge=True)
    assert keeper.forget_leases() == 0  # somebody may be at it still
    ahead[0] = dt.timedelta(days=2)
    assert keeper.forget_leases() == 1
    assert set(leases_of(place).names()) == before - {gone}


def test_a_table_that_another_lake_looked_after(lake, tmp_path) -> None:
    table = lake.table("bronze.a")
    table.rewriter().fence(1000)
    with lakehouse.connect(tmp_path / "other", durable=False) as other:
        other.register_table("bronze.moved", table.uri)
        keeper = Keeper(other)
        (task,) = keeper.tasks()
        report = keeper.attend(task, due_only=False)
        assert (report.outcome, report.problems, report.bins) == ("done", (), 1)
        table = other.table("bronze.moved")
        assert table.snapshot().transactions["lakehouse.upkeep"].version == 1001
        for n in range(2):
            table.append([{"n": n}])
        assert keeper.attend(task, due_only=False).outcome == "done"
