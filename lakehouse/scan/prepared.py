"""A query that was planned: it can be run, explained, and told what it reads."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import ClassVar

from lakehouse.duck.engine import VERSION, Connection, Engine, Relation
from lakehouse.duck.errors import translated
from lakehouse.duck.sql import identifier
from lakehouse.scan.asked import Params
from lakehouse.scan.crumbs import need_no_threads
from lakehouse.scan.forms import Look
from lakehouse.scan.inline import constants
from lakehouse.scan.may import May
from lakehouse.scan.plan import Reach
from lakehouse.scan.reasons import not_pruned
from lakehouse.scan.report import Kept, TableRef, TableScan, report
from lakehouse.scan.tally import Reads, Tally, read_of


@dataclasses.dataclass(frozen=True, slots=True)
class Prepared:
    """Hold a planned query: its connection, its text, and what it will read.

    ``at_once`` says that the connection is in a transaction, for the sake of the current time.
    ``off`` are optimizers of DuckDB's that would give other rows. ``look`` looks at the files, in
    object storage, that are about to be read, and may return SQL that has them read faster.
    ``answered`` is told SQL that gives the result, where that is found out at once: a row from the
    log. ``lasts`` says that nothing but its tables decides it; ``keep`` is told a relation of it,
    and may return another one that gives the same.
    """

    engine: Engine
    cursor: Connection
    sql: str
    params: Params
    choices: tuple[tuple[TableRef, May, Sequence[Reach], Kept], ...]
    at_once: bool = False
    tally: Tally | None = None
    off: tuple[str, ...] = ()
    look: Look | None = None
    answered: Callable[[str], None] | None = None
    lasts: bool = False
    keep: Callable[[Prepared, Relation], Relation | None] | None = None
    once: ClassVar[bool] = False
    is_kept: ClassVar[bool] = False

    def tables(self) -> tuple[TableScan, ...]:
        """Return what is read of each table, for people: it counts all files."""
        return tables_of(self.choices, self.engine)

    def reads(self) -> tuple[Reads, ...]:
        """Return what is counted of it."""
        found = (read_of(ref, scans, kept) for ref, _, scans, kept in self.choices)
        return tuple(read for read in found if read is not None)

    def relation(self) -> Relation:
        """Return the result as a lazy DuckDB relation."""
        if self.tally is not None:
            for read in self.reads():
                self.tally.add(read)
        self.engine.prefer_reading(inline=need_no_threads(kept for *_, kept in self.choices))
        self.engine.read_ahead(file for *_, kept in self.choices for file in kept.ahead)
        with translated("run the query"):
            if self.look is not None and (found := self.look()) is not None:
                self.cursor.execute(found)
            # With parameters, DuckDB 1.5 runs a query under Python's lock, which its threads need
            # to read from object storage through our file system.
            held = bool(self.params) and VERSION < (2, 0) and self._is_remote
            if self.answered is not None and (text := self._answer()) is not None:
                self.answered(text)
                return dataclasses.replace(self, sql=text, answered=None).relation()
            if held or (self.off and self._is_select):
                held = True
                relation = self.cursor.sql(self.held("result").sql)
            else:
                with self.engine.planning(off=self.off):
                    relation = self.cursor.sql(self.sql, params=self.params)
        if isinstance(relation, Relation):  # DuckDB 1.5 gives None for COPY and the like
            if self.keep is not None and (kept := self.keep(self, relation)) is not None:
                return kept
            self.engine.keep_with(relation, self.cursor, "" if self.params or held else self.sql)
        return relation

    def plan(self) -> str:
        """Return DuckDB's plan as text."""
        with translated("explain the query"):
            rows = self.cursor.execute(f"EXPLAIN {self.sql}", self.params).fetchall()
        return str(rows[-1][1])

    def close(self) -> None:
        """Let the connection go."""
        self.cursor.close()

    def held(self, name: str) -> Prepared:
        """Run the query now, and return one of its rows, held in a temporary table."""
        with self.engine.planning(off=self.off):
            self.cursor.execute(f"CREATE TEMP TABLE {name} AS {self.sql}", self.params)
        if not self.off:
            return dataclasses.replace(self, sql=f"SELECT * FROM temp.main.{name}", params=None)
        # Of columns that are called the same, a table calls all but one otherwise.
        shown = self.cursor.execute(f"DESCRIBE {self.sql}", self.params).fetchall()
        stored = self.cursor.execute(f"DESCRIBE temp.main.{name}").fetchall()
        columns = ", ".join(
            f"{identifier(column)} AS {identifier(called)}"
            for (called, *_), (column, *_) in zip(shown, stored, strict=True)
        )
        sql = f"SELECT {columns} FROM temp.main.{name}"
        return dataclasses.replace(self, sql=sql, params=None, off=())

    def _answer(self) -> str | None:
        """Return a query that gives the result as it is now, if that is one plain row."""
        found = self.cursor.sql(self.sql)
        columns = [
            (name, str(type_)) for name, type_ in zip(found.columns, found.types, strict=True)
        ]
        rows = self.cursor.execute(f"FROM ({self.sql}\n) LIMIT 2").fetchall()
        return constants(columns, rows[0]) if len(rows) == 1 else None

    @property
    def _is_select(self) -> bool:
        found = self.cursor.extract_statements(self.sql)
        return [statement.type.name for statement in found] == ["SELECT"]

    @property
    def _is_remote(self) -> bool:
        return any(not ref.snapshot.storage.is_local for ref, *_ in self.choices)


def tables_of(
    choices: Sequence[tuple[TableRef, May, Sequence[Reach], Kept]], engine: Engine
) -> tuple[TableScan, ...]:
    """Return what was chosen of each table, for people: it counts all files."""
    return tuple(
        report(
            ref,
            where,
            scans,
            kept,
            not_pruned(_filters(scans), ref.snapshot.files.layout),
            engine,
        )
        for ref, where, scans, kept in choices
    )


def _filters(scans: Sequence[Reach]) -> list[str]:
    return [text for scan in scans for text in scan.filters]
