"""What may come next where the cursor is: pure, from the text and the names that there are."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from catalog.errors import InputError
from lakehouse.duck.sql import identifier
from lakehouse.scan.tokens import Token, tokens

Kind = Literal["table", "view", "column", "function", "keyword", "command", "choice"]

_WORD = re.compile(r'(?:(?:"(?:[^"]|"")+"|[\w$]+)\.)*[\w$]*\Z')
_PLAIN = re.compile(r"[a-z_][a-z0-9_]*", re.IGNORECASE)
_TABLE_AFTER = frozenset(("from", "join", "into", "update", "table", "describe", "summarize"))
_NO_ALIAS = frozenset((
    "on", "using", "where", "group", "order", "limit", "join", "inner", "left", "right", "full",
    "cross", "natural", "semi", "anti", "asof", "positional", "union", "except", "intersect", "set",
    "values", "select", "having", "qualify", "window", "at", "as", "tablesample", "when", "from",
))  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True)
class Column:
    """Name a column and its type."""

    name: str
    type: str


class Names(Protocol):
    """Know the names that there are; empty where that cannot be told now."""

    def relations(self) -> Mapping[str, Kind]:
        """Return the whole names of tables and views, and which they are."""

    def columns(self, table: str) -> Sequence[Column]:
        """Return the columns of a table or view by its whole name."""

    def functions(self) -> Sequence[str]:
        """Return the names of DuckDB's functions."""

    def keywords(self) -> Sequence[str]:
        """Return DuckDB's keywords, the reserved ones first."""


@dataclasses.dataclass(frozen=True, slots=True)
class Candidate:
    """Hold a text that may replace the ``typed`` characters before the cursor."""

    text: str
    typed: int
    kind: Kind
    about: str = ""


def candidates(before: str, after: str, names: Names) -> list[Candidate]:
    """Return what may stand at the cursor, in SQL between ``before`` and ``after`` it."""
    known = _tokens(before)
    if known is None:
        return []  # within a string or a comment
    match = _WORD.search(before)
    assert match is not None  # it may be empty
    *above, typed = match[0].split(".")
    path = [part.strip('"') for part in above]
    mentioned = _mentioned([*known, *(_tokens(after) or ())], names)
    if path:
        return _members(path, typed, mentioned, names)
    previous = [token for token in known if token.end <= match.start()][-1:]
    if (previous and previous[0].text.lower() in _TABLE_AFTER) or _continues_from(known, match):
        return _tables(typed, names)
    # The position tells nothing: names of columns first, then whatever starts like this.
    found = _columns(typed, dict.fromkeys(mentioned.values()), names)
    if not typed:
        return found
    return [*found, *_tables(typed, names), *_functions(typed, names), *_keywords(typed, names)]


def _tokens(text: str) -> list[Token] | None:
    try:
        return tokens(text)
    except InputError:
        return None


def _mentioned(found: Sequence[Token], names: Names) -> dict[str, str]:
    """Return the tables that a text mentions: their whole names by each name that stands for one."""
    known = {name.lower(): name for name in names.relations()}
    mentioned: dict[str, str] = {}
    for index, (layer, dot, short) in enumerate(zip(found, found[1:], found[2:], strict=False)):
        whole = known.get(f"{layer.text}.{short.text}".lower())
        if dot.text != "." or whole is None:
            continue
        mentioned[short.text.lower()] = whole
        alias = found[index + 3 : index + 5]
        if alias and alias[0].text.lower() == "as":
            alias = alias[1:]
        is_name = alias and alias[0].kind in ("word", "quoted")
        if is_name and alias[0].text.lower() not in _NO_ALIAS:
            mentioned[alias[0].text.lower()] = whole
    return mentioned


def _continues_from(known: Sequence[Token], word: re.Match[str]) -> bool:
    """Tell whether the cursor is after a comma in a FROM clause."""
    earlier = [token for token in known if token.end <= word.start()]
    if not earlier or earlier[-1].text != ",":
        return False
    for token in reversed(earlier):
        if token.text in ("(", ")"):
            return False
        if token.kind == "word" and token.text.lower() in _NO_ALIAS | _TABLE_AFTER:
            return token.text.lower() == "from"
    return False


def _members(
    path: Sequence[str], typed: str, mentioned: dict[str, str], names: Names
) -> list[Candidate]:
    whole = mentioned.get(path[-1].lower()) if len(path) == 1 else ".".join(path)
    if whole is not None:
        found = _columns(typed, [whole], names)
        if found:
            return found
    inside = f"{'.'.join(path)}.".lower()
    return [
        Candidate(quoted(name.partition(".")[2]), len(typed), kind)
        for name, kind in names.relations().items()
        if name.lower().startswith(inside + typed.lower())
    ]


def _tables(typed: str, names: Names) -> list[Candidate]:
    """Return tables by their whole names; those of which the last part starts like this, too."""
    start = typed.lower()
    return [
        Candidate(".".join(quoted(part) for part in name.split(".", 1)), len(typed), kind)
        for name, kind in names.relations().items()
        if name.lower().startswith(start)
        or (start and name.lower().split(".")[-1].startswith(start))
    ]


def _columns(typed: str, of: Sequence[str] | dict[str, None], names: Names) -> list[Candidate]:
    found = {
        column.name: Candidate(quoted(column.name), len(typed), "column", column.type)
        for table in of
        for column in names.columns(table)
        if column.name.lower().startswith(typed.lower())
    }
    return list(found.values())


def _functions(typed: str, names: Names) -> list[Candidate]:
    start = typed.lower()
    found = (name for name in names.functions() if name.startswith(start))
    return [Candidate(f"{name}(", len(typed), "function") for name in found]


def _keywords(typed: str, names: Names) -> list[Candidate]:
    start = typed.lower()
    found = (word for word in names.keywords() if word.startswith(start))
    # As they are typed: capitals for those who shout.
    return [
        Candidate(word if typed.islower() else word.upper(), len(typed), "keyword")
        for word in found
    ]


def quoted(name: str) -> str:
    """Return a name as SQL takes it, in quotes only where it needs them.

    >>> quoted("delay"), quoted("tail number")
    ('delay', '"tail number"')
    """
    return name if _PLAIN.fullmatch(name) else identifier(name)
