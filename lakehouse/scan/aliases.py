"""Find the columns in filters that a plan shows by the names that the query has for them.

What DuckDB pushes into a scan it shows with the stand-in's own column names, which nobody else
has. What stays above the scan, functions and casts, it shows with the table's; these are believed
only where the query is so plain that a name can be nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from lakehouse.scan.names import alias_at
from lakehouse.scan.tokens import Token, tokens

_NAMES = ("word", "quoted")
_QUOTED_CALL = re.compile(r"'(?:[^']|'')*'|\"(\w+)\"\(")
# Words that an expression may have beside names, and words by which names change in a query.
_SYNTAX = frozenset(
    [
        "and",
        "or",
        "not",
        "is",
        "null",
        "true",
        "false",
        "in",
        "like",
        "ilike",
        "between",
        "case",
        "when",
        "then",
        "else",
        "end",
        "cast",
        "try_cast",
        "as",
        "distinct",
        "from",
        "interval",
        "array",
        "row",
        "collate",
        "escape",
        "similar",
        "to",
        "any",
        "all",
        "exists",
        "lambda",
        "subquery",
        "with",
        "time",
        "zone",
        "timestamp",
        "date",
        "varchar",
        "bigint",
        "integer",
        "smallint",
        "tinyint",
        "double",
        "float",
        "decimal",
        "boolean",
        "hugeint",
        "blob",
        "unsigned",
        "struct",
        "map",
        "list",
    ]
)
_RENAMING = frozenset(
    [
        "with",
        "union",
        "except",
        "intersect",
        "pivot",
        "unpivot",
        "columns",
        "lambda",
        "unnest",
        "values",
        "join",
        "having",
        "qualify",
    ]
)


def called(text: str) -> str:
    """Return a filter whose functions have no quotes around their names.

    >>> called('("month"(d) = 3)')
    '(month(d) = 3)'
    """
    return _QUOTED_CALL.sub(lambda match: f"{match[1]}(" if match[1] else match[0], text)


def is_plain(sql: str, schema: str, table: str) -> bool:
    """Tell whether all names in a query are those of one table: nothing in it has others."""
    found = tokens(sql)
    words = [token.text.lower() if token.kind in _NAMES else "" for token in found]
    if words.count("select") != 1 or words.count("from") != 1 or not _RENAMING.isdisjoint(words):
        return False
    first = words.index("from") + 1
    if words[first : first + 3] != [schema.lower(), "", table.lower()]:
        return False
    _, after = alias_at(found, first + 3)
    return after >= len(found) or found[after].text not in ("(", ",")


def resolved(text: str, names: Sequence[str], key: str) -> str:
    """Return a filter with the stand-in's names in place of the columns' own, if they are plain.

    >>> resolved("((i % 2) = 0)", ["i"], "0" * 20)
    '((c0_00000000000000000000 % 2) = 0)'
    """
    if not all(re.fullmatch(r"[^\W\d]\w*", name) and name.lower() not in _SYNTAX for name in names):
        return text
    places = {name: number for number, name in enumerate(names)}
    found = tokens(text)
    if "->" in text or len({name.lower() for name in names}) < len(names):
        return text
    out, end = [], 0
    for index, token in enumerate(found):
        number = places.get(token.text) if token.kind == "word" else None
        if number is None or not _is_column(found, index):
            continue
        out += [text[end : token.start], f"c{number}_{key}"]
        end = token.end
    return "".join((*out, text[end:]))


def _is_column(found: list[Token], index: int) -> bool:
    before = found[index - 1].text.lower() if index else ""
    after = found[index + 1].text if index + 1 < len(found) else ""
    return after != "(" and before not in (".", ":", "as")
