"""The file index: a snapshot's live files, as rows that DuckDB prunes.

A row is a file. Beside the fields of its add action stand typed columns: ``rows``, ``position``,
``p<i>`` (value of partition column i), and for leaf column j ``min<j>``, ``max<j>``, ``nulls<j>``
and, for floating point, ``nan<j>``. NULL there means unknown. Bounds are widened where writers
are known to truncate (timestamps to milliseconds), so that a bound may be trusted as it stands.
Source: Delta protocol, "Per-file Statistics".
"""

from __future__ import annotations

import array
import contextlib
import dataclasses
import itertools
from collections.abc import Collection, Iterable, Iterator
from functools import cached_property
from typing import Any

from catalog import lazy
from lakehouse.delta.actions import AddFile, FileKey
from lakehouse.delta.files.adds import no_rows, raw_table, to_action, vector_id
from lakehouse.delta.files.arrays import flags, texts
from lakehouse.delta.files.layout import Layout, Leaf
from lakehouse.delta.files.stored import Keys, StoredFiles
from lakehouse.delta.files.typed import derive, is_truncated, names
from lakehouse.delta.schema.fields import Struct
from lakehouse.delta.soundness import check_files, check_once
from lakehouse.duck.engine import Connection, Engine

pa: Any = lazy.module("pyarrow")
pc: Any = lazy.module("pyarrow.compute")

# Positions of files in memory come after those of all files in checkpoints.
_AFTER = 1 << 60


@dataclasses.dataclass(frozen=True)
class FileIndex:
    """Hold a snapshot's live files.

    Those of a large checkpoint are ``stored`` where they are, less the keys ``gone``; all others
    are in ``memory``, as rows of RAW; None stands for no rows. Typed columns are computed at the
    first use and carried over to newer versions, where those of new files wait for a use too.
    The actions of a part of an index are made once.
    """

    memory: pa.Table | None
    layout: Layout
    stored: StoredFiles | None = None
    gone: Keys = frozenset()
    _typed: list[pa.Table] = dataclasses.field(default_factory=list, repr=False, compare=False)
    # Those of the first files in memory, without their positions.
    _first: list[pa.Table] = dataclasses.field(default_factory=list, repr=False, compare=False)
    _actions: list[tuple[AddFile, ...]] | None = dataclasses.field(
        default=None, repr=False, compare=False
    )

    def __len__(self) -> int:
        return self._totals[0] + self._held_rows

    @property
    def about(self) -> int:
        """Return about how many files there are; this reads nothing."""
        stored = 0 if self.stored is None else self.stored.rows - len(self.gone)
        return max(0, stored) + self._held_rows

    @property
    def is_empty(self) -> bool:
        """Tell whether there is certainly no file; this reads nothing."""
        return self.stored is None and not self._held_rows

    @cached_property
    def held(self) -> pa.Table:
        """Return the files in memory as a table, which may have no rows."""
        return no_rows() if self.memory is None else self.memory

    @property
    def _held_rows(self) -> int:
        return 0 if self.memory is None else int(self.memory.num_rows)

    @cached_property
    def bytes(self) -> int:
        """Return the size of all files together."""
        return self._totals[1] + int(pc.sum(self.held["size"]).as_py() or 0)

    @cached_property
    def has_deletion_vectors(self) -> bool:
        """Tell whether a file may have deleted rows."""
        if self._held_rows and self.held["deletion_vector"].null_count < self._held_rows:
            return True
        return self.stored is not None and self.stored.has_vectors

    @property
    def has_extra(self) -> bool:
        """Tell whether a file may have tags or other optional fields."""
        if self._held_rows and self.held["extra"].null_count < self._held_rows:
            return True
        return self.stored is not None and self.stored.has_extra

    @cached_property
    def has_wide_bounds(self) -> bool:
        """Tell whether a file in memory says that its bounds may not occur (``tightBounds``)."""
        stats = self.held["stats"]
        if not pc.any(pc.match_substring(stats, "tightBounds")).as_py():
            return False
        tight = pc.match_substring_regex(stats, r'"tightBounds":\s*true')
        loose = pc.and_(pc.match_substring(stats, "tightBounds"), pc.invert(tight))
        return bool(pc.any(loose).as_py())

    def rows(self, engine: Engine) -> int | None:
        """Return the number of live rows, or None where a file's statistics lack it."""
        rows = self._counted()
        if rows is None:
            rows = self._held_typed(engine)["rows"]
        others = self._totals[2]
        if rows.null_count or others is None:
            return None
        deleted = pc.struct_field(self.held["deletion_vector"], "cardinality")
        return others + int(pc.sum(rows).as_py() or 0) - int(pc.sum(deleted).as_py() or 0)

    def bounds(self, leaf: Leaf, engine: Engine) -> tuple[Any, Any]:
        """Return what no value of a column is below, and above; None where that is unknown."""
        low, high, nulls = f"min{leaf.ordinal}", f"max{leaf.ordinal}", f"nulls{leaf.ordinal}"
        unknown = f"coalesce(bool_or({{}} IS NULL AND {nulls} IS DISTINCT FROM rows), true)"
        sides = ", ".join(
            f"CASE WHEN NOT {unknown.format(side)} THEN {way}({side}) END"
            for side, way in ((low, "min"), (high, "max"))
        )
        with engine.work("read the statistics", reading=True) as cursor:
            with self.on(cursor, engine) as index:
                found = cursor.execute(f"SELECT {sides} FROM {index}").fetchall()
        low_bound, high_bound = found[0]
        return low_bound, high_bound

    @cached_property
    def _totals(self) -> tuple[int, int, int | None]:
        return (0, 0, 0) if self.stored is None else self.stored.totals(self.layout, self.gone)

    def _counted(self) -> pa.ChunkedArray | None:
        """Return the files' row counts without parsing their statistics, where that is safe."""
        if self._typed or self._first or self.layout.schema.mentions("numRecords"):
            return None
        found = pc.extract_regex(
            self.held["stats"], r'"numRecords":\s*(?P<rows>[0-9]{1,15})\s*[,}]'
        )
        return pc.struct_field(found, "rows").cast(pa.int64())

    @contextlib.contextmanager
    def on(self, cursor: Connection, engine: Engine) -> Iterator[str]:
        """Give the name or SQL of the typed index for queries on ``cursor``."""
        if self.stored is not None and not self._held_rows:
            with self.stored.on(cursor, self.layout, self.gone) as stored:
                yield stored
            return
        cursor.register("held_index", self._held_typed(engine))
        try:
            if self.stored is None:
                yield "held_index"
                return
            columns = ", ".join(names(self.layout))
            top = (
                f"max{x.ordinal} AS top{x.ordinal}" for x in self.layout.leaves if is_truncated(x)
            )
            held = ", ".join(["*", *top, f"position + {_AFTER}::UBIGINT AS place"])
            with self.stored.on(cursor, self.layout, self.gone) as stored:
                yield (
                    f"(SELECT {columns}, position FROM {stored} UNION ALL "
                    f"SELECT {columns}, place FROM (SELECT {held} FROM held_index))"
                )
        finally:
            cursor.unregister("held_index")

    @cached_property
    def whole(self) -> FileIndex:
        """Return an index for who reads all files: without bounds, which take a while to make."""
        if self._typed or self._first or self.stored is not None:
            return self
        partitions = Struct(self.layout.partitions)
        return FileIndex(self.memory, Layout(partitions, self.layout.partition_columns))

    def typed(self, engine: Engine) -> pa.Table:
        """Return the index with its typed columns, and each file's ``position`` in it."""
        if self.stored is None:
            return self._held_typed(engine)
        with engine.work("read the table's files", reading=True) as cursor:
            with self.on(cursor, engine) as source:
                return cursor.sql(f"SELECT * FROM {source} ORDER BY position").to_arrow_table()

    def listed(self) -> pa.Table | None:
        """Return names, sizes and row counts of all files, where that takes no typed columns.

        None where a file is stored, or has deleted rows or partition values.
        """
        if self.stored is not None or self.has_deletion_vectors or self.layout.partitions:
            return None
        rows = self._counted()
        if rows is None:
            return None
        return pa.table({"file": self.held["file"], "size": self.held["size"], "rows": rows})

    def in_memory(self, engine: Engine) -> pa.Table | None:
        """Return the index with its typed columns, where no file is stored or has deleted rows."""
        return None if self.has_deletion_vectors else self.typed_in_memory(engine)

    def typed_in_memory(self, engine: Engine) -> pa.Table | None:
        """Return the index with its typed columns, where no file is stored."""
        return None if self.stored is not None else self._held_typed(engine)

    def _held_typed(self, engine: Engine) -> pa.Table:
        if not self._typed:
            first = self._first[:1]
            rest = self.held.slice(first[0].num_rows) if first else self.held
            if rest.num_rows or not first:
                first.append(derive(rest, self.layout, engine))
            self._typed.append(_numbered(pa.concat_tables(first)))
            self._first.clear()
        return self._typed[0]

    @cached_property
    def raw(self) -> pa.Table:
        """Return all files as rows of RAW: ``path`` as in the log, ``file`` decoded."""
        if self.stored is None:
            return self.held
        return pa.concat_tables([_checked(self.stored.raw(self.gone)), self.held])

    def adds(self) -> tuple[AddFile, ...]:
        """Return the live files as actions."""
        known = [] if self._actions is None else self._actions
        if not known:
            known.append(tuple(to_action(row) for row in self.raw.to_pylist()))
        return known[0]

    def keys(self) -> set[FileKey]:
        """Return what identifies the live files: decoded path and deletion vector."""
        return set(_keys(self.raw))

    def find(self, files: Collection[str]) -> FileIndex:
        """Return the index of the files with these decoded paths."""
        if self.stored is None:
            return self._filtered(pc.is_in(self.held["file"], value_set=_texts(files)))
        stored = _checked(self.stored.raw(self.gone, files=frozenset(files)))
        held = self.held.filter(pc.is_in(self.held["file"], value_set=_texts(files)))
        return FileIndex(pa.concat_tables([stored, held]), self.layout)

    def only(self, keys: Collection[FileKey]) -> FileIndex:
        """Return the index of the files with these keys."""
        wanted = frozenset(keys)
        if self._actions is not None and len(wanted) == self._held_rows and wanted == self.keys():
            return self
        found = self.find({file for file, _ in keys})
        return found._filtered(flags([key in wanted for key in _keys(found.held)]))

    def holds(self, keys: Collection[FileKey]) -> bool:
        """Tell whether all files with these keys are live."""
        return self.find({file for file, _ in keys}).keys().issuperset(keys)

    def with_layout(self, layout: Layout) -> FileIndex:
        """Return the index as another schema sees it."""
        return FileIndex(self.memory, layout, self.stored, self.gone)

    def changed(
        self,
        *,
        adds: Iterable[AddFile],
        gone: Collection[FileKey],
        engine: Engine,
        bulk: pa.Table | None = None,
    ) -> FileIndex:
        """Return the index after a commit: less the files ``gone`` (by key), with ``adds``.

        ``bulk`` are more adds, as rows of RAW, that replace what they name.
        """
        if bulk is not None and bulk.num_rows:
            again = self._with_bulk(bulk)
            return again.changed(adds=adds, gone=gone, engine=engine)
        added = tuple(adds)
        forgotten = self.gone if self.stored is None else self.gone.union(gone)
        if not added and not self._held_rows:
            return FileIndex(None, self.layout, self.stored, forgotten)
        held, first = self.held, self._first[:1]
        if self._typed:
            first = [self._typed[0].drop(["position"])]
        if gone and held.num_rows:
            maybe = pc.is_in(held["file"], value_set=_texts({file for file, _ in gone}))
            maybe = maybe.combine_chunks()
            if pc.any(maybe).as_py():
                lost = set(gone)
                stays = flags([key not in lost for key in _keys(held.filter(maybe))])
                keep = pc.replace_with_mask(pc.invert(maybe), maybe, stays)
                held = held.filter(keep)
                first = [typed.filter(keep.slice(0, typed.num_rows)) for typed in first]
        held = pa.concat_tables([held, raw_table(added)])
        return FileIndex(held, self.layout, self.stored, forgotten, _first=first)

    def _with_bulk(self, bulk: pa.Table) -> FileIndex:
        names = bulk["file"]
        held, gone = self.held, self.gone
        if held.num_rows:
            replaced = pc.and_(
                pc.is_in(held["file"], value_set=names), pc.is_null(held["deletion_vector"])
            )
            held = held.filter(pc.invert(replaced))
        if self.stored is not None:
            gone = gone.union((name, "") for name in names.to_pylist())
        return FileIndex(pa.concat_tables([held, bulk]), self.layout, self.stored, gone)

    def _filtered(self, wanted: Any) -> FileIndex:
        typed = [typed.filter(wanted) for typed in self._typed]
        known = self._actions or ()
        actions = [tuple(itertools.compress(adds, wanted.to_pylist())) for adds in known]
        return FileIndex(self.held.filter(wanted), self.layout, _typed=typed, _actions=actions)


def _numbered(typed: pa.Table) -> pa.Table:
    numbers = pa.py_buffer(array.array("Q", range(typed.num_rows)))
    position = pa.Array.from_buffers(pa.uint64(), typed.num_rows, [None, numbers])
    return typed.append_column("position", position)


def _checked(raw: pa.Table) -> pa.Table:
    check_files(raw, where="the checkpoint")
    check_once(raw["file"], where="the checkpoint")
    return raw


def _keys(raw: pa.Table) -> Iterator[FileKey]:
    vectors = raw["deletion_vector"]
    if vectors.null_count == len(vectors):
        return zip(raw["file"].to_pylist(), [""] * len(vectors), strict=True)
    ids = [vector_id(vector) for vector in vectors.to_pylist()]
    return zip(raw["file"].to_pylist(), ids, strict=True)


def _texts(files: Iterable[str]) -> pa.Array:
    return texts(sorted(files))
