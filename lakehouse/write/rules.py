"""Say which rules new rows of a table must keep, and which columns are made rather than given.

Source: Delta protocol, "CHECK Constraints", "Column Invariants", "Generated Columns", "Default
Columns". Pure: from a schema and properties to SQL over the columns as data files hold them. By
the protocol a constraint must be true for each row: a row for which it is NULL breaks it, as in
Spark and unlike in the SQL standard.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Mapping
from types import MappingProxyType

from catalog.errors import UnsupportedError
from lakehouse import write as on_demand
from lakehouse.delta.features import CONSTRAINT, DEFAULT, GENERATED, INVARIANTS
from lakehouse.delta.schema.fields import Field, Struct, fields_of
from lakehouse.delta.schema.types import to_duckdb
from lakehouse.duck.sql import identifier
from lakehouse.write.gate import partition_checks
from lakehouse.write.kinds import Translated, Untranslatable, kind_of


@dataclasses.dataclass(frozen=True, slots=True)
class Rule:
    """Name a rule, what breaks it (SQL that is true for such a row), and the columns to show.

    ``columns`` maps the names that users know to SQL; ``feature`` is the protocol's name.
    """

    name: str
    reason: str
    broken: str
    columns: Mapping[str, str]
    feature: str


@dataclasses.dataclass(frozen=True, slots=True)
class Rules:
    """Hold the rules of a write, and SQL for the columns, by name, that rows do not bring."""

    rules: tuple[Rule, ...] = ()
    made: Mapping[str, str] = dataclasses.field(default_factory=dict)


NO_RULES = Rules()


def rules_of(
    schema: Struct,
    configuration: Mapping[str, str],
    *,
    missing: Collection[str] = (),
    partition_columns: Collection[str] = (),
) -> Rules:
    """Return the rules for rows that lack the columns in ``missing``.

    Raises UnsupportedError, by the feature's name, for an expression that is not translated.
    """
    rules: list[Rule] = []
    made: dict[str, str] = {}
    for name, text in constraints(configuration).items():
        rules.append(_check(f"constraint {name!r}", text, schema, "checkConstraints"))
    for field in fields_of(schema):
        if (invariant := _invariant(field)) is not None:
            name = f"the invariant of {field.name!r}"
            rules.append(_check(name, invariant, schema, "invariants"))
    for field in schema:
        sql = _generated(field, schema)
        if field.name not in missing:
            if sql is not None:
                rules.append(_equal(field, sql, schema))
        elif (sql := sql or _default(field)) is not None:
            made[field.name] = sql
            rules += _made_rules(field, partitioned=field.name in partition_columns)
    return Rules(tuple(rules), MappingProxyType(made))


def constraints(configuration: Mapping[str, str]) -> Mapping[str, str]:
    """Return a table's CHECK constraints: name to Spark SQL."""
    return {
        key.removeprefix(CONSTRAINT): text
        for key, text in configuration.items()
        if key.startswith(CONSTRAINT)
    }


def check_rule(name: str, text: str, schema: Struct) -> Rule:
    """Return the rule of one CHECK constraint; UnsupportedError where it is not translated."""
    return _check(f"constraint {name!r}", text, schema, "checkConstraints")


def _check(name: str, text: str, schema: Struct, feature: str) -> Rule:
    found = _translated(name, text, schema, feature)
    if found.kind not in ("boolean", "null"):
        raise _unsupported(name, text, f"it is a {found.kind}, not true or false", feature)
    return Rule(name, f"({text})", f"({found.sql}) IS NOT TRUE", found.columns, feature)


def _invariant(field: Field) -> str | None:
    text = field.metadata.get(INVARIANTS)
    if text is None:
        return None
    try:
        value = json.loads(text) if isinstance(text, str) else text
        expression = value["expression"]["expression"]
    except (ValueError, KeyError, TypeError) as error:
        name = f"the invariant of {field.name!r}"
        raise _unsupported(
            name, str(text), "it is not of the protocol's form", "invariants"
        ) from error
    return str(expression)


def _generated(field: Field, schema: Struct) -> str | None:
    text = field.metadata.get(GENERATED)
    if text is None:
        return None
    name = f"generated column {field.name!r}"
    found = _translated(name, str(text), schema, "generatedColumns")
    return _converted(name, str(text), found, field, "generatedColumns")


def _default(field: Field) -> str | None:
    text = field.metadata.get(DEFAULT)
    if text is None:
        return None
    name = f"the default of column {field.name!r}"
    found = _translated(name, str(text), Struct(()), "allowColumnDefaults", volatile=True)
    return _converted(name, str(text), found, field, "allowColumnDefaults")


def _converted(name: str, text: str, found: Translated, field: Field, feature: str) -> str:
    wanted = kind_of(field.type)
    alike = found.kind in (wanted, "null") or (
        found.kind == "integer" and wanted in ("decimal", "double")
    )
    if not alike or wanted in ("other", "binary"):
        raise _unsupported(name, text, f"it makes a {found.kind} of a {wanted}", feature)
    return f"CAST({found.sql} AS {to_duckdb(field.type, physical=True)})"


def _equal(field: Field, sql: str, schema: Struct) -> Rule:
    text = str(field.metadata[GENERATED])
    own = identifier(field.physical_name)
    used = _translated("", text, schema, "generatedColumns").columns
    return Rule(
        f"generated column {field.name!r}",
        f"(must be {text})",
        f"{own} IS DISTINCT FROM {sql}",
        {field.name: own, **used},
        "generatedColumns",
    )


def _made_rules(field: Field, *, partitioned: bool) -> list[Rule]:
    own = identifier(field.physical_name)
    broken = [(f"{check.reason}", check.sql) for check in partition_checks(own, field.type)]
    broken = broken if partitioned else []
    if not field.nullable:
        broken.append(("is NULL in a NOT NULL column", f"{own} IS NULL"))
    feature = "generatedColumns" if GENERATED in field.metadata else "allowColumnDefaults"
    return [
        Rule(f"column {field.name!r}", f"({reason})", sql, {field.name: own}, feature)
        for reason, sql in broken
    ]


def _translated(
    name: str, text: str, schema: Struct, feature: str, *, volatile: bool = False
) -> Translated:
    try:
        return on_demand.from_spark(text, schema, volatile=volatile)
    except Untranslatable as error:
        raise _unsupported(name, text, str(error), feature) from error


def _unsupported(name: str, text: str, reason: str, feature: str) -> UnsupportedError:
    return UnsupportedError(
        f"cannot write this table: {name} is {text!r} ({feature}), and {reason}",
        next_step="Write it with an engine that evaluates this, or change the expression",
        features=(feature,),
    )
