"""One value for a place in storage: where it is, how to reach it, what can be done there.

Everything above speaks to storage through `Storage`. Local disk is our own code, durable and
atomic; the rest goes through obstore.
"""

import contextlib
import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from catalog import storage as room
from catalog.errors import InputError, StorageError
from catalog.storage.backend import TEMPORARY_PREFIX, Backend, StoredObject, Streams
from catalog.storage.local import LocalBackend
from catalog.storage.location import Location, check_relative, join, parse
from catalog.storage.options import Options
from catalog.storage.settings import Settings

_READS = 32  # at once, for one caller


@dataclass(frozen=True, slots=True)
class Storage:
    """Read and write files below one folder of local disk or object storage.

    Paths are relative, with forward slashes; one that leaves the folder is an InputError.
    ``settings`` say how it is reached; they are None for local disk and memory.
    Storage is safe to share between threads. A pickle reopens it elsewhere, and for that
    carries its options, so treat it as a secret. `memory://` lives as long as its process.

    >>> storage = open_storage("memory://")
    >>> storage.put_if_absent("a/1.json", b"{}"), storage.put_if_absent("a/1.json", b"[]")
    (True, False)
    >>> [item.path for item in storage.list("a")]
    ['a/1.json']
    """

    uri: str
    options: Options = field(repr=False, hash=False)
    _backend: Backend = field(repr=False, compare=False)
    _opened: Location = field(repr=False, compare=False)
    _below: str = field(default="", repr=False, compare=False)
    settings: Settings | None = field(default=None, repr=False, compare=False)

    @property
    def is_local(self) -> bool:
        """Tell whether this is a folder on local disk."""
        return self.local_path is not None

    @property
    def local_path(self) -> Path | None:
        """Return the absolute folder on local disk, or None elsewhere."""
        return Path(self._backend.url("")) if self._opened.scheme == "file" else None

    def child(self, relative: str) -> "Storage":
        """Return the storage of a folder below this one; it need not exist yet."""
        path = check_relative(relative, allow_empty=True)
        below = join(self._below, path)
        uri = self._opened.child(below).uri
        backend = self._backend.child(path)
        return Storage(uri, self.options, backend, self._opened, below, self.settings)

    def elsewhere(self, uri: str) -> "Storage":
        """Return another place, reached with the same options."""
        return open_storage(uri, **self.options)

    def wrapped(self, wrap: Callable[[Backend], Backend]) -> "Storage":
        """Return this storage with its backend inside another, such as one that fails on purpose."""
        return replace(self, _backend=wrap(self._backend))

    def url(self, path: str = "") -> str:
        """Return what DuckDB and deltalake open: an absolute path, or a URI with a scheme."""
        return self._backend.url(check_relative(path, allow_empty=True))

    def read(self, path: str, *, at_most: int | None = None) -> bytes:
        """Return a file's content; raise StorageError with `missing=True` if it is not there.

        Raise CorruptionError, without reading it, for a file of more than `at_most` bytes, and
        for one that a symbolic link leads out of this folder.
        """
        return self._backend.read(check_relative(path), at_most)

    def read_or_none(self, path: str, *, at_most: int | None = None) -> bytes | None:
        """Return a file's content, or None if it is not there."""
        try:
            return self.read(path, at_most=at_most)
        except StorageError as error:
            if error.missing:
                return None
            raise

    def put(self, path: str, data: bytes) -> None:
        """Write or replace a file in one step; it is durable when this returns."""
        self._backend.put(check_relative(path), data)

    def put_if_absent(self, path: str, data: bytes) -> bool:
        """Write a file in one step unless it exists; return False if it does.

        False may also mean that our own first attempt arrived and its answer was lost on the
        way: put a token into the content and read it back before calling a race lost. Raise
        OutcomeUnknownError where an error does not prove that nothing was written.
        """
        return self._backend.put_if_absent(check_relative(path), data)

    def upload(self, path: str, source: Path) -> None:
        """Write or replace a file in one step with what stands in a local file.

        It is sent in pieces, so that a file of any size takes little memory.
        """
        self._backend.upload(check_relative(path), source)

    def copy(self, path: str, to: str) -> None:
        """Copy a file to another name below this folder, in place of one that is there.

        On local disk both names then stand for one file, and cost the space of one.
        """
        self._backend.copy(check_relative(path), check_relative(to))

    def read_many(self, paths: Sequence[str], *, at_most: int | None = None) -> Iterator[bytes]:
        """Yield the contents of files in order.

        Elsewhere than on local disk they are fetched at once, from this call on.
        """
        if self.is_local or not paths:
            return (self.read(path, at_most=at_most) for path in paths)
        pool = ThreadPoolExecutor(min(_READS, len(paths)), thread_name_prefix="lakehouse-read")
        coming = [pool.submit(self.read, path, at_most=at_most) for path in paths]
        pool.shutdown(wait=False)
        return (future.result() for future in coming)

    @property
    def streams(self) -> Streams | None:
        """Return access to files in pieces, or None for local disk."""
        return self._backend.streams()

    def list(
        self, prefix: str = "", *, start_after: str | None = None, temporary: bool = False
    ) -> Iterator[StoredObject]:
        """Yield the files in a folder and below it, sorted by path.

        `start_after` is a path like the results' own, which need not exist. A missing folder
        is empty, symbolic links to folders are not followed. Temporary files, which belong to
        writers at work or are what dead ones left, are left out unless `temporary`.
        """
        folder = check_relative(prefix, allow_empty=True)
        if temporary:
            return self._backend.list(folder, start_after, temporary=True)
        return self._backend.list(folder, start_after)

    def list_at_once(self, prefix: str = "") -> Sequence[StoredObject] | None:
        """Return what `list` does if a single request tells it, else None.

        None where there may be more files than that, and on local disk, where nothing is saved.
        """
        return self._backend.list_at_once(check_relative(prefix, allow_empty=True))

    def head(self, path: str) -> StoredObject | None:
        """Describe a file, or return None if it is not there."""
        return self._backend.head(check_relative(path))

    def delete(self, paths: Iterable[str]) -> None:
        """Delete files; those that are missing do not matter."""
        self._backend.delete([check_relative(path) for path in paths])

    def now(self) -> datetime:
        """Return the storage's own time: write a temporary file, look at it and delete it.

        Files carry the storage's time, so ages must be counted from it, whatever clock is here.
        """
        path = f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}"
        try:
            self.put(path, b"")
            found = self.head(path)
        finally:
            self.delete([path])
        if found is None:
            raise StorageError(
                f"cannot tell the time at {self.url()}: a file just written is not there",
                next_step="Check whether something else deletes files there",
            )
        return found.modified

    def require_inside(self, paths: Iterable[str]) -> None:
        """Raise CorruptionError where a symbolic link leads a path out of this folder.

        Links that stay inside are fine, and so is one in the place of the folder itself. It
        takes a few microseconds a path on local disk, and nothing elsewhere. Files may change
        after they were looked at: this is for folders that came from elsewhere, not a defence
        against somebody who writes to the disk at the same time.
        """
        self._backend.require_inside(map(check_relative, paths))

    def remove_empty_folders(self) -> None:
        """Remove this folder, and folders below it, where they hold nothing (local disk only).

        A folder that somebody writes into at the same time stays.
        """
        root = self.local_path
        if root is None or not root.is_dir():
            return
        folders = [path for path in root.rglob("*") if path.is_dir() and not path.is_symlink()]
        for folder in (*sorted(folders, reverse=True), root):
            with contextlib.suppress(OSError):
                folder.rmdir()

    def sync(self, paths: Iterable[str]) -> None:
        """Make files that another library wrote here survive a power cut (local disk only)."""
        self._backend.sync([check_relative(path) for path in paths])

    def __reduce__(self) -> tuple[Callable[..., "Storage"], tuple[object, ...]]:
        options = dict(self.options)
        if not isinstance(self._backend, LocalBackend | room.remote.RemoteBackend):
            raise TypeError("a wrapped storage cannot be pickled: open it where it is needed")
        if isinstance(self._backend, LocalBackend):
            options["durable"] = self._backend.durable
        return _reopen, (self._opened.uri, self._below, options)


def open_storage(uri: str | os.PathLike[str], *, durable: bool = True, **options: Any) -> Storage:
    """Open a folder by path or URI; nothing is read or created yet.

    Options are those of docs/storage.md and of obstore's store for the scheme (`access_key_id`,
    `region`, `client_options`, ...). `durable=False` skips fsync on local disk and means nothing
    elsewhere. `memory://` is new at each call, `memory://name` is one per process and name.
    """
    location = parse(uri)
    if location.scheme == "memory" and not location.host:
        location = parse(f"memory://{uuid.uuid4().hex}/{location.path}")
    if location.scheme != "file":
        if "\\" in location.path:
            # DuckDB takes it for a slash, and would write to another place than the one named.
            raise InputError(
                f"{location.uri} holds a backslash", next_step="Separate folders by slashes"
            )
        remote = room.remote.open_remote(location, options)
        settings = remote.bucket.settings
        return Storage(location.uri, Options(options), remote, location, settings=settings)
    if options:
        raise InputError(
            f"local disk takes no option {', '.join(map(repr, sorted(options)))}",
            next_step="Leave it out, or pass the URI of an object store",
        )
    backend = LocalBackend(location.path, location.path, durable)
    return Storage(location.uri, Options(options), backend, location)


def _reopen(opened: str, below: str, options: dict[str, Any]) -> Storage:
    return open_storage(opened, **options).child(below)
