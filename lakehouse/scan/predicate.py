"""Check a predicate before rows are changed by it, and fix what would differ from call to call.

DuckDB's own parser says what the text holds. A predicate of a change is evaluated several times
(to choose files, to count, to copy, again after a lost race): each time it must say the same.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from typing import Any

from catalog.errors import InputError
from lakehouse.duck.engine import Connection, Engine
from lakehouse.duck.sql import literal

Node = dict[str, Any]
_BEFORE = "SELECT ["
_CLOCKS = frozenset(
    (
        "now", "today", "current_date", "current_time", "current_timestamp", "localtime",
        "localtimestamp", "current_localtime", "current_localtimestamp", "get_current_time",
        "get_current_timestamp", "transaction_timestamp",
    )
)  # fmt: skip
_WORD = re.compile(r"\w+")
# Those that DuckDB 1.5 takes for fixed.
_SESSION = frozenset(("current_setting", "getvariable"))
# What is NULL only where one of its parts is.
_STRICT = re.compile(
    r"COMPARE_(EQUAL|NOTEQUAL|(LESS|GREATER)THAN(OREQUALTO)?|BETWEEN|(NOT_)?IN|(NOT_)?DISTINCT_FROM)"
    r"|CONJUNCTION_(AND|OR)|OPERATOR_(NOT|IS_NULL|IS_NOT_NULL)"
)


@dataclasses.dataclass(frozen=True, slots=True)
class Predicate:
    """Hold a checked predicate.

    ``text`` is what the caller wrote, ``sql`` what is run: a single expression in which the
    current time is a constant. ``names`` are the names in it, in lower case, without those of
    struct fields: columns and parameters of lambdas. ``null_with`` are columns such that it is
    NULL at most where one of them is; None where that is not known. ``constant`` is its value
    where it names nothing, else None.
    """

    text: str
    sql: str
    names: frozenset[str]
    null_with: frozenset[str] | None
    constant: bool | None


def parse_predicate(text: str, *, columns: tuple[str, ...], engine: Engine) -> Predicate:
    """Return a predicate over a table's rows, checked; InputError where it cannot be used.

    Refused are what is no single expression, subqueries, parameters, and functions whose value
    is not fixed by the row (``random`` ...). ``now()``, ``current_date`` and the like become
    constants.
    """
    if not text.strip():
        raise InputError(
            "a predicate is expected", next_step="Pass SQL such as where=\"day < '2024-01-01'\""
        )
    known = frozenset(name.lower() for name in columns)
    with engine.work("read the predicate") as cursor:
        try:
            tree = _parse(cursor, text)
            null_with = _null_with(tree, known)
        except RecursionError as error:
            raise InputError(
                "this predicate is nested too deeply",
                next_step="Write lists as IN (...), and sums as one function",
            ) from error
        nodes = tuple(_nodes(tree))
        clocks = [node for node in nodes if _clock(node, known)]
        _refuse(cursor, nodes)
        sql = _fixed(cursor, text, clocks)
        references = [n for n in nodes if n["class"] == "COLUMN_REF" and n not in clocks]
        names = frozenset(_lower(node)[0] for node in references)
        constant = None if names else _value(cursor, sql)
    return Predicate(text, sql, names, null_with, constant)


def no_predicate(text: str, type_: str) -> InputError:
    """Return the error for an expression that is neither true nor false."""
    return InputError(
        f"a predicate is true or false, and this is {type_}: {text[:200]}",
        next_step="Compare it with a value",
    )


def _parse(cursor: Connection, text: str) -> Node:
    # In brackets, so that a text that closes one parenthesis and opens another is no expression.
    row = cursor.execute("SELECT json_serialize_sql(?)", [f"{_BEFORE}{text}\n]"]).fetchone()
    assert row is not None
    found = json.loads(row[0])
    if found.get("error"):
        raise InputError(
            f"this predicate cannot be read: {found.get('error_message')}: {text[:200]}"
        )
    statements = found["statements"]
    node = statements[0]["node"]
    expressions = node.get("select_list", [])
    plain = (
        len(statements) == len(expressions) == 1
        and node["from_table"]["type"] == "EMPTY"
        and not (node["where_clause"] or node["modifiers"] or node["having"] or node["qualify"])
        and expressions[0].get("function_name") == "list_value"
        and not expressions[0]["is_operator"]
    )
    items = _arguments(expressions[0]) if plain else []
    if len(items) != 1:
        raise InputError(f"a predicate is one expression: {text[:200]}")
    return items[0]


def _arguments(function: Node) -> list[Node]:
    """Return a function's arguments: DuckDB 2 and 1.5 write them in two ways."""
    if "arguments" in function:
        return [argument["expression"] for argument in function["arguments"]]
    found: list[Node] = function["children"]
    return found


def _nodes(value: Any) -> Iterator[Node]:
    if isinstance(value, dict):
        if "class" in value:
            yield value
        for child in value.values():
            yield from _nodes(child)
    elif isinstance(value, list):
        for child in value:
            yield from _nodes(child)


def _clock(node: Node, columns: frozenset[str]) -> str | None:
    """Return the name of a function of the current time, or None for anything else."""
    if node["class"] == "FUNCTION" and not _arguments(node):
        name = str(node["function_name"]).lower()
    elif node["class"] == "COLUMN_REF" and len(node["column_names"]) == 1:
        name = str(node["column_names"][0]).lower()
        if name in columns:
            return None
    else:
        return None
    return name if name in _CLOCKS else None


def _refuse(cursor: Connection, nodes: tuple[Node, ...]) -> None:
    unfixed: frozenset[str] | None = None
    for node in nodes:
        kind = node["class"]
        if kind == "SUBQUERY":
            raise InputError(
                "a subquery cannot stand in the predicate of a change",
                next_step="Run the query first and put its values into the predicate",
            )
        if kind == "PARAMETER":
            raise InputError("a predicate takes no parameters", next_step="Write the value out")
        if kind in ("STAR", "WINDOW", "DEFAULT"):
            raise InputError(f"a {kind.lower()} cannot stand in a predicate")
        if kind != "FUNCTION":
            continue
        name = str(node["function_name"]).lower()
        if name in _CLOCKS and not _arguments(node):
            continue
        unfixed = _unfixed(cursor) if unfixed is None else unfixed
        if name in unfixed or (name == "age" and len(_arguments(node)) == 1):
            raise InputError(
                f"{name}() is not fixed by a row's values, so that it cannot say which rows change",
                next_step="Compute the value first and write it into the predicate",
            )


def unfixed(cursor: Connection) -> frozenset[str]:
    """Return the functions whose result differs between two runs of a query in one transaction."""
    return _unfixed(cursor) - _CLOCKS - _SESSION


def is_fixed(cursor: Connection, sql: str, unfixed: frozenset[str]) -> bool:
    """Tell whether a query finds the same rows each time, in one transaction.

    Names tell it: of functions, and of databases that are not ours, where views and macros may
    call any function.
    """
    words = {word.lower() for word in _WORD.findall(sql)}
    if words & unfixed:
        return False
    rows = cursor.execute(
        "SELECT lower(database_name) FROM duckdb_databases() "
        "WHERE NOT regexp_full_match(database_name, 'stand_in|(plan|scan|probe)[0-9]+')"
    ).fetchall()
    if not any(name in sql.lower() for (name,) in rows):
        return True
    views = cursor.execute("SELECT sql FROM duckdb_views() WHERE NOT internal").fetchall()
    texts = "\n".join(text for (text,) in views)
    names = _unfixed(cursor) - _CLOCKS - _SESSION
    return not names.intersection(map(str.lower, _WORD.findall(f"{sql}\n{texts}")))


def _unfixed(cursor: Connection) -> frozenset[str]:
    """Return the functions, and macros of them, that differ between rows, calls or sessions."""
    rows = cursor.execute(
        "SELECT DISTINCT lower(function_name), macro_definition FROM duckdb_functions() "
        "WHERE function_type IN ('scalar', 'macro', 'table_macro') "
        "AND stability IS DISTINCT FROM 'CONSISTENT'"
    ).fetchall()
    scalars = _SESSION | {name for name, macro in rows if macro is None}
    words = re.compile(rf"\b({'|'.join(map(re.escape, scalars | _CLOCKS))})\b")
    return frozenset(scalars | {name for name, macro in rows if macro and words.search(macro)})


def _fixed(cursor: Connection, text: str, clocks: list[Node]) -> str:
    """Return the predicate with the current time as constants, all of one moment."""
    if not clocks:
        return text
    raw = text.encode()
    spans = [_span(raw, node, text) for node in clocks]
    shown = ", ".join(f"typeof({e}), CAST({e} AS VARCHAR)" for _, _, e in spans)
    row = cursor.execute(f"SELECT {shown}").fetchone()
    assert row is not None
    values = dict(zip(spans, zip(row[::2], row[1::2], strict=True), strict=True))
    for start, end, expression in sorted(spans, reverse=True):
        type_, value = values[start, end, expression]
        constant = f"CAST({literal(value)} AS {type_})"
        raw = raw[:start] + constant.encode() + raw[end:]
    return raw.decode()


def _span(raw: bytes, node: Node, text: str) -> tuple[int, int, str]:
    is_call = node["class"] == "FUNCTION"
    name = node["function_name"] if is_call else node["column_names"][0]
    pattern = (re.escape(str(name)) + (r"\s*\(\s*\)" if is_call else r"\b")).encode()
    start = node["query_location"] - len(_BEFORE)
    found = re.compile(pattern, re.IGNORECASE).match(raw, start) if start >= 0 else None
    if found is None:
        raise InputError(f"write {name}() without quotes and comments in a predicate: {text[:200]}")
    return start, found.end(), found[0].decode()


def _value(cursor: Connection, sql: str) -> bool:
    type_, matches = f"SELECT typeof(({sql}\n))", f"SELECT 1 FROM (SELECT 1) WHERE ({sql}\n)"
    row = cursor.execute(type_).fetchone()
    assert row is not None
    if row[0] not in ("BOOLEAN", '"NULL"'):
        raise no_predicate(sql, row[0])
    return cursor.execute(matches).fetchone() is not None


def _null_with(tree: Node, columns: frozenset[str]) -> frozenset[str] | None:
    """Return the columns that decide whether the predicate is NULL, if nothing else does."""
    if tree["class"] == "COLUMN_REF":
        name = str(tree["column_names"][0]).lower()
        # A name of several parts is a struct's field, or has the table's before it.
        return frozenset((name,)) if [name] == _lower(tree) and name in columns else None
    if tree["class"] == "CAST" and not tree["try_cast"]:
        return _null_with(tree["child"], columns) if tree["child"]["class"] == "CONSTANT" else None
    if tree["class"] == "CONSTANT":
        value, written = tree.get("value") or {}, tree.get("literal") or {}
        is_null = value.get("is_null") or written.get("kind") == "NULL_LITERAL"
        return None if is_null else frozenset()
    if not _STRICT.fullmatch(tree["type"]):
        return None
    parts = [_null_with(child, columns) for child in _children(tree)]
    return None if None in parts else frozenset().union(*(part for part in parts if part))


def _children(tree: Node) -> Iterator[Node]:
    for value in tree.values():
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, dict) and "class" in child:
                yield child


def _lower(reference: Node) -> list[str]:
    return [str(part).lower() for part in reference["column_names"]]
