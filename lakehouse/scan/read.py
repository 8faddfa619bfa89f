"""Run a query over snapshots: plan, prune, and read only the files that can matter."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from catalog.errors import InputError
from lakehouse import scan as on_demand
from lakehouse.delta.files.layout import Layout
from lakehouse.delta.schema.mapping import mode_of
from lakehouse.duck.engine import VERSION, Connection, Engine
from lakehouse.duck.errors import DuckError, Interruption, NameErrors, ParserError, translate
from lakehouse.duck.sql import identifier
from lakehouse.scan import from_log, plain, quick, top
from lakehouse.scan.aliases import is_plain, resolved
from lakehouse.scan.choice import Choice
from lakehouse.scan.definitions import Definitions
from lakehouse.scan.forms import Forms
from lakehouse.scan.inline import inlined
from lakehouse.scan.kept import bind, files_of
from lakehouse.scan.may import EVERY, KEEP, May, any_of
from lakehouse.scan.plan import Reach, columns_in, limits_below_join, only_reads, reaches
from lakehouse.scan.predicate import no_predicate
from lakehouse.scan.prepared import Params, Prepared
from lakehouse.scan.probe import PLAIN_PLANS, Probe, Query, may_join
from lakehouse.scan.report import Kept, QueryRef, TableRef
from lakehouse.scan.settled import Key, Remembered, Settled
from lakehouse.scan.tally import Tally
from lakehouse.scan.tokens import tokens
from lakehouse.scan.views import TableView, is_wary, table_view, told_view
from lakehouse.scan.volatile import Volatile

CLOCK = re.compile(
    r"\b(now|today|current_\w+|local\w+|get_current_\w+|transaction_timestamp)\b", re.IGNORECASE
)


_REMEMBERED = 256  # plans, views and predicates, each
_LONG = 50_000  # a text that is not remembered
_FEW = 100  # files whose names may stand in a query's text
_KEYWORD = re.compile(r"and|from|in|not|on|or|select|where", re.IGNORECASE)  # none is a function
_PIVOT = re.compile(r"\bpivot\b", re.IGNORECASE)
_VERBS = (
    "Tables are changed by lake.sql, with the statements of docs/sql.md, or by methods: "
    "create_table, append, overwrite, drop_table"
)
_NOT_QUERIES = {
    **dict.fromkeys(
        ("CREATE", "INSERT", "UPDATE", "DELETE", "ALTER", "DROP", "MERGE_INTO"), _VERBS
    ),
    "SET": "Pass settings as connect(..., duckdb_config={...})",
}


class Scanner:
    """Plan queries over snapshots in one engine; safe between threads.

    ``trusted`` is False where texts of predicates may come from anybody.
    """

    def __init__(self, engine: Engine, *, trusted: bool = True) -> None:
        self._engine = engine
        self._trusted = trusted
        self._definitions = Definitions(engine)
        self._probe = Probe(engine)
        self.forms = Forms(engine)
        self._any_volatile = Volatile(engine)
        self._plans: dict[tuple[int, str], str] = {}
        self._columns: dict[tuple[int, str], tuple[str, ...]] = {}
        self._views: dict[tuple[object, ...], tuple[Layout, TableView]] = {}
        self._mays: dict[tuple[object, ...], tuple[Layout, May]] = {}
        self.tally = Tally()
        self._remembered = Remembered()

    def prepare(
        self,
        sql: str,
        refs: Sequence[TableRef],
        params: Params = None,
        *,
        others: Sequence[str] = (),
        queries: Sequence[QueryRef] = (),
        given: Mapping[str, Any] = MappingProxyType({}),
    ) -> Prepared:
        """Plan a query that names ``refs``, and choose the files that it has to read.

        ``others`` are names in it that are no table now, and must not be found even if they
        were one before. ``queries`` are views of users' in it, each after those that it reads;
        ``refs`` are their tables too. ``given`` are rows (Arrow) that the query reads by their
        names in ``temp.main``. Raises InputError for SQL that DuckDB refuses.
        """
        key = None
        if params is None and not given and not self._engine.has_temporary:
            key = self._remembered.key(sql, refs, queries, others)
            settled = self._remembered.find(key, refs)
            if settled is not None:
                return self._again(key, settled, refs, queries, others)
        if len(refs) == 1 and not queries and not given:
            answered = self._from_log(sql, refs[0], params, others, key)
            if answered is not None:
                return answered
        wary = is_wary((sql, *(query.sql for query in queries)))
        views = [self.view(ref, wary=wary) for ref in refs]
        for wide in (True, False) if VERSION >= (2, 0) else (False,):
            prepared = self._planned(sql, refs, views, params, others, queries, given, wide=wide)
            if prepared is not None:
                break
        else:
            prepared = self._planned(sql, refs, views, params, others, queries, given, wide=None)
        assert prepared is not None
        if key is not None:
            generation = self._definitions.generation(refs, views, others, queries)
            if (generation, sql) in self._plans:
                self._remember(key, prepared, views, generation)
        return prepared

    def _remember(
        self, key: Key, prepared: Prepared, views: Sequence[TableView], generation: int
    ) -> None:
        """Remember a query that was planned, if all that it needs stands in text."""
        reads = tuple((may, tuple(scans), kept) for _, may, scans, kept in prepared.choices)
        before = tuple(
            files_of(view.key, kept, self._engine)
            for view, (*_, kept) in zip(views, reads, strict=True)
            if kept.patterns is not None
        )
        is_local = all(ref.snapshot.storage.is_local for ref, *_ in prepared.choices)
        if 0 < len(before) == len(reads) and is_local:
            refs = [ref for ref, *_ in prepared.choices]
            before = (*before, self._engine.search(f"scan{generation}"))
            self._remembered.keep(key, refs, Settled(prepared.sql, before, reads, prepared.off))

    def _again(
        self,
        key: Key,
        settled: Settled,
        refs: Sequence[TableRef],
        queries: Sequence[QueryRef],
        others: Sequence[str],
    ) -> Prepared:
        """Prepare a query that was planned before; the second time, look for a faster form."""
        if not settled.tried:
            settled = self._faster(settled, refs, queries, others)
            self._remembered.keep(key, refs, settled)
        cursor = self._engine.cursor()
        try:
            for statement in settled.before:
                cursor.execute(statement)
        except DuckError as error:
            cursor.close()
            raise translate(error, "plan the query") from error
        except BaseException:
            cursor.close()
            raise
        reads = tuple((ref, *read) for ref, read in zip(refs, settled.reads, strict=True))
        return Prepared(
            self._engine, cursor, settled.sql, None, reads, tally=self.tally, off=settled.off
        )

    def _faster(
        self,
        settled: Settled,
        refs: Sequence[TableRef],
        queries: Sequence[QueryRef],
        others: Sequence[str],
    ) -> Settled:
        """Return a query that reads its files as they are, if all have their table's columns."""
        settled = dataclasses.replace(settled, tried=True)
        wary = is_wary((settled.sql, *(query.sql for query in queries)))
        views = [self.view(ref, wary=wary) for ref in refs]
        kept = [kept for *_, kept in settled.reads]
        search = self.forms.known(refs, views, kept, queries, others)
        if search is None:
            return settled
        plain = dataclasses.replace(settled, before=(*settled.before[:-1], search))
        bodies = {
            ref.place: told_view(ref.snapshot.files.layout, one.patterns or (), one.rows)
            for ref, one in zip(refs, kept, strict=True)
        }
        scans = {
            ref.place: len(scans) for ref, (_, scans, _) in zip(refs, settled.reads, strict=True)
        }
        count = sum(len(one.patterns or ()) for one in kept)
        # DuckDB reads a long text slower than a variable.
        text = inlined(settled.sql, bodies, scans) if not queries and count <= _FEW else None
        if text is None:
            return plain
        with self._engine.cursor(counted=False) as cursor:
            try:
                for statement in plain.before:
                    cursor.execute(statement)
                as_written, told = cursor.sql(plain.sql), cursor.sql(text)
                same = (as_written.columns, as_written.types) == (told.columns, told.types)
            except Interruption:
                raise
            except DuckError:
                return plain  # a name in it was none, or is not found in this form
        return dataclasses.replace(plain, sql=text, before=()) if same else plain

    def _planned(
        self,
        sql: str,
        refs: Sequence[TableRef],
        views: Sequence[TableView],
        params: Params,
        others: Sequence[str],
        queries: Sequence[QueryRef],
        given: Mapping[str, Any],
        *,
        wide: bool | None,
    ) -> Prepared | None:
        """Plan a query, asking for join keys as ``wide`` says, or not; None where that fails."""
        cursor = self._engine.cursor()
        try:
            for name, rows in given.items():
                cursor.register(name, rows)
            generation = self._definitions.generation(refs, views, others, queries)
            # Plan and run in one transaction, so that now() is the same in both.
            at_once = any(CLOCK.search(text) for text in (sql, *(query.sql for query in queries)))
            if at_once:
                cursor.execute("BEGIN")
            plan = self._query_plan(cursor, sql, params, generation, queries)
            joined = "_JOIN" in plan
            reached = reaches(plan)
            scans = [reached.get(f"t{view.key}", []) for view in views]
            if len(refs) == 1:
                scans = [_resolved(sql, refs[0], views[0], scans[0])]
            wheres = [self.where(ref, scan) for ref, scan in zip(refs, scans, strict=True)]
            choices = [
                Choice(where, tests=_tests(ref, scan, where))
                for ref, scan, where in zip(refs, scans, wheres, strict=True)
            ]
            try:
                choices = [
                    self._ordered(cursor, sql, ref, scan, choice)
                    for ref, scan, choice in zip(refs, scans, choices, strict=True)
                ]
                if wide is not None and may_join(plan, refs):
                    query = Query(
                        sql,
                        params,
                        tuple(refs),
                        tuple(views),
                        tuple(queries),
                        tuple(others),
                        at_once,
                    )
                    counts = [len(scan) for scan in scans]
                    outcome = self._probe.narrow(cursor, query, choices, counts, wide=wide)
                    if isinstance(outcome, str):
                        cursor.close()
                        if outcome == "lost":
                            return None
                        return self._planned(
                            sql, refs, views, params, others, queries, given, wide=wide
                        )
                    choices = outcome
                figures = self._bind_all(
                    cursor, refs, views, choices, joined=joined, lasting=not at_once
                )
            except (*NameErrors, ParserError):
                # DuckDB shows some expressions in a form that it does not read.
                if wide is not None and may_join(plan, refs):
                    cursor.close()
                    return self._planned(
                        sql, refs, views, params, others, queries, given, wide=None
                    )
                if at_once:
                    cursor.execute("ROLLBACK")
                    cursor.execute("BEGIN")
                choices = [Choice()] * len(refs)
                figures = self._bind_all(
                    cursor, refs, views, choices, joined=joined, lasting=not at_once
                )
            look = self.forms.look(
                cursor,
                refs,
                views,
                figures,
                queries,
                others,
                joined=joined,
                at_once=at_once,
            )
            # In object storage, to look at files takes time, and those that are read are fetched
            # ahead: it waits until the query runs.
            is_local = all(ref.snapshot.storage.is_local for ref in refs)
            found = look() if is_local else None
            cursor.execute(found or self._engine.search(f"scan{generation}"))
        except DuckError as error:
            cursor.close()
            raise translate(error, "plan the query") from error
        except BaseException:
            cursor.close()
            raise
        mays = [choice.may for choice in choices]
        reads = tuple(zip(refs, mays, scans, figures, strict=True))
        # DuckDB 1.5 lets keys of joins choose among the rows that a LIMIT is to choose from
        # (duckdb#22924).
        wrong = VERSION < (2, 0) and limits_below_join(plan)
        off = ("join_filter_pushdown",) if wrong else ()
        waiting = None if is_local else look
        return Prepared(self._engine, cursor, sql, params, reads, at_once, self.tally, off, waiting)

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
            bind(cursor, ref, view, Choice(), self._engine)
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
            reached = reaches(self._query_plan(cursor, sql, None, generation))
        scans = reached.get(f"t{view.key}", [])
        return self.where(ref, _resolved(sql, ref, view, scans))

    def _from_log(
        self,
        sql: str,
        ref: TableRef,
        params: Params,
        others: Sequence[str],
        key: Key | None,
    ) -> Prepared | None:
        """Plan a query that statistics answer; None where they do not, or DuckDB refuses it."""
        if from_log.ASKED.search(sql) is None:
            return None
        layout = ref.snapshot.files.layout
        view = self._log_view(ref)
        query = from_log.rewritten(sql, ref, view.key, self._any_volatile)
        if query is None:
            return None
        cursor = self._engine.cursor()
        try:
            generation = self._definitions.generation([ref], [view], others)
            # Plan and run in one transaction, so that now() is the same in both.
            at_once = CLOCK.search(sql) is not None
            if at_once:
                cursor.execute("BEGIN")
            plan = self._plan(cursor, query.sql, params, generation)
            if from_log.is_same(plan, query, layout):
                text = query.sql
                if query.renames:
                    names = self._names(cursor, sql, params, generation)
                    if (generation, query.sql) in self._plans:
                        self._columns[generation, sql] = names
                    text = from_log.renamed(text, names)
                scans = reaches(plan).get(f"t{view.key}", [])
                # Answers are remembered, so that they must not depend on the time.
                where = EVERY if at_once else self.where(ref, scans)
                kept = from_log.bind_answers(
                    cursor, ref.snapshot, view, where, query.leaves, self._engine
                )
                if kept is not None:
                    cursor.execute(f"USE scan{generation}")
                    choices = ((ref, where, scans, kept),)
                    answered = None
                    if key is not None and (generation, query.sql) in self._plans:
                        read = where, tuple(scans), kept

                        def answered(text: str) -> None:
                            settled = Settled(text, (), (read,), tried=True)
                            self._remembered.keep(key, [ref], settled)

                    return Prepared(
                        self._engine, cursor, text, params, choices, at_once, answered=answered
                    )
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
        return any_of([self._may(scan.filters, layout) for scan in scans])

    def _may(self, filters: tuple[str, ...], layout: Layout) -> May:
        key = (id(layout), filters)
        known = self._mays.get(key)
        if known is not None:
            return known[1]
        may = plain.may_match(filters, layout)
        if may is None:
            may = on_demand.Pruner(layout, self._any_volatile).may_match(filters)
        if len(self._mays) >= _REMEMBERED:
            self._mays.clear()
        if sum(map(len, filters)) <= _LONG:
            self._mays[key] = layout, may
        return may

    def _ordered(
        self, cursor: Connection, sql: str, ref: TableRef, scans: Sequence[Reach], choice: Choice
    ) -> Choice:
        """Return the choice of a table of which a query wants only the first rows, if it does."""
        order = scans[0].order if len(scans) == 1 else None
        layout = ref.snapshot.files.layout
        names = [field.name for field in layout.schema]
        if order is None or not top.is_certain(order, sql, names):
            return choice
        filters, every = scans[0].filters, KEEP
        if filters:
            every = on_demand.Pruner(layout, self._any_volatile).all_match(filters)
        found = top.first(cursor, ref.snapshot, order, choice.where, every, self._engine)
        if found is None:
            return choice
        way = "DESC" if order.descending else "ASC"
        shown = f"the first {order.rows} by {names[order.column]} {way}"
        return dataclasses.replace(choice, ordered=found, order=shown)

    def view(self, ref: TableRef, *, wary: bool = False) -> TableView:
        """Return the definitions of a table's view and stand-in; ``wary`` as in `table_view`."""
        files, layout = ref.snapshot.files, ref.snapshot.files.layout
        vectors, mode = files.has_deletion_vectors, mode_of(ref.snapshot.properties)
        # Who remembers a layout's number keeps the layout, so that no other one gets it.
        wary |= ref.numbered  # by what is asked of rows to change them, any may be in question
        key = (id(layout), ref.schema, ref.name, vectors, mode, ref.numbered, wary)
        known = self._views.get(key)
        if known is not None:
            return known[1]
        view = table_view(
            layout,
            ref.snapshot.properties,
            place=(ref.schema, ref.name),
            has_vectors=vectors,
            numbered=ref.numbered,
            wary=wary,
        )
        if len(self._views) >= _REMEMBERED:
            self._views.clear()
        self._views[key] = layout, view
        return view

    def _query_plan(
        self,
        cursor: Connection,
        sql: str,
        params: Params,
        generation: int,
        queries: Sequence[QueryRef] = (),
    ) -> str:
        """Return the plan of a query as JSON: an empty list where DuckDB shows none."""
        known = self._plans.get((generation, sql))
        if known is not None and params is None:
            return known
        statements = cursor.extract_statements(sql)
        if len(statements) > 1 and _PIVOT.search(sql):
            # DuckDB 1.5 makes several statements of one PIVOT that has to look for its columns.
            return "[]"
        if len(statements) != 1:
            raise InputError(
                f"one statement is expected; found {len(statements)}",
                next_step="Run statements one by one",
            )
        kind = statements[0].type.name
        if kind in _NOT_QUERIES:
            raise InputError(
                f"only queries are run here, and this is {kind.replace('_', ' ')}",
                next_step=_NOT_QUERIES[kind],
            )
        try:
            return self._plan(cursor, sql, params, generation, queries)
        except ParserError:
            # Not a query, such as EXPLAIN itself: DuckDB runs it as it stands, unpruned.
            return "[]"

    def _plan(
        self,
        cursor: Connection,
        sql: str,
        params: Params,
        generation: int,
        queries: Sequence[QueryRef] = (),
    ) -> str:
        """Return the plan of a query over the stand-ins of a generation, in which each name is one.

        It is remembered where nothing else decides it.
        """
        known = self._plans.get((generation, sql)) if params is None else None
        if known is not None:
            return known
        cursor.execute(self._engine.search(f"plan{generation}"))
        with self._engine.planning(off=PLAIN_PLANS):
            rows = cursor.execute(f"EXPLAIN (FORMAT json) {sql}", params).fetchall()
        plan = str(rows[0][1])
        texts = (sql, *(query.sql for query in queries))
        if (
            params is None
            and len(sql) + len(plan) <= _LONG
            and not self._engine.has_temporary  # a temporary view may be another one tomorrow
            and all(map(self._is_lasting, texts))
            and only_reads(plan, "stand_in")
        ):
            if len(self._plans) >= _REMEMBERED:
                self._plans.clear()
                self._columns.clear()
            self._plans[generation, sql] = plan
        return plan

    def _names(
        self, cursor: Connection, sql: str, params: Params, generation: int
    ) -> tuple[str, ...]:
        """Return the names of a query's columns."""
        known = self._columns.get((generation, sql)) if params is None else None
        if known is not None:
            return known
        cursor.execute(self._engine.search(f"plan{generation}"))
        rows = cursor.execute(f"DESCRIBE {sql}", params).fetchall()
        return tuple(row[0] for row in rows)

    def _log_view(self, ref: TableRef) -> TableView:
        layout = ref.snapshot.files.layout
        key = (id(layout), ref.schema, ref.name)
        known = self._views.get(key)
        if known is not None:
            return known[1]
        view = from_log.log_view(layout, (ref.schema, ref.name))
        if len(self._views) >= _REMEMBERED:
            self._views.clear()
        self._views[key] = layout, view
        return view

    def _is_lasting(self, sql: str) -> bool:
        """Tell whether a query means the same as long as its tables have the same columns."""
        found = tokens(sql)
        called = {
            name.text.lower()
            for name, after in itertools.pairwise(found)
            if after.text == "("
            and (
                name.kind == "quoted" or (name.kind == "word" and not _KEYWORD.fullmatch(name.text))
            )
        }
        if CLOCK.search(sql) or self._any_volatile(called):
            return False
        for one, two, three in zip(found, found[1:], found[2:], strict=False):
            # A function of somebody's own stands in a schema of theirs.
            if one.text == "." and two.kind in ("word", "quoted") and three.text == "(":
                return False
        return True

    def _bind_all(
        self,
        cursor: Connection,
        refs: Sequence[TableRef],
        views: Sequence[TableView],
        choices: Sequence[Choice],
        *,
        joined: bool,
        lasting: bool,
    ) -> list[Kept]:
        return [
            bind(
                cursor,
                ref,
                view,
                choice,
                self._engine,
                typical_first=joined and bool(view.plain) and VERSION >= (2, 0),
                lasting=lasting,
            )
            for ref, view, choice in zip(refs, views, choices, strict=True)
        ]


def _tests(ref: TableRef, scans: Sequence[Reach], where: May) -> tuple[quick.Test, ...] | None:
    layout = ref.snapshot.files.layout
    if where == EVERY:
        return None if layout.partitions else ()
    return quick.tests(scans[0].filters, layout) if len(scans) == 1 else None


def _resolved(sql: str, ref: TableRef, view: TableView, scans: Sequence[Reach]) -> Sequence[Reach]:
    """Return the scans of a query's only table, with its columns' names in all filters."""
    if not any(scan.above for scan in scans) or not is_plain(sql, ref.schema, ref.name):
        return scans
    names = [field.name for field in ref.snapshot.schema.fields]

    def known(text: str, scan: Reach) -> str:
        found = resolved(text, names, view.key) if text in scan.above else text
        # What is above a scan can only name what the scan reads.
        return found if columns_in(found) <= scan.columns else text

    return [
        dataclasses.replace(scan, filters=tuple(known(text, scan) for text in scan.filters))
        for scan in scans
    ]
