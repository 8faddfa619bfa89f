"""Read ``ALTER TABLE``: from SQL to the verb of `Table.alter` that does it.

Types and expressions are kept as written, for DuckDB to judge.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from catalog.errors import InputError
from lakehouse.scan.tokens import Token, tokens

_ALTER = re.compile(r"(?:\s|--[^\n]*\n|/\*.*?\*/)*alter\b", re.IGNORECASE | re.DOTALL)
_HELP = (
    "Write ALTER TABLE silver.t followed by ADD COLUMN c TYPE, DROP COLUMN c, RENAME COLUMN a TO b, "
    "ALTER COLUMN c (TYPE t | SET NOT NULL | DROP NOT NULL | COMMENT 'text' | FIRST | AFTER b), "
    "ADD CONSTRAINT n CHECK (...), DROP CONSTRAINT n, SET TBLPROPERTIES ('k' = 'v'), "
    "UNSET TBLPROPERTIES ('k'), or RENAME TO name"
)


@dataclasses.dataclass(frozen=True, slots=True)
class AlterStatement:
    """Hold a parsed statement: the table's name, and a verb with its arguments.

    The verb is a method of `Alter`, or ``rename_table`` with the new name in ``to``.
    """

    table: str
    verb: str
    arguments: Mapping[str, Any]


def parse_alter(sql: str) -> AlterStatement | None:
    """Return what an ALTER TABLE statement asks for; None for any other statement.

    >>> parse_alter("ALTER TABLE silver.t RENAME COLUMN a TO b")
    AlterStatement(table='silver.t', verb='rename_column', arguments={'old': ('a',), 'new': 'b'})
    >>> parse_alter(
    ...     "ALTER TABLE silver.t ADD COLUMN IF NOT EXISTS s.x DECIMAL(10, 2) FIRST"
    ... ).arguments
    {'name': ('s', 'x'), 'type': 'DECIMAL(10, 2)', 'first': True, 'if_not_exists': True}
    """
    if _ALTER.match(sql) is None:
        return None
    reader = _Reader(sql, tokens(sql))
    reader.words("alter")
    reader.words("table")
    if reader.take("if", "exists"):
        raise reader.wrong("ALTER TABLE takes no IF EXISTS")
    table = ".".join(reader.path())
    verb, arguments = _action(reader)
    reader.finish()
    return AlterStatement(table, verb, arguments)


def _action(reader: _Reader) -> tuple[str, dict[str, Any]]:
    if reader.take("add", "constraint"):
        name = reader.name()
        reader.words("check")
        return "add_constraint", {"name": name, "sql": reader.parenthesis()}
    if reader.take("add"):
        return "add_column", _new_column(reader)
    if reader.take("drop", "constraint"):
        optional = reader.optional("if_exists", "if", "exists")
        return "drop_constraint", {"name": reader.name(), **optional}
    if reader.take("drop"):
        reader.take("column")
        optional = reader.optional("if_exists", "if", "exists")
        return "drop_column", {"name": reader.path(), **optional}
    if reader.take("rename", "to"):
        return "rename_table", {"to": ".".join(reader.path())}
    if reader.take("rename"):
        reader.take("column")
        old = reader.path()
        reader.words("to")
        return "rename_column", {"old": old, "new": reader.name()}
    if reader.take("set", "tblproperties"):
        return "set_properties", {"properties": reader.properties()}
    if reader.take("unset", "tblproperties"):
        optional = reader.optional("if_exists", "if", "exists")
        return "unset_properties", {"names": reader.property_names(), **optional}
    reader.words("alter")
    reader.take("column")
    return _column_change(reader, reader.path())


def _new_column(reader: _Reader) -> dict[str, Any]:
    reader.take("column")
    optional = reader.optional("if_not_exists", "if", "not", "exists")
    found: dict[str, Any] = {
        "name": reader.path(),
        "type": reader.until("comment", "first", "after"),
    }
    if reader.take("comment"):
        found["comment"] = reader.text()
    if reader.take("first"):
        found["first"] = True
    elif reader.take("after"):
        found["after"] = reader.name()
    return {**found, **optional}


def _column_change(reader: _Reader, column: tuple[str, ...]) -> tuple[str, dict[str, Any]]:
    if reader.take("set", "not", "null"):
        return "set_not_null", {"name": column}
    if reader.take("drop", "not", "null"):
        return "drop_not_null", {"name": column}
    if reader.take("comment"):
        return "comment_column", {"name": column, "comment": reader.text()}
    if reader.take("first"):
        return "move_column", {"name": column, "first": True}
    if reader.take("after"):
        return "move_column", {"name": column, "after": reader.name()}
    if not reader.take("set", "data", "type"):
        reader.words("type")
    return "change_type", {"name": column, "type": reader.until()}


class _Reader:
    """Read a statement's tokens one after the other."""

    def __init__(self, sql: str, tokens: list[Token]) -> None:
        self._sql = sql
        self._tokens = tokens
        self._at = 0

    def wrong(self, what: str) -> InputError:
        """Return the error for what stands here."""
        return InputError(what, next_step=_HELP)

    def take(self, *words: str) -> bool:
        """Step over words if they stand here."""
        here = self._tokens[self._at : self._at + len(words)]
        found = len(here) == len(words) and all(
            token.text.lower() == word and token.kind not in ("quoted", "text")
            for token, word in zip(here, words, strict=True)
        )
        self._at += len(words) if found else 0
        return found

    def words(self, *words: str) -> None:
        """Step over words that must stand here."""
        if not self.take(*words):
            raise self.wrong(f"ALTER TABLE is not understood at {self._here()}")

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

    def text(self) -> str:
        """Read a string."""
        token = self._next()
        if token.kind != "text":
            self._at -= 1
            raise self.wrong(f"a text in quotes is expected at {self._here()}")
        return token.text

    def until(self, *words: str) -> str:
        """Return the SQL up to one of these words, or to the end."""
        start, depth = self._at, 0
        while self._at < len(self._tokens):
            token = self._tokens[self._at]
            if depth == 0 and self._at > start and self._is_end(token, words):
                break
            depth += _depth(token)
            self._at += 1
        return self._between(start, self._at)

    def parenthesis(self) -> str:
        """Return the SQL inside of the parentheses that stand here."""
        self.words("(")
        start, depth = self._at, 1
        while depth:
            token = self._next()
            depth += _depth(token)
        return self._between(start, self._at - 1)

    def properties(self) -> dict[str, str]:
        """Read ``('k' = 'v', ...)``."""
        found = {}
        self.words("(")
        while True:
            name = self._property_name()
            self.words("=")
            found[name] = self._next().text
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
        while self.take(";"):
            pass
        if self._at < len(self._tokens):
            raise self.wrong(f"ALTER TABLE is not understood at {self._here()}")

    def _property_name(self) -> str:
        if self._at < len(self._tokens) and self._tokens[self._at].kind == "text":
            return self.text()
        return ".".join(self.path())

    def _is_end(self, token: Token, words: tuple[str, ...]) -> bool:
        if token.kind == "mark" and token.text == ";":
            return True
        return token.kind not in ("quoted", "text") and token.text.lower() in words

    def _next(self) -> Token:
        if self._at >= len(self._tokens):
            raise self.wrong("ALTER TABLE is not complete")
        self._at += 1
        return self._tokens[self._at - 1]

    def _between(self, start: int, end: int) -> str:
        if start >= end:
            raise self.wrong(f"ALTER TABLE is not understood at {self._here()}")
        return self._sql[self._tokens[start].start : self._tokens[end - 1].end]

    def _here(self) -> str:
        if self._at >= len(self._tokens):
            return "its end"
        return repr(self._sql[self._tokens[self._at].start :][:30])


def _depth(token: Token) -> int:
    return {"(": 1, ")": -1}.get(token.text, 0) if token.kind == "mark" else 0
