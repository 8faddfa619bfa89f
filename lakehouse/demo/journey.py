"""Run the demo from the raw files to the last check."""

from __future__ import annotations

import os
import time

from rich.console import Console
from rich.markup import escape

import lakehouse
from catalog.storage import open_storage
from lakehouse import InputError, Lake, NotFoundError
from lakehouse.demo import build, tour
from lakehouse.demo.checks import checks
from lakehouse.demo.queries import TABLES
from lakehouse.demo.raw import read_raw
from lakehouse.demo.report import Check, DemoReport
from lakehouse.demo.show import Show
from lakehouse.demo.source import PACKAGE, Source, find_source

_BRONZE, _SILVER, _GOLD = "#cd7f32", "#a8b0b8", "#e6b800"


def run(lake_uri: str | os.PathLike[str], *, console: Console, keep: bool = False) -> DemoReport:
    """Build the demo's lake at ``lake_uri``, tour it on ``console``, and check its numbers.

    The tables of an earlier run are built anew, or with ``keep`` toured as they are. A folder or
    a lake that the demo did not make is left alone: InputError.
    """
    started = time.perf_counter()
    source = find_source()
    show = Show(console)
    with _open(os.fspath(lake_uri)) as lake:
        kept = keep and _has_all(lake)
        _welcome(os.fspath(lake_uri), source, show, kept=kept)
        if not kept:
            _clear(lake)
            with show.step("Bronze", "the files as they came", color=_BRONZE):
                build.bronze(lake, source, show)
            with show.step("Silver", "typed, each flight once, joined", color=_SILVER):
                build.silver(lake, show)
        with show.step("Gold", "what people ask for", color=_GOLD):
            if not kept:
                build.gold(lake, show)
            build.results(lake, show)
        with show.step("SQL", "and the files that it need not open"):
            tour.questions(lake, show)
        with show.step("Time travel", "every version stays readable"):
            tour.travel(lake, show)
        with show.step("On disk", "plain Delta tables and a small catalog"):
            files, size = tour.disk(lake, show, title=os.fspath(lake_uri))
        with show.step("Checks", "each number of the lake against an independent one"):
            found = _check(lake, source, show)
        report = DemoReport(
            uri=lake.uri,
            kept=kept,
            steps=tuple(show.steps),
            checks=found,
            files=files,
            bytes=size,
            seconds=time.perf_counter() - started,
        )
        _goodbye(lake, os.fspath(lake_uri), report, show)
    return report


def _open(uri: str) -> Lake:
    try:
        lake = lakehouse.connect(uri, create=False)
    except NotFoundError:
        if not _is_empty(uri):
            raise InputError(
                f"{uri} is not empty, and no lake",
                next_step="Name an empty or a new folder with --lake",
            ) from None
        return lakehouse.connect(uri)
    names = {info.name for info in lake.tables()}
    ours = [name for name in TABLES if name in names]
    marked = [name for name in ours if build.MARK.items() <= lake.table(name).properties.items()]
    if marked != ours or (names and not ours):
        lake.close()
        raise InputError(
            f"{uri} is a lake that the demo did not make",
            next_step="Name an empty or a new folder with --lake",
        )
    return lake


def _is_empty(uri: str) -> bool:
    storage = open_storage(uri)
    folder = storage.local_path
    if folder is None:
        return next(storage.list(), None) is None
    return not folder.exists() or (folder.is_dir() and next(folder.iterdir(), None) is None)


def _has_all(lake: Lake) -> bool:
    """Tell a finished demo from a new lake; InputError for what is neither."""
    names = {info.name for info in lake.tables()}
    missing = [name for name in TABLES if name not in names]
    if missing and len(missing) < len(TABLES):
        raise InputError(
            f"the earlier demo is not complete: there is no table {missing[0]}",
            next_step="Build it anew with --fresh",
        )
    return not missing


def _clear(lake: Lake) -> None:
    for info in lake.tables():
        if info.name in TABLES:
            lake.drop_table(info.name, purge=True)


def _welcome(uri: str, source: Source, show: Show, *, kept: bool) -> None:
    show.gap()
    show.say("[bold]Lakehouse:[/] every flight that left New York in 2013, in one folder.")
    show.say(f"The data is {PACKAGE} {source.version}; the lake is {escape(uri)}.")
    show.gap()
    show.python(f'import lakehouse\n\nlake = lakehouse.connect("{uri}")')
    if kept:
        show.say("It was built by an earlier run, and is kept.")


def _check(lake: Lake, source: Source, show: Show) -> tuple[Check, ...]:
    show.say("Counted again from the raw CSV files by plain Python, and read by deltalake:")
    show.gap()
    with show.busy("Reading the raw files line by line"):
        raw = read_raw(source)
    found = []
    for check in checks(lake, raw):
        show.check(check)
        found.append(check)
    return tuple(found)


def _goodbye(lake: Lake, uri: str, report: DemoReport, show: Show) -> None:
    failed = sum(not check.passed for check in report.checks)
    show.gap()
    if failed:
        show.say(f"[bold red]{failed} of {len(report.checks)} checks failed.[/]")
        return
    show.say(
        f"[bold green]All {len(report.checks)} checks agree.[/] {report.files} files, "
        f"{report.bytes / 1e6:.1f} MB, {report.seconds:.1f} s."
    )
    times = (f"{step.name} {step.seconds:.1f}" for step in report.steps if step.seconds >= 0.05)
    show.say(f"[dim]Seconds: {', '.join(times)}[/]")
    show.gap()
    show.say("The lake is yours now:")
    show.python(
        f'lake = lakehouse.connect("{uri}")\n'
        'lake.sql("FROM gold.delays_by_day").pl()   # or .df(), .to_arrow_table()\n'
        f'polars.scan_delta("{lake.table("silver.flights").uri}")'
    )
