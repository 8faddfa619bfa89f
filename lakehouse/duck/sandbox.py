"""DuckDB instances that reach nothing: no file but those named, no network, no extension.

For the process that runs untrusted SQL. Source: DuckDB documentation, "Securing DuckDB".
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import duckdb

from lakehouse.duck.engine import Connection
from lakehouse.duck.sql import literal, literals


def isolated(
    meaning: Mapping[str, Any],
    *,
    memory_limit: int,
    threads: int,
    allowed: Iterable[str] = (),
    file_system: Any = None,
) -> Connection:
    """Open an instance that can read the files ``allowed`` and nothing else.

    ``file_system`` (fsspec) opens those that are not on local disk.
    ``meaning`` are settings that queries depend on. Nothing spills: what does not fit into
    ``memory_limit`` (bytes) fails.
    """
    connection = duckdb.connect(
        ":memory:",
        config={
            "memory_limit": f"{memory_limit}B",
            "threads": threads,
            "temp_directory": "",
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "allow_community_extensions": False,
            "python_enable_replacements": False,
            "arrow_lossless_conversion": True,
        },
    )
    for name, value in meaning.items():
        connection.execute(f"SET GLOBAL {name} = {literal(str(value))}")
    if file_system is not None:
        # First: DuckDB 1.5 takes a URL of a scheme that it does not know for a local path.
        connection.register_filesystem(file_system)
    connection.execute(f"SET allowed_paths = {literals(allowed)}")
    connection.execute("SET allowed_directories = []")
    connection.execute("SET enable_external_access = false")
    return connection


def lock(connection: Connection) -> None:
    """Let no setting be changed any more."""
    connection.execute("SET lock_configuration = true")


def parsed(connection: Connection, sql: str) -> Any:
    """Return DuckDB's own syntax tree of a query; it has ``error`` set for all other statements."""
    # No parameter: DuckDB 1.5 imports pandas, where it is installed, to look at one.
    row = connection.execute(f"SELECT json_serialize_sql({literal(sql)})").fetchone()
    assert row is not None
    return json.loads(row[0])
