"""What the process of a query is told: values, and nothing that opens anything."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from lakehouse.lake.untrusted.limits import Limits
from lakehouse.scan.report import QueryRef
from lakehouse.scan.views import TableView


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """Hold how a table is called in a query, and its definitions."""

    schema: str
    name: str
    view: TableView


@dataclasses.dataclass(frozen=True, slots=True)
class Job:
    """Hold a query: its text, parameters, tables and views; settings that it depends on."""

    sql: str
    params: Any
    places: tuple[Place, ...]
    queries: tuple[QueryRef, ...]
    limits: Limits
    meaning: Mapping[str, str]


@dataclasses.dataclass(frozen=True, slots=True)
class Planned:
    """Hold the files that a query may read.

    ``kept`` has, by the key of a view, what its variable holds, and ``vectors`` the deleted rows
    (i, n) of tables with deletion vectors: both as Arrow streams. ``allowed`` are the files'
    paths as DuckDB asks for them; ``remote`` are the URLs of tables that the lake reads for it;
    ``explain`` asks for DuckDB's plan instead of the rows.
    """

    kept: Mapping[str, bytes]
    vectors: Mapping[str, bytes]
    allowed: tuple[str, ...]
    remote: tuple[str, ...]
    explain: bool
