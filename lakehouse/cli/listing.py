"""Commands that describe tables: ls, show."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Annotated, Any, Literal

import typer
from rich.progress import BarColumn, MofNCompleteColumn
from rich.text import Text

import lakehouse
from catalog.state import find
from lakehouse.cli.options import JsonOption, LakeOption, TableArgument, complete_layers, open_lake
from lakehouse.cli.output import (
    emit,
    grid,
    moment,
    number,
    progress,
    say,
    size,
    stdout,
    visible,
)
from lakehouse.cli.timeline import history_table

# Opening a table costs some milliseconds: a list of more than this would keep people waiting.
MANY = 300


@dataclasses.dataclass(frozen=True, slots=True)
class Listed:
    """Hold a line of ``ls``. What only the table's log knows is None until it was opened.

    A view has neither place nor size.
    """

    name: str
    kind: Literal["table", "view"]
    layer: str
    uri: str | None
    managed: bool
    description: str | None
    version: int | None = None
    rows: int | None = None
    files: int | None = None
    bytes: int | None = None
    modified: datetime | None = None
    error: str | None = None


def ls(
    layer: Annotated[
        str | None,
        typer.Argument(help="Only this layer.", autocompletion=complete_layers, show_default=False),
    ] = None,
    *,
    details: Annotated[
        bool | None,
        typer.Option(
            "--details/--names",
            help=f"Open each table for its size, or list names only (default: up to {MANY} tables).",
            show_default=False,
        ),
    ] = None,
    lake: LakeOption = None,
    json: JsonOption = False,
) -> None:
    """List tables and views; tables with rows, files, size, version and time of the last change (UTC)."""
    with open_lake(lake) as opened:
        known = opened.tables(layer=layer)
        wanted = len(known) <= MANY if details is None else details
        rows = list(_opened(opened, known)) if wanted else [_listed(info) for info in known]
        rows += [
            Listed(view.name, "view", view.layer, None, False, view.description)
            for view in opened.views(layer=layer)
        ]
        rows.sort(key=lambda row: row.name)
    if json:
        emit(rows)
    elif details is False:
        for row in rows:
            typer.echo(row.name)
    elif not rows:
        say(f"No tables in {layer or opened.uri} yet.")
    else:
        stdout().print(_ls_table(rows, details=wanted))
        _remarks(rows, details=wanted)


def show(
    table: TableArgument,
    *,
    lake: LakeOption = None,
    json: JsonOption = False,
) -> None:
    """Show a table's columns, partitioning, properties, size and latest changes; or a view's query."""
    with open_lake(lake) as opened:
        if find(opened.catalog.state.views, table) is not None:
            _show_view(opened, table, json=json)
            return
        found = opened.table(table)
        detail = found.detail()
        columns = columns_of(found, detail)
        commits = found.history(5)
    facts = {f.name: getattr(detail, f.name) for f in dataclasses.fields(detail)}
    if json:
        emit({**facts, "schema": columns, "history": commits})
        return
    out = stdout()
    out.print(_facts(detail))
    out.print(columns_table(columns, detail))
    out.print(history_table(commits))


def columns_of(table: lakehouse.Table, detail: lakehouse.TableDetail) -> list[dict[str, Any]]:
    """Return a table's columns with DuckDB's types."""
    types = [str(type_) for type_ in table.read(version=detail.version).types]
    return [
        {"name": f.name, "type": type_, "nullable": f.nullable, "comment": _comment(f)}
        for f, type_ in zip(detail.schema, types, strict=True)
    ]


def columns_table(columns: Sequence[dict[str, Any]], detail: lakehouse.TableDetail) -> Any:
    """Return the table of columns that people see."""
    listed = grid("column", "type", "", "comment")
    for column in columns:
        partition = " partition" if column["name"] in detail.partition_by else ""
        null = "" if column["nullable"] else "NOT NULL"
        listed.add_row(
            visible(column["name"]), column["type"], (null + partition).strip(), column["comment"]
        )
    return listed


def names_table(known: Sequence[lakehouse.TableInfo]) -> Any:
    """Return the table of tables' names and descriptions, without opening any."""
    return _ls_table([_listed(info) for info in known], details=False)


def _show_view(lake: lakehouse.Lake, name: str, *, json: bool) -> None:
    view = lake.view(name)
    columns = [
        {"name": row[0], "type": row[1]} for row in lake.sql(f"DESCRIBE {view.name}").fetchall()
    ]
    if json:
        emit({**dataclasses.asdict(view), "kind": "view", "schema": columns})
        return
    out = stdout()
    facts = grid("", "")
    facts.show_header = False
    pairs = {
        "view": view.name,
        "about": view.description,
        "created": moment(view.created),
        "reads": ", ".join(view.depends_on),
        "query": view.sql,
    }
    for key, value in pairs.items():
        if value:
            facts.add_row(Text(key, style="dim"), visible(value))
    out.print(facts)
    listed = grid("column", "type")
    for column in columns:
        listed.add_row(visible(column["name"]), column["type"])
    out.print(listed)


def _opened(lake: lakehouse.Lake, known: Sequence[lakehouse.TableInfo]) -> Iterator[Listed]:
    def describe(info: lakehouse.TableInfo) -> Listed:
        try:
            detail = lake.table(info.name).detail()
        except lakehouse.LakehouseError as error:
            return dataclasses.replace(_listed(info), error=str(error))
        return dataclasses.replace(
            _listed(info),
            version=detail.version,
            rows=detail.rows,
            files=detail.files,
            bytes=detail.bytes,
            modified=detail.modified,
        )

    with progress("opening tables", BarColumn(), MofNCompleteColumn()) as bar:
        with ThreadPoolExecutor(max_workers=8) as pool:
            yield from bar.track(pool.map(describe, known), total=len(known))


def _listed(info: lakehouse.TableInfo) -> Listed:
    return Listed(info.name, "table", info.layer, info.uri, info.managed, info.description)


def _ls_table(rows: Sequence[Listed], *, details: bool) -> Any:
    figures = ("rows", "files", "size", "version")
    heads = ["table", *((*figures, "modified") if details else ())]
    if any(row.description or row.error or row.kind == "view" for row in rows):
        heads.append("about")
    table = grid(*heads, right=figures)
    for row in rows:
        told = " ".join(filter(None, ("view" if row.kind == "view" else "", row.description)))
        about = Text(visible(told), style="dim")
        cells: list[Any] = [row.name]
        if row.error is not None:
            about = Text(visible(row.error), style="red")
            cells += [""] * 5
        elif details and row.kind == "view":
            cells += [""] * 5
        elif details:
            cells += [number(row.rows), number(row.files), size(row.bytes)]
            cells += [str(row.version), moment(row.modified)]
        table.add_row(*[*cells, about][: len(heads)])
    return table


def _remarks(rows: Sequence[Listed], *, details: bool) -> None:
    broken = sum(row.error is not None for row in rows)
    if broken:
        say(f"{broken} of {len(rows)} tables cannot be opened; see lakehouse doctor.", style="red")
    if not details:
        say(f"{len(rows)} tables; --details opens each for rows, files and size.", style="dim")


def _facts(detail: lakehouse.TableDetail) -> Any:
    facts = grid("", "")
    facts.show_header = False
    pairs = {
        "table": detail.name,
        "about": detail.description,
        "at": detail.uri,
        "version": f"{detail.version}, {moment(detail.modified)}",
        "rows": number(detail.rows),
        "files": f"{number(detail.files)}, {size(detail.bytes)}",
        "partitioned by": ", ".join(detail.partition_by),
        "properties": ", ".join(f"{k}={v}" for k, v in sorted(detail.properties.items())),
        "protocol": f"reader {detail.min_reader}, writer {detail.min_writer}"
        + (f": {', '.join(detail.features)}" if detail.features else ""),
    }
    for name, value in pairs.items():
        if value:
            facts.add_row(Text(name, style="dim"), visible(value))
    return facts


def _comment(field: Any) -> str | None:
    value = (field.metadata or {}).get(b"comment")
    return None if value is None else visible(value.decode(errors="replace"))
