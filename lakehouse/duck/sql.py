"""Quote names and values for SQL text."""

from __future__ import annotations


def identifier(name: str) -> str:
    """Quote a name.

    >>> identifier("first name")
    '"first name"'
    """
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Quote a string.

    >>> literal("it's")
    "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"
