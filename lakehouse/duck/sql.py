"""Quote names and values for SQL text."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable

_GLOB = re.compile(r"[\[*?]")
# The two halves of a map's entry ``x`` in a lambda. A column named ``x`` would hide it, were it
# ``x.key``: DuckDB looks for columns first where there is a dot.
KEY = "struct_extract(x, 'key')"
VALUE = "struct_extract(x, 'value')"
# To keep the order of rows costs DuckDB as much again as to read them from many files, and with a
# LIMIT one thread reads them all. Rows that have met an aggregate's, here a single one, have none.
UNORDERED = "CROSS JOIN (SELECT DISTINCT range AS one FROM range(1)) AS single"


def identifier(name: str) -> str:
    """Quote a name.

    >>> identifier("first name")
    '"first name"'
    """
    return '"' + name.replace('"', '""') + '"'


def whole_name(table: str) -> str:
    """Quote the name of a table and its layer.

    >>> whole_name("silver.flights")
    '"silver"."flights"'
    """
    return ".".join(identifier(part) for part in table.split(".", 1))


def literal(text: str) -> str:
    """Quote a string.

    >>> literal("it's")
    "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"


def literals(texts: Iterable[str]) -> str:
    """Return a list of strings.

    Not for a parameter's place: DuckDB 1.5 imports pandas, where it is installed, to look at one.

    >>> literals(["a", "it's"])
    "['a', 'it''s']"
    """
    return f"[{', '.join(map(literal, texts))}]"


def moment_text(value: dt.datetime) -> str:
    """Return a moment as DuckDB writes it, its zone left out.

    >>> moment_text(dt.datetime(2024, 1, 31, 12, 0, 0, 250_000))
    '2024-01-31 12:00:00.25'
    """
    text = value.replace(tzinfo=None).isoformat(sep=" ")
    return text.rstrip("0") if value.microsecond else text


def escaped(path: str) -> str:
    """Return a path in which a glob's characters stand for themselves.

    >>> escaped("/lake/a[1]*.parquet")
    '/lake/a[[]1][*].parquet'
    """
    return _GLOB.sub(r"[\g<0>]", path) if _GLOB.search(path) else path
