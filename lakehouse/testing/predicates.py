"""Draw SQL predicates over the rows of a table, most of them selective."""

from __future__ import annotations

import datetime as dt
import decimal
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from lakehouse.testing.rows import values

_OPERATORS = ("=", "<>", "<", "<=", ">", ">=")


def predicates(table: pa.Table, *, prefix: str = "") -> st.SearchStrategy[str]:
    """Draw predicates in DuckDB's SQL over the columns of ``table``, and their struct fields.

    Half of the constants are values of the table. ``prefix`` stands before column names, such as
    ``a.``. No predicate can fail for a value of its column's type.
    """
    terms = [
        _terms(expression, type_, [value for value in found if value is not None])
        for expression, type_, found in _leaves(table, prefix)
    ]
    anything = st.sampled_from(("true", "false", "NULL::BOOLEAN"))
    return st.recursive(st.one_of(*terms, anything), _combined, max_leaves=4)


def sql_literal(value: Any, type_: pa.DataType) -> str:
    """Return a value as a constant in DuckDB's SQL.

    >>> sql_literal("it's", pa.string())
    "'it''s'"
    """
    match value:
        case None:
            return "NULL"
        case bool():
            return str(value).lower()
        case int():
            return str(value)
        case float():
            return f"CAST('{value!r}' AS {'FLOAT' if type_ == pa.float32() else 'DOUBLE'})"
        case decimal.Decimal():
            return f"CAST('{value:f}' AS DECIMAL({type_.precision},{type_.scale}))"
        case bytes():
            return f"from_hex('{value.hex()}')"
        case str():
            return " || chr(0) || ".join(_quoted(part) for part in value.split("\0"))
        case dt.datetime():
            kind = "TIMESTAMP" if value.tzinfo is None else "TIMESTAMPTZ"
            return f"{kind} '{value.isoformat(sep=' ')}'"
        case dt.date():
            return f"DATE '{value.isoformat()}'"
    raise TypeError(f"no constant is known for {type_}")


def _leaves(table: pa.Table, prefix: str) -> Iterator[tuple[str, pa.DataType, list[Any]]]:
    for field, column in zip(table.schema, table.columns, strict=True):
        yield from _leaf(f"{prefix}{_name(field.name)}", field.type, column.to_pylist())


def _leaf(
    expression: str, type_: pa.DataType, found: list[Any]
) -> Iterator[tuple[str, pa.DataType, list[Any]]]:
    if not pa.types.is_struct(type_):
        yield expression, type_, found
        return
    for child in type_.fields:
        inner = [None if value is None else value[child.name] for value in found]
        yield from _leaf(f"({expression}).{_name(child.name)}", child.type, inner)


def _terms(column: str, type_: pa.DataType, found: list[Any]) -> st.SearchStrategy[str]:
    null = st.sampled_from((f"{column} IS NULL", f"{column} IS NOT NULL"))
    if pa.types.is_nested(type_):
        return null
    drawn = st.sampled_from(found) | values(type_) if found else values(type_)
    constants = drawn.map(lambda value: f"({sql_literal(value, type_)})")
    operators = st.sampled_from(_OPERATORS)
    several = st.lists(constants, min_size=1, max_size=3).map(", ".join)
    return st.one_of(
        null,
        st.builds(lambda op, c: f"{column} {op} {c}", operators, constants),
        st.builds(lambda op, c: f"{c} {op} {column}", operators, constants),
        st.builds(lambda a, b: f"{column} BETWEEN {a} AND {b}", constants, constants),
        st.builds(lambda items: f"{column} IN ({items})", several),
        st.builds(lambda items: f"{column} NOT IN ({items}, NULL)", several),
        constants.map(lambda c: f"{column} IS DISTINCT FROM {c}"),
        constants.map(lambda c: f"{column} IS NOT DISTINCT FROM {c}"),
        constants.map(lambda c: f"coalesce({column}, {c}) = {c}"),
        *_by_type(column, type_, drawn, constants),
    )


def _by_type(
    column: str,
    type_: pa.DataType,
    drawn: st.SearchStrategy[Any],
    constants: st.SearchStrategy[str],
) -> Iterator[st.SearchStrategy[str]]:
    is_, operators = pa.types, st.sampled_from(_OPERATORS)
    if is_.is_string(type_):
        prefixes = drawn.map(lambda text: text.split("\0")[0][:5])
        yield prefixes.map(lambda text: f"{column} LIKE {_quoted(text + '%')}")
        yield prefixes.map(lambda text: f"{column} ILIKE {_quoted(text + '%')}")
        yield prefixes.map(lambda text: f"starts_with({column}, {_quoted(text)})")
        yield constants.map(lambda c: f"lower({column}) = lower({c})")
        yield constants.map(lambda c: f"length({column}) >= length({c})")
        yield constants.map(lambda c: f"{column} || 'x' = {c} || 'x'")
    elif is_.is_integer(type_):
        yield constants.map(lambda c: f"CAST({column} AS HUGEINT) + 1 > {c}")
        yield st.builds(lambda op, c: f"CAST({column} AS DOUBLE) {op} {c}", operators, constants)
        yield st.builds(lambda op, c: f"{column} {op} {c} + 0.5", operators, constants)
        yield st.just(f"{column} % 2 = 0")
    elif is_.is_floating(type_):
        yield st.just(f"isnan({column})")
        yield st.builds(lambda op, c: f"{column} {op} {c} / 3", operators, constants)
        yield st.builds(lambda op: f"{column} {op} 0.1", operators)
    elif is_.is_date(type_) or is_.is_timestamp(type_):
        yield constants.map(lambda c: f"date_trunc('month', {column}) = date_trunc('month', {c})")
        yield constants.map(lambda c: f"date_trunc('day', {column}) = date_trunc('day', {c})")
        yield st.builds(
            lambda op, c: f"CAST({column} AS DATE) {op} CAST({c} AS DATE)", operators, constants
        )
        yield constants.map(lambda c: f"year({column}) = year({c})")
    elif is_.is_boolean(type_):
        yield st.sampled_from((column, f"NOT {column}", f"{column} IS NOT TRUE"))


def _combined(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds(lambda a, b: f"(({a}) AND ({b}))", inner, inner),
        st.builds(lambda a, b: f"(({a}) OR ({b}))", inner, inner),
        inner.map(lambda a: f"(NOT ({a}))"),
        inner.map(lambda a: f"(({a}) IS TRUE)"),
        st.builds(lambda a, b, c: f"(CASE WHEN {a} THEN {b} ELSE {c} END)", inner, inner, inner),
    )


def _name(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
