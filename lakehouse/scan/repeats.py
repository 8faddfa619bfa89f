"""Run queries that come again, while their tables are the same, by what the first run found out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from lakehouse.duck.describe import are_alike
from lakehouse.duck.engine import Engine
from lakehouse.duck.errors import DuckError, Interruption
from lakehouse.scan.asked import Asked
from lakehouse.scan.crumbs import KEEP_FOOTERS, keeps_footers
from lakehouse.scan.forms import Forms
from lakehouse.scan.inline import inlined
from lakehouse.scan.kept import files_of
from lakehouse.scan.prepared import Prepared
from lakehouse.scan.report import TableRef
from lakehouse.scan.settled import Key, Remembered, Settled, key_of
from lakehouse.scan.tally import Tally
from lakehouse.scan.views import TableView, is_wary, told_view

_FEW = 100  # files whose names may stand in a query's text


class Repeats:
    """Hold what is settled of an engine's queries; safe between threads.

    ``view`` returns a table's view, as `Scanner.view`.
    """

    def __init__(
        self, engine: Engine, forms: Forms, tally: Tally, view: Callable[..., TableView]
    ) -> None:
        self._engine = engine
        self._forms = forms
        self._tally = tally
        self._view = view
        self._remembered = Remembered()

    def key(self, asked: Asked) -> Key | None:
        """Return what tells a query from others; None where something else may decide it."""
        if asked.params is not None or asked.given or self._engine.has_temporary:
            return None
        return key_of(asked)

    def keep(self, key: Key, refs: Sequence[TableRef], settled: Settled) -> None:
        """Remember a query that can be run as it stands."""
        self._remembered.keep(key, refs, settled)

    def remember(
        self,
        key: Key,
        asked: Asked,
        prepared: Prepared,
        views: Sequence[TableView],
        generation: int,
    ) -> None:
        """Remember a query that was planned, if all that it needs stands in text."""
        reads = tuple((may, tuple(scans), kept) for _, may, scans, kept in prepared.choices)
        before = tuple(
            files_of(view.key, kept, self._engine)
            for view, (*_, kept) in zip(views, reads, strict=True)
            if kept.patterns is not None
        )
        if 0 < len(before) == len(reads) and asked.is_local:
            if keeps_footers(asked, (kept for *_, kept in reads)):
                before = (KEEP_FOOTERS, *before)
            before = (*before, self._engine.search(f"scan{generation}"))
            self._remembered.keep(
                key, asked.refs, Settled(prepared.sql, before, reads, prepared.off)
            )

    def again(self, key: Key, asked: Asked) -> Prepared | None:
        """Prepare a query that was planned before; the second time, look for a faster form."""
        settled = self._remembered.find(key, asked.refs)
        if settled is None:
            return None
        if not settled.tried:
            settled = self._faster(settled, asked)
            self._remembered.keep(key, asked.refs, settled)
        return self._prepared(settled, asked)

    def settle(self, key: Key | None, asked: Asked, settled: Settled) -> Prepared:
        """Prepare a query that is settled by others, and remember it under its key."""
        if key is not None:
            self._remembered.keep(key, asked.refs, settled)
        return self._prepared(settled, asked)

    def _prepared(self, settled: Settled, asked: Asked) -> Prepared:
        with self._engine.preparing("plan the query") as cursor:
            for statement in settled.before:
                cursor.execute(statement)
        reads = tuple((ref, *read) for ref, read in zip(asked.refs, settled.reads, strict=True))
        return Prepared(
            self._engine,
            cursor,
            settled.sql,
            asked.params,
            reads,
            tally=self._tally,
            off=settled.off,
            lasts=asked.params is None,
        )

    def _faster(self, settled: Settled, asked: Asked) -> Settled:
        """Return a query that reads its files as they are, if all have their table's columns."""
        settled = dataclasses.replace(settled, tried=True)
        wary = is_wary(asked.texts)
        views = [self._view(ref, wary=wary) for ref in asked.refs]
        kept = [kept for *_, kept in settled.reads]
        search = self._forms.known(asked, views, kept)
        if search is None:
            return settled
        plain = dataclasses.replace(settled, before=(*settled.before[:-1], search))
        if asked.queries or sum(len(one.patterns or ()) for one in kept) > _FEW:
            return plain  # DuckDB reads a long text slower than a variable
        bodies = {
            ref.place: told_view(ref.snapshot.files.layout, one.patterns or (), one.rows)
            for ref, one in zip(asked.refs, kept, strict=True)
        }
        scans = {
            ref.place: len(scans)
            for ref, (_, scans, _) in zip(asked.refs, settled.reads, strict=True)
        }
        text = inlined(settled.sql, bodies, scans)
        if text is None:
            return plain
        with self._engine.cursor(counted=False) as cursor:
            try:
                for statement in plain.before:
                    cursor.execute(statement)
            except Interruption:
                raise
            except DuckError:
                return plain
            if not are_alike(cursor, [plain.sql, text]):
                return plain
        before = tuple(statement for statement in plain.before if statement == KEEP_FOOTERS)
        return dataclasses.replace(plain, sql=text, before=before)
