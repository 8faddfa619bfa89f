"""Relations that the lake makes itself: ``system.tables`` and ``system.maintenance`` in SQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from catalog import lazy
from catalog.catalog import Catalog
from catalog.records import MAINTENANCE, Records
from lakehouse.duck.sql import identifier
from lakehouse.scan.tokens import Token, tokens

pa: Any = lazy.module("pyarrow")

SCHEMA = "system"
SYSTEM = ("system.tables", "system.maintenance")
_NAMES = ("word", "quoted")
TABLES: Mapping[str, str] = MappingProxyType(
    {
        "table_name": "text",
        "layer": "text",
        "table_id": "text",
        "location": "text",
        "managed": "flag",
        "created": "time",
        "description": "text",
        "owner": "text",
    }
)
RUNS: Mapping[str, str] = MappingProxyType(
    {
        "run": "text",
        "table_name": "text",
        "table_id": "text",
        "started": "time",
        "seconds": "real",
        "outcome": "text",
        "worker": "text",
        "version": "number",
        "files_before": "number",
        "files_after": "number",
        "bytes_before": "number",
        "bytes_after": "number",
        "sizes_before": "numbers",
        "sizes_after": "numbers",
        "bins": "number",
        "bytes_rewritten": "number",
        "files_deleted": "number",
        "bytes_deleted": "number",
        "log_entries": "number",
        "skipped": "texts",
        "problems": "texts",
    }
)
"""The columns of ``system.maintenance``: a row a run of upkeep on a table, sizes in bytes."""


class SystemRelations:
    """Make the relations that a query names; each is what the lake says at that moment."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._records = Records(catalog.storage.child(MAINTENANCE))
        self._known: Mapping[str, Callable[[], Any]] = {
            "tables": self._tables,
            "maintenance": self._maintenance,
        }

    def given(self, query: str) -> tuple[str, dict[str, Any]]:
        """Return a query in which they have names that DuckDB finds, and their rows by name."""
        if SCHEMA not in query.lower():
            return query, {}
        words = tokens(query)
        here = [n for n, word in enumerate(words) if _is_name(word, SCHEMA)]
        if any(words[n + 1 : n + 2] == [] or words[n + 1].text != "." for n in here):
            return query, {}  # it is an alias in this query, and what follows it are columns
        found: set[str] = set()
        out, end = [], 0
        for n in here:
            name = words[n + 2].text.lower() if n + 2 < len(words) else ""
            if name not in self._known or (n and words[n - 1].text == "."):
                continue
            found.add(name)
            out += [query[end : words[n].start], f"temp.main.{identifier(name)}"]
            end = words[n + 2].end
        return "".join([*out, query[end:]]), {name: self._known[name]() for name in sorted(found)}

    def _tables(self) -> Any:
        rows = [
            {
                "table_name": entry.name,
                "layer": entry.layer,
                "table_id": entry.id,
                "location": entry.location,
                "managed": entry.managed,
                "created": entry.created,
                "description": entry.description,
                "owner": entry.owner,
            }
            for entry in self._catalog.tables()
        ]
        return _table(rows, TABLES)

    def _maintenance(self) -> Any:
        return _table(self._records.all(), RUNS)


def _is_name(word: Token, name: str) -> bool:
    return word.kind in _NAMES and word.text.lower() == name


def _types() -> dict[str, Any]:
    text, number = pa.string(), pa.int64()
    return {
        "text": text,
        "texts": pa.list_(text),
        "number": number,
        "numbers": pa.list_(number),
        "real": pa.float64(),
        "flag": pa.bool_(),
        "time": pa.timestamp("us", "UTC"),
    }


def _table(rows: list[Any], columns: Mapping[str, str]) -> Any:
    arrays, types = {}, _types()
    for name, kind in columns.items():
        values = [row.get(name) for row in rows]
        if kind == "time":
            values = [datetime.fromisoformat(v) if isinstance(v, str) else v for v in values]
        arrays[name] = pa.array(values, types[kind])
    return pa.table(arrays)
