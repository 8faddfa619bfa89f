"""Keep the answers of queries that come again: while their tables are the same, so are these.

An answer is a table in the engine's memory: its types and values are DuckDB's own, it counts to the
memory limit, and is spilled where memory is short. A relation is lazy, and may be asked for its rows
at any later time: the table goes when no connection is left that was handed out to read it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import threading
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Sequence
from typing import Any, ClassVar

from lakehouse.delta.snapshot import Snapshot
from lakehouse.duck.engine import Connection, Engine, Relation, Statement
from lakehouse.duck.errors import DuckError, Interruption, translated
from lakehouse.duck.sql import identifier
from lakehouse.scan.asked import Asked
from lakehouse.scan.may import May
from lakehouse.scan.plan import Reach
from lakehouse.scan.prepared import Prepared, tables_of
from lakehouse.scan.report import Kept, TableRef, TableScan
from lakehouse.scan.settled import Key, key_of
from lakehouse.scan.tally import Reads, Tally
from lakehouse.scan.tokens import tokens

_DATABASE = "lakehouse_answers"
_RUNS = 2  # of a query, before its answer is kept
_ROWS, _BYTES = 1_000, 1 << 20  # the largest answer
_MOST, _MOST_BYTES = 1_000, 64 << 20  # answers, and what they may take together
_COLUMN = 20_480  # bytes that DuckDB takes for a column of a few rows
_LONG = 10_000  # characters; longer texts have no answers kept
_DROPS = 4  # at a time: each takes a quarter of a millisecond


@dataclasses.dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Answer:
    """Hold the query that gives an answer, and what was read for it; ``size`` is in bytes."""

    sql: str
    statement: Statement
    size: int
    snapshots: tuple[weakref.ref[Snapshot], ...]
    reads: tuple[tuple[May, Sequence[Reach], Kept], ...]
    counted: tuple[Reads, ...]

    def is_of(self, refs: Sequence[TableRef]) -> bool:
        """Tell whether these are the tables that it was found out of."""
        return all(known() is ref.snapshot for known, ref in zip(self.snapshots, refs, strict=True))


class Answers:
    """Hold the answers of one engine's queries; safe between threads.

    A query's answer is kept where nothing but its text and its tables' snapshots decides it, when
    it has run twice, and if it is small.
    """

    def __init__(self, engine: Engine, tally: Tally) -> None:
        self._engine = engine
        self._tally = tally
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._known: OrderedDict[Key, Answer] = OrderedDict()
        self._size = 0
        self._runs: OrderedDict[Hashable, Any] = OrderedDict()
        self._unfit: OrderedDict[Hashable, Any] = OrderedDict()
        self._readers: weakref.WeakKeyDictionary[Connection, Answer] = weakref.WeakKeyDictionary()
        # The garbage collector adds to these, in any thread, at any time.
        self._stale: deque[Key] = deque()
        self._unread: deque[str] = deque()

    def planned(self, asked: Asked, prepare: Callable[[], Prepared]) -> Prepared | Answered:
        """Return a query that is answered by what is kept, or else what ``prepare`` plans."""
        others = asked.params is not None or asked.given or self._engine.has_temporary
        if others or not asked.refs or len(asked.sql) > _LONG:
            return prepare()
        key = key_of(asked)
        with self._lock:
            answer = self._known.get(key)
            if answer is not None and answer.is_of(asked.refs):
                self._known.move_to_end(key)
                return Answered(self._engine, self, answer, asked.refs)
        self._tidy()
        prepared = prepare()
        if not prepared.lasts or prepared.off:
            return prepared
        return dataclasses.replace(prepared, keep=functools.partial(self._keep, key))

    def count(self, answer: Answer) -> None:
        """Count what a query would have read that is answered by what was kept."""
        for read in answer.counted:
            self._tally.add(read)

    def relation(self, answer: Answer) -> Relation:
        """Return an answer as a lazy DuckDB relation."""
        cursor = self._engine.cursor()
        with self._lock:
            self._readers[cursor] = answer
        with translated("run the query"):
            relation = cursor.sql(answer.statement)
        self._engine.keep_with(relation, cursor, answer.sql)
        return relation

    def _keep(self, key: Key, prepared: Prepared, relation: Relation) -> Relation | None:
        """Count a query's run; run it for its answer, if that may be kept, and return it."""
        text = key[0], key[2]  # of the query, and of the views in it
        with self._lock:
            runs = self._runs.pop(key, 0)
            _remember(self._runs, key, runs + 1)
            # One attempt at a time: while it lasts, the text counts as unfit.
            if runs < _RUNS or text in self._unfit:
                return None
            _remember(self._unfit, text)
        answer = self._made(key, prepared, relation)
        if answer is None:
            return None
        with self._lock:
            self._unfit.pop(text, None)
            self._forget(key)
            self._known[key] = answer
            self._size += answer.size
            while len(self._known) > _MOST or self._size > _MOST_BYTES:
                self._forget(next(iter(self._known)))
        self._tidy()
        return self.relation(answer)

    def _made(self, key: Key, prepared: Prepared, relation: Relation) -> Answer | None:
        table = f"{_DATABASE}.main.a{next(self._numbers)}"
        self._engine.once(_DATABASE, f"ATTACH ':memory:' AS {_DATABASE}")
        made = None
        with translated("run the query"):
            try:
                made = _made(prepared, relation, table)
            except Interruption:
                raise
            except DuckError:
                pass  # the query itself is run, and tells
            finally:
                if made is None:
                    self._unread.append(table)
        if made is None:
            return None
        sql, statement, size = made
        snapshots = tuple(
            weakref.ref(ref.snapshot, lambda _: self._stale.append(key))
            for ref, *_ in prepared.choices
        )
        reads = tuple(
            (may, scans, dataclasses.replace(kept, ahead=(), patterns=None, sample=()))
            for _, may, scans, kept in prepared.choices
        )
        answer = Answer(sql, statement, size, snapshots, reads, prepared.reads())
        weakref.finalize(answer, self._unread.append, table).atexit = False
        return answer

    def _forget(self, key: Key) -> None:
        answer = self._known.pop(key, None)
        if answer is not None:
            self._size -= answer.size

    def _tidy(self) -> None:
        """Forget answers whose tables moved on, and drop some of those that nobody reads."""
        with contextlib.suppress(IndexError):  # others may take the last one
            while self._stale:
                key = self._stale.popleft()
                with self._lock:
                    answer = self._known.get(key)
                    if answer is not None and any(known() is None for known in answer.snapshots):
                        self._forget(key)
            for _ in range(min(_DROPS, len(self._unread))):
                table = self._unread.popleft()
                with self._engine.work("forget an answer") as cursor:
                    cursor.execute(f"DROP TABLE IF EXISTS {table}")


@dataclasses.dataclass(frozen=True, slots=True)
class Answered:
    """Hold a query that is answered by what an earlier run gave."""

    engine: Engine
    answers: Answers
    answer: Answer
    refs: tuple[TableRef, ...]
    once: ClassVar[bool] = False
    is_kept: ClassVar[bool] = True

    @property
    def choices(self) -> tuple[tuple[TableRef, May, Sequence[Reach], Kept], ...]:
        """Return what was chosen of each table when the answer was found out."""
        return tuple((ref, *read) for ref, read in zip(self.refs, self.answer.reads, strict=True))

    def tables(self) -> tuple[TableScan, ...]:
        """Return what was read of each table, for people."""
        return tables_of(self.choices, self.engine)

    def relation(self) -> Relation:
        """Return the answer."""
        self.answers.count(self.answer)
        return self.answers.relation(self.answer)

    def plan(self) -> str:
        """Return DuckDB's plan as text."""
        with self.engine.work("explain the query") as cursor:
            rows = cursor.execute(f"EXPLAIN {self.answer.sql}").fetchall()
        return str(rows[-1][1])

    def close(self) -> None:
        """Do nothing: each relation has a connection of its own."""


def _made(prepared: Prepared, relation: Relation, table: str) -> tuple[str, Statement, int] | None:
    """Make a table of a query's rows; return a query for them, and their size, if they may be kept."""
    cursor, query = prepared.cursor, _one_query(prepared)
    if query is None:
        return None
    cursor.execute(f"CREATE TABLE {table} AS SELECT * FROM ({query}\n) LIMIT {_ROWS + 1}")
    sql = f"FROM {table}"
    kept = cursor.sql(sql)
    names, shown = kept.columns, relation.columns
    if names != shown:  # a table cannot have two columns that are called the same
        pairs = zip(names, shown, strict=True)
        named = [f"{identifier(name)} AS {identifier(column)}" for name, column in pairs]
        sql = f"SELECT {', '.join(named)} FROM {table}"
        kept = cursor.sql(sql)
    if (kept.columns, kept.types) != (shown, relation.types):
        return None
    # As text, any value has a size.
    sizes = f"SELECT count(*), sum(strlen(CAST(COLUMNS(*) AS VARCHAR))) FROM {table}"
    count, *lengths = cursor.execute(sizes).fetchall()[0]
    size = sum(int(length or 0) for length in lengths)
    if count > _ROWS or size > _BYTES:
        return None
    return sql, cursor.extract_statements(sql)[0], size + _COLUMN * len(names)


def _one_query(prepared: Prepared) -> str | None:
    """Return a text, without a semicolon at its end, that is one SELECT; None for any other."""
    kinds = [found.type.name for found in prepared.cursor.extract_statements(prepared.sql)]
    if kinds != ["SELECT"]:
        return None
    end = len(prepared.sql)
    for token in reversed(tokens(prepared.sql)):
        if token.text != ";" or token.kind != "mark":
            break
        end = token.start
    return prepared.sql[:end]


def _remember(known: OrderedDict[Hashable, Any], key: Hashable, value: Any = None) -> None:
    known[key] = value
    if len(known) > _MOST:
        known.popitem(last=False)
