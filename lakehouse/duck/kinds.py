"""Refuse Python values that Arrow would silently convert to one another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from catalog.errors import DataError

# Kinds of Python values that Arrow would convert to one another, losing something, if mixed.
_MIXED = (
    frozenset(("bool", "number")),
    frozenset(("date", "datetime with a zone")),
    frozenset(("date", "datetime without a zone")),
    frozenset(("datetime with a zone", "datetime without a zone")),
    frozenset(("str", "bytes")),
)


def check_kinds(name: str, values: Iterable[Any]) -> None:
    """Raise DataError where a column mixes kinds of values, at any depth.

    >>> check_kinds("at", [date(2024, 1, 1), None, date(2024, 1, 2)])
    """
    kinds: set[str] = set()
    inner: dict[str, list[Any]] = {}
    for value in values:
        if isinstance(value, Mapping):
            for key, child in value.items():
                inner.setdefault(f"{name}.{key}", []).append(child)
        elif isinstance(value, list | tuple):
            inner.setdefault(f"{name}.element", []).extend(value)
        elif kind := _kind(value):
            kinds.add(kind)
    for mixed in _MIXED:
        if mixed <= kinds:
            raise DataError(
                f"column {name!r} holds values of no one type ({', '.join(sorted(kinds))})",
                next_step="Make them one type",
                column=name,
            )
    for path, children in inner.items():
        check_kinds(path, children)


def _kind(value: Any) -> str:
    match value:
        case bool():
            return "bool"
        case int() | float() | Decimal():
            return "number"
        case datetime():
            return f"datetime {'without' if value.tzinfo is None else 'with'} a zone"
        case date():
            return "date"
        case str():
            return "str"
        case bytes() | bytearray():
            return "bytes"
        case _:
            return ""


def is_nan(value: Any) -> bool:
    """Tell whether a value is a float's NaN."""
    return isinstance(value, float) and value != value
