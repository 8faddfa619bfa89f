"""Cut SQL into tokens by DuckDB's lexical rules: enough to find names, and to read `ALTER TABLE`.

Small and quick on purpose: a parser for all of SQL takes a tenth of a second to import, and a
first query in a fresh process would wait for it.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from typing import Literal

from catalog.errors import InputError

Kind = Literal["word", "quoted", "text", "number", "parameter", "mark"]

_TOKEN = re.compile(
    r"""
    (?P<skip>\s+|--[^\r\n]*)
    |(?P<comment>/\*)
    |(?P<text>[eE]'(?:[^'\\]|\\.|'')*'|[bBxX]?'[^']*(?:''[^']*)*'
        |\$(?P<tag>(?:[^\W\d]\w*)?)\$.*?\$(?P=tag)\$)
    |(?P<quoted>"[^"]*(?:""[^"]*)*")
    |(?P<number>(?:\d\w*(?:\.(?:\d\w*)?)?|\.\d\w*)(?:(?<=[eE])[+-]\d+)?)
    |(?P<word>(?:[A-Za-z_]|[^\x00-\x7f\s])(?:[\w$]|[^\x00-\x7f\s])*)
    |(?P<parameter>\?\d*|\$\w+)
    |(?P<mark>=>|.)
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")


@dataclasses.dataclass(frozen=True, slots=True)
class Token:
    """Hold a token: the SQL from ``start`` up to ``end``.

    ``text`` is what it stands for: names and strings without their quotes. Words are keywords and
    names that need no quotes; strings are of any kind.
    """

    kind: Kind
    text: str
    start: int
    end: int


def tokens(sql: str) -> list[Token]:
    r"""Return the tokens of a text, without white space and comments.

    Raises InputError where a quote or a comment is not closed.

    >>> [token.text for token in tokens('FROM silver . "my table" /* nightly */ -- \'tis so')]
    ['FROM', 'silver', '.', 'my table']
    """
    return list(_tokens(sql))


@functools.lru_cache(maxsize=256)
def _tokens(sql: str) -> tuple[Token, ...]:
    found: list[Token] = []
    end = 0
    while end < len(sql):
        match = _TOKEN.match(sql, end)
        assert match is not None  # a mark is any character
        start, end = match.span()
        kind = match.lastgroup
        text = match[0]
        if kind == "skip":
            continue
        if kind == "comment":
            end = _end_of_comment(sql, end)
            continue
        if kind == "mark" and text in "'\"":
            raise _not_closed(text)
        found.append(Token(_KINDS[kind or "mark"], _meaning(text), start, end))
    return tuple(found)


_KINDS: dict[str, Kind] = {
    "text": "text", "quoted": "quoted", "number": "number", "word": "word",
    "parameter": "parameter", "mark": "mark",
}  # fmt: skip


def _meaning(text: str) -> str:
    if text[0] in "'\"" and len(text) > 1:
        quote = text[0]
        return text[1:-1].replace(quote * 2, quote)
    return text


def _end_of_comment(sql: str, end: int) -> int:
    depth = 1  # comments nest
    while depth:
        edge = _COMMENT_EDGE.search(sql, end)
        if edge is None:
            raise _not_closed("/*")
        depth += 1 if edge[0] == "/*" else -1
        end = edge.end()
    return end


def _not_closed(opening: str) -> InputError:
    return InputError(
        f"this SQL cannot be read: {opening} is not closed", next_step="Check quotes and comments"
    )
