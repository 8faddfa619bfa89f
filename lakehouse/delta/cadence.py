"""Decide when a checkpoint is worth writing: a pure rule over what the log holds.

Readers pay for commits after the last checkpoint, writers for every checkpoint, which holds all
files of the table, however small the commits are. Measured in docs/decisions/0011.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping

from catalog.storage import StoredObject
from lakehouse.delta.log import commit_path, parse_listing

INTERVAL = 10
LONGEST = 10 * INTERVAL
BYTES_PER_BYTE = 32


@dataclasses.dataclass(frozen=True, slots=True)
class Lag:
    """Hold what the log has grown by since its newest checkpoint; sizes are in bytes."""

    commits: int
    bytes: int
    checkpoint_bytes: int


def is_due(lag: Lag, interval: int | None = None) -> bool:
    """Tell whether the commits since the last checkpoint call for a new one.

    With an ``interval`` (``delta.checkpointInterval``) exactly after so many commits. Without,
    after 10, and on tables whose checkpoint is large compared with the commits later: when a new
    one costs at most 32 times the bytes that the log has grown by, but after 100 commits at the
    latest. So both the commits to replay and the bytes written are bounded.
    """
    if interval is not None:
        return lag.commits >= interval
    if lag.commits < INTERVAL:
        return False
    return lag.commits >= LONGEST or lag.bytes * BYTES_PER_BYTE >= lag.checkpoint_bytes


def interval_of(properties: Mapping[str, str]) -> int | None:
    """Return ``delta.checkpointInterval``, or None where it is not set to a positive number."""
    text = properties.get("delta.checkpointInterval", "")
    return int(text) if text.isdecimal() and int(text) > 0 else None


def asks(version: int, properties: Mapping[str, str]) -> bool:
    """Tell whether the commit of this version should look whether a checkpoint is due.

    Of several writers exactly one looks, and the others spend nothing.
    """
    return version > 0 and version % (interval_of(properties) or INTERVAL) == 0


def lag_of(objects: Collection[StoredObject], version: int) -> Lag:
    """Measure the log's files, up to a version, against its newest complete checkpoint."""
    sizes = {item.path: item.size for item in objects}
    listing = parse_listing(objects)
    newest = max(listing.checkpoints, key=lambda checkpoint: checkpoint.version, default=None)
    base = -1 if newest is None else newest.version
    return Lag(
        commits=version - base,
        bytes=sum(sizes.get(commit_path(v), 0) for v in range(base + 1, version + 1)),
        checkpoint_bytes=0 if newest is None else sum(sizes[path] for path in newest.paths),
    )
