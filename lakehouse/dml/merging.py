"""Update, delete and insert rows by one set of clauses.

The rows that change are found first, reading what the conditions need. Touched files are copied
without them and with what they become, or are marked where that is cheaper; what is new stands in
files of its own. On a table with a change data feed, each change is recorded beside.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from lakehouse.delta import actions as act
from lakehouse.delta.actions import FileKey
from lakehouse.delta.change_data import is_recorded
from lakehouse.delta.conflict import MayMatch, Reads
from lakehouse.delta.snapshot import Snapshot
from lakehouse.dml.binding import Bound, bind
from lakehouse.dml.clauses import Merge
from lakehouse.dml.duplicates import check_duplicates
from lakehouse.dml.hits import Count, Hits
from lakehouse.dml.keys import reached
from lakehouse.dml.output import Output, Parts, parted, sizes
from lakehouse.dml.parts import count_rows, opened, part
from lakehouse.dml.workspace import Given, Workspace
from lakehouse.scan.matching import Question, answers, may_match
from lakehouse.scan.read import Scanner
from lakehouse.write.change_files import NO_CHANGES, NewChanges


@dataclasses.dataclass(frozen=True, slots=True)
class Merged:
    """Hold a planned merge: files that go and come, the number of rows, and what was read.

    ``marked`` files are there before and after, under another deletion vector. ``changes`` are
    the change data files, where there must be some.
    """

    gone: tuple[act.AddFile, ...]
    adds: tuple[act.AddFile, ...]
    marked: tuple[act.AddFile, ...]
    rows_updated: int
    rows_inserted: int
    rows_deleted: int
    rows_copied: int
    reads: Reads
    changes: NewChanges = NO_CHANGES

    @property
    def is_idle(self) -> bool:
        """Tell whether nothing changes."""
        return not self.gone and not self.adds

    @property
    def actions(self) -> tuple[act.Action, ...]:
        """Return what comes, as the log says it."""
        return (*self.adds, *self.marked, *self.changes.actions)

    def metrics(self) -> dict[str, int]:
        """Return what history shall say of it, in Spark's words."""
        found = {
            "numTargetRowsUpdated": self.rows_updated,
            "numTargetRowsInserted": self.rows_inserted,
            "numTargetRowsDeleted": self.rows_deleted,
            "numTargetRowsCopied": self.rows_copied,
            "numTargetFilesAdded": len(self.adds),
            "numTargetFilesRemoved": len(self.gone) - len(self.marked),
            "numTargetBytesAdded": sizes(self.adds),
            "numTargetBytesRemoved": sizes(self.gone) - sizes(self.marked),
            "numOutputRows": self.rows_updated + self.rows_inserted + self.rows_copied,
        }
        if self.marked:
            found["numTargetDeletionVectorsAdded"] = len(self.marked)
        if self.changes.actions:
            found["numTargetChangeFilesAdded"] = len(self.changes.actions)
        return found


@dataclasses.dataclass(frozen=True, slots=True)
class _Found:
    """Hold what changes in a snapshot: counts of all files with hits, and what is done to them.

    ``emptied`` are files of which no row stays as it was. ``there`` is the snapshot with the files
    alone that have hits.
    """

    there: Snapshot
    counts: Mapping[FileKey, Count]
    touched: Mapping[FileKey, Count]
    emptied: frozenset[FileKey]
    parts: Parts

    @property
    def met(self) -> frozenset[FileKey]:
        return frozenset(self.counts)


class Merging:
    """Plan a merge on one snapshot after another, writing what it needs; use it in a `workspace`."""

    def __init__(
        self, merge: Merge, given: Given | None, *, space: Workspace, scanner: Scanner
    ) -> None:
        self._merge = merge
        self._given = given
        self._space = space
        self._engine = space.engine
        self._scanner = scanner
        self._hits = Hits(space)
        self._output = Output(self._hits, space.engine, scanner)
        self._table: act.Metadata | None = None
        self._known: tuple[Bound, Question] | None = None

    def plan(self, snapshot: Snapshot) -> Merged:
        """Find what changes in a snapshot, and write the new files."""
        bound, asked = self._bind(snapshot)
        found = self._find(snapshot, bound, asked)
        there = found.there
        copies = self._output.copies(there, bound, found.parts.copied)
        marked = self._output.marks(there, found.parts.marked)
        thinned = frozenset(key for copy in copies if not copy.is_whole for key in copy.keys)
        apart = {key: found.parts.copied[key] for key in thinned} | dict(found.parts.marked)
        new = self._output.new_rows(there, bound, apart, found.met)
        changes = NO_CHANGES
        # Else whole files tell it: what they lose and gain is what changes.
        partly = found.parts.copied or found.parts.marked
        if partly and is_recorded(snapshot.protocol, snapshot.properties):
            changes = self._output.changes(there, bound, found.touched, found.met)
        return Merged(
            gone=there.files.only(found.touched.keys()).adds(),
            adds=(*(add for copy in copies for add in copy.files.adds), *new.adds),
            marked=marked.kept,
            rows_updated=sum(count.updated for count in found.touched.values()),
            rows_inserted=new.rows - sum(c.updated for c in apart.values()),
            rows_deleted=sum(count.deleted for count in found.touched.values()),
            rows_copied=sum(copy.kept for copy in copies),
            reads=self._reads(snapshot, found, asked),
            changes=changes,
        )

    def foresee(self, snapshot: Snapshot) -> Merged:
        """Say what `plan` would do, and write nothing: no file is known that would come."""
        bound, asked = self._bind(snapshot)
        found = self._find(snapshot, bound, asked, keep=False)
        there = found.there
        inserted, copied = 0, 0
        if bound.inserting is not None:
            with self._engine.work("count the rows to insert") as cursor:
                row = cursor.execute(f"SELECT count(*) FROM ({bound.inserting})").fetchone()
            inserted = 0 if row is None else int(row[0])
        if found.parts.copied:
            files = part(there, found.parts.copied)
            copied = count_rows(files, self._engine, self._scanner)
            copied -= sum(count.changed for count in found.parts.copied.values())
        return Merged(
            gone=there.files.only(found.touched.keys()).adds(),
            adds=(),
            marked=there.files.only(found.parts.marked.keys() - found.emptied).adds(),
            rows_updated=sum(count.updated for count in found.touched.values()),
            rows_inserted=inserted,
            rows_deleted=sum(count.deleted for count in found.touched.values()),
            rows_copied=copied,
            reads=Reads(found.met),
        )

    def discard(self) -> None:
        """Delete the files that were written, for none of them is in a commit."""
        self._output.discard()

    def _bind(self, snapshot: Snapshot) -> tuple[Bound, Question]:
        if self._known is None or snapshot.metadata != self._table:
            self.discard()
            self._hits.keep_only(())
            with opened(part(snapshot, ()), self._scanner, "read the merge") as there:
                self._hits.number(there)
                bound = bind(self._merge, self._given, self._hits.place, there, self._space)
            asked = reached(
                self._merge,
                bound.join,
                bound.scope,
                self._given,
                snapshot,
                space=self._space,
                scanner=self._scanner,
            )
            self._known, self._table = (bound, asked), snapshot.metadata
        return self._known

    def _find(
        self, snapshot: Snapshot, bound: Bound, asked: Question, *, keep: bool = True
    ) -> _Found:
        """Look into the files that may match and were not looked into, and count.

        ``keep`` rows for what is made of them, where they are few.
        """
        found = {a.key: a for a in answers(snapshot.files, asked, self._engine) if a.rows != 0}
        self._hits.keep_only(found)
        unseen = self._hits.unseen(found)
        if unseen and self._merge.repeated is not None:
            # Which row is repeated depends on all files together.
            self._hits.keep_only(())
            unseen = list(found)
        near = part(snapshot, unseen)
        if unseen:
            given = 0 if self._given is None else self._given.rows
            with opened(near, self._scanner, "find the rows that match") as there:
                keeping = bound.keeping if keep else None
                self._hits.add(there, bound.match, source_rows=given, keeping=keeping)
        updates = [i for i, c in enumerate(self._merge.clauses, 1) if c.verb == "update"]
        with self._engine.work("count the rows that change") as cursor:
            check_duplicates(cursor, self._hits.place, self._merge, bound.join, self._given)
            # Without a source, each row is told about once.
            counts = self._hits.counts(cursor, updates, once=self._given is None)
        touched = {key: count for key, count in counts.items() if count.changed}
        emptied = frozenset(key for key, c in touched.items() if c.changed == found[key].rows)
        partly = {key: c for key, c in touched.items() if c.updated or key not in emptied}
        # What was made of the files that are open is used again, where it can be.
        hit = part(near if near.files.keys() >= counts.keys() else snapshot, counts)
        return _Found(hit, counts, touched, emptied, parted(hit, partly))

    def _reads(self, snapshot: Snapshot, found: _Found, asked: Question) -> Reads:
        if self._merge.repeated is not None:
            return Reads(frozenset(snapshot.files.keys()), everything=True)
        return Reads(found.met, matching=self._matching(snapshot, asked))

    def _matching(self, snapshot: Snapshot, asked: Question) -> MayMatch:
        layout, engine = snapshot.files.layout, self._engine
        return lambda adds: may_match(adds, layout, asked, engine)
