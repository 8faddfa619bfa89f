"""Make the query that converts rows and checks them on the way, and read its refusals.

One pass: each column is a CASE whose branches raise an error that carries its check and the value;
the rules of the table follow over the columns as they will stand in the files.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Collection, Sequence
from typing import Any

from catalog.errors import DataError, LakehouseError, UnsupportedError
from lakehouse.delta.schema.types import to_duckdb
from lakehouse.duck.engine import Connection
from lakehouse.duck.errors import DuckError, translate
from lakehouse.duck.rows import Source
from lakehouse.duck.sql import identifier, literal
from lakehouse.write.gate import Check, ColumnPlan, GatePlan
from lakehouse.write.rules import Rule, Rules
from lakehouse.write.samples import SAMPLES, many

_CHECK = re.compile(r"lakehouse-check:(\d+):(\d+):(.*)", re.DOTALL)
_RULE = re.compile(r"lakehouse-rule:(\d+):(\{.*)", re.DOTALL)


@dataclasses.dataclass(frozen=True, slots=True)
class Query:
    """Hold what is selected: rows by their SQL name, the way of each column, and the rules."""

    source: str
    plan: GatePlan
    rules: Rules

    def converted(self) -> str:
        """Return SQL of the rows as data files hold them, each value checked."""
        made = self.rules.made
        given = [
            f"{_checked(number, column)} AS {_name(column)}"
            for number, column in enumerate(self.plan.columns)
            if column.field.name not in made
        ]
        sql = f"SELECT {', '.join(given)} FROM {self.source}"
        if not made:
            return sql
        every = [
            f"{made[column.field.name]} AS {_name(column)}"
            if column.field.name in made
            else _name(column)
            for column in self.plan.columns
        ]
        return f"SELECT {', '.join(every)} FROM ({sql})"

    def checked(self) -> str:
        """Return SQL of the rows, which fails where a row breaks a rule."""
        if not self.rules.rules:
            return self.converted()
        return f"SELECT {', '.join(self._ruled())} FROM ({self.converted()})"

    def among(
        self,
        flag: str,
        kept: Sequence[str],
        *,
        same: Collection[str] = (),
        only: Collection[str] | None = None,
    ) -> str:
        """Return SQL of the rows where a column says so, checked; the others stay as they are.

        ``flag`` names that column of the source, ``kept`` are SQL, over the source, of the columns
        of the others as data files hold them; the columns ``same`` are alike in all rows. ``only``
        are the columns to give: the others are checked all the same.
        """
        made, given = self.rules.made, []
        # What is checked of columns that are not given is checked with the first that is.
        others: list[str] = []
        if only is not None:
            for number, column in enumerate(self.plan.columns):
                others += _cases(number, column) if column.field.name in same else ()
        for number, (column, stays) in enumerate(zip(self.plan.columns, kept, strict=True)):
            name = column.field.name
            if name in same and (only is not None or not column.checks):
                given.append(f"{stays} AS {_name(column)}")
                continue
            new = "NULL"
            if name not in made:
                new, others = _checked(number, column, others), []
            given.append(f"CASE WHEN {flag} THEN {new} ELSE {stays} END AS {_name(column)}")
        sql = f"SELECT {', '.join(given)}, {flag} FROM {self.source}"
        every = [
            f"CASE WHEN {flag} THEN {made[column.field.name]} ELSE {_name(column)} END "
            f"AS {_name(column)}"
            if column.field.name in made
            else _name(column)
            for column in self.plan.columns
        ]
        sql = f"SELECT {', '.join(every)}, {flag} FROM ({sql})"
        return f"SELECT {', '.join(self._ruled(f'{flag} AND ', only))} FROM ({sql})"

    def _ruled(self, where: str = "", only: Collection[str] | None = None) -> list[str]:
        """Return the columns, the first of which fails where a row breaks a rule."""
        first, *others = (
            _name(column)
            for column in self.plan.columns
            if only is None or column.field.name in only
        )
        if not self.rules.rules:
            return [first, *others]
        cases = " ".join(
            f"WHEN {where}({rule.broken}) THEN "
            f"error({literal(f'lakehouse-rule:{number}:')} || {_shown(rule)})"
            for number, rule in enumerate(self.rules.rules)
        )
        return [f"CASE {cases} ELSE {first} END AS {first}", *others]


def check_rules(cursor: Connection, query: Query) -> None:
    """Raise UnsupportedError, by feature, for a rule that DuckDB cannot evaluate on these types."""
    columns = ", ".join(
        f"CAST(NULL AS {to_duckdb(column.field.type, physical=True)}) AS {_name(column)}"
        for column in query.plan.columns
    )
    makes = [
        (f"column {name!r}", sql, "generatedColumns") for name, sql in query.rules.made.items()
    ]
    rules = [(rule.name, rule.broken, rule.feature) for rule in query.rules.rules]
    for name, sql, feature in (*makes, *rules):
        try:
            cursor.execute(f"SELECT {sql} FROM (SELECT {columns}) LIMIT 0")
        except DuckError as error:
            raise UnsupportedError(
                f"cannot write this table: {name} ({feature}) cannot be evaluated: {error}",
                next_step="Write it with an engine that evaluates this",
                features=(feature,),
            ) from error


def rejected(error: DuckError, cursor: Connection, source: Source, query: Query) -> LakehouseError:
    """Return the typed error of a query that failed: what was wrong, how often, for example."""
    text = str(error)
    if match := _RULE.search(text):
        return _broken(cursor, source, query, query.rules.rules[int(match[1])], match[2])
    if match := _CHECK.search(text):
        column = query.plan.columns[int(match[1])]
        return _unfit(cursor, source, column, column.checks[int(match[2])], match[3])
    if "name too long" in text.lower():
        # Files could stand outside of such a folder, but Polars takes the values from the path.
        return DataError(
            "a partition value is too long to name a folder (255 bytes, percent-encoded)",
            next_step="Partition by a shorter column, such as a code; nothing was written",
        )
    return translate(error, "write the rows")


def broken_rows(cursor: Connection, rows: str, rule: Rule) -> tuple[int, tuple[Any, ...]]:
    """Return how many rows of a query break a rule, and the columns it uses of a few of them."""
    where = f"FROM ({rows}) WHERE {rule.broken}"
    row = cursor.execute(f"SELECT count(*) {where}").fetchone()
    assert row is not None
    if not row[0]:
        return 0, ()
    found = cursor.execute(f"SELECT {_shown(rule)} {where} LIMIT {SAMPLES}").fetchall()
    return int(row[0]), tuple(json.loads(sample) for (sample,) in found)


def breach(rule: Rule, count: int | None, samples: tuple[Any, ...], next_step: str) -> DataError:
    """Return the error that names a rule, and the rows that break it."""
    shown = "; ".join(
        ", ".join(f"{name} = {'NULL' if value is None else value}" for name, value in row.items())
        for row in samples[:3]
    )
    example = f"; for example {shown}" if shown else ""
    return DataError(
        f"{rule.name} {rule.reason} is broken by {many(count)}{example}",
        next_step=next_step,
        constraint=rule.name,
        column=next(iter(rule.columns), None),
        count=count,
        samples=samples,
    )


def _broken(cursor: Connection, source: Source, query: Query, rule: Rule, sample: str) -> DataError:
    count, samples = None, (json.JSONDecoder().raw_decode(sample)[0],)
    if source.rescannable:
        try:
            count, samples = broken_rows(cursor, query.converted(), rule)
        except DuckError:
            count = None  # another row fails a check of its own: the one that is known is told
    return breach(rule, count, samples, "Correct these rows; nothing was written")


def _unfit(
    cursor: Connection, source: Source, column: ColumnPlan, check: Check, sample: str
) -> DataError:
    count: int | None = None
    samples: tuple[Any, ...] = (sample,)
    if source.rescannable:
        count, found = _diagnose(cursor, source, column, check)
        samples = tuple(found) or samples
    return DataError(
        f"column {column.field.name!r} {check.reason} in {many(count)}; "
        f"for example {', '.join(map(str, samples[:3]))}",
        next_step="Correct these rows, or convert the column yourself; nothing was written",
        column=column.field.name,
        count=count,
        samples=samples,
    )


def _diagnose(
    cursor: Connection, source: Source, column: ColumnPlan, check: Check
) -> tuple[int, list[Any]]:
    row = cursor.execute(
        f"SELECT count(*), list(shown)[:{SAMPLES}] FROM "
        f"(SELECT coalesce({_text(column)}, 'NULL') AS shown FROM {source.name} WHERE {check.sql})"
    ).fetchone()
    assert row is not None
    return int(row[0]), list(row[1] or ())


def _checked(number: int, column: ColumnPlan, others: Sequence[str] = ()) -> str:
    cases = [*others, *_cases(number, column)]
    return f"CASE {' '.join(cases)} ELSE {column.sql} END" if cases else column.sql


def _cases(number: int, column: ColumnPlan) -> list[str]:
    return [
        f"WHEN {check.sql} THEN error({_message(number, index, column)})"
        for index, check in enumerate(column.checks)
    ]


def _message(number: int, index: int, column: ColumnPlan) -> str:
    marker = literal(f"lakehouse-check:{number}:{index}:")
    return f"{marker} || coalesce({_text(column)}, 'NULL')"


def _text(column: ColumnPlan) -> str:
    assert column.source is not None
    return f"left(CAST({identifier(column.source)} AS VARCHAR), 100)"


def _shown(rule: Rule) -> str:
    values = ", ".join(
        f"{literal(name)}: left(CAST({sql} AS VARCHAR), 100)" for name, sql in rule.columns.items()
    )
    return f"CAST(to_json({{{values}}}) AS VARCHAR)" if values else "'{}'"


def _name(column: ColumnPlan) -> str:
    return identifier(column.field.physical_name)
