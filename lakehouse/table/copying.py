"""Write the rows of some of a table's files anew, here or in another process; nothing is committed.

A `Copy` says what to write. It can be pickled, and holds how the storage is reached: treat it as a
secret. What comes back, a `Copied`, are the actions of the new files, whose content was compared
with that of the old ones: the number of rows, and a checksum that does not depend on their order.
"""

from __future__ import annotations

import dataclasses
import time
import uuid
from collections.abc import Collection, Iterable, Mapping
from typing import Any
from urllib.parse import quote

from catalog.errors import InputError, LakehouseError
from catalog.names import near_misses
from catalog.storage import Storage
from lakehouse.delta import actions as act
from lakehouse.delta.actions import FileKey
from lakehouse.delta.files.adds import raw_table
from lakehouse.delta.files.index import FileIndex
from lakehouse.delta.files.layout import Leaf
from lakehouse.delta.schema.fields import Field, Primitive, Struct
from lakehouse.delta.schema.mapping import mode_of
from lakehouse.delta.snapshot import Snapshot, layout_of
from lakehouse.dml.parts import Opened, opened
from lakehouse.duck.describe import columns_of
from lakehouse.duck.engine import Connection, Engine
from lakehouse.duck.sql import identifier
from lakehouse.scan.read import Scanner
from lakehouse.scan.views import file_column
from lakehouse.table.clustering import Clustering, sort_key
from lakehouse.write.data_files import NewFiles, discard_files, write_part
from lakehouse.write.gate import HIVE_NULL, gate

CLUSTER_ID, CLUSTER_KEY = "lakehouse.clusterId", "lakehouse.clusteredBy"
_FLOATS = (Primitive("float"), Primitive("double"))
_SAMPLED = 20_000
_GROUP_ROWS = 122_880  # DuckDB's own
_FEWEST_GROUP_ROWS = 2048
_GROUPS_A_FILE = 4
_CRUMB, _MOST_HELD = 1 << 20, 256 << 20
# To keep the order of rows from many files costs DuckDB as much again as to read them; rows that
# have met an aggregate's, here a single one, have none.
_UNORDERED = "CROSS JOIN (SELECT DISTINCT range AS one FROM range(1)) AS single"


@dataclasses.dataclass(frozen=True, slots=True)
class Copy:
    """Say which files of one partition to write anew, and how.

    ``files`` are rows of RAW (`lakehouse.delta.files.adds`). Rows are sorted by ``clustering``,
    where there is one. Files are cut at about ``file_bytes``; None makes one. ``tags`` are those of
    the new files.
    """

    storage: Storage = dataclasses.field(repr=False)
    version: int
    protocol: act.Protocol
    metadata: act.Metadata
    files: Any = dataclasses.field(repr=False)
    values: Mapping[str, str | None]
    folder: str
    clustering: Clustering | None = None
    file_bytes: int | None = None
    tags: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def snapshot(self) -> Snapshot:
        """Return the table with these files only."""
        return Snapshot(
            storage=self.storage,
            version=self.version,
            written=None,
            protocol=self.protocol,
            metadata=self.metadata,
            files=FileIndex(self.files, layout_of(self.metadata)),
            transactions={},
            domains={},
            checkpoint_version=None,
        )

    @property
    def keys(self) -> frozenset[FileKey]:
        """Return what identifies the files that are written anew."""
        return frozenset(self.snapshot.files.keys())

    @property
    def old(self) -> tuple[act.AddFile, ...]:
        """Return the actions of the files that are written anew."""
        return tuple(self.snapshot.files.adds())

    def fits(self, snapshot: Snapshot) -> bool:
        """Tell whether what was written can take the old files' place in a snapshot."""
        return (
            snapshot.files.layout == layout_of(self.metadata)
            and mode_of(snapshot.properties) == mode_of(self.metadata.configuration)
            and self.keys <= snapshot.files.only(self.keys).keys()
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Copied:
    """Hold new files, whose rows are verified to be those of the old ones; no commit names them."""

    adds: tuple[act.AddFile, ...]
    rows: int
    checksum: int
    seconds: float

    @property
    def bytes(self) -> int:
        """Return the new files' size."""
        return sum(add.size for add in self.adds)

    def discard(self, storage: Storage) -> None:
        """Delete the files, as far as storage lets us."""
        discard_files(storage, NewFiles(self.adds, self.rows, self.bytes))


def copies_of(
    snapshot: Snapshot,
    paths: Collection[str],
    *,
    clustering: Clustering | None = None,
    file_bytes: int | None = None,
    tags: Mapping[str, str] | None = None,
) -> tuple[Copy, ...]:
    """Return what to write for live files with these paths: a copy a partition.

    Paths that are not live are passed over. Raises NotFoundError or InputError for columns that
    rows cannot be sorted by.
    """
    if clustering is not None:
        clustering = resolved(clustering, snapshot)
    groups: dict[tuple[str | None, ...], list[act.AddFile]] = {}
    names = [field.physical_name for field in snapshot.files.layout.partitions]
    for add in snapshot.files.find(frozenset(paths)).adds():
        values = tuple(add.partition_values.get(name) or None for name in names)
        groups.setdefault(values, []).append(add)
    metadata = dataclasses.replace(
        snapshot.metadata,
        configuration=dict(snapshot.metadata.configuration),
        format=dict(snapshot.metadata.format),
    )
    return tuple(
        Copy(
            storage=snapshot.storage,
            version=snapshot.version,
            protocol=snapshot.protocol,
            metadata=metadata,
            files=raw_table(adds),
            values=dict(zip(names, values, strict=True)),
            folder=_folder(adds[0], names),
            clustering=clustering,
            file_bytes=file_bytes,
            tags=dict(tags or {}),
        )
        for values, adds in groups.items()
    )


def cluster_tags(clustering: Clustering, id: str | None = None) -> Mapping[str, str]:  # noqa: A002
    """Return the tags by which files tell that one sort has written them."""
    return {CLUSTER_ID: id or uuid.uuid4().hex, CLUSTER_KEY: clustering.key}


def resolved(clustering: Clustering, snapshot: Snapshot) -> Clustering:
    """Return a clustering by the columns' names as the table has them.

    Raises InputError for a column that rows cannot be sorted by.
    """
    known = {leaf.path[0].name.lower(): leaf for leaf in leaves_of(snapshot)}
    found = []
    for column in clustering.columns:
        leaf = known.get(column.lower())
        if leaf is None:
            near = near_misses(column, [leaf.path[0].name for leaf in known.values()])
            raise InputError(
                f"rows cannot be clustered by {column!r}: it is no column with bounds",
                next_step=f"Did you mean {near[0]!r}?"
                if near
                else "Choose columns of numbers, text or times, and no partition column",
            )
        found.append(leaf.path[0].name)
    return dataclasses.replace(clustering, columns=tuple(found))


def leaves_of(snapshot: Snapshot) -> tuple[Leaf, ...]:
    """Return the columns that rows can be clustered by: those with bounds, not inside others."""
    leaves = snapshot.files.layout.leaves
    return tuple(leaf for leaf in leaves if len(leaf.path) == 1 and leaf.has_bounds)


def write_copy(copy: Copy, *, engine: Engine, scanner: Scanner) -> Copied:
    """Write the rows that a copy is about, and verify them.

    Raises LakehouseError, and leaves no file behind, where new files do not hold the same rows.
    """
    started = time.perf_counter()
    snapshot = copy.snapshot
    engine.mount(copy.storage)
    with opened(snapshot, scanner, "copy rows") as there:
        if _are_crumbs(snapshot):
            there = _held(there)
        about = snapshot.files.rows(engine)
        every = (snapshot.files.bytes // 20 if about is None else about) // _SAMPLED
        rows, checksum = _survey(there, copy.clustering, every=max(1, every))
        files = _write(copy, there, rows) if rows else NewFiles((), 0, 0)
    adds = tuple(
        dataclasses.replace(
            add, data_change=False, extra={"tags": dict(copy.tags)} if copy.tags else {}
        )
        for add in files.adds
    )
    done = Copied(adds, files.rows, checksum, 0.0)
    try:
        _verify(copy, done, rows, scanner)
    except LakehouseError:
        done.discard(copy.storage)
        raise
    return dataclasses.replace(done, seconds=time.perf_counter() - started)


def _are_crumbs(snapshot: Snapshot) -> bool:
    """Tell whether files are so small that to open them again takes longer than to keep the rows."""
    total = snapshot.files.bytes
    return total <= _MOST_HELD and total < _CRUMB * len(snapshot.files)


def _held(there: Opened) -> Opened:
    """Read all rows once, into a table that spills where memory is short."""
    names = ", ".join(identifier(field.name) for field in there.snapshot.schema)
    there.cursor.execute(
        f"CREATE OR REPLACE TEMP TABLE held_rows AS SELECT {names} FROM {there.place} {_UNORDERED}"
    )
    return dataclasses.replace(there, place="temp.main.held_rows")


def _verify(copy: Copy, done: Copied, rows: int, scanner: Scanner) -> None:
    if not done.adds:
        found = (0, 0)
    else:
        files = FileIndex(raw_table(done.adds), layout_of(copy.metadata))
        with opened(
            dataclasses.replace(copy.snapshot, files=files), scanner, "verify new files"
        ) as there:
            found = _survey(there)
    if found != (rows, done.checksum):
        what = "another content" if found[0] == rows else f"{found[0]} rows instead of {rows}"
        raise LakehouseError(
            f"rewriting {len(copy.keys)} files gave {what}",
            next_step="Report this; nothing was committed",
        )


def _survey(
    there: Opened, clustering: Clustering | None = None, *, every: int = 1
) -> tuple[int, int]:
    """Return the number of rows and their checksum; keep quantiles in variables, where needed.

    All in one pass. One row in ``every`` is sampled, chosen by its hash, so that it is the same
    wherever the copy is made.
    """
    schema = there.snapshot.schema
    hashed = f"hash({', '.join(map(_hashed, schema))})"
    keys = clustering.columns if clustering is not None and clustering.has_ranks else ()
    sampled = "".join(f"{identifier(column)} AS k{i}, " for i, column in enumerate(keys))
    lists = "".join(
        f", 'q{i}': list_sort(list(k{i}) FILTER (h % {every} = 0 AND k{i} IS NOT NULL))"
        for i in range(len(keys))
    )
    there.cursor.execute(
        "SET VARIABLE surveyed = (SELECT "
        f"{{'rows': count(*), 'checksum': coalesce(sum(h), 0)::HUGEINT{lists}}} "
        f"FROM (SELECT {sampled}{hashed} AS h FROM {there.place}))"
    )
    if clustering is not None and keys:
        _keep_quantiles(there.cursor, clustering)
    row = there.cursor.execute(
        "SELECT s.rows, s.checksum FROM (SELECT getvariable('surveyed') AS s)"
    ).fetchall()[0]
    return int(row[0]), int(row[1])


def _keep_quantiles(cursor: Connection, clustering: Clustering) -> None:
    ranks = clustering.ranks
    for i in range(len(clustering.columns)):
        values = f"getvariable('surveyed').q{i}"
        cursor.execute(
            f"SET VARIABLE quantiles{i} = (SELECT list(v[(n * len(v)) // {ranks} + 1] ORDER BY n) "
            f"FROM (SELECT {values} AS v), range(1, {ranks}) AS r(n))"
        )


def _write(copy: Copy, there: Opened, rows: int) -> NewFiles:
    snapshot = there.snapshot
    layout = snapshot.files.layout
    partitions = set(layout.partition_columns)
    kept = Struct(tuple(field for field in layout.schema if field.name not in partitions))
    names = ", ".join(identifier(field.name) for field in kept)
    found = columns_of(there.cursor.sql(f"SELECT {names} FROM {there.place} LIMIT 0"))
    selected = ", ".join(
        f"{column.sql} AS {identifier(column.field.physical_name)}"
        for column in gate(found, kept).columns
    )
    source = f"SELECT {names} FROM {there.place}"
    if copy.clustering is not None:
        source = _sorted(source, names, copy.clustering, layout.schema)
    size = snapshot.files.bytes
    group_rows = None
    if copy.file_bytes is not None:
        # Files are cut where row groups end.
        fits = rows * copy.file_bytes // max(1, size)
        group_rows = min(_GROUP_ROWS, max(_FEWEST_GROUP_ROWS, fits // _GROUPS_A_FILE))
    return write_part(
        there.cursor,
        f"SELECT {selected} FROM ({source})",
        layout,
        snapshot.storage,
        folder=copy.folder,
        values=copy.values,
        properties=snapshot.properties,
        file_bytes=copy.file_bytes or 4 * size + (1 << 30),
        group_rows=group_rows,
    )


def _sorted(source: str, names: str, clustering: Clustering, schema: Struct) -> str:
    """Return a query's rows in order.

    Where DuckDB cuts files, its threads mix the row groups around a cut. A number that counts the
    rows on their way keeps them in one line.
    """
    columns = tuple(_ordered(column, schema) for column in clustering.columns)
    quantiles = tuple(f"getvariable('quantiles{i}')" for i in range(len(columns)))
    number = identifier(file_column(schema))
    return (
        f"SELECT * FROM (SELECT {names}, row_number() OVER () AS {number} FROM "
        f"({source} ORDER BY {sort_key(clustering, columns, quantiles)})) WHERE {number} > 0"
    )


def _ordered(column: str, schema: Struct) -> str:
    """Return what to sort by for a column.

    DuckDB 1.5 makes the values of a column that it sorts by of its sort keys, in which -0.0 is 0.0:
    floating point is sorted by something that is not the column itself.
    """
    name, field = identifier(column), schema.field(column)
    if field is not None and field.type in _FLOATS:
        return f"CASE WHEN {name} = 0 THEN 0 ELSE {name} END"
    return name


def _hashed(field: Field) -> str:
    """Return what a checksum is made of for a column; DuckDB's hash does not tell -0.0 from 0.0."""
    name = identifier(field.name)
    return f"{name}, signbit({name})" if field.type in _FLOATS else name


def _folder(add: act.AddFile, names: Iterable[str]) -> str:
    """Return where new files of a partition stand: beside an old one, where its folders name it."""
    wanted = [f"{quote(name, safe='')}=" for name in names]
    folders = add.key[0].split("/")[:-1]
    if len(folders) == len(wanted) and all(
        folder.startswith(name) for folder, name in zip(folders, wanted, strict=True)
    ):
        return "/".join(folders)
    return "/".join(
        name + quote(add.partition_values.get(key) or HIVE_NULL, safe="")
        for name, key in zip(wanted, names, strict=True)
    )
