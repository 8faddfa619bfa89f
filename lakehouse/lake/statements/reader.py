"""Read a statement token by token. Queries, types and expressions are kept as they were written."""

from __future__ import annotations

from collections.abc import Collection

from catalog.errors import InputError
from lakehouse.lake.statements.kinds import Source
from lakehouse.scan.tokens import Token, tokens

_AFTER_SOURCE = ("on", "using", "where", "when", "set", "returning", ",", ")", "join")
_JOINS = ("join", "left", "right", "full", "inner", "cross", "natural", "asof", "positional")
_VERBS = ("insert", "update", "delete", "merge", "select", "from", "values")
_MARKS = {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}
_WORDS = {"case": 1, "end": -1}


class Reader:
    """Read a statement's tokens one after the other; ``kind`` and ``form`` name it in errors.

    Raises InputError where the text holds more than one statement.
    """

    def __init__(self, sql: str) -> None:
        found = tokens(sql)
        while found and _is(found[-1], ";"):
            found.pop()
        while found and _is(found[0], ";"):
            found.pop(0)
        count = 1 + sum(_is(token, ";") for token in found)
        if count > 1:
            raise InputError(
                f"one statement is expected; found {count}",
                next_step="Run statements one by one",
            )
        self.sql = sql
        self.kind = "this statement"
        self.form = "Check its words"
        self._tokens = found
        self._at = 0

    def is_at_end(self) -> bool:
        """Tell whether everything was read."""
        return self._at >= len(self._tokens)

    def wrong(self, what: str) -> InputError:
        """Return the error for what stands here."""
        return InputError(what, next_step=self.form)

    def not_understood(self) -> InputError:
        """Return the error for words that are not known here."""
        return self.wrong(f"{self.kind} is not understood at {self._here()}")

    def sees(self, *words: str) -> bool:
        """Tell whether words stand here."""
        here = self._tokens[self._at : self._at + len(words)]
        return len(here) == len(words) and all(map(_is, here, words))

    def take(self, *words: str) -> bool:
        """Step over words if they stand here."""
        found = self.sees(*words)
        self._at += len(words) if found else 0
        return found

    def words(self, *words: str) -> None:
        """Step over words that must stand here."""
        if not self.take(*words):
            raise self.not_understood()

    def optional(self, argument: str, *words: str) -> dict[str, bool]:
        """Return an argument that is set where the words stand here."""
        return {argument: True} if self.take(*words) else {}

    def name(self) -> str:
        """Read a name, quoted or not."""
        token = self._next()
        if token.kind not in ("quoted", "word"):
            self._at -= 1
            raise self.wrong(f"a name is expected at {self._here()}")
        return token.text

    def path(self) -> tuple[str, ...]:
        """Read names with dots between."""
        names = [self.name()]
        while self.take("."):
            names.append(self.name())
        return tuple(names)

    def table(self) -> str:
        """Read the name of a table or view."""
        return ".".join(self.path())

    def names(self) -> tuple[str, ...]:
        """Read ``(a, b, ...)``."""
        self.words("(")
        names = [self.name()]
        while self.take(","):
            names.append(self.name())
        self.words(")")
        return tuple(names)

    def text(self) -> str:
        """Read a string, or the parameter in its place."""
        token = self._next()
        is_text = token.kind == "text" and self.sql[token.start] == "'"
        if not is_text and token.kind != "parameter":
            self._at -= 1
            raise self.wrong(f"a text in quotes is expected at {self._here()}")
        return token.text

    def text_or_null(self) -> str | None:
        """Read a string, or NULL as None."""
        return None if self.take("null") else self.text()

    def until(self, *ends: str | tuple[str, ...]) -> str:
        """Return the SQL, at least a token, up to one of these words, or to the end.

        An end is a word or several in a row. What stands in brackets is stepped over.
        """
        start, depth = self._at, 0
        while not self.is_at_end():
            step = _depth(self._tokens[self._at])
            if depth == 0 and (step < 0 or (self._at > start and self._is_end(ends))):
                break
            depth += step
            self._at += 1
        return self._between(start, self._at)

    def common_tables(self) -> str:
        """Return WITH and its queries, up to the verb that follows them."""
        start = self._at
        while not self.is_at_end():
            if not self.sees("("):
                self._at += 1
                continue
            self.parenthesis()
            if any(map(self.sees, _VERBS)):
                break
        return self._between(start, self._at)

    def source(self) -> Source:
        """Read a table, a query in parentheses or a function, with its alias."""
        start, alias = self._at, None
        if self.sees("("):
            self.parenthesis()
        else:
            alias = self.path()[-1]
            if self.sees("("):
                self.parenthesis()
        if self.take("at"):
            self.parenthesis()
        if self.take("as") or not (self.is_at_end() or any(map(self.sees, _AFTER_SOURCE))):
            alias = self.name()
            if self.sees("("):
                self.parenthesis()
        if alias is None:
            raise self.wrong(f"{self.kind} needs a name for its source: (SELECT ...) AS s")
        if self.sees(",") or any(map(self.sees, _JOINS)):
            raise self.wrong(f"{self.kind} takes one source: join in a query, (SELECT ...) AS s")
        return Source(f"SELECT * FROM {self._between(start, self._at)}", alias)

    def rest(self) -> str:
        """Return the SQL to the end."""
        start, self._at = self._at, len(self._tokens)
        return self._between(start, self._at)

    def parenthesis(self) -> str:
        """Return the SQL inside of the parentheses that stand here."""
        self.words("(")
        start, depth = self._at, 1
        while depth:
            token = self._next()
            depth += _MARKS.get(token.text, 0) if token.kind == "mark" else 0
        return self._between(start, self._at - 1)

    def properties(self) -> dict[str, str]:
        """Read ``('k' = 'v', ...)``."""
        found = {}
        self.words("(")
        while True:
            name = self._property_name()
            self.words("=")
            negative = "-" if self.take("-") else ""
            found[name] = negative + self._next().text
            if not self.take(","):
                self.words(")")
                return found

    def property_names(self) -> tuple[str, ...]:
        """Read ``('k', ...)``."""
        self.words("(")
        names = [self._property_name()]
        while self.take(","):
            names.append(self._property_name())
        self.words(")")
        return tuple(names)

    def finish(self) -> None:
        """Make sure that the statement ends here."""
        if not self.is_at_end():
            raise self.not_understood()

    def _property_name(self) -> str:
        if not self.is_at_end() and self._tokens[self._at].kind == "text":
            return self.text()
        return ".".join(self.path())

    def _is_end(self, ends: Collection[str | tuple[str, ...]]) -> bool:
        if self.sees("from") and _is(self._tokens[self._at - 1], "distinct"):
            return False  # of IS DISTINCT FROM
        return any(self.sees(*((end,) if isinstance(end, str) else end)) for end in ends)

    def _next(self) -> Token:
        if self.is_at_end():
            raise self.wrong(f"{self.kind} is not complete")
        self._at += 1
        return self._tokens[self._at - 1]

    def _between(self, start: int, end: int) -> str:
        if start >= end:
            raise self.not_understood()
        return self.sql[self._tokens[start].start : self._tokens[end - 1].end]

    def _here(self) -> str:
        if self.is_at_end():
            return "its end"
        return repr(self.sql[self._tokens[self._at].start :][:30])


def _depth(token: Token) -> int:
    if token.kind == "mark":
        return _MARKS.get(token.text, 0)
    return _WORDS.get(token.text.lower(), 0) if token.kind == "word" else 0


def _is(token: Token, word: str) -> bool:
    return token.text.lower() == word and token.kind not in ("quoted", "text")
