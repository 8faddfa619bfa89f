"""Write what a merge's commit needs: copies without the rows that go, marks, new rows, changes.

Files never change, so that what was written of some holds on a fresher snapshot too, as long as
the same files are there; the rest is deleted from the storage.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence

from catalog.errors import LakehouseError
from catalog.storage import Storage
from lakehouse.delta.actions import AddFile, FileKey
from lakehouse.delta.files.adds import records
from lakehouse.delta.snapshot import Snapshot
from lakehouse.dml.binding import Bound, Making
from lakehouse.dml.copies import groups
from lakehouse.dml.hits import Count, Hits
from lakehouse.dml.lone import Setting
from lakehouse.dml.marking import NOTHING, Marked, discard_marks, is_cheaper, mark, may_mark
from lakehouse.dml.parts import Opened, count_rows, opened, part
from lakehouse.dml.splicing import splice
from lakehouse.dml.thinning import thin, thinnable
from lakehouse.duck.engine import Connection, Engine
from lakehouse.duck.errors import DuckError, translate
from lakehouse.scan.read import Scanner
from lakehouse.write.change_files import (
    NO_CHANGES,
    NewChanges,
    discard_changes,
    write_stored_changes,
)
from lakehouse.write.data_files import NewFiles, discard_files, write_files
from lakehouse.write.query import rejected

_NO_FILES = NewFiles((), 0, 0)
_Known = tuple[frozenset[FileKey], frozenset[FileKey]]


@dataclasses.dataclass(frozen=True, slots=True)
class Copied:
    """Hold what was written of a group of files: without their rows that go, with what comes.

    ``is_whole`` says that what comes is there, and not in files of new rows.
    """

    keys: frozenset[FileKey]
    files: NewFiles
    kept: int
    is_whole: bool = True


@dataclasses.dataclass(frozen=True, slots=True)
class Parts:
    """Say what is done with files of which a part changes: these are marked, those are copied."""

    marked: Mapping[FileKey, Count]
    copied: Mapping[FileKey, Count]


def parted(snapshot: Snapshot, partly: Mapping[FileKey, Count]) -> Parts:
    """Return in which files rows are marked: where the table has vectors, and that is cheaper."""
    if not partly or not may_mark(snapshot):
        return Parts({}, partly)
    adds = part(snapshot, partly).files.adds()
    cheaper = {add.key for add in adds if is_cheaper(add, partly[add.key].changed)}
    return Parts(
        {key: count for key, count in partly.items() if key in cheaper},
        {key: count for key, count in partly.items() if key not in cheaper},
    )


class Output:
    """Hold the files that were written for a merge, from one plan to the next."""

    def __init__(self, hits: Hits, engine: Engine, scanner: Scanner) -> None:
        self._hits = hits
        self._engine = engine
        self._scanner = scanner
        self._storage: Storage | None = None
        self._copies: list[Copied] = []
        self._marked: Marked = NOTHING
        self._new: tuple[_Known | None, NewFiles] = (None, _NO_FILES)
        self._changes: tuple[_Known | None, NewChanges] = (None, NO_CHANGES)

    def discard(self) -> None:
        """Delete all files, for none of them is in a commit."""
        while self._copies:
            self._delete(self._copies.pop().files)
        self._delete(self._new[1])
        if self._storage is not None:
            discard_marks(self._storage, self._marked)
            discard_changes(self._storage, self._changes[1])
        self._marked = NOTHING
        self._new, self._changes = (None, _NO_FILES), (None, NO_CHANGES)

    def copies(
        self, snapshot: Snapshot, bound: Bound, counts: Mapping[FileKey, Count]
    ) -> list[Copied]:
        """Return files with what stays and comes of ``counts``, those of earlier plans among them."""
        self._storage = snapshot.storage
        for copy in [copy for copy in self._copies if not copy.keys <= counts.keys()]:
            self._copies.remove(copy)
            self._delete(copy.files)
        rest = counts.keys() - {key for copy in self._copies for key in copy.keys}
        if rest and bound.setting is not None:
            rest -= self._splice(snapshot, bound.setting, counts, rest)
        if rest:
            rest -= self._thin(snapshot, counts, rest)
        todo = groups(part(snapshot, rest).files.adds() if rest else ())
        for group in todo:
            with opened(part(snapshot, group), self._scanner, "copy rows") as there:
                self._copy(there, bound, counts, group, alone=len(todo) == 1)
        return self._copies

    def marks(self, snapshot: Snapshot, counts: Mapping[FileKey, Count]) -> Marked:
        """Return the files of ``counts`` under vectors that mark the rows that go."""
        self._storage = snapshot.storage
        if counts.keys() != {add.key for add in self._marked.gone}:
            discard_marks(snapshot.storage, self._marked)
            self._marked = NOTHING
            if counts:
                self._marked = mark(snapshot, self._hits.rows(counts))
        return self._marked

    def new_rows(
        self,
        snapshot: Snapshot,
        bound: Bound,
        touched: Mapping[FileKey, Count],
        met: frozenset[FileKey],
    ) -> NewFiles:
        """Return files with what comes of ``touched``, and the source's rows that are new.

        ``met`` are the files with hits: which source rows are new follows from these.
        """
        self._storage = snapshot.storage
        known = (frozenset(touched), met)
        if self._new[0] == known:
            return self._new[1]
        self._delete(self._new[1])
        self._new = (None, _NO_FILES)
        updated = any(count.updated for count in touched.values())
        updates = bound.updates
        if bound.keeping is not None and self._hits.holds(bound.keeping):
            updates = (bound.keeping.making,)
        makings = [*(updates if updated else ()), *bound.inserts]
        files = _NO_FILES
        if makings:
            needed = touched if any(making.reads for making in makings) else ()
            with opened(part(snapshot, needed), self._scanner, "write rows") as there:
                if needed:
                    self._hits.number(there)
                else:
                    self._hits.number_files(there.cursor, touched)
                if any(making.masked for making in makings):
                    self._hits.mask(there)
                files = _write(there, [], makings, is_all=True)
        self._new = (known, files)
        return files

    def changes(
        self,
        snapshot: Snapshot,
        bound: Bound,
        touched: Mapping[FileKey, Count],
        met: frozenset[FileKey],
    ) -> NewChanges:
        """Return change data files of all that changes in files ``touched``, and of new rows."""
        self._storage = snapshot.storage
        known = (frozenset(touched), met)
        if self._changes[0] != known:
            discard_changes(snapshot.storage, self._changes[1])
            self._changes = (None, NO_CHANGES)
            with opened(part(snapshot, touched), self._scanner, "record the change") as there:
                self._hits.number(there)
                self._hits.mask(there)
                self._changes = (known, write_stored_changes(there.cursor, bound.changes, snapshot))
        return self._changes[1]

    def _splice(
        self,
        snapshot: Snapshot,
        setting: Setting,
        counts: Mapping[FileKey, Count],
        keys: Collection[FileKey],
    ) -> set[FileKey]:
        """Write some files with new columns beside their old ones, and return which."""
        spliced = splice(snapshot, part(snapshot, keys).files.adds(), setting, self._engine)
        for old, new in spliced:
            rows = records(old) or 0
            files = NewFiles((new,), rows, new.size)
            self._copies.append(Copied(frozenset({old.key}), files, rows - counts[old.key].changed))
        return {old.key for old, _ in spliced}

    def _thin(
        self, snapshot: Snapshot, counts: Mapping[FileKey, Count], keys: Collection[FileKey]
    ) -> set[FileKey]:
        """Write some files without few of their rows, and return which.

        What comes of these stands in a file of new rows: one a partition, where there are some, is
        too many.
        """
        lost = {key: counts[key].changed for key in keys}
        if snapshot.partition_columns:
            lost = {key: number for key, number in lost.items() if not counts[key].updated}
        adds = thinnable(snapshot, part(snapshot, lost).files.adds(), lost)
        if not adds:
            return set()
        rows = self._hits.rows({add.key for add in adds})
        thinned = thin(snapshot, adds, rows, self._engine)
        for old, new in thinned:
            kept = records(new) or 0
            files = NewFiles((new,), kept, new.size)
            self._copies.append(Copied(frozenset({old.key}), files, kept, is_whole=False))
        return {old.key for old, _ in thinned}

    def _copy(
        self,
        there: Opened,
        bound: Bound,
        counts: Mapping[FileKey, Count],
        keys: frozenset[FileKey],
        *,
        alone: bool,
    ) -> None:
        """Copy a group of files, and verify the number of rows."""
        self._hits.number(there)
        updated = sum(counts[key].updated for key in keys)
        kept = count_rows(there.snapshot, self._engine, self._scanner)
        kept -= sum(counts[key].changed for key in keys)
        makings = bound.updates if updated else ()
        if updated and bound.together is not None:
            files = _write(there, [bound.together], makings, is_all=alone, made=[])
        else:
            rest = bound.kept if self._hits.mask(there) else bound.joined
            files = _write(there, [rest], makings, is_all=alone)
        self._copies.append(Copied(keys, files, kept))
        if files.rows != kept + updated:
            self.discard()
            raise LakehouseError(
                f"copying {len(keys)} files gave {files.rows} rows instead of {kept + updated}",
                next_step="Report this; nothing was committed",
            )

    def _delete(self, files: NewFiles) -> None:
        if files.adds and self._storage is not None:
            discard_files(self._storage, files)


def _write(
    there: Opened,
    kept: Sequence[str],
    makings: Sequence[Making],
    *,
    is_all: bool,
    made: Sequence[str] | None = None,
) -> NewFiles:
    """Write rows that stay, and rows that are made, which are checked.

    ``made`` is SQL of these, where it is not that of the ``makings``, which explain errors.
    """

    def explain(error: DuckError) -> LakehouseError:
        return _explained(error, there.cursor, makings, is_all=is_all)

    snapshot = there.snapshot
    if made is None:
        made = [making.query.checked() for making in makings]
    every = [*kept, *made]
    return write_files(
        there.cursor,
        " UNION ALL ".join(f"({sql})" for sql in every),
        snapshot.files.layout,
        storage=snapshot.storage,
        properties=snapshot.properties,
        explain=explain,
    )


def _explained(
    error: DuckError, cursor: Connection, makings: Sequence[Making], *, is_all: bool
) -> LakehouseError:
    """Return what is wrong with the rows that clauses make; ``is_all``: there are no others."""
    for making in makings:
        try:
            cursor.execute(f"SELECT hash(COLUMNS(*)) FROM ({making.query.checked()})").fetchall()
        except DuckError as found:
            source = dataclasses.replace(making.source, rescannable=is_all)
            return rejected(found, cursor, source, making.query)
    return translate(error, "write the rows")


def sizes(adds: Sequence[AddFile]) -> int:
    """Return the bytes of files together."""
    return sum(add.size for add in adds)
