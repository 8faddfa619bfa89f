"""Partition values: their text in the log, and the SQL that types them.

Source: Delta protocol, "Partition Value Serialization". NULL and the empty string are one and
the same in the log, so the empty string cannot be a partition value.
"""

from __future__ import annotations

from lakehouse.delta.schema.fields import Primitive, Type
from lakehouse.delta.schema.types import to_duckdb

_NOT_FINITE = {"nan": "NaN", "-nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def to_log(text: str | None, type_: Type) -> str | None:
    """Return a partition value as the log stores it, from DuckDB's text of it.

    Timestamps with a zone are stored in UTC in ISO 8601 form, which no reader can misplace; what
    is no finite number as all engines read it (``NaN``, ``Infinity``).

    >>> to_log("2020-01-01 00:00:02.5+00", Primitive("timestamp"))
    '2020-01-01T00:00:02.500000Z'
    """
    if text is None or not isinstance(type_, Primitive):
        return text
    if type_.name == "timestamp":
        return f"{_micros(text.removesuffix('+00')).replace(' ', 'T', 1)}Z"
    if type_.name == "timestamp_ntz":
        return _micros(text)
    if type_.name in ("float", "double"):
        return _NOT_FINITE.get(text, text)
    return text


def typed_sql(expression: str, type_: Type) -> str:
    """Return the SQL that types a partition value's text; text that does not fit is NULL there.

    ``expression`` is SQL for the text. Compare ``expression IS NOT NULL`` with the result to find
    values that do not fit.
    """
    text = f"nullif({expression}, '')"
    if isinstance(type_, Primitive):
        if type_.name == "string":
            return text
        if type_.name == "binary":
            return f"encode({text})"
        if type_.name == "timestamp":
            zone = r"'([zZ]|[+-]\d{2}(:?\d{2})?)$'"
            return (
                f"TRY_CAST(CASE WHEN regexp_matches({text}, {zone}) THEN {text} "
                f"ELSE {text} || '+00' END AS TIMESTAMP WITH TIME ZONE)"
            )
    return f"TRY_CAST({text} AS {to_duckdb(type_)})"


def _micros(text: str) -> str:
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction:0<6}" if fraction else whole
