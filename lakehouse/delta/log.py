"""Find and read the files of a transaction log.

Source: Delta protocol, "Delta Log Entries", "Checkpoints", "Log Compaction Files".
Which files make up a version is a pure function of the listing (``segment``).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator

from catalog.errors import CorruptionError, NotFoundError
from catalog.storage import Storage, StoredObject
from lakehouse.delta.strict_json import count, document

LOG = "_delta_log"
LAST_CHECKPOINT = f"{LOG}/_last_checkpoint"
LARGEST_HINT = 16 << 20  # it may hold the checkpoint's schema
_COMMIT = re.compile(r"([0-9]{20})\.json")
_COMPACTED = re.compile(r"([0-9]{20})\.([0-9]{20})\.compacted\.json")
_CHECKPOINT = re.compile(
    r"([0-9]{20})\.checkpoint(?:\.(?:([0-9]{10})\.([0-9]{10})|([0-9a-f-]{36})))?\.(parquet|json)"
)


@dataclasses.dataclass(frozen=True, slots=True)
class CommitFile:
    """Name one commit of the log. ``modified`` is in milliseconds since the epoch.

    A compacted file holds the net effect of the commits ``first`` to ``version``. ``size`` is in
    bytes.
    """

    version: int
    path: str
    modified: int
    first: int | None = None
    size: int = 0

    @property
    def start(self) -> int:
        """Return the first version in this file."""
        return self.version if self.first is None else self.first


@dataclasses.dataclass(frozen=True, slots=True)
class Checkpoint:
    """Name the file or files that hold the whole state at ``version``."""

    version: int
    paths: tuple[str, ...]
    modified: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Segment:
    """Hold what must be read for one version: a checkpoint, and the commits after it.

    Compacted files may stand for several commits. ``modified`` is when the version was written,
    in milliseconds since the epoch, as far as the storage still knows.
    """

    version: int
    checkpoint: Checkpoint | None
    commits: tuple[CommitFile, ...]
    modified: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Listing:
    """Hold the commits and the complete checkpoints of a log, each ordered by version."""

    commits: tuple[CommitFile, ...]
    checkpoints: tuple[Checkpoint, ...]
    compacted: tuple[CommitFile, ...] = ()

    @property
    def latest(self) -> int | None:
        """Return the newest version, or None for an empty log."""
        last = [entries[-1].version for entries in (self.commits, self.checkpoints) if entries]
        return max((*last, *(file.version for file in self.compacted)), default=None)


def commit_path(version: int) -> str:
    """Return a commit's path below the table's root.

    >>> commit_path(7)
    '_delta_log/00000000000000000007.json'
    """
    return f"{LOG}/{version:020d}.json"


def read_listing(storage: Storage, *, start: int = 0) -> Listing:
    """List the log from version ``start`` on."""
    return parse_listing(list_from(storage, start))


def read_whole_listing(storage: Storage) -> Listing | None:
    """List all of the log if that takes a single request, else return None."""
    found = storage.list_at_once(f"{LOG}/")
    return None if found is None else parse_listing(found)


def list_from(storage: Storage, start: int) -> Iterator[StoredObject]:
    """Yield the files of the log from version ``start`` on."""
    after = f"{LOG}/{start - 1:020d}.zzz" if start > 0 else None
    return storage.list(f"{LOG}/", start_after=after)


def parse_listing(objects: Iterable[StoredObject]) -> Listing:
    """Return the commits and the complete checkpoints among the objects of a log folder."""
    commits: list[CommitFile] = []
    compacted: list[CommitFile] = []
    found: dict[tuple[int, int, str], dict[int, StoredObject]] = {}
    for item in objects:
        name = item.path.removeprefix(f"{LOG}/")
        if match := _COMMIT.fullmatch(name):
            commits.append(CommitFile(int(match[1]), item.path, item.millis, size=item.size))
        elif match := _COMPACTED.fullmatch(name):
            first, last = int(match[1]), int(match[2])
            if first < last and item.size > 0:
                compacted.append(CommitFile(last, item.path, item.millis, first, size=item.size))
        elif (match := _CHECKPOINT.fullmatch(name)) and item.size > 0:
            part, parts = (int(match[2]), int(match[3])) if match[2] else (1, 1)
            if match[5] == "parquet" or match[4]:
                found.setdefault((int(match[1]), parts, match[4] or ""), {})[part] = item
    checkpoints = [
        Checkpoint(
            version,
            tuple(items[part].path for part in range(1, parts + 1)),
            max(item.millis for item in items.values()),
        )
        for (version, parts, _), items in sorted(found.items())
        # The number of parts is only a claim: nothing may be as large as it says.
        if len(items) == parts and items.keys() == set(range(1, parts + 1))
    ]
    commits.sort(key=lambda commit: commit.version)
    compacted.sort(key=lambda file: (file.start, file.version))
    return Listing(tuple(commits), tuple(checkpoints), tuple(compacted))


def segment(
    listing: Listing,
    version: int | None = None,
    *,
    unusable: frozenset[tuple[str, ...]] = frozenset(),
) -> Segment:
    """Choose what to read for a version (None: the newest).

    Takes the newest complete checkpoint at or before the version, leaving out those whose paths
    are in ``unusable`` (found corrupt), and the fewest files that hold the commits after it, and
    none after the version. Raises NotFoundError for a version that the log does not hold any more,
    not yet, or only together with later ones in a compacted file, CorruptionError for a gap.
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
    singles = [commit for commit in listing.commits if first <= commit.version <= wanted]
    merged = [file for file in listing.compacted if first <= file.version <= wanted]
    # A file that starts before the checkpoint repeats what that holds: right, but mostly longer.
    after = [file for file in merged if file.start >= first]
    commits, missing = _cover([*singles, *after], first, wanted)
    if missing is not None and merged != after:
        commits, missing = _cover([*singles, *merged], first, wanted)
    if missing is not None:
        raise _absent(listing, wanted, missing, base)
    return Segment(wanted, base, commits, _modified(commits, base, listing, wanted))


def monotone_times(commits: Iterable[CommitFile]) -> list[int]:
    """Return the commits' times in milliseconds, each later than the one before.

    File times can tie or go back; versions cannot (protocol, "In-Commit Timestamps").
    """
    times: list[int] = []
    for commit in commits:
        times.append(max(commit.modified, times[-1] + 1) if times else commit.modified)
    return times


def read_hint(storage: Storage) -> int | None:
    """Return the version that ``_last_checkpoint`` names; None where it is missing or damaged."""
    try:
        body = storage.read_or_none(LAST_CHECKPOINT, at_most=LARGEST_HINT)
        return None if body is None else count(document(body)["version"])
    except (CorruptionError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _cover(
    files: list[CommitFile], first: int, last: int
) -> tuple[tuple[CommitFile, ...], int | None]:
    """Return the fewest files that hold all versions in order, and the first one they lack.

    Files may overlap: what one of them says of a file is never older than what those before say.
    """
    waiting = sorted(files, key=lambda file: (file.start, file.version), reverse=True)
    chosen: list[CommitFile] = []
    best: CommitFile | None = None
    version = first
    while version <= last:
        while waiting and waiting[-1].start <= version:
            file = waiting.pop()
            if best is None or file.version >= best.version:
                best = file
        if best is None or best.version < version:
            return tuple(chosen), version
        chosen.append(best)
        version = best.version + 1
    return tuple(chosen), None


def _absent(
    listing: Listing, wanted: int, missing: int, base: Checkpoint | None
) -> NotFoundError | CorruptionError:
    inside = [file for file in listing.compacted if file.start <= missing <= file.version]
    if inside and max(file.version for file in inside) > wanted:
        whole = min(file.version for file in inside if file.version > wanted)
        return NotFoundError(
            f"version {wanted} cannot be read: version {missing} is left only together with "
            f"later ones, up to {whole}, in a compacted file of the log",
            next_step=f"Ask for version {whole} or a later one",
            version=wanted,
        )
    starts = [file.start for file in (*listing.commits, *listing.compacted)]
    oldest = min(starts, default=listing.latest or 0)
    if base is None and missing < oldest:
        return NotFoundError(
            f"version {wanted} cannot be read: the log before version {oldest} has expired",
            next_step="Ask for a later version",
            version=wanted,
        )
    return CorruptionError(
        f"the log has a gap: version {missing} is missing",
        next_step=f"Restore {commit_path(missing)} from a backup",
        version=missing,
    )


def _modified(
    commits: tuple[CommitFile, ...], base: Checkpoint | None, listing: Listing, wanted: int
) -> int:
    if commits and commits[-1].first is None:
        return commits[-1].modified
    own = next((c for c in reversed(listing.commits) if c.version == wanted), None)
    if own is not None:
        return own.modified
    if commits:
        return commits[-1].modified
    return 0 if base is None else base.modified
