"""Read the entries of a log: single commits, and compacted files that stand for several.

Source: Delta protocol, "Delta Log Entries", "Log Compaction Files", "In-Commit Timestamps".
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from catalog.errors import LakehouseError
from catalog.storage import Storage
from lakehouse.delta import actions as act
from lakehouse.delta.codec import LARGEST_COMMIT, from_lines
from lakehouse.delta.in_commit import time_of
from lakehouse.delta.log import CommitFile, commit_path
from lakehouse.delta.soundness import check_commit


def read_entries(storage: Storage, entries: Iterable[CommitFile]) -> Iterator[list[act.Action]]:
    """Return the actions of each commit, and of each compacted file the net effect, in order."""
    return itertools.chain.from_iterable(read_each(storage, entries))


def read_each(storage: Storage, entries: Iterable[CommitFile]) -> Iterator[list[list[act.Action]]]:
    """Return for each entry its commits: one, or those that a damaged compacted file stands for.

    Commits begin to come with this call.
    """
    listed = list(entries)
    paths = [entry.path for entry in listed if entry.first is None]
    bodies = storage.read_many(paths, at_most=LARGEST_COMMIT)
    return _parsed(storage, listed, bodies)


def _parsed(
    storage: Storage, entries: Iterable[CommitFile], bodies: Iterator[bytes]
) -> Iterator[list[list[act.Action]]]:
    for entry in entries:
        if entry.first is None:
            yield [_checked(next(bodies), entry.path)]
        else:
            yield _compacted(storage, entry)


def read_commit(storage: Storage, version: int) -> list[act.Action]:
    """Read one commit's actions; CorruptionError where it cannot be trusted."""
    return _read(storage, commit_path(version))


def provenance(storage: Storage, version: int) -> Mapping[str, Any]:
    """Return what a commit says about itself; empty where it says nothing or is gone."""
    path = commit_path(version)
    body = storage.read_or_none(path, at_most=LARGEST_COMMIT) or b""
    # Only this one line is parsed: a commit may add a hundred thousand files.
    lines = [line for line in body.splitlines() if b'"commitInfo"' in line[:20]]
    for action in from_lines(b"\n".join(lines), where=path) if lines else ():
        if isinstance(action, act.CommitInfo):
            return action.values
    return {}


def in_commit_timestamp(storage: Storage, version: int) -> int | None:
    """Return the time that a commit carries itself, in milliseconds since the epoch, or None."""
    return time_of([act.CommitInfo(provenance(storage, version))])


def _read(storage: Storage, path: str) -> list[act.Action]:
    return _checked(storage.read(path, at_most=LARGEST_COMMIT), path)


def _checked(body: bytes, path: str) -> list[act.Action]:
    actions = from_lines(body, where=path)
    check_commit(actions, where=path)
    return actions


def _compacted(storage: Storage, entry: CommitFile) -> list[list[act.Action]]:
    try:
        actions = _read(storage, entry.path)
    except LakehouseError as damage:
        try:
            return [
                read_commit(storage, version) for version in range(entry.start, entry.version + 1)
            ]
        except LakehouseError:
            raise damage from None
    # What it may hold of provenance need not be of its newest commit.
    return [[action for action in actions if not isinstance(action, act.CommitInfo)]]
