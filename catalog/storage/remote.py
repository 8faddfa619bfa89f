"""Object storage and memory, through obstore.

A store is opened at its bucket and shared by every folder in it. `mode="create"` is the
conditional put (`If-None-Match: *`) that makes commits exclusive.
"""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import obstore
from obstore import exceptions
from obstore.store import ObjectStore

from catalog.errors import InputError, LakehouseError, OutcomeUnknownError, StorageError
from catalog.storage.answers import NOT_THERE, diagnose, status_of, tries_of, was_refused
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
# What obstore says before it sends anything.
_UNSENT = (
    exceptions.NotSupportedError,
    exceptions.InvalidPathError,
    exceptions.UnknownConfigurationKeyError,
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
        def get(store: ObjectStore) -> bytes:
            found = obstore.get(store, self._key(path))
            if at_most is not None and found.meta["size"] > at_most:
                raise too_large(self.url(path), found.meta["size"], at_most)
            return found.bytes().to_bytes()

        return self._ask("read", path, get)

    def put(self, path: str, data: bytes) -> None:
        self._ask("write", path, lambda to: obstore.put(to, self._key(path), data, **_PIECES))

    def put_if_absent(self, path: str, data: bytes) -> bool:
        def put(store: ObjectStore) -> bool:
            try:
                obstore.put(store, self._key(path), data, mode="create", use_multipart=False)
            except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
                return False
            return True

        return self._ask("write", path, put)

    def upload(self, path: str, source: Path) -> None:
        self._ask("write", path, lambda to: obstore.put(to, self._key(path), source, **_PIECES))

    def copy(self, path: str, to: str) -> None:
        self._ask("copy", path, lambda at: obstore.copy(at, self._key(path), self._key(to)))

    def list(
        self, prefix: str, start_after: str | None, *, temporary: bool = False
    ) -> Iterator[StoredObject]:
        offset = self._key(start_after) if start_after else None

        def pages(store: ObjectStore) -> list[Any]:
            key = self._key(prefix) or None
            return [
                item
                for page in obstore.list(store, key, offset=offset, chunk_size=_PAGE)
                for item in page
            ]

        listed = self._described(self._ask("list", prefix, pages), temporary=temporary)
        # Some servers ignore the offset: filter again.
        return (item for item in listed if item.path > (start_after or ""))

    def list_at_once(self, prefix: str) -> Sequence[StoredObject] | None:
        def page(store: ObjectStore) -> Sequence[Any]:
            pages = obstore.list(store, self._key(prefix) or None, chunk_size=_PAGE)
            return next(iter(pages), [])

        found = self._ask("list", prefix, page)
        return self._described(found, temporary=False) if len(found) < _PAGE else None

    def head(self, path: str) -> StoredObject | None:
        def look(store: ObjectStore) -> Any:
            with contextlib.suppress(FileNotFoundError):
                return obstore.head(store, self._key(path))

        item = self._ask("look at", path, look)
        return item and StoredObject(path, item["size"], item["last_modified"])

    def delete(self, paths: Iterable[str]) -> None:
        found = list(paths)
        if not found:
            return
        keys = [self._key(path) for path in found]
        try:
            self._ask("delete", found[0], lambda store: obstore.delete(store, keys))
        except StorageError as error:
            if not error.missing:
                raise
            # Stores without bulk deletes stop at the first missing file.
            for path in found:
                self._delete_one(path)

    def streams(self) -> Streams:
        return self

    def open_end(self, path: str, length: int, *, size: int | None = None) -> Opened:
        wanted: Any = {"suffix": length}
        if size is not None and size <= length:
            wanted = None
        elif size is not None:
            wanted = (size - length, size)

        def get(store: ObjectStore) -> Opened:
            key, options = self._key(path), {"range": wanted} if wanted else None
            try:
                found = obstore.get(store, key, options=options)  # type: ignore[arg-type]
            except (exceptions.NotSupportedError, exceptions.GenericError) as error:
                if status_of(str(error)) not in (None, 416):
                    raise
                # Azure has no ranges from the end, and a wrong guess at the size has no bytes.
                real = obstore.head(store, key)["size"]
                part = (max(0, real - length), real) if real else None
                found = obstore.get(store, key, options={"range": part} if part else None)
            meta = found.meta
            file = StoredObject(path, meta["size"], meta["last_modified"])
            return Opened(file, found.range[0], found.bytes().to_bytes(), meta.get("e_tag"))

        opened = self._ask("read", path, get)
        if opened.start + len(opened.data) != opened.file.size:
            # The guess at the size was wrong: what came is no end.
            return self.open_end(path, length, size=opened.file.size)
        return opened

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

    def _ask(self, action: str, path: str, do: Callable[[ObjectStore], T]) -> T:
        """Wait for a turn, do something with the store, and translate what obstore raises.

        Where keys have expired and somebody can be asked for new ones, it is done once more with
        those. That is no danger to writes: what has arrived once is put again, or found there.
        """
        with self.bucket.turns, self._judging(action, path):
            store = self.bucket.store
            try:
                return do(store)
            except FOREIGN as error:
                fresh = self._with_new_keys(store, error)
                if fresh is None:
                    raise
                try:
                    return do(fresh)
                except FOREIGN as again:
                    if was_refused(str(error)):
                        raise
                    # One of the first tries may have been carried out: that decides.
                    raise error from again

    @contextlib.contextmanager
    def _judging(self, action: str, path: str) -> Iterator[None]:
        try:
            yield
        except LakehouseError:
            raise
        except FOREIGN as error:
            raise self._judged(error, action, path) from self.bucket.cleaned(error)

    def _with_new_keys(self, store: ObjectStore, error: Exception) -> ObjectStore | None:
        found = None if isinstance(error, LakehouseError) else diagnose(str(error))
        return self.bucket.renewed(store) if found and found.means == "expired" else None

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

        def get(store: ObjectStore) -> bytes:
            try:
                return obstore.get(store, self._key(path), options=options).bytes().to_bytes()
            except exceptions.PreconditionError as error:
                raise StorageError(
                    f"{self.url(path)} was replaced while it was read",
                    next_step="Repeat the query",
                    path=self.url(path),
                ) from self.bucket.cleaned(error)

        return self._ask("read", path, get)

    def _delete_one(self, path: str) -> None:
        def delete(store: ObjectStore) -> None:
            with contextlib.suppress(FileNotFoundError):
                obstore.delete(store, self._key(path))

        self._ask("delete", path, delete)

    def _judged(self, error: Exception, action: str, path: str) -> LakehouseError:
        """Return the error to raise; for a write, tell a refusal from a failure.

        A refusal proves that nothing was written.
        """
        details = str(error)
        provider = isinstance(error, exceptions.UnauthenticatedError) and "retries:" not in details
        sent = not (isinstance(error, _UNSENT) or provider or was_refused(details))
        if action != "write" or not sent:
            return self._translated(error, action, path)
        found = diagnose(details)
        return OutcomeUnknownError(
            f"cannot tell whether {self.url(path)} was written: "
            f"{self._explained(found.problem, details) if found else self.bucket.summary(error)}",
            next_step="Look whether the file is there before writing it again",
            path=self.url(path),
        )

    def _translated(self, error: Exception, action: str, path: str) -> LakehouseError:
        where, details = f"cannot {action} {self.url(path)}", str(error)
        if isinstance(error, exceptions.InvalidPathError | ValueError):
            return InputError(
                f"{where}: {self.bucket.summary(error)}", next_step="Use another name"
            )
        found = diagnose(details)
        if found is None and isinstance(error, FileNotFoundError):
            found = NOT_THERE
        if found is None:
            step = "Check the endpoint, the region and the credentials"
            return StorageError(
                f"{where}: {self.bucket.summary(error)}", next_step=step, path=self.url(path)
            )
        return StorageError(
            f"{where}: {self._explained(found.problem, details)}",
            next_step=found.next_step,
            missing=found.means == "missing",
            path=self.url(path),
        )

    def _explained(self, problem: str, details: str) -> str:
        tries, settings = tries_of(details), self.bucket.settings
        if settings and settings.network.proxy_url and "kind: Connect," in details:
            problem += " through the proxy"
        return f"{problem}, after {tries} tries" if tries > 1 else problem


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
        return self._go_on(lambda: self._writer.write(data))

    def close(self) -> None:
        self._go_on(self._writer.close)

    def _go_on(self, do: Callable[[], T]) -> T:
        """Do a step once: pieces that were sent with old keys cannot be sent again with new ones.

        What is streamed has a name of its own, and nothing tells of it before it has arrived: so
        it does not matter whether it has, when an error says that it may not have.
        """
        backend = self._backend
        with backend.bucket.turns, backend._judging("send", self._path):
            store = backend.bucket.store
            try:
                return do()
            except FOREIGN as error:
                backend._with_new_keys(store, error)  # for those who try again
                raise


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
