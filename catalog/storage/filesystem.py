"""Storage as an fsspec file system: for DuckDB without its own extensions, and for other libraries.

It asks as little as it can: `ends` keeps what the first request for a file brought, and later
ones name the version of the file that they go on with.
"""

import dataclasses
import functools
import io
import re
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, TypeVar

from fsspec.spec import AbstractFileSystem
from fsspec.utils import glob_translate

from catalog.errors import InputError, StorageError
from catalog.storage.backend import Opened, StoredObject, Streams
from catalog.storage.ends import Ends
from catalog.storage.location import join, parse
from catalog.storage.marked import raising
from catalog.storage.storage import Storage

T = TypeVar("T")
SCHEMES = ("s3", "az", "abfss", "gs", "memory")
_LOG = "/_delta_log/"
# Data files of Delta tables have names that are used once, whoever writes them.
_ONCE = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}[^/]*$")
# Those of ours are never looked for before they are written.
_NEW = re.compile(r"/part-[0-9a-f]{16}-[0-9a-f-]{36}[^/]*$")
_MAGIC = re.compile(r"[*?[]")
_ONE = re.compile(r"\[([*?[])\]")


class StorageFileSystem(AbstractFileSystem):  # type: ignore[misc]
    """Open files by URL, below the folders that were mounted and in the buckets beside them.

    URLs are whole (``s3://bucket/lake/a.parquet``), what is asked and what is answered. Data files
    below the mounted folders are taken never to change: their names are used once. Of all others
    an earlier state may be seen for two seconds.
    ``elsewhere`` opens the storage of a bucket that nothing mounted lies in.

    >>> from catalog.storage import open_storage
    >>> storage = open_storage("memory://docs/lake")
    >>> files = StorageFileSystem(open_storage)
    >>> files.mount(storage)
    >>> with files.open("memory://docs/lake/a.txt", "wb") as file:
    ...     _ = file.write(b"hello")
    >>> files.cat_file("memory://docs/lake/a.txt"), files.glob("memory://docs/lake/*.txt")
    (b'hello', ['memory://docs/lake/a.txt'])
    """

    protocol: tuple[str, ...] = SCHEMES
    cachable = False

    def __init__(
        self,
        elsewhere: Callable[[str], Storage],
        *,
        schemes: tuple[str, ...] = SCHEMES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self.protocol = schemes
        self._elsewhere = functools.lru_cache(maxsize=None)(elsewhere)
        self._mounts: dict[str, Storage] = {}
        self._ends = Ends(self._fetch, is_lasting=self._is_lasting, clock=clock)

    def mount(self, storage: Storage) -> None:
        """Reach a folder, and what lies below it, through its own storage."""
        self._mounts[storage.url()] = storage

    def read_ahead(self, files: Iterable[tuple[str, int | None]]) -> None:
        """Begin to fetch files that will be read, by URL and size in bytes, as far as fits."""
        self._ends.begin(files)

    def close(self) -> None:
        """Stop what runs ahead."""
        self._ends.close()

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        """Keep the scheme, which fsspec would take off: without it nobody knows the provider."""
        if isinstance(path, list):
            return [cls._strip_protocol(one) for one in path]
        return str(path).rstrip("/")

    # What DuckDB and fsspec ask -----------------------------------------------------------------

    def open(self, path: str, mode: str = "rb", **_: Any) -> "_Reader | _Writer":
        """Open a file to read it in any order, or to write it from its begin to its end."""
        storage, relative = self._find(path)
        if mode == "rb":
            return _Reader(self, path)
        if mode in ("wb", "xb"):
            return _Writer(self._streams(storage), relative, lambda: self.forget(path))
        raise InputError(f"files cannot be opened with mode {mode!r}", next_step="Use rb or wb")

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Describe a file: name, size in bytes, type, time of writing."""
        try:
            file = raising(lambda: self.opened(path)).file
        except FileNotFoundError:
            if _ONCE.search(path) or not self.ls(path):
                raise
            return {"name": path, "size": 0, "type": "directory"}
        return {"name": path, "size": file.size, "type": "file", "modified": file.modified}

    def modified(self, path: str) -> datetime:
        """Return when a file was written."""
        return raising(lambda: self.opened(path)).file.modified

    def isfile(self, path: str) -> bool:
        """Tell whether there is a file."""
        if path.rstrip("/") in self._mounts or path.endswith("/") or _NEW.search(path):
            return False
        storage, relative = self._find(path)
        return raising(lambda: storage.head(relative)) is not None

    def isdir(self, path: str) -> bool:
        """Tell that any folder is there: object storage has none."""
        return not _NEW.search(path)

    def exists(self, path: str, **_: Any) -> bool:
        """Tell whether there is a file."""
        return self.isfile(path)

    def mkdir(self, path: str, create_parents: bool = True, **_: Any) -> None:
        """Do nothing: object storage has no folders."""

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Do nothing: object storage has no folders."""

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """List the files and folders in a folder."""
        storage, relative = self._find(path.rstrip("/") + "/")
        found: dict[str, dict[str, Any]] = {}
        for item in raising(lambda: list(storage.list(relative))):
            rest = item.path[len(relative) :].lstrip("/") if relative else item.path
            name, slash, _rest = rest.partition("/")
            url = join(path.rstrip("/"), name)
            kind = "directory" if slash else "file"
            size = 0 if slash else item.size
            found[url] = {"name": url, "size": size, "type": kind, "modified": item.modified}
        return [*found.values()] if detail else [*found]

    def glob(self, path: str, maxdepth: int | None = None, **_: Any) -> list[str]:
        """Return the files that fit a pattern; one without wildcards is not looked for."""
        plain = _ONE.sub(r"\1", path)
        if not _MAGIC.search(_ONE.sub("", path)):
            return [plain]
        fixed = path[: _MAGIC.search(path).start()].rpartition("/")[0]  # type: ignore[union-attr]
        storage, relative = self._find(fixed + "/")
        fits = re.compile(glob_translate(path)).fullmatch
        listed = raising(lambda: list(storage.list(relative)))
        urls = [join(storage.url(), item.path) for item in listed]
        return [url for url in urls if fits(url)]

    def rm(
        self, path: str | list[str], recursive: bool = False, maxdepth: int | None = None
    ) -> None:
        """Delete files, and with ``recursive`` all that lies below them."""
        for one in [path] if isinstance(path, str) else path:
            storage, relative = self._find(one)
            paths = [relative] if relative else []
            if recursive:
                below = raising(functools.partial(_below, storage, relative))
                paths += [item.path for item in below]
            raising(functools.partial(storage.delete, paths))
            for deleted in paths:
                self.forget(join(storage.url(), deleted))
            self.forget(one)

    def rm_file(self, path: str) -> None:
        """Delete a file."""
        self.rm(path)

    def cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **_: Any
    ) -> bytes:
        """Return a file's bytes, or a part of them."""
        with self.open(path) as file:
            file.seek(start or 0)
            found: bytes = file.read(-1 if end is None else end - file.tell())
            return found

    # How it is found -----------------------------------------------------------------------------

    def opened(self, url: str) -> Opened:
        """Return what is known of a file; ask for it where that is nothing, or too old."""
        return self._ends.get(url)

    def part(self, url: str, start: int, length: int, *, of: Opened) -> bytes:
        """Return bytes of the very file that was opened, by a request where they were not kept.

        Raises StorageError where another one has taken its place.
        """
        length = min(length, of.file.size - start)
        if length <= 0:
            return b""
        opened = self._ends.content(url, of)
        if opened.start <= start and start + length <= opened.start + len(opened.data):
            offset = start - opened.start
            return opened.data[offset : offset + length]
        storage, relative = self._find(url)
        try:
            return self._streams(storage).read_range(relative, start, length, etag=of.etag)
        except StorageError:
            self.forget(url)
            raise

    def forget(self, url: str) -> None:
        """Take nothing for known that was known of a file."""
        self._ends.forget(url)

    def _fetch(self, url: str, length: int, size: int | None) -> Opened:
        storage, relative = self._find(url)
        return self._streams(storage).open_end(relative, length, size=size)

    def _is_lasting(self, url: str) -> bool:
        is_mounted = self._find(url)[0].url() in self._mounts
        return is_mounted and _LOG not in url and bool(_ONCE.search(url))

    def _find(self, url: str) -> tuple[Storage, str]:
        """Return the storage that a URL lies in, and its path there."""
        clean = re.sub(r"(?<!:)//+", "/", url)
        place = clean.rstrip("/")
        while place.count("/") > 1:
            storage = self._mounts.get(place)
            if storage is not None:
                return storage, clean.rstrip("/")[len(place) :].lstrip("/")
            place = place.rpartition("/")[0]
        location = parse(clean)
        storage = self._elsewhere(f"{location.scheme}://{location.host}")
        return storage, location.path

    def _streams(self, storage: Storage) -> Streams:
        streams = storage.streams
        if streams is None:
            raise InputError(f"{storage.url()} is on local disk", next_step="Open it by its path")
        return streams


def _below(storage: Storage, folder: str) -> list[StoredObject]:
    return list(storage.list(folder))


class _Reader(io.RawIOBase):
    """Read a file in any order, as it was when it was first looked at."""

    mode = "rb"

    def __init__(self, files: StorageFileSystem, url: str) -> None:
        super().__init__()
        self._files = files
        self._url = url
        self._position = 0

    @functools.cached_property
    def _opened(self) -> Opened:
        found = raising(lambda: self._files.opened(self._url))
        # Its content is kept elsewhere, as far as there is room.
        return dataclasses.replace(found, start=found.file.size, data=b"")

    @property
    def size(self) -> int:
        """Return the file's size in bytes."""
        return self._opened.file.size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position}
        self._position = offset + (self.size if whence == io.SEEK_END else start[whence])
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        length = self.size - self._position if size is None or size < 0 else size
        opened = self._opened
        found = raising(lambda: self._files.part(self._url, self._position, length, of=opened))
        self._position += len(found)
        return found

    def readinto(self, buffer: Any) -> int:
        found = self.read(len(buffer))
        buffer[: len(found)] = found
        return len(found)


class _Writer(io.RawIOBase):
    """Write a file from its begin to its end; it is there when this is closed."""

    mode = "wb"

    def __init__(self, streams: Streams, path: str, closed: Callable[[], None]) -> None:
        super().__init__()
        self._writer = raising(lambda: streams.writer(path))
        self._closed = closed
        self._written = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._written

    def write(self, data: Any) -> int:
        content = bytes(data)
        raising(lambda: self._writer.write(content))
        self._written += len(content)
        return len(content)

    def close(self) -> None:
        if not self.closed:
            super().close()
            try:
                raising(self._writer.close)
            finally:
                self._closed()

    def __del__(self) -> None:
        """Give up what was never closed, where any other file would be closed: half of it is none."""
