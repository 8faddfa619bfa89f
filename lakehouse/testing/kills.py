"""Kill a writer again and again, and look each time whether the table is what it acknowledged.

The writer is a process of its own. It dies by SIGKILL: at a storage call that was drawn, before
or after it, or at any moment, in the midst of DuckDB's work on a file for example. Its successor
repeats the step that was under way, with the same idempotency key, and goes on.
"""

from __future__ import annotations

import dataclasses
import json
import random
import re
import tempfile
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

from lakehouse.delta.log import LOG
from lakehouse.duck.engine import Engine
from lakehouse.testing.agreement import Rows, disagreements
from lakehouse.testing.killed import was_killed
from lakehouse.testing.places import Place, given_or_new
from lakehouse.testing.report import Report, counted, tallied
from lakehouse.testing.script import COLUMNS, SCHEMA, columns_after, rows_after, step
from lakehouse.testing.victim import TABLE, Aim, Side, write

_SIDES: tuple[Side, ...] = ("before", "within", "after")
_PER_TABLE = 20
_CALLS = 80
_PUTS = 8
_STEPS = 5
# How long a step may live, on local disk and where each call is a request.
_LONGEST = 0.04
_LONGEST_REMOTE = 0.2
# Stores tell the times of files by the second.
_COARSE = 1.1


@dataclasses.dataclass(slots=True)
class KillReport(Report):
    """Report a kill loop: what was hit, what was acknowledged, and what was wrong."""

    kills: int = counted("kills")
    acknowledged: int = counted("steps acknowledged")
    landed: int = counted("of those killed, landed unacknowledged")
    repeated: int = counted("steps repeated by the successor")
    replayed: int = counted("of those, found done by their key")
    commits: int = counted("commits")
    rows: int = counted("rows at the end of each table")
    leftovers: int = counted("leftovers collected")
    hits: Counter[str] = tallied("hit {}")


def kills(count: int = 200, *, seed: int = 0, place: Place | None = None) -> KillReport:
    """Kill ``count`` writers; findings say what was wrong, and are empty where nothing was.

    ``place`` is empty; the default is a temporary folder.
    """
    report = KillReport()
    with report.timed(), given_or_new(place) as place:
        for number, first in enumerate(range(0, count, _PER_TABLE)):
            todo = min(_PER_TABLE, count - first)
            _one_table(place.child(str(number)), todo, f"{seed}/{number}", report)
    return report


@dataclasses.dataclass(slots=True)
class _Watch:
    """Hold what the writers of one table have told, and what the table must hold by that."""

    seed: int
    rows: Rows = dataclasses.field(default_factory=Counter)
    columns: frozenset[str] = frozenset(COLUMNS)
    next_step: int = 0
    pending: bool = False
    landed: bool = False

    def acknowledge(self, told: dict[str, Any], report: KillReport) -> None:
        """Take in one step that returned."""
        done = step(self.seed, told["step"])
        report.acknowledged += 1
        if self.pending:
            report.repeated += 1
            report.replayed += bool(told["replayed"])
            if done.kind != "checkpoint" and bool(told["replayed"]) != self.landed:
                report.findings.append(f"step {done} landed: {self.landed}, but told {told}")
        self.rows, self.columns = rows_after(self.rows, done), columns_after(self.columns, done)
        self.next_step, self.pending, self.landed = done.number + 1, False, False


def _one_table(place: Place, count: int, seed: str, report: KillReport) -> None:
    draw = random.Random(seed)
    watch = _Watch(seed=draw.randrange(1 << 30))
    with place.connect() as lake:
        lake.create_table(TABLE, SCHEMA)
    with Engine() as engine, tempfile.TemporaryDirectory(prefix="lakehouse-kills-") as folder:
        for number in range(count):
            aim = _aim(draw, _LONGEST if place.is_local else _LONGEST_REMOTE)
            journal = Path(folder, f"{number}.journal")
            told = _kill_one(place, journal, watch, aim)
            report.kills += 1
            report.hits[_place_of(told)] += 1
            _look(place, told, watch, report, engine)
    _leftovers(place, report)
    report.rows += watch.rows.total()


def _aim(draw: random.Random, longest: float) -> Aim:
    kind, side = draw.random(), draw.choice(_SIDES)
    if kind < 0.3:
        return Aim(draw.randint(1, _PUTS), side, puts=True)
    if kind < 0.6:
        return Aim(draw.randint(1, _CALLS), side)
    return Aim(None, step=draw.randrange(_STEPS), delay=draw.random() * longest)


def _kill_one(place: Place, journal: Path, watch: _Watch, aim: Aim) -> list[dict[str, Any]]:
    """Start a writer, see it die, and return what it told."""
    if not was_killed(write, place, str(journal), watch.seed, watch.next_step, aim):
        raise AssertionError("the writer was to be killed, and came to its end")
    # The last line may be torn.
    lines = journal.read_bytes().split(b"\n")[:-1] if journal.exists() else []
    return [json.loads(line) for line in lines]


def _look(
    place: Place, told: list[dict[str, Any]], watch: _Watch, report: KillReport, engine: Engine
) -> None:
    for line in told:
        if line["what"] == "done":
            watch.acknowledge(line, report)
    watch.pending = any(line.get("step") == watch.next_step for line in told) or watch.pending
    pending = step(watch.seed, watch.next_step)
    after = rows_after(watch.rows, pending) if watch.pending else watch.rows
    with place.connect(create=False) as lake:
        table = lake.table(TABLE)
        problems = disagreements(table, [watch.rows, after], columns=COLUMNS, engine=engine)
        columns = frozenset(table.schema.names)
        key = table.snapshot().transactions.get("script")
    # Whether a write landed is what its app transaction says, for all readers.
    was_landed = watch.landed
    watch.landed = watch.pending and key is not None and key.version == pending.number
    report.landed += watch.landed and not was_landed
    allowed = columns_after(watch.columns, pending) if watch.landed else watch.columns
    if columns != allowed:
        problems.append(f"the columns are {sorted(columns)}, not {sorted(allowed)}")
    report.findings += [f"after kill {report.kills} ({_place_of(told)}): {p}" for p in problems]


def _leftovers(place: Place, report: KillReport) -> None:
    """Collect what the dead left; then every file is one that a version names, and all are there."""
    with place.connect(create=False) as lake:
        table = lake.table(TABLE)
        storage = table.snapshot().storage
        report.commits += table.version
        if not place.is_local:
            time.sleep(_COARSE)
        report.leftovers += table.collect_leftovers(older_than=timedelta(0)).files
        present = {item.path for item in storage.list(temporary=True)}
        named: set[str] = set()
        for version in range(table.version + 1):
            named |= set(table.files(version=version)["path"].to_pylist())
    if lost := named - present:
        report.findings.append(f"{len(lost)} files that a version names are gone: {min(lost)}")
    log = re.compile(rf"{LOG}/(\d{{20}}\.[a-z0-9.]+|_last_checkpoint)")
    if left := {path for path in present - named if not log.fullmatch(path)}:
        report.findings.append(f"{len(left)} leftovers were not collected: {min(left)}")


def _place_of(told: list[dict[str, Any]]) -> str:
    """Return where a writer died: the step, and the storage call at, or after which it did."""
    doing, at = "opening the lake", "start"
    for line in told:
        if line["what"] == "begin":
            doing, at = line["kind"], "start"
        elif line["what"] == "done":
            doing = "between steps"
        elif line["what"] in _SIDES:
            at = f"{line['what']} {line['call']} {line['of']}"
    return f"{doing}: {at}"
