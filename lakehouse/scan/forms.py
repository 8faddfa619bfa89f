"""Choose in which form a query's tables are read: by a schema, or as their files are."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lakehouse.duck.engine import Connection, Engine
from lakehouse.scan.asked import Asked
from lakehouse.scan.footers import Footers
from lakehouse.scan.report import Kept, TableRef
from lakehouse.scan.variants import Variant, Variants
from lakehouse.scan.views import TableView

Look = Callable[[], str | None]


class Forms:
    """Choose for the queries of one engine; safe between threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._footers = Footers(engine)
        self._variants = Variants(engine, "plain")

    def is_plain(self, cursor: Connection, ref: TableRef, view: TableView, kept: Kept) -> bool:
        """Tell whether a table, bound on ``cursor``, had better be read as its files are."""
        return all(self._footers.plain(cursor, [ref], [view], [kept], joined=True))

    def fits(self, view: TableView, kept: Kept) -> bool:
        """Tell whether files, known by their names, can be read as they are."""
        return self._footers.fit(view, kept)

    def known(self, asked: Asked, views: Sequence[TableView], kept: Sequence[Kept]) -> str | None:
        """Return SQL that lets tables, of which few files are kept, be read as their files are.

        None where not all of them can be.
        """
        if not all(self._footers.fit(view, one) for view, one in zip(views, kept, strict=True)):
            return None
        plain = [self._plain(ref, view) for ref, view in zip(asked.refs, views, strict=True)]
        return self._engine.search(self._variants.database(plain, asked.queries, asked.others)[0])

    def _plain(self, ref: TableRef, view: TableView) -> Variant:
        return Variant(ref, view, view.plain, self._engine.no_rows(view.stored))

    def look(
        self,
        cursor: Connection,
        asked: Asked,
        views: Sequence[TableView],
        kept: Sequence[Kept],
        *,
        joined: bool,
        at_once: bool,
    ) -> Look:
        """Return a function that looks at the files of a query's tables, all bound on ``cursor``.

        It returns SQL that lets tables be read as their files are, or None where none can be.
        ``at_once`` says that a transaction has begun, in which no new database is seen.
        """

        def look() -> str | None:
            plain = self._footers.plain(cursor, asked.refs, views, kept, joined=joined)
            if not any(plain):
                return None
            variants = [
                self._plain(ref, view)
                if is_plain
                else Variant(ref, view, view.view, self._engine.empty_parquet)
                for ref, view, is_plain in zip(asked.refs, views, plain, strict=True)
            ]
            database, is_new = self._variants.database(variants, asked.queries, asked.others)
            return None if is_new and at_once else self._engine.search(database)

        return look
