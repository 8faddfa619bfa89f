"""A query that is ready to run: here, or in a process for untrusted SQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from lakehouse.duck.engine import Engine, Relation
from lakehouse.scan.asked import Params
from lakehouse.scan.may import May
from lakehouse.scan.plan import Reach
from lakehouse.scan.report import Kept, QueryRef, TableRef, TableScan


class Door(Protocol):
    """Plan untrusted queries."""

    def prepare(
        self,
        sql: str,
        refs: Sequence[TableRef],
        params: Params = None,
        *,
        queries: Sequence[QueryRef] = (),
    ) -> Planned:
        """Plan a query over tables, ``refs``, and views, ``queries``."""


class Planned(Protocol):
    """Run a query, or tell its plan; where it can be done ``once``, either of them."""

    @property
    def once(self) -> bool:
        """Tell whether it is done with after its plan, or its result."""

    @property
    def is_kept(self) -> bool:
        """Tell whether what an earlier run gave answers it."""

    @property
    def engine(self) -> Engine:
        """Return the engine that holds the tables' file indexes."""

    @property
    def choices(self) -> Sequence[tuple[TableRef, May, Sequence[Reach], Kept]]:
        """Return what was chosen of each table, and the filters that it was chosen by."""

    def relation(self) -> Relation:
        """Return the result."""

    def plan(self) -> str:
        """Return DuckDB's plan as text."""

    def tables(self) -> tuple[TableScan, ...]:
        """Return what is read of each table."""

    def close(self) -> None:
        """Let it go."""
