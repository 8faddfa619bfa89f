"""Run a query over snapshots: plan, prune, and read only the files that can matter."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from catalog.errors import InputError
from lakehouse import scan as on_demand
from lakehouse.duck.engine import VERSION, Connection, Engine, Relation
from lakehouse.duck.errors import DuckError, NameErrors, ParserError, translate
from lakehouse.duck.sql import identifier
from lakehouse.scan import from_log, plain
from lakehouse.scan.definitions import Definitions
from lakehouse.scan.kept import bind
from lakehouse.scan.may import EVERY, May, any_of
from lakehouse.scan.plan import Reach, reaches
from lakehouse.scan.predicate import no_predicate
from lakehouse.scan.report import Kept, TableRef, TableScan, report
from lakehouse.scan.views import TableView, table_view

Params = Sequence[Any] | Mapping[str, Any] | None
CLOCK = re.compile(
    r"\b(now|today|current_\w+|local\w+|get_current_\w+|transaction_timestamp)\b", re.IGNORECASE
)


_PIVOT = re.compile(r"\bpivot\b", re.IGNORECASE)
_VERBS = "Use the lake's and the tables' methods: create_table, append, overwrite, drop_table"
_NOT_QUERIES = {
    **dict.fromkeys(
        ("CREATE", "INSERT", "UPDATE", "DELETE", "ALTER", "DROP", "MERGE_INTO"), _VERBS
    ),
    "SET": "Pass settings as connect(..., duckdb_config={...})",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Prepared:
    """Hold a planned query: its connection, its text, and what it will read."""

    engine: Engine
    cursor: Connection
    sql: str
    params: Params
    choices: tuple[tuple[TableRef, May, Sequence[Reach], Kept], ...]

    def tables(self) -> tuple[TableScan, ...]:
        """Return what is read of each table, for people: it counts all files."""
        return tuple(report(*choice, self.engine) for choice in self.choices)

    def relation(self) -> Relation:
        """Return the result as a lazy DuckDB relation."""
        self.engine.read_ahead(file for *_, kept in self.choices for file in kept.ahead)
        try:
            if self.params and VERSION < (2, 0) and self._is_remote:
                # With parameters, DuckDB 1.5 runs a query under Python's lock, which its threads
                # need to read from object storage through our file system.
                self.cursor.execute(f"CREATE TEMP TABLE result AS {self.sql}", self.params)
                relation = self.cursor.sql("FROM result")
            else:
                relation = self.cursor.sql(self.sql, params=self.params)
        except DuckError as error:
            raise translate(error, "run the query") from error
        if isinstance(relation, Relation):  # DuckDB 1.5 gives None for COPY and the like
            self.engine.keep_with(relation, self.cursor, "" if self.params else self.sql)
        return relation

    def plan(self) -> str:
        """Return DuckDB's plan as text; the query cannot be run afterwards."""
        try:
            rows = self.cursor.execute(f"EXPLAIN {self.sql}", self.params).fetchall()
        except DuckError as error:
            raise translate(error, "explain the query") from error
        finally:
            self.cursor.close()
        return str(rows[-1][1])

    @property
    def _is_remote(self) -> bool:
        return any(not ref.snapshot.storage.is_local for ref, *_ in self.choices)


class Scanner:
    """Plan queries over snapshots in one engine; safe between threads.

    ``trusted`` is False where texts of predicates may come from anybody.
    """

    constants_only = False

    def __init__(self, engine: Engine, *, trusted: bool = True) -> None:
        self._engine = engine
        self._trusted = trusted
        self._definitions = Definitions(engine)
        self._volatile_names: frozenset[str] | None = None

    def prepare(
        self,
        sql: str,
        refs: Sequence[TableRef],
        params: Params = None,
        *,
        others: Sequence[str] = (),
    ) -> Prepared:
        """Plan a query that names ``refs``, and choose the files that it has to read.

        ``others`` are names in it that are no table now, and must not be found even if they
        were one before. Raises InputError for SQL that DuckDB refuses.
        """
        answered = self._from_log(sql, refs[0], params, others) if len(refs) == 1 else None
        if answered is not None:
            return answered
        views = [self.view(ref) for ref in refs]
        cursor = self._engine.cursor()
        try:
            generation = self._definitions.generation(refs, views, others)
            # Plan and run in one transaction, so that now() is the same in both.
            at_once = CLOCK.search(sql) is not None
            if at_once:
                cursor.execute("BEGIN")
            cursor.execute(f"USE plan{generation}")
            reached = self._reached(cursor, sql, params)
            scans = [reached.get(f"t{view.key}", []) for view in views]
            wheres = [self.where(ref, scan) for ref, scan in zip(refs, scans, strict=True)]
            try:
                figures = self._bind_all(cursor, refs, views, wheres)
            except (*NameErrors, ParserError):
                # DuckDB shows some expressions in a form that it does not read.
                if at_once:
                    cursor.execute("ROLLBACK")
                    cursor.execute("BEGIN")
                wheres = [EVERY] * len(refs)
                figures = self._bind_all(cursor, refs, views, wheres)
            cursor.execute(f"USE scan{generation}")
        except DuckError as error:
            cursor.close()
            raise translate(error, "plan the query") from error
        except BaseException:
            cursor.close()
            raise
        choices = tuple(zip(refs, wheres, scans, figures, strict=True))
        return Prepared(self._engine, cursor, sql, params, choices)

    def require_trust(self, argument: str) -> None:
        """Raise InputError where SQL in an argument cannot be trusted."""
        if not self._trusted:
            raise InputError(
                f"{argument} is SQL, which this lake runs in sql() only: untrusted_sql is on",
                next_step="Use sql(), or open the lake without untrusted_sql",
            )

    @contextlib.contextmanager
    def whole(self, ref: TableRef, doing: str) -> Iterator[Connection]:
        """Give a connection that reads all files of ``ref``: no query is planned.

        ``doing`` completes "cannot ..." in errors.
        """
        view = self.view(ref)
        with self._engine.work(doing) as cursor:
            generation = self._definitions.generation([ref], [view], ())
            bind(cursor, ref, view, EVERY, self._engine)
            cursor.execute(f"USE scan{generation}")
            yield cursor

    def may_match(self, ref: TableRef, predicate: str) -> May:
        """Return which files may hold a matching row.

        ``predicate`` is a single expression in SQL. Raises InputError where DuckDB refuses it.
        """
        view = self.view(ref)
        with self._engine.work("plan the predicate") as cursor:
            generation = self._definitions.generation([ref], [view], ())
            cursor.execute(f"USE plan{generation}")
            place = f"{identifier(ref.schema)}.{identifier(ref.name)}"
            sql = f"SELECT 1 FROM {place} WHERE ({predicate}\n)"
            (type_,) = cursor.sql(f"SELECT ({predicate}\n) FROM {place}").types
            if str(type_) != "BOOLEAN":
                raise no_predicate(predicate, str(type_))
            reached = self._reached(cursor, sql, None)
        return self.where(ref, reached.get(f"t{view.key}", []))

    def _from_log(
        self, sql: str, ref: TableRef, params: Params, others: Sequence[str]
    ) -> Prepared | None:
        """Plan a query that statistics answer; None where they do not, or DuckDB refuses it."""
        if from_log.ASKED.search(sql) is None:
            return None
        layout = ref.snapshot.files.layout
        view = from_log.log_view(layout, (ref.schema, ref.name))
        query = from_log.rewritten(sql, ref, view.key, self._volatile)
        if query is None:
            return None
        cursor = self._engine.cursor()
        try:
            generation = self._definitions.generation([ref], [view], others)
            # Plan and run in one transaction, so that now() is the same in both.
            at_once = CLOCK.search(sql) is not None
            if at_once:
                cursor.execute("BEGIN")
            cursor.execute(f"USE plan{generation}")
            plan = self._plan(cursor, query.sql, params)
            if from_log.is_same(plan, query, layout):
                text = query.sql
                if query.renames:
                    text = from_log.renamed(cursor, text, sql, params)
                scans = reaches(plan).get(f"t{view.key}", [])
                # Answers are remembered, so that they must not depend on the time.
                where = EVERY if at_once else self.where(ref, scans)
                kept = from_log.bind_answers(
                    cursor, ref.snapshot, view, where, query.leaves, self._engine
                )
                if kept is not None:
                    cursor.execute(f"USE scan{generation}")
                    choices = ((ref, where, scans, kept),)
                    return Prepared(self._engine, cursor, text, params, choices)
        except DuckError:
            pass  # the query itself is run, or refused
        except BaseException:
            cursor.close()
            raise
        cursor.close()
        return None

    def where(self, ref: TableRef, scans: Sequence[Reach]) -> May:
        """Return the predicate of a table that is scanned several times: any scan may match."""
        if not scans:
            return EVERY
        layout = ref.snapshot.files.layout
        found = [plain.may_match(scan.filters, layout) for scan in scans]
        known = [may for may in found if may is not None]
        if len(known) < len(found):
            pruner = on_demand.Pruner(layout, self._volatile)
            known = [pruner.may_match(scan.filters) for scan in scans]
        return any_of(known)

    def _volatile(self) -> frozenset[str]:
        """Return the names of functions that differ from row to row; asked for when needed."""
        if self._volatile_names is None:
            self._volatile_names = self._list_volatile()
        return self._volatile_names

    def _list_volatile(self) -> frozenset[str]:
        with self._engine.work("list DuckDB's functions") as cursor:
            rows = cursor.execute(
                "SELECT DISTINCT lower(function_name) FROM duckdb_functions() "
                "WHERE stability IS DISTINCT FROM 'CONSISTENT'"
            ).fetchall()
        return frozenset(row[0] for row in rows)

    def view(self, ref: TableRef) -> TableView:
        """Return the definitions of a table's view and stand-in."""
        files = ref.snapshot.files
        return table_view(
            files.layout,
            ref.snapshot.properties,
            place=(ref.schema, ref.name),
            has_vectors=files.has_deletion_vectors,
            numbered=ref.numbered,
        )

    def _reached(self, cursor: Connection, sql: str, params: Params) -> dict[str, list[Reach]]:
        statements = cursor.extract_statements(sql)
        if len(statements) > 1 and _PIVOT.search(sql):
            # DuckDB 1.5 makes several statements of one PIVOT that has to look for its columns.
            return {}
        if len(statements) != 1:
            raise InputError(
                f"one statement is expected; found {len(statements)}",
                next_step="Run statements one by one",
            )
        kind = statements[0].type.name
        if kind in _NOT_QUERIES:
            raise InputError(
                f"sql() runs queries, and this is {kind.replace('_', ' ')}",
                next_step=_NOT_QUERIES[kind],
            )
        try:
            return reaches(self._plan(cursor, sql, params))
        except ParserError:
            # Not a query, such as EXPLAIN itself: DuckDB runs it as it stands, unpruned.
            return {}

    def _plan(self, cursor: Connection, sql: str, params: Params) -> str:
        # An empty stand-in must not be folded away.
        cursor.execute("SET disabled_optimizers = 'statistics_propagation'")
        try:
            rows = cursor.execute(f"EXPLAIN (FORMAT json) {sql}", params).fetchall()
        finally:
            cursor.execute("RESET disabled_optimizers")
        return str(rows[0][1])

    def _bind_all(
        self,
        cursor: Connection,
        refs: Sequence[TableRef],
        views: Sequence[TableView],
        wheres: Sequence[May],
    ) -> list[Kept]:
        return [
            bind(cursor, ref, view, where, self._engine)
            for ref, view, where in zip(refs, views, wheres, strict=True)
        ]
