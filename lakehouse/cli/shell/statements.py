"""Cut what is typed or piped into statements: SQL up to ``;``, and dot commands of one line."""

from __future__ import annotations

import dataclasses
import itertools
import re

from catalog.errors import InputError
from lakehouse.scan.tokens import Token, tokens

_COMMAND = re.compile(r"^[ \t]*\.[A-Za-z].*$", re.MULTILINE)


@dataclasses.dataclass(frozen=True, slots=True)
class Statement:
    """Hold SQL without its ``;``, or a dot command; ``line`` is where it begins, from 1."""

    text: str
    line: int

    @property
    def is_command(self) -> bool:
        """Tell whether this is a dot command."""
        return self.text.startswith(".")


@dataclasses.dataclass(frozen=True, slots=True)
class Statements:
    """Hold complete statements, and the one after them that has no ``;`` yet, if there is one."""

    complete: tuple[Statement, ...]
    rest: Statement | None

    @property
    def every(self) -> tuple[Statement, ...]:
        """Return all statements; for texts, whose last one needs no ``;``."""
        return self.complete if self.rest is None else (*self.complete, self.rest)


def split(text: str) -> Statements:
    r"""Return the statements of a text.

    Quotes, comments and ``$$`` hide a ``;``. A line that starts with a dot is a command only
    where no statement is under way.

    >>> found = split("SELECT ';'; .5\n;\n.tables\nSELECT 1")
    >>> [statement.text for statement in found.complete], found.rest
    (["SELECT ';'", '.5', '.tables'], Statement(text='SELECT 1', line=4))
    """
    complete: list[Statement] = []
    rest: Statement | None = None
    start = 0
    # Tokens are read up to each line that may be a command, to know whether it is one.
    for match in (*_COMMAND.finditer(text), None):
        end = len(text) if match is None else match.start()
        if end < start:
            continue
        found = _split_sql(text, start, end)
        if match is None or (found is not None and found.rest is None):
            found = found or Statements((), _statement(text, start, end))
            complete += found.complete
            rest = found.rest
            if match is not None:
                complete.append(_statement(text, match.start(), match.end()))
                start = match.end()
    return Statements(tuple(complete), rest)


def _split_sql(text: str, start: int, end: int) -> Statements | None:
    """Return the statements of SQL alone; None where a quote or a comment is not closed."""
    try:
        found = tokens(text[start:end])
    except InputError:
        return None
    complete: list[Statement] = []
    first: int | None = None
    last = 0
    for token, following in itertools.zip_longest(found, found[1:]):
        if following is not None and _opens_dollars(token, following):
            return None
        if token.kind == "mark" and token.text == ";":
            if first is not None:
                complete.append(_statement(text, start + first, start + token.start))
            first = None
        else:
            first = token.start if first is None else first
            last = token.end
    rest = None if first is None else _statement(text, start + first, start + last)
    return Statements(tuple(complete), rest)


def _opens_dollars(token: Token, following: Token) -> bool:
    """Tell whether ``$$`` or ``$tag$`` begins here: closed ones are a token of their own."""
    is_start = token.text == "$" or (token.kind == "parameter" and token.text[0] == "$")
    return is_start and following.text == "$" and token.end == following.start


def _statement(text: str, start: int, end: int) -> Statement:
    body = text[start:end]
    skipped = len(body) - len(body.lstrip())
    return Statement(body.strip(), text.count("\n", 0, start + skipped) + 1)
