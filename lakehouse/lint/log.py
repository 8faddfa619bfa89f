"""Lint a table's log: read it all, follow it, and hold its checkpoints and files against it."""

from __future__ import annotations

import os
from collections.abc import Iterator

from catalog.errors import CorruptionError, LakehouseError
from catalog.storage import Storage, open_storage
from lakehouse.delta.codec import from_lines
from lakehouse.delta.deletion_vector import relative_path
from lakehouse.delta.log import (
    LAST_CHECKPOINT,
    Checkpoint,
    CommitFile,
    Listing,
    commit_path,
    read_listing,
)
from lakehouse.lint.checkpoints import compare, compare_compacted, hint_of, read_state
from lakehouse.lint.findings import Finding
from lakehouse.lint.history import State, lint_commit

__all__ = ["Finding", "lint"]


def lint(table: Storage | str | os.PathLike[str]) -> list[Finding]:
    """Return what is wrong with a table's log, oldest version first; empty for a sound one.

    Reads every commit and checkpoint, and asks for the size of every live file. Nothing is
    changed. Raises StorageError where the storage cannot be reached.

    >>> lint("memory://")[0].message
    'there is no log here'
    """
    storage = table if isinstance(table, Storage) else open_storage(table)
    listing = read_listing(storage)
    if listing.latest is None:
        return [Finding("versions", "there is no log here")]
    state, found = State(), list[Finding]()
    found += _follow(storage, listing, state)
    found += _hint(storage, listing)
    if state.complete:
        found += _files(storage, state)
    return found


def _follow(storage: Storage, listing: Listing, state: State) -> Iterator[Finding]:
    checkpoints: dict[int, list[Checkpoint]] = {}
    for checkpoint in listing.checkpoints:
        checkpoints.setdefault(checkpoint.version, []).append(checkpoint)
    compacted = {file.start: file for file in listing.compacted}
    present = {commit.version for commit in listing.commits}
    first = version = min(present | checkpoints.keys() | compacted.keys())
    while version <= (listing.latest or 0):
        if version == first > 0:
            state.complete = False  # The commits before have expired, or were lost.
        if version in present:
            yield from _commit(storage, version, state)
        elif version in compacted:
            path, version = compacted[version].path, compacted[version].version
            state.apply(from_lines(storage.read(path), where=path))
        elif version > first or version not in checkpoints:
            yield Finding("versions", f"{commit_path(version)} is missing", version)
            state.complete = False
        for checkpoint in checkpoints.get(version, ()):
            yield from _checkpoint(storage, checkpoint, state)
        version += 1
    if not state.complete:
        yield Finding("versions", "no checkpoint holds the state that the missing commits made")
    for file in listing.compacted:
        if present >= set(range(file.start, file.version + 1)):
            yield from _compacted(storage, file)


def _compacted(storage: Storage, file: CommitFile) -> Iterator[Finding]:
    net = State()
    try:
        for version in range(file.start, file.version + 1):
            path = commit_path(version)
            net.apply(from_lines(storage.read(path), where=path))
        held = State()
        held.apply(from_lines(storage.read(file.path), where=file.path))
    except CorruptionError as error:
        yield Finding("unreadable", error.message, file.version, file.path)
        return
    yield from compare_compacted(file.version, held, net)


def _commit(storage: Storage, version: int, state: State) -> Iterator[Finding]:
    path = commit_path(version)
    try:
        actions = from_lines(storage.read(path), where=path)
    except CorruptionError as error:
        state.complete = False
        yield Finding("unreadable", error.message, version)
        return
    yield from lint_commit(version, actions, state)
    state.apply(actions)


def _checkpoint(storage: Storage, checkpoint: Checkpoint, state: State) -> Iterator[Finding]:
    try:
        held, repeated = read_state(storage, checkpoint)
    except CorruptionError as error:
        yield Finding("unreadable", error.message, checkpoint.version, checkpoint.paths[0])
        return
    if held.metadata is None or held.protocol is None:
        message = "the checkpoint lacks the table's metadata or protocol"
        yield Finding("checkpoint", message, checkpoint.version, checkpoint.paths[0])
    elif state.complete:
        yield from compare(checkpoint.version, held, state, repeated=repeated)
    else:
        state.files, state.removed = held.files, held.removed
        state.metadata, state.protocol = held.metadata, held.protocol
        state.transactions, state.domains = held.transactions, held.domains
        state.complete = True


def _hint(storage: Storage, listing: Listing) -> Iterator[Finding]:
    body = storage.read_or_none(LAST_CHECKPOINT)
    if body is not None:
        version = hint_of(body)
        if version not in {checkpoint.version for checkpoint in listing.checkpoints}:
            message = f"{LAST_CHECKPOINT} names version {version}, which has no whole checkpoint"
            yield Finding("hint", message, version)


def _files(storage: Storage, state: State) -> Iterator[Finding]:
    present = {item.path: item.size for item in storage.list()}
    for add in state.files.values():
        path = add.key[0]
        if path not in present:
            yield Finding("files", f"data file {path} is missing", path=path)
        elif present[path] != add.size:
            message = f"data file {path} has {present[path]} bytes, and the log says {add.size}"
            yield Finding("files", message, path=path)
        vector = add.deletion_vector
        if vector is not None and vector.storage_type == "u":
            try:
                name = relative_path(vector)
            except LakehouseError as error:
                yield Finding("files", str(error), path=path)
                continue
            # Length before and checksum after the vector (protocol, "Deletion Vector Storage").
            end = (vector.offset or 0) + 4 + vector.size_in_bytes + 4
            if present.get(name, -1) < end:
                yield Finding("files", f"deletion vector {name} of {path} is missing", path=name)
