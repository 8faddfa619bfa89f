"""What a query reads of a table, for people."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

from lakehouse.delta.snapshot import Snapshot
from lakehouse.duck.engine import Engine
from lakehouse.scan.join_keys import Keys
from lakehouse.scan.may import EVERY, May
from lakehouse.scan.plan import Reach

_INDEX_COLUMN = re.compile(r"'(?:[^']|'')*'|\b(?P<kind>min|max|nulls|nan|p)(?P<number>\d+)\b")


@dataclasses.dataclass(frozen=True, slots=True)
class TableRef:
    """Name a snapshot in SQL: ``schema.name``, and how reports call it.

    ``numbered`` gives the view two more columns: `file_column`, the number of a row's file among
    those that are read, and `row_column`, that of the row in its file.
    """

    schema: str
    name: str
    shown: str
    snapshot: Snapshot
    numbered: bool = False

    @property
    def place(self) -> tuple[str, str]:
        """Return schema and name as DuckDB tells names apart."""
        return self.schema.lower(), self.name.lower()


@dataclasses.dataclass(frozen=True, slots=True)
class QueryRef:
    """Name a query in SQL: ``schema.name``, as a view that others may read."""

    schema: str
    name: str
    sql: str

    @property
    def place(self) -> tuple[str, str]:
        """Return schema and name as DuckDB tells names apart."""
        return self.schema.lower(), self.name.lower()

    @property
    def shown(self) -> str:
        """Return what reports and errors call it."""
        return f"{self.schema}.{self.name}"


@dataclasses.dataclass(frozen=True, slots=True)
class JoinKeys:
    """Report that the other side of a join, or a subquery, decided which files are read.

    ``column`` is the table's. ``low`` and ``high`` bound the keys, as SQL; ``values`` is how many
    different ones there are, or None where only the bounds are known.
    """

    column: str
    low: str | None
    high: str | None
    values: int | None


@dataclasses.dataclass(frozen=True, slots=True)
class NotPruned:
    """Report a filter that skips no file: why, and what may be done about it (or None)."""

    filter: str
    why: str
    hint: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class TableScan:
    """Report what a query reads of one table.

    ``predicate`` is what was asked of the file index; None where every file may match.
    ``columns`` are those that are read. Sizes are in bytes. Rows are None where statistics lack.
    ``answered_from_log`` says that statistics answer the query, so that no file is read;
    ``rows_kept`` are then those that the answer is about. ``join_keys`` are those of joins that
    decided which files are read; ``order`` says so of an ORDER BY with a LIMIT (``the first 10 by
    ts DESC``). ``not_pruned`` are filters that skip no file.
    """

    name: str
    version: int
    files_total: int
    files_kept: int
    bytes_total: int
    bytes_kept: int
    rows_total: int | None
    rows_kept: int | None
    predicate: str | None
    filters: tuple[str, ...]
    columns: tuple[str, ...]
    answered_from_log: bool = False
    join_keys: tuple[JoinKeys, ...] = ()
    order: str | None = None
    not_pruned: tuple[NotPruned, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Kept:
    """Count what is left after pruning; sizes are in bytes.

    ``ahead`` are the first files and their sizes, where fetching them early saves time. ``from_log``
    says that the log answers the query. ``join_keys`` and ``order`` are those of `TableScan`.
    ``patterns`` are the files, as a reader takes them, where it is known without asking. ``sample``
    are some of them, where they are many, small, and on local disk.
    """

    files: int
    bytes: int
    rows: int | None
    ahead: tuple[tuple[str, int], ...] = ()
    from_log: bool = False
    join_keys: tuple[JoinKeys, ...] = ()
    order: str | None = None
    patterns: tuple[str, ...] | None = None
    sample: tuple[str, ...] = ()


def report(
    ref: TableRef,
    where: May,
    scans: Sequence[Reach],
    kept: Kept,
    unpruned: Sequence[NotPruned],
    engine: Engine,
) -> TableScan:
    """Return the report of one table's scans."""
    files = ref.snapshot.files
    fields = files.layout.schema.fields
    read = sorted({number for scan in scans for number in scan.columns})
    return TableScan(
        name=ref.shown,
        version=ref.snapshot.version,
        files_total=len(files),
        files_kept=kept.files,
        bytes_total=files.bytes,
        bytes_kept=kept.bytes,
        rows_total=files.rows(engine),
        rows_kept=kept.rows,
        predicate=None if where == EVERY else _readable(where.exact, ref),
        filters=tuple(dict.fromkeys(_named(f, ref) for scan in scans for f in scan.filters)),
        columns=tuple(fields[number].name for number in read)
        or (() if kept.from_log else tuple(f.name for f in fields)),
        answered_from_log=kept.from_log,
        join_keys=kept.join_keys,
        order=kept.order,
        not_pruned=()
        if kept.from_log
        else tuple(dataclasses.replace(one, filter=_named(one.filter, ref)) for one in unpruned),
    )


def join_keys(keys: Sequence[Keys], ref: TableRef) -> tuple[JoinKeys, ...]:
    """Return keys of joins for people: one a column."""
    fields = ref.snapshot.schema.fields
    found: dict[str, JoinKeys] = {}
    for one in keys:
        name = fields[one.column].name
        known = found.get(name, JoinKeys(name, None, None, None))
        few = None if one.values is None else len(one.values)
        found[name] = JoinKeys(
            name, one.low or known.low, one.high or known.high, few or known.values
        )
    return tuple(found.values())


def _named(text: str, ref: TableRef) -> str:
    fields = ref.snapshot.schema.fields
    return re.sub(r"\bc(\d+)_[0-9a-f]{20}\b", lambda match: fields[int(match[1])].name, text)


def _readable(where: str, ref: TableRef) -> str:
    layout = ref.snapshot.files.layout
    leaves = {str(leaf.ordinal): ".".join(f.name for f in leaf.path) for leaf in layout.leaves}

    def named(match: re.Match[str]) -> str:
        kind, number = match["kind"], match["number"]
        if kind is None:
            return match[0]  # a string constant may look like a column of the index
        if kind == "p":
            return layout.partition_columns[int(number)]
        return f"{kind}({leaves[number]})"

    return _INDEX_COLUMN.sub(named, where)
