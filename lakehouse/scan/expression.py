"""Read an expression of a change: what it names, and what would differ from call to call in it.

DuckDB's own parser says what the text holds. An expression of a change is evaluated several times
(to choose files, to count, to copy, again after a lost race): each time it must say the same.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import re
import weakref
from collections.abc import Iterable, Iterator
from typing import Any

from catalog.errors import InputError
from lakehouse.duck.engine import Connection, Engine
from lakehouse.duck.sql import literal
from lakehouse.scan.volatile import MAY_CHANGE

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
_UNFIXED: weakref.WeakKeyDictionary[Engine, frozenset[str]] = weakref.WeakKeyDictionary()


@dataclasses.dataclass(frozen=True, slots=True)
class Expression:
    """Hold a checked expression.

    ``text`` is what the caller wrote, ``sql`` what is run: a single expression in which the
    current time is a constant, and ``tree`` that as DuckDB's parser gives it. ``references`` are
    the names in it, part by part, in lower case: columns and parameters of lambdas.
    """

    text: str
    sql: str
    tree: Node
    references: frozenset[tuple[str, ...]]

    @property
    def is_null(self) -> bool:
        """Tell whether it is NULL as such."""
        return self.tree["class"] == "CONSTANT" and is_null_constant(self.tree)


def parse_expression(
    text: str,
    *,
    columns: Iterable[str],
    engine: Engine,
    what: str = "an expression",
    clock: Connection | None = None,
) -> Expression:
    """Return an expression over rows with these columns; InputError where it cannot be used.

    Refused are what is no single expression, subqueries, parameters, and functions whose value
    is not fixed by the row (``random`` ...). ``now()``, ``current_date`` and the like become
    constants: those of ``clock``, a connection in a transaction, where several expressions are of
    one moment. ``what`` is for errors.
    """
    if not text.strip():
        raise InputError(f"{what} is expected, and this is empty")
    known = frozenset(name.lower() for name in columns)
    with engine.work(f"read {what}") as cursor:
        try:
            tree = _parse(cursor, text, what)
            nodes = tuple(_nodes(tree))
            clocks = [node for node in nodes if _clock(node, known)]
            _refuse(cursor, nodes, what, engine)
            sql = _fixed(cursor if clock is None else clock, text, clocks)
            references = [n for n in nodes if n["class"] == "COLUMN_REF" and n not in clocks]
            if clocks:
                tree = _parse(cursor, sql, what)
        except RecursionError as error:
            raise InputError(
                f"{what} is nested too deeply",
                next_step="Write lists as IN (...), and sums as one function",
            ) from error
    return Expression(text, sql, tree, frozenset(tuple(lower(node)) for node in references))


def references_of(tree: Node) -> list[Node]:
    """Return the references to columns in a tree."""
    return [node for node in _nodes(tree) if node["class"] == "COLUMN_REF"]


def conjuncts(tree: Node) -> Iterator[Node]:
    """Yield the conditions that all must be true where the whole is."""
    if tree["type"] == "CONJUNCTION_AND":
        for child in tree["children"]:
            yield from conjuncts(child)
    else:
        yield tree


def text_of(cursor: Connection, tree: Node) -> str:
    """Return the SQL of a tree."""
    tree = copy.deepcopy(tree)
    for node in _nodes(tree):
        if node["type"] == "STRUCT_EXTRACT":
            # DuckDB writes the field of (s)."it's" as "it''s", but that of (s)['it''s'] right.
            node["type"] = "ARRAY_EXTRACT"
    row = cursor.execute("SELECT json_serialize_sql('SELECT 1')").fetchone()
    assert row is not None
    query = json.loads(row[0])
    query["statements"][0]["node"]["select_list"] = [tree]
    row = cursor.execute("SELECT json_deserialize_sql(?::JSON)", [json.dumps(query)]).fetchone()
    assert row is not None
    return str(row[0]).removeprefix("SELECT ")


def lower(reference: Node) -> list[str]:
    """Return the parts of a reference's name in lower case."""
    return [str(part).lower() for part in reference["column_names"]]


def is_null_constant(tree: Node) -> bool:
    """Tell whether a constant is NULL: DuckDB 2 and 1.5 write it in two ways."""
    value, written = tree.get("value") or {}, tree.get("literal") or {}
    return bool(value.get("is_null")) or written.get("kind") == "NULL_LITERAL"


def _parse(cursor: Connection, text: str, what: str) -> Node:
    # In brackets, so that a text that closes one parenthesis and opens another is no expression.
    row = cursor.execute("SELECT json_serialize_sql(?)", [f"{_BEFORE}{text}\n]"]).fetchone()
    assert row is not None
    found = json.loads(row[0])
    if found.get("error"):
        raise InputError(f"{what} cannot be read: {found.get('error_message')}: {text[:200]}")
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
        raise InputError(f"{what} is one expression: {text[:200]}")
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


def _refuse(cursor: Connection, nodes: tuple[Node, ...], what: str, engine: Engine) -> None:
    unfixed: frozenset[str] | None = None
    for node in nodes:
        kind = node["class"]
        if kind == "SUBQUERY":
            raise InputError(
                f"a subquery cannot stand in {what} of a change",
                next_step="Run the query first and put its values in",
            )
        if kind == "PARAMETER":
            raise InputError(f"{what} takes no parameters", next_step="Write the value out")
        if kind in ("STAR", "WINDOW", "DEFAULT"):
            raise InputError(f"a {kind.lower()} cannot stand in {what}")
        if kind != "FUNCTION":
            continue
        name = str(node["function_name"]).lower()
        if name in _CLOCKS and not _arguments(node):
            continue
        if node["is_operator"] and not _WORD.search(name):
            continue  # such as %, and to list all functions takes 20 ms
        unfixed = _unfixed(cursor, engine) if unfixed is None else unfixed
        if name in unfixed or (name == "age" and len(_arguments(node)) == 1):
            raise InputError(
                f"{name}() is not fixed by a row's values, so that it cannot stand in {what}",
                next_step="Compute the value first and write it in",
            )


def unfixed(cursor: Connection) -> frozenset[str]:
    """Return the functions whose result differs between two runs of a query in one transaction."""
    return _list_unfixed(cursor) - _CLOCKS - _SESSION


def is_fixed(cursor: Connection, texts: Iterable[str], unfixed: frozenset[str]) -> bool:
    """Tell whether a query finds the same rows each time, in one transaction.

    ``texts`` are its own and those of its views. Names tell it: of functions, and of databases that
    are not ours, where views and macros may call any function.
    """
    text = "\n".join(texts).lower()
    if unfixed.intersection(_WORD.findall(text)):
        return False
    rows = cursor.execute(
        "SELECT lower(database_name) FROM duckdb_databases() "
        "WHERE NOT regexp_full_match(database_name, 'stand_in|(plan|scan|probe)[0-9]+')"
    ).fetchall()
    if not any(name in text for (name,) in rows):
        return True
    views = cursor.execute("SELECT lower(sql) FROM duckdb_views() WHERE NOT internal").fetchall()
    every = "\n".join([text, *(view for (view,) in views)])
    names = _list_unfixed(cursor) - _CLOCKS - _SESSION
    return not names.intersection(_WORD.findall(every))


def _unfixed(cursor: Connection, engine: Engine) -> frozenset[str]:
    """Return the functions, and macros of them, that differ between rows, calls or sessions."""
    known = _UNFIXED.get(engine)
    if known is None:
        known = _UNFIXED[engine] = _list_unfixed(cursor)
    return known


def _list_unfixed(cursor: Connection) -> frozenset[str]:
    rows = cursor.execute(
        "SELECT DISTINCT lower(function_name), macro_definition FROM duckdb_functions() "
        f"WHERE function_type IN ('scalar', 'macro', 'table_macro') AND {MAY_CHANGE}"
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
        raise InputError(
            f"write {name}() without quotes and comments in an expression: {text[:200]}"
        )
    return start, found.end(), found[0].decode()
