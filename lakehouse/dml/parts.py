"""Work on some of a snapshot's files: count their rows, copy them.

All of it is DuckDB's, from Parquet to Parquet, and spills where memory is short.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Collection, Iterator

from lakehouse.delta.actions import AddFile, FileKey
from lakehouse.delta.files.index import FileIndex
from lakehouse.delta.schema.fields import Struct
from lakehouse.delta.schema.types import to_duckdb
from lakehouse.delta.schema.widening import with_timestamps
from lakehouse.delta.snapshot import Snapshot
from lakehouse.duck.describe import columns_of
from lakehouse.duck.engine import Connection, Engine
from lakehouse.duck.rows import Source
from lakehouse.duck.sql import identifier
from lakehouse.scan.read import Scanner
from lakehouse.scan.report import TableRef
from lakehouse.scan.views import file_column, row_column
from lakehouse.write.data_files import NewFiles, write_rows
from lakehouse.write.gate import gate

_SCHEMA = "lakehouse"
SAMPLE = 20_000  # rows


def part(snapshot: Snapshot, keys: Collection[FileKey]) -> Snapshot:
    """Return the snapshot with these files only."""
    if not keys:
        return dataclasses.replace(snapshot, files=FileIndex(None, snapshot.files.layout))
    return dataclasses.replace(snapshot, files=snapshot.files.only(keys))


def reference(snapshot: Snapshot, *, numbered: bool = False) -> TableRef:
    """Return the name under which a snapshot's rows are read here: one a table."""
    name = f"{snapshot.metadata.id} by file" if numbered else snapshot.metadata.id
    return TableRef(_SCHEMA, name, "rows", snapshot, numbered)


def count_rows(snapshot: Snapshot, engine: Engine, scanner: Scanner) -> int:
    """Return the number of a snapshot's rows: from statistics, else from the files' footers."""
    known = snapshot.files.rows(engine)
    if known is not None:
        return known
    with opened(snapshot, scanner, "count the rows") as there:
        return sum(there.matches("true").values())


def seem_few(cursor: Connection, condition: str, rows: str, *, most: int, of: int) -> bool:
    """Tell, by the first rows, whether a condition is true for so many of all at ``most``."""
    ((sampled,),) = cursor.execute(
        f"SELECT count(*) FROM (SELECT ({condition}\n) AS x FROM {rows} LIMIT {SAMPLE}) WHERE x"
    ).fetchall()
    return bool(sampled * of <= most * SAMPLE)


@contextlib.contextmanager
def opened(snapshot: Snapshot, scanner: Scanner, doing: str) -> Iterator[Opened]:
    """Open all files of a snapshot, to count and copy their rows; ``doing`` is for errors."""
    ref = reference(snapshot, numbered=True)
    with scanner.whole(ref, doing) as cursor:
        place = f"{identifier(ref.schema)}.{identifier(ref.name)}"
        yield Opened(snapshot, cursor, place)


@dataclasses.dataclass(frozen=True)
class Opened:
    """Hold a snapshot, and a connection on which ``place`` names its rows."""

    snapshot: Snapshot
    cursor: Connection
    place: str

    @property
    def adds(self) -> tuple[AddFile, ...]:
        """Return the files that are open."""
        return self.snapshot.files.adds()

    def matches(self, predicate: str) -> dict[int, int]:
        """Return, by position among the files, in how many rows a predicate is true.

        Files without such a row are left out.
        """
        number = identifier(file_column(self.snapshot.schema))
        sql = f"SELECT {number}, count(*) FROM {self.place} WHERE ({predicate}\n) GROUP BY {number}"
        return dict(self.cursor.execute(sql).fetchall())

    def numbers(self, predicate: str) -> str:
        """Return the SELECT of file and row numbers of the rows that a predicate is true for."""
        file = identifier(file_column(self.snapshot.schema))
        row = identifier(row_column(self.snapshot.schema))
        return f"SELECT {file}, {row} FROM {self.place} WHERE ({predicate}\n)"

    def copy(self, *, where: str = "true", schema: Struct | None = None) -> NewFiles:
        """Write the rows for which ``where`` is true anew, as few files.

        ``schema`` is one that takes the rows, where it is not to be the snapshot's.
        """
        present = self.snapshot.schema
        columns = _columns(present, schema or present)
        rows = f"(SELECT {columns} FROM {self.place} WHERE ({where}\n))"
        found = columns_of(self.cursor.sql(f"SELECT * FROM {rows} LIMIT 0"))
        return write_rows(
            self.cursor,
            Source(rows, found, rescannable=True),
            gate(found, schema or present),
            storage=self.snapshot.storage,
            partition_columns=self.snapshot.partition_columns,
            properties=self.snapshot.properties,
            enforce=False,
        )


def _columns(present: Struct, wanted: Struct) -> str:
    """Return the columns to copy; a date that is to be a timestamp has to be told so."""
    selected = []
    for field in present:
        name, known = identifier(field.name), wanted.field(field.name)
        type_ = field.type if known is None else with_timestamps(field.type, known.type)
        cast = f"CAST({name} AS {to_duckdb(type_)}) AS {name}"
        selected.append(name if type_ == field.type else cast)
    return ", ".join(selected)
