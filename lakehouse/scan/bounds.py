"""Interval logic: may a file hold a value that compares so with a constant.

Bounds and NULL counts are columns of the file index; where one is unknown, the file is kept.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Literal

from lakehouse.delta.files.layout import Leaf
from lakehouse.delta.files.typed import is_truncated
from lakehouse.delta.schema.fields import Primitive
from lakehouse.delta.schema.types import to_duckdb
from lakehouse.scan.may import May

BITS = {"byte": 8, "short": 16, "integer": 32, "long": 64}  # of whole numbers
_NUMBERS = tuple(map(Primitive, BITS))
_WHOLE = re.compile(r"-?\d+")
_GROUP = 32

Operator = Literal["=", "!=", "<", "<=", ">", ">="]


@dataclasses.dataclass(frozen=True, slots=True)
class Bounds:
    """Hold SQL for the bounds of a column, and for "some row is not NULL".

    ``leaf`` is the column where the bounds stand in the index as they are.
    """

    low: str
    high: str
    some: str
    leaf: Leaf | None = None


def bounds_of(leaf: Leaf) -> Bounds | None:
    """Return a column's bounds in the index; None where it has none."""
    if not leaf.has_bounds:
        return None
    number = leaf.ordinal
    high = f"max{number}"
    if leaf.is_float:
        # NaN is greater than all numbers, and bounds leave it out.
        high = f"(CASE WHEN nan{number} = 0 THEN {high} END)"
    return Bounds(f"min{number}", high, f"coalesce(nulls{number} < rows, true)", leaf)


def compare(bounds: Bounds, operator: Operator, constant: str) -> May:
    """Return which files may hold a value that compares so with a constant (SQL)."""
    low, high = bounds.low, bounds.high
    ranges = {
        "=": f"{low} <= {constant} AND {high} >= {constant}",
        "!=": f"NOT ({low} = {constant} AND {high} = {constant})",
        "<": f"{low} < {constant}",
        "<=": f"{low} <= {constant}",
        ">": f"{high} > {constant}",
        ">=": f"{high} >= {constant}",
    }
    needs: dict[str, str] = {}
    if bounds.leaf is not None and operator in ("=", "<", "<="):
        needs |= at_most(bounds.leaf, constant)
    if bounds.leaf is not None and operator in ("=", ">", ">="):
        needs |= at_least(bounds.leaf, constant)
    return May(f"(coalesce({ranges[operator]}, true) AND {bounds.some})", needs)


def one_of(bounds: Bounds, constants: Sequence[str]) -> May:
    """Return which files may hold a value that equals one of these constants (SQL).

    A long list of whole numbers is asked for in groups, so that a file meets few of them.
    """
    leaf, least, most = bounds.leaf, "", ""
    groups = [list(constants)]
    listed = "[{}]"
    if leaf is not None and leaf.type in _NUMBERS and all(map(_WHOLE.fullmatch, constants)):
        ordered = sorted(constants, key=int)
        groups = [ordered[start : start + _GROUP] for start in range(0, len(ordered), _GROUP)]
        least, most = ordered[0], ordered[-1]
        # One constant, for DuckDB takes 20 microseconds for each expression.
        type_ = "BIGINT" if _is_long(least) and _is_long(most) else "HUGEINT"
        listed = f"'[{{}}]'::{type_}[]"
    inside = f"coalesce(x >= {bounds.low} AND x <= {bounds.high}, true)"
    terms = []
    for group in groups:
        some = f"len(list_filter({listed.format(', '.join(group))}, lambda x: {inside})) > 0"
        if len(groups) > 1:
            near = f"{bounds.low} <= {group[-1]} AND {bounds.high} >= {group[0]}"
            some = f"(coalesce({near}, true) AND {some})"
        terms.append(some)
    some_inside = f"({' OR '.join(terms)})" if len(terms) > 1 else terms[0]
    needs: dict[str, str] = {}
    if leaf is not None:
        values = ", ".join(constants)
        needs = at_most(leaf, most or f"greatest({values})")
        needs |= at_least(leaf, least or f"least({values})")
    return May(f"({some_inside} AND {bounds.some})", needs)


def _is_long(number: str) -> bool:
    return int(number).bit_length() < 64


def is_null(leaf: Leaf, *, want: bool) -> May:
    """Return which files may hold a row in which a column is NULL (or, unless ``want``, is not)."""
    nulls = f"nulls{leaf.ordinal}"
    return May(f"coalesce({nulls} > 0, true)" if want else f"coalesce({nulls} < rows, true)")


def at_most(leaf: Leaf, constant: str) -> dict[str, str]:
    """Return what follows for a file with a value of at most ``constant`` (SQL)."""
    column = f"min{leaf.ordinal}"
    return {column: f"({column} IS NULL OR {column} <= {constant})"}


def at_least(leaf: Leaf, constant: str) -> dict[str, str]:
    """Return what follows for a file with a value of at least ``constant`` (SQL)."""
    if leaf.is_float:
        return {}  # NaN is greater than all numbers, and bounds leave it out
    column = f"max{leaf.ordinal}"
    if is_truncated(leaf):
        column = f"top{leaf.ordinal}"
        zero = "TIMESTAMPTZ" if leaf.type == Primitive("timestamp") else "TIMESTAMP"
        constant = (
            f"coalesce(TRY(CAST({constant} AS {to_duckdb(leaf.type)}) - INTERVAL 1 MILLISECOND), "
            f"'-infinity'::{zero})"
        )
    return {column: f"({column} IS NULL OR {column} >= {constant})"}
