"""What a storage backend has to do; `Storage` checks paths before it asks one."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from catalog.errors import CorruptionError

TEMPORARY_PREFIX = ".tmp-"


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class StoredObject:
    """Describe one file: its path below the storage's root, bytes, and UTC time of writing."""

    path: str
    size: int
    modified: datetime

    @property
    def millis(self) -> int:
        """Return the time of writing in whole milliseconds since 1970, as other engines see it.

        >>> StoredObject("a", 1, datetime(1970, 1, 1, 0, 0, 1, 893_999, UTC)).millis
        1893
        """
        return (self.modified - EPOCH) // timedelta(milliseconds=1)


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

    def upload(self, path: str, source: Path) -> None:
        """Write or replace a file in one step with what stands in a local file, in pieces."""

    def copy(self, path: str, to: str) -> None:
        """Copy a file below the same folder, in place of one that is there."""

    def list(
        self, prefix: str, start_after: str | None, *, temporary: bool = False
    ) -> Iterator[StoredObject]:
        """Yield the files in a folder and below it, sorted by path, after `start_after`.

        Files under a temporary name are left out unless `temporary`.
        """

    def list_at_once(self, prefix: str) -> Sequence[StoredObject] | None:
        """Return what `list` does where one request tells it, else None: there may be more."""

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

    def streams(self) -> "Streams | None":
        """Return access in pieces, or None where libraries open the files by themselves."""


class Writer(Protocol):
    """Take a new file in pieces; it exists, whole, once it is closed."""

    def write(self, data: bytes, /) -> int:
        """Take the next bytes."""

    def close(self) -> None:
        """Send the rest, and give the file its name."""


@dataclass(frozen=True, slots=True)
class Opened:
    """Hold what a first request learned of a file: its description, and its bytes from ``start``.

    ``etag`` names this version of the file, where the storage has such names.
    """

    file: StoredObject
    start: int
    data: bytes
    etag: str | None = None


class Streams(Protocol):
    """Read and write large files in pieces, where every request takes its time."""

    def open_end(self, path: str, length: int, *, size: int | None = None) -> Opened:
        """Return the last ``length`` bytes, or the whole file; ``size`` is a guess that helps."""

    def read_range(self, path: str, start: int, length: int, *, etag: str | None = None) -> bytes:
        """Return bytes; large ranges are fetched in several requests at once.

        Raise StorageError if the file is not the version named ``etag`` any more.
        """

    def writer(self, path: str) -> Writer:
        """Begin to write or replace a file."""


def too_large(target: str, size: int, at_most: int) -> CorruptionError:
    """Return the error for a file that is not read because of its size (bytes)."""
    return CorruptionError(
        f"{target} has {size:,} bytes, and no more than {at_most:,} are read of such a file",
        next_step="Look at the file; restore it from a backup if it is not what it should be",
        path=target,
    )
