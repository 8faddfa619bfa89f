"""Write a copy's rows, and verify them: the number of rows, and a checksum that knows no order."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Sequence

from catalog.errors import LakehouseError
from lakehouse.delta.files.adds import raw_table
from lakehouse.delta.files.index import FileIndex
from lakehouse.delta.schema.fields import FLOATS, Field, Primitive, Struct
from lakehouse.delta.snapshot import layout_of
from lakehouse.dml.parts import Opened, opened
from lakehouse.duck.describe import columns_of
from lakehouse.duck.engine import VERSION, Connection, Engine
from lakehouse.duck.sql import UNORDERED, identifier
from lakehouse.scan.read import Scanner
from lakehouse.scan.views import file_column
from lakehouse.table.clustering import Clustering, sort_key
from lakehouse.table.copying import Copied, Copy
from lakehouse.write.data_files import NewFiles, write_part
from lakehouse.write.gate import gate

_SAMPLED = 20_000
_LONG = (Primitive("string"), Primitive("binary"))
_TELLS_ZEROS = VERSION >= (2, 0)


def write_copy(copy: Copy, *, engine: Engine, scanner: Scanner) -> Copied:
    """Write the rows that a copy is about, and verify them.

    Raises LakehouseError, and leaves no file behind, where new files do not hold the same rows.
    """
    started = time.perf_counter()
    snapshot = copy.snapshot
    engine.mount(copy.storage)
    with opened(snapshot, scanner, "copy rows") as there:
        number = None
        if copy.has_crumbs:
            number = identifier(file_column(snapshot.schema))
            with engine.reading_tiny_files(copy.storage):
                there = _held(there, "all_rows", more=f", {number}::UINTEGER AS {number}")
        about = snapshot.files.rows(engine)
        every = (snapshot.files.bytes // 20 if about is None else about) // _SAMPLED
        rows, checksum = _survey(there, copy.clustering, every=max(1, every))
        files = _write(copy, there, rows, number) if rows else NewFiles((), 0, 0)
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


def _held(there: Opened, name: str, *, order: str | None = None, more: str = "") -> Opened:
    """Keep all rows in a table, which spills where memory is short; in an order, or in none."""
    source = f"(SELECT {_names(there.snapshot.schema)}{more} FROM {there.place}) AS it"
    # Crumbs are put in their files' order again as they are written: each thread has read its files
    # in order, and so that is quick.
    end = UNORDERED if order is None else f"ORDER BY {order}"
    there.cursor.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS SELECT it.* FROM {source} {end}")
    return dataclasses.replace(there, place=f"temp.main.{name}")


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


def _write(copy: Copy, there: Opened, rows: int, number: str | None) -> NewFiles:
    """Write the rows as one file, or as some of about equal length.

    DuckDB could cut files by itself, but mixes the row groups around a cut then, and its version
    1.5 does not get by with the memory that it has. ``number`` is the column that tells which file
    a row is of, where there is one.
    """
    snapshot = there.snapshot
    layout = snapshot.files.layout
    count = 1
    if copy.file_bytes is not None and not _has_rowid(layout.schema):
        count = min(rows, max(1, round(snapshot.files.bytes / copy.file_bytes)))
    if copy.clustering is not None:
        there = _held(there, "sorted_rows", order=_order(copy.clustering, layout.schema))
        pieces = _slices(rows, count)
    elif number is not None:
        ranges = _ranges(copy.bins)
        if not ranges:
            counted = f"SELECT {number}, count(*) FROM {there.place} GROUP BY ALL ORDER BY ALL"
            ranges = cut(there.cursor.execute(counted).fetchall(), count)
        pieces = [
            f"WHERE {number} BETWEEN {first} AND {last} ORDER BY {number}" for first, last in ranges
        ]
    else:
        there = _held(there, "some_rows") if count > 1 else there
        pieces = _slices(rows, count)
    partitions = set(layout.partition_columns)
    kept = Struct(tuple(field for field in layout.schema if field.name not in partitions))
    source = f"SELECT {_names(kept)} FROM {there.place}"
    selected = ", ".join(
        f"{column.sql} AS {identifier(column.field.physical_name)}"
        for column in gate(columns_of(there.cursor.sql(f"{source} LIMIT 0")), kept).columns
    )
    return write_part(
        there.cursor,
        [f"SELECT {selected} FROM ({source} {piece})" for piece in pieces],
        layout,
        snapshot.storage,
        folder=copy.folder,
        values=copy.values,
        properties=snapshot.properties,
    )


def _slices(rows: int, count: int) -> list[str]:
    """Return conditions on a table's rows that cut it into so many pieces of equal length."""
    if count == 1:
        return [""]
    cuts = [rows * n // count for n in range(count + 1)]
    return [
        f"WHERE rowid BETWEEN {first} AND {last - 1}" for first, last in itertools.pairwise(cuts)
    ]


def _ranges(bins: tuple[int, ...]) -> list[tuple[int, int]]:
    """Return the first and the last number of each bin's files.

    >>> _ranges((2, 1))
    [(0, 1), (2, 2)]
    """
    return [
        (end - count, end - 1) for end, count in zip(itertools.accumulate(bins), bins, strict=True)
    ]


def cut(counts: Sequence[tuple[int, int]], pieces: int) -> list[tuple[int, int]]:
    """Cut numbered files, of so many rows each, into at most so many pieces of about equal length.

    Return the first and the last number of each piece.

    >>> cut([(0, 10), (1, 10), (4, 30), (5, 10)], 2)
    [(0, 4), (5, 5)]
    """
    total = sum(rows for _, rows in counts)
    found, taken = list[tuple[int, int]](), 0
    first = None
    for number, rows in counts:
        first = number if first is None else first
        taken += rows
        if taken * pieces >= total * (len(found) + 1):
            found.append((first, number))
            first = None
    return found


def _has_rowid(schema: Struct) -> bool:
    """Tell whether a column hides the number that rows have in a table of DuckDB's."""
    return any(field.name.lower() == "rowid" for field in schema)


def _names(schema: Struct) -> str:
    return ", ".join(identifier(field.name) for field in schema)


def _order(clustering: Clustering, schema: Struct) -> str:
    columns = tuple(_ordered(column, schema) for column in clustering.columns)
    quantiles = tuple(f"getvariable('quantiles{i}')" for i in range(len(columns)))
    # Within a cell order is for compression alone: a key that holds texts sorts a third slower.
    within = tuple(
        sql
        for column, sql in zip(clustering.columns, columns, strict=True)
        if (field := schema.field(column)) and field.type not in _LONG
    )
    return sort_key(clustering, columns, quantiles, within)


def _ordered(column: str, schema: Struct) -> str:
    """Return what to sort by for a column.

    DuckDB 1.5 makes the values of a column that it sorts by of its sort keys, in which -0.0 is 0.0:
    floating point is sorted by something that is not the column itself.
    """
    name, field = identifier(column), schema.field(column)
    if field is not None and field.type in FLOATS:
        return f"CASE WHEN {name} = 0 THEN 0 ELSE {name} END"
    return name


def _hashed(field: Field) -> str:
    """Return what a checksum is made of for a column.

    DuckDB's hash does not tell -0.0 from 0.0, nor do the dictionaries that its version 1.5 writes.
    """
    name = identifier(field.name)
    return f"{name}, signbit({name})" if _TELLS_ZEROS and field.type in FLOATS else name
