"""What the planner knows of a table: frozen values."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

Partition = tuple[str | None, ...]
Interval = tuple[Any, Any]
"""The bounds of a column in a file; None for one that is unknown."""


@dataclasses.dataclass(frozen=True, slots=True)
class Cluster:
    """Name the sort that a file was written by: which one it was, and its key."""

    id: str
    key: str


@dataclasses.dataclass(frozen=True, slots=True)
class FileFacts:
    """Describe a live file: sizes in bytes, deleted rows among its rows, its partition's values.

    ``box`` are the bounds of the columns that the table is clustered by.
    """

    path: str
    size: int
    rows: int | None = None
    deleted: int = 0
    partition: Partition = ()
    box: tuple[Interval, ...] = ()
    cluster: Cluster | None = None

    @property
    def deleted_share(self) -> float:
        """Return the share of rows that are deleted; 1 where that is not known."""
        if not self.deleted:
            return 0.0
        return min(1.0, self.deleted / self.rows) if self.rows else 1.0

    @property
    def live_bytes(self) -> int:
        """Return about how many bytes the rows take that are not deleted."""
        return round(self.size * (1 - self.deleted_share)) if self.deleted else self.size


@dataclasses.dataclass(frozen=True, slots=True)
class TableFacts:
    """Describe a table; times are in seconds since the epoch, sizes in bytes.

    - ``files``: those that a plan may be about, all of them where the table is clustered.
    - ``all_files``, ``all_bytes``: of the whole table.
    - ``newest``: when each partition got its newest file.
    - ``commits_since_checkpoint``: of which readers have to read each.
    - ``expired_entries``, ``expired_bytes``: log entries older than their retention.
    - ``dead_files``, ``dead_bytes``: files that no version needs which is kept.
    - ``reads``: how often the table was queried, as far as is known, at least 1.
    """

    name: str
    version: int
    now: float
    files: tuple[FileFacts, ...] = ()
    all_files: int = 0
    all_bytes: int = 0
    newest: Mapping[Partition, float] = dataclasses.field(default_factory=dict)
    commits_since_checkpoint: int = 0
    expired_entries: int = 0
    expired_bytes: int = 0
    dead_files: int = 0
    dead_bytes: int = 0
    reads: float = 1.0
