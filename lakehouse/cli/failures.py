"""Turn errors into exit codes and into words on standard error."""

from __future__ import annotations

import json
from typing import Any

import typer

from catalog.errors import (
    ConflictError,
    CorruptionError,
    InputError,
    LakehouseError,
    NotFoundError,
    OutcomeUnknownError,
    StorageError,
    UnsupportedError,
)
from lakehouse.cli.interrupt import EXIT_CODE

USAGE = 2
PIPE_CLOSED = 141  # 128 + SIGPIPE

# The first class that fits counts, so those inside of others come first.
CODES: tuple[tuple[type[LakehouseError], int, str], ...] = (
    (NotFoundError, 3, "no such lake, layer, table, column or version"),
    (InputError, 2, "the command, a name, the SQL or the rows are wrong"),
    (ConflictError, 4, "somebody else's change won: run it again"),
    (OutcomeUnknownError, 4, "it may or may not have happened: look first"),
    (StorageError, 5, "storage refuses or fails: permission, full disk, missing file"),
    (CorruptionError, 6, "the log, the catalog or a file is damaged"),
    (UnsupportedError, 7, "the table needs something that this version does not do"),
    (LakehouseError, 1, "anything else; doctor: something is unhealthy"),
)


def exit_code(error: LakehouseError) -> int:
    """Return the exit code of an error.

    >>> exit_code(NotFoundError("no table silver.flight")), exit_code(InputError("limit is -1"))
    (3, 2)
    """
    return next(code for kind, code, _ in CODES if isinstance(error, kind))


def epilogue() -> str:
    """Return the exit codes as a paragraph for ``--help``."""
    meanings: dict[int, list[str]] = {0: ["all went well"]}
    for _, code, meaning in CODES:
        meanings.setdefault(code, []).append(meaning)
    meanings[EXIT_CODE] = ["interrupted"]
    return "Exit codes: " + ". ".join(f"{c} {'; '.join(meanings[c])}" for c in sorted(meanings))


def report(error: LakehouseError, *, as_json: bool) -> None:
    """Write an error to standard error, as words or as one JSON document."""
    if as_json:
        report_json(type(error).__name__, error.message, error.next_step, near=_near(error))
        return
    typer.secho("Error: ", fg=typer.colors.RED, bold=True, err=True, nl=False)
    typer.echo(_sentence(error.message), err=True)
    if error.next_step:
        typer.secho(f"       {_sentence(error.next_step)}", dim=True, err=True)


def report_json(
    kind: str, message: str, next_step: str | None, *, near: tuple[str, ...] = ()
) -> None:
    """Write ``{"error": {"type", "message", "next_step"}}`` to standard error."""
    error: dict[str, Any] = {"type": kind, "message": message, "next_step": next_step}
    if near:
        error["near"] = list(near)
    typer.echo(json.dumps({"error": error}, ensure_ascii=False), err=True)


def _near(error: LakehouseError) -> tuple[str, ...]:
    return tuple(error.near) if isinstance(error, NotFoundError) else ()


def _sentence(text: str) -> str:
    """Start with a capital, unless the first word is a name or code.

    >>> _sentence("no table silver.flight"), _sentence("bronze.a has no column 'x'")
    ('No table silver.flight', "bronze.a has no column 'x'")
    """
    return text[:1].upper() + text[1:] if text.split(" ", 1)[0].isalpha() else text
