"""Tell queries that differ in constants alone, where nothing but the choice of files hangs on these.

DuckDB's plan for one constant says nothing of another. So a query has a shape only where SQL itself
says what a matching row must be: one SELECT of one table, whose WHERE compares columns with constants
and joins that by AND. Everything else in its text is the same for all queries of the shape. Pure.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from lakehouse.scan.asked import Params
from lakehouse.scan.bounds import Operator
from lakehouse.scan.names import alias_at
from lakehouse.scan.tokens import Token, tokens

_MOST = 64  # constants; to look each up in all files would take longer than to plan
_NAMES = ("word", "quoted")
_OPERATORS = {"=": "=", "<": "<", "<=": "<=", ">": ">", ">=": ">=", "<>": "!=", "!=": "!="}
_TYPED = ("date", "timestamp", "timestamptz")
_AFTER = ("group", "order", "limit")
# What may bring in other rows than those that WHERE is asked of.
_OTHER_ROWS = frozenset(
    ("except", "intersect", "join", "pivot", "table", "union", "unpivot", "values", "with")
)
_WHOLE = re.compile(r"\d{1,19}")


@dataclasses.dataclass(frozen=True, slots=True)
class Constant:
    """Hold a constant of a query: a ``number``, a ``text``, or a text that is cast to a type."""

    kind: str
    text: str


@dataclasses.dataclass(frozen=True, slots=True)
class Term:
    """Hold a comparison of a column, by its name, with a constant; or by ``=`` with any of several."""

    name: str
    operator: Operator
    constants: tuple[Constant, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Shape:
    """Hold what a query has in common with others: ``key``, and what is its own: ``terms``.

    All terms hold for each row that the query takes from its table.
    """

    key: tuple[str, ...]
    terms: tuple[Term, ...]


def shape_of(sql: str, place: tuple[str, str], params: Params = None) -> Shape | None:
    """Return the shape of a query of the table ``place``; None where it has none, or in doubt.

    >>> shape_of("SELECT x FROM s.t WHERE i = -3 AND j > DATE '2024-01-31'", ("s", "t")).terms[1:]
    (Term(name='j', operator='>', constants=(Constant(kind='date', text='2024-01-31'),)),)
    >>> shape_of("SELECT x FROM s.t WHERE i = -3 OR j > 5", ("s", "t"))
    """
    found = tokens(sql)
    words = [token.text.lower() if token.kind == "word" else "" for token in found]
    start = _where(found, words, place)
    return None if start is None else _Reader(sql, found, words, params).shape(start)


def _where(found: Sequence[Token], words: Sequence[str], place: tuple[str, str]) -> int | None:
    """Return where the conditions begin, of a query of one table and nothing else."""
    if (
        not words
        or words[0] not in ("select", "from")
        or words.count("select") != (words[0] == "select")
        or words.count("from") != 1
        or words.count("where") != 1
        or not _OTHER_ROWS.isdisjoint(words)
    ):
        return None
    first = words.index("from") + 1
    named = found[first : first + 3]
    if (
        [token.text.lower() for token in named] != [place[0], ".", place[1]]
        or named[0].kind not in _NAMES
        or named[2].kind not in _NAMES
    ):
        return None
    _, stop = alias_at(list(found), first + 3)
    return stop + 1 if stop < len(words) and words[stop] == "where" else None


class _Reader:
    """Read conditions token by token."""

    def __init__(
        self, sql: str, found: Sequence[Token], words: Sequence[str], params: Params
    ) -> None:
        self._sql = sql
        self._found = found
        self._words = words
        self._params = params
        self._spans: list[tuple[int, int, str]] = []
        self._at = 0

    def shape(self, start: int) -> Shape | None:
        """Return the shape of a query whose conditions begin at a token."""
        self._at = start
        terms: list[Term] = []
        while True:
            some = self._terms()
            terms += some
            if not some or len(self._spans) > _MOST:
                return None
            if self._word() != "and":
                break
            self._at += 1
        left = len(self._found) - self._at
        if left > 0 and (left, self._mark()) != (1, ";") and self._word() not in _AFTER:
            return None
        asked = sum(token.kind == "parameter" for token in self._found)
        if asked != sum(kind.startswith("parameter") for *_, kind in self._spans):
            return None  # one of the others may decide what the query means
        return Shape(self._key(), tuple(terms))

    def _key(self) -> tuple[str, ...]:
        pieces, end = [], 0
        for start, stop, kind in self._spans:
            pieces += [self._sql[end:start], kind]
            end = stop
        return (*pieces, self._sql[end:])

    def _terms(self) -> list[Term]:
        """Return what the next condition says; nothing where it is not understood."""
        name = self._name()
        if name is None:
            return []
        if self._word() == "between":
            self._at += 1
            low = self._constant()
            joined = self._word() == "and"
            self._at += 1
            high = self._constant() if low is not None and joined else None
            if low is None or high is None:
                return []
            return [Term(name, ">=", (low,)), Term(name, "<=", (high,))]
        if self._word() == "in":
            self._at += 1
            several = self._list()
            return [Term(name, "=", several)] if several else []
        operator = self._operator()
        constant = None if operator is None else self._constant()
        return [] if operator is None or constant is None else [Term(name, operator, (constant,))]

    def _name(self) -> str | None:
        """Return the name of a column, which may stand after that of its table."""
        for _ in range(2):
            if self._at >= len(self._found) or self._found[self._at].kind not in _NAMES:
                return None
            name = self._found[self._at].text
            self._at += 1
            if self._mark() != ".":
                return name
            self._at += 1
        return None

    def _operator(self) -> Operator | None:
        text, end = "", -1
        while self._mark() in ("<", ">", "=", "!") and end in (-1, self._found[self._at].start):
            text += self._mark()
            end = self._found[self._at].end
            self._at += 1
        return cast("Operator | None", _OPERATORS.get(text))

    def _list(self) -> tuple[Constant, ...] | None:
        if self._mark() != "(":
            return None
        several: list[Constant] = []
        while self._mark() in ("(", ","):
            self._at += 1
            one = self._constant()
            if one is None or len(several) >= _MOST:
                return None
            several.append(one)
        closed = self._mark() == ")"
        self._at += 1
        return tuple(several) if closed else None

    def _constant(self) -> Constant | None:
        begun = self._at
        if self._kind() == "parameter":
            name = self._found[self._at].text
            constant, way = self._parameter(name), f"parameter {name} "
            self._at += 1
        else:
            constant, way = self._written(), ""
        if constant is not None:
            span = self._found[begun].start, self._found[self._at - 1].end
            self._spans.append((*span, f"{way}{constant.kind}"))
        return constant

    def _written(self) -> Constant | None:
        if self._mark() == "-" or self._kind() == "number":
            sign = self._mark()
            self._at += bool(sign)
            number = self._found[self._at].text if self._kind() == "number" else ""
            self._at += 1
            return Constant("number", sign + number) if _WHOLE.fullmatch(number) else None
        kind = self._word() if self._word() in _TYPED else "text"
        self._at += kind != "text"
        text = self._text()
        if text is None:
            return None
        if [self._mark(), self._mark(1)] == [":", ":"]:
            kind = self._word(2) if kind == "text" else ""
            self._at += 3
            return Constant(kind, text) if kind in _TYPED else None
        return Constant(kind, text)

    def _text(self) -> str | None:
        """Return a text in plain quotes."""
        if self._kind() != "text" or self._sql[self._found[self._at].start] != "'":
            return None
        self._at += 1
        return self._found[self._at - 1].text

    def _parameter(self, name: str) -> Constant | None:
        """Return the value of a parameter, if it is of a type that constants are of."""
        value: Any = None
        if isinstance(self._params, Mapping):
            value = self._params.get(name[1:])
        elif self._params is not None:
            marks = [token for token in self._found if token.kind == "parameter"]
            position = marks.index(self._found[self._at])
            if name != "?":
                position = int(name[1:]) - 1 if name[1:].isdecimal() else -1
            if 0 <= position < len(self._params):
                value = self._params[position]
        return _bound(value)

    def _kind(self) -> str:
        return self._found[self._at].kind if self._at < len(self._found) else ""

    def _mark(self, ahead: int = 0) -> str:
        at = self._at + ahead
        is_mark = at < len(self._found) and self._found[at].kind == "mark"
        return self._found[at].text if is_mark else ""

    def _word(self, ahead: int = 0) -> str:
        at = self._at + ahead
        return self._words[at] if at < len(self._words) else ""


def _bound(value: object) -> Constant | None:
    # By their exact types: what is derived from them may be bound as something else.
    if type(value) is int:
        return Constant("number", str(value))
    if type(value) is str:
        return Constant("text", value)
    if type(value) is dt.date:
        return Constant("date", value.isoformat())
    if type(value) is dt.datetime:
        kind = "timestamp" if value.tzinfo is None else "timestamptz"
        return Constant(kind, value.isoformat(sep=" "))
    return None
