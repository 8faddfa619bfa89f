"""Remove the rows that a predicate is true for, by copy-on-write.

Three kinds of files are told apart: those in which no row matches stay; those in which all do
are removed unread, where partition values or statistics prove it; of the rest, which are counted
first, only those with a match are copied without it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

from catalog.errors import LakehouseError, UnsupportedError
from catalog.storage import Storage
from lakehouse.delta import actions as act
from lakehouse.delta.actions import FileKey
from lakehouse.delta.conflict import MayMatch, Reads
from lakehouse.delta.protocol import check_change_files
from lakehouse.delta.snapshot import Snapshot
from lakehouse.dml.parts import Opened, count_rows, opened, part, reference
from lakehouse.duck.engine import Engine
from lakehouse.scan.matching import Answer, Question, answers, may_match, question
from lakehouse.scan.predicate import Predicate, parse_predicate
from lakehouse.scan.read import Scanner
from lakehouse.scan.views import has_other_names
from lakehouse.write.data_files import NewFiles, discard_files

# Files are copied in groups of this size: where somebody rewrites one of them meanwhile, what was
# copied of the other groups still holds.
GROUP_BYTES = 256 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class Removed:
    """Hold a planned removal: files that go, files with the rows that stay, what was read.

    ``rows_deleted`` is None where nobody counted.
    """

    gone: tuple[act.AddFile, ...]
    kept: tuple[act.AddFile, ...]
    rows_deleted: int | None
    rows_kept: int
    reads: Reads

    def metrics(self) -> dict[str, int]:
        """Return what history shall say of it, in Spark's words."""
        files = {
            "numRemovedFiles": len(self.gone),
            "numRemovedBytes": sum(add.size for add in self.gone),
        }
        if self.rows_deleted is None:
            return files
        return files | {
            "numAddedFiles": len(self.kept),
            "numAddedBytes": sum(add.size for add in self.kept),
            "numDeletedRows": self.rows_deleted,
            "numCopiedRows": self.rows_kept,
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
        self._copies: list[tuple[frozenset[FileKey], NewFiles]] = []

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
        """Find what goes of a snapshot, and write the rows that stay of the touched files."""
        predicate = self.predicate(snapshot)
        if self._asked is None or snapshot.metadata != self._table:
            self.discard()
            self._matches.clear()
            self._table = snapshot.metadata
            self._asked = question(reference(snapshot), predicate, self._scanner)
        asked = self._asked
        candidates = answers(snapshot.files, asked, self._engine)
        found = {answer.key: answer for answer in candidates if answer.rows != 0}
        matches = self._count(snapshot, found)
        partly = frozenset(key for key, count in matches.items() if count != found[key].rows)
        copies = self._copy(snapshot, partly)
        return Removed(
            gone=tuple(snapshot.files.only(matches.keys()).adds()),
            kept=tuple(add for files in copies for add in files.adds),
            rows_deleted=sum(matches.values()),
            rows_kept=sum(files.rows for files in copies),
            reads=Reads(frozenset(matches), matching=self._matching(snapshot, asked)),
        )

    def discard(self) -> None:
        """Delete the files that were written, for none of them is in a commit."""
        while self._copies:
            _, files = self._copies.pop()
            assert self._storage is not None
            discard_files(self._storage, files)

    def _count(self, snapshot: Snapshot, found: Mapping[FileKey, Answer]) -> dict[FileKey, int]:
        """Return how many rows match in each file with such a row, reading what is not known."""
        proven = {key: a.rows for key, a in found.items() if a.all and a.rows is not None}
        unknown = [key for key in found if key not in proven and key not in self._matches]
        if unknown:
            files = part(snapshot, unknown)
            with opened(files, self._scanner, "find the rows that match") as there:
                keys = [add.key for add in files.files.adds()]
                counted = there.matches(self.predicate(snapshot).sql)
                self._matches |= {key: counted.get(i, 0) for i, key in enumerate(keys)}
                if files.files.bytes <= GROUP_BYTES and all(
                    0 < self._matches[key] != found[key].rows for key in keys
                ):
                    # After a lost race it is mostly so: what is open need not be opened again.
                    self._copy_group(there, frozenset(keys))
        counts = {key: proven.get(key, self._matches.get(key, 0)) for key in found}
        return {key: count for key, count in counts.items() if count}

    def _copy(self, snapshot: Snapshot, keys: frozenset[FileKey]) -> list[NewFiles]:
        """Return files with what stays of ``keys``, those of earlier plans among them."""
        for done in [copy for copy in self._copies if not copy[0] <= keys]:
            self._copies.remove(done)
            discard_files(snapshot.storage, done[1])
        rest = keys.difference(*(copied for copied, _ in self._copies))
        for group in _groups(part(snapshot, rest).files.adds() if rest else ()):
            with opened(part(snapshot, group), self._scanner, "copy rows") as there:
                self._copy_group(there, group)
        return [files for _, files in self._copies]

    def _copy_group(self, there: Opened, keys: frozenset[FileKey]) -> None:
        """Copy what stays of files, and verify the number of rows."""
        snapshot = there.snapshot
        check_change_files(snapshot.protocol, snapshot.properties, "delete some")
        expected = count_rows(snapshot, self._engine, self._scanner)
        expected -= sum(self._matches[key] for key in keys)
        kept = there.copy(where=f"({self.predicate(snapshot).sql}\n) IS NOT TRUE")
        self._storage = snapshot.storage
        self._copies.append((keys, kept))
        if kept.rows != expected:
            self.discard()
            raise LakehouseError(
                f"copying {len(keys)} files kept {kept.rows} rows instead of {expected}",
                next_step="Report this; nothing was committed",
            )

    def _matching(self, snapshot: Snapshot, asked: Question) -> MayMatch:
        layout, engine = snapshot.files.layout, self._engine
        return lambda adds: may_match(adds, layout, asked, engine)


def _groups(adds: Iterable[act.AddFile]) -> list[frozenset[FileKey]]:
    """Return the keys of files in groups of about ``GROUP_BYTES``, in their order."""
    groups: list[set[FileKey]] = []
    size = 0
    for add in adds:
        if not groups or size + add.size > GROUP_BYTES:
            groups.append(set())
            size = 0
        groups[-1].add(add.key)
        size += add.size
    return [frozenset(group) for group in groups]
