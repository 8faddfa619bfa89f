"""Ask DuckDB which filters and columns of a query reach which table.

The query is explained over empty stand-ins of the same names and types, whose columns are named
``c<i>_<key>``: no name or alias of a user's can be mistaken for them, or for syntax. Constants
arrive folded, and CTEs, views and subqueries dissolved.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from typing import Any

_COLUMN = re.compile(r"\bc(\d+)_[0-9a-f]{20}\b")


@dataclasses.dataclass(frozen=True, slots=True)
class Reach:
    """Hold one scan's filters, which all hold for a matching row, and the columns it reads."""

    filters: tuple[str, ...]
    columns: frozenset[int]


def reaches(plan: str) -> dict[str, list[Reach]]:
    """Return the scans of each stand-in, by its name, from ``EXPLAIN (FORMAT json)``."""
    found: dict[str, list[Reach]] = {}
    for root in json.loads(plan):
        _walk(root, None, found)
    return found


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
    node: dict[str, Any], above: dict[str, Any] | None, found: dict[str, list[Reach]]
) -> None:
    info = node.get("extra_info", {})
    table = info.get("Table")
    if isinstance(table, str) and node.get("name", "").strip() in ("SEQ_SCAN", "TABLE_SCAN"):
        filters = list(split_filters(info["Filters"])) if info.get("Filters") else []
        # OR and IN stay in a filter node right above the scan; elsewhere its columns may be others.
        if above is not None and above.get("name", "").strip() == "FILTER":
            expression = above["extra_info"].get("Expression")
            if expression:
                filters += split_filters(expression)
        columns = _columns(info.get("Projections", ()), filters)
        found.setdefault(table.rsplit(".", 1)[-1], []).append(Reach(tuple(filters), columns))
    for child in node.get("children", ()):
        _walk(child, node, found)


def _columns(projections: str | Sequence[str], filters: Sequence[str]) -> frozenset[int]:
    names = projections.split("\n") if isinstance(projections, str) else projections
    texts = [*names, *filters]
    return frozenset(int(match[1]) for text in texts for match in _COLUMN.finditer(text))
