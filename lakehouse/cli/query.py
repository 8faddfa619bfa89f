"""Commands that run SQL: sql, explain."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group
from rich.text import Text
from rich.tree import Tree

import lakehouse
from catalog.errors import InputError
from lakehouse.cli import result
from lakehouse.cli.options import JsonOption, LakeOption, open_lake
from lakehouse.cli.output import emit, number, read_text, say, size, stdout, visible
from lakehouse.duck.errors import translated

_BAR = 24

QueryArgument = Annotated[
    str,
    typer.Argument(metavar="QUERY", help="SQL; - reads it from standard input, @FILE from a file."),
]


def sql(
    query: QueryArgument,
    *,
    format_: Annotated[
        result.Format | None,
        typer.Option(
            "--format",
            "-f",
            help="json is one object a line. Default: by the suffix of --output, else table.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write to this file.", show_default=False),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=0,
            help=f"At most so many rows (default: {result.SHOWN} for a table, else all).",
            show_default=False,
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", "-a", help="Show all rows.")] = False,
    explain_: Annotated[
        bool, typer.Option("--explain", help="Show which files it reads, instead.")
    ] = False,
    lake: LakeOption = None,
    json: JsonOption = False,
) -> None:
    """Run SQL over the lake's tables; AT (VERSION => 3) after a table's name goes back in time."""
    if explain_:
        explain(query, lake=lake, json=json)
        return
    if every and limit is not None:
        raise InputError("--all and --limit exclude each other", next_step="Pass one of them")
    chosen = result.chosen_format(format_, output, as_json=json)
    text = read_query(query)
    with open_lake(lake) as opened, translated("run the query"):
        rows = opened.sql(text)
        if chosen == "table" and output is None:
            shown = None if every else result.SHOWN if limit is None else limit
            result.show(rows, limit=shown)
        else:
            result.write(rows if limit is None else rows.limit(limit), chosen, output)


def explain(
    query: QueryArgument,
    *,
    plan: Annotated[bool, typer.Option("--plan", help="Show DuckDB's plan as well.")] = False,
    lake: LakeOption = None,
    json: JsonOption = False,
) -> None:
    """Show which files a query reads of each table and which it skips, and why."""
    text = read_query(query)
    with open_lake(lake) as opened:
        explained = opened.explain(text)
    if json:
        emit(explained.to_dict())
        return
    out = stdout()
    for table in explained.tables:
        out.print(_tree(table))
    if not explained.tables:
        say("The query reads no table of the lake.")
    if plan:
        out.print(explained.plan)


def read_query(query: str) -> str:
    """Return the SQL that an argument means."""
    if query == "-":
        text = sys.stdin.read()
    elif query.startswith("@"):
        text = read_text(query[1:])
    else:
        text = query
    if not text.strip():
        raise InputError("the query is empty", next_step="Pass SQL, - or @FILE")
    return text


def _tree(table: lakehouse.TableScan) -> Tree:
    tree = Tree(Text.assemble((table.name, "bold"), f"  version {table.version}"))
    files = f"{number(table.files_kept)} of {number(table.files_total)} files"
    sizes = f"{size(table.bytes_kept)} of {size(table.bytes_total)}"
    skipped = number(table.files_total - table.files_kept)
    tree.add(Text.assemble("files    ", _bar(table.files_kept, table.files_total), f"  {files}"))
    tree.add(Text.assemble("bytes    ", _bar(table.bytes_kept, table.bytes_total), f"  {sizes}"))
    if table.rows_total is not None and table.rows_kept is not None:
        counts = f"{number(table.rows_kept)} of {number(table.rows_total)} rows"
        tree.add(Text.assemble("rows     ", _bar(table.rows_kept, table.rows_total), f"  {counts}"))
    if table.columns:
        tree.add(Text(f"columns  {visible(', '.join(table.columns))}"))
    if table.filters:
        tree.add(Text(f"filters  {visible(' AND '.join(table.filters))}"))
    if table.answered_from_log:
        tree.add(Text("answered from the log: no file is read"))
    elif table.predicate:
        why = Group(
            Text(f"skipped  {skipped} files, where this cannot hold:"),
            Text(f"         {visible(table.predicate)}", style="dim"),
        )
        tree.add(why)
    elif table.files_total:
        tree.add(Text("skipped  none: no filter that the files' statistics can answer"))
    return tree


def _bar(kept: int, total: int) -> Text:
    """Draw the kept part in colour; anything kept shows."""
    filled = 0 if not total else max(round(_BAR * kept / total), 1 if kept else 0)
    return Text.assemble(("█" * filled, "green"), ("░" * (_BAR - filled), "dim"))
