"""Read off a profile which keys the small sides of joins have, and what follows for files.

A query is profiled over a stand-in, empty, of its large table, while its other tables are real
(`lakehouse.scan.probe`). DuckDB then builds the small side of each join, and shows the filter
that its keys put on the stand-in's scan: it does so just where rows that do not match cannot
matter, whatever the join. Pure: from that profile to conditions on the file index. Keys count
only where nothing but the small sides' rows decides them, the same each time they are read.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from lakehouse.delta.files.layout import Layout, Leaf
from lakehouse.delta.schema.types import to_duckdb
from lakehouse.scan.bounds import Operator, bounds_of, compare
from lakehouse.scan.may import EVERY, May, all_of
from lakehouse.scan.plain import COLUMN
from lakehouse.scan.plan import split_filters

Node = Mapping[str, Any]

# More values than these are not compared one by one in SQL, see `Keys.values`.
FEW = 16
_CONSTANT = (
    r"(?:-?\d+(?:\.\d+)?(?:e[+-]?\d+)?|true|false"
    r"|'[^']*(?:''[^']*)*'(?:::[A-Z][A-Z ]*(?:\(\d+,\s*\d+\))?)?)"
)
_CONDITION = re.compile(
    rf"{COLUMN.pattern}(?:\ ?(?P<operator>[<>]=?|=)\ ?(?P<constant>{_CONSTANT})"
    rf"|\ IN\ \((?P<list>{_CONSTANT}(?:,\ {_CONSTANT})*)\))",
)
_ONE = re.compile(_CONSTANT)
# What follows is a filter by hashes, and names in it are the user's.
_HASHED = re.compile(rf"{COLUMN.pattern} IN \w*F\(")
_JOINED = re.compile(r"(?:[() \0]|optional:|AND)*")

# Operators that give the same rows each time; how often a row is there, and where, does not count.
_REPEATABLE = frozenset(
    (
        "TABLE_SCAN", "SEQ_SCAN", "FILTER", "PROJECTION", "HASH_JOIN", "NESTED_LOOP_JOIN",
        "PIECEWISE_MERGE_JOIN", "IE_JOIN", "CROSS_PRODUCT", "BLOCKWISE_NL_JOIN", "HASH_GROUP_BY",
        "PERFECT_HASH_GROUP_BY", "UNGROUPED_AGGREGATE", "UNION", "COLUMN_DATA_SCAN",
        "DUMMY_SCAN", "EMPTY_RESULT", "ORDER_BY", "CTE_SCAN", "UNNEST",
    )
)  # fmt: skip
_AGGREGATE = re.compile(r"(?:min|max|count|bool_and|bool_or)\((?:DISTINCT )?#\d+\)|count_star\(\)")
# A subquery that must give one row, and is an error if it gives more.
_SINGLE = ['"first"(#0)', "count_star()"]
# Tables of deleted rows, which our views read.
_OURS = re.compile(r"(?:^|\.)dv_[0-9a-f]{20}$")
_FUNCTIONS = frozenset(("RANGE", "GENERATE_SERIES", "UNNEST", "READ_PARQUET"))


@dataclasses.dataclass(frozen=True, slots=True)
class Keys:
    """Hold what a matching row's column must be; constants are SQL, None is unbounded.

    ``values``, where they are known, are all that it can be.
    """

    column: int
    low: str | None = None
    high: str | None = None
    values: tuple[str, ...] | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Profile:
    """Hold the keys of each scan of a stand-in, by its name, and what else was read.

    ``parquet`` counts scans of Parquet files, ``tables`` says that a table of DuckDB's own was
    read.
    """

    scans: Mapping[str, tuple[tuple[Keys, ...], ...]]
    parquet: int
    tables: bool


def profiled(text: str, stand_ins: frozenset[str]) -> Profile:
    """Return what ``EXPLAIN (ANALYZE, FORMAT json)`` says of the scans of stand-ins."""
    found = json.loads(text)
    root = found[0] if isinstance(found, list) else found
    nodes = list(_walk(root))
    shared = {
        str(_info(node).get("Table Index")): node for node in nodes if _type(node).endswith("CTE")
    }
    scans: dict[str, list[tuple[Keys, ...]]] = {}
    for path in _paths(root, ()):
        name = _stand_in(path[-1], stand_ins)
        if name is not None:
            decided = _is_decided(path, stand_ins, shared)
            scans.setdefault(name, []).append(_keys(path[-1]) if decided else ())
    return Profile(
        {name: tuple(keys) for name, keys in scans.items()},
        sum(_info(node).get("Function") == "READ_PARQUET" for node in nodes),
        any(_is_foreign(node, stand_ins) for node in nodes),
    )


def may_match(keys: Keys, layout: Layout) -> May:
    """Return which files may hold a row whose column is one of the keys.

    Of more than FEW values only the smallest and largest count here.
    """
    field = layout.schema.fields[keys.column]
    if field.name in layout.partition_columns:
        return _of_partition(keys, layout.partition_columns.index(field.name))
    leaf = leaf_of(keys, layout)
    bounds = None if leaf is None else bounds_of(leaf)
    if leaf is None or bounds is None:
        return EVERY
    parts = []
    for operator, constant in ((">=", keys.low), ("<=", keys.high)):
        if constant is not None:
            parts.append(compare(bounds, cast(Operator, operator), typed(constant, leaf)))
    if keys.values is not None:
        values = ", ".join(typed(value, leaf) for value in keys.values)
        if len(keys.values) <= FEW:
            inside = f"coalesce(x >= {bounds.low} AND x <= {bounds.high}, true)"
            some = f"len(list_filter([{values}], lambda x: {inside})) > 0"
            parts.append(May(f"({some} AND {bounds.some})"))
        parts.append(compare(bounds, ">=", f"least({values})"))
        parts.append(compare(bounds, "<=", f"greatest({values})"))
    return all_of(parts)


def leaf_of(keys: Keys, layout: Layout) -> Leaf | None:
    """Return the column of statistics that keys are about."""
    field = layout.schema.fields[keys.column]
    return next((leaf for leaf in layout.leaves if leaf.path == (field,)), None)


def typed(constant: str, leaf: Leaf) -> str:
    """Return a constant in a column's type; a profile shows a FLOAT as it would a DOUBLE."""
    if not leaf.is_float:
        return constant
    text = constant if constant.startswith("'") else f"'{constant}'"
    return f"CAST({text} AS {to_duckdb(leaf.type)})"


def _of_partition(keys: Keys, ordinal: int) -> May:
    column = f"p{ordinal}"
    conditions = []
    if keys.low is not None:
        conditions.append(f"{column} >= {keys.low}")
    if keys.high is not None:
        conditions.append(f"{column} <= {keys.high}")
    if keys.values is not None:
        conditions.append(f"{column} IN ({', '.join(keys.values)})")
    if not conditions:
        return EVERY
    sql = " AND ".join(conditions)
    return May(f"coalesce({sql}, false)", {column: f"({sql})"})


def _keys(scan: Node) -> tuple[Keys, ...]:
    found = []
    shown = _info(scan).get("Dynamic Filters")
    for entry in split_filters(shown) if shown else ():
        found += _read(entry)
    return tuple(found)


def _read(entry: str) -> list[Keys]:
    """Return the keys in one column's filter; none where it is not understood as a whole."""
    found: list[Keys] = []
    rest, end = [], 0
    hashed = _HASHED.search(_CONDITION.sub(lambda match: "\0" * len(match[0]), entry))
    stop = hashed.start() if hashed else len(entry)
    for match in _CONDITION.finditer(entry, 0, stop):
        rest += [entry[end : match.start()], "\0"]
        end = match.end()
        column, constant = int(match[1]), match["constant"]
        if match["list"] is not None:
            found.append(Keys(column, values=tuple(_ONE.findall(match["list"]))))
        elif match["operator"] == "=":
            found.append(Keys(column, values=(constant,)))
        elif match["operator"] in (">", ">="):
            found.append(Keys(column, low=constant))
        else:
            found.append(Keys(column, high=constant))
    rest.append(entry[end:stop])
    return found if _JOINED.fullmatch("".join(rest)) else []


def _is_decided(
    path: Sequence[Node], stand_ins: frozenset[str], shared: Mapping[str, Node]
) -> bool:
    """Tell whether all joins above a scan have other sides that are the same each time."""
    inside = False
    for above, below in itertools.pairwise(path):
        kind, children = _type(above), list(_children(above))
        if inside and (kind == "TOP_N" or "LIMIT" in kind):
            return False  # it chooses among all rows; DuckDB 1.5 forgets that
        inside = inside or "JOIN" in kind
        if "CTE" in kind and (kind.startswith("REC") or children[0] is below):
            return False  # others read this scan's rows, too
        if len(children) < 2 or kind == "UNION" or kind.endswith("CTE"):
            continue
        others = [child for child in children if child is not below]
        if not all(_is_repeatable(other, stand_ins, shared) for other in others):
            return False
    return True


def _is_repeatable(node: Node, stand_ins: frozenset[str], shared: Mapping[str, Node]) -> bool:
    for inner in _walk(node):
        info = _info(inner)
        if _type(inner) not in _REPEATABLE or _stand_in(inner, stand_ins) is not None:
            return False
        if "Function" in info and info["Function"] not in _FUNCTIONS:
            return False  # a file, which may be another the next time
        aggregates = info.get("Aggregates") or []
        aggregates = [aggregates] if isinstance(aggregates, str) else aggregates
        if aggregates != _SINGLE and not all(map(_AGGREGATE.fullmatch, aggregates)):
            return False
        if _type(inner) == "CTE_SCAN":
            cte = shared.get(str(info.get("CTE Index")))
            first = next(_children(cte), None) if cte is not None else None
            if first is None or not _is_repeatable(first, stand_ins, shared):
                return False
    return True


def _stand_in(node: Node, stand_ins: frozenset[str]) -> str | None:
    table = _info(node).get("Table")
    name = table.rsplit(".", 1)[-1] if isinstance(table, str) else ""
    return name if name in stand_ins else None


def _is_foreign(node: Node, stand_ins: frozenset[str]) -> bool:
    table = _info(node).get("Table")
    ours = isinstance(table, str) and _OURS.search(table) is not None
    return table is not None and not ours and _stand_in(node, stand_ins) is None


def _paths(node: Node, above: tuple[Node, ...]) -> Iterator[tuple[Node, ...]]:
    path = (*above, node)
    yield path
    for child in _children(node):
        yield from _paths(child, path)


def _walk(node: Node) -> Iterator[Node]:
    yield node
    for child in _children(node):
        yield from _walk(child)


def _children(node: Node) -> Iterator[Node]:
    """Give a node's children; DuckDB 2 and 1.5 differ in the root."""
    yield from node.get("children") or node.get("operator") or ()


def _type(node: Node) -> str:
    return str(node.get("operator_type") or node.get("type") or node.get("name") or "").strip()


def _info(node: Node) -> Mapping[str, Any]:
    return cast(Mapping[str, Any], node.get("extra_info") or {})
