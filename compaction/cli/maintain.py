"""The command maintain: upkeep of what is due, once or as a worker that stays."""

from __future__ import annotations

import contextlib
import datetime as dt
import json as json_
import signal
import threading
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from compaction.cli import planned
from compaction.cli.daemon import stay
from compaction.endpoint import PORT, parse_address
from compaction.keeper import Keeper
from compaction.reports import TableUpkeep
from compaction.schedule import Schedule
from compaction.tasks import Defaults, parse_layers
from compaction.upkeep import upkeep
from lakehouse.cli import waiting
from lakehouse.cli.options import JsonOption, LakeOption, complete_tables, open_lake, pairs
from lakehouse.cli.output import number, plain, say, size

FAILED = 1

app = typer.Typer(add_completion=False)

TablesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[TABLES]",
        help="Only these tables.",
        autocompletion=complete_tables,
        show_default=False,
    ),
]
EveryOption = Annotated[
    float,
    typer.Option(min=1, metavar="SECONDS", help="When tables without a schedule are due again."),
]
ScheduleOption = Annotated[
    list[str] | None,
    typer.Option(
        "--schedule",
        metavar="LAYER=WHEN",
        help="For a layer's tables: an interval ('15 minutes') or a cron expression; repeat it.",
        show_default=False,
    ),
]


@app.command()
def maintain(
    tables: TablesArgument = None,
    *,
    now: Annotated[bool, typer.Option("--now", help="Do not ask what is due.")] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Show what would be done to all tables; touch nothing.")
    ] = False,
    every: EveryOption = 3600,
    schedule: ScheduleOption = None,
    daemon: Annotated[
        bool, typer.Option("--daemon", help="Stay, and work when it is due.")
    ] = False,
    listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where a daemon answers /healthz and /metrics.")
    ] = f"127.0.0.1:{PORT}",
    look: Annotated[
        float, typer.Option(min=0.1, metavar="SECONDS", help="How often a daemon looks for tables.")
    ] = 60,
    jobs: Annotated[
        int, typer.Option(min=1, max=64, help="Tables that a daemon looks after at once.")
    ] = 1,
    wait: Annotated[
        float,
        typer.Option(min=1, metavar="SECONDS", help="How long a worker that died holds its table."),
    ] = 60,
    lake: LakeOption = None,
    json: JsonOption = False,
) -> None:
    """Look after the tables that are due: merge small files, delete leftovers and expired log.

    One table's trouble does not stop the others; exits with 1 where there was any. Any number of
    these may work on one lake: a table has one at a time.

    SIGTERM ends it after the step at hand, Ctrl-C at once; neither does harm.
    """
    defaults = defaults_of(every, schedule)
    address = parse_address(listen)
    with _stopped_by_sigterm() as stop, open_lake(lake) as opened:
        if plan:
            planned.show(opened, tables, json=json)
            return
        ttl = dt.timedelta(seconds=wait)
        keeper = Keeper(opened, defaults=defaults, ttl=ttl, skew=ttl / 6)
        if daemon:
            stay(
                keeper,
                tables,
                address=address,
                look_every=look,
                side_by_side=jobs,
                stop=stop,
            )
        elif _round(keeper, tables, due_only=not now, stop=stop, json=json):
            raise typer.Exit(FAILED)


def defaults_of(every: float, schedule: list[str] | None) -> Defaults:
    """Return what the options say about tables that have no schedule of their own."""
    all_alike = Schedule(every=dt.timedelta(seconds=every))
    return Defaults(all_alike, parse_layers(pairs(schedule, option="--schedule"), all_alike))


def _round(
    keeper: Keeper,
    tables: list[str] | None,
    *,
    due_only: bool,
    stop: threading.Event,
    json: bool,
) -> bool:
    """Look after tables once; tell whether any had trouble."""
    done = failed = 0
    reports = iter(
        upkeep(keeper.lake, tables=tables, due_only=due_only, stop=stop.is_set, keeper=keeper)
    )
    while True:
        with waiting.shown(keeper.lake.progress, wanted=not json):
            report = next(reports, None)
        if report is None:
            break
        done += 1
        failed += bool(report.problems)
        _tell(plain(report), sentences(report), json=json)
    _tell(
        {"round": {"tables": done, "failed": failed}},
        [f"Tables looked after: {number(done)}, with problems: {number(failed)}."],
        json=json,
    )
    return failed > 0


def _tell(document: Any, said: list[str], *, json: bool) -> None:
    if json:
        typer.echo(json_.dumps(document, ensure_ascii=False))
        return
    for sentence in said:
        say(sentence)


def sentences(report: TableUpkeep) -> list[str]:
    """Return what happened to a table, if anything did.

    >>> from compaction.shape import Shape
    >>> sentences(TableUpkeep("a.b", before=Shape(9), after=Shape(2), bytes_rewritten=4000))
    ['a.b: 9 files became 2 (4.0 kB rewritten)']
    """
    found = []
    if report.outcome == "elsewhere":
        found.append("another worker looks after it")
    if report.outcome in ("stopped", "lost"):
        found.append("stopped early" if report.outcome == "stopped" else "left to another worker")
    if report.bytes_rewritten:
        found.append(
            f"{number(report.before.files)} files became {number(report.after.files)} "
            f"({size(report.bytes_rewritten)} rewritten)"
        )
    if report.files_deleted:
        found.append(
            f"{number(report.files_deleted)} files that nothing needs ({size(report.bytes_deleted)}) deleted"
        )
    if report.log_entries:
        found.append(f"{number(report.log_entries)} expired log entries deleted")
    found += [f"skipped: {reason}" for reason in report.skipped]
    found += [f"FAILED: {problem}" for problem in report.problems]
    return [f"{report.table}: {sentence}" for sentence in found]


@contextlib.contextmanager
def _stopped_by_sigterm() -> Iterator[threading.Event]:
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # signals reach only that one
        yield stop
        return
    before = signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, before)
