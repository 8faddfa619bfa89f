"""The door for untrusted SQL: it plans and runs queries in processes of their own.

It takes the place of the scanner behind a lake's queries. In this process no text of the
query's is run: tables are found by its tokens, and of what the process of a query tells, only
comparisons with constants choose files.
"""

from __future__ import annotations

import contextlib
import dataclasses
import pickle
import re
import threading
from collections.abc import Sequence

from catalog.errors import InputError
from lakehouse.duck.engine import Engine
from lakehouse.duck.errors import DuckError
from lakehouse.lake.untrusted import wire
from lakehouse.lake.untrusted.children import Children
from lakehouse.lake.untrusted.job import Job, Place
from lakehouse.lake.untrusted.limits import Limits
from lakehouse.lake.untrusted.run import Bound, Guarded, Run
from lakehouse.scan.asked import Asked, Params
from lakehouse.scan.choice import Choice
from lakehouse.scan.kept import bind, held
from lakehouse.scan.may import EVERY, May
from lakehouse.scan.plan import Reach
from lakehouse.scan.read import Scanner
from lakehouse.scan.report import QueryRef, TableRef
from lakehouse.scan.views import TableView, is_wary

_LONGEST = 1_000_000  # characters of a query
# Filters without a call of a function: what they take is bounded by their length.
_CALL = re.compile(
    r"(?<!\bin)(?<!\band)(?<!\bor)(?<!\bnot)(?<!\bcast)(?<=[\w\"])\s*\(", re.IGNORECASE
)
_LONGEST_FILTER = 20_000


class Door:
    """Plan queries as `Scanner` does, in processes of their own; safe between threads."""

    def __init__(self, engine: Engine, scanner: Scanner, limits: Limits) -> None:
        self._engine = engine
        self._scanner = scanner
        self._limits = limits
        self._children = Children()
        self._free = threading.Semaphore(limits.at_once)

    def prepare(
        self,
        sql: str,
        refs: Sequence[TableRef],
        params: Params = None,
        *,
        queries: Sequence[QueryRef] = (),
    ) -> Guarded:
        """Let a query be judged and planned, and choose the files that it has to read.

        ``queries`` are views in it, each after those that it reads. Raises InputError for what
        untrusted SQL may not say, and where it takes too much.
        """
        if len(sql) > _LONGEST:
            raise InputError(
                f"the query has {len(sql):,} characters",
                next_step=f"At most {_LONGEST:,} are taken of untrusted SQL",
            )
        asked = Asked(sql, params, tuple(refs), tuple(queries))
        wary = is_wary(asked.texts)
        views = tuple(self._scanner.view(ref, wary=wary) for ref in refs)
        places = tuple(
            Place(ref.schema, ref.name, view) for ref, view in zip(refs, views, strict=True)
        )
        job = Job(sql, params, places, asked.queries, self._limits, self._engine.meaning)
        try:
            message = pickle.dumps(job)
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            raise InputError(
                f"a parameter cannot be passed on: {error}",
                next_step="Pass numbers, texts, dates, lists or dicts of them",
            ) from error
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._free)
            run = Run(stack.enter_context(self._children.line()), self._limits)
            run.send(wire.JOB, message)
            reached = run.reached({view.key for view in views})
            scans = [reached[view.key] for view in views]
            cheap = [_cheap(scan) for scan in scans]
            wheres = [
                EVERY if asked.reads_clock else self._scanner.where(ref, scan)
                for ref, scan in zip(refs, cheap, strict=True)
            ]
            bound = [self._bound(*each) for each in zip(refs, views, wheres, strict=True)]
            return Guarded(
                self._engine,
                run,
                stack.pop_all(),
                asked.refs,
                views,
                tuple(bound),
                tuple(scans),
                tuple(cheap),
            )

    def interrupt(self) -> None:
        """Stop all queries."""
        self._children.interrupt()

    def close(self) -> None:
        """End all processes."""
        self._children.close()

    def _bound(self, ref: TableRef, view: TableView, where: May) -> Bound:
        with self._engine.work("plan the query") as cursor:
            try:
                kept = bind(cursor, ref, view, Choice(where), self._engine)
            except DuckError:
                # DuckDB shows some expressions in a form that it does not read.
                if where == EVERY:
                    raise
                where = EVERY
                kept = bind(cursor, ref, view, Choice(where), self._engine)
            variable, vectors = held(cursor, ref, view)
        return Bound(where, kept, variable, vectors)


def _cheap(scans: Sequence[Reach]) -> tuple[Reach, ...]:
    """Return scans with those filters only that cost nothing to evaluate here."""
    return tuple(
        dataclasses.replace(
            scan,
            filters=tuple(
                text
                for text in scan.filters
                if len(text) < _LONGEST_FILTER and not _CALL.search(text)
            ),
        )
        for scan in scans
    )
