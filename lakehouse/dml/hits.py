"""Remember which rows of which files a merge changes: found once a file, for files never change."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable

from lakehouse.delta.actions import FileKey
from lakehouse.delta.bitmap import Bitmap
from lakehouse.delta.files.adds import records
from lakehouse.dml.binding import BITS, FILES, KEPT_FILE, KEPT_ROW, Keeping
from lakehouse.dml.marking import rows_by_file
from lakehouse.dml.parts import SAMPLE, Opened, seem_few
from lakehouse.dml.workspace import Workspace
from lakehouse.duck.engine import VERSION, Connection
from lakehouse.duck.sql import UNORDERED

_MOST_BITS = 1 << 30  # a place among bits is an INTEGER
_LARGE = 500_000
# Rows are kept that are at most so many, one of so many, and as large as so many bytes of Parquet:
# more would be copied, or fill the disk.
MOST_KEPT = 1_000_000
_FEW, _KEPT_BYTES = 16, 128 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class Count:
    """Count the rows of a file that are updated and deleted."""

    updated: int = 0
    deleted: int = 0

    @property
    def changed(self) -> int:
        """Return the number of rows that are no more what they were."""
        return self.updated + self.deleted


class Hits:
    """Hold hits in a table of ``(file, row, source, clause)``, and which files were looked into."""

    def __init__(self, space: Workspace) -> None:
        self._space = space
        self.place = space.new_place("hits")
        self._numbers: dict[FileKey, int] = {}
        self._keys: list[FileKey] = []
        self._seen: set[FileKey] = set()
        self._kept: str | None = None  # where all rows stand that were hit
        with space.engine.work("begin the work") as cursor:
            cursor.execute(
                f"CREATE TABLE {self.place} (file INTEGER, row BIGINT, source BIGINT, clause INTEGER)"
            )

    def keep_only(self, keys: Collection[FileKey]) -> None:
        """Forget the hits in all files but these."""
        gone = self._seen.difference(keys)
        if gone:
            numbers = ", ".join(str(self._numbers[key]) for key in gone)
            with self._space.engine.work("forget hits") as cursor:
                cursor.execute(f"DELETE FROM {self.place} WHERE file IN ({numbers})")
                if self._kept is not None:
                    cursor.execute(f"DELETE FROM {self._kept} WHERE {KEPT_FILE} IN ({numbers})")
            self._seen -= gone

    def unseen(self, keys: Iterable[FileKey]) -> list[FileKey]:
        """Return the files that were not looked into."""
        return [key for key in keys if key not in self._seen]

    def add(
        self, there: Opened, match: str, *, source_rows: int, keeping: Keeping | None = None
    ) -> None:
        """Look into all files that are open, for a source of so many rows.

        Where rows are few they are kept by the same pass, if there is a ``keeping``.
        """
        self.number(there)
        if keeping is not None and self._keep(there, keeping):
            self._kept = keeping.place
            self._seen.update(add.key for add in there.adds)
            return
        self._kept = None
        rows = there.snapshot.files.rows(self._space.engine)
        as_written = VERSION >= (2, 0) and (rows is None or rows >= max(_LARGE, source_rows))
        # DuckDB 2 takes the files for one row, and would hold them in memory rather than the source.
        # Whoever plans meanwhile may join slower.
        off = ("build_side_probe_side",) if as_written else ()
        with self._space.engine.planning(off=off):
            there.cursor.execute(f"INSERT INTO {self.place} {match}")
        self._seen.update(add.key for add in there.adds)

    def holds(self, keeping: Keeping | None) -> bool:
        """Tell whether all rows of all files that were looked into are kept."""
        return keeping is not None and self._kept == keeping.place

    def _keep(self, there: Opened, keeping: Keeping) -> bool:
        """Find the rows of the open files and keep them, if all that are kept stay few."""
        files, cursor = there.snapshot.files, there.cursor
        rows = files.rows(self._space.engine)
        if rows is None or (self._seen and not self.holds(keeping)):
            return False
        in_bytes = rows * _KEPT_BYTES // max(1, files.bytes)
        most = min(MOST_KEPT, max(SAMPLE, rows // _FEW), in_bytes)
        if not seem_few(cursor, keeping.condition, keeping.rows, most=most, of=rows):
            return False
        if not self.holds(keeping):
            cursor.execute(f"DELETE FROM {keeping.place}")
        cursor.execute(
            f"INSERT INTO {keeping.place} SELECT it.* FROM ({keeping.sql}) AS it {UNORDERED} "
            f"LIMIT {most + 1}"
        )
        ((kept,),) = cursor.execute(f"SELECT count(*) FROM {keeping.place}").fetchall()
        if kept > most:
            cursor.execute(f"DELETE FROM {keeping.place}")
            return False
        cursor.execute(
            f"INSERT INTO {self.place} SELECT k.{KEPT_FILE}, k.{KEPT_ROW}, NULL, 1 "
            f"FROM {keeping.place} AS k JOIN {FILES} AS m ON m.file = k.{KEPT_FILE}"
        )
        return True

    def number(self, there: Opened) -> None:
        """Say, on a connection, which numbers the open files have in the table of hits."""
        self.number_files(there.cursor, [add.key for add in there.adds])

    def number_files(self, cursor: Connection, keys: Iterable[FileKey]) -> None:
        """Say the same of files that need not be open."""
        numbers = []
        for key in keys:
            number = self._numbers.setdefault(key, len(self._keys))
            if number == len(self._keys):
                self._keys.append(key)
            numbers.append(number)
        cursor.execute(f"SET VARIABLE lakehouse_numbers = {_list(numbers, 'INTEGER')}")
        cursor.execute(
            f"CREATE OR REPLACE TEMP TABLE {FILES} AS SELECT "
            f"unnest(range({len(numbers)}))::UBIGINT AS local, "
            "unnest(getvariable('lakehouse_numbers')) AS file"
        )
        cursor.execute(f'CREATE OR REPLACE TEMP TABLE {BITS} ("local" UBIGINT, bits BIT)')

    def rows(self, keys: Collection[FileKey]) -> dict[FileKey, Bitmap]:
        """Return the row numbers that change in each of these files."""
        numbers = ", ".join(str(self._numbers[key]) for key in keys)
        selected = f"SELECT file, row FROM {self.place} WHERE clause <> 0 AND file IN ({numbers})"
        with self._space.engine.work("list the rows that change") as cursor:
            return rows_by_file(cursor, selected, self._keys)

    def mask(self, there: Opened) -> bool:
        """Set bits, on a connection, for the rows that change in the open files, which are numbered.

        To ask for a bit costs a third of what a join does. False where files do not state their
        number of rows, have too many for it, or no hit: there, rows have to be joined.
        """
        rows = [records(add) for add in there.adds]
        # Of bits there are at most twice as many as rows: in few sizes, each a query.
        sizes: dict[int, list[int]] = {}
        for local, count in enumerate(rows):
            if count is None or not 0 < count < _MOST_BITS:
                return False
            sizes.setdefault(1 << count.bit_length(), []).append(local)
        for size, files in sizes.items():
            there.cursor.execute(
                f"INSERT INTO {BITS} SELECT m.local, bitstring_agg(h.row, 0::BIGINT, "
                f"{size}::BIGINT) FROM {self.place} AS h JOIN {FILES} AS m ON m.file = h.file "
                f"WHERE h.clause <> 0 AND m.local IN (SELECT unnest({_list(files, 'UBIGINT')})) "
                "GROUP BY m.local"
            )
        found = there.cursor.execute(f"SELECT count(*) FROM {BITS}").fetchone()
        if found == (len(rows),):
            return True
        there.cursor.execute(f"DELETE FROM {BITS}")
        return False

    def counts(
        self, cursor: Connection, updates: Collection[int], *, once: bool = False
    ) -> dict[FileKey, Count]:
        """Return how many rows change in each file with a hit; ``updates`` are such clauses.

        ``once`` says that no row is hit twice.
        """
        updated = f"clause IN ({', '.join(map(str, updates))})" if updates else "false"
        row = "*" if once else "DISTINCT row"
        found = cursor.execute(
            f"SELECT file, count({row}) FILTER ({updated}), "
            f"count({row}) FILTER (clause <> 0 AND NOT ({updated})) "
            f"FROM {self.place} GROUP BY file"
        ).fetchall()
        return {self._keys[file]: Count(updated, deleted) for file, updated, deleted in found}


def _list(numbers: Iterable[int], type_: str) -> str:
    """Return SQL of a list: one constant, for DuckDB takes 20 microseconds for each expression."""
    return f"'[{', '.join(map(str, numbers))}]'::{type_}[]"
