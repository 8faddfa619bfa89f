"""Say which parts of a query's filters skip no file, why, and how to write them otherwise."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from lakehouse import scan as on_demand
from lakehouse.delta.files.layout import Layout
from lakehouse.scan.may import EVERY
from lakehouse.scan.plan import Reach
from lakehouse.scan.report import NotPruned, TableRef

_COLUMN = re.compile(r"\bc(\d+)_[0-9a-f]{20}\b")
_TEXTS = re.compile(r"'(?:[^']|'')*'")
_TOKENS = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|\bBETWEEN\b|\bAND\b|[()]")

# What is found in a filter, why no bounds follow from it, and what to write instead.
_RULES = tuple(
    (re.compile(pattern, re.IGNORECASE), why, hint)
    for pattern, why, hint in (
        (r"\bstrftime\W?\(", "texts made of times have no bounds that are known",
         "use date_trunc instead of strftime, or compare the column with a range of times"),
        (r"\b(year|date_part|datepart|extract)\W?\(", "no bounds are known of a part of a time",
         "compare the column with a range: >= the first moment, < the one after the last"),
        (r"\b(month|day|hour|minute|second|dayofweek|isodow|dayofyear|week|quarter)\W?\(",
         "a part of a time comes again and again, all over the files", None),
        (r"\b(lower|upper|trim|ltrim|rtrim|substring|substr|concat|replace|reverse|left|right)\W?\(|\|\|",
         "the changed text has no bounds that are known",
         "compare the column as it is, or add a column that holds the changed text"),
        (r"~~|!~|\b(contains|suffix|regexp_\w+|like_escape|ilike_escape|jaccard|levenshtein)\W?\(",
         "it may match anywhere in the text", "a prefix skips files: LIKE 'abc%'"),
        (r"\b(TRY_)?CAST\(.* AS VARCHAR\)", "texts are not in the order of what they are made of",
         "compare the column with a value of its own type"),
        (r"\b(hash|md5|sha\w*)\W?\(|%", "its values are all over the files", None),
    )
)  # fmt: skip


def not_pruned(ref: TableRef, scans: Sequence[Reach]) -> tuple[NotPruned, ...]:
    """Return the parts of filters that can skip no file, whatever the files hold."""
    layout = ref.snapshot.files.layout
    pruner = on_demand.Pruner(layout)
    found: dict[str, NotPruned] = {}
    for text in (text for reach in scans for text in reach.filters):
        for part in parts(text):
            if part not in found and pruner.may_match((part,)) == EVERY:
                found[part] = _explained(part, layout)
    return tuple(found.values())


def parts(text: str) -> list[str]:
    """Return the conditions that a filter joins by AND.

    >>> parts("((a >= 1) AND ((b = 'x AND y') OR (c AND d)))")
    ['a >= 1', "(b = 'x AND y') OR (c AND d)"]
    """
    text = _bare(text)
    cuts = list(_cuts(text))
    if not cuts:
        return [text]
    edges = [0, *(edge for cut in cuts for edge in cut), len(text)]
    pieces = (text[a:b] for a, b in zip(edges[::2], edges[1::2], strict=True))
    return [part for piece in pieces for part in parts(piece)]


def why(text: str) -> tuple[str, str | None]:
    """Return why no bounds follow from a condition, and what to write instead.

    >>> why("strftime(ts, '%Y') = '2024'")[1]
    'use date_trunc instead of strftime, or compare the column with a range of times'
    """
    text = _TEXTS.sub("''", text)
    if re.search(r"\bOR\b", text):
        return "a side of the OR cannot be answered by statistics", "see each side by itself"
    for pattern, reason, hint in _RULES:
        if pattern.search(text):
            return reason, hint
    return "it is no comparison of a column with a constant", None


def _explained(part: str, layout: Layout) -> NotPruned:
    fields = layout.schema.fields
    text = _COLUMN.sub(lambda match: fields[int(match[1])].name, part)
    numbers = sorted({int(match[1]) for match in _COLUMN.finditer(part)})
    if len(numbers) > 1 and not re.search(r"\bOR\b", text):
        return NotPruned(text, "it compares columns with each other")
    bounded = {leaf.path[0].name for leaf in layout.leaves if leaf.has_bounds}
    bounded.update(layout.partition_columns)
    without = next((fields[n].name for n in numbers if fields[n].name not in bounded), None)
    if without is not None:
        return NotPruned(text, f"statistics have no bounds of {without}")
    return NotPruned(text, *why(text))


def _bare(text: str) -> str:
    """Return a text without parentheses around all of it."""
    text = text.strip()
    while text.startswith("(") and text.endswith(")"):
        depth = 0
        for match in _TOKENS.finditer(text):
            depth += {"(": 1, ")": -1}.get(match[0], 0)
            if not depth and match[0] == ")":
                break
        if match.end() < len(text):
            break
        text = text[1:-1].strip()
    return text


def _cuts(text: str) -> Iterator[tuple[int, int]]:
    """Yield where an AND joins conditions: outside of parentheses, and none of a BETWEEN."""
    depth, between = 0, 0
    for match in _TOKENS.finditer(text):
        token = match[0].upper()
        depth += {"(": 1, ")": -1}.get(token, 0)
        if depth or token not in ("BETWEEN", "AND"):
            continue
        if token == "BETWEEN":
            between += 1
        elif between:
            between -= 1
        else:
            yield match.span()
