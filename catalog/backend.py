"""What a storage backend has to do; `Storage` checks paths before it asks one."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

TEMPORARY_PREFIX = ".tmp-"


@dataclass(frozen=True, slots=True)
class StoredObject:
    """Describe one file: its path below the storage's root, bytes, and UTC time of writing."""

    path: str
    size: int
    modified: datetime


class Backend(Protocol):
    """Reach one kind of storage; paths are relative, checked, and use forward slashes.

    Every method raises only errors of `catalog.errors`.
    """

    def url(self, path: str) -> str:
        """Return what DuckDB opens."""

    def read(self, path: str) -> bytes:
        """Return the content; StorageError with `missing=True` if there is no such file."""

    def put(self, path: str, data: bytes) -> None:
        """Write or replace a file in one step."""

    def put_if_absent(self, path: str, data: bytes) -> bool:
        """Write a file in one step unless it exists; tell whether it was written."""

    def list(
        self, prefix: str, start_after: str | None, *, temporary: bool = False
    ) -> Iterator[StoredObject]:
        """Yield the files in a folder and below it, sorted by path, after `start_after`.

        Files under a temporary name are left out unless `temporary`.
        """

    def head(self, path: str) -> StoredObject | None:
        """Describe a file, or return None."""

    def delete(self, paths: Iterable[str]) -> None:
        """Delete files; those that are missing do not matter."""

    def sync(self, paths: Iterable[str]) -> None:
        """Make files that another library wrote survive a power cut."""

    def child(self, relative: str) -> "Backend":
        """Return the backend for a folder below this one."""
