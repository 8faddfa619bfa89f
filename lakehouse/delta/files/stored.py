"""The files of a large checkpoint, left where they are: in Parquet.

What a million files say of themselves is not read to open a table, nor to append to it, and
DuckDB reads of it what a query needs: the checkpoint's typed statistics carry the same names as
the typed index in memory has, and its row groups prune. Statistics that are not typed, or typed
otherwise than the table's schema now says, are read from their JSON.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

from catalog import lazy
from catalog.errors import CorruptionError
from lakehouse.delta.actions import FileKey
from lakehouse.delta.files.adds import VECTOR, VECTOR_TYPE, raw_schema
from lakehouse.delta.files.arrays import texts
from lakehouse.delta.files.layout import Layout, Leaf, bound_type, statistics_shape
from lakehouse.delta.files.typed import bad_partition, columns, counted, from_text, parsed
from lakehouse.delta.schema.fields import Field
from lakehouse.delta.schema.types import to_duckdb
from lakehouse.duck.describe import DuckType, type_of
from lakehouse.duck.engine import Connection, Engine
from lakehouse.duck.sql import identifier, literal, literals

pa: Any = lazy.module("pyarrow")

_IS_ADD = "(add.path IS NOT NULL OR add.size IS NOT NULL)"
_WHOLE = ("BIGINT", "INTEGER", "SMALLINT", "TINYINT", "UBIGINT", "UINTEGER", "HUGEINT")
_NEEDED = {
    "path": ("VARCHAR",), "partitionValues": ("MAP(VARCHAR, VARCHAR)",),
    "size": _WHOLE, "modificationTime": _WHOLE,
}  # fmt: skip
_EXTRA = ("tags", "baseRowId", "defaultRowCommitVersion", "clusteringProvider")
# Seconds a file: what it takes to read the typed index of a checkpoint into memory.
_PRICE = 2e-6

Keys = frozenset[FileKey]


@dataclasses.dataclass(slots=True)
class _Memory:
    """Count the seconds that queries spent on reading, and hold the index once that is worth it."""

    seconds: float = 0.0
    index: tuple[Layout, pa.Table] | None = None
    checked: Layout | None = None


@dataclasses.dataclass(frozen=True)
class StoredFiles:
    """Hold where the add actions of a checkpoint stand.

    ``add`` is the type of their column, ``rows`` an upper bound on their number, ``path`` the
    checkpoint's first file below the table's root.
    """

    path: str
    urls: tuple[str, ...]
    add: DuckType
    rows: int
    engine: Engine = dataclasses.field(repr=False, compare=False)
    _memory: _Memory = dataclasses.field(default_factory=_Memory, repr=False, compare=False)

    @property
    def has_extra(self) -> bool:
        """Tell whether files have tags or other optional fields."""
        return any(map(self._has, _EXTRA))

    @cached_property
    def has_vectors(self) -> bool:
        """Tell whether a file has deleted rows."""
        if not self._has("deletionVector"):
            return False
        query = f"SELECT 1 FROM {self._scan()} WHERE add.deletionVector.storageType IS NOT NULL"
        with self._work() as cursor:
            return bool(cursor.execute(f"{query} LIMIT 1").fetchall())

    def totals(self, layout: Layout, gone: Keys) -> tuple[int, int, int | None]:
        """Return files, bytes and live rows (None where some are unknown)."""
        with self._work() as cursor:
            found = cursor.execute(
                "SELECT count(*), coalesce(sum(size), 0), count(rows), coalesce(sum(rows), 0) - "
                "coalesce(sum(deletion_vector.cardinality), 0) "
                f"FROM {self.source(cursor, layout, gone)}"
            ).fetchall()
        files, size, known, rows = map(int, found[0])
        return files, size, rows if known == files else None

    @contextlib.contextmanager
    def on(self, cursor: Connection, layout: Layout, gone: Keys) -> Iterator[str]:
        """Give SQL for the typed index, less the files ``gone``, for queries on ``cursor``.

        The seconds that queries take are added up; when reading the index into memory would
        have cost no more, that is done.
        """
        if self._memory.seconds > _PRICE * self.rows:
            self._remember(layout)
        self._check_partitions(layout)
        started = time.perf_counter()
        try:
            yield self.source(cursor, layout, gone)
        finally:
            cursor.unregister("gone_files")
            cursor.unregister("stored_index")
            self._memory.seconds += time.perf_counter() - started

    def source(self, cursor: Connection, layout: Layout, gone: Keys) -> str:
        """Return SQL for the typed index, less the files ``gone``; registers what it needs."""
        known = self._memory.index
        inner = f"({self.typed(layout)})"
        if known is not None and known[0] == layout:
            cursor.register("stored_index", known[1])
            inner = "stored_index"
        return _without(cursor, inner, gone)

    def raw(self, gone: Keys, *, files: frozenset[str] | None = None) -> pa.Table:
        """Read rows of RAW, less the files ``gone``; only those of some names, unless None."""
        with self._work() as cursor:
            inner = f"({self.raw_sql()})"
            if files is not None:
                cursor.register("wanted_files", pa.table({"file": texts(sorted(files))}))
                inner = f"(SELECT b.* FROM {inner} AS b SEMI JOIN wanted_files USING (file))"
            query = f"SELECT * FROM {_without(cursor, inner, gone)}"
            table = cursor.sql(query).to_arrow_table()
        try:
            return table.cast(raw_schema())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise CorruptionError(
                f"the checkpoint's add has columns of other types: {error}"
            ) from error

    def raw_sql(self, *more: str) -> str:
        """Return SQL for rows of RAW, and ``more`` columns over the column ``add``."""
        extra = [name for name in _EXTRA if self._has(name)]
        extra_sql = "NULL"
        if extra:
            packed = ", ".join(f"{literal(name)}: {_field(name)}" for name in extra)
            any_set = " OR ".join(f"{_field(name)} IS NOT NULL" for name in extra)
            extra_sql = f"CASE WHEN {any_set} THEN to_json({{{packed}}})::VARCHAR END"
        fields = {
            "path": _field("path"),
            "file": f"url_decode({_field('path')})",
            "partition_values": self._or_null("partitionValues", "MAP(VARCHAR, VARCHAR)"),
            "size": self._or_null("size", "BIGINT"),
            "modification_time": self._or_null("modificationTime", "BIGINT"),
            "stats": self._json(),
            "deletion_vector": self._vector(),
            "extra": extra_sql,
        }
        selected = [*(f"{sql} AS {name}" for name, sql in fields.items()), *more]
        return f"SELECT {', '.join(selected)} FROM {self._scan()} WHERE {_IS_ADD}"

    def typed(self, layout: Layout) -> str:
        """Return SQL for the typed index, with ``position``."""
        fields = {
            "path": _field("path"),
            "file": f"url_decode({_field('path')})",
            "size": self._or_null("size", "BIGINT"),
            "modification_time": self._or_null("modificationTime", "BIGINT"),
            "deletion_vector": self._vector(),
            "rows": counted(self._statistic("numRecords", (), "BIGINT")),
            "position": "((file_index::UBIGINT << 32) + file_row_number::UBIGINT)",
        }
        typed = columns(layout, self._of_leaf, self._partition)
        selected = ", ".join([*(f"{sql} AS {name}" for name, sql in fields.items()), *typed])
        scan = self._scan()
        if "s." in selected:
            # Only where a column of the typed statistics will not do: this parses every file's.
            scan = (
                f"(SELECT add, file_index, file_row_number, "
                f"TRY({parsed(self._json(), layout)}) AS s "
                f"FROM {scan})"
            )
        return f"SELECT {selected} FROM {scan} WHERE {_IS_ADD}"

    def with_statistics(
        self, cursor: Connection, layout: Layout, gone: Keys, *, every: int | None = None
    ) -> str:
        """Return SQL for rows of RAW, less the files ``gone``, with statistics and partitions.

        ``every`` takes one of so many rows. Statistics are a struct ``s``, from JSON if need be.
        """
        wanted = list(_shape_leaves(statistics_shape(layout), ("stats_parsed",)))
        found = [
            (path, type_) for path, type_ in self._parsed.items() if path[0] == wanted[0][0][0]
        ]
        typed = [
            _field("stats_parsed") if found == wanted else f"TRY({parsed(self._json(), layout)})"
        ]
        typed[0] += " AS s"
        typed += [f"{self._partition(f)} AS p{i}" for i, f in enumerate(layout.partitions)]
        rows = self.raw_sql(*typed)
        if every is not None:
            rows += f" AND file_row_number % {every} = 0"
        return f"SELECT * FROM {_without(cursor, f'({rows})', gone)}"

    @cached_property
    def _children(self) -> dict[str, str]:
        return {column.name: column.type.text for column in self.add.children}

    @cached_property
    def _parsed(self) -> dict[tuple[str, ...], str]:
        return dict(_flat(self.add, ()))

    def _has(self, name: str) -> bool:
        return name in self._children

    def _or_null(self, name: str, type_: str) -> str:
        if not self._has(name):
            return f"NULL::{type_}"
        return _field(name) if self._children[name] == type_ else f"{_field(name)}::{type_}"

    def _json(self) -> str:
        stats = self._or_null("stats", "VARCHAR")
        if not self._has("stats_parsed"):
            return stats
        (type_,) = (column.type for column in self.add.children if column.name == "stats_parsed")
        return f"coalesce({stats}, to_json({_iso(_field('stats_parsed'), type_)})::VARCHAR)"

    def _vector(self) -> str:
        if not self._has("deletionVector"):
            return f"NULL::{VECTOR_TYPE}"
        packed = ", ".join(f"'{name}': add.deletionVector.{identifier(name)}" for name in VECTOR)
        return (
            f"CASE WHEN add.deletionVector.storageType IS NOT NULL "
            f"THEN {{{packed}}}::{VECTOR_TYPE} END"
        )

    def _of_leaf(self, kind: str, leaf: Leaf) -> str:
        bounded = kind in ("minValues", "maxValues")
        type_ = bound_type(leaf.type) if bounded else "BIGINT"
        return self._statistic(kind, leaf.physical_path, type_)

    def _statistic(self, kind: str, path: tuple[str, ...], type_: str) -> str:
        where = ("stats_parsed", kind, *path)
        found = self._parsed.get(where)
        if found == type_:
            return _field(*where)
        if found is None and ("stats_parsed", "numRecords") in self._parsed:
            # A column that came later, or is not indexed.
            return f"NULL::{type_}"
        return ".".join(("s", kind, *map(identifier, path)))

    def _partition(self, field: Field) -> str:
        where = ("partitionValues_parsed", field.physical_name)
        if self._parsed.get(where) == to_duckdb(field.type):
            return _field(*where)
        return from_text(_field("partitionValues"))(field)

    def _scan(self) -> str:
        return _scan(self.urls)

    def _work(self) -> contextlib.AbstractContextManager[Connection]:
        return self.engine.work("read the checkpoint's files", reading=True)

    def _remember(self, layout: Layout) -> None:
        known = self._memory.index
        if known is None or known[0] != layout:
            with self._work() as cursor:
                self._memory.index = layout, cursor.sql(self.typed(layout)).to_arrow_table()

    def _check_partitions(self, layout: Layout) -> None:
        """Raise CorruptionError for a partition value that cannot be typed: it would not match."""
        if self._memory.checked == layout:
            return
        for field in layout.partitions:
            text = f"{_field('partitionValues')}[{literal(field.physical_name)}]"
            query = (
                f"SELECT add.path, {text} FROM {self._scan()} WHERE add.path IS NOT NULL "
                f"AND {self._partition(field)} IS NULL AND nullif({text}, '') IS NOT NULL LIMIT 1"
            )
            with self._work() as cursor:
                for path, value in cursor.execute(query).fetchall():
                    raise bad_partition(path, value, field)
        self._memory.checked = layout


def stored_files(
    cursor: Connection, path: str, urls: list[str], engine: Engine
) -> StoredFiles | None:
    """Look at the Parquet files of the checkpoint ``path``; None where they hold no ``add``."""
    relation = cursor.sql(f"SELECT * FROM {_scan(urls)}")
    types = dict(zip(relation.columns, relation.types, strict=True))
    if "add" not in types:
        return None
    if types["add"].id != "struct":
        raise CorruptionError(f"the checkpoint's add is no struct but {types['add']}")
    fields = {name: str(type_) for name, type_ in types["add"].children}
    for name, allowed in _NEEDED.items():
        if name not in fields:
            raise CorruptionError(f"the checkpoint's add has no {name}")
        if fields[name] not in allowed:
            raise CorruptionError(
                f"the checkpoint's add has columns of other types: {name} is {fields[name]}"
            )
    rows = cursor.execute(
        f"SELECT sum(num_rows) FROM parquet_file_metadata({literals(urls)})"
    ).fetchall()
    return StoredFiles(path, tuple(urls), type_of(types["add"]), int(rows[0][0]), engine)


def _scan(urls: Sequence[str]) -> str:
    union = ", union_by_name = true" if len(urls) > 1 else ""
    return f"read_parquet({literals(urls)}{union}, hive_partitioning = false)"


def _field(*names: str) -> str:
    return ".".join(("add", *map(identifier, names)))


def _flat(type_: DuckType, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    if type_.name == "struct":
        for child in type_.children:
            yield from _flat(child.type, (*path, child.name))
    else:
        yield path, type_.text


def _shape_leaves(
    shape: dict[str, Any], path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], str]]:
    for name, inner in shape.items():
        if isinstance(inner, dict):
            yield from _shape_leaves(inner, (*path, name))
        else:
            yield (*path, name), inner


def _iso(sql: str, type_: DuckType) -> str:
    """Return SQL for a struct in which times are text as JSON statistics have it."""
    if type_.name == "struct":
        packed = ", ".join(
            f"{literal(child.name)}: {_iso(f'{sql}.{identifier(child.name)}', child.type)}"
            for child in type_.children
        )
        return f"CASE WHEN {sql} IS NOT NULL THEN {{{packed}}} END"
    if type_.name == "timestamp with time zone":
        return f"strftime({sql} AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%S.%fZ')"
    if type_.name == "timestamp":
        return f"strftime({sql}, '%Y-%m-%dT%H:%M:%S.%f')"
    return sql


def _without(cursor: Connection, inner: str, gone: Keys) -> str:
    if not gone:
        return inner
    files, vectors = zip(*gone, strict=True)
    types = {"file": texts(files), "vector": texts(vectors)}
    cursor.register("gone_files", pa.table(types))
    vector = "b.deletion_vector"
    name = (
        f"coalesce({vector}.storageType || {vector}.pathOrInlineDv || "
        f"CASE WHEN {vector}.\"offset\" IS NULL THEN '' ELSE '@' || {vector}.\"offset\" END, '')"
    )
    return (
        f"(SELECT b.* FROM {inner} AS b ANTI JOIN gone_files AS g "
        f"ON g.file = b.file AND g.vector = {name})"
    )
