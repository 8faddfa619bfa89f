"""The pair matrix: every operation against every other, the second one with stale knowledge.

For an ordered pair, the second party plans on the table as it is, and just before its first
write into the log the first party commits. What stands in the end must equal one of the two
serial orders of the model; a refused operation must have changed nothing.
"""

from __future__ import annotations

import dataclasses
import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from catalog.backend import Backend
from catalog.errors import ConflictError, LakehouseError, UnsupportedError
from catalog.storage import open_storage
from lakehouse.delta.actions import CommitInfo
from lakehouse.delta.log import LOG
from lakehouse.delta.snapshot import read_commit
from lakehouse.duck.engine import Engine
from lakehouse.table.handle import Table
from lakehouse.testing.judges import observed
from lakehouse.testing.model import Model, Refused, State, difference
from lakehouse.testing.operations import OPERATIONS, Operation, Work
from lakehouse.testing.peer import PEER, REFUSALS, open_stale
from lakehouse.testing.tables import KINDS, Opener, Prepared

Side = Literal["ours", "delta-rs"]
Outcome = Literal[
    "committed", "rebased", "redone", "nothing", "refused", "conflict", "unsupported", "no first"
]
_FIRST = Work(part="a", first_id=101, name="first", version=1)
_OTHER = Work(part="b", first_id=201, name="second", version=2)
_SAME = dataclasses.replace(_FIRST, first_id=201)


@dataclasses.dataclass(frozen=True, slots=True)
class Pair:
    """Name a trial: who does what, on which kind of table, with the same data or with other."""

    first: str
    second: str
    kind: str = "plain"
    overlap: bool = True
    first_by: Side = "ours"
    second_by: Side = "ours"

    def __str__(self) -> str:
        data = "the same rows" if self.overlap else "other rows"
        return (
            f"{self.first} by {self.first_by}, then stale {self.second} by {self.second_by} "
            f"on {data}, table: {self.kind}"
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Cell:
    """Report a trial: what became of the second operation, and what is wrong with that, if so.

    ``committed`` at the first put, ``rebased`` behind the first party's commit, ``redone`` on it,
    ``nothing`` where it had nothing to do, ``refused`` because it does not fit (any more),
    ``conflict`` because it lost, ``unsupported`` on this kind of table. ``no first`` says that
    the first operation was refused already.
    """

    pair: Pair
    outcome: Outcome
    problem: str | None
    error: str | None = None


def pairs(
    *,
    kinds: Iterable[str] = tuple(KINDS),
    overlaps: Iterable[bool] = (True, False),
    first_by: Side = "ours",
    second_by: Side = "ours",
) -> Iterator[Pair]:
    """Yield every ordered pair of operations that the two parties have, kind by kind."""
    for kind, overlap in itertools.product(kinds, tuple(overlaps)):
        for one, two in itertools.product(_names(first_by), _names(second_by)):
            yield Pair(one, two, kind, overlap, first_by, second_by)


class Matrix:
    """Run trials on copies of small tables in a temporary folder; close it when done."""

    def __init__(self, engine: Engine | None = None) -> None:
        self._engine = engine or Engine({"threads": 2})
        self._opener = Opener.of(self._engine)
        self._folder = Path(tempfile.mkdtemp(prefix="lakehouse-matrix-"))
        self._made: dict[str, Prepared] = {}
        self._numbers = itertools.count()

    def __enter__(self) -> Matrix:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Delete the tables, and close DuckDB."""
        self._engine.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def run(self, pair: Pair) -> Cell:
        """Run one trial."""
        table = self._table(pair.kind)
        works = (_FIRST, _SAME if pair.overlap else _OTHER)
        trial = _Trial(pair, table, self._opener, works)
        try:
            return trial.run()
        finally:
            shutil.rmtree(table.folder, ignore_errors=True)

    def _table(self, kind: str) -> Prepared:
        if kind not in self._made:
            self._made[kind] = KINDS[kind](self._folder / kind, self._opener)
        return self._made[kind].copy(self._folder / str(next(self._numbers)))


class _Trial:
    def __init__(
        self, pair: Pair, table: Prepared, opener: Opener, works: tuple[Work, Work]
    ) -> None:
        self._pair = pair
        self._table = table
        self._opener = opener
        self._works = works
        self._first_error: Exception | None = None
        self._second_error: Exception | None = None

    def run(self) -> Cell:
        pair, before = self._pair, self._look().version
        if pair.second_by == "ours":
            report = self._second_ours()
        else:
            report = self._second_theirs()
        after = self._look()
        if self._first_error is not None:
            return self._cell("no first", self._alone(after), self._first_error)
        outcome = self._outcome(report, after, before)
        return self._cell(outcome, self._judge(outcome, after), self._second_error)

    def _second_ours(self) -> Any:
        storage = open_storage(self._table.folder, durable=False)
        ambush = Ambush(self._do_first)
        stale = self._opener.open(storage.wrapped(ambush.around))
        perform = _operation(self._pair.second).perform
        assert perform is not None
        report = None
        try:
            report = perform(stale, self._works[1])
        except LakehouseError as error:
            self._second_error = error
        ambush.spring()  # it wrote nothing into the log: then the two did not meet
        return report

    def _second_theirs(self) -> None:
        stale = open_stale(str(self._table.folder))
        self._do_first()
        try:
            PEER[self._pair.second](stale, self._works[1])
        except REFUSALS as error:
            self._second_error = error

    def _do_first(self) -> None:
        try:
            if self._pair.first_by == "ours":
                perform = _operation(self._pair.first).perform
                assert perform is not None
                perform(self._look(), self._works[0])
            else:
                PEER[self._pair.first](open_stale(str(self._table.folder)), self._works[0])
        except (LakehouseError, *REFUSALS) as error:
            self._first_error = error

    def _look(self) -> Table:
        return self._opener.open(self._table.folder)

    def _outcome(self, report: Any, after: Table, before: int) -> Outcome:
        error = self._second_error
        if isinstance(error, UnsupportedError):
            return "unsupported"
        if isinstance(error, ConflictError) or "CommitFailed" in type(error).__name__:
            return "conflict"
        if error is not None:
            return "refused"
        attempts = getattr(report, "attempts", None)
        if attempts is None:
            return "committed" if after.version > before else "nothing"
        if attempts == 0 or not (report.files_added or report.files_removed or attempts):
            return "nothing"
        if attempts == 1:
            return "committed"
        info = next(
            action
            for action in read_commit(after.snapshot().storage, report.version)
            if isinstance(action, CommitInfo)
        )
        return "redone" if info.values["readVersion"] == report.version - 1 else "rebased"

    def _judge(self, outcome: Outcome, after: Table) -> str | None:
        """Return what is wrong with a trial, or None."""
        first, second = _operation(self._pair.first), _operation(self._pair.second)
        base, (mine, other) = self._table.model, self._works
        try:
            alone = base.then(first.meaning(base, mine))
        except Refused as reason:
            return f"the first operation should have been refused: {reason}"
        in_order = _meaning(second, alone, other)
        found = observed(after)
        if outcome in ("refused", "conflict", "unsupported"):
            if wrong := difference(alone.latest, found):
                return f"was refused, and changed the table: {wrong}"
            if outcome == "refused" and in_order is not None:
                return f"was refused without a reason: {self._second_error}"
            if outcome == "conflict" and second.always_fits and in_order is not None:
                return f"lost, though no rows can stand in its way: {self._second_error}"
            return None
        swapped = _meaning(second, base, other)
        turned = None if swapped is None else _meaning(first, base.then(swapped), mine)
        wrongs = [
            wrong
            for state in (in_order, turned)
            if (wrong := "refused" if state is None else difference(state, found)) is not None
        ]
        return None if len(wrongs) < 2 else f"equals no serial order: {wrongs[0]}; {wrongs[1]}"

    def _alone(self, after: Table) -> str | None:
        """Return what is wrong where the first operation was refused."""
        base, (mine, other) = self._table.model, self._works
        if _meaning(_operation(self._pair.first), base, mine) is not None and not isinstance(
            self._first_error, (UnsupportedError, *REFUSALS)
        ):
            return f"the first operation was refused without a reason: {self._first_error}"
        second = base.latest
        if self._second_error is None:
            second = _meaning(_operation(self._pair.second), base, other) or second
        return difference(second, observed(after))

    def _cell(self, outcome: Outcome, problem: str | None, error: Exception | None) -> Cell:
        text = None if error is None else f"{type(error).__name__}: {error}"
        return Cell(self._pair, outcome, problem, text)


class Ambush:
    """Call something once, right before the first write into a transaction log.

    >>> ambush = Ambush(lambda: print("first"))
    >>> storage = open_storage("memory://").wrapped(ambush.around)
    >>> storage.put_if_absent("_delta_log/0.json", b""), storage.put_if_absent("b", b"")
    first
    (True, True)
    """

    def __init__(self, hook: Callable[[], None]) -> None:
        self._hook: Callable[[], None] | None = hook

    def around(self, backend: Backend) -> Backend:
        """Return a backend that calls the hook (for `Storage.wrapped`)."""
        return _Watched(backend, self)

    def spring(self) -> None:
        """Call the hook, unless it was called."""
        hook, self._hook = self._hook, None
        if hook is not None:
            hook()


class _Watched:
    def __init__(self, backend: Backend, ambush: Ambush) -> None:
        self._backend = backend
        self._ambush = ambush

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def put_if_absent(self, path: str, data: bytes) -> bool:
        self._meet(path)
        return self._backend.put_if_absent(path, data)

    def put(self, path: str, data: bytes) -> None:
        self._meet(path)
        self._backend.put(path, data)

    def child(self, relative: str) -> Backend:
        return self._ambush.around(self._backend.child(relative))

    def _meet(self, path: str) -> None:
        if LOG in path.split("/"):
            self._ambush.spring()


def _names(side: Side) -> tuple[str, ...]:
    if side == "ours":
        return tuple(operation.name for operation in OPERATIONS if operation.perform)
    return tuple(operation.name for operation in OPERATIONS if operation.name in PEER)


def _operation(name: str) -> Operation:
    return next(operation for operation in OPERATIONS if operation.name == name)


def _meaning(operation: Operation, model: Model, work: Work) -> State | None:
    try:
        return operation.meaning(model, work)
    except Refused:
        return None
