"""Remove the rows that a predicate is true for.

Three kinds of files are told apart: those in which no row matches stay; those in which all do
are removed unread, where partition values or statistics prove it; the rest is read first. Of the
files in which some rows match, those are marked in a deletion vector where the table has them and
that is cheaper; else the others are copied. On a table with a change data feed, what goes is
recorded beside, unless whole files tell it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from catalog.errors import UnsupportedError
from catalog.storage import Storage
from lakehouse.delta import actions as act
from lakehouse.delta.actions import FileKey
from lakehouse.delta.bitmap import Bitmap
from lakehouse.delta.change_data import is_recorded
from lakehouse.delta.conflict import MayMatch, Reads
from lakehouse.delta.snapshot import Snapshot
from lakehouse.dml.copies import Copies
from lakehouse.dml.marking import (
    NOTHING,
    Marked,
    discard_marks,
    is_cheaper,
    mark,
    may_mark,
    rows_by_file,
)
from lakehouse.dml.parts import Opened, opened, part, reference, seem_few
from lakehouse.dml.remaking import worth_it
from lakehouse.dml.thinning import FEW, MOST
from lakehouse.duck.engine import Engine
from lakehouse.duck.sql import UNORDERED
from lakehouse.scan.matching import Answer, Question, answers, may_match, question
from lakehouse.scan.predicate import Predicate, parse_predicate
from lakehouse.scan.read import Scanner
from lakehouse.scan.views import has_other_names
from lakehouse.write.change_files import (
    NO_CHANGES,
    NewChanges,
    as_changes,
    discard_changes,
    write_changes,
)


@dataclasses.dataclass(frozen=True, slots=True)
class Removed:
    """Hold a planned removal: files that go, files with the rows that stay, what was read.

    ``rows_deleted`` is None where nobody counted; ``rows_kept`` were copied. Of ``kept``, as many
    as ``marked`` are files that were there, under a new deletion vector. ``recorded`` says that
    the commit must name change data files: ``changes``, and those of all else that it does.
    """

    gone: tuple[act.AddFile, ...]
    kept: tuple[act.AddFile, ...]
    rows_deleted: int | None
    rows_kept: int
    reads: Reads
    marked: int = 0
    recorded: bool = False
    changes: NewChanges = NO_CHANGES

    def metrics(self) -> dict[str, int]:
        """Return what history shall say of it, in Spark's words."""
        copied = self.kept[self.marked :]
        gone = sum(add.size for add in self.gone) - sum(a.size for a in self.kept[: self.marked])
        files = {"numRemovedFiles": len(self.gone) - self.marked, "numRemovedBytes": gone}
        if self.rows_deleted is None:
            return files
        return files | {
            "numAddedFiles": len(copied),
            "numAddedBytes": sum(add.size for add in copied),
            "numDeletedRows": self.rows_deleted,
            "numCopiedRows": self.rows_kept,
            **({"numDeletionVectorsAdded": self.marked} if self.marked else {}),
            **({"numAddedChangeFiles": len(self.changes.paths)} if self.recorded else {}),
        }


def everything(snapshot: Snapshot) -> Removed:
    """Return the removal of all rows, those included that are not there yet."""
    gone = tuple(snapshot.files.adds())
    return Removed(gone, (), None, 0, Reads(frozenset(a.key for a in gone), everything=True))


class Removal:
    """Plan the removal of the rows that match, on one snapshot after another.

    Files never change, so that what was found in one, and copied of it, holds on a fresher
    snapshot too; what does not fit it any more is deleted from the storage.
    """

    def __init__(self, where: str, *, engine: Engine, scanner: Scanner) -> None:
        scanner.require_trust("where")
        self._where = where
        self._engine = engine
        self._scanner = scanner
        self._predicate: Predicate | None = None
        self._table: act.Metadata | None = None
        self._asked: Question | None = None
        self._storage: Storage | None = None
        self._matches: dict[FileKey, int] = {}
        self._rows: dict[FileKey, Bitmap] = {}
        self._copies = Copies(self._matches, self._rows, engine, scanner)
        self._marked: Marked = NOTHING
        self._changes: tuple[frozenset[FileKey], NewChanges] = (frozenset(), NO_CHANGES)

    def predicate(self, snapshot: Snapshot) -> Predicate:
        """Return the predicate, checked; the current time in it is that of the first call."""
        if self._predicate is None:
            columns = tuple(snapshot.schema.names())
            self._predicate = parse_predicate(self._where, columns=columns, engine=self._engine)
        return self._predicate

    def rule(self, snapshot: Snapshot) -> str:
        """Return the predicate as a rule for rows to be written."""
        predicate = self.predicate(snapshot)
        for field in snapshot.schema:
            if field.name.lower() in predicate.names and has_other_names(field.type):
                raise UnsupportedError(
                    f"a predicate on {field.name!r}, whose fields were renamed, cannot check new rows",
                    next_step="Delete the rows and append the new ones",
                    features=("columnMapping",),
                )
        return predicate.sql

    def plan(self, snapshot: Snapshot) -> Removed:
        """Find what goes of a snapshot, and write what a commit needs to say so."""
        predicate = self.predicate(snapshot)
        self._storage = snapshot.storage
        if self._asked is None or snapshot.metadata != self._table:
            self.discard()
            self._matches.clear()
            self._rows.clear()
            self._table = snapshot.metadata
            self._asked = question(reference(snapshot), predicate, self._scanner)
        asked = self._asked
        candidates = answers(snapshot.files, asked, self._engine)
        found = {answer.key: answer for answer in candidates if answer.rows != 0}
        matches = self._count(snapshot, found)
        partly = frozenset(key for key, count in matches.items() if count != found[key].rows)
        marked = self._mark(snapshot, partly)
        rest = partly.difference(add.key for add in marked.gone)
        copies = self._copies.of(snapshot, rest, predicate.sql)
        # delta-rs tells the wrong rows of a removed file that has a vector.
        told = not partly and not any(vector for _, vector in matches)
        recorded = not told and is_recorded(snapshot.protocol, snapshot.properties)
        copied = tuple(add for files in copies for add in files.adds)
        return Removed(
            gone=tuple(snapshot.files.only(matches.keys()).adds()),
            kept=(*marked.kept, *copied),
            rows_deleted=sum(matches.values()),
            rows_kept=sum(files.rows for files in copies),
            reads=Reads(frozenset(matches), matching=self._matching(snapshot, asked)),
            marked=len(marked.kept),
            recorded=recorded,
            changes=self._record(snapshot, frozenset(matches) if recorded else frozenset()),
        )

    def discard(self) -> None:
        """Delete the files that were written, for none of them is in a commit."""
        self._copies.discard()
        if self._storage is not None:
            discard_marks(self._storage, self._marked)
            discard_changes(self._storage, self._changes[1])
        self._marked, self._changes = NOTHING, (frozenset(), NO_CHANGES)

    def _count(self, snapshot: Snapshot, found: Mapping[FileKey, Answer]) -> dict[FileKey, int]:
        """Return how many rows match in each file with such a row, reading what is not known."""
        proven = {key: a.rows for key, a in found.items() if a.all and a.rows is not None}
        unknown = [key for key in found if key not in proven and key not in self._matches]
        if unknown:
            files = part(snapshot, unknown)
            predicate = self.predicate(snapshot).sql
            with opened(files, self._scanner, "find the rows that match") as there:
                keys = [add.key for add in there.adds]
                rows = self._numbers(there, predicate, keys)
                if rows is not None:
                    self._rows |= rows
                    self._matches |= {key: len(rows.get(key, ())) for key in keys}
                else:
                    counted = there.matches(predicate)
                    self._matches |= {key: counted.get(i, 0) for i, key in enumerate(keys)}
                if (
                    not may_mark(snapshot)
                    and self._copies.is_one_copy(files)
                    and all(0 < self._matches[key] != found[key].rows for key in keys)
                ):
                    # After a lost race it is mostly so: what is open need not be opened again.
                    self._copies.add(there, frozenset(keys), predicate)
        counts = {key: proven.get(key, self._matches.get(key, 0)) for key in found}
        return {key: count for key, count in counts.items() if count}

    def _numbers(
        self, there: Opened, predicate: str, keys: Sequence[FileKey]
    ) -> dict[FileKey, Bitmap] | None:
        """Return which rows of open files match; None where they are only counted: there are many."""
        selected = there.numbers(predicate)
        if may_mark(there.snapshot):
            return rows_by_file(there.cursor, selected, keys)
        rows = there.snapshot.files.rows(self._engine)
        if rows is None or not worth_it(there.snapshot, there.adds):
            return None
        most = min(rows // FEW, MOST)
        # Twice as many: in the first rows there may be more than elsewhere.
        if not seem_few(there.cursor, predicate, there.place, most=2 * most, of=rows):
            return None
        few = f"SELECT it.* FROM ({selected}) AS it {UNORDERED} LIMIT {most + 1}"
        found = rows_by_file(there.cursor, few, keys)
        return found if sum(map(len, found.values())) <= most else None

    def _mark(self, snapshot: Snapshot, partly: frozenset[FileKey]) -> Marked:
        """Mark the rows of those files in which that is cheaper than to copy the others."""
        adds = part(snapshot, partly).files.adds() if partly and may_mark(snapshot) else ()
        keys = {add.key for add in adds if is_cheaper(add, self._matches[add.key])}
        if keys != {add.key for add in self._marked.gone}:
            discard_marks(snapshot.storage, self._marked)
            self._marked = NOTHING
            if keys:
                self._marked = mark(snapshot, {key: self._rows[key] for key in keys})
        return self._marked

    def _record(self, snapshot: Snapshot, keys: frozenset[FileKey]) -> NewChanges:
        """Return change data files with all rows that go of files."""
        if self._changes[0] != keys:
            discard_changes(snapshot.storage, self._changes[1])
            self._changes = (frozenset(), NO_CHANGES)
            if keys:
                where = self.predicate(snapshot).sql
                with opened(part(snapshot, keys), self._scanner, "record the change") as there:
                    rows = as_changes(there.place, snapshot, "delete", where)
                    self._changes = (keys, write_changes(there.cursor, rows, snapshot))
        return self._changes[1]

    def _matching(self, snapshot: Snapshot, asked: Question) -> MayMatch:
        layout, engine = snapshot.files.layout, self._engine
        return lambda adds: may_match(adds, layout, asked, engine)
