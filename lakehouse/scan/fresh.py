"""Run queries that differ from earlier ones in constants alone, without a plan of their own.

The first query of a shape (`lakehouse.scan.shapes`) tells its filters; the second, that it gives the
same columns where its files stand in its text. From then on a query needs its constants put into
the filters, and the files that these choose put into the text.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from lakehouse.delta.schema.fields import Primitive, Type
from lakehouse.delta.schema.types import to_duckdb
from lakehouse.delta.snapshot import Snapshot
from lakehouse.duck.describe import are_alike
from lakehouse.duck.engine import VERSION, Connection, Engine
from lakehouse.duck.sql import literal, literals
from lakehouse.scan import quick
from lakehouse.scan.asked import LONG, Asked
from lakehouse.scan.crumbs import KEEP_FOOTERS, keeps_footers
from lakehouse.scan.forms import Forms
from lakehouse.scan.inline import inlined
from lakehouse.scan.kept import few_of
from lakehouse.scan.may import May
from lakehouse.scan.plan import Reach
from lakehouse.scan.report import Kept, TableRef
from lakehouse.scan.settled import Settled
from lakehouse.scan.shapes import Shape, shape_of
from lakehouse.scan.templates import Template, template
from lakehouse.scan.views import Source, TableView, frozen_view, is_wary, told_view

_REMEMBERED = 256
_MOST_PARTS = 4  # of a table in one text; each is bound by itself
_LONG = 2_000  # characters: a longer query is quicker planned than taken apart

Key = tuple[object, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class _Known:
    """Hold what is known of a shape: its filters, the columns it reads, and if text will do."""

    template: Template
    columns: frozenset[int]
    told: bool | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Seen:
    """Hold the only scan of a query whose shape, the ``key``, was seen before.

    ``told`` says whether its files may stand in its text; None where nobody has looked.
    """

    key: Key
    scan: Reach
    told: bool | None


class Fresh:
    """Hold the shapes of an engine's queries; safe between threads.

    ``view`` and ``where`` are those of `Scanner`.
    """

    def __init__(
        self,
        engine: Engine,
        forms: Forms,
        view: Callable[[TableRef], TableView],
        where: Callable[[TableRef, Sequence[Reach]], May],
    ) -> None:
        self._engine = engine
        self._forms = forms
        self._view = view
        self._where = where
        self._utc = engine.meaning["timezone"].upper() == "UTC"
        self._known: dict[Key, _Known] = {}

    def seen(self, asked: Asked) -> Seen | None:
        """Return what is known of a query by its shape; None where it has to be planned."""
        shape = self._shape(asked)
        if shape is None:
            return None
        key = self._key(asked, shape)
        known = self._known.get(key)
        filters = None if known is None else known.template.filled(shape, utc=self._utc)
        if known is None or filters is None:
            return None
        return Seen(key, Reach(filters, known.columns), known.told)

    def settled(self, asked: Asked, seen: Seen) -> Settled | None:
        """Return how to run a query that reads a few files; None where it reads others."""
        (ref,), scan = asked.refs, seen.scan
        if not seen.told or not asked.is_local:
            return None
        tests = quick.tests(scan.filters, ref.snapshot.files.layout)
        few = None if tests is None else few_of(ref.snapshot, tests, self._engine)
        if few is None:
            return None
        kept, values = few if few[0].files else self._nothing(ref)
        plain = self._forms.fits(self._view(ref), kept)
        text = self._text(asked, ref, kept, values, plain=plain)
        if text is None:
            return None
        before = (KEEP_FOOTERS,) if keeps_footers(asked, [kept]) else ()
        return Settled(text, before, ((self._where(ref, [scan]), (scan,), few[0]),), tried=True)

    def learn(
        self, asked: Asked, scans: Sequence[Sequence[Reach]], lasting: Callable[[], bool]
    ) -> None:
        """Learn from the plan of a query, whose tables have the ``scans``.

        ``lasting`` tells whether nothing but its tables and its parameters decides the plan.
        """
        shape = self._shape(asked)
        if shape is None or len(scans[0]) != 1 or scans[0][0].order is not None:
            return
        (scan,) = scans[0]
        layout = asked.refs[0].snapshot.files.layout
        found = template(shape, scan.filters, layout, utc=self._utc)
        if found is not None and lasting():
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[self._key(asked, shape)] = _Known(found, scan.columns)

    def look(self, cursor: Connection, asked: Asked, seen: Seen) -> None:
        """Learn whether files may stand in a query's text, from one that can be run on ``cursor``."""
        known = self._known.get(seen.key)
        if seen.told is None and known is not None:
            told = self._is_told(cursor, asked, asked.refs[0])
            self._known[seen.key] = dataclasses.replace(known, told=told)

    def _shape(self, asked: Asked) -> Shape | None:
        """Return a query's shape, where it reads one table and nothing else."""
        if (
            len(asked.refs) != 1
            or asked.queries
            or asked.given
            or asked.refs[0].numbered
            or len(asked.sql) > _LONG
            or self._engine.has_temporary
            or is_wary(asked.texts)
        ):
            return None
        return shape_of(asked.sql, asked.refs[0].place, asked.params)

    def _key(self, asked: Asked, shape: Shape) -> Key:
        return shape.key, asked.others, self._view(asked.refs[0]).key

    def _text(
        self,
        asked: Asked,
        ref: TableRef,
        kept: Kept,
        values: Sequence[tuple[Any, ...]],
        *,
        plain: bool,
    ) -> str | None:
        """Return a query in which the files of its table stand, ``plain`` ones as they are.

        ``values`` are those of their partition columns. None where it gets too long.
        """
        body = _body(ref.snapshot, kept, values, plain=plain)
        text = None if body is None else inlined(asked.sql, {ref.place: body}, {ref.place: 1})
        return None if text is None or len(text) > LONG else text

    def _nothing(self, ref: TableRef) -> tuple[Kept, list[tuple[Any, ...]]]:
        """Return a file without rows, which has the table's columns where files can have them."""
        view = self._view(ref)
        empty = self._engine.no_rows(view.stored) if view.plain else self._engine.empty_parquet
        nulls = (None,) * len(ref.snapshot.files.layout.partitions)
        return Kept(1, 0, 0, patterns=(empty,)), [nulls]

    def _is_told(self, cursor: Connection, asked: Asked, ref: TableRef) -> bool:
        """Tell whether a query has the same columns where its files stand in its text."""
        forms = {False, bool(self._view(ref).plain)}
        texts = [self._text(asked, ref, *self._nothing(ref), plain=plain) for plain in forms]
        known = [text for text in texts if text is not None]
        return known == texts and are_alike(cursor, [asked.sql, *known], asked.params)


def _body(
    snapshot: Snapshot, kept: Kept, values: Sequence[tuple[Any, ...]], *, plain: bool
) -> str | None:
    """Return a query of all rows of files: a part for each of a few partitions, else None."""
    layout, patterns = snapshot.files.layout, kept.patterns or ()
    types = [field.type for field in layout.partitions]
    if plain and not types:
        return told_view(layout, patterns, kept.rows)
    groups: dict[tuple[Any, ...], list[str]] = {}
    for pattern, value in zip(patterns, values, strict=True):
        groups.setdefault(value, []).append(pattern)
    if len(groups) > _MOST_PARTS or not all(map(_is_plain, types)):
        return None
    if any("\0" in str(one) for value in groups for one in value):
        return None  # text cannot hold it
    rows = "" if VERSION >= (2, 0) else str((kept.rows or 0) // len(groups))
    sources = [
        Source(literals(files), rows, tuple(map(_as_sql, value, types)))
        for value, files in groups.items()
    ]
    return frozen_view(layout, snapshot.properties, sources, plain=plain)


def _is_plain(type_: Type) -> bool:
    return isinstance(type_, Primitive) and type_.name in quick.PARTS


def _as_sql(value: Any, type_: Type) -> str:
    """Return the value of a partition column as SQL."""
    return f"CAST({'NULL' if value is None else literal(str(value))} AS {to_duckdb(type_)})"
