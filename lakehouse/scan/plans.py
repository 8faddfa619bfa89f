"""Ask DuckDB how it would run a query over stand-ins, and remember what lasts."""

from __future__ import annotations

import itertools
import re

from catalog.errors import InputError
from lakehouse.duck.engine import Connection, Engine
from lakehouse.duck.errors import ParserError
from lakehouse.scan.asked import CLOCK, LONG, Asked
from lakehouse.scan.plan import only_reads
from lakehouse.scan.probe import PLAIN_PLANS
from lakehouse.scan.tokens import tokens
from lakehouse.scan.volatile import AnyVolatile

_REMEMBERED = 256
_KEYWORD = re.compile(r"and|from|in|not|on|or|select|where", re.IGNORECASE)  # none is a function
_DESCRIBE = frozenset(("desc", "describe", "show", "summarize"))
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


class Plans:
    """Tell the plans of queries over the stand-ins of a generation; safe between threads."""

    def __init__(self, engine: Engine, any_volatile: AnyVolatile) -> None:
        self._engine = engine
        self._any_volatile = any_volatile
        self._plans: dict[tuple[int, str], str] = {}
        self._columns: dict[tuple[int, str], tuple[str, ...]] = {}

    def lasts(self, generation: int, sql: str) -> bool:
        """Tell whether nothing but the tables decides a query's plan, which is known."""
        return (generation, sql) in self._plans

    def of_query(self, cursor: Connection, asked: Asked, generation: int) -> str:
        """Return the plan of a query as JSON: an empty list where DuckDB shows none."""
        sql, params = asked.sql, asked.params
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
            return self.plan(cursor, asked, generation)
        except ParserError:
            # Not a query, such as EXPLAIN itself: DuckDB runs it as it stands, unpruned.
            return "[]"

    def plan(self, cursor: Connection, asked: Asked, generation: int) -> str:
        """Return the plan of a query over the stand-ins of a generation, in which each name is one.

        It is remembered where nothing else decides it.
        """
        sql, params = asked.sql, asked.params
        known = self._plans.get((generation, sql)) if params is None else None
        if known is not None:
            return known
        cursor.execute(self._engine.search(f"plan{generation}"))
        with self._engine.planning(off=PLAIN_PLANS):
            rows = cursor.execute(f"EXPLAIN (FORMAT json) {sql}", params).fetchall()
        plan = str(rows[0][1])
        if params is None and len(sql) + len(plan) <= LONG and self.is_lasting(asked, plan):
            if len(self._plans) >= _REMEMBERED:
                self._plans.clear()
                self._columns.clear()
            self._plans[generation, sql] = plan
        return plan

    def names(
        self, cursor: Connection, asked: Asked, generation: int, *, planned: str
    ) -> tuple[str, ...]:
        """Return the names of a query's columns, remembered where the plan of ``planned`` is."""
        sql, params = asked.sql, asked.params
        known = self._columns.get((generation, sql)) if params is None else None
        if known is not None:
            return known
        cursor.execute(self._engine.search(f"plan{generation}"))
        rows = cursor.execute(f"DESCRIBE {sql}", params).fetchall()
        names = tuple(row[0] for row in rows)
        if self.lasts(generation, planned):
            self._columns[generation, sql] = names
        return names

    def is_lasting(self, asked: Asked, plan: str) -> bool:
        """Tell whether nothing but its tables and parameters decides a query's plan."""
        return (
            not self._engine.has_temporary  # a temporary view may be another one tomorrow
            and all(map(self._means_the_same, asked.texts))
            and only_reads(plan, "stand_in")
        )

    def _means_the_same(self, sql: str) -> bool:
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
        words = [token.text.lower() if token.kind in ("word", "mark") else "" for token in found]
        if "tablesample" in words or ("using", "sample") in itertools.pairwise(words):
            return False
        # Columns are described when a query is planned, whatever file has them.
        if any(one == "(" and two in _DESCRIBE for one, two in itertools.pairwise(("(", *words))):
            return False
        for one, two, three in zip(found, found[1:], found[2:], strict=False):
            # A function of somebody's own stands in a schema of theirs.
            if one.text == "." and two.kind in ("word", "quoted") and three.text == "(":
                return False
        return True
