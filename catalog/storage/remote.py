"""Object storage and memory, through obstore.

A store is opened at its bucket and shared by every folder in it. `mode="create"` is the
conditional put (`If-None-Match: *`) that makes commits exclusive.
"""

import contextlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import obstore
from obstore import exceptions
from obstore.store import ObjectStore

from catalog.errors import InputError, LakehouseError, OutcomeUnknownError, StorageError
from catalog.storage.backend import (
    TEMPORARY_PREFIX,
    Opened,
    StoredObject,
    Streams,
    Writer,
    too_large,
)
from catalog.storage.location import Location, join
from catalog.storage.profiles import read_profile
from catalog.storage.settings import settings_of
from catalog.storage.stores import FOREIGN, Bucket, open_bucket, open_memory

T = TypeVar("T")
R = TypeVar("R")
_REFUSED = (
    exceptions.PermissionDeniedError,
    exceptions.UnauthenticatedError,
    exceptions.NotSupportedError,
    exceptions.InvalidPathError,
    exceptions.UnknownConfigurationKeyError,
    FileNotFoundError,
    ValueError,
)
# A range of bytes larger than this is fetched in several requests at once.
_PIECE = 4 << 20
# How files are sent that are large: pieces are in memory until they have arrived.
_PIECES: Any = {"chunk_size": 8 << 20, "max_concurrency": 4}
_PAGE = 1000  # files that one request lists
_READS = 32  # at once, for one caller


@dataclass(frozen=True, slots=True)
class RemoteBackend:
    """Store files under a prefix of one bucket or container."""

    bucket: Bucket
    location: Location

    def url(self, path: str) -> str:
        return join(self.location.uri, path)

    def read(self, path: str, at_most: int | None) -> bytes:
        with self._request("read", path) as store:
            found = obstore.get(store, self._key(path))
            if at_most is not None and found.meta["size"] > at_most:
                raise too_large(self.url(path), found.meta["size"], at_most)
            return found.bytes().to_bytes()

    def put(self, path: str, data: bytes) -> None:
        with self._request("write", path) as store:
            obstore.put(store, self._key(path), data, **_PIECES)

    def put_if_absent(self, path: str, data: bytes) -> bool:
        with self._request("write", path) as store:
            try:
                obstore.put(store, self._key(path), data, mode="create", use_multipart=False)
            except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
                return False
        return True

    def upload(self, path: str, source: Path) -> None:
        with self._request("write", path) as store:
            obstore.put(store, self._key(path), source, **_PIECES)

    def list(
        self, prefix: str, start_after: str | None, *, temporary: bool = False
    ) -> Iterator[StoredObject]:
        offset = self._key(start_after) if start_after else None
        with self._request("list", prefix) as store:
            pages = obstore.list(store, self._key(prefix) or None, offset=offset, chunk_size=_PAGE)
            found = [item for page in pages for item in page]
        listed = self._described(found, temporary=temporary)
        # Some servers ignore the offset: filter again.
        return (item for item in listed if item.path > (start_after or ""))

    def list_at_once(self, prefix: str) -> Sequence[StoredObject] | None:
        with self._request("list", prefix) as store:
            pages = obstore.list(store, self._key(prefix) or None, chunk_size=_PAGE)
            found = next(iter(pages), [])
        return self._described(found, temporary=False) if len(found) < _PAGE else None

    def head(self, path: str) -> StoredObject | None:
        with self._request("look at", path) as store:
            try:
                item = obstore.head(store, self._key(path))
            except FileNotFoundError:
                return None
        return StoredObject(path, item["size"], item["last_modified"])

    def delete(self, paths: Iterable[str]) -> None:
        found = list(paths)
        if not found:
            return
        try:
            with self._request("delete", found[0]) as store:
                obstore.delete(store, [self._key(path) for path in found])
        except StorageError as error:
            if not error.missing:
                raise
            # Stores without bulk deletes stop at the first missing file.
            for path in found:
                self._delete_one(path)

    def streams(self) -> Streams:
        return self

    def open_end(self, path: str, length: int, *, size: int | None = None) -> Opened:
        key = self._key(path)
        wanted: Any = {"suffix": length}
        if size is not None and size <= length:
            wanted = None
        elif size is not None:
            wanted = (size - length, size)
        with self._request("read", path) as store:
            try:
                found = obstore.get(store, key, options={"range": wanted} if wanted else None)
            except (exceptions.NotSupportedError, exceptions.GenericError):
                # Azure has no ranges from the end, and a wrong guess at the size has no bytes.
                real = obstore.head(store, key)["size"]
                wanted = (max(0, real - length), real) if real else None
                found = obstore.get(store, key, options={"range": wanted} if wanted else None)
            meta = found.meta
            data = found.bytes().to_bytes()
        file = StoredObject(path, meta["size"], meta["last_modified"])
        start = found.range[0]
        if start + len(data) != file.size:
            # The guess at the size was wrong: what came is no end.
            return self.open_end(path, length, size=file.size)
        return Opened(file, start, data, meta.get("e_tag"))

    def read_range(self, path: str, start: int, length: int, *, etag: str | None = None) -> bytes:
        end = start + length
        pieces = [(at, min(at + _PIECE, end)) for at in range(start, end, _PIECE)]
        if len(pieces) == 1:
            return self._piece(path, pieces[0], etag)
        return b"".join(at_once(lambda piece: self._piece(path, piece, etag), pieces))

    def writer(self, path: str) -> Writer:
        return _RemoteWriter(self, path)

    def sync(self, paths: Iterable[str]) -> None:
        """Do nothing: object storage acknowledges only what is durable."""

    def require_inside(self, paths: Iterable[str]) -> None:
        """Do nothing: object storage has no links."""

    def child(self, relative: str) -> "RemoteBackend":
        return replace(self, location=self.location.child(relative))

    def _key(self, path: str) -> str:
        return join(self.location.path, path)

    @contextlib.contextmanager
    def _request(self, action: str, path: str) -> Iterator[ObjectStore]:
        """Wait for a turn, and translate what obstore raises."""
        with self.bucket.turns:
            try:
                yield self.bucket.store
            except LakehouseError:
                raise
            except FOREIGN as error:
                judge = self._judge if action == "write" else self._translate
                raise judge(error, action, path) from self.bucket.cleaned(error)

    def _described(self, found: Iterable[Any], *, temporary: bool) -> Sequence[StoredObject]:
        skip = len(self.location.path) + 1 if self.location.path else 0
        listed = [
            StoredObject(item["path"][skip:], item["size"], item["last_modified"])
            for item in found
            if temporary or not item["path"].rpartition("/")[2].startswith(TEMPORARY_PREFIX)
        ]
        # Not every store lists in order (S3 directory buckets do not).
        return sorted(listed, key=lambda item: item.path)

    def _piece(self, path: str, piece: tuple[int, int], etag: str | None) -> bytes:
        options: Any = {"range": piece, **({"if_match": etag} if etag else {})}
        with self._request("read", path) as store:
            try:
                return obstore.get(store, self._key(path), options=options).bytes().to_bytes()
            except exceptions.PreconditionError as error:
                raise StorageError(
                    f"{self.url(path)} was replaced while it was read",
                    next_step="Repeat the query",
                    path=self.url(path),
                ) from self.bucket.cleaned(error)

    def _delete_one(self, path: str) -> None:
        with self._request("delete", path) as store:
            with contextlib.suppress(FileNotFoundError):
                obstore.delete(store, self._key(path))

    def _judge(self, error: Exception, action: str, path: str) -> LakehouseError:
        """Tell a refusal, which proves that nothing was written, from a failure."""
        if isinstance(error, _REFUSED) or _never_sent(str(error)):
            return self._translate(error, action, path)
        return OutcomeUnknownError(
            f"cannot tell whether {self.url(path)} was written: {self.bucket.summary(error)}",
            next_step="Look whether the file is there before writing it again",
            path=self.url(path),
        )

    def _translate(self, error: Exception, action: str, path: str) -> LakehouseError:
        where = f"cannot {action} {self.url(path)}"
        # Lists and bulk deletes report a refusal as an error of no kind, with the status in it.
        status = _status(str(error))
        if isinstance(error, FileNotFoundError) or status == 404:
            return StorageError(
                f"{where}: no such file or bucket",
                next_step="Check the URI, or whether the table was vacuumed or dropped meanwhile",
                missing=True,
                path=self.url(path),
            )
        if isinstance(error, exceptions.PermissionDeniedError) or status == 403:
            problem, next_step = "permission denied", "Check the policy of these credentials"
        elif isinstance(error, exceptions.UnauthenticatedError) or status == 401:
            problem, next_step = "credentials were refused", "Check the credentials and the clock"
        elif isinstance(error, exceptions.InvalidPathError | ValueError):
            return InputError(
                f"{where}: {self.bucket.summary(error)}", next_step="Use another name"
            )
        else:
            problem = self.bucket.summary(error)
            next_step = "Check the endpoint, the region and the credentials"
        return StorageError(f"{where}: {problem}", next_step=next_step, path=self.url(path))


class _RemoteWriter:
    """Send a file in pieces while it is being made."""

    def __init__(self, backend: RemoteBackend, path: str) -> None:
        self._backend = backend
        self._path = path
        self._writer = obstore.open_writer(
            backend.bucket.store,
            backend._key(path),
            buffer_size=_PIECES["chunk_size"],
            max_concurrency=_PIECES["max_concurrency"],
        )

    def write(self, data: bytes, /) -> int:
        with self._backend._request("write", self._path):
            return self._writer.write(data)

    def close(self) -> None:
        with self._backend._request("write", self._path):
            self._writer.close()


def at_once(do: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """Do something for each item, many at a time, and return the results in order."""
    with ThreadPoolExecutor(min(_READS, len(items)) or 1) as pool:
        return list(pool.map(do, items))


def open_remote(location: Location, options: Mapping[str, Any]) -> RemoteBackend:
    """Open the bucket of a location; raise InputError for options that its store rejects."""
    if location.scheme == "memory":
        if options:
            raise InputError("memory:// takes no options", next_step="Leave them out")
        return RemoteBackend(open_memory(location.host), location)
    settings = settings_of(
        location, options, environ=os.environ, profile=lambda name: read_profile(name, os.environ)
    )
    return RemoteBackend(open_bucket(settings), location)


def _status(details: str) -> int | None:
    found = re.search(r"(?:non-2xx status code|\bstatus): (\d{3})\b", details)
    return int(found[1]) if found else None


def _never_sent(details: str) -> bool:
    """Tell from obstore's details that no attempt can have reached the store's disks.

    Only the last attempt is described, so an earlier one must not have been made.
    """
    if "169.254.169.254" in details:  # No credentials were found, not even on the instance.
        return True
    status = _status(details) or 0
    # With the comma: the next kind is ConnectionReset, and may well come after the write.
    refused = (
        "kind: Connect," in details or status == 501 or (400 <= status < 500 and status != 408)
    )
    return "retries: 0," in details and refused
