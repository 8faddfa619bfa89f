"""A table's versions and times: which version was current when, and who made it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from catalog.errors import InputError, NotFoundError
from catalog.storage import Storage
from lakehouse.delta.entries import in_commit_timestamp, provenance
from lakehouse.delta.in_commit import newest_at
from lakehouse.delta.log import CommitFile, monotone_times, read_listing
from lakehouse.delta.snapshot import Snapshot
from lakehouse.table.reports import Commit


def history(storage: Storage, limit: int | None = None) -> list[Commit]:
    """Return the commits that the log still holds, newest first."""
    if limit is not None and limit < 0:
        raise InputError(f"limit is {limit}", next_step="Pass a number of commits, or None for all")
    commits = read_listing(storage).commits
    times = monotone_times(commits)
    newest = list(zip(commits, times, strict=True))[::-1]
    return [_commit(storage, file, millis) for file, millis in newest[:limit]]


def version_at(snapshot: Snapshot, moment: datetime | str) -> int:
    """Return the version that was the newest at a moment.

    A time without a zone is UTC. Raises NotFoundError before the first version that is left.
    """
    wanted = parse_time(moment)
    millis = wanted.timestamp() * 1000
    commits = read_listing(snapshot.storage).commits
    if not commits:
        return snapshot.version
    by_version = {commit.version: commit for commit in commits}

    def files(versions: Sequence[int]) -> list[int]:
        return monotone_times(by_version[version] for version in versions)

    def own(version: int) -> int:
        return in_commit_timestamp(snapshot.storage, version) or by_version[version].modified

    found = newest_at(
        millis,
        [commit.version for commit in commits],
        configuration=snapshot.properties,
        files=files,
        own=own,
    )
    if found is None:
        first = _commit(snapshot.storage, commits[0], commits[0].modified)
        raise NotFoundError(
            f"the table has no version as of {wanted.isoformat()}; its first one that is left is "
            f"version {first.version} of {first.timestamp.isoformat()}",
            next_step="Ask for a later time",
        )
    return found


def parse_time(moment: datetime | str) -> datetime:
    """Return a moment with a zone from a datetime or ISO 8601 text; UTC where it has none.

    >>> parse_time("2024-01-31 12:00").isoformat()
    '2024-01-31T12:00:00+00:00'
    """
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment.strip())
        except ValueError as error:
            raise InputError(
                f"{moment!r} is not a time",
                next_step="Write it as 2024-01-31 or 2024-01-31 12:00:00",
            ) from error
    if not isinstance(moment, datetime):
        raise InputError(f"a time must be a datetime or text, not {type(moment).__name__}")
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _commit(storage: Storage, file: CommitFile, millis: int) -> Commit:
    values = provenance(storage, file.version)
    stamp = values.get("inCommitTimestamp")
    user_metadata = values.get("userMetadata")
    return Commit(
        version=file.version,
        timestamp=datetime.fromtimestamp((stamp or millis) / 1000, UTC),
        operation=str(values.get("operation", "unknown")),
        parameters=_mapping(values.get("operationParameters")),
        metrics=_mapping(values.get("operationMetrics")),
        engine=values.get("engineInfo") or values.get("clientVersion"),
        user=values.get("userName"),
        metadata=_decoded(user_metadata),
    )


def _mapping(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, dict) else {}


def _decoded(text: Any) -> Any:
    if not isinstance(text, str):
        return text
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, dict) else text
