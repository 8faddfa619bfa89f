"""Copy of files the rows that stay, in groups, from one plan to the next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from catalog.errors import LakehouseError
from catalog.storage import Storage
from lakehouse.delta import actions as act
from lakehouse.delta.actions import FileKey
from lakehouse.delta.bitmap import Bitmap
from lakehouse.delta.files.adds import records
from lakehouse.delta.snapshot import Snapshot
from lakehouse.dml.parts import Opened, count_rows, opened, part
from lakehouse.dml.thinning import thin, thinnable
from lakehouse.duck.engine import Engine
from lakehouse.scan.read import Scanner
from lakehouse.write.data_files import NewFiles, discard_files

# Files are copied in groups of this size: where somebody rewrites one of them meanwhile, what was
# copied of the other groups still holds.
GROUP_BYTES = 256 << 20


class Copies:
    """Hold what was copied of files that lose some of their rows: files never change.

    ``matches`` says how many rows each file loses, and ``rows`` which, where that is known; the
    caller fills both before it asks.
    """

    def __init__(
        self,
        matches: Mapping[FileKey, int],
        rows: Mapping[FileKey, Bitmap],
        engine: Engine,
        scanner: Scanner,
    ) -> None:
        self._matches = matches
        self._rows = rows
        self._engine = engine
        self._scanner = scanner
        self._storage: Storage | None = None
        self._copies: list[tuple[frozenset[FileKey], NewFiles]] = []

    def of(self, snapshot: Snapshot, keys: frozenset[FileKey], lost: str) -> list[NewFiles]:
        """Return files with what stays of ``keys``, those of earlier plans among them.

        ``lost`` is a predicate, true for the rows that go.
        """
        for done in [copy for copy in self._copies if not copy[0] <= keys]:
            self._copies.remove(done)
            discard_files(snapshot.storage, done[1])
        rest = keys.difference(*(copied for copied, _ in self._copies))
        rest -= self._thin(snapshot, rest)
        for group in groups(part(snapshot, rest).files.adds() if rest else ()):
            with opened(part(snapshot, group), self._scanner, "copy rows") as there:
                self.add(there, group, lost)
        return [files for _, files in self._copies]

    def add(self, there: Opened, keys: frozenset[FileKey], lost: str) -> None:
        """Copy what stays of files that are open, and verify the number of rows."""
        expected = count_rows(there.snapshot, self._engine, self._scanner)
        expected -= sum(self._matches[key] for key in keys)
        kept = there.copy(where=f"({lost}\n) IS NOT TRUE")
        self._storage = there.snapshot.storage
        self._copies.append((keys, kept))
        if kept.rows != expected:
            self.discard()
            raise LakehouseError(
                f"copying {len(keys)} files kept {kept.rows} rows instead of {expected}",
                next_step="Report this; nothing was committed",
            )

    def is_one_copy(self, snapshot: Snapshot) -> bool:
        """Tell whether a snapshot's files are copied together, none of them thinned."""
        return snapshot.files.bytes <= GROUP_BYTES and not (
            self._rows and thinnable(snapshot, snapshot.files.adds(), self._matches)
        )

    def _thin(self, snapshot: Snapshot, keys: frozenset[FileKey]) -> set[FileKey]:
        """Write some files anew without few of their rows, and return which."""
        known = keys & self._rows.keys()
        adds = thinnable(snapshot, part(snapshot, known).files.adds(), self._matches)
        made = thin(snapshot, adds, self._rows, self._engine)
        self._storage = snapshot.storage
        for old, new in made:
            files = NewFiles((new,), records(new) or 0, new.size)
            self._copies.append((frozenset({old.key}), files))
        return {old.key for old, _ in made}

    def discard(self) -> None:
        """Delete the files that were written, for none of them is in a commit."""
        while self._copies:
            _, files = self._copies.pop()
            assert self._storage is not None
            discard_files(self._storage, files)


def groups(adds: Iterable[act.AddFile]) -> list[frozenset[FileKey]]:
    """Return the keys of files in groups of about ``GROUP_BYTES``, in their order."""
    found: list[set[FileKey]] = []
    size = 0
    for add in adds:
        if not found or size + add.size > GROUP_BYTES:
            found.append(set())
            size = 0
        found[-1].add(add.key)
        size += add.size
    return [frozenset(group) for group in found]
