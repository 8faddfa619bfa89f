"""Know which data files have exactly a table's columns: what their footers say, once a file.

Read with a schema, files may lack columns or have them in other types, and DuckDB plans without a
look at them: version 2 takes them for one row, and orders joins accordingly. Where all of a query's
files are known to have the table's columns, by name and type, they are read as they are.

DuckDB says so. A footer begins with the file's schema: where it begins with the same bytes as that
of a file that fits, there is nothing to ask.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence

from lakehouse.duck.engine import VERSION, Connection, Engine
from lakehouse.duck.errors import DuckError, Interruption
from lakehouse.duck.sql import escaped, literals
from lakehouse.scan.beginnings import beginning, begins_with
from lakehouse.scan.report import Kept, TableRef
from lakehouse.scan.views import TableView

MANY_ROWS = 100_000  # with fewer, any plan is as good
MOST_FILES = 4_096  # of a table, looked at for one query
_MOST_REMOTE = 512  # and in object storage: those that are fetched ahead
_REMEMBERED = 200_000
_BEGINNINGS = 8  # of footers of different writers, a table's columns
_MOST_OPENED = 100  # files that are quicker opened one by one than asked about
# Columns that DuckDB adds to a file's own of other names.
_ADDED = frozenset({"file_index", "file_row_number", "filename", "rowid"})

Node = tuple[str, int, str, bool]  # its name, how many children it has, its type, is it repeated
Stored = tuple[tuple[str, str], ...]


def columns(nodes: Sequence[Node]) -> tuple[tuple[Node, ...], ...]:
    """Return a file's columns, each with all that is in it, from the nodes of its schema.

    These stand in depth-first order after their root.

    >>> columns(
    ...     [
    ...         ("root", 2, "", False),
    ...         ("s", 1, "", False),
    ...         ("x", 0, "INTEGER", False),
    ...         ("a", 0, "DATE", False),
    ...     ]
    ... )
    ((('s', 1, '', False), ('x', 0, 'INTEGER', False)), (('a', 0, 'DATE', False),))
    """
    found, start = [], 1
    while start < len(nodes):
        end, open_ = start, 1
        while open_ and end < len(nodes):
            open_ += nodes[end][1] - 1
            end += 1
        found.append(tuple(nodes[start:end]))
        start = end
    return tuple(found)


def fits(wanted: Sequence[Node], found: Sequence[Node]) -> bool:
    """Tell whether a file has all columns of another, and none that could be taken for one.

    It may have more columns, and all of them in another order.

    >>> one, other = ("root", 1, "", False), ("root", 2, "", False)
    >>> a, b = ("a", 0, "INTEGER", False), ("b", 0, "DATE", False)
    >>> fits([one, a], [other, b, a]), fits([one, a], [one, b])
    (True, False)
    """
    named: dict[str, list[tuple[Node, ...]]] = {}
    for column in columns(found):
        named.setdefault(column[0][0].lower(), []).append(column)
    return _ADDED.isdisjoint(named) and all(
        named.get(column[0][0].lower()) == [column] for column in columns(wanted)
    )


def worthwhile(kept: Sequence[Kept], *, joined: bool) -> tuple[bool, ...]:
    """Tell for each of a query's tables whether to look at its files.

    It is for the order of joins, and for a single file's statistics.
    """
    counts = [MANY_ROWS if one.rows is None and one.files else one.rows or 0 for one in kept]
    ordered = joined and VERSION >= (2, 0) and max(counts, default=0) >= MANY_ROWS
    return tuple(
        0 < one.files <= MOST_FILES and (ordered or (one.files == 1 and count >= MANY_ROWS))
        for one, count in zip(kept, counts, strict=True)
    )


class Footers:
    """Remember, for one engine, which files have a table's columns; safe between threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._known: dict[Stored, dict[str, bool]] = {}
        self._wanted: dict[Stored, Sequence[Node]] = {}
        self._beginnings: dict[Stored, tuple[bytes, ...]] = {}

    def plain(
        self,
        cursor: Connection,
        refs: Sequence[TableRef],
        views: Sequence[TableView],
        kept: Sequence[Kept],
        *,
        joined: bool,
    ) -> tuple[bool, ...]:
        """Tell for each of a query's tables, all bound, whether its plain view gives its rows."""
        return tuple(
            asked
            and bool(view.plain)
            and (ref.snapshot.storage.is_local or one.files <= _MOST_REMOTE)
            and self._fit(view.stored, _files(cursor, view, one))
            for asked, ref, view, one in zip(
                worthwhile(kept, joined=joined), refs, views, kept, strict=True
            )
        )

    def fit(self, view: TableView, kept: Kept) -> bool:
        """Tell whether the plain view of files, known by their names, gives a table's rows."""
        return bool(view.plain and kept.patterns) and self._fit(view.stored, kept.patterns or ())

    def _fit(self, stored: Stored, urls: Sequence[str]) -> bool:
        with self._lock:
            remembered = self._known.get(stored, {})
            known = [remembered.get(url) for url in urls]
        if False in known:
            return False
        new = [url for url, fit in zip(urls, known, strict=True) if fit is None]
        if not new:
            return True
        found = self._alike(stored, new)
        if others := [url for url in new if url not in found]:
            try:
                looked = self._look(stored, others)
            except Interruption:
                raise
            except DuckError:
                return False  # reading them says what is wrong with them
            self._learn(stored, [url for url in others if looked.get(url)])
            found |= looked
        with self._lock:
            if sum(map(len, self._known.values())) + len(found) > _REMEMBERED:
                self._known.clear()
            self._known.setdefault(stored, {}).update(found)
        return all(found.get(url, False) for url in new)

    def _alike(self, stored: Stored, urls: Sequence[str]) -> dict[str, bool]:
        """Return those files whose footers begin like that of one that fits."""
        known = self._beginnings.get(stored, ())
        if not known or len(urls) > _MOST_OPENED:
            return {}
        return {url: True for url in urls if begins_with(url, known)}

    def _learn(self, stored: Stored, fitting: Sequence[str]) -> None:
        known = self._beginnings.get(stored, ())
        if fitting and len(known) < _BEGINNINGS:
            new = beginning(fitting[0])
            if new is not None and new not in known:
                self._beginnings[stored] = (*known, new)

    def _look(self, stored: Stored, urls: Iterable[str]) -> Mapping[str, bool]:
        """Return whether files fit, by their URLs."""
        # A connection of its own: what fails in a transaction ends it. The query has not begun.
        with self._engine.cursor(counted=False) as cursor:
            if stored not in self._wanted:
                ((nodes, _),) = _schemas(cursor, [escaped(self._engine.no_rows(stored))])
                self._wanted[stored] = nodes
            wanted = self._wanted[stored]
            return {
                escaped(file): fits(wanted, nodes)
                for nodes, files in _schemas(cursor, urls)
                for file in files
            }


def _files(cursor: Connection, view: TableView, kept: Kept) -> Sequence[str]:
    if kept.patterns is not None:
        return kept.patterns
    rows = cursor.execute(f"SELECT getvariable('files_{view.key}')").fetchall()
    return list(rows[0][0])


def _schemas(cursor: Connection, urls: Iterable[str]) -> list[tuple[Sequence[Node], Sequence[str]]]:
    """Return the different schemas of files, and which files have each."""
    # DuckDB 1.5 gives no type for what has children.
    rows = cursor.execute(
        "SELECT nodes, list(file_name) FROM (SELECT file_name, list({"
        "'name': name, 'children': coalesce(num_children, 0), "
        "'type': coalesce(duckdb_type, converted_type, ''), "
        "'repeated': coalesce(repetition_type = 'REPEATED', false)} ORDER BY column_id) AS nodes "
        f"FROM parquet_schema({literals(urls)}) GROUP BY file_name) GROUP BY nodes"
    ).fetchall()
    return [
        ([(n["name"], n["children"], n["type"], n["repeated"]) for n in nodes], files)
        for nodes, files in rows
    ]
