"""Read what changed between two versions of a table: its change data feed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from types import MappingProxyType

from catalog.errors import InputError, NotFoundError
from lakehouse.delta import actions as act
from lakehouse.delta.change_data import (
    CHANGE_TYPE,
    COMMIT_TIMESTAMP,
    COMMIT_VERSION,
    OF_FILE,
    PROPERTY,
    is_recorded,
)
from lakehouse.delta.deletion_vector import Vectors
from lakehouse.delta.entries import in_commit_timestamp, read_entries
from lakehouse.delta.feed import Part, is_readable_as, parts
from lakehouse.delta.files.adds import raw_table
from lakehouse.delta.files.index import FileIndex
from lakehouse.delta.files.layout import Layout
from lakehouse.delta.in_commit import Table, time_of
from lakehouse.delta.log import commit_path, monotone_times, read_listing
from lakehouse.delta.schema.fields import Field, Primitive, Struct, schema_from_json
from lakehouse.delta.schema.mapping import MODE, is_mapped
from lakehouse.delta.snapshot import Snapshot
from lakehouse.table.timeline import parse_time, version_at

Moment = int | datetime | str
At = Callable[[int], Snapshot]
_HEADS = 16


@dataclasses.dataclass(frozen=True, slots=True)
class Feed:
    """Hold the changes of a range of versions: files to read, as those of a snapshot.

    ``snapshot`` has the columns of version ``last``, and more that say what happened when: to
    each row by a change data file, or, in another column, to all rows of a file.
    """

    first: int
    last: int
    snapshot: Snapshot


def read_feed(newest: Snapshot, at: At, *, since: Moment, until: Moment | None) -> Feed:
    """Find the changes of the versions ``since`` to ``until``, both included.

    ``at`` returns the table at a version. Raises NotFoundError for versions that the log does not
    hold, or whose files are gone, and InputError for one at which the table recorded no changes,
    or whose columns cannot be read as those of the last.
    """
    first = _version(newest, since, first=True)
    last = newest.version if until is None else _version(newest, until, first=False)
    if last > newest.version or first > last + 1 or first < 0:
        raise NotFoundError(
            f"there are no changes from version {first} to {last}: the newest version is "
            f"{newest.version}",
            next_step="Ask for a range of versions that exist",
        )
    end = newest if last == newest.version else at(last)
    found = _commits(newest, first, last) if first <= last else []
    _check_recorded(found, end, at)
    reader = Vectors(newest.storage)
    files: list[act.AddFile] = []
    for version, time, actions in found:
        where = commit_path(version)
        files += [
            _stamped(part, version, time)
            for part in parts(actions, where=where, rows_of=reader.rows)
        ]
    _check_present(end, files)
    return Feed(first, last, _snapshot(end, files))


def _version(newest: Snapshot, moment: Moment, *, first: bool) -> int:
    if isinstance(moment, int) and not isinstance(moment, bool):
        return moment
    if not isinstance(moment, datetime | str):
        raise InputError(f"a version or a time is expected, not {moment!r}")
    wanted = parse_time(moment)
    if not first:
        return version_at(newest, wanted)
    commits = read_listing(newest.storage).commits
    times = dict(zip((c.version for c in commits), monotone_times(commits), strict=True))

    def is_early(version: int) -> bool:
        time = in_commit_timestamp(newest.storage, version) or times[version]
        return time < wanted.timestamp() * 1000

    if 0 in times and not is_early(0):
        return 0
    version = version_at(newest, wanted)
    return version + is_early(version)


_Commit = tuple[int, int, list[act.Action]]


def _commits(newest: Snapshot, first: int, last: int) -> list[_Commit]:
    """Return the commits of a range: version, time in milliseconds, actions."""
    listed = [c for c in read_listing(newest.storage, start=first).commits if c.version <= last]
    if [commit.version for commit in listed] != list(range(first, last + 1)):
        left = listed[0].version if listed else last + 1
        raise NotFoundError(
            f"the changes of version {first} are not there any more: the log holds single "
            f"versions from {left} on",
            next_step=f"Ask for the changes since version {left}, and read the table as it was "
            "then before",
            version=first,
        )
    times = monotone_times(listed)
    bodies = read_entries(newest.storage, listed)
    return [
        (commit.version, time_of(actions) or time, actions)
        for commit, time, actions in zip(listed, times, bodies, strict=True)
    ]


def _check_recorded(commits: list[_Commit], end: Snapshot, at: At) -> None:
    """Check that each version of a range recorded its changes, in columns that fit the last's."""
    state = Table(end.metadata, end.protocol)
    changed = any(
        isinstance(action, act.Metadata | act.Protocol)
        for _, _, actions in commits[1:]
        for action in actions
    )
    if changed:
        start = at(commits[0][0])
        state = Table(start.metadata, start.protocol)
    for number, (version, _, actions) in enumerate(commits):
        state = state.after(actions) if number else state
        metadata, protocol = state.metadata, state.protocol
        assert metadata is not None
        assert protocol is not None
        if not is_recorded(protocol, metadata.configuration):
            raise InputError(
                f"version {version} of the table recorded no changes: {PROPERTY} was not on",
                next_step=f"Set {PROPERTY} to true, and ask for the changes since then",
                property=PROPERTY,
                version=version,
            )
        then = schema_from_json(metadata.schema_string)
        same = metadata.partition_columns == end.metadata.partition_columns
        if not same or not is_readable_as(then, end.schema):
            raise InputError(
                f"the columns of version {version} cannot be read as those of version "
                f"{end.version}: a type or the partitioning changed in between",
                next_step=f"Ask for the changes until version {version}, and for later ones apart",
                version=version,
            )


def _stamped(part: Part, version: int, time: int) -> act.AddFile:
    """Return a part's file with what is the same for all of its rows as partition values."""
    moment = datetime.fromtimestamp(time / 1000, UTC).isoformat()
    values = {COMMIT_VERSION: str(version), COMMIT_TIMESTAMP: moment, OF_FILE: part.kind}
    return dataclasses.replace(
        part.file, partition_values=MappingProxyType({**part.file.partition_values, **values})
    )


def _snapshot(end: Snapshot, files: list[act.AddFile]) -> Snapshot:
    own = (
        Field(CHANGE_TYPE, Primitive("string")),
        Field(COMMIT_VERSION, Primitive("long")),
        Field(COMMIT_TIMESTAMP, Primitive("timestamp")),
        Field(OF_FILE, Primitive("string")),
    )
    constant = tuple(field.name for field in own[1:])
    layout = Layout(
        Struct((*end.schema.fields, *own)), (*end.metadata.partition_columns, *constant)
    )
    metadata = end.metadata
    if is_mapped(metadata.configuration):
        # A change's type has no id; all columns have their physical names in files, too.
        settings = {**metadata.configuration, MODE: "name"}
        metadata = dataclasses.replace(metadata, configuration=MappingProxyType(settings))
    index = FileIndex(raw_table(files), layout)
    return dataclasses.replace(end, files=index, metadata=metadata)


def _check_present(end: Snapshot, files: list[act.AddFile]) -> None:
    """Raise NotFoundError where a file is gone; those that are live are there."""
    names = {file.key[0] for file in files}
    live = {file for file, _ in end.files.find(names).keys()}  # noqa: SIM118 - no dict
    rest = sorted(names - live)
    end.storage.require_inside(rest)
    with ThreadPoolExecutor(max_workers=_HEADS) as pool:
        found = zip(rest, pool.map(end.storage.head, rest), strict=True)
        gone = [path for path, stored in found if stored is None]
    if gone:
        raise NotFoundError(
            f"the changes cannot be read: {len(gone)} of their files are gone, for example "
            f"{gone[0]}",
            next_step="Ask for the changes since a later version, and read the table as it was "
            "then before",
        )
