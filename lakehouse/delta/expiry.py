"""Choose the entries of a log that have expired: a pure rule over a listing.

Source: Delta protocol, "Metadata Cleanup". What is left is always one unbroken log: it starts at
a checkpoint that is not younger than the retention, nor than the oldest version that somebody
keeps, and every version from there on reads as before, at the same time as before.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterable, Mapping

from catalog.storage import StoredObject
from lakehouse.delta.log import LOG, Checkpoint, Listing, monotone_times, parse_listing
from lakehouse.delta.properties import interval

DAY = 24 * 3600 * 1000
_MONTH = 30 * DAY
_ENTRY = re.compile(
    r"(\d{20})\.(?:json|crc|checkpoint(?:\.\d{10}\.\d{10}|\.[0-9a-f-]{36})?\.(?:parquet|json))"
)
_SIDECARS = f"{LOG}/_sidecars/"


@dataclasses.dataclass(frozen=True, slots=True)
class Expiry:
    """Say what may go, and which checkpoint makes up for it; None: nothing may, for ``reason``.

    ``sidecars`` are old enough to go as well, except those that a checkpoint which stays names.
    """

    checkpoint: Checkpoint | None = None
    entries: tuple[StoredObject, ...] = ()
    sidecars: tuple[StoredObject, ...] = ()
    reason: str | None = None


def expired(
    objects: Iterable[StoredObject],
    properties: Mapping[str, str],
    *,
    now: int,
    keep_versions: Collection[int] = (),
    unusable: frozenset[tuple[str, ...]] = frozenset(),
) -> Expiry:
    """Choose what has expired among the files of a log folder.

    ``now`` is the storage's time in milliseconds since the epoch. Entries are kept for
    ``delta.logRetentionDuration`` (30 days; at least one, so that no writer at work finds the
    next version free that it planned for), counted from midnight UTC. Versions of
    ``keep_versions`` and all after the oldest of them stay readable: a log with a hole would
    answer wrongly which version was current when. ``unusable`` are checkpoints that were found
    damaged.
    """
    if properties.get("delta.enableExpiredLogCleanup", "true").lower() == "false":
        return Expiry(reason="delta.enableExpiredLogCleanup is false")
    asked = properties.get("delta.logRetentionDuration", "")
    kept = interval(asked)
    if kept is None and asked:
        return Expiry(reason="delta.logRetentionDuration is not an interval of weeks to seconds")
    found = tuple(objects)
    listing = parse_listing(found)
    before = _midnight(now - max(_MONTH if kept is None else kept, DAY))
    checkpoint = _cut_off(listing, before, keep_versions, unusable)
    if checkpoint is None:
        return Expiry(reason="no checkpoint is old enough")
    single = {commit.version for commit in listing.commits}
    merged = {file.path: file for file in listing.compacted}
    entries: list[StoredObject] = []
    for item in found:
        match = _ENTRY.fullmatch(item.path.removeprefix(f"{LOG}/"))
        if match and int(match[1]) < checkpoint.version:
            entries.append(item)
        elif file := merged.get(item.path):
            # One that reaches beyond the checkpoint stays where it stands in for lost commits.
            beyond = range(checkpoint.version + 1, file.version + 1)
            if file.start <= checkpoint.version and all(version in single for version in beyond):
                entries.append(item)
    sidecars = tuple(
        item
        for item in found
        if item.path.startswith(_SIDECARS)
        and item.path.endswith(".parquet")
        and item.millis < _midnight(now - DAY)
    )
    # Oldest first: stopped half-way, this leaves a log that has expired up to somewhere.
    return Expiry(checkpoint, tuple(sorted(entries, key=lambda item: item.path)), sidecars)


def _cut_off(
    listing: Listing,
    before: int,
    keep_versions: Collection[int],
    unusable: frozenset[tuple[str, ...]],
) -> Checkpoint | None:
    times = monotone_times(listing.commits)
    dated = list(zip(listing.commits, times, strict=True))
    old = [commit.version for commit, time in dated if time <= before]
    if not old:
        return None
    wanted = min(old[-1], *keep_versions) if keep_versions else old[-1]
    for checkpoint in sorted(listing.checkpoints, key=lambda c: c.version, reverse=True):
        if checkpoint.version > wanted or checkpoint.paths in unusable:
            continue
        first = next(((c, t) for c, t in dated if c.version >= checkpoint.version), None)
        # Where a clock went back, a commit's time hangs on those before it, which then stay.
        if first is not None and first[0].modified == first[1]:
            return checkpoint
    return None


def _midnight(millis: int) -> int:
    return millis // DAY * DAY
