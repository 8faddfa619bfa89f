"""Where a table's consumers stand: small numbered documents beside its log, each written once.

A position is the version up to which a consumer is done. The document ``<reset>-<position>.json``
says that it got there, ``<reset>-<position>.next.json`` how far its next batch reaches, so that a
batch which comes again is the same. The greatest position of the latest reset holds.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import uuid
from collections.abc import Callable, Iterable
from datetime import datetime

from catalog.errors import ConflictError, CorruptionError, InputError, StorageError
from catalog.storage import Storage, StoredObject

FOLDER = "_consumers"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_DOCUMENT = re.compile(r"(\d{6})-(\d{20})\.(next\.)?json")
_LARGEST = 1 << 16


@dataclasses.dataclass(frozen=True, slots=True)
class Consumer:
    """Describe a consumer: the last version it is done with, None for none, and since when."""

    name: str
    version: int | None
    moved: datetime | None


@dataclasses.dataclass(frozen=True, slots=True)
class Position:
    """Name a place in a consumer's way; ``done`` counts the versions that it is done with."""

    reset: int = 0
    done: int = 0

    @property
    def version(self) -> int | None:
        """Return the last version that the consumer is done with."""
        return self.done - 1 if self.done else None


class Positions:
    """Keep the position of one consumer of a table."""

    def __init__(self, storage: Storage, name: str) -> None:
        check_consumer(name)
        self._storage = storage
        self._name = name
        self._folder = f"{FOLDER}/{name}"

    def newest(self) -> Position | None:
        """Return where the consumer stands, or None where it has not begun."""
        return max(self._found(), key=lambda at: (at.reset, at.done), default=None)

    def claim(self, at: Position, last: int) -> int:
        """Return up to which version the batch after a position reaches: ``last``, if it is new."""
        path = f"{self._path(at)}.next.json"
        if not self._storage.put_if_absent(path, _document(last=last)):
            last = _value(self._storage.read(path, at_most=_LARGEST), "last", path)
        return last

    def move(self, to: Position) -> None:
        """Write a position; ConflictError where another process has the consumer's name."""
        path, body = f"{self._path(to)}.json", _document(done=to.done)
        written = self._storage.put_if_absent(path, body)
        # "It exists" may be about our own put, repeated after its answer was lost.
        if not written and self._storage.read_or_none(path, at_most=_LARGEST) != body:
            raise _not_alone(self._name)
        newest = self.newest()
        if newest is not None and (newest.reset, newest.done) > (to.reset, to.done):
            raise _not_alone(self._name)
        self._forget(lambda at: (at.reset, at.done) < (to.reset, to.done))

    def reset(self, done: int) -> Consumer:
        """Put the consumer somewhere else; to 0 versions for its beginning."""
        if done < 0:
            raise InputError(f"there is no version {done - 1}")
        at = self.newest() or Position()
        self.move(Position(at.reset + 1, done))
        return next(found for found in consumers(self._storage) if found.name == self._name)

    def _forget(self, is_old: Callable[[Position], bool]) -> None:
        names = [path for path, at in self._documents() if is_old(at)]
        with contextlib.suppress(StorageError):  # what stays is older, and does not matter
            self._storage.delete(names)

    def _found(self) -> Iterable[Position]:
        return (at for path, at in self._documents() if not path.endswith(".next.json"))

    def _documents(self) -> Iterable[tuple[str, Position]]:
        for item in self._storage.list(f"{self._folder}/"):
            match = _DOCUMENT.fullmatch(item.path.removeprefix(f"{self._folder}/"))
            if match:
                yield item.path, Position(int(match[1]), int(match[2]))

    def _path(self, at: Position) -> str:
        return f"{self._folder}/{at.reset:06d}-{at.done:020d}"


def consumers(storage: Storage) -> tuple[Consumer, ...]:
    """Return a table's consumers, by name."""
    found: dict[str, tuple[tuple[int, int], StoredObject]] = {}
    for item in storage.list(f"{FOLDER}/"):
        name, _, document = item.path.removeprefix(f"{FOLDER}/").partition("/")
        match = _DOCUMENT.fullmatch(document)
        if match and not match[3]:
            at = int(match[1]), int(match[2])
            if name not in found or found[name][0] < at:
                found[name] = at, item
    return tuple(
        Consumer(name, Position(*at).version, item.modified)
        for name, (at, item) in sorted(found.items())
    )


def check_consumer(name: str) -> None:
    """Raise InputError for what is no consumer's name."""
    if _NAME.fullmatch(name) is None:
        raise InputError(
            f"{name!r} is no name for a consumer",
            next_step="Use letters, digits, '_', '-' and '.', such as 'dashboard'",
        )


def _not_alone(name: str) -> ConflictError:
    return ConflictError(
        f"another process has moved consumer {name!r} meanwhile",
        next_step="Let one process at a time consume under a name",
    )


def _document(**values: int) -> bytes:
    return json.dumps({**values, "token": uuid.uuid4().hex}).encode()


def _value(body: bytes, name: str, where: str) -> int:
    try:
        found = json.loads(body)[name]
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptionError(f"{where} is damaged: {error}") from error
    if not isinstance(found, int):
        raise CorruptionError(f"{where} is damaged: {name} is {found!r}")
    return found
