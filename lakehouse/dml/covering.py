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
# A gap between keys is left out where it is more than so many times as wide as the widest that
# there is no range left for: of keys that are scattered evenly, one range says as much as many.
_STANDS_OUT = 2

_WHOLE = frozenset(
    ("tinyint", "smallint", "integer", "bigint", "hugeint", "utinyint", "usmallint", "uinteger",
     "ubigint", "uhugeint")
)  # fmt: skip
_NUMBERS = _WHOLE | {"decimal", "float", "double"}
_TIMES = frozenset(("date", "timestamp", "timestamp_s", "timestamp_ms", "timestamp_ns"))
_MOMENTS = frozenset(("timestamp with time zone",))
# Within a family, a value's cast to the type that both are compared in keeps the order.
_FAMILIES = (_NUMBERS, frozenset(("varchar",)), frozenset(("boolean",)), _TIMES, _MOMENTS)


def is_ordered_alike(target: DuckType, source: DuckType) -> bool:
    """Tell whether values of both types are compared in the order that each has by itself."""
    return any(target.name in family and source.name in family for family in _FAMILIES)


def ranges(keys: str, type_: DuckType, *, most: int = MOST_RANGES) -> str:
    """Return SQL of closed ranges that cover all keys, in their order and as DuckDB's text.

    ``keys`` is SQL of rows ``k`` without NULL. Left out are the gaps that stand out: keys of a
    narrow range and new ones far from it are two ranges, where parts of as many keys each would
    have all that is between in one. Texts have no distances, and are parted so.
    """
    if type_.name in _NUMBERS:
        place = "CAST({} AS DOUBLE)"
    elif type_.name in _TIMES | _MOMENTS:
        place = "epoch({})"
    else:
        return (
            f"SELECT CAST(min(k) AS VARCHAR), CAST(max(k) AS VARCHAR) FROM (SELECT k, "
            f"ntile({most}) OVER (ORDER BY k) AS part FROM {keys}) GROUP BY part ORDER BY part"
        )
    return (
        f"WITH k AS (SELECT k, lag(k) OVER (ORDER BY k) AS before FROM {keys}), "
        f"gaps AS (SELECT k, before, {place.format('k')} - {place.format('before')} AS gap FROM k "
        f"WHERE k > before ORDER BY gap DESC NULLS LAST LIMIT {most}), "
        "starts AS (SELECT k, before FROM gaps "
        f"WHERE gap > {_STANDS_OUT} * (SELECT min(gap) FROM gaps) "
        "UNION ALL SELECT min(k), NULL FROM k) "
        "SELECT CAST(k AS VARCHAR), CAST(coalesce(lead(before) OVER (ORDER BY k), "
        "(SELECT max(k) FROM k)) AS VARCHAR) FROM starts ORDER BY k"
    )


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
