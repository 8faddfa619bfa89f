"""What a storage backend has to do; `Storage` checks paths before it asks one."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from catalog.errors import CorruptionError

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

    def read(self, path: str, at_most: int | None) -> bytes:
        """Return the content; StorageError with `missing=True` if there is no such file.

        CorruptionError, before the content is read, for a file of more than `at_most` bytes.
        """

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

    def require_inside(self, paths: Iterable[str]) -> None:
        """Raise CorruptionError where a link leads a path out of this folder, or to no file."""

    def child(self, relative: str) -> "Backend":
        """Return the backend for a folder below this one."""


def too_large(target: str, size: int, at_most: int) -> CorruptionError:
    """Return the error for a file that is not read because of its size (bytes)."""
    return CorruptionError(
        f"{target} has {size:,} bytes, and no more than {at_most:,} are read of such a file",
        next_step="Look at the file; restore it from a backup if it is not what it should be",
        path=target,
    )
