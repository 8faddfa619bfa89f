"""Let the small sides of a query's joins say which keys matter, before its large tables are read.

The query is run under EXPLAIN ANALYZE with an empty stand-in for each large table: DuckDB reads
the small ones, builds the sides of its joins, and shows what the keys are. What this costs is
the small side; it is done where that is a fraction of the large one.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from catalog import lazy
from lakehouse.duck.engine import Connection, Engine
from lakehouse.duck.errors import DuckError, Interruption
from lakehouse.scan import quick
from lakehouse.scan.asked import Asked
from lakehouse.scan.choice import Choice, joined
from lakehouse.scan.expression import is_fixed, unfixed
from lakehouse.scan.join_keys import Profile, profiled
from lakehouse.scan.kept import bind
from lakehouse.scan.report import TableRef
from lakehouse.scan.variants import Variant, Variants
from lakehouse.scan.views import TableView

pc: Any = lazy.module("pyarrow.compute")

# A table of fewer files is read as quickly as asked about.
MANY_FILES = 32
_SHARE = 8  # how many times larger than all small tables together a large one is
_A_FILE = 1 << 16  # bytes that take as long to read as it takes to open a file
_SECONDS, _SECONDS_A_FILE = 1.0, 5e-5  # what the large table would take at least
_MOST_VALUES = 1_000
# Rows, all deleted, of a stand-in: DuckDB builds a join on the side that it takes for smaller.
_ROWS, _CELLS = 100_000, 1_000_000
_WHOLE = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT")
# An empty stand-in must not be folded away, nor row ids come between a scan and what is above it.
PLAIN_PLANS = ("statistics_propagation", "late_materialization")


@dataclasses.dataclass(frozen=True, slots=True)
class Size:
    """Count the files, and their bytes, that a table's own filters leave."""

    files: int
    bytes: int

    @property
    def weight(self) -> int:
        """Return what reading takes, in bytes."""
        return self.bytes + self.files * _A_FILE


def may_join(plan: str, refs: Sequence[TableRef]) -> bool:
    """Tell whether a join, in a query's plan, may decide which of many files are read."""
    indexes = (ref.snapshot.files for ref in refs)
    return "_JOIN" in plan and any(
        files.stored is not None or len(files) >= MANY_FILES for files in indexes
    )


def large(sizes: Sequence[Size]) -> frozenset[int]:
    """Return which tables are large: those that all others together are a fraction of.

    >>> sorted(large([Size(20_000, 10**9), Size(1, 10**6), Size(900, 10**8)]))
    [0]
    """
    ordered = sorted(range(len(sizes)), key=lambda number: sizes[number].weight, reverse=True)
    for count in range(len(ordered)):
        rest = sum(sizes[number].weight for number in ordered[count + 1 :])
        if sizes[ordered[count]].weight >= _SHARE * rest:
            found = ordered[: count + 1]
            if any(sizes[number].files >= MANY_FILES for number in found):
                return frozenset(found)
            break
    return frozenset()


def _patience(sizes: Iterable[Size]) -> float:
    """Return for how many seconds to ask, before that costs more than reading could."""
    return _SECONDS + _SECONDS_A_FILE * sum(size.files for size in sizes)


def _size(cursor: Connection, ref: TableRef, choice: Choice, engine: Engine) -> Size:
    """Return how much of a table its own filters leave."""
    files = ref.snapshot.files
    if files.is_empty:
        return Size(0, 0)
    index = files.in_memory(engine)
    if index is not None and choice.quick is not None:
        sizes = quick.kept(index, choice.quick, ["size"])["size"]
        return Size(len(sizes), pc.sum(sizes).as_py() or 0)
    where = choice.may
    condition = where.exact if files.stored is None else where.stored
    with files.on(cursor, engine) as index:
        rows = cursor.execute(
            f"SELECT count(*), coalesce(sum(size), 0)::BIGINT FROM {index} WHERE {condition}"
        ).fetchall()
    return Size(*rows[0])


def stand_in(view: TableView, *, wide: bool) -> str:
    """Return the name of a large table's stand-in."""
    return f"{'w' if wide else 'b'}{view.key}"


class Probe:
    """Ask for join keys in one engine; safe between threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._names: frozenset[str] | None = None
        self._keeper: Connection | None = None
        self._variants = Variants(engine, "probe")

    def narrow(
        self,
        cursor: Connection,
        asked: Asked,
        views: Sequence[TableView],
        choices: Sequence[Choice],
        scans: Sequence[int],
        *,
        wide: bool,
        at_once: bool,
    ) -> list[Choice] | Literal["again", "lost"]:
        """Return the choices with what joins say of them.

        ``scans`` counts the scans of each table in the plan. ``wide`` is that of `stand_in`, and
        ``at_once`` says that a transaction has begun. The answer may be to plan "again" on another connection, or that nothing can be said and the
        connection's transaction is "lost".
        """
        refs = asked.refs
        sizes = [
            _size(cursor, ref, choice, self._engine)
            for ref, choice in zip(refs, choices, strict=True)
        ]
        big = large(sizes)
        if not big or not is_fixed(cursor, asked.texts, self._unfixed(cursor)):
            return list(choices)
        database, is_new = self._database(asked, views, big, wide=wide)
        if is_new and at_once:
            return "again"  # what came after a transaction began is not seen in it
        if not at_once:
            # What tables of DuckDB's own hold must be the same when the query runs.
            cursor.execute("BEGIN")
        for number, (ref, view) in enumerate(zip(refs, views, strict=True)):
            if number not in big:
                bind(cursor, ref, view, choices[number], self._engine)
        cursor.execute(self._engine.search(database))
        names = {number: stand_in(views[number], wide=wide) for number in big}
        found = self._ask(
            cursor, asked, frozenset(names.values()), _patience(sizes[number] for number in big)
        )
        if found is None:
            return "lost"
        if not at_once and not found.tables:
            cursor.execute("COMMIT")
        small = sum(count for number, count in enumerate(scans) if number not in big)
        counts = {number: len(found.scans.get(name, ())) for number, name in names.items()}
        if found.parquet != small or any(counts[number] != scans[number] for number in big):
            return list(choices)  # scans were folded away, or files are read that are none of ours
        return [
            joined(choice, found.scans.get(names.get(number, ""), ()), layout)
            for number, (choice, layout) in enumerate(
                zip(choices, (ref.snapshot.files.layout for ref in refs), strict=True)
            )
        ]

    def _database(
        self,
        asked: Asked,
        views: Sequence[TableView],
        big: frozenset[int],
        *,
        wide: bool,
    ) -> tuple[str, bool]:
        """Return the database in which the tables ``big`` are stand-ins; and was it made now.

        ``wide`` makes their whole numbers HUGEINT: DuckDB 2 keeps dense keys of up to 64 bits in a
        form that it does not show. Values compare the same; some functions do not take them.
        """
        names = [stand_in(view, wide=wide) if n in big else "" for n, view in enumerate(views)]
        variants = []
        for ref, view, name in zip(asked.refs, views, names, strict=True):
            if name:
                with self._lock:
                    self._stand_in(name, view, wide=wide)
                body = f"{view.stand_in_view}stand_in.{name}"
                variants.append(Variant(ref, view, body, None))
            else:
                variants.append(Variant(ref, view, view.view, self._engine.empty_parquet))
        return self._variants.database(variants, asked.queries, asked.others)

    def _ask(
        self, cursor: Connection, asked: Asked, names: frozenset[str], seconds: float
    ) -> Profile | None:
        """Return what the joins of a query say about its stand-ins ``names``; None if they fail.

        ``cursor`` uses a `database`, and has the other tables' views bound. In a transaction, it is
        of no use any more after a failure. ``seconds`` is how long it may take.
        """
        timed_out = threading.Event()

        def stop() -> None:
            timed_out.set()
            cursor.interrupt()

        timer = threading.Timer(seconds, stop)
        timer.start()
        try:
            with self._engine.planning(off=PLAIN_PLANS, most=_MOST_VALUES):
                rows = cursor.execute(
                    f"EXPLAIN (ANALYZE, FORMAT json) {asked.sql}", asked.params
                ).fetchall()
        except Interruption:
            if not timed_out.is_set():
                raise
            return None
        except DuckError:
            return None
        finally:
            timer.cancel()
            timer.join()
        return profiled(str(rows[0][1]), names)

    def _unfixed(self, cursor: Connection) -> frozenset[str]:
        if self._names is None:
            self._names = unfixed(cursor)
        return self._names

    def _stand_in(self, name: str, view: TableView, *, wide: bool) -> None:
        """Make a table without rows that DuckDB takes for one of many."""
        if self._keeper is None:
            # Rows that a transaction might still see are not cleared away when they are deleted.
            self._engine.once("keeper", "CREATE TABLE stand_in.keeper (held BOOLEAN)")
            self._keeper = self._engine.cursor()
            self._keeper.execute("BEGIN")
            self._keeper.execute("SELECT count(*) FROM stand_in.keeper").fetchall()
        columns = [column.split(" ", 1) for column in view.columns]
        types = {c: "HUGEINT" if wide and type_ in _WHOLE else type_ for c, type_ in columns}
        nulls = ", ".join(f"NULL::{type_} AS {column}" for column, type_ in types.items())
        rows = min(_ROWS, _CELLS // len(columns))
        self._engine.once(
            f"stand_in.{name}",
            f"CREATE TABLE stand_in.{name} AS SELECT {nulls} FROM range({rows})",
            f"DELETE FROM stand_in.{name}",
        )
