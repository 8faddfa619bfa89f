"""Write files anew that lose few of their rows: the others stay as they are, in their order.

PyArrow reads them, a row group at a time, and writes them as they were written. Where a text has a
dictionary, that is taken over: DuckDB, which copies all else, would look each value up anew.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from catalog import lazy
from lakehouse.delta.actions import AddFile, FileKey
from lakehouse.delta.bitmap import Bitmap
from lakehouse.delta.files.adds import records
from lakehouse.delta.schema.mapping import mode_of
from lakehouse.delta.snapshot import Snapshot
from lakehouse.dml.remaking import (
    Remaking,
    copy_piece,
    read_footer,
    worth_it,
)
from lakehouse.duck.engine import Engine
from lakehouse.duck.parquet import ColumnStatistics, WrittenFile
from lakehouse.duck.sizes import size_of
from lakehouse.duck.sql import moment_text
from lakehouse.write.footer import check_columns
from lakehouse.write.restated import together
from lakehouse.write.statistics import check_finite, statistics
from lakehouse.write.thinned import (
    Bounds,
    Written,
    columns_as_written,
    memory,
    rows_at_once,
    thinned,
)

pa: Any = lazy.module("pyarrow")
pc: Any = lazy.module("pyarrow.compute")
pq: Any = lazy.module("pyarrow.parquet")

# One row of so many, and so many of all files together: their numbers are in memory.
FEW, MOST = 8, 1 << 24
_DICTIONARY = 8 << 20  # bytes, before a column goes on without
_ROWS = 1 << 62
_FLOATS = ("FLOAT", "DOUBLE")
# A row group is there as it is read, with the rows that stay, and as it is written. DuckDB does not
# count it: it has to do with what the process has beside, see `lakehouse.duck.settings`.
_TIMES, _SHARE, _MOST_MEMORY = 3, 4, 160 << 20


def thinnable(
    snapshot: Snapshot, adds: Sequence[AddFile], lost: Mapping[FileKey, int]
) -> list[AddFile]:
    """Return the files that lose so few rows, by their number, that they can be thinned."""
    found = [
        add
        for add in worth_it(snapshot, adds)
        if 0 < lost.get(add.key, 0) * FEW <= (records(add) or 0)
    ]
    return found if sum(lost[add.key] for add in found) <= MOST else []


def thin(
    snapshot: Snapshot, adds: Sequence[AddFile], lost: Mapping[FileKey, Bitmap], engine: Engine
) -> list[tuple[AddFile, AddFile]]:
    """Return `thinnable` files and what came of them without their ``lost`` rows, durable.

    Those that are left out are to be copied. After any error no file of this call is left behind.
    """
    if not adds:
        return []
    with engine.scratch() as folder:
        return _Thinning(snapshot, lost, engine).all(adds, folder)


class _Thinning:
    """Thin files of a snapshot, several at once."""

    def __init__(self, snapshot: Snapshot, lost: Mapping[FileKey, Bitmap], engine: Engine) -> None:
        self._snapshot = snapshot
        self._layout = snapshot.files.layout
        self._lost = lost
        self._engine = engine
        self._known = [field.physical_name for field in self._layout.schema]
        self._by_id = mode_of(snapshot.properties) == "id"
        with engine.cursor() as cursor:
            (found,) = cursor.execute("SELECT current_setting('memory_limit')").fetchall()
        self._room = min(size_of(found[0], name="memory_limit") // _SHARE, _MOST_MEMORY)

    def all(self, adds: Sequence[AddFile], folder: Path) -> list[tuple[AddFile, AddFile]]:
        """Return which files were thinned, and to what."""
        remaking = Remaking(self._snapshot.storage, self._engine, folder, self._thinned)
        self._room //= remaking.threads * _TIMES
        return remaking.all(adds)

    def _thinned(self, add: AddFile, old: Path, new: Path, _work: Path) -> str:
        lost = self._lost[add.key]
        with old.open("rb") as file:
            before = read_footer(file)
            check_columns(before, {}, self._known, by_id=self._by_id)
            if sum(before.groups) != records(add) or memory(before) > self._room:
                raise ValueError("another number of rows, or too large a row group")
            columns = columns_as_written(before)
            staying = _masks(lost, before.groups)
            groups = [i for i, mask in enumerate(staying) if mask.true_count]
            try:
                parts, bounds = _write(old, new, columns, staying, batch=rows_at_once(before))
            except (pa.ArrowException, NotImplementedError, KeyError, OverflowError) as error:
                raise ValueError("PyArrow cannot read or write it") from error
            for part in parts:
                check_finite(part, self._layout)
            with new.open("r+b") as out:
                after = read_footer(out)
                pieces, end = thinned(before, after, groups, bounds)
                out.truncate(out.seek(after.end))
                for piece in pieces:
                    copy_piece(file, piece, out)
                out.write(end)
        found = pq.read_metadata(new)
        if (found.num_rows, found.num_row_groups) != (sum(before.groups) - len(lost), len(groups)):
            raise ValueError("PyArrow reads something else than was written")
        return statistics(together(parts, self._layout), self._layout, self._snapshot.properties)


def _masks(lost: Bitmap, groups: Sequence[int]) -> list[Any]:
    """Return Arrow arrays, by row group, that are true for the rows that stay."""
    flags = bytearray(b"\1") * sum(groups)
    for row in lost:
        flags[row] = 0
    whole, found, start = pa.py_buffer(flags), [], 0
    for count in groups:
        stays = pa.Array.from_buffers(pa.uint8(), count, [None, whole], offset=start)
        found.append(stays.cast(pa.bool_()))
        start += count
    return found


def _write(
    old: Path, new: Path, columns: Sequence[Written], staying: Sequence[Any], *, batch: int
) -> tuple[list[WrittenFile], list[dict[int, Bounds]]]:
    """Write the rows that stay; return statistics of each row group, and bounds of some columns.

    PyArrow takes as long to compare texts in dictionaries as for all else: these are compared here,
    each once.
    """
    dictionaries = [c.name for c in columns if c.is_text and c.has_dictionary]
    collected: list[Any] = []
    bounds: list[dict[int, Bounds]] = []
    nans: list[dict[str, int]] = []
    with (
        pa.memory_map(str(old)) as source,
        pa.OSFile(str(new), "wb") as out,
        pq.ParquetFile(source, pre_buffer=False, read_dictionary=dictionaries) as file,
        pq.ParquetWriter(
            out,
            file.schema_arrow,
            compression={c.name: c.codec for c in columns},
            use_dictionary=[c.name for c in columns if c.has_dictionary],
            write_statistics=[c.name for c in columns if c.name not in dictionaries],
            dictionary_pagesize_limit=_DICTIONARY,
            write_batch_size=batch,
            store_schema=False,
            store_decimal_as_integer=_has_integers(file),
            metadata_collector=collected,
        ) as writer,
    ):
        for number, mask in enumerate(staying):
            if not mask.true_count:
                continue
            table = file.read_row_group(number, use_threads=False).filter(mask)
            writer.write_table(table, row_group_size=_ROWS)
            known: dict[int, Bounds] = {}
            for leaf, column in enumerate(columns):
                if column.name in dictionaries:
                    known[leaf] = _bounds(table[column.name])
            bounds.append(known)
            nans.append(
                {
                    field.name: pc.sum(pc.is_nan(table.column(i))).as_py() or 0
                    for i, field in enumerate(table.schema)
                    if pa.types.is_floating(field.type)
                }
            )
    parts = []
    for number, known in enumerate(bounds):
        group = collected[0].row_group(number)
        stated = {
            column.path: _stated(group.column(leaf), known.get(leaf), nans[number].get(column.name))
            for leaf, column in enumerate(columns)
        }
        parts.append(WrittenFile(str(new), group.num_rows, 0, stated, {}))
    return parts, bounds


def _has_integers(file: Any) -> bool:
    """Tell whether a file has its decimals as whole numbers, where they fit."""
    found = [file.schema.column(i) for i in range(len(file.schema))]
    return any(c.logical_type.type == "DECIMAL" and "INT" in c.physical_type for c in found)


def _bounds(column: Any) -> Bounds:
    """Return the bounds of a column of dictionaries by the values that occur."""
    lows, highs = [], []
    for chunk in column.chunks:
        values = chunk.dictionary.cast(pa.binary())
        found = pc.min_max(values)
        ends = [pc.index(values, found[end]).cast(chunk.indices.type) for end in ("min", "max")]
        # Hardly ever has one of the ends gone with all rows that had it.
        if any(pc.index(chunk.indices, end).as_py() < 0 for end in ends):
            found = pc.min_max(values.take(pc.unique(chunk.indices).drop_null()))
        if found["min"].is_valid:
            lows.append(found["min"].as_py())
            highs.append(found["max"].as_py())
    return Bounds(column.null_count, min(lows, default=None), max(highs, default=None))


def _stated(chunk: Any, known: Bounds | None, nans: int | None) -> ColumnStatistics:
    """Return statistics as DuckDB gives them, of what PyArrow gives or what is known."""
    low = high = nulls = None
    stats = chunk.statistics
    if known is not None:
        nulls, low, high = known.nulls, known.low, known.high
    elif stats is not None:
        nulls = stats.null_count if stats.has_null_count else None
        # It passes over NaN, which are counted in columns that are in nothing else.
        if stats.has_min_max and (nans is not None or chunk.physical_type not in _FLOATS):
            low, high = stats.min, stats.max
    return ColumnStatistics(
        nulls, _text(low), _text(high), None if nans is None else nans > 0, nans
    )


def _text(value: Any) -> str | None:
    """Return a bound as DuckDB writes it; None where that is not known."""
    match value:
        case bytes():
            try:
                return value.decode()
            except UnicodeDecodeError:
                return None
        case dt.datetime():
            return moment_text(value)
        case None:
            return None
        case _:
            return str(value)
