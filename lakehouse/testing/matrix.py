"""The pair matrix: every operation against every other, the second one with stale knowledge.

The second party plans on the table as it is, and just before its first write into the log the
first party commits. What stands in the end must equal one of the two serial orders of the model;
a refused operation must have changed nothing, and must have had a reason.
"""

from __future__ import annotations

import dataclasses
import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Literal

from catalog.errors import ConflictError, LakehouseError, UnsupportedError
from catalog.storage import open_storage
from lakehouse.delta.actions import CommitInfo
from lakehouse.delta.entries import read_commit
from lakehouse.delta.log import read_listing
from lakehouse.duck.engine import Engine
from lakehouse.lint.log import lint
from lakehouse.testing import peer
from lakehouse.testing.ambush import Ambush
from lakehouse.testing.model import Model, Refused, State, difference
from lakehouse.testing.operations import OPERATIONS, Operation, Work
from lakehouse.testing.reading import observed
from lakehouse.testing.tables import KINDS, Opener, Prepared

Side = Literal["ours", "delta-rs"]
Outcome = Literal[
    "committed", "rebased", "redone", "nothing", "refused", "conflict", "unsupported", "no first"
]
_FIRST = Work(part="a", first_id=101, name="first", version=1)
_OTHER = Work(part="b", first_id=201, name="second", version=2)
_SAME = dataclasses.replace(_FIRST, first_id=201)
VACUUM = "vacuum"


@dataclasses.dataclass(frozen=True, slots=True)
class Pair:
    """Name a trial: who does what, on which kind of table, with the same rows or with other."""

    first: str
    second: str
    kind: str = "plain"
    overlap: bool = True
    first_by: Side = "ours"
    second_by: Side = "ours"

    def __str__(self) -> str:
        return (
            f"{self.first} by {self.first_by}, then stale {self.second} by {self.second_by} on "
            f"{'the same' if self.overlap else 'other'} rows of a table of kind {self.kind!r}"
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Cell:
    """Report a trial: what became of the second operation, and what is wrong with that, if so.

    ``committed`` at the first put, ``rebased`` behind the first party's commit, ``redone`` on it,
    ``nothing`` where there was nothing to do, ``refused`` because it does not fit (any more),
    ``conflict`` because it lost, ``unsupported`` on such a table. ``no first`` says that the
    first operation was refused already. ``needless`` problems are refusals without a reason; the
    others are wrong tables.
    """

    pair: Pair
    outcome: Outcome
    problem: str | None
    needless: bool
    error: str | None


def pairs(
    *,
    kinds: Iterable[str] = tuple(KINDS),
    overlaps: Iterable[bool] = (True, False),
    first_by: Side = "ours",
    second_by: Side = "ours",
) -> Iterator[Pair]:
    """Yield every ordered pair of operations that the two parties have, kind by kind."""
    for kind, overlap in itertools.product(tuple(kinds), tuple(overlaps)):
        for one, two in itertools.product(names(first_by), names(second_by)):
            yield Pair(one, two, kind, overlap, first_by, second_by)


def names(side: Side) -> tuple[str, ...]:
    """Return the names of the operations that a party has."""
    return tuple(
        operation.name
        for operation in OPERATIONS
        if (operation.perform if side == "ours" else operation.name in peer.PEER)
    )


class Matrix:
    """Run trials on copies of small tables in a temporary folder; close it when done.

    >>> with Matrix() as matrix:
    ...     cell = matrix.run(Pair("append", "overwrite"))
    >>> cell.outcome, cell.problem
    ('redone', None)
    """

    def __init__(self) -> None:
        self._engine = Engine({"threads": 2})
        self._opener = Opener.of(self._engine)
        self._folder = Path(tempfile.mkdtemp(prefix="lakehouse-matrix-"))
        self._made: dict[str, Prepared] = {}
        self._numbers = itertools.count()

    def __enter__(self) -> Matrix:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Delete the tables, and close DuckDB."""
        self._engine.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def run(self, pair: Pair) -> Cell:
        """Run one trial."""
        if pair.kind not in self._made:
            self._made[pair.kind] = KINDS[pair.kind](self._folder / pair.kind, self._opener)
        table = self._made[pair.kind].copy(self._folder / str(next(self._numbers)))
        try:
            return _Trial(pair, table, self._opener).run()
        finally:
            shutil.rmtree(table.folder, ignore_errors=True)


class _Trial:
    def __init__(self, pair: Pair, table: Prepared, opener: Opener) -> None:
        self._pair = pair
        self._model = table.model
        self._opener = opener
        self._storage = open_storage(table.folder, durable=False)
        self._works = (_FIRST, _SAME if pair.overlap else _OTHER)
        self._errors: dict[str, Exception] = {}
        self._between = 0

    def run(self) -> Cell:
        before = self._version()
        if self._pair.second_by == "ours":
            at: Literal["write", "delete"] = "delete" if self._pair.second == VACUUM else "write"
            ambush = Ambush(self._first, at=at)
            stale = self._opener.open(self._storage.wrapped(ambush.around))
            self._do("second", lambda: _by_us(self._pair.second)(stale, self._works[1]))
            ambush.spring()  # it wrote nothing into the log: the two did not meet
        else:
            handle = peer.open_stale(self._storage.url())
            self._first()
            self._do("second", lambda: peer.PEER[self._pair.second](handle, self._works[1]))
        outcome = self._outcome(before)
        problem, needless = self._judge(outcome)
        problem = problem or self._lint() or self._lost()
        error = self._errors.get("second") or self._errors.get("first")
        text = None if error is None else f"{type(error).__name__}: {error}".partition("\n")[0]
        return Cell(self._pair, outcome, problem, needless, text)

    def _first(self) -> None:
        name, work = self._pair.first, self._works[0]
        if self._pair.first_by == "ours":
            table = self._opener.open(self._storage)
            self._do("first", lambda: _by_us(name)(table, work))
        else:
            handle = peer.open_stale(self._storage.url())
            self._do("first", lambda: peer.PEER[name](handle, work))
        self._between = self._version()

    def _do(self, party: str, perform: Callable[[], object]) -> None:
        try:
            perform()
        except (LakehouseError, *peer.REFUSALS) as error:
            self._errors[party] = error

    def _version(self) -> int:
        return read_listing(self._storage).latest or 0

    def _outcome(self, before: int) -> Outcome:
        if "first" in self._errors:
            return "no first"
        match self._errors.get("second"):
            case UnsupportedError():
                return "unsupported"
            case ConflictError() | peer.Conflict():
                return "conflict"
            case Exception():
                return "refused"
        if (after := self._version()) == self._between:
            return "committed" if self._pair.second in ("checkpoint", VACUUM) else "nothing"
        if self._between == before or self._pair.second_by == "delta-rs":
            return "committed"
        actions = read_commit(self._storage, after)
        info = next(action.values for action in actions if isinstance(action, CommitInfo))
        return "rebased" if info["readVersion"] == before else "redone"

    def _judge(self, outcome: Outcome) -> tuple[str | None, bool]:
        """Return what is wrong with a trial, and whether that is a needless refusal."""
        first, second = _operation(self._pair.first), _operation(self._pair.second)
        base, (mine, other) = self._model, self._works
        if outcome == "no first":
            return self._judge_second_alone(), False
        if (alone := _meaning(first, base, mine)) is None:
            return "the first operation should have been refused", False
        in_order = _meaning(second, base.then(alone), other)
        if outcome in ("refused", "conflict", "unsupported"):
            if wrong := self._wrong(alone):
                return f"was refused, and changed the table: {wrong}", False
            reason = outcome == "unsupported" or in_order is None
            if not reason and (outcome == "refused" or second.always_fits):
                return f"was refused without a reason: {self._errors['second']}", True
            return None, False
        swapped = _meaning(second, base, other)
        turned = None if swapped is None else _meaning(first, base.then(swapped), mine)
        wrongs = [
            "the model refuses it" if state is None else self._wrong(state)
            for state in (in_order, turned)
        ]
        if None in wrongs:
            return None, False
        return f"equals no serial order: {wrongs[0]}; the other way round: {wrongs[1]}", False

    def _lint(self) -> str | None:
        """Return what the linter says to a log that only we wrote."""
        if "delta-rs" in (self._pair.first_by, self._pair.second_by):
            return None
        found = [str(finding) for finding in lint(self._storage) if not finding.note]
        return f"the linter says: {'; '.join(found)}" if found else None

    def _lost(self) -> str | None:
        """Return which version cannot be read any more, where the table was vacuumed."""
        if VACUUM not in (self._pair.first, self._pair.second):
            return None
        table = self._opener.open(self._storage)
        for version in range(self._version() + 1):
            try:
                found = observed(table, version=version)
            except UnsupportedError:
                continue
            except LakehouseError as error:
                return f"version {version} is lost: {error}"
            if version < len(self._model.versions):
                wrong = difference(self._model.versions[version], found)
                if wrong is not None:
                    return f"version {version} is another one: {wrong}"
        return None

    def _judge_second_alone(self) -> str | None:
        state = self._model.latest
        if "second" not in self._errors:
            state = _meaning(_operation(self._pair.second), self._model, self._works[1]) or state
        return self._wrong(state)

    def _wrong(self, expected: State) -> str | None:
        """Return how the table differs from a state that it should have."""
        alone = {self._pair.first_by, self._pair.second_by} == {"ours"}
        try:
            found = observed(self._opener.open(self._storage))
        except UnsupportedError as error:
            # delta-rs may switch features on that we do not read: that is not our second's doing.
            return None if self._pair.second_by == "ours" and not alone else f"unreadable: {error}"
        return difference(expected, found, column_order=alone)


def _by_us(name: str) -> Callable[..., object]:
    perform = _operation(name).perform
    assert perform is not None
    return perform


def _operation(name: str) -> Operation:
    return next(operation for operation in OPERATIONS if operation.name == name)


def _meaning(operation: Operation, model: Model, work: Work) -> State | None:
    try:
        return operation.meaning(model, work)
    except Refused:
        return None
