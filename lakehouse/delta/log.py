"""Find and read the files of a transaction log.

Source: Delta protocol, "Delta Log Entries", "Checkpoints", "Log Compaction Files".
Which files make up a version is a pure function of the listing (``segment``).
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable

from catalog.errors import CorruptionError, NotFoundError
from catalog.storage import Storage, StoredObject

LOG = "_delta_log"
LAST_CHECKPOINT = f"{LOG}/_last_checkpoint"
_COMMIT = re.compile(r"(\d{20})\.json")
_CHECKPOINT = re.compile(
    r"(\d{20})\.checkpoint(?:\.(?:(\d{10})\.(\d{10})|([0-9a-f-]{36})))?\.(parquet|json)"
)


@dataclasses.dataclass(frozen=True, slots=True)
class CommitFile:
    """Name one commit of the log: milliseconds since the epoch, and bytes."""

    version: int
    path: str
    modified: int
    size: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Checkpoint:
    """Name the file or files that hold the whole state at ``version``."""

    version: int
    paths: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Segment:
    """Hold what must be read for one version: a checkpoint, and the commits after it."""

    version: int
    checkpoint: Checkpoint | None
    commits: tuple[CommitFile, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Listing:
    """Hold the commits and the complete checkpoints of a log, each ordered by version."""

    commits: tuple[CommitFile, ...]
    checkpoints: tuple[Checkpoint, ...]

    @property
    def latest(self) -> int | None:
        """Return the newest version, or None for an empty log."""
        last = [entries[-1].version for entries in (self.commits, self.checkpoints) if entries]
        return max(last, default=None)


def commit_path(version: int) -> str:
    """Return a commit's path below the table's root.

    >>> commit_path(7)
    '_delta_log/00000000000000000007.json'
    """
    return f"{LOG}/{version:020d}.json"


def read_listing(storage: Storage, *, start: int = 0) -> Listing:
    """List the log from version ``start`` on."""
    after = f"{LOG}/{start - 1:020d}.zzz" if start > 0 else None
    return parse_listing(storage.list(f"{LOG}/", start_after=after))


def parse_listing(objects: Iterable[StoredObject]) -> Listing:
    """Return the commits and the complete checkpoints among the objects of a log folder."""
    commits: list[CommitFile] = []
    found: dict[tuple[int, int, str], dict[int, str]] = {}
    for item in objects:
        name = item.path.removeprefix(f"{LOG}/")
        if match := _COMMIT.fullmatch(name):
            modified = int(item.modified.timestamp() * 1000)
            commits.append(CommitFile(int(match[1]), item.path, modified, item.size))
        elif (match := _CHECKPOINT.fullmatch(name)) and item.size > 0:
            part, parts = (int(match[2]), int(match[3])) if match[2] else (1, 1)
            if match[5] == "parquet" or match[4]:
                found.setdefault((int(match[1]), parts, match[4] or ""), {})[part] = item.path
    checkpoints = [
        Checkpoint(version, tuple(paths[part] for part in range(1, parts + 1)))
        for (version, parts, _), paths in sorted(found.items())
        if paths.keys() == set(range(1, parts + 1))
    ]
    commits.sort(key=lambda commit: commit.version)
    return Listing(tuple(commits), tuple(checkpoints))


def segment(
    listing: Listing,
    version: int | None = None,
    *,
    unusable: frozenset[tuple[str, ...]] = frozenset(),
) -> Segment:
    """Choose what to read for a version (None: the newest).

    Takes the newest complete checkpoint at or before the version, leaving out those whose paths
    are in ``unusable`` (found corrupt), and the commits after it. Raises NotFoundError for a
    version that the log does not hold any more or not yet, CorruptionError for a gap.
    """
    newest = listing.latest
    if newest is None:
        raise NotFoundError("the transaction log is empty", next_step="Check the table's location")
    wanted = newest if version is None else version
    if wanted > newest or wanted < 0:
        raise NotFoundError(
            f"there is no version {wanted}; the newest is {newest}",
            next_step="See history() for the versions that exist",
            version=wanted,
        )
    base = max(
        (c for c in listing.checkpoints if c.version <= wanted and c.paths not in unusable),
        key=lambda checkpoint: checkpoint.version,
        default=None,
    )
    first = 0 if base is None else base.version + 1
    commits = tuple(commit for commit in listing.commits if first <= commit.version <= wanted)
    present = [commit.version for commit in commits]
    if present != list(range(first, wanted + 1)):
        missing = next(v for v in range(first, wanted + 1) if v not in set(present))
        oldest = min((c.version for c in listing.commits), default=newest)
        if base is None and missing < oldest:
            raise NotFoundError(
                f"version {wanted} cannot be read: the log before version {oldest} has expired",
                next_step="Ask for a later version",
                version=wanted,
            )
        raise CorruptionError(
            f"the log has a gap: version {missing} is missing",
            next_step=f"Restore {commit_path(missing)} from a backup",
            version=missing,
        )
    return Segment(wanted, base, commits)


def read_hint(storage: Storage) -> int | None:
    """Return the version that ``_last_checkpoint`` names; None where it is missing or damaged."""
    body = storage.read_or_none(LAST_CHECKPOINT)
    if body is None:
        return None
    try:
        version = json.loads(body)["version"]
    except (ValueError, KeyError, TypeError):
        return None
    return version if isinstance(version, int) and version >= 0 else None


def newer_commits(storage: Storage, version: int) -> tuple[CommitFile, ...]:
    """Return the commits after ``version``, oldest first: one request where there are none."""
    listing = read_listing(storage, start=version + 1)
    return listing.commits
