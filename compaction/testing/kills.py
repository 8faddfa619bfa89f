"""Kill keepers at work, and look each time whether the table is whole and its lease comes back.

Each dies by SIGKILL, at a storage call that was drawn or at any moment. The next one's clock is
ahead by as much as the dead one's lease lasts, so that nobody has to wait for it.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable
from typing import TypeVar

from catalog.catalog import Catalog
from compaction.keeper import Keeper
from lakehouse.duck.engine import Engine
from lakehouse.lake.lake import Lake
from lakehouse.testing.agreement import Rows, disagreements
from lakehouse.testing.killed import was_killed
from lakehouse.testing.places import Place, given_or_new
from lakehouse.testing.report import Report, counted
from lakehouse.testing.watched import Watched

T = TypeVar("T")
TABLE = "bronze.kept"
COLUMNS = ("n",)
_TTL = dt.timedelta(seconds=60)
_SKEW = dt.timedelta(seconds=10)
_APPENDS = 3  # between two kills, so that there is something to do
_CALLS = 60
_LONGEST = 0.5


@dataclasses.dataclass(slots=True)
class KeeperKills(Report):
    """Report a kill loop."""

    kills: int = counted("kills")
    finished: int = counted("runs that ended before the kill")
    compactions: int = counted("compactions committed")
    takeovers: int = counted("takeovers marked in the log")
    rows: int = counted("rows at the end")


def keeper_kills(count: int = 100, *, seed: int = 0, place: Place | None = None) -> KeeperKills:
    """Kill ``count`` keepers. ``place`` is empty; the default is a temporary folder."""
    report, draw = KeeperKills(), random.Random(seed)
    with report.timed(), given_or_new(place) as place, Engine() as engine:
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
    call = draw.randint(1, _CALLS) if draw.random() < 0.7 else None
    return was_killed(_work, place, ahead, call, draw.random() * _LONGEST)


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
