"""Tell what dead writers left behind from what a table needs: a pure rule over a listing.

Only what is recognised is ever a leftover: Parquet files, deletion vector files and temporary
files, under names that Delta writers use, old enough, and named by no version in the log.
Source: Delta protocol, "Data Files", "Deletion Vector Files", "Change Data Files".
"""

from __future__ import annotations

import dataclasses
import posixpath
import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime, timedelta
from urllib.parse import unquote

from catalog.errors import UnsupportedError
from catalog.storage import StoredObject
from lakehouse.delta import actions as act
from lakehouse.delta.deletion_vector import relative_path
from lakehouse.delta.log import LOG

CHANGES = "_change_data"
_OURS = re.compile(r"\.tmp-[0-9a-f]{32}")
# Hadoop's and delta-rs' ways to write a log entry before it gets its name.
_IN_LOG = re.compile(r"\..+\.tmp|_commit_[0-9a-f-]{36}\.json\.tmp")
_VECTOR = re.compile(r"deletion_vector_[0-9a-f-]{36}\.bin")
_OUTSIDE = re.compile(r"[/\\]|[A-Za-z][A-Za-z0-9+.-]*:")
# A folder with one of these in it is a table or a lake of its own.
_ROOTS = (LOG, "_catalog")


@dataclasses.dataclass(frozen=True, slots=True)
class Leftover:
    """Describe a file that no version needs: size in bytes, age by the storage's clock."""

    path: str
    size: int
    age: timedelta
    why: str


def leftovers(
    objects: Iterable[StoredObject],
    named: Collection[str],
    *,
    now: datetime,
    older_than: timedelta,
) -> tuple[Leftover, ...]:
    """Choose the leftovers among all files of a table's folder.

    ``named`` are the paths that the log names, as `named_by` gives them; ``now`` is the storage's
    time. Files that are younger than ``older_than`` may belong to a writer that is still at work.
    Tables inside of the folder are left alone, and so is every hidden folder.
    """
    found = tuple(objects)
    inner = {
        "/".join(parts[:depth])
        for parts in (item.path.split("/") for item in found)
        for depth in range(1, len(parts) - 1)
        if parts[depth] in _ROOTS
    }
    return tuple(
        Leftover(item.path, item.size, now - item.modified, why)
        for item in found
        if item.modified < now - older_than
        and (why := _why(item.path)) is not None
        and fold(item.path) not in named
        and not any(folder in inner for folder in _folders(item.path))
    )


def named_by(actions: Iterable[act.Action]) -> Iterator[str]:
    """Yield the paths of all files that actions name, as `leftovers` compares them.

    Raises UnsupportedError for a file outside of the table's folder: then paths cannot be told.
    """
    for action in actions:
        match action:
            case act.AddFile() | act.RemoveFile():
                yield from _both(action.path)
                if action.deletion_vector is not None:
                    yield from named_by_vector(action.deletion_vector)
            case act.OtherAction("cdc", values):
                yield from _both(str(values.get("path", "")))
            case _:
                pass


def named_by_vector(vector: act.DeletionVector) -> Iterator[str]:
    """Yield the path of a deletion vector's file, if it has one of its own."""
    if vector.storage_type == "u":
        yield fold(relative_path(vector))
    elif vector.storage_type != "i":
        raise _outside(vector.path_or_inline)


def fold(path: str) -> str:
    """Return a path in the form in which all ways to write it are the same.

    File systems that ignore case or compose letters give names back differently.

    >>> fold("Day=1//a.parquet")
    'day=1/a.parquet'
    """
    plain = posixpath.normpath(path)
    return (plain if plain.isascii() else unicodedata.normalize("NFC", plain)).casefold()


def _both(path: str) -> Iterator[str]:
    # Encoded too: some writers have stored files under the encoded name.
    for name in (path, unquote(path)):
        if _OUTSIDE.match(name):
            raise _outside(name)
        yield fold(name)


def _outside(path: str) -> UnsupportedError:
    return UnsupportedError(
        f"cannot tell leftovers in this table: its log names {path!r} by an absolute path",
        next_step="Clean it up with the engine that wrote it",
    )


def _folders(path: str) -> Iterator[str]:
    while path := posixpath.dirname(path):
        yield path


def _why(path: str) -> str | None:
    *folders, name = path.split("/")
    if folders[:1] == [LOG]:
        is_temporary = _OURS.fullmatch(name) or _IN_LOG.fullmatch(name)
        return "temporary file in the log" if len(folders) == 1 and is_temporary else None
    is_change = folders[:1] == [CHANGES]
    if any(folder.startswith(("_", ".")) for folder in folders[is_change:]):
        return None
    if _OURS.fullmatch(name):
        return "temporary file"
    if name.startswith(("_", ".")):
        return None
    if name.endswith(".parquet"):
        kind = "change data file" if is_change else "data file"
        return f"{kind} that no version names"
    if _VECTOR.fullmatch(name) and not is_change:
        return "deletion vector file that no version names"
    return None
