"""Cut a filter, as a plan shows it, into the conditions that it joins by AND. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

_TOKENS = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|\bBETWEEN\b|\bAND\b|[()]")


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
