"""Commands that delete what no version needs, and that name versions to keep: vacuum, snapshots."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

import lakehouse
from catalog.errors import InputError
from lakehouse.cli.options import JsonOption, LakeOption, TableArgument, open_lake
from lakehouse.cli.output import emit, grid, moment, number, say, size, stdout, visible
from lakehouse.delta.properties import interval

_SHOWN = 20


def vacuum(
    table: TableArgument,
    *,
    run: Annotated[bool, typer.Option("--run", help="Delete; without it, nothing is.")] = False,
    retention: Annotated[
        str | None,
        typer.Option(
            metavar="INTERVAL",
            help="Keep the versions of this time, such as '3 days'; default is the table's own.",
            show_default=False,
        ),
    ] = None,
    enforce_retention: Annotated[
        bool, typer.Option(help="Refuse a retention of less than a day.")
    ] = True,
    trash: Annotated[
        bool, typer.Option("--trash", help="Move the files into the table's trash.")
    ] = False,
    undo: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="Bring back what this vacuum put into the trash."),
    ] = None,
    empty_trash: Annotated[
        bool, typer.Option("--empty-trash", help="Delete for good what is in the trash for a week.")
    ] = False,
    lake: LakeOption = None,
    json: JsonOption = False,
) -> None:
    """Say which files no version needs that is kept, and delete them with --run.

    Kept are the newest version, those of the retention, and those of named snapshots and readers.
    """
    with open_lake(lake) as opened:
        found = opened.table(table)
        if undo is not None or empty_trash:
            back = found.empty_trash() if undo is None else found.undo_vacuum(undo)
            verb = "deleted for good" if undo is None else "brought back"
            if json:
                emit(back)
            else:
                say(f"{number(back.files)} files ({size(back.bytes)}) {verb}.")
            return
        report = found.vacuum(
            retention=None if retention is None else _interval(retention),
            enforce_retention=enforce_retention,
            dry_run=not run,
            trash=trash,
        )
        if json:
            emit({"table": found.name, "report": report})
        else:
            _tell(found.name, report)


def snapshots(
    *,
    add: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name the versions of this moment.")
    ] = None,
    drop: Annotated[
        str | None, typer.Option(metavar="NAME", help="Forget a name: its files may go.")
    ] = None,
    description: Annotated[str | None, typer.Option(help="What it is for, with --add.")] = None,
    lake: LakeOption = None,
    json: JsonOption = False,
) -> None:
    """List the named snapshots, name one, or drop one. Vacuums leave what they need."""
    with open_lake(lake) as opened:
        if drop is not None:
            opened.drop_snapshot(drop)
        if add is not None:
            opened.name_snapshot(add, description=description)
        found = opened.named_snapshots()
    if json:
        emit(found)
        return
    listed = grid("name", "created", "tables", "description", right=["tables"])
    for one in found:
        listed.add_row(
            visible(one.name),
            moment(one.created),
            number(len(one.versions)),
            visible(one.description or ""),
        )
    stdout().print(listed)


def _interval(text: str) -> timedelta:
    millis = interval(text)
    if millis is None:
        raise InputError(f"--retention {text!r} is no interval", next_step="Write '7 days'")
    return timedelta(milliseconds=millis)


def _tell(name: str, report: lakehouse.VacuumReport) -> None:
    for item in report.deleted[:_SHOWN]:
        say(f"{visible(item.path)}  {size(item.size)}  {item.why}")
    if len(report.deleted) > _SHOWN:
        say(f"... and {number(len(report.deleted) - _SHOWN)} more (--json has all)")
    files = f"{number(report.files)} files ({size(report.bytes)})"
    if report.dry_run:
        say(f"{files} of {name} would be deleted; --run does it.")
    elif report.trash is not None:
        say(f"{files} of {name} are in the trash; --undo {report.trash} brings them back.")
    else:
        say(f"{files} of {name} deleted.")
    since = moment(report.readable_since)
    say(f"Version {report.oldest_version} of {since} and all after it stay readable.")
    if report.held:
        say(f"So do the versions {', '.join(map(str, report.held))}, which are held.")
