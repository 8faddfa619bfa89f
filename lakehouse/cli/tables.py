"""Commands that make, name and drop tables: create, register, rename, drop."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated

import typer

import lakehouse
from catalog.errors import InputError, LakehouseError
from lakehouse.cli.files import Source
from lakehouse.cli.options import (
    JsonOption,
    LakeOption,
    PartitionOption,
    TableArgument,
    YesOption,
    names,
    open_lake,
    pairs,
)
from lakehouse.cli.output import confirm, emit, number, say, size

_COLUMN = re.compile(r'\s*(?:"((?:[^"]|"")+)"|(\S+))\s+(\S.*)', re.DOTALL)


def create(
    table: Annotated[str, typer.Argument(metavar="TABLE", help="Such as silver.flights.")],
    *,
    column: Annotated[
        list[str] | None,
        typer.Option(
            "--column",
            "-c",
            metavar="'NAME TYPE'",
            help="A column with its DuckDB type, such as 'id BIGINT NOT NULL'; repeat it.",
            show_default=False,
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="FILE", help="Take the columns of this file, but no rows of it."
        ),
    ] = None,
    partition_by: PartitionOption = None,
    description: Annotated[str | None, typer.Option(help="What the table is for.")] = None,
    properties: Annotated[
        list[str] | None,
        typer.Option(
            "--property", metavar="NAME=VALUE", help="A Delta property.", show_default=False
        ),
    ] = None,
    if_not_exists: Annotated[
        bool, typer.Option("--if-not-exists", help="Accept a table that exists.")
    ] = False,
    lake: LakeOption = None,
    json: JsonOption = False,
) -> None:
    """Create an empty table from columns or from the columns of a file."""
    if (source is None) == (not column):
        raise InputError("which columns?", next_step="Pass either --column (repeated) or --from")
    with open_lake(lake) as opened:
        schema = parse_columns(column or ()) if source is None else Source((source,)).schema(opened)
        created = opened.create_table(
            table,
            schema,
            partition_by=names(partition_by),
            description=description,
            properties=pairs(properties, option="--property"),
            if_not_exists=if_not_exists,
        )
        document = {"table": created.name, "uri": created.uri, "version": created.version}
    if json:
        emit(document)
    else:
        say(f"{document['table']} is at {document['uri']}, version {document['version']}.")


def register(
    table: Annotated[str, typer.Argument(metavar="TABLE", help="Its name, such as silver.old.")],
    uri: Annotated[str, typer.Argument(help="Folder or URI of the Delta table.")],
    *,
    lake: LakeOption = None,
    json: JsonOption = False,
) -> None:
    """Give an existing Delta table a name in the lake; its files stay where they are."""
    with open_lake(lake) as opened:
        found = opened.register_table(table, uri)
        document = {"table": found.name, "uri": found.uri, "version": found.version}
    if json:
        emit(document)
    else:
        say(f"{document['table']} is the table at {document['uri']}.")


def rename(
    table: TableArgument,
    new: Annotated[str, typer.Argument(metavar="NEW", help="Its new name, in any layer.")],
    *,
    lake: LakeOption = None,
    json: JsonOption = False,
) -> None:
    """Give a table another name; its files do not move."""
    with open_lake(lake) as opened:
        old = opened.table(table).name
        renamed = opened.rename_table(old, new).name
    if json:
        emit({"table": renamed, "was": old})
    else:
        say(f"{old} is {renamed} now.")


def drop(
    table: TableArgument,
    *,
    cascade: Annotated[
        bool, typer.Option("--cascade", help="Drop the views that read it, too.")
    ] = False,
    purge: Annotated[
        bool, typer.Option("--purge", help="Delete the files too. This cannot be undone.")
    ] = False,
    yes: YesOption = False,
    lake: LakeOption = None,
    json: JsonOption = False,
) -> None:
    """Take a table out of the lake. Its files stay, and register brings it back."""
    with open_lake(lake) as opened:
        found = opened.table(table)
        if not json:
            say(_plan(found, purge=purge))
        question = f"Drop {found.name}" + (" and delete its files?" if purge else "?")
        confirm(question, yes=yes, as_json=json)
        report = opened.drop_table(found.name, purge=purge, cascade=cascade)
    if json:
        emit(report)
    elif purge:
        say(f"Dropped {report.name}; {number(report.files_deleted)} files deleted.")
    else:
        say(f"Dropped {report.name}. To undo: lakehouse register {report.name} {report.uri}")
    if report.views and not json:
        say(f"Dropped with it: {', '.join(report.views)}.")


def parse_columns(texts: Sequence[str]) -> dict[str, str]:
    """Return names and types from ``name TYPE`` texts; a name with spaces stands in quotes.

    >>> parse_columns(["id BIGINT NOT NULL", '"tail number" VARCHAR'])
    {'id': 'BIGINT NOT NULL', 'tail number': 'VARCHAR'}
    """
    columns: dict[str, str] = {}
    for text in texts:
        match = _COLUMN.fullmatch(text)
        if match is None:
            raise InputError(
                f"--column {text!r} is no name and type", next_step="Write 'id BIGINT NOT NULL'"
            )
        name = match[2] or match[1].replace('""', '"')
        if name in columns:
            raise InputError(f"column {name!r} is named twice", next_step="Leave one out")
        columns[name] = match[3].strip()
    return columns


def _plan(table: lakehouse.Table, *, purge: bool) -> str:
    fate = "its files will be deleted" if purge else "its files stay"
    try:
        detail = table.detail()
    except LakehouseError:  # what cannot be opened can still be dropped
        return f"{table.name} at {table.uri} cannot be opened; {fate}."
    return (
        f"{table.name} at {table.uri}: {number(detail.rows)} rows in {number(detail.files)} files, "
        f"{size(detail.bytes)}; {fate}."
    )
