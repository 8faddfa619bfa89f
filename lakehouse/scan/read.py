"""Run a query over snapshots: plan, prune, and read only the files that can matter."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from catalog.errors import InputError
from lakehouse import scan as on_demand
from lakehouse.delta.files.layout import Layout
from lakehouse.delta.schema.mapping import mode_of
from lakehouse.duck.engine import VERSION, Connection, Engine
from lakehouse.duck.errors import DuckError, NameErrors, ParserError
from lakehouse.duck.sql import identifier
from lakehouse.scan import from_log, plain, top
from lakehouse.scan.aliases import is_plain, resolved
from lakehouse.scan.asked import LONG, Asked, Params
from lakehouse.scan.choice import Choice, tests_of
from lakehouse.scan.crumbs import KEEP_FOOTERS, keeps_footers, need_no_threads
from lakehouse.scan.definitions import Definitions
from lakehouse.scan.forms import Forms
from lakehouse.scan.fresh import Fresh, Seen
from lakehouse.scan.kept import bind
from lakehouse.scan.may import EVERY, KEEP, May, any_of
from lakehouse.scan.plan import Reach, columns_in, limits_below_join, reaches
from lakehouse.scan.plans import Plans
from lakehouse.scan.predicate import no_predicate
from lakehouse.scan.prepared import Prepared
from lakehouse.scan.probe import Probe, may_join
from lakehouse.scan.repeats import Repeats
from lakehouse.scan.report import Kept, QueryRef, TableRef
from lakehouse.scan.settled import Key, Settled
from lakehouse.scan.tally import Tally
from lakehouse.scan.views import TableView, is_wary, table_view
from lakehouse.scan.volatile import Volatile

_REMEMBERED = 256  # views and predicates, each


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
        self._plans = Plans(engine, self._any_volatile)
        self._views: dict[tuple[object, ...], tuple[Layout, TableView]] = {}
        self._mays: dict[tuple[object, ...], tuple[Layout, May]] = {}
        self.tally = Tally()
        self._repeats = Repeats(engine, self.forms, self.tally, self.view)
        self._fresh = Fresh(engine, self.forms, self.view, self.where)

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
        asked = Asked(sql, params, tuple(refs), tuple(queries), tuple(others), given)
        key = self._repeats.key(asked)
        if key is not None:
            again = self._repeats.again(key, asked)
            if again is not None:
                return again
        seen = self._fresh.seen(asked)
        settled = None if seen is None else self._fresh.settled(asked, seen)
        if settled is not None:
            return self._repeats.settle(key, asked, settled)
        # The log has no answer where there is a condition on a column of the files.
        by_log = seen is None or bool(refs[0].snapshot.files.layout.partitions)
        if by_log and len(refs) == 1 and not queries and not given:
            answered = self._from_log(asked, key)
            if answered is not None:
                return answered
        wary = is_wary(asked.texts)
        views = [self.view(ref, wary=wary) for ref in refs]
        for wide in (True, False) if VERSION >= (2, 0) else (False,):
            prepared = self._planned(asked, views, wide=wide, seen=seen)
            if prepared is not None:
                break
        else:
            prepared = self._planned(asked, views, wide=None)
        assert prepared is not None
        if key is not None:
            generation = self._definitions.generation(refs, views, others, queries)
            if seen is not None or self._plans.lasts(generation, sql):
                self._repeats.remember(key, asked, prepared, views, generation)
                prepared = dataclasses.replace(prepared, lasts=True)
        return prepared

    def _planned(
        self,
        asked: Asked,
        views: Sequence[TableView],
        *,
        wide: bool | None,
        seen: Seen | None = None,
    ) -> Prepared | None:
        """Plan a query, asking for join keys as ``wide`` says, or not; None where that fails.

        One of a shape that was ``seen`` needs no plan: it has no joins.
        """
        refs, at_once = asked.refs, asked.reads_clock
        with self._engine.preparing("plan the query") as cursor:
            for name, rows in asked.given.items():
                cursor.register(name, rows)
            generation = self._definitions.generation(refs, views, asked.others, asked.queries)
            if at_once:  # so that now() is the same in both
                cursor.execute("BEGIN")
            plan = self._plans.of_query(cursor, asked, generation) if seen is None else "[]"
            joined = "_JOIN" in plan
            reached = reaches(plan) if seen is None else {f"t{views[0].key}": [seen.scan]}
            scans = [reached.get(f"t{view.key}", []) for view in views]
            if len(refs) == 1:
                scans = [_resolved(asked.sql, refs[0], views[0], scans[0])]
            wheres = [self.where(ref, scan) for ref, scan in zip(refs, scans, strict=True)]
            choices = [
                Choice(where, tests=tests_of(ref, scan, where))
                for ref, scan, where in zip(refs, scans, wheres, strict=True)
            ]
            try:
                choices = [
                    top.ordered(cursor, asked.sql, ref, scan, choice, self._engine, self._every)
                    for ref, scan, choice in zip(refs, scans, choices, strict=True)
                ]
                if wide is not None and may_join(plan, refs):
                    counts = [len(scan) for scan in scans]
                    outcome = self._probe.narrow(
                        cursor, asked, views, choices, counts, wide=wide, at_once=at_once
                    )
                    if isinstance(outcome, str):
                        cursor.close()
                        return None if outcome == "lost" else self._planned(asked, views, wide=wide)
                    choices = outcome
                figures = self._bind_all(
                    cursor, refs, views, choices, joined=joined, lasting=not at_once
                )
            except (*NameErrors, ParserError):
                # DuckDB shows some expressions in a form that it does not read.
                if wide is not None and may_join(plan, refs):
                    cursor.close()
                    return self._planned(asked, views, wide=None)
                if at_once:
                    cursor.execute("ROLLBACK")
                    cursor.execute("BEGIN")
                choices = [Choice()] * len(refs)
                figures = self._bind_all(
                    cursor, refs, views, choices, joined=joined, lasting=not at_once
                )
            if keeps_footers(asked, figures):
                cursor.execute(KEEP_FOOTERS)
            look = self.forms.look(cursor, asked, views, figures, joined=joined, at_once=at_once)
            # In object storage, to look at files takes time, and those that are read are fetched
            # ahead: it waits until the query runs.
            found = look() if asked.is_local else None
            cursor.execute(found or self._engine.search(f"scan{generation}"))
            if seen is None:
                self._fresh.learn(asked, scans, lambda: self._plans.is_lasting(asked, plan))
            else:
                self._fresh.look(cursor, asked, seen)
        mays = [choice.may for choice in choices]
        reads = tuple(zip(refs, mays, scans, figures, strict=True))
        # DuckDB 1.5 lets keys of joins choose among the rows that a LIMIT is to choose from
        # (duckdb#22924).
        wrong = VERSION < (2, 0) and limits_below_join(plan)
        return Prepared(
            self._engine,
            cursor,
            asked.sql,
            asked.params,
            reads,
            at_once,
            self.tally,
            ("join_filter_pushdown",) if wrong else (),
            None if asked.is_local else look,
        )

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
            kept = bind(cursor, ref, view, Choice(), self._engine)
            self._engine.prefer_reading(inline=need_no_threads([kept]))
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
            reached = reaches(self._plans.of_query(cursor, Asked(sql, None, (ref,)), generation))
        scans = reached.get(f"t{view.key}", [])
        return self.where(ref, _resolved(sql, ref, view, scans))

    def _from_log(self, asked: Asked, key: Key | None) -> Prepared | None:
        """Plan a query that statistics answer; None where they do not, or DuckDB refuses it."""
        sql, params, (ref,) = asked.sql, asked.params, asked.refs
        if from_log.ASKED.search(sql) is None:
            return None
        layout = ref.snapshot.files.layout
        view = self._log_view(ref)
        query = from_log.rewritten(sql, ref, view.key, self._any_volatile)
        if query is None:
            return None
        cursor = self._engine.cursor()
        try:
            generation = self._definitions.generation([ref], [view], asked.others)
            at_once = asked.reads_clock
            if at_once:
                cursor.execute("BEGIN")
            plan = self._plans.plan(cursor, dataclasses.replace(asked, sql=query.sql), generation)
            if from_log.is_same(plan, query, layout):
                text = query.sql
                if query.renames:
                    names = self._plans.names(cursor, asked, generation, planned=query.sql)
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
                    lasts = key is not None and self._plans.lasts(generation, query.sql)
                    if key is not None and lasts:
                        read = where, tuple(scans), kept

                        def answered(text: str) -> None:
                            settled = Settled(text, (), (read,), tried=True)
                            self._repeats.keep(key, [ref], settled)

                    return Prepared(
                        self._engine,
                        cursor,
                        text,
                        params,
                        choices,
                        at_once,
                        answered=answered,
                        lasts=lasts,
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
        if sum(map(len, filters)) <= LONG:
            self._mays[key] = layout, may
        return may

    def _every(self, filters: tuple[str, ...], layout: Layout) -> str:
        """Return SQL that is true for files of which every row passes filters."""
        return on_demand.Pruner(layout, self._any_volatile).all_match(filters) if filters else KEEP

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
