"""Turn DuckDB's errors into the lakehouse's."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import duckdb

from catalog.errors import CorruptionError, InputError, LakehouseError, StorageError
from catalog.storage.marked import original
from lakehouse.duck import signals

DuckError = duckdb.Error
ParserError = duckdb.ParserException
Interruption = duckdb.InterruptException
OutOfMemoryError = duckdb.OutOfMemoryException
# A name in SQL that is no table, schema or column.
NameErrors = (duckdb.CatalogException, duckdb.BinderException)
# Columns and databases of ours, which DuckDB proposes in place of a misspelt name.
_OURS = re.compile(r'(?:, )?"lakehouse [a-z ]+"|\blakehouse_temporary\.(?:main\.)?')
_NOTHING = re.compile(r"\s*Candidate bindings:[\s:]*$")
_CTRL_C = "Query interrupted"
_DISK = (
    "no space left",
    "file too large",
    "permission denied",
    "read-only file system",
    "too many open files",
)


@contextlib.contextmanager
def translated(doing: str, *, reading: bool = False) -> Iterator[None]:
    """Raise DuckDB's errors as LakehouseError; ``doing`` completes "cannot ...".

    Ctrl-C is a KeyboardInterrupt, which DuckDB may have made a RuntimeError of, or nothing, where
    it came while DuckDB had Python do something, such as to import pandas.

    ``reading`` says that only a file can be at fault: what would be an InputError is a
    CorruptionError then.
    """
    presses = signals.presses()
    try:
        yield
        if signals.presses() > presses:
            raise KeyboardInterrupt
    except duckdb.Error as error:
        if isinstance(error, duckdb.InterruptException) and signals.presses() > presses:
            raise KeyboardInterrupt from error
        found = translate(error, doing)
        if reading and isinstance(found, InputError):
            found = CorruptionError(found.message, next_step="Restore the file from a backup")
        raise found from error
    except RuntimeError as error:
        if str(error) == _CTRL_C:
            raise KeyboardInterrupt from error
        raise


def translate(error: duckdb.Error, doing: str) -> LakehouseError:
    """Return the LakehouseError for a DuckDB error."""
    # What happened below, in our own file system, comes back as text.
    below = original(str(error))
    if below is not None:
        return below.amended(f"cannot {doing}: {below.message}")
    text = _OURS.sub("", str(error).split("\n\nLINE")[0]).replace(": , ", ": ")
    text = _NOTHING.sub("", text).strip()
    if isinstance(error, duckdb.OutOfMemoryException):
        return StorageError(
            f"cannot {doing}: out of memory: {text}",
            next_step="Raise memory_limit, of which DuckDB has what the rest of the process leaves, "
            "or give temp_directory more room",
        )
    if isinstance(error, duckdb.HTTPException):
        return StorageError(
            f"cannot {doing}: {text}",
            next_step="Check the endpoint, the credentials, and whether the file is still there",
            missing="404" in text,
        )
    if isinstance(error, duckdb.IOException):
        lower = text.lower()
        if any(word in lower for word in _DISK):
            step = "Free space, or check the permissions of the folder"
        elif "no files found" in lower or "cannot open file" in lower:
            step = "Check the path; a table's data file that is gone must come from a backup"
        else:
            return CorruptionError(
                f"cannot {doing}: {text}",
                next_step="Check the file that it names; a data file may be truncated or replaced",
            )
        return StorageError(f"cannot {doing}: {text}", next_step=step)
    if isinstance(error, duckdb.InterruptException):
        return InputError(f"cannot {doing}: interrupted")
    if isinstance(error, duckdb.InternalException | duckdb.FatalException):
        return LakehouseError(
            f"cannot {doing}: DuckDB failed inside: {text}",
            next_step="Report this, with the query",
        )
    return InputError(f"cannot {doing}: {text}")
