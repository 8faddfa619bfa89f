"""Sort no more at once than there is room for on the disk that rows are spilled to."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

# What rows take, sorted and unsorted, while they are sorted: so many times their size in Parquet.
_SPREAD = 4


def largest(group_bytes: int, room: int) -> int:
    """Return the most bytes of files to be sorted together, where so many may be spilled. Pure.

    >>> largest(16 << 30, 1 << 40) >> 30, largest(16 << 30, 12 << 30) >> 30
    (16, 3)
    """
    return max(1, min(group_bytes, room // _SPREAD))


class Room:
    """Let in who sorts files as long as there is room for all; safe between threads.

    ``room`` is how many bytes may be spilled. Who needs more than that comes in alone.
    """

    def __init__(self, room: int) -> None:
        self._most = room // _SPREAD
        self._taken = 0
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def taken(self, size: int) -> Iterator[None]:
        """Wait until files of so many bytes can be sorted, and hold the room for them."""
        with self._changed:
            self._changed.wait_for(lambda: not self._taken or self._taken + size <= self._most)
            self._taken += size
        try:
            yield
        finally:
            with self._changed:
                self._taken -= size
                self._changed.notify_all()
