"""Kill keepers at work, and look each time whether the table is whole and its lease comes back.

Each dies by SIGKILL, at a storage call that was drawn or at any moment. The next one's clock is
ahead by as much as the dead one's lease lasts, so that nobody has to wait for it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import multiprocessing
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import TypeVar

from catalog.catalog import Catalog
from compaction.keeper import Keeper
from lakehouse.duck.engine import Engine
from lakehouse.lake.lake import Lake
from lakehouse.testing.agreement import Rows, disagreements
from lakehouse.testing.places import Place, at
from lakehouse.testing.watched import Watched

T = TypeVar("T")
TABLE = "bronze.kept"
COLUMNS = ("n",)
_TTL = dt.timedelta(seconds=60)
_SKEW = dt.timedelta(seconds=10)
_APPENDS = 3  # between two kills, so that there is something to do
_CALLS = 60
_LONGEST = 0.5
_PATIENCE = 120.0


@dataclasses.dataclass(slots=True)
class KeeperKills:
    """Report a kill loop; ``findings`` are empty where nothing was wrong."""

    kills: int = 0
    finished: int = 0
    compactions: int = 0
    takeovers: int = 0
    rows: int = 0
    seconds: float = 0.0
    findings: list[str] = dataclasses.field(default_factory=list)

    def figures(self) -> dict[str, object]:
        """Return what to print."""
        return {
            "kills": self.kills,
            "runs that ended before the kill": self.finished,
            "compactions committed": self.compactions,
            "takeovers marked in the log": self.takeovers,
            "rows at the end": self.rows,
            "seconds": round(self.seconds, 1),
        }


def keeper_kills(count: int = 100, *, seed: int = 0, place: Place | None = None) -> KeeperKills:
    """Kill ``count`` keepers. ``place`` is empty; the default is a temporary folder."""
    report, began, draw = KeeperKills(), time.perf_counter(), random.Random(seed)
    with contextlib.nullcontext(place) if place is not None else at() as place, Engine() as engine:
        rows: Rows = Counter()
        with place.connect() as lake:
            lake.create_table(TABLE, {"n": "BIGINT"})
        while report.kills < count:
            with place.connect(create=False) as lake:
                for _ in range(_APPENDS):
                    n = rows.total()
                    lake.table(TABLE).append([{"n": n}])
                    rows[(n,)] = 1
            ahead = (_TTL + 2 * _SKEW) * (report.kills + 1)
            if _killed(place, ahead, draw):
                report.kills += 1
            else:
                report.finished += 1
            with place.connect(create=False) as lake:
                problems = disagreements(lake.table(TABLE), [rows], columns=COLUMNS, engine=engine)
            report.findings += [f"after kill {report.kills}: {problem}" for problem in problems]
        _recovered(place, (_TTL + 2 * _SKEW) * (count + 1), report)
        report.rows = rows.total()
    report.seconds = time.perf_counter() - began
    return report


def _recovered(place: Place, ahead: dt.timedelta, report: KeeperKills) -> None:
    """Look after the table at last: the lease of the last one that died must be free."""
    with place.connect(create=False) as lake:
        keeper = Keeper(lake, ttl=_TTL, skew=_SKEW, clock=_clock(ahead))
        (task,) = keeper.tasks([TABLE])
        last = keeper.attend(task, due_only=False)
        if last.outcome != "done" or last.problems or last.after.files != 1:
            report.findings.append(f"the last keeper could not do its work: {last}")
        operations = Counter(commit.operation for commit in lake.table(TABLE).history())
    report.compactions = operations["OPTIMIZE"]
    report.takeovers = operations["SET TRANSACTION"]


def _killed(place: Place, ahead: dt.timedelta, draw: random.Random) -> bool:
    """Start a keeper, and tell whether it was killed before it was done."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([_work.__module__])
    call = draw.randint(1, _CALLS) if draw.random() < 0.7 else None
    arguments = (place, ahead, call, draw.random() * _LONGEST)
    process = context.Process(target=_work, args=arguments, daemon=True)
    process.start()
    process.join(_PATIENCE)
    if process.exitcode not in (0, -signal.SIGKILL):
        process.kill()
        raise AssertionError(f"a keeper was to be killed, and ended with {process.exitcode}")
    return process.exitcode != 0


def _work(place: Place, ahead: dt.timedelta, call: int | None, delay: float) -> None:
    """Look after the table, and die at a storage call, or after a while."""
    calls = 0

    def around(_call: str, _path: str, make: Callable[[], T]) -> T:
        nonlocal calls
        calls += 1
        if calls == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return make()

    storage = place.storage().wrapped(lambda inner: Watched(inner, around))
    engine = Engine({"threads": 1})
    lake = Lake(storage, Catalog.open(storage, create=False, probe="never"), engine)
    keeper = Keeper(lake, ttl=_TTL, skew=_SKEW, clock=_clock(ahead))
    (task,) = keeper.tasks([TABLE])
    calls = 0  # from here on: taking the lease, looking, writing, committing, recording
    if call is None:
        timer = threading.Timer(delay, lambda: os.kill(os.getpid(), signal.SIGKILL))
        timer.daemon = True
        timer.start()
    report = keeper.attend(task, due_only=False)
    if report.outcome != "done":
        raise AssertionError(report)
    os._exit(0)  # whatever is under way in the background dies as well


def _clock(ahead: dt.timedelta) -> Callable[[], dt.datetime]:
    return lambda: dt.datetime.now(dt.UTC) + ahead
