"""What untrusted SQL may say: queries of the lake's tables, and functions that compute.

Pure: it judges the syntax tree that DuckDB itself makes of the text. What it does not know it
refuses. It is the first of three walls: behind it DuckDB runs with everything switched off but
the planned files, in a process that knows no secret and has hard limits.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from catalog.errors import InputError

_NODES = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})
_TABLES = frozenset(
    {"BASE_TABLE", "TABLE_FUNCTION", "SUBQUERY", "JOIN", "EMPTY", "EXPRESSION_LIST", "PIVOT"}
)
_MODIFIERS = frozenset(
    {
        "ORDER_MODIFIER",
        "LIMIT_MODIFIER",
        "LIMIT_PERCENT_MODIFIER",
        "DISTINCT_MODIFIER",
        "ORDER_DEFAULT",
        "ASCENDING",
        "DESCENDING",
    }
)
_TABLE_FUNCTIONS = frozenset(
    {"range", "generate_series", "unnest", "repeat", "repeat_row", "json_each", "json_tree"}
)
# Functions that tell of the session, change it, run or show SQL, or wait.
_FORBIDDEN = frozenset(
    [
        "current_connection_id",
        "current_query",
        "current_query_id",
        "current_setting",
        "current_transaction_id",
        "currval",
        "getenv",
        "getvariable",
        "in_search_path",
        "json_deserialize_sql",
        "json_execute_serialized_sql",
        "json_serialize_plan",
        "json_serialize_sql",
        "nextval",
        "parse_duckdb_log_message",
        "pg_sleep",
        "query",
        "query_table",
        "read_blob",
        "read_text",
        "setval",
        "sleep_ms",
        "stats",
        "txid_current",
        "which_secret",
        "write_log",
    ]
)
_FORBIDDEN_PREFIXES = ("pg_get_", "duckdb_", "pragma_", "__internal_")
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# A common table expression of such a name could stand before something of DuckDB's own.
_TAKEN = ("duckdb_", "pragma_", "sqlite_", "pg_", "information_schema")


def check(tree: Any, tables: frozenset[tuple[str, str]]) -> None:
    """Raise InputError unless a statement reads ``tables`` (layer and name, lower case) only.

    ``tree`` is DuckDB's, of one statement.
    """
    if tree.get("error"):
        raise refused("the statement", "only queries are")
    statements = tree["statements"]
    if len(statements) != 1:
        raise refused("more than one statement", "one is")
    dicts = list(_dicts(statements[0]))
    names = {name.lower() for found in dicts for name in _expressions_named(found)}
    for name in sorted(names):
        if not _PLAIN_NAME.fullmatch(name) or name.startswith(_TAKEN):
            raise refused(f"the name {name!r} in WITH", "names of letters, digits and _ are")
    for found in dicts:
        _check_node(found, tables, names)


def _check_node(node: dict[str, Any], tables: frozenset[tuple[str, str]], names: set[str]) -> None:
    function = node.get("function_name")
    if isinstance(function, str):
        _check_function(node, function.lower())
    kind = node.get("type")
    if "class" in node or not isinstance(kind, str):
        return
    if kind == "BASE_TABLE":
        _check_table(node, tables, names)
    elif kind == "TABLE_FUNCTION":
        name = node["function"].get("function_name", "").lower()
        if node["function"].get("schema") or name not in _TABLE_FUNCTIONS:
            raise refused(f"the table function {name}", "the lake's tables are")
    elif kind == "SHOW_REF":
        if node.get("table_name") or not node.get("query"):
            raise refused("SHOW", "DESCRIBE and SUMMARIZE of a table or query are")
    elif kind not in _NODES | _TABLES | _MODIFIERS and not kind.endswith("_TYPE_INFO"):
        raise refused(kind.replace("_", " ").lower(), "queries of the lake's tables are")


def is_forbidden(name: str) -> bool:
    """Tell whether a function, in lower case, does more than compute.

    >>> is_forbidden("getvariable"), is_forbidden("lower")
    (True, False)
    """
    return name in _FORBIDDEN or name.startswith(_FORBIDDEN_PREFIXES)


def _check_function(node: dict[str, Any], name: str) -> None:
    if is_forbidden(name):
        raise refused(f"the function {name}", "functions that compute are")
    if node.get("schema") not in (None, "", "main") or node.get("catalog") not in (None, ""):
        raise refused(f"the function {node['schema']}.{name}", "functions without a schema are")


def _check_table(node: dict[str, Any], tables: frozenset[tuple[str, str]], names: set[str]) -> None:
    schema, name = node["schema_name"].lower(), node["table_name"].lower()
    known = (schema, name) in tables if schema else name in names
    if node["catalog_name"] or node.get("at_clause") or not known:
        shown = ".".join(part for part in (node["catalog_name"], schema, name) if part)
        raise refused(f"{shown!r} in FROM", "the lake's tables, as layer.table, are", name=shown)


def _expressions_named(node: dict[str, Any]) -> Iterator[str]:
    entries = node.get("cte_map")
    if isinstance(entries, dict):
        for entry in entries["map"]:
            yield str(entry["key"])


def _dicts(tree: Any) -> Iterator[dict[str, Any]]:
    """Yield all objects in a tree; it may be deep, and so is walked without recursion."""
    waiting = [tree]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            yield found
            waiting += found.values()
        elif isinstance(found, list):
            waiting += found


def refused(what: str, instead: str, **attributes: object) -> InputError:
    """Return the error for what untrusted SQL may not say."""
    return InputError(
        f"{what} is not allowed in untrusted SQL; {instead}",
        next_step="Open the lake without untrusted_sql for everything else",
        **attributes,
    )
