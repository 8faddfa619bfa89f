"""Records of what happened, each a document of its own, folded together when they become many.

A record is a JSON object with an ``id``, a ``key`` (what it is about) and ``at``, its time as ISO
text in UTC. It is written once, under a name that nobody else uses, by any number of processes.
Who finds many documents writes one that holds all their records and then deletes them: until they
are gone, a record may stand in two documents, and counts once. What is older than the newest
``keep`` records is left out then, but for the newest of each key.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from catalog.errors import CorruptionError, LakehouseError, StorageError
from catalog.storage import Storage

MAINTENANCE = "_maintenance"  # the folder of a lake's runs of upkeep
KEEP = 10_000
FOLD_AT = 100
_TRIES = 20
Record = Mapping[str, Any]


class Records:
    """Add and read the records in one folder. Safe for many threads and processes.

    >>> from catalog.storage import open_storage
    >>> records = Records(open_storage("memory://"))
    >>> records.add({"id": "1", "key": "bronze.a", "at": "2026-01-31T12:00:00+00:00"})
    >>> [record["key"] for record in records.all()]
    ['bronze.a']
    """

    def __init__(
        self,
        storage: Storage,
        *,
        keep: int = KEEP,
        fold_at: int = FOLD_AT,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._storage = storage
        self._keep = keep
        self._fold_at = fold_at
        self._clock = clock
        self._read: dict[str, tuple[Record, ...]] = {}
        self._lock = threading.Lock()

    def all(self) -> list[Record]:
        """Return all records that are kept, oldest first: a list, and what is new of documents."""
        return _together(self._documents().values())

    def newest(self) -> dict[str, Record]:
        """Return the newest record of each key."""
        return {record["key"]: record for record in self.all()}

    def add(self, record: Record) -> None:
        """Write a record; fold where there are many."""
        self._write("run", [record])
        if len(self._documents()) > self._fold_at:
            self.fold()

    def fold(self) -> None:
        """Write one document in place of all that are there."""
        documents = self._documents()
        self._write("fold", kept(_together(documents.values()), keep=self._keep))
        # Only what was read, and so stands in the document that was written.
        self._storage.delete(documents)

    def _write(self, kind: str, records: Iterable[Record]) -> None:
        name = f"{int(self._clock() * 1000):013d}-{kind}-{uuid.uuid4().hex}.json"
        self._storage.put(name, json.dumps({"format": 1, "records": [*records]}).encode())

    def _documents(self) -> dict[str, tuple[Record, ...]]:
        with self._lock:
            for _ in range(_TRIES):
                names = [item.path for item in self._storage.list() if item.path.endswith(".json")]
                known = {name: self._read[name] for name in names if name in self._read}
                new = [name for name in names if name not in known]
                try:
                    contents = [*self._storage.read_many(new)]
                except StorageError as error:
                    if not error.missing:
                        raise
                    continue  # it was folded between the list and the read
                for name, data in zip(new, contents, strict=True):
                    known[name] = _decode(data, self._storage.url(name))
                self._read = known
                return known
        raise LakehouseError(
            f"the records in {self._storage.url()} were folded {_TRIES} times while being read",
            next_step="Try again",
        )


def kept(records: Sequence[Record], *, keep: int) -> list[Record]:
    """Return the newest records, and the newest of each key; they are given oldest first.

    >>> old, new = {"id": "1", "key": "a"}, {"id": "2", "key": "b"}
    >>> [record["id"] for record in kept([old, new, {"id": "3", "key": "b"}], keep=1)]
    ['1', '3']
    """
    last = {record["key"]: record["id"] for record in records}
    first = max(0, len(records) - keep)
    return [
        record
        for number, record in enumerate(records)
        if number >= first or last[record["key"]] == record["id"]
    ]


def _together(documents: Iterable[Iterable[Record]]) -> list[Record]:
    by_id = {record["id"]: record for records in documents for record in records}
    return sorted(by_id.values(), key=lambda record: (record["at"], record["id"]))


def _decode(data: bytes, where: str) -> tuple[Record, ...]:
    try:
        document = json.loads(data)
        records = tuple(document["records"])
        for record in records:
            if not all(isinstance(record[name], str) for name in ("id", "key", "at")):
                raise TypeError("a record lacks its id, key or time")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise CorruptionError(
            f"the records in {where} are damaged: {error}",
            next_step="Delete the document: records are only told, nothing depends on them",
            path=where,
        ) from error
    return records
