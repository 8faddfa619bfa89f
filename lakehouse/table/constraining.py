"""Add and drop CHECK constraints.

Source: Delta protocol, "CHECK Constraints". A constraint is kept as Spark SQL, so that every engine
enforces it; users may write DuckDB's SQL. What both do not read alike is refused.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from catalog.errors import AlreadyExistsError, InputError, NotFoundError
from catalog.names import near_misses
from lakehouse.delta import actions as act
from lakehouse.delta.commit import Change
from lakehouse.delta.conflict import Reads
from lakehouse.delta.features import CONSTRAINT
from lakehouse.delta.protocol import check_writable, upgraded
from lakehouse.delta.schema import Struct
from lakehouse.delta.snapshot import Snapshot
from lakehouse.duck.engine import Engine
from lakehouse.duck.errors import DuckError, translate
from lakehouse.scan.read import Scanner
from lakehouse.scan.report import TableRef
from lakehouse.table.idempotency import Key, written_once
from lakehouse.table.reports import WriteReport
from lakehouse.write.expressions import from_spark, to_spark
from lakehouse.write.kinds import Untranslatable
from lakehouse.write.query import breach, broken_rows
from lakehouse.write.rules import Rule, check_rule, constraints

_NAME = re.compile(r"\w+")


def add_constraint(
    snapshot: Snapshot,
    name: str,
    sql: str,
    *,
    engine: Engine,
    scanner: Scanner,
    metadata: Mapping[str, Any] | None = None,
    key: Key | None = None,
) -> tuple[Snapshot | None, WriteReport]:
    """Add a constraint that each row must keep from now on; the rows there are are checked first.

    ``sql`` is true for a row that keeps it; NULL breaks it, too. Raises DataError with count and
    sample rows where rows break it, AlreadyExistsError for a name that is taken, and InputError
    for SQL that is not one expression over the columns which every engine reads alike.
    """
    stored = _name(name)

    def plan(current: Snapshot) -> Change:
        present = constraints(current.properties)
        if stored in {other.lower() for other in present}:
            raise AlreadyExistsError(
                f"the table has a constraint {stored!r} already",
                next_step="Drop it first, or choose another name",
            )
        text = _spark(stored, sql, current.schema)
        _check_rows(current, check_rule(stored, text, logical(current.schema)), scanner)
        configuration = {**current.properties, CONSTRAINT + stored: text}
        return Change(
            "ADD CONSTRAINT",
            _described(current, configuration),
            reads=Reads(everything=True),
            parameters={"name": stored, "expr": text},
        )

    return written_once(
        snapshot, plan, key=key, operation="add constraint", engine=engine, metadata=metadata
    )


def drop_constraint(
    snapshot: Snapshot,
    name: str,
    *,
    engine: Engine,
    if_exists: bool = False,
    metadata: Mapping[str, Any] | None = None,
    key: Key | None = None,
) -> tuple[Snapshot | None, WriteReport]:
    """Drop a constraint; NotFoundError where there is none, unless ``if_exists``."""

    def plan(current: Snapshot) -> Change | None:
        present = constraints(current.properties)
        found = next((other for other in present if other.lower() == name.lower()), None)
        if found is None and if_exists:
            return None
        if found is None:
            near = near_misses(name, present)
            known = f"The table has {', '.join(sorted(present)) or 'none'}"
            raise NotFoundError(
                f"the table has no constraint {name!r}",
                next_step=f"Did you mean {near[0]!r}?" if near else known,
                near=near,
            )
        configuration = {
            other: text for other, text in current.properties.items() if other != CONSTRAINT + found
        }
        return Change(
            "DROP CONSTRAINT",
            _described(current, configuration),
            parameters={"name": found, "expr": present[found], "existed": True},
        )

    return written_once(
        snapshot, plan, key=key, operation="drop constraint", engine=engine, metadata=metadata
    )


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
        text = to_spark(sql)
        found = from_spark(text, schema)
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


def _described(
    snapshot: Snapshot, configuration: Mapping[str, str]
) -> tuple[act.Protocol | act.Metadata, ...]:
    """Return the actions that give a table other properties, and the protocol they need."""
    protocol = upgraded(snapshot.protocol, snapshot.schema, configuration)
    check_writable(protocol, configuration, snapshot.schema)
    metadata = dataclasses.replace(
        snapshot.metadata, configuration=MappingProxyType(dict(configuration))
    )
    return (metadata,) if protocol == snapshot.protocol else (protocol, metadata)
