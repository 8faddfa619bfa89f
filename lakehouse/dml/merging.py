"""Update, delete and insert rows by one set of clauses, by copy-on-write.

The rows that change are found first, reading what the conditions need; then the touched files are
copied without them, and with what they become. What is new stands in files of its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from catalog.errors import DataError, LakehouseError
from lakehouse.delta import actions as act
from lakehouse.delta.actions import FileKey
from lakehouse.delta.conflict import MayMatch, Reads
from lakehouse.delta.snapshot import Snapshot
from lakehouse.dml.binding import Bound, Making, bind
from lakehouse.dml.clauses import Merge
from lakehouse.dml.copies import groups
from lakehouse.dml.hits import Count, Hits
from lakehouse.dml.keys import reached
from lakehouse.dml.parts import Opened, count_rows, opened, part, reference
from lakehouse.dml.workspace import ROW, Given, Workspace
from lakehouse.duck.engine import Connection
from lakehouse.duck.errors import DuckError, translate
from lakehouse.duck.sql import identifier
from lakehouse.scan.matching import Question, answers, asked_of, may_match
from lakehouse.scan.read import Scanner
from lakehouse.write.data_files import NewFiles, discard_files, write_files
from lakehouse.write.query import rejected
from lakehouse.write.samples import SAMPLES, many

_NOTHING = NewFiles((), 0, 0)


@dataclasses.dataclass(frozen=True, slots=True)
class Merged:
    """Hold a planned merge: files that go and come, the number of rows, and what was read."""

    gone: tuple[act.AddFile, ...]
    adds: tuple[act.AddFile, ...]
    rows_updated: int
    rows_inserted: int
    rows_deleted: int
    rows_copied: int
    reads: Reads

    @property
    def is_idle(self) -> bool:
        """Tell whether nothing changes."""
        return not self.gone and not self.adds

    def metrics(self) -> dict[str, int]:
        """Return what history shall say of it, in Spark's words."""
        return {
            "numTargetRowsUpdated": self.rows_updated,
            "numTargetRowsInserted": self.rows_inserted,
            "numTargetRowsDeleted": self.rows_deleted,
            "numTargetRowsCopied": self.rows_copied,
            "numTargetFilesAdded": len(self.adds),
            "numTargetFilesRemoved": len(self.gone),
            "numTargetBytesAdded": sum(add.size for add in self.adds),
            "numTargetBytesRemoved": sum(add.size for add in self.gone),
            "numOutputRows": self.rows_updated + self.rows_inserted + self.rows_copied,
        }


@dataclasses.dataclass(frozen=True, slots=True)
class _Copy:
    """Hold what was written of a group of files: without their rows that go, with the new ones."""

    keys: frozenset[FileKey]
    files: NewFiles
    kept: int


class Merging:
    """Plan a merge on one snapshot after another, writing what it needs; use it in a `workspace`.

    Files never change, so that what was found in one, and copied of it, holds on a fresher
    snapshot too; what does not fit it any more is deleted from the storage.
    """

    def __init__(
        self, merge: Merge, given: Given | None, *, space: Workspace, scanner: Scanner
    ) -> None:
        self._merge = merge
        self._given = given
        self._space = space
        self._engine = space.engine
        self._scanner = scanner
        self._updates = [i for i, c in enumerate(merge.clauses, 1) if c.verb == "update"]
        self._hits = Hits(space)
        self._table: act.Metadata | None = None
        self._bound: Bound | None = None
        self._asked: Question | None = None
        self._snapshot: Snapshot | None = None
        self._copies: list[_Copy] = []
        self._inserted = _NOTHING
        self._met: frozenset[FileKey] | None = None

    def plan(self, snapshot: Snapshot, *, dry_run: bool = False) -> Merged:
        """Find what changes in a snapshot, and write the new files; ``dry_run`` writes none."""
        bound, asked = self._bind(snapshot)
        found = {a.key: a for a in answers(snapshot.files, asked, self._engine) if a.rows != 0}
        self._hits.keep_only(found)
        unseen = self._hits.unseen(found)
        if unseen:
            with opened(part(snapshot, unseen), self._scanner, "find the rows that match") as there:
                self._hits.add(there, bound.match)
        with self._engine.work("count the rows that change") as cursor:
            self._check_duplicates(cursor)
            counts = self._hits.counts(cursor, self._updates)
        touched = {key: c for key, c in counts.items() if c.updated or c.deleted}
        partly = {
            key: count
            for key, count in touched.items()
            if count.updated or count.deleted != found[key].rows
        }
        if dry_run:
            return self._dry(snapshot, counts, touched, partly)
        copies = self._copy(snapshot, partly)
        inserted = self._insert(snapshot, frozenset(counts))
        return Merged(
            gone=tuple(snapshot.files.only(touched.keys()).adds()),
            adds=(*(add for copy in copies for add in copy.files.adds), *inserted.adds),
            rows_updated=sum(count.updated for count in touched.values()),
            rows_inserted=inserted.rows,
            rows_deleted=sum(count.deleted for count in touched.values()),
            rows_copied=sum(copy.kept for copy in copies),
            reads=Reads(frozenset(counts), matching=self._matching(snapshot, asked)),
        )

    def discard(self) -> None:
        """Delete the files that were written, for none of them is in a commit."""
        assert self._snapshot is not None or not self._copies
        while self._copies:
            self._delete(self._copies.pop().files)
        self._delete(self._inserted)
        self._inserted, self._met = _NOTHING, None

    def _delete(self, files: NewFiles) -> None:
        if files.adds and self._snapshot is not None:
            discard_files(self._snapshot.storage, files)

    def _bind(self, snapshot: Snapshot) -> tuple[Bound, Question]:
        if self._bound is None or self._asked is None or snapshot.metadata != self._table:
            self.discard()
            self._hits.keep_only(())
            with opened(part(snapshot, ()), self._scanner, "read the merge") as there:
                self._hits.number(there)
                self._bound = bind(self._merge, self._given, self._hits.place, there, self._space)
            bound = self._bound
            where = reached(
                self._merge, bound.join, bound.scope, self._given, snapshot, self._engine
            )
            self._asked = asked_of(reference(snapshot), where, self._scanner, self._engine)
            self._table = snapshot.metadata
        self._snapshot = snapshot
        return self._bound, self._asked

    def _check_duplicates(self, cursor: Connection) -> None:
        """Raise DataError where several rows of the source would update one row."""
        if self._given is None or not self._updates:
            return
        hits = self._hits.place
        several = (
            f"SELECT file, row FROM {hits} WHERE clause <> 0 GROUP BY file, row HAVING "
            f"count(*) > 1 AND bool_or(clause IN ({', '.join(map(str, self._updates))}))"
        )
        row = cursor.execute(f"SELECT count(*) FROM ({several})").fetchone()
        assert row is not None
        if not row[0]:
            return
        source = identifier(self._merge.source)
        pairs = self._bound.join.pairs if self._bound and self._bound.join else ()
        shown = ", ".join(
            [f"left(CAST({pair.source} AS VARCHAR), 100)" for pair in pairs]
            or [f"left(CAST({identifier(c.name)} AS VARCHAR), 100)" for c in self._given.columns]
        )
        samples = cursor.execute(
            f"SELECT DISTINCT {shown} FROM ({several}) AS twice JOIN {hits} AS h USING (file, row) "
            f"JOIN {self._given.place} AS {source} ON {source}.{identifier(ROW)} = h.source "
            f"WHERE h.clause <> 0 LIMIT {SAMPLES}"
        ).fetchall()
        examples = tuple(", ".join(str(value) for value in sample) for sample in samples)
        raise DataError(
            f"several rows of the source would update the same row, {many(row[0])} of the table; "
            f"for example those with {' and '.join(p.column for p in pairs) or 'the values'} "
            f"{'; '.join(examples[:3])}",
            next_step="Leave one of each in the source, for example with "
            "deduplicate='latest by <column>'; nothing was written",
            column=pairs[0].column if pairs else None,
            count=int(row[0]),
            samples=examples,
        )

    def _copy(self, snapshot: Snapshot, counts: Mapping[FileKey, Count]) -> list[_Copy]:
        """Return files with what stays and comes of ``counts``, those of earlier plans among them."""
        for copy in [copy for copy in self._copies if not copy.keys <= counts.keys()]:
            self._copies.remove(copy)
            self._delete(copy.files)
        rest = counts.keys() - {key for copy in self._copies for key in copy.keys}
        todo = groups(part(snapshot, rest).files.adds() if rest else ())
        for group in todo:
            with opened(part(snapshot, group), self._scanner, "copy rows") as there:
                self._copy_group(there, counts, group, alone=len(todo) == 1)
        return self._copies

    def _copy_group(
        self,
        there: Opened,
        counts: Mapping[FileKey, Count],
        keys: frozenset[FileKey],
        *,
        alone: bool,
    ) -> None:
        assert self._bound is not None
        snapshot = there.snapshot
        self._hits.number(there)
        updated = sum(counts[key].updated for key in keys)
        deleted = sum(counts[key].deleted for key in keys)
        kept = count_rows(snapshot, self._engine, self._scanner) - updated - deleted
        making = [self._bound.made[number] for number in self._updates] if updated else []
        files = self._write(there, [self._bound.kept], making, is_all=alone)
        self._copies.append(_Copy(keys, files, kept))
        if files.rows != kept + updated:
            self.discard()
            raise LakehouseError(
                f"copying {len(keys)} files gave {files.rows} rows instead of {kept + updated}",
                next_step="Report this; nothing was committed",
            )

    def _insert(self, snapshot: Snapshot, met: frozenset[FileKey]) -> NewFiles:
        """Return files with the source rows that are new, given the files with hits."""
        assert self._bound is not None
        if self._bound.inserting is None or met == self._met:
            return self._inserted
        self._delete(self._inserted)
        self._inserted, self._met = _NOTHING, None
        inserts = [self._bound.made[number] for number, _ in self._merge.of("not matched")]
        with opened(part(snapshot, ()), self._scanner, "insert rows") as there:
            self._hits.number(there)
            self._inserted = self._write(there, [], inserts, is_all=True)
        self._met = met
        return self._inserted

    def _write(
        self, there: Opened, kept: list[str], making: list[Making], *, is_all: bool
    ) -> NewFiles:
        """Write rows that stay, and rows that are made, which are checked."""

        def explain(error: DuckError) -> LakehouseError:
            return _explained(error, there.cursor, making, is_all=is_all)

        snapshot = there.snapshot
        parts = [*kept, *(made.query.checked() for made in making)]
        return write_files(
            there.cursor,
            " UNION ALL ".join(f"({sql})" for sql in parts),
            snapshot.files.layout,
            storage=snapshot.storage,
            properties=snapshot.properties,
            explain=explain,
        )

    def _dry(
        self,
        snapshot: Snapshot,
        counts: Mapping[FileKey, Count],
        touched: Mapping[FileKey, Count],
        partly: Mapping[FileKey, Count],
    ) -> Merged:
        assert self._bound is not None
        inserted = 0
        if self._bound.inserting is not None:
            with self._engine.work("count the rows to insert") as cursor:
                row = cursor.execute(
                    f"SELECT count(*) FROM ({self._bound.inserting}) WHERE clause <> 0"
                ).fetchone()
            inserted = 0 if row is None else int(row[0])
        rows = count_rows(part(snapshot, partly), self._engine, self._scanner) if partly else 0
        return Merged(
            gone=tuple(snapshot.files.only(touched.keys()).adds()),
            adds=(),
            rows_updated=sum(count.updated for count in touched.values()),
            rows_inserted=inserted,
            rows_deleted=sum(count.deleted for count in touched.values()),
            rows_copied=rows - sum(c.updated + c.deleted for c in partly.values()),
            reads=Reads(frozenset(counts)),
        )

    def _matching(self, snapshot: Snapshot, asked: Question) -> MayMatch:
        layout, engine = snapshot.files.layout, self._engine
        return lambda adds: may_match(adds, layout, asked, engine)


def _explained(
    error: DuckError, cursor: Connection, making: list[Making], *, is_all: bool
) -> LakehouseError:
    """Return what is wrong with the rows that clauses make; ``is_all``: there are no others."""
    for made in making:
        try:
            cursor.execute(f"SELECT hash(COLUMNS(*)) FROM ({made.query.checked()})").fetchall()
        except DuckError as found:
            source = dataclasses.replace(made.source, rescannable=is_all)
            return rejected(found, cursor, source, made.query)
    return translate(error, "write the rows")
