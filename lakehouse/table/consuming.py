"""Follow a table by a named consumer: first the table as it is, then what changes, batch by batch.

The rule for the position: it moves when the body of the loop has finished, which is when the next
batch is asked for; with a target, it moves in the very commit that writes the batch there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Literal, Protocol

from catalog.errors import InputError
from lakehouse.delta.change_data import PROPERTY, is_recorded
from lakehouse.delta.snapshot import Snapshot
from lakehouse.duck.engine import Relation
from lakehouse.table.idempotency import Following
from lakehouse.table.positions import Position, Positions, check_consumer

Start = int | Literal["snapshot", "now"]


@dataclasses.dataclass(frozen=True, slots=True, repr=False)
class Batch:
    """Hold the changes of the versions ``first`` to ``last``, both included.

    ``is_snapshot`` says that it is the table as it was at ``last``, all rows as inserts.
    ``key`` is the ``idempotency_key`` for the one write into each table that a batch leads to: a
    batch that comes again is not written again.
    """

    first: int
    last: int
    is_snapshot: bool
    key: tuple[str, int]
    _rows: Callable[[], Relation]

    def __repr__(self) -> str:
        kind = "snapshot" if self.is_snapshot else "changes"
        return f"Batch({kind} of versions {self.first} to {self.last})"

    def rows(self) -> Relation:
        """Return the rows, with the columns that `Table.changes` adds, as a lazy relation."""
        return self._rows()


class Target(Protocol):
    """Be a table that holds a consumer's position beside the rows it wrote for it."""

    def snapshot(self) -> Snapshot:
        """Return the table as it is now."""

    def mark(self, key: tuple[str, int]) -> object:
        """Write a key alone."""


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """Say what is followed: the newest version, and rows of a snapshot and of changes."""

    newest: Callable[[], Snapshot]
    whole: Callable[[int], Relation]
    changes: Callable[[int, int], Relation]


def consume(
    source: Source,
    name: str,
    *,
    into: Target | None,
    start: Start,
    most_versions: int | None,
) -> Iterator[Batch]:
    """Yield batches until the consumer has seen the newest version."""
    check_consumer(name)
    if most_versions is not None and most_versions < 1:
        raise InputError(f"most_versions is {most_versions}", next_step="Pass 1 or more, or None")
    if not (start in ("snapshot", "now") or (isinstance(start, int) and start >= 0)):
        raise InputError(
            f"a consumer cannot start at {start!r}",
            next_step="Use 'snapshot', 'now', or the first version to read",
        )
    now = source.newest()
    if not is_recorded(now.protocol, now.properties):
        raise InputError(
            f"the table records no changes: {PROPERTY} is not on",
            next_step=f"Set {PROPERTY} to true, and consume it from then on",
            property=PROPERTY,
        )
    place = _beside(now, name) if into is None else _within(into, now, name)
    return _batches(source, place, start, most_versions)


@dataclasses.dataclass(frozen=True, slots=True)
class _Place:
    """Say how a position is read, how far the batch after it reaches, its key, how it moves."""

    read: Callable[[], Position | None]
    claim: Callable[[Position, int], int]
    key: Callable[[Position | None, int], tuple[str, int]]
    move: Callable[[Position, Position | None], None]


def _batches(
    source: Source, place: _Place, start: Start, most_versions: int | None
) -> Iterator[Batch]:
    while True:
        at, newest = place.read(), source.newest()
        begun = at or Position()
        is_new = not begun.done
        if is_new and start == "now":
            place.move(Position(begun.reset, newest.version + 1), at)
            return
        is_snapshot = is_new and start == "snapshot"
        first = start if is_new and isinstance(start, int) else begun.done
        last = newest.version
        if first > last and not is_snapshot:
            return
        if most_versions is not None and not is_snapshot:
            last = min(last, first + most_versions - 1)
        last = place.claim(begun, last)
        key = place.key(at, last)
        if is_snapshot:
            yield Batch(last, last, True, key, _whole(source, last))
        else:
            yield Batch(first, last, False, key, _changes(source, first, last))
        place.move(Position(begun.reset, last + 1), at)


def _whole(source: Source, version: int) -> Callable[[], Relation]:
    return lambda: source.whole(version)


def _changes(source: Source, first: int, last: int) -> Callable[[], Relation]:
    return lambda: source.changes(first, last)


def _application(source: Snapshot, name: str) -> str:
    return f"lakehouse.consumer:{source.metadata.id}:{name}"


def _beside(source: Snapshot, name: str) -> _Place:
    """Keep the position in documents beside the table that is followed."""
    positions, application = Positions(source.storage, name), _application(source, name)

    def key(at: Position | None, last: int) -> tuple[str, int]:
        # After a reset, versions come again that a target has seen under their keys.
        reset = f":{at.reset}" if at is not None and at.reset else ""
        return f"{application}{reset}", last

    return _Place(
        read=positions.newest,
        claim=positions.claim,
        key=key,
        move=lambda to, _: positions.move(to),
    )


def _within(target: Target, source: Snapshot, name: str) -> _Place:
    """Keep the position in the log of the table that the batches are written to."""
    application = _application(source, name)

    def read() -> Position | None:
        mark = target.snapshot().transactions.get(application)
        return None if mark is None else Position(0, mark.version + 1)

    def key(at: Position | None, last: int) -> tuple[str, int]:
        return Following(application, last, after=None if at is None else at.version)

    def move(to: Position, at: Position | None) -> None:
        # Written already, mostly; a batch of which nothing was to be written moves it here.
        target.mark(key(at, to.done - 1))

    return _Place(read=read, claim=lambda _, last: last, key=key, move=move)
