"""The command maintain: rounds of upkeep, once or again and again."""

from __future__ import annotations

import contextlib
import json as json_
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from compaction.upkeep import TableUpkeep, upkeep
from lakehouse import Lake, LakehouseError, StorageError
from lakehouse.cli.options import JsonOption, LakeOption, complete_tables, open_lake
from lakehouse.cli.output import number, plain, say, size

FAILED = 1
_BEAT = 20.0  # seconds between two touches of the health file while nothing else happens

app = typer.Typer(add_completion=False)


@app.command()
def maintain(
    tables: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TABLES]",
            help="Only these tables.",
            autocompletion=complete_tables,
            show_default=False,
        ),
    ] = None,
    *,
    every: Annotated[
        float | None,
        typer.Option(min=1, metavar="SECONDS", help="Rest so long and go on.", show_default="once"),
    ] = None,
    health_file: Annotated[
        Path | None,
        typer.Option(
            envvar="LAKEHOUSE_HEALTH_FILE",
            help="A file that is touched, table by table, while all goes well.",
            show_default=False,
        ),
    ] = None,
    lake: LakeOption = None,
    json: JsonOption = False,
) -> None:
    """Merge small files, and delete leftovers and expired log entries, of all tables.

    One table's trouble does not stop the others; exits with 1 where the last round had any.

    SIGTERM ends it after the table at hand, Ctrl-C at once; neither does harm.
    """
    failed = 0
    with _stopped_by_sigterm() as stop, open_lake(lake) as opened:
        while not stop.is_set():
            failed = _round(opened, tables, stop=stop, health=health_file, json=json)
            if every is None:
                break
            _rest(every, stop=stop, health=None if failed else health_file)
    if failed:
        raise typer.Exit(FAILED)


def _round(
    lake: Lake,
    tables: list[str] | None,
    *,
    stop: threading.Event,
    health: Path | None,
    json: bool,
) -> int:
    """Look after all tables once; return how many had trouble."""
    done = failed = 0
    try:
        for report in upkeep(lake, tables=tables, stop=stop.is_set):
            done += 1
            failed += bool(report.problems)
            _tell(plain(report), _sentences(report), json=json)
            if not failed:
                _touch(health)
    except LakehouseError as error:  # the catalog cannot be read now
        failed += 1
        _tell({"problems": [str(error)]}, [f"Failed: {error}"], json=json)
    _tell(
        {"round": {"tables": done, "failed": failed}},
        [f"Tables looked after: {number(done)}, with problems: {number(failed)}."],
        json=json,
    )
    if not failed:
        _touch(health)
    return failed


def _rest(seconds: float, *, stop: threading.Event, health: Path | None) -> None:
    while seconds > 0 and not stop.wait(min(seconds, _BEAT)):
        seconds -= _BEAT
        _touch(health)


def _touch(health: Path | None) -> None:
    if health is None:
        return
    try:
        health.touch()
    except OSError as error:
        raise StorageError(
            f"cannot touch {health}: {error}", next_step="Name a file that can be written"
        ) from error


def _tell(document: Any, sentences: list[str], *, json: bool) -> None:
    if json:
        typer.echo(json_.dumps(document, ensure_ascii=False))
        return
    for sentence in sentences:
        say(sentence)


def _sentences(report: TableUpkeep) -> list[str]:
    """Return what happened to a table, if anything did.

    >>> _sentences(TableUpkeep("a.b", files_before=9, files_after=2, bytes_rewritten=4000))
    ['a.b: 9 files became 2 (4.0 kB rewritten)']
    """
    found = []
    if report.bytes_rewritten:
        found.append(
            f"{number(report.files_before)} files became {number(report.files_after)} "
            f"({size(report.bytes_rewritten)} rewritten)"
        )
    if report.leftovers:
        found.append(
            f"{number(report.leftovers)} leftovers ({size(report.leftover_bytes)}) deleted"
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
