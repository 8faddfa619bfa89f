"""Tell by its first words whether a text is a statement of the lake's: queries wait for no more."""

from __future__ import annotations

import re

from lakehouse.scan.tokens import tokens

_FIRST = re.compile(r"(?:\s|;|--[^\r\n]*)*(/\*|\w*)")
_CHANGES = ("insert", "update", "delete", "merge")
_CHANGE = re.compile(rf"\b(?:{'|'.join(_CHANGES)})\b", re.IGNORECASE)
_OURS = frozenset(
    (*_CHANGES, "alter", "comment", "create", "desc", "describe", "drop", "show", "truncate")
)


def is_statement(sql: str) -> bool:
    r"""Tell whether a text may be a statement of the lake's; False means that it is none.

    >>> is_statement("SELECT 'insert'"), is_statement("-- nightly\nINSERT INTO gold.t SELECT 1")
    (False, True)
    >>> is_statement("WITH a AS (SELECT 1 AS update) FROM a")
    True
    """
    match = _FIRST.match(sql)
    word = "" if match is None else match[1].lower()
    if word == "/*":
        word = next((token.text.lower() for token in tokens(sql) if token.text != ";"), "")
    return word in _OURS or (word == "with" and _CHANGE.search(sql) is not None)
