"""Say which values of a column a source's keys can meet, as a predicate: pure rules.

The predicate is true for every row that some key equals; with it the files are chosen that a
merge has to look into, and the files that others add meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence

from lakehouse.duck.describe import DuckType
from lakehouse.duck.sql import identifier, literal

# More values are told as ranges: to plan with them takes longer than to read a file or two.
MOST_VALUES = 1_000
MOST_RANGES = 64

_WHOLE = frozenset(
    ("tinyint", "smallint", "integer", "bigint", "hugeint", "utinyint", "usmallint", "uinteger",
     "ubigint", "uhugeint")
)  # fmt: skip
# Within a family, a value's cast to the type that both are compared in keeps the order.
_FAMILIES = (
    _WHOLE | {"decimal", "float", "double"},
    frozenset(("varchar",)),
    frozenset(("boolean",)),
    frozenset(("date", "timestamp", "timestamp_s", "timestamp_ms", "timestamp_ns")),
    frozenset(("timestamp with time zone",)),
)


def is_ordered_alike(target: DuckType, source: DuckType) -> bool:
    """Tell whether values of both types are compared in the order that each has by itself."""
    return any(target.name in family and source.name in family for family in _FAMILIES)


def one_of(column: str, type_: DuckType, values: Sequence[str], *, nulls: bool = False) -> str:
    """Return the predicate that a column is one of these values, given as DuckDB's text.

    ``nulls`` says that NULL is one of them, too.

    >>> one_of("id", DuckType("bigint", "BIGINT"), ["1", "5"])
    '("id" IN (1, 5))'
    """
    terms = []
    if values:
        terms.append(f"{identifier(column)} IN ({', '.join(_constant(v, type_) for v in values)})")
    return _any(column, terms, nulls=nulls)


def within(
    column: str, type_: DuckType, ranges: Sequence[tuple[str, str]], *, nulls: bool = False
) -> str:
    """Return the predicate that a column is in one of these closed ranges."""
    name = identifier(column)
    terms = [
        f"{name} BETWEEN {_constant(low, type_)} AND {_constant(high, type_)}"
        for low, high in ranges
    ]
    return _any(column, terms, nulls=nulls)


def every(terms: Sequence[str]) -> str:
    """Return the predicate that all of these are true.

    >>> every([]), every(["a", "b"])
    ('true', '(a) AND (b)')
    """
    return " AND ".join(f"({term}\n)" if "\n" in term else f"({term})" for term in terms) or "true"


def some(terms: Sequence[str]) -> str:
    """Return the predicate that one of these is true.

    >>> some([]), some(["a", "true"])
    ('false', 'true')
    """
    if "true" in terms:
        return "true"
    return " OR ".join(f"({term}\n)" if "\n" in term else f"({term})" for term in terms) or "false"


def _any(column: str, terms: list[str], *, nulls: bool) -> str:
    if nulls:
        terms = [*terms, f"{identifier(column)} IS NULL"]
    return f"({' OR '.join(terms)})" if terms else "false"


def _constant(text: str, type_: DuckType) -> str:
    # A whole number as it stands lets more be told from it.
    return text if type_.name in _WHOLE else f"CAST({literal(text)} AS {type_.text})"
