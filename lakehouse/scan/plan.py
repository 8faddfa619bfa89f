"""Ask DuckDB which filters and columns of a query reach which table.

The query is explained over empty stand-ins of the same names and types, whose columns are named
``c<i>_<key>``: no name or alias of a user's can be mistaken for them, or for syntax. Constants
arrive folded, and CTEs, views and subqueries dissolved.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from lakehouse.scan.aliases import called

_COLUMN = re.compile(r"\bc(\d+)_[0-9a-f]{20}\b")
_LONG = 50_000  # a plan that is not remembered
# Known only while the query runs; and what stands around it, outside of strings.
_DYNAMIC = re.compile(r"Dynamic Filter \(c(\d+)_[0-9a-f]{20}\)")
_NARROWING = re.compile(
    rf"'(?:[^']|'')*'| AND (?P<narrowing>optional: (?:{_DYNAMIC.pattern}"
    rf"|\(\({_COLUMN.pattern} IS NULL\) OR {_DYNAMIC.pattern}\)"
    rf"|{_COLUMN.pattern} IS NULL OR {_DYNAMIC.pattern}))|(?P<optional>optional: )"
)


@dataclasses.dataclass(frozen=True, slots=True)
class Order:
    """Say that a query wants the first ``rows`` by a column, NULLs last, and only these.

    ``mixed`` says that further columns are sorted by in the other direction, if names are to be
    believed.
    """

    column: int
    descending: bool
    rows: int
    mixed: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Reach:
    """Hold one scan's filters, which all hold for a matching row, and the columns it reads.

    ``order`` is what of its rows is wanted, once they are filtered; None for all. ``above`` are
    those of the filters that DuckDB left above the scan, in which columns may have other names.
    """

    filters: tuple[str, ...]
    columns: frozenset[int]
    above: frozenset[str] = frozenset()
    order: Order | None = None


def reaches(plan: str) -> Mapping[str, Sequence[Reach]]:
    """Return the scans of each stand-in, by its name, from ``EXPLAIN (FORMAT json)``."""
    return _remembered(plan) if len(plan) <= _LONG else _reaches(plan)


@functools.lru_cache(maxsize=256)
def _remembered(plan: str) -> Mapping[str, Sequence[Reach]]:
    return _reaches(plan)


def _reaches(plan: str) -> Mapping[str, Sequence[Reach]]:
    found: dict[str, list[Reach]] = {}
    for root in json.loads(plan):
        _walk(root, (), found)
    return found


def only_reads(plan: str, database: str) -> bool:
    """Tell whether a plan reads tables of one database, and nothing else."""
    waiting = list(json.loads(plan))
    while waiting:
        node = waiting.pop()
        info = node.get("extra_info", {})
        if "Function" in info or not f"{info.get('Table', database)}.".startswith(f"{database}."):
            return False
        waiting += node.get("children", ())
    return True


@functools.lru_cache(maxsize=256)
def limits_below_join(plan: str) -> bool:
    """Tell whether a join takes rows that a LIMIT has chosen."""
    waiting = [(node, False) for node in json.loads(plan)]
    while waiting:
        node, joined = waiting.pop()
        name = _name(node)
        if joined and (name == "TOP_N" or "LIMIT" in name):
            return True
        waiting += [(child, joined or "JOIN" in name) for child in node.get("children", ())]
    return False


def columns_in(text: str) -> frozenset[int]:
    """Return the columns of stand-ins that a text names."""
    return frozenset(int(match[1]) for match in _COLUMN.finditer(text))


def split_filters(value: str | list[str]) -> tuple[str, ...]:
    r"""Return a plan's filters as separate texts.

    DuckDB joins filters by line breaks, which string constants may hold as well; texts are put
    together again until quotes and parentheses are balanced.

    >>> split_filters(["(c0 = 'a", "b')", "optional: (c1 > 3)"])
    ("(c0 = 'a\nb')", '(c1 > 3)')
    """
    lines = value.split("\n") if isinstance(value, str) else value
    texts: list[str] = []
    pending = ""
    for line in lines:
        pending = f"{pending}\n{line}" if pending else line
        if pending.count("'") % 2 == 0:
            texts.append(pending.removeprefix("optional: "))
            pending = ""
    # An unbalanced rest is not understood, and neither is anything before it.
    return () if pending else tuple(texts)


def _walk(
    node: dict[str, Any], above: tuple[dict[str, Any], ...], found: dict[str, list[Reach]]
) -> None:
    info = node.get("extra_info", {})
    table = info.get("Table")
    if isinstance(table, str) and _name(node) in ("SEQ_SCAN", "TABLE_SCAN"):
        shown = list(split_filters(info["Filters"])) if info.get("Filters") else []
        # OR and IN stay in a filter node right above the scan; elsewhere its columns may be others.
        left: list[str] = []
        if above and _name(above[-1]) == "FILTER":
            expression = above[-1]["extra_info"].get("Expression")
            if expression:
                left = list(map(called, split_filters(expression)))
        shown = [part for text in (*map(called, shown), *left) for part in _apart(text)]
        filters = tuple(text for text in shown if not _DYNAMIC.search(text))
        columns = _columns(info.get("Projections", ()), filters)
        order = _order([text for text in shown if _DYNAMIC.search(text)], above)
        found.setdefault(table.rsplit(".", 1)[-1], []).append(
            Reach(filters, columns, frozenset(left), order)
        )
    for child in node.get("children", ()):
        _walk(child, (*above, node), found)


def _apart(text: str) -> list[str]:
    """Return a filter, and by itself the one that the query narrows while it runs, if it has one."""
    narrowing: list[str] = []

    def without(match: re.Match[str]) -> str:
        if match["narrowing"]:
            narrowing.append(match["narrowing"].removeprefix("optional: "))
        return match[0] if match[0].startswith("'") else ""

    return [_NARROWING.sub(without, text), *narrowing]


def _order(dynamic: Sequence[str], above: Sequence[dict[str, Any]]) -> Order | None:
    """Return the order of a scan that DuckDB narrows while it looks for the first rows.

    The filter that it narrows by names the first column of the order, and is there only where
    that column is the scan's own and NULLs come last.
    """
    column = _DYNAMIC.fullmatch(dynamic[0]) if len(dynamic) == 1 else None
    tops = [node for node in above if _name(node) == "TOP_N"]
    if column is None or len(tops) != 1:
        return None
    between = [_name(node) for node in above[above.index(tops[0]) + 1 :]]
    # Only a filter right above the scan is among its own.
    if any(name != "PROJECTION" for name in between[:-1]) or not {
        "PROJECTION",
        "FILTER",
    }.issuperset(between[-1:]):
        return None
    info = tops[0]["extra_info"]
    keys = info["Order By"] if isinstance(info["Order By"], list) else info["Order By"].split("\n")
    ways = [key.rpartition(" ")[2] for key in keys]
    counts = (info.get("Top", ""), info.get("Offset", "0"))
    if not all(map(str.isdecimal, counts)) or not {"ASC", "DESC"}.issuperset(ways):
        return None
    return Order(int(column[1]), ways[0] == "DESC", sum(map(int, counts)), len(set(ways)) > 1)


def _name(node: dict[str, Any]) -> str:
    return str(node.get("name", "")).strip()


def _columns(projections: str | Sequence[str], filters: Sequence[str]) -> frozenset[int]:
    names = projections.split("\n") if isinstance(projections, str) else projections
    return columns_in("\n".join((*names, *filters)))
