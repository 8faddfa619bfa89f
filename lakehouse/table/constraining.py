"""Add and drop CHECK constraints.

Source: Delta protocol, "CHECK Constraints". A constraint is kept as Spark SQL, so that every engine
enforces it; users may write DuckDB's SQL. What both do not read alike is refused.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

from catalog.errors import AlreadyExistsError, InputError, NotFoundError
from catalog.names import near_misses
from lakehouse import write as on_demand
from lakehouse.delta.features import CONSTRAINT
from lakehouse.delta.schema.fields import Struct
from lakehouse.delta.snapshot import Snapshot
from lakehouse.duck.errors import DuckError, translate
from lakehouse.scan.read import Scanner
from lakehouse.scan.report import TableRef
from lakehouse.table.redefining import Definition, redefine
from lakehouse.write.kinds import Untranslatable
from lakehouse.write.query import breach, broken_rows
from lakehouse.write.rules import Rule, check_rule, constraints

_NAME = re.compile(r"\w+")


def added(current: Snapshot, name: str, sql: str, *, scanner: Scanner) -> Definition:
    """Return a table's definition with one more constraint, which all its rows keep.

    ``sql`` is true for a row that keeps it; NULL breaks it, too. Whoever commits this has read all
    rows. Raises DataError with count and sample rows where rows break it, AlreadyExistsError for a
    name that is taken, and InputError for SQL that is not one expression over the columns which
    every engine reads alike.
    """
    stored = _name(name)
    present = constraints(current.properties)
    if stored in {other.lower() for other in present}:
        raise AlreadyExistsError(
            f"the table has a constraint {stored!r} already",
            next_step="Drop it first, or choose another name",
        )
    text = _spark(stored, sql, current.schema)
    _check_rows(current, check_rule(stored, text, logical(current.schema)), scanner)
    return redefine(current, configuration={**current.properties, CONSTRAINT + stored: text})


def stored_checks(checks: Mapping[str, str], schema: Struct) -> Mapping[str, str]:
    """Return constraints of a new table as its properties hold them."""
    found: dict[str, str] = {}
    for name, sql in checks.items():
        stored = CONSTRAINT + _name(name)
        if stored in found:
            raise AlreadyExistsError(f"two constraints are called {name!r}", next_step="Rename one")
        found[stored] = _spark(name, sql, schema)
    return found


def dropped(current: Snapshot, name: str, *, if_exists: bool) -> Definition:
    """Return a table's definition without a constraint; NotFoundError where there is none."""
    present = constraints(current.properties)
    found = next((other for other in present if other.lower() == name.lower()), None)
    if found is None and if_exists:
        return Definition(current.schema)
    if found is None:
        near = near_misses(name, present)
        known = f"The table has {', '.join(sorted(present)) or 'none'}"
        raise NotFoundError(
            f"the table has no constraint {name!r}",
            next_step=f"Did you mean {near[0]!r}?" if near else known,
            near=near,
        )
    settings = {k: v for k, v in current.properties.items() if k != CONSTRAINT + found}
    return redefine(current, configuration=settings)


def logical(schema: Struct) -> Struct:
    """Return a schema whose columns are called in queries what users call them."""
    return Struct(
        tuple(
            dataclasses.replace(
                field,
                metadata={},
                type=logical(field.type) if isinstance(field.type, Struct) else field.type,
            )
            for field in schema
        )
    )


def _name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{name!r} cannot name a constraint",
            next_step="Use letters, digits and underscores, such as positive_amount",
        )
    return name.lower()  # as Spark keeps it


def _spark(name: str, sql: str, schema: Struct) -> str:
    try:
        text = on_demand.to_spark(sql)
        found = on_demand.from_spark(text, schema)
        if found.kind not in ("boolean", "null"):
            raise Untranslatable(f"it is a {found.kind}, not true or false")
    except Untranslatable as error:
        raise InputError(
            f"constraint {name!r} cannot be {sql!r}: {error}",
            next_step="Use comparisons, arithmetic and plain functions over the table's columns",
        ) from error
    if not found.columns:
        raise InputError(
            f"constraint {name!r} names no column of the table",
            next_step="Write a condition on columns, such as amount > 0",
        )
    return text


def _check_rows(snapshot: Snapshot, rule: Rule, scanner: Scanner) -> None:
    ref = TableRef("lakehouse", "rows", "rows", snapshot)
    prepared = scanner.prepare("SELECT * FROM lakehouse.rows", [ref])
    try:
        count, samples = broken_rows(prepared.cursor, prepared.sql, rule)
    except DuckError as error:
        raise translate(error, "check the rows") from error
    finally:
        prepared.cursor.close()
    if count:
        step = "Correct these rows first; nothing was changed"
        raise breach(rule, count, samples, step)
