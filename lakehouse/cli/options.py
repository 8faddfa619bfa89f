"""The arguments and options that several commands share, with their completion."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

import lakehouse
from catalog.catalog import Catalog
from catalog.changes import FOLDER
from catalog.errors import InputError, LakehouseError
from catalog.storage import open_storage
from lakehouse.cli.interrupt import on_interrupt

ENVIRONMENT = "LAKEHOUSE_URI"
DEFAULT = "./lake"


def complete_tables(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the tables whose names start like this, of the lake that the command names."""
    try:
        names = [entry.name for entry in _catalog(ctx).tables()]
    except (LakehouseError, OSError):
        return []  # completion has nowhere to say what is wrong
    return [name for name in names if name.startswith(incomplete)]


def complete_layers(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the layers whose names start like this."""
    try:
        names = _catalog(ctx).layers()
    except (LakehouseError, OSError):
        return []
    return [name for name in names if name.startswith(incomplete)]


LakeOption = Annotated[
    str | None,
    typer.Option(
        "--lake",
        "-l",
        envvar=ENVIRONMENT,
        help=f"Folder or URI of the lake; {DEFAULT} if there is one.",
        show_default=False,
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Write JSON to standard output, errors too (to stderr).")
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
TableArgument = Annotated[
    str,
    typer.Argument(
        metavar="TABLE",
        help="Name of the table, such as silver.flights.",
        autocompletion=complete_tables,
        show_default=False,
    ),
]
PartitionOption = Annotated[
    list[str] | None,
    typer.Option(
        "--partition-by",
        metavar="COLUMN",
        help="Partition a new table by this column; repeat it, or separate names by commas.",
        show_default=False,
    ),
]


def locate(lake: str | None) -> str:
    """Return the lake that a command means: the option, the environment, or ``./lake``."""
    if lake:
        return lake
    if (Path(DEFAULT) / FOLDER).is_dir():
        return DEFAULT
    raise InputError(
        "no lake is named",
        next_step=f"Pass --lake PATH, set {ENVIRONMENT}, or create {DEFAULT} with lakehouse init",
    )


def open_lake(lake: str | None) -> lakehouse.Lake:
    """Open the lake that a command means; NotFoundError if there is none."""
    opened = lakehouse.connect(locate(lake), create=False, progress=sys.stderr.isatty())
    on_interrupt(opened.interrupt)
    return opened


def names(values: Sequence[str] | None) -> tuple[str, ...]:
    """Return column names that were repeated or separated by commas.

    >>> names(["year, month", "carrier"])
    ('year', 'month', 'carrier')
    """
    parts = (part.strip() for value in values or () for part in value.split(","))
    return tuple(part for part in parts if part)


def pairs(values: Sequence[str] | None, *, option: str) -> dict[str, str]:
    """Return ``name=value`` texts as a mapping; InputError for one without ``=``.

    >>> pairs(["delim=;", "nullstr="], option="--option")
    {'delim': ';', 'nullstr': ''}
    """
    found = {}
    for text in values or ():
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise InputError(f"{option} {text!r} is no name=value", next_step="Write name=value")
        found[name.strip()] = value
    return found


def _catalog(ctx: typer.Context) -> Catalog:
    lake = ctx.params.get("lake") or os.environ.get(ENVIRONMENT)
    return Catalog.open(open_storage(locate(lake)), create=False, probe="never")
