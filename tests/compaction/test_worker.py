"""The worker: its endpoints, its log, and how it stops."""

import datetime as dt
import itertools
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

import lakehouse
from catalog import InputError
from compaction import Defaults, Keeper, Schedule, keeper, run
from compaction.cli.daemon import Log
from compaction.endpoint import parse_address, serve
from compaction.metrics import Metrics
from compaction.reports import TableUpkeep
from compaction.worker import Worker

PROGRAM = [sys.executable, "-W", "error", "-c", "from compaction.cli.maintain import app; app()"]
SOON = Defaults(Schedule(every=dt.timedelta(seconds=1)))


@pytest.fixture
def lake(tmp_path: Path):
    with lakehouse.connect(tmp_path / "lake", durable=False) as opened:
        for name in ("bronze.a", "gold.b"):
            table = opened.create_table(name, {"n": "BIGINT"})
            for n in range(3):
                table.append([{"n": n}])
        yield opened


class Team:
    """A worker in a thread, and what it tells."""

    def __init__(self, worker: Worker, told: list) -> None:
        self.worker, self.told = worker, told
        self.stop, self.news = threading.Event(), threading.Condition()
        self.thread = threading.Thread(target=worker.run, args=(self.stop,))

    def wait_for(self, event: str, count: int = 1) -> None:
        with self.news:
            assert self.news.wait_for(
                lambda: sum(e == event for e, _ in self.told) >= count, timeout=120
            )


@pytest.fixture
def team(lake):
    told: list = []
    teams: list[Team] = []

    def tell(event, more) -> None:
        with teams[0].news:
            told.append((event, more))
            teams[0].news.notify_all()

    worker = Worker(Keeper(lake, defaults=SOON), look_every=0.2, tell=tell)
    teams.append(Team(worker, told))
    teams[0].thread.start()
    yield teams[0]
    teams[0].stop.set()
    teams[0].thread.join(120)


def get(address: tuple[str, int], path: str) -> tuple[int, str, str]:
    try:
        with urllib.request.urlopen(
            f"http://{address[0]}:{address[1]}{path}", timeout=60
        ) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["Content-Type"], error.read().decode()


def test_tables_come_and_go(lake, team) -> None:
    team.wait_for("upkeep", 4)
    lake.create_table("silver.c", {"n": "BIGINT"})
    lake.drop_table("gold.b")
    with team.news:
        assert team.news.wait_for(
            lambda: any(m["report"].table == "silver.c" for e, m in team.told if e == "upkeep"),
            timeout=120,
        )
    reports = [m["report"] for e, m in team.told if e == "upkeep"]
    assert {r.outcome for r in reports} <= {"done", "gone"}
    starts = [r.started for r in reports if r.table == "bronze.a"]
    assert all(b - a >= dt.timedelta(seconds=1) for a, b in itertools.pairwise(starts))


def test_it_stops_after_the_step_at_hand(lake, team, monkeypatch) -> None:
    begun, go_on = threading.Event(), threading.Event()
    real = run

    def slow(*args, **settings):
        begun.set()
        go_on.wait(120)
        return real(*args, **settings)

    monkeypatch.setattr(keeper, "run", slow)
    assert begun.wait(120)
    team.stop.set()
    team.wait_for("stopping")
    assert len(dict(team.told)["stopping"]["running"]) == 1
    go_on.set()
    team.thread.join(120)
    assert not team.thread.is_alive()
    last = [m["report"] for e, m in team.told if e == "upkeep"][-1]
    assert last.outcome == "stopped"
    assert team.told[-1][0] == "stopped"


def test_health_and_metrics_are_scraped(lake, team) -> None:
    team.wait_for("upkeep", 2)
    worker = team.worker
    with serve(
        ("127.0.0.1", 0),
        health=worker.health,
        metrics=lambda: ("text/plain", worker.metrics.text()),
    ) as address:
        status, kind, body = get(address, "/healthz")
        assert (status, kind) == (200, "application/json")
        assert json.loads(body)["problem"] is None
        status, _, body = get(address, "/metrics?x=1")
        assert status == 200
        assert 'lakehouse_table_files{table="bronze.a"} 1.0' in body
        assert 'lakehouse_upkeep_files_saved_total{table="gold.b"} 2.0' in body
        for path in ("/", "/../etc/passwd", "/metrics/x", "/%00"):
            assert get(address, path)[0] == 404
        with pytest.raises(InputError, match="cannot listen"):
            with serve(address, health=worker.health, metrics=lambda: ("", b"")):
                pass


def test_a_lake_that_is_away_is_told(lake, team) -> None:
    team.wait_for("upkeep", 2)
    catalog = Path(lake.uri, "_catalog")
    catalog.rename(catalog.with_name("away"))
    team.wait_for("look failed")
    assert b"lakehouse_upkeep_failed_looks_total 0.0" not in team.worker.metrics.text()
    well, told = team.worker.health()
    assert well  # for a while: it may come back
    assert "no lake" in told["problem"]
    catalog.with_name("away").rename(catalog)
    while team.worker.health()[1]["problem"] is not None:
        time.sleep(0.05)
    team.wait_for("upkeep", 1 + sum(e == "upkeep" for e, _ in team.told))


def test_one_that_does_not_look_any_more_is_not_healthy(lake) -> None:
    now = [dt.datetime.now(dt.UTC)]
    worker = Worker(Keeper(lake, clock=lambda: now[0]), look_every=60)
    assert worker.health()[0]
    now[0] += dt.timedelta(minutes=4)
    with serve(("127.0.0.1", 0), health=worker.health, metrics=lambda: ("", b"")) as address:
        assert get(address, "/healthz")[0] == 503


def test_names_cannot_break_out_of_metrics() -> None:
    metrics = Metrics()
    metrics.ran(TableUpkeep('a"} 1\nevil{x="\\', outcome="failed", problems=("p",)))
    lines = metrics.text().decode().splitlines()
    assert not [line for line in lines if line.startswith("evil")]


@pytest.mark.parametrize("text", ["", "9464", "host", "host:port", "host:65536", "host:٣", ":-1"])
def test_what_is_no_address_is_refused(text: str) -> None:
    if text == "9464":
        assert parse_address(text) == ("127.0.0.1", 9464)
        return
    with pytest.raises(InputError, match="no address"):
        parse_address(text)


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
def test_the_program_ends_on_sigterm(lake) -> None:
    process = subprocess.Popen(
        [*PROGRAM, "--daemon", "--listen", ":0", "--lake", lake.uri],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    events = []
    for line in process.stdout:
        events.append(json.loads(line))
        if sum(e["event"] == "upkeep" for e in events) == 2:
            process.send_signal(signal.SIGTERM)
    assert process.wait(120) == 0
    process.stdout.close()
    assert [e["event"] for e in events] == [
        "listening", "started", "upkeep", "upkeep", "stopping", "stopped",
    ]  # fmt: skip
    assert all({"time", "level", "worker"} <= e.keys() for e in events)


def test_what_libraries_log_is_a_line_as_well(capsys) -> None:
    log = Log("w")
    logger = logging.getLogger("lakehouse.x")
    logger.addHandler(log)
    logger.info("no news")
    try:
        raise lakehouse.StorageError("no answer", next_step="Wait")
    except lakehouse.StorageError:
        logger.exception("a checkpoint\nfailed")
    logger.removeHandler(log)
    (line,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert {**line, "time": ""} == {
        "time": "", "level": "error", "event": "log", "worker": "w", "logger": "lakehouse.x",
        "message": "a checkpoint\nfailed", "problem": "StorageError: no answer. Wait",
    }  # fmt: skip


def test_without_its_libraries_it_says_what_to_install(lake, monkeypatch) -> None:
    code = "import sys; sys.modules['apscheduler'] = None; from lakehouse.cli import main; main()"
    finished = subprocess.run(
        [sys.executable, "-c", code, "maintain", "--daemon", "--lake", lake.uri],
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 7
    assert "lakehouse-storage[worker]" in finished.stderr
