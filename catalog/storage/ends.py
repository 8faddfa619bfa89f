"""Keep what the first request for a file brought: what it is, and its end or all of it.

Every request to object storage takes its time. Requests for files that will be read are sent before
a reader asks; what has come is kept as far as there is room, and a file's size and version beyond
that, since who reads may have kept the content.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import replace

from catalog.errors import InputError
from catalog.storage.backend import Opened

# A file up to this size comes with one request; of a larger one the end comes first.
_WHOLE = 1 << 20
_END = 128 << 10
_KEPT_BYTES = 64 << 20
_KEPT_FILES = 100_000
_AHEAD = 32  # requests that run ahead of the reader
# How long a file that may be rewritten is taken for the same one, in seconds: one query opens it
# several times.
_SAME = 2.0

Fetch = Callable[[str, int, int | None], Opened]


class Ends:
    """Fetch the ends of files by URL, and keep them; safe between threads.

    ``fetch`` gets a URL, how many bytes of the end are wanted, and the file's size if it is known.
    ``is_lasting`` tells of which files no other version will ever be written.
    """

    def __init__(
        self,
        fetch: Fetch,
        *,
        is_lasting: Callable[[str], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._is_lasting = is_lasting
        self._clock = clock
        self._lock = threading.Lock()
        # By URL, those used last at the end: with content, and without it but until when.
        self._full: OrderedDict[str, Opened] = OrderedDict()
        self._known: OrderedDict[str, tuple[Opened, float]] = OrderedDict()
        self._bytes = 0
        self._closed = False
        self._ahead: dict[str, Future[Opened]] = {}
        self._pool = ThreadPoolExecutor(_AHEAD, thread_name_prefix="lakehouse-read-ahead")

    @property
    def bytes(self) -> int:
        """Return how many bytes of content are kept."""
        return self._bytes

    def get(self, url: str) -> Opened:
        """Return what is known of a file; ask for it where that is nothing, or too old."""
        with self._lock:
            found = self._kept(url)
            ahead = self._ahead.get(url)
        if found is not None:
            return found
        try:
            return self._get(url, None) if ahead is None else ahead.result()
        except CancelledError as error:
            raise InputError(
                f"{url} cannot be read: what reads it was closed", next_step="Open it again"
            ) from error

    def content(self, url: str, version: Opened) -> Opened:
        """Return a version of a file with what is kept of its content, however old it is."""
        with self._lock:
            found = self._full.get(url)
            if found is None or (found.file, found.etag) != (version.file, version.etag):
                return version
            self._known.move_to_end(url)
            self._full.move_to_end(url)
            return found

    def begin(self, files: Iterable[tuple[str, int | None]]) -> None:
        """Begin to fetch files that will be read, by URL and size in bytes, as far as fits."""
        room = _KEPT_BYTES // 2
        for url, size in files:
            room -= _length(size) if size is None else min(size, _length(size))
            if room < 0:
                return
            with self._lock:
                if self._closed:
                    return
                if url not in self._ahead and self._kept(url) is None:
                    self._ahead[url] = self._pool.submit(self._get_ahead, url, size)

    def forget(self, url: str) -> None:
        """Take nothing for known that was known of a file."""
        with self._lock:
            self._known.pop(url, None)
            self._drop(url)

    def close(self) -> None:
        """Stop what runs ahead."""
        with self._lock:
            self._closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _get_ahead(self, url: str, size: int | None) -> Opened:
        try:
            return self._get(url, size)
        finally:
            with self._lock:
                self._ahead.pop(url, None)

    def _get(self, url: str, size: int | None) -> Opened:
        opened = self._fetch(url, _length(size), size)
        until = float("inf") if self._is_lasting(url) else self._clock() + _SAME
        with self._lock:
            self._drop(url)
            self._full[url] = opened
            self._bytes += len(opened.data)
            self._known[url] = (replace(opened, start=opened.file.size, data=b""), until)
            while self._bytes > _KEPT_BYTES and len(self._full) > 1:
                self._drop(next(iter(self._full)))
            while len(self._known) > _KEPT_FILES:
                oldest, _ = self._known.popitem(last=False)
                self._drop(oldest)
        return opened

    def _kept(self, url: str) -> Opened | None:
        bare, until = self._known.get(url, (None, 0.0))
        if bare is None or self._clock() >= until:
            return None
        self._known.move_to_end(url)
        if url in self._full:
            self._full.move_to_end(url)
        return self._full.get(url, bare)

    def _drop(self, url: str) -> None:
        dropped = self._full.pop(url, None)
        if dropped is not None:
            self._bytes -= len(dropped.data)


def _length(size: int | None) -> int:
    return _WHOLE if size is None or size <= _WHOLE else _END
