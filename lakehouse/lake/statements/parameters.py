"""Write parameters into a statement as literals, so that it is the same text each time it is tried."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from catalog.errors import InputError
from lakehouse.duck.sql import literal
from lakehouse.scan.asked import Params
from lakehouse.scan.tokens import Token, tokens

_LARGEST = 2**127 - 1  # beyond it, DuckDB reads a number as floating point


def inlined(sql: str, params: Params) -> str:
    """Return a statement with the values of its parameters: ``?``, ``$1`` or ``$name``.

    Raises InputError where values are missing, or left over, or of a type that SQL does not have.

    >>> inlined("INSERT INTO gold.t VALUES (?, $2, '?')", [1, "it's"])
    "INSERT INTO gold.t VALUES (1, 'it''s', '?')"
    """
    found = [token for token in tokens(sql) if token.kind == "parameter"]
    if not found and not params:
        return sql
    names = list(_names(found))
    values = _by_name(params)
    missing = [name for name in names if name not in values]
    if missing:
        raise InputError(
            f"parameter {missing[0]} has no value",
            next_step="Pass a sequence for ? and $1, or a mapping for $name",
        )
    if unused := [name for name in values if name not in names]:
        raise InputError(
            f"the statement has no parameter {unused[0]}",
            next_step="Pass as many values as it has parameters",
        )
    out, end = [], 0
    for token, name in zip(found, names, strict=True):
        out += [sql[end : token.start], value_sql(values[name])]
        end = token.end
    return "".join((*out, sql[end:]))


def value_sql(value: Any) -> str:
    """Return a Python value as SQL of the type that DuckDB gives it as a parameter.

    >>> value_sql([1, None]), value_sql(Decimal("1.50")), value_sql({"a": True})
    ('[1, NULL]', "CAST('1.50' AS DECIMAL(3,2))", "{'a': true}")
    """
    match value:
        case None:
            return "NULL"
        case bool():
            return "true" if value else "false"
        case int() if abs(value) <= _LARGEST:
            return f"{int(value)}" if value >= 0 else f"({int(value)})"
        case float():
            return f"CAST('{float(value)!r}' AS DOUBLE)"
        case str():
            return _text(value)
        case bytes() | bytearray() | memoryview():
            return f"from_hex('{bytes(value).hex()}')"
        case Decimal() if (decimal := _decimal(value)) is not None:
            return decimal
        case datetime() | timedelta() if getattr(value, "nanosecond", 0) or getattr(
            value, "nanoseconds", 0
        ):
            raise InputError(
                f"parameter {value} has nanoseconds", next_step="Round it to microseconds"
            )
        case datetime():
            type_ = "TIMESTAMP" if value.tzinfo is None else "TIMESTAMPTZ"
            return f"CAST('{value.isoformat(' ')}' AS {type_})"
        case date():
            return f"CAST('{value.isoformat()}' AS DATE)"
        case time() if value.tzinfo is None:
            return f"CAST('{value.isoformat()}' AS TIME)"
        case timedelta():
            return (
                f"(to_days({value.days}) + to_microseconds("
                f"{value.seconds * 1_000_000 + value.microseconds}))"
            )
        case uuid.UUID():
            return f"CAST('{value}' AS UUID)"
        case list() | tuple():
            return f"[{', '.join(map(value_sql, value))}]"
        case Mapping() if value and all(isinstance(key, str) for key in value):
            pairs = (f"{_text(key)}: {value_sql(item)}" for key, item in value.items())
            return "{" + ", ".join(pairs) + "}"
    if getattr(getattr(value, "dtype", None), "kind", "") in ("b", "i", "u", "f"):
        return value_sql(value.item())  # a scalar of NumPy's
    raise InputError(
        f"a parameter cannot be a {type(value).__name__} such as {value!r:.100}",
        next_step="Pass numbers of up to 38 digits, texts, bytes, dates and times, or lists and "
        "dicts of them",
    )


def _text(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{value!r} is not Unicode text", next_step="Correct it") from error
    # DuckDB's parser ends at this character.
    parts = [literal(part) for part in value.split("\0")]
    return parts[0] if len(parts) == 1 else f"({' || chr(0) || '.join(parts)})"


def _decimal(value: Decimal) -> str | None:
    if not value.is_finite():
        return f"CAST('{value}' AS DOUBLE)"
    _, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    scale = max(0, -exponent)
    precision = max(len(digits) + max(0, exponent), scale, 1)
    if precision > 38:
        return None
    return f"CAST('{value:f}' AS DECIMAL({precision},{scale}))"


def _names(found: Sequence[Token]) -> Iterator[str]:
    count = 0
    for token in found:
        if token.text == "?":
            count += 1
            yield str(count)
        else:
            yield token.text[1:]


def _by_name(params: Params) -> dict[str, Any]:
    if isinstance(params, Mapping):
        return {str(name): value for name, value in params.items()}
    return {str(position): value for position, value in enumerate(params or (), 1)}
