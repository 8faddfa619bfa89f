"""Tell which versions of a table are kept, and which files none of them needs: pure rules.

Source: Delta protocol, "Delta Log Entries" and "Add File and Remove File": a removed file stays as a
tombstone until readers of older versions have had their time (``delta.deletedFileRetentionDuration``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from catalog.storage import StoredObject
from lakehouse.delta.leftovers import Leftover, fold, leftovers
from lakehouse.delta.properties import interval

WEEK = timedelta(days=7)
# How long a writer may be at work on files that no commit names yet.
IN_FLIGHT = timedelta(days=1)
RETENTION = "delta.deletedFileRetentionDuration"
TRASH = "_trash"


def retention_of(properties: Mapping[str, str]) -> timedelta | None:
    """Return how long a table keeps removed files; None where what it says cannot be understood.

    >>> retention_of({"delta.deletedFileRetentionDuration": "interval 2 days"}).days
    2
    """
    text = properties.get(RETENTION, "")
    if not text:
        return WEEK
    millis = interval(text)
    return None if millis is None else timedelta(milliseconds=millis)


def oldest_kept(times: Sequence[tuple[int, int]], cutoff: int) -> int | None:
    """Return the oldest version that somebody may read who looks back to ``cutoff``.

    ``times`` are versions with their times (milliseconds), oldest first. The version that was the
    newest at the cutoff counts, and all after it; None where there is no version. Where times go
    back, the first that is later than the cutoff ends the search.

    >>> oldest_kept([(0, 100), (1, 200), (2, 300)], 250)
    1
    """
    found = None
    for version, time in times:
        if found is not None and time > cutoff:
            break
        found = version
    return found


@dataclasses.dataclass(frozen=True, slots=True)
class Ages:
    """Say how old a file must be to go; ``now`` is the storage's time.

    ``retention`` is for files that a commit removed, ``in_flight`` for those that no commit names:
    a writer may be about to.
    """

    now: datetime
    retention: timedelta = WEEK
    in_flight: timedelta = IN_FLIGHT


def unneeded(
    objects: Iterable[StoredObject],
    *,
    needed: Collection[str],
    removed: Collection[str],
    ages: Ages,
) -> tuple[Leftover, ...]:
    """Choose the files that may go among all files of a table's folder.

    ``needed`` are the paths that versions which are kept name, and ``removed`` those that the log
    says were removed, both as `leftovers.named_by` gives them. What is needed never goes; nor does
    a file of a kind that no Delta writer writes, one in a hidden folder, or in a table inside of
    this one.
    """
    young = max(ages.retention, ages.in_flight)
    found = tuple(objects)
    return tuple(
        dataclasses.replace(item, why=_why(item, is_removed=fold(item.path) in removed))
        for item in leftovers(found, needed, now=ages.now, older_than=ages.retention)
        if item.age > young or fold(item.path) in removed
    )


def _why(item: Leftover, *, is_removed: bool) -> str:
    if is_removed:
        return item.why.replace("that no version names", "of versions that are not kept any more")
    return item.why
