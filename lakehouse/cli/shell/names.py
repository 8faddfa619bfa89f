"""The names that completion knows: looked up at need, and again after something may have changed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import lakehouse
from catalog.errors import LakehouseError
from lakehouse.cli.shell.completion import Column, Kind
from lakehouse.duck.sql import whole_name

_FUNCTIONS = """
    SELECT DISTINCT function_name FROM duckdb_functions()
    WHERE regexp_full_match(function_name, '[a-z][a-z0-9_]*') AND function_name NOT LIKE '\\_\\_%'
    ESCAPE '\\' ORDER BY function_name
"""
_KEYWORDS = """
    SELECT keyword_name FROM duckdb_keywords()
    ORDER BY keyword_category <> 'reserved', keyword_name
"""
_Known = TypeVar("_Known")


class LakeNames:
    """Look up names in a lake; safe between threads. What cannot be looked up has no names."""

    def __init__(self, lake: lakehouse.Lake) -> None:
        self._lake = lake
        self._lock = threading.Lock()
        self._fixed: dict[str, Any] = {}
        self._changing: dict[str, Any] = {}

    def forget(self) -> None:
        """Look up tables and columns anew when they are asked for."""
        with self._lock:
            self._changing = {}

    def relations(self) -> Mapping[str, Kind]:
        """Return the whole names of tables and views, and which they are."""
        return self._known(self._changing, "", self._list_relations, {})

    def columns(self, table: str) -> Sequence[Column]:
        """Return the columns of a table or view by its whole name."""
        return self._known(self._changing, table, lambda: self._describe(table), [])

    def functions(self) -> Sequence[str]:
        """Return the names of DuckDB's functions."""
        return self._known(self._fixed, _FUNCTIONS, lambda: self._list(_FUNCTIONS), [])

    def keywords(self) -> Sequence[str]:
        """Return DuckDB's keywords, the reserved ones first."""
        return self._known(self._fixed, _KEYWORDS, lambda: self._list(_KEYWORDS), [])

    def _known(
        self, found: dict[str, Any], key: str, look: Callable[[], _Known], otherwise: _Known
    ) -> _Known:
        with self._lock:
            if key not in found:
                try:
                    found[key] = look()
                except (LakehouseError, OSError):
                    return otherwise  # completion has nowhere to say what is wrong
            known: _Known = found[key]
            return known

    def _list_relations(self) -> dict[str, Kind]:
        tables: dict[str, Kind] = {info.name: "table" for info in self._lake.tables()}
        return tables | {view.name: "view" for view in self._lake.views()}

    def _describe(self, table: str) -> list[Column]:
        rows = self._lake.sql(f"FROM {whole_name(table)}")
        return [Column(n, str(t)) for n, t in zip(rows.columns, rows.types, strict=True)]

    def _list(self, sql: str) -> list[str]:
        return [row[0] for row in self._lake.sql(sql).fetchall()]
