"""Commands that run SQL: sql, explain."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Annotated

import typer

from catalog.errors import InputError
from lakehouse.cli import explained, result, shell, waiting
from lakehouse.cli.options import JsonOption, LakeOption, open_lake
from lakehouse.cli.output import emit, is_interactive, read_text
from lakehouse.cli.shell import commands
from lakehouse.cli.shell.session import Look, Session

QueryArgument = Annotated[
    str,
    typer.Argument(metavar="QUERY", help="SQL; - reads it from standard input, @FILE from a file."),
]


def sql(
    query: Annotated[
        str | None,
        typer.Argument(
            metavar="QUERY",
            help="SQL; - reads it from standard input, @FILE from a file. Without: the shell.",
            show_default=False,
        ),
    ] = None,
    *,
    format_: Annotated[
        result.Format | None,
        typer.Option(
            "--format",
            "-f",
            metavar="FORMAT",
            help="table, csv, json (one object a line), parquet or chart. Default: by the suffix "
            "of --output, else table.",
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
    """Run SQL over the lake's tables; AT (VERSION => 3) after a table's name goes back in time.

    Without QUERY, on a terminal, this is a shell: it completes names with Tab, keeps a history,
    and lists its commands with .help. Statements that are piped in, or are several, run in order
    up to the first that fails.
    """
    if explain_:
        explain(query or "-", lake=lake, json=json)
        return
    if every and limit is not None:
        raise InputError("--all and --limit exclude each other", next_step="Pass one of them")
    form = result.chosen_format(format_, output, as_json=json)
    is_shell = query is None and is_interactive()
    shown = None if every else result.SHOWN if limit is None else limit
    look = Look(form=form, output=output, shown=shown, limit=None if form == "table" else limit)
    if is_shell:
        if not sys.stdout.isatty():
            raise InputError(
                "the shell needs a terminal for its output", next_step="Pass SQL, - or @FILE"
            )
        look = dataclasses.replace(look, texts=shown, timer=True, hint="use .limit")
        with open_lake(lake) as opened:
            shell.prompt.interact(Session(opened, look))
        return
    text = read_query(query or "-")
    with open_lake(lake) as opened:
        commands.script(Session(opened, look), text)


def explain(
    query: QueryArgument,
    *,
    analyze: Annotated[
        bool, typer.Option("--analyze", help="Run it as well, for its rows and its time.")
    ] = False,
    plan: Annotated[bool, typer.Option("--plan", help="Show DuckDB's plan as well.")] = False,
    lake: LakeOption = None,
    json: JsonOption = False,
) -> None:
    """Show which files a query reads of each table and which it skips, and why.

    Where another layout of a table would save much, it says so.
    """
    text = read_query(query)
    with open_lake(lake) as opened:
        with waiting.shown(opened.progress, wanted=not json):
            found = opened.explain(text, analyze=analyze)
    if json:
        emit(found.to_dict())
        return
    explained.show(found, plan=plan)


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
