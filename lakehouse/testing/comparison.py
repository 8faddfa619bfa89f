"""Compare rows of several engines exactly: NaN equals NaN, -0.0 is not 0.0, order is nothing."""

from __future__ import annotations

import datetime as dt
import decimal
from typing import Any

import pyarrow as pa


def canonical(value: Any) -> Any:
    """Return a value as text and tuples that are equal just where the values are the same.

    Maps may arrive as pairs or as structs of ``key`` and ``value``, in any order; instants in any
    zone.

    >>> canonical(-0.0) == canonical(0.0), canonical(float("nan")) == canonical(float("nan"))
    (False, True)
    """
    match value:
        case None:
            return "null"
        case bool():
            return f"bool {value}"
        case int():
            return f"int {value}"
        case float():
            return f"float {value!r}"
        case decimal.Decimal():
            return f"decimal {value:f}"
        case str():
            return f"str {value}"
        case bytes():
            return f"bytes {value.hex()}"
        case dt.datetime():
            utc = value if value.tzinfo is None else value.astimezone(dt.UTC)
            return f"time {utc.isoformat()}"
        case dt.date():
            return f"date {value.isoformat()}"
        case dict():
            return ("struct", *((name, canonical(child)) for name, child in value.items()))
        case list() | tuple():
            return _sequence(value)
    raise TypeError(f"cannot compare a {type(value).__name__}")


def canonical_rows(table: pa.Table) -> list[tuple[Any, ...]]:
    """Return a table's rows in a form and an order that equal rows share.

    >>> canonical_rows(pa.table({"a": [2, 1]})) == canonical_rows(pa.table({"a": [1, 2]}))
    True
    """
    columns = [column.to_pylist() for column in table.columns]
    found = [tuple(canonical(column[row]) for column in columns) for row in range(table.num_rows)]
    return sorted(found, key=repr)


def _sequence(items: list[Any] | tuple[Any, ...]) -> Any:
    if items and all(isinstance(item, tuple) and len(item) == 2 for item in items):
        items = [{"key": key, "value": value} for key, value in items]
    if items and all(isinstance(item, dict) and list(item) == ["key", "value"] for item in items):
        return ("map", *sorted((canonical(item) for item in items), key=repr))
    return ("list", *(canonical(item) for item in items))
