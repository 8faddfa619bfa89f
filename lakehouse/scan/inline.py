"""Write what a query reads into its text, so that it stands by itself.

A view and a variable cost DuckDB more than to read a small file: it binds them once for the
relation and once more to run it, and a connection has to be told of both before.
"""

from __future__ import annotations

import datetime as dt
import decimal
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from lakehouse.duck.sql import identifier, literal
from lakehouse.scan.names import alias_at
from lakehouse.scan.tokens import tokens

_QUERIES = ("select", "from", "with")
_NAMES = ("word", "quoted")
_TYPES = ("BIGINT", "INTEGER", "SMALLINT", "TINYINT", "HUGEINT", "BOOLEAN", "DATE", "VARCHAR", "DOUBLE")  # fmt: skip

Place = tuple[str, str]


def inlined(sql: str, bodies: Mapping[Place, str], scans: Mapping[Place, int]) -> str | None:
    r"""Return a query with queries, ``bodies``, in the places of tables; None where in doubt.

    ``scans`` counts how often its plan scans each table: a name that is none (``EXTRACT(year FROM
    a.b)``) is told by that. Pure.

    >>> one = {("s", "t"): "FROM 'a.parquet'"}
    >>> inlined("SELECT t.i FROM s.t WHERE i = 1", one, {("s", "t"): 1})
    'SELECT t.i FROM (FROM \'a.parquet\') AS "t" WHERE i = 1'
    >>> inlined("SELECT s.t.i FROM s.t", one, {("s", "t"): 1})
    """
    found = tokens(sql)
    if not found or found[0].text.lower() not in _QUERIES:
        return None
    words = [token.text.lower() if token.kind in _NAMES else "" for token in found]
    mentions: Counter[Place] = Counter()
    out, end = [], 0
    for index in range(len(found) - 2):
        place = words[index], words[index + 2]
        if found[index + 1].text != "." or place not in bodies:
            continue
        follows = found[index + 3].text if index + 3 < len(found) else ""
        if index == 0:
            return None
        before = found[index - 1]
        is_table = before.kind == "word" and words[index - 1] in ("from", "join")
        is_compared = index > 1 and words[index - 2] == "distinct"
        if not is_table or is_compared or follows in (".", "("):
            return None
        mentions[place] += 1
        alias, _ = alias_at(found, index + 3)
        named = "" if alias is not None else f" AS {identifier(found[index + 2].text)}"
        out += [sql[end : found[index].start], f"({bodies[place]}){named}"]
        end = found[index + 2].end
    return "".join([*out, sql[end:]]) if mentions == Counter(scans) else None


def constants(columns: Sequence[tuple[str, str]], row: Sequence[Any]) -> str | None:
    """Return a query that gives one row; None where its values may not survive as text.

    ``columns`` are their names and types. Pure.

    >>> constants([("count_star()", "BIGINT"), ("low", "DATE")], (3, None))
    'SELECT CAST(3 AS BIGINT) AS "count_star()", CAST(NULL AS DATE) AS "low"'
    """
    shown = [_constant(type_, value) for (_, type_), value in zip(columns, row, strict=True)]
    known = [value for value in shown if value is not None]
    if len(known) < len(shown):
        return None
    selected = [
        f"CAST({value} AS {type_}) AS {identifier(name)}"
        for (name, type_), value in zip(columns, known, strict=True)
    ]
    return f"SELECT {', '.join(selected)}"


def _constant(type_: str, value: Any) -> str | None:
    if type_ not in _TYPES and not type_.startswith("DECIMAL("):
        return None
    match value:
        case None:
            return "NULL"
        case bool():
            return str(value).upper()
        case int():
            return str(value)
        case float() if math.isfinite(value):
            return literal(repr(value))
        case str() if "\0" not in value:
            return literal(value)
        case dt.date() if value in (dt.date.min, dt.date.max):
            return None  # it may stand for an infinite one
        case decimal.Decimal():
            return literal(f"{value:f}")  # DuckDB does not read all of them with an exponent
        case dt.date():
            return literal(str(value))
        case _:
            return None
