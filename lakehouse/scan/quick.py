"""Choose files by plain conditions over the index in memory, without asking DuckDB.

Comparing two columns of 20,000 bounds takes a tenth of a millisecond; a query that does the same,
and makes the list of files, takes two. Pure: what is kept is what `lakehouse.scan.plain` says.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
from collections.abc import Sequence
from typing import Any

from catalog import lazy
from lakehouse.delta.files.layout import Layout
from lakehouse.delta.schema.fields import Primitive, Type
from lakehouse.scan.bounds import BITS, Operator
from lakehouse.scan.join_keys import Keys
from lakehouse.scan.plain import CONSTANT, Condition, conditions

pa: Any = lazy.module("pyarrow")
pc: Any = lazy.module("pyarrow.compute")

# Types of partition columns whose values are compared here.
PARTS = ("byte", "short", "integer", "long", "string", "date")
_TEXTS = {"string": "", "date": "DATE", "timestamp_ntz": "TIMESTAMP", "timestamp": "TIMESTAMP WITH TIME ZONE"}  # fmt: skip
_MOST = 64  # values of an IN list
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d(?: \d\d:\d\d:\d\d(?:\.\d{1,6})?(?:[+-]\d\d(?::\d\d)?)?)?")


@dataclasses.dataclass(frozen=True, slots=True)
class Test:
    """Hold a comparison of a column with values of its own type; with one, unless it is ``=``.

    ``low`` and ``high`` are the columns of the index with its bounds, ``nulls`` that with its number
    of NULLs. A partition column has none of these: both bounds are its value.
    """

    low: str
    high: str
    nulls: str | None
    operator: Operator
    values: tuple[Any, ...]


def tests(filters: Sequence[str], layout: Layout) -> tuple[Test, ...] | None:
    """Return what filters, which all hold for a matching row, ask of columns; None if unsure."""
    known = conditions(filters, layout)
    if known is None:
        return None
    found = [_test(condition, layout) for condition in known]
    sure = tuple(test for test in found if test is not None)
    return sure if len(sure) == len(found) else None


def of_keys(keys: Sequence[Keys], layout: Layout) -> tuple[Test, ...] | None:
    """Return what keys of joins ask of columns; None if unsure."""
    if layout.partitions:
        return None
    asked: list[Condition] = []
    for one in keys:
        low, high = ((end,) if end is not None else () for end in (one.low, one.high))
        sides: tuple[tuple[Operator, tuple[str, ...]], ...] = (
            (">=", low), ("<=", high), ("=", one.values or ()),
        )  # fmt: skip
        asked += [Condition(one.column, operator, side) for operator, side in sides if side]
    found = [_test(condition, layout) for condition in asked]
    sure = tuple(test for test in found if test is not None)
    return sure if len(sure) == len(found) else None


def kept(typed: pa.Table, asked: Sequence[Test], columns: Sequence[str]) -> pa.Table:
    """Return some columns of the index, for the files that may hold a matching row."""
    mask = None
    for test in asked:
        # Bounds may be unknown; the value of a partition is, or is NULL, which no value compares to.
        part = pc.fill_null(_may(test, typed[test.low], typed[test.high]), test.nulls is not None)
        if test.nulls is not None:
            part = pc.and_(part, pc.fill_null(pc.less(typed[test.nulls], typed["rows"]), True))
        mask = part if mask is None else pc.and_(mask, part)
    found = typed.select(columns)
    return found if mask is None else found.filter(mask)


def _may(test: Test, low: Any, high: Any) -> Any:
    found = None
    for value in test.values:
        constant = pa.scalar(value, low.type)
        match test.operator:
            case "=":
                part = pc.and_(pc.less_equal(low, constant), pc.greater_equal(high, constant))
            case "!=":
                part = pc.invert(pc.and_(pc.equal(low, constant), pc.equal(high, constant)))
            case "<":
                part = pc.less(low, constant)
            case "<=":
                part = pc.less_equal(low, constant)
            case ">":
                part = pc.greater(high, constant)
            case ">=":
                part = pc.greater_equal(high, constant)
        found = part if found is None else pc.or_(found, part)
    return found


def _test(condition: Condition, layout: Layout) -> Test | None:
    field = layout.schema.fields[condition.column]
    if not 0 < len(condition.constants) <= _MOST:
        return None
    if field.name in layout.partition_columns:
        column = f"p{layout.partition_columns.index(field.name)}"
        columns: tuple[str, str, str | None] = column, column, None
        if not isinstance(field.type, Primitive) or field.type.name not in PARTS:
            return None
    else:
        leaf = next((leaf for leaf in layout.leaves if leaf.path == (field,)), None)
        if leaf is None or not leaf.has_bounds:
            return None
        columns = f"min{leaf.ordinal}", f"max{leaf.ordinal}", f"nulls{leaf.ordinal}"
    values = tuple(_value(constant, field.type) for constant in condition.constants)
    return None if None in values else Test(*columns, condition.operator, values)


def _value(constant: str, type_: Type) -> Any:
    """Return a constant as a value of a column's type, or None where it may be none."""
    if not isinstance(type_, Primitive):
        return None
    name = type_.name
    if name in BITS:
        value = int(constant) if re.fullmatch(r"-?\d{1,19}", constant) else None
        return value if value is not None and value.bit_length() < BITS[name] else None
    match = CONSTANT.fullmatch(constant)
    if match is None or match["text"] is None or (match["type"] or "") != _TEXTS.get(name):
        return None
    text = match["text"][1:-1].replace("''", "'")
    if name == "string":
        return text
    if not _MOMENT.fullmatch(text):
        return None
    try:
        if name == "date":
            return dt.date.fromisoformat(text)
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if (moment.tzinfo is not None) == (name == "timestamp") else None
