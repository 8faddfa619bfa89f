"""The command doctor: what is installed, reachable and healthy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn
from rich.text import Text

import lakehouse
from catalog.errors import InputError, LakehouseError
from lakehouse.cli import health
from lakehouse.cli.health import Finding, TableHealth
from lakehouse.cli.options import JsonOption, LakeOption, complete_tables, locate, open_lake
from lakehouse.cli.output import emit, grid, progress, say, stdout, visible

UNHEALTHY = 1
_MARKS = {"ok": ("ok", "green"), "note": ("note", "yellow"), "bad": ("BAD", "bold red")}


def doctor(
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
    deep: Annotated[
        bool, typer.Option("--deep", help="Read each table's whole log, and check every rule.")
    ] = False,
    probe: Annotated[
        bool, typer.Option("--probe", help="Prove anew that the store keeps its promises.")
    ] = False,
    lake: LakeOption = None,
    json: JsonOption = False,
) -> None:
    """Say what is installed, reachable and healthy. Exits with 1 if anything is not.

    Opens each table, asks deltalake for a second opinion on its files, and looks whether they
    are there.
    """
    findings = health.commands()
    uri, examined = None, []
    try:
        where = locate(lake)
    except InputError as error:
        findings.append(Finding("lake", "note", str(error)))
    else:
        try:
            with open_lake(where) as opened:
                uri = opened.uri
                findings += [Finding("lake", "ok", uri), *health.storage(opened, probe=probe)]
                examined = _examine(opened, tables or (), deep=deep)
        except lakehouse.NotFoundError as error:
            if error.message.startswith("no table"):
                raise
            findings.append(Finding("lake", "bad", str(error)))
        except LakehouseError as error:
            findings.append(Finding("lake", "bad", str(error)))
    healthy = all(f.status != "bad" for f in findings) and all(t.healthy for t in examined)
    if json:
        emit(
            {
                "healthy": healthy,
                "versions": health.versions(),
                "extras": health.extras(),
                "findings": findings,
                "lake": uri,
                "tables": examined,
            }
        )
    else:
        _print(findings, examined)
        say("Healthy." if healthy else "Not healthy.", style="green" if healthy else "bold red")
    if not healthy:
        raise typer.Exit(UNHEALTHY)


def _examine(lake: lakehouse.Lake, names: Sequence[str], *, deep: bool) -> list[TableHealth]:
    wanted = {lake.catalog.table(name).name for name in names}
    chosen = [info for info in lake.tables() if not wanted or info.name in wanted]
    with progress("examining tables", BarColumn(), MofNCompleteColumn()) as bar:
        return [health.examine(lake, info, deep=deep) for info in bar.track(chosen)]


def _print(findings: Sequence[Finding], tables: Sequence[TableHealth]) -> None:
    out = stdout()
    table = grid("", "", "")
    table.show_header = False
    for name, version in health.versions().items():
        status = "bad" if version == "missing" else "ok"
        table.add_row(_mark(status), name, version)
    for extra, libraries in health.extras().items():
        absent = [name for name, version in libraries.items() if version is None]
        found = ", ".join(f"{name} {version or 'missing'}" for name, version in libraries.items())
        step = f"; pip install '{health.DISTRIBUTION}[{extra}]'" if absent else ""
        table.add_row(_mark("note" if absent else "ok"), f"extra {extra}", found + step)
    for finding in findings:
        table.add_row(_mark(finding.status), finding.about, visible(finding.text))
    for item in tables:
        table.add_row(_mark(_status(item)), item.name, visible(_summary(item)))
    out.print(table)


def _status(table: TableHealth) -> str:
    return "bad" if table.problems else "note" if table.notes else "ok"


def _summary(table: TableHealth) -> str:
    parts = [*table.problems, *table.notes]
    if table.version is not None:
        opinion = "; deltalake agrees" if table.deltalake else ""
        parts.insert(0, f"version {table.version}, {table.files} files{opinion}")
    return ". ".join(parts)


def _mark(status: str) -> Any:
    word, style = _MARKS[status]
    return Text(word, style=style)
