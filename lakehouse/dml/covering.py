"""Say which files a source's keys can meet: pure rules.

They keep every file with a row that some key equals; by them the files are chosen that a merge
has to look into, and those that others add meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence

from lakehouse.duck.describe import DuckType
from lakehouse.duck.sql import literal
from lakehouse.scan.bounds import Bounds, compare
from lakehouse.scan.may import May, Search, all_of, any_of

# More values are told as ranges: to look them up takes longer than to read a file or two.
MOST_VALUES = 10_000
MOST_RANGES = 64
# A gap between keys is left out where it is more than so many times as wide as the widest that
# there is no range left for: of keys that are scattered evenly, one range says as much as many.
_STANDS_OUT = 2

_WHOLE = frozenset(
    ("tinyint", "smallint", "integer", "bigint", "hugeint", "utinyint", "usmallint", "uinteger",
     "ubigint", "uhugeint")
)  # fmt: skip
_NUMBERS = _WHOLE | {"decimal", "float", "double"}
_FLOATING = frozenset(("float", "double"))
_TIMES = frozenset(("date", "timestamp", "timestamp_s", "timestamp_ms", "timestamp_ns"))
_MOMENTS = frozenset(("timestamp with time zone",))
# Within a family, a value's cast to the type that both are compared in keeps the order.
_FAMILIES = (
    _WHOLE | {"decimal"}, _WHOLE | _FLOATING, frozenset(("varchar",)), frozenset(("boolean",)),
    _TIMES, _MOMENTS,
)  # fmt: skip


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


def one_of(bounds: Bounds, type_: DuckType, place: str, ends: tuple[str, str], *, name: str) -> May:
    """Return which files may hold one of the values in a table, as `Search`; ``name`` is its column.

    ``ends`` are the least and the greatest value as DuckDB's text.
    """
    low, high = bounds.low, bounds.high
    near = f"coalesce({name} <= {high}, {low} IS NULL OR {high} IS NULL)"
    needs = within(bounds, type_, [ends]).needs
    return May(f"({near} AND {bounds.some})", needs, (Search(name, place, low),))


def within(bounds: Bounds, type_: DuckType, ranges: Sequence[tuple[str, str]]) -> May:
    """Return which files may hold a value in one of these ranges: closed, and in their order.

    They are given as DuckDB's text.
    """
    mays = [
        all_of(
            [
                compare(bounds, ">=", _constant(low, type_)),
                compare(bounds, "<=", _constant(high, type_)),
            ]
        )
        for low, high in ranges
    ]
    found = any_of(mays)
    if len(mays) < 2:
        return found
    return May(found.exact, within(bounds, type_, [(ranges[0][0], ranges[-1][1])]).needs)


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


def _constant(text: str, type_: DuckType) -> str:
    # A whole number as it stands lets more be told from it.
    return text if type_.name in _WHOLE else f"CAST({literal(text)} AS {type_.text})"
