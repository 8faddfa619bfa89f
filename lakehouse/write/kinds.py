"""The kinds of values in a table's expressions, and what may be computed and compared of them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Literal

from lakehouse.delta.schema.fields import Decimal, Primitive, Type
from lakehouse.duck.sql import literal

Kind = Literal[
    "boolean", "integer", "decimal", "double", "string", "date", "timestamp", "timestamp_ntz",
    "binary", "null", "other",
]  # fmt: skip
NUMBERS: tuple[Kind, ...] = ("integer", "decimal", "double")
TIMES: tuple[Kind, ...] = ("date", "timestamp", "timestamp_ntz")
_KINDS: Mapping[str, Kind] = {
    "byte": "integer", "short": "integer", "integer": "integer", "long": "integer",
    "float": "double", "double": "double", "string": "string", "boolean": "boolean",
    "binary": "binary", "date": "date", "timestamp": "timestamp", "timestamp_ntz": "timestamp_ntz",
}  # fmt: skip
_DATE = re.compile(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])")
_TIME = re.compile(_DATE.pattern + r"( ([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,6})?)?)?")


class Untranslatable(Exception):  # noqa: N818 (a reason, which callers turn into a typed error)
    """Say why an expression is not translated."""


@dataclasses.dataclass(frozen=True, slots=True)
class Translated:
    """Hold DuckDB SQL over the columns of data files, its kind, and the columns that it uses.

    ``columns`` maps the names that users know to SQL.
    """

    sql: str
    kind: Kind
    columns: Mapping[str, str] = dataclasses.field(default_factory=dict)


def kind_of(type_: Type) -> Kind:
    """Return the kind of a column's values."""
    if isinstance(type_, Decimal):
        return "decimal"
    return _KINDS.get(type_.name, "other") if isinstance(type_, Primitive) else "other"


def boolean(sql: str) -> Translated:
    """Return SQL that is true, false or NULL."""
    return Translated(sql, "boolean")


def constant(text: str, *, is_text: bool) -> Translated:
    """Return a constant: text, or a number of the kind that both engines give it."""
    if is_text:
        return Translated(literal(text), "string")
    if text.isdecimal():
        return Translated(text, "integer")
    return Translated(text, "double" if "e" in text.lower() else "decimal")


def moment(text: str, kind: str) -> Translated:
    """Return a constant date or time; Untranslatable for text that engines read differently."""
    if kind == "date" and _DATE.fullmatch(text):
        return Translated(f"CAST({literal(text)} AS DATE)", "date")
    if kind == "timestamp" and _TIME.fullmatch(text):
        return Translated(f"CAST({literal(text)} AS TIMESTAMPTZ)", "timestamp")
    if kind == "timestamp_ntz" and _TIME.fullmatch(text):
        return Translated(f"CAST({literal(text)} AS TIMESTAMP)", "timestamp_ntz")
    raise Untranslatable(f"{text!r} is not read as a {kind} by every engine")


def unquoted(sql: str) -> str:
    """Return the text of a constant; Untranslatable for anything else."""
    if not re.fullmatch(r"'(?:[^']|'')*'", sql):
        raise Untranslatable("it compares a time with text that is not constant")
    return sql[1:-1].replace("''", "'")


def widest(kinds: Sequence[Kind]) -> Kind:
    """Return the kind that a computation of these gives; Untranslatable for what is no number."""
    if not set(kinds) <= {*NUMBERS, "null"}:
        raise Untranslatable(f"it computes with {' and '.join(sorted(kinds))}")
    return next((kind for kind in reversed(NUMBERS) if kind in kinds), "null")


def shared(values: Sequence[Translated]) -> Kind:
    """Return the kind of a choice between values that can be compared."""
    kinds: list[Kind] = [value.kind for value in values if value.kind != "null"]
    if not kinds:
        return "null"
    if set(kinds) <= set(NUMBERS):
        return widest(kinds)
    return kinds[0] if len(set(kinds)) == 1 else "timestamp"
