"""`LakeSnapshot`: all tables of a lake at the versions of one moment, to read only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType

from catalog.errors import InputError
from lakehouse.duck.engine import Relation
from lakehouse.lake import explain as explaining
from lakehouse.lake.pins import Pins
from lakehouse.lake.queries import Queries
from lakehouse.scan.asked import Params
from lakehouse.table.pinned import PinnedTable


class LakeSnapshot:
    """Query tables at fixed versions. Made by `Lake.snapshot`; safe between threads."""

    def __init__(
        self, pins: Pins, queries: Queries, *, let_go: Callable[[], None] = lambda: None
    ) -> None:
        self._open: Pins | None = pins
        self._let_go = let_go
        self._queries = queries

    def __repr__(self) -> str:
        return f"LakeSnapshot({'closed' if self._open is None else dict(self.versions)})"

    def __enter__(self) -> LakeSnapshot:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def versions(self) -> Mapping[str, int]:
        """Return the version of each table, by name; without those that cannot be read."""
        return self._pins.versions()

    def sql(self, query: str, params: Params = None) -> Relation:
        """Run a query as `Lake.sql` does; ``AT`` reads other versions. Nothing can be changed."""
        return self._queries.planned(query, params, self._pins).relation()

    def explain(
        self, query: str, params: Params = None, *, analyze: bool = False
    ) -> explaining.Explain:
        """Show what a query reads, as `Lake.explain` does."""
        pins = self._pins
        return explaining.explain(
            lambda: self._queries.planned(query, params, pins), analyze=analyze
        )

    def table(self, name: str) -> PinnedTable:
        """Return a table, to read only; NotFoundError carries the near misses."""
        entry = self._pins.state.table(name)
        return self._queries.handle(entry).pinned(self._pins.snapshot(entry))

    def close(self) -> None:
        """Let the versions go; results that are not read yet can still be read."""
        if self._open is not None:
            self._open = None
            self._let_go()

    @property
    def _pins(self) -> Pins:
        if self._open is None:
            raise InputError("this snapshot is closed", next_step="Take another: lake.snapshot()")
        return self._open
