"""The views of a lake: queries that the catalog keeps under a name."""

from __future__ import annotations

import dataclasses
from datetime import datetime

from catalog.catalog import Catalog
from catalog.changes import DropView
from catalog.errors import AlreadyExistsError, InputError
from catalog.names import validate_table_name
from catalog.state import ViewEntry, find
from lakehouse.lake.queries import Queries
from lakehouse.scan.tokens import tokens


@dataclasses.dataclass(frozen=True, slots=True)
class ViewInfo:
    """Describe a view: its SQL, and the tables and views that this reads."""

    name: str
    layer: str
    sql: str
    depends_on: tuple[str, ...]
    description: str | None
    owner: str | None
    created: datetime


@dataclasses.dataclass(frozen=True, slots=True)
class DropViewReport:
    """Report a dropped view, and ``views`` that were dropped with it."""

    name: str
    sql: str
    views: tuple[str, ...]


class Views:
    """Create, list and drop views; safe between threads."""

    def __init__(self, catalog: Catalog, queries: Queries) -> None:
        self._catalog = catalog
        self._queries = queries

    def create(self, name: str, query: str, *, description: str | None, replace: bool) -> ViewInfo:
        """Keep a query, as `Lake.create_view` does."""
        sql = query.strip().rstrip(";").rstrip()
        if any(token.kind == "parameter" for token in tokens(sql)):
            raise InputError(
                f"view {name} cannot hold parameters", next_step="Write the values into its query"
            )
        state = self._catalog.state
        layer, short = validate_table_name(name)
        whole = f"{state.layer(layer).name}.{short}"
        known = find(state.entries, whole)
        if known is not None and (known.name in state.tables or not replace):
            raise AlreadyExistsError(
                f"{'view' if known.name in state.views else 'table'} {known.name} exists",
                next_step="Use another name, or CREATE OR REPLACE VIEW (replace=True) for a view",
                name=known.name,
            )
        view = ViewEntry(whole if known is None else known.name, sql, (), state.timestamp)
        entry = self._catalog.add_view(
            name,
            sql,
            depends_on=self._queries.try_view(view),
            description=description,
            replace=replace,
        )
        return _info(entry)

    def drop(self, name: str, *, cascade: bool) -> DropViewReport:
        """Drop a view, as `Lake.drop_view` does."""
        before, after = self._catalog.transition([DropView(name, cascade)])
        entry = before.view(name)
        gone = tuple(view for view in before.views if view not in after.views)
        return DropViewReport(
            entry.name, entry.sql, tuple(view for view in gone if view != entry.name)
        )

    def info(self, name: str) -> ViewInfo:
        """Return what the catalog knows of a view."""
        return _info(self._catalog.view(name))

    def infos(self, layer: str | None) -> list[ViewInfo]:
        """Return what the catalog knows of the views, ordered by name."""
        return [_info(entry) for entry in self._catalog.views(layer)]


def _info(entry: ViewEntry) -> ViewInfo:
    return ViewInfo(
        name=entry.name,
        layer=entry.layer,
        sql=entry.sql,
        depends_on=entry.depends_on,
        description=entry.description,
        owner=entry.owner,
        created=entry.created,
    )
