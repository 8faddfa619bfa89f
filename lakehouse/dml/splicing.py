"""Write files anew of which an update sets some columns: the others are taken over byte for byte.

DuckDB makes the columns that are set, a row group of the old file at a time; all else stays as it
is. A file of which anything is not as expected is left to the copy of its values.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

from lakehouse.delta.actions import AddFile
from lakehouse.delta.files.adds import records
from lakehouse.delta.schema.fields import Array, Map, Struct
from lakehouse.delta.schema.mapping import field_ids, mode_of
from lakehouse.delta.schema.partition import typed_sql
from lakehouse.delta.schema.types import to_duckdb
from lakehouse.delta.snapshot import Snapshot
from lakehouse.dml import remaking
from lakehouse.dml.lone import Setting
from lakehouse.dml.remaking import Remaking, copy_piece, read_footer, threads_of
from lakehouse.duck.engine import Connection, Engine
from lakehouse.duck.errors import translated
from lakehouse.duck.parquet import VECTOR, WrittenFile, write_file
from lakehouse.duck.sql import escaped, literal, literals
from lakehouse.scan.views import Source, rows_of
from lakehouse.write.footer import MAGIC, Footer, check_columns
from lakehouse.write.restated import restated, together
from lakehouse.write.spliced import runs, spliced
from lakehouse.write.statistics import check_finite

# What a plan may consist of, for rows to stay in their order.
_ORDERED = frozenset(("FILTER", "PARQUET_SCAN", "PROJECTION", "READ_PARQUET"))


def splice(
    snapshot: Snapshot, adds: Sequence[AddFile], setting: Setting, engine: Engine
) -> list[tuple[AddFile, AddFile]]:
    """Return files and what came of them, durable; those that are left out are to be copied.

    After any error no file of this call is left behind.
    """
    chosen = remaking.worth_it(snapshot, adds)
    if not chosen or not _may_splice(snapshot, setting):
        return []
    with engine.scratch() as folder:
        return _Splicing(snapshot, setting, engine, folder).files(chosen)


def _may_splice(snapshot: Snapshot, setting: Setting) -> bool:
    """Tell whether a table lets the columns that are set be written by themselves."""
    partitions = set(snapshot.partition_columns)
    return not any(
        field.name in partitions or isinstance(field.type, Struct | Array | Map)
        for field in setting.columns
    )


class _Splicing:
    """Splice files of a snapshot, several at once."""

    def __init__(self, snapshot: Snapshot, setting: Setting, engine: Engine, folder: Path) -> None:
        self._snapshot = snapshot
        self._setting = setting
        self._engine = engine
        self._remaking = Remaking(snapshot.storage, engine, folder, self._spliced)
        self._layout = snapshot.files.layout
        self._columns = {field.physical_name: field.field_id for field in setting.columns}
        ids = field_ids(self._layout.schema)
        self._ids = {name: ids[name] for name in self._columns if name in ids}

    def files(self, adds: Sequence[AddFile]) -> list[tuple[AddFile, AddFile]]:
        """Return which files were spliced, and to what."""
        with translated("copy rows"), self._cursor() as cursor:
            if not self._keeps_order(cursor, adds[0]):
                return []
        # This pool works on row groups of the files that another has open: these may be few.
        with ThreadPoolExecutor(threads_of(self._engine)) as self._groups:
            return self._remaking.all(adds)

    def _spliced(self, add: AddFile, old: Path, new: Path, work: Path) -> str:
        with old.open("rb") as file:
            before = read_footer(file)
            known = [field.physical_name for field in self._layout.schema]
            by_id = mode_of(self._snapshot.properties) == "id"
            replaced, kept = check_columns(before, self._columns, known, by_id=by_id)
            if kept < max(remaking.LEAST, replaced) or sum(before.groups) != records(add):
                raise ValueError("not worth it, or with another number of rows")
            made = self._made(add, old, before.groups, work)
            parts = [part for part, _ in made]
            for part in parts:
                check_finite(part, self._layout)
            stats = restated(
                add.stats,
                together(parts, self._layout),
                self._columns,
                self._layout,
                self._snapshot.properties,
            )
            _assemble(new, file, before, [(Path(part.name), end) for part, end in made])
        self._verify(new, before.groups)
        return stats

    def _made(
        self, add: AddFile, file: Path, groups: Sequence[int], work: Path
    ) -> list[tuple[WrittenFile, Footer]]:
        """Write the columns that are set, in the row groups of their file; with their footers."""

        def one(run: range) -> list[tuple[WrittenFile, Footer]]:
            rows = sum(groups[: run.start]), sum(groups[run.start : run.stop])
            full = min(groups[run.start : max(run.stop - 1, run.start + 1)])
            part = self._part(add, file, rows, full, work / f"{run.start}-{run.stop}.parquet")
            # Whether it has come out as foreseen is seen by the result.
            with Path(part.name).open("rb") as written:
                end = read_footer(written)
            same = end.groups == tuple(groups[run.start : run.stop])
            return [(part, end)] if same or len(run) == 1 else []

        spans = runs(groups, VECTOR)
        found = []
        for run, parts in zip(spans, self._groups.map(one, spans), strict=True):
            found += parts or [each for i in run for each in one(range(i, i + 1))]
        return found

    def _part(
        self, add: AddFile, file: Path, rows: tuple[int, int], size: int, path: Path
    ) -> WrittenFile:
        """Write the columns that are set, of so many rows from one on, in row groups of a size."""
        if self._remaking.stopped:
            raise ValueError("another file failed")
        with self._cursor() as cursor:
            sql = self._sql(add, str(file), *rows)
            (part,) = write_file(cursor, sql, str(path), field_ids=self._ids, group_rows=size)
        return part

    def _sql(self, add: AddFile, file: str, first: int, count: int) -> str:
        """Return SQL of the columns that are set, of some rows of a file in their order."""
        values = []
        for field in self._layout.partitions:
            value = add.partition_values.get(field.physical_name)
            text = "NULL" if value is None else literal(value)
            values.append(f"CAST({typed_sql(text, field.type)} AS {to_duckdb(field.type)})")
        source = Source(files=literals([escaped(file)]), rows="", values=tuple(values))
        rows = rows_of(self._layout, self._snapshot.properties, source, first=first, count=count)
        return self._setting.sql.replace(self._setting.place, f"({rows})")

    def _keeps_order(self, cursor: Connection, add: AddFile) -> bool:
        """Tell whether DuckDB gives the rows in their order: it reads, filters and computes."""
        (found,) = cursor.execute("SELECT current_setting('preserve_insertion_order')").fetchall()
        sql = self._sql(add, self._engine.empty_parquet, 0, 1)
        (plan,) = cursor.execute(f"EXPLAIN (FORMAT json) {sql}").fetchall()
        return bool(found[0]) and all(name in _ORDERED for name in _operators(json.loads(plan[1])))

    def _verify(self, file: Path, groups: Sequence[int]) -> None:
        """Raise ValueError where DuckDB reads something else in the footer of a new file."""
        with self._cursor() as cursor:
            found = cursor.execute(
                "SELECT num_rows, num_row_groups FROM "
                f"parquet_file_metadata({literal(escaped(str(file)))})"
            ).fetchall()
        if found != [(sum(groups), len(groups))]:
            raise ValueError("DuckDB cannot read what was written")

    @contextlib.contextmanager
    def _cursor(self) -> Iterator[Connection]:
        with self._engine.cursor() as cursor:
            for statement in self._setting.constants:
                cursor.execute(statement)
            yield cursor


def _assemble(
    path: Path,
    old: BinaryIO,
    before: Footer,
    parts: Sequence[tuple[Path, Footer]],
) -> None:
    """Write a new file: columns of the old one, and those of its parts, by their footers."""
    made = spliced(before, [end for _, end in parts])
    with path.open("xb") as out:
        out.write(MAGIC)
        for piece in made.pieces:
            if piece.file == 0:
                copy_piece(old, piece, out)
            else:
                with parts[piece.file - 1][0].open("rb") as file:
                    copy_piece(file, piece, out)
        out.write(made.end)


def _operators(plan: Any) -> Iterator[str]:
    """Yield the names of the operators of a plan."""
    for node in plan:
        yield node["name"].strip()
        yield from _operators(node["children"])
