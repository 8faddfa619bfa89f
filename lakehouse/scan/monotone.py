"""Functions that keep the order of a column's values, so that bounds can go through them."""

from __future__ import annotations

import re

from sqlglot import exp

from lakehouse.delta.files.layout import Leaf
from lakehouse.delta.schema.fields import Decimal, Primitive

_WHOLE = ("byte", "short", "integer", "long")
_MONTHS = re.compile(r"mon|year|dec|cent|mill|q", re.IGNORECASE)
_TIMES = ("date", "timestamp_ntz")


def argument(node: exp.Expr) -> tuple[exp.Expr | None, tuple[exp.Expr, ...]]:
    """Return what may be a column in a function of one, and its constants; None for others."""
    node = node.unnest()
    if isinstance(node, exp.Year | exp.Floor | exp.Ceil) and len(_given(node)) == 1:
        return node.this, ()
    if isinstance(node, exp.TimestampTrunc | exp.DateTrunc) and len(_given(node)) == 2:
        return node.this, ()
    if isinstance(node, exp.Add | exp.Sub | exp.IntDiv):
        return node.this, (node.expression,)
    return None, ()


def keeps_order(node: exp.Expr, leaf: Leaf) -> bool:
    """Tell whether a larger value of the column never makes the function's smaller."""
    node = node.unnest()
    name = leaf.type.name if isinstance(leaf.type, Primitive) else ""
    match node:
        case exp.Year() | exp.TimestampTrunc() | exp.DateTrunc():
            return name in _TIMES
        case exp.Floor() | exp.Ceil():
            return name in ("float", "double") or isinstance(leaf.type, Decimal)
        case exp.IntDiv():
            divisor = node.expression.unnest()
            whole = isinstance(divisor, exp.Literal) and divisor.this.isdecimal()
            return name in _WHOLE and whole and int(divisor.this) > 0
        case exp.Add() | exp.Sub():
            # A month later, the 30th of January at noon comes after the 31st in the morning.
            if name in _TIMES and _MONTHS.search(node.expression.sql(dialect="duckdb")):
                return False
            return name in (*_WHOLE, *_TIMES) or isinstance(leaf.type, Decimal)
    return False


def _given(node: exp.Expr) -> list[str]:
    return [name for name, value in node.args.items() if value not in (None, [], False)]
