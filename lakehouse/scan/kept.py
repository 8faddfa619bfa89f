"""Choose the files that a view reads: prune the file index, and set the view's variable."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Any

from catalog import lazy
from lakehouse.delta.bitmap import row_numbers
from lakehouse.delta.codec import LARGEST_FILE
from lakehouse.delta.deletion_vector import Vectors
from lakehouse.delta.files.adds import vector_from_row
from lakehouse.delta.files.arrays import lone_list
from lakehouse.delta.files.typed import PLAIN, check_deleted
from lakehouse.delta.paths import check_file_path
from lakehouse.delta.schema.types import to_duckdb
from lakehouse.delta.snapshot import Snapshot
from lakehouse.delta.soundness import check_files, check_once
from lakehouse.duck.engine import VERSION, Connection, Engine
from lakehouse.duck.sql import escaped, literal, literals
from lakehouse.scan import quick
from lakehouse.scan.choice import Choice
from lakehouse.scan.crumbs import are_crumbs, sampled
from lakehouse.scan.footers import MOST_FILES
from lakehouse.scan.may import KEEP
from lakehouse.scan.report import Kept, TableRef, join_keys
from lakehouse.scan.values import narrowed
from lakehouse.scan.views import TableView

pa: Any = lazy.module("pyarrow")

# A reader takes names as globs: what a file's name holds of one stands for itself.
_PATTERN = "regexp_replace(file, '([\\[*?])', '[\\1]', 'g')"
_ALL = "all"
_FEW = 100
_LISTED = 1000  # names that are quicker passed than asked for
_TOLD = 100  # names that are quicker passed in a statement's text than as an array
_AHEAD = 512
_COLUMNS = ("file", "size", "rows")
_NEAR = math.log(2)
_REMEMBERED = 1000  # texts of predicates; they may be long


def bind(
    cursor: Connection,
    ref: TableRef,
    view: TableView,
    choice: Choice,
    engine: Engine,
    *,
    typical_first: bool = False,
    lasting: bool = False,
) -> Kept:
    """Set the variable that a view reads to the files that may match.

    ``typical_first`` puts one with about as many rows as others have before them: DuckDB 2 takes
    all files to be like the first. ``lasting`` says that a choice is the same at any time.
    """
    empty = engine.empty_parquet
    snapshot = ref.snapshot
    if snapshot.files.is_empty:
        bind_nothing(cursor, ref, view, empty)
        return Kept(0, 0, 0)
    few = _few(cursor, snapshot, choice, engine, lasting=lasting)
    if few is not None:
        return dataclasses.replace(
            _bind_few(cursor, snapshot, view, few, engine, typical_first=typical_first),
            join_keys=join_keys(choice.keys, ref),
            order=choice.order,
        )
    root = literal(escaped(snapshot.storage.url().rstrip("/") + "/"))
    listed = f"coalesce(list({root} || {_PATTERN} ORDER BY position), [{literal(empty)}])"
    kept = {
        "count": "count(*)",
        "bytes": "coalesce(sum(size), 0)::BIGINT",
        "known": "count(rows)",
        "rows": "coalesce(sum(rows - coalesce(deletion_vector.cardinality, 0)), 0)::BIGINT",
    }
    if snapshot.files.layout.partitions:
        values = [f"p{i}" for i in range(len(snapshot.files.layout.partitions))]
        kept["parts"] = f"coalesce(list({_struct(values)} ORDER BY position), [])"
    if snapshot.files.has_deletion_vectors:
        kept["vectors"] = "list(deletion_vector ORDER BY position)"
    if typical_first:
        kept["counts"] = "list(rows ORDER BY position)"
    fields = ", ".join(f"'{field}': {sql}" for field, sql in kept.items())
    may = choice.may
    files = snapshot.files.whole if choice == Choice() else snapshot.files
    with files.on(cursor, engine) as index:
        is_stored = snapshot.files.stored is not None
        chosen = f"{index} WHERE {may.stored if is_stored else may.exact}"
        for keys in choice.keys:
            chosen = narrowed(cursor, chosen, keys, snapshot.files.layout)
        if is_stored:
            chosen = _choose(cursor, snapshot, chosen)
        cursor.execute(f"SET VARIABLE files_{view.key} = (SELECT {listed} FROM {chosen})")
        cursor.execute(f"SET VARIABLE kept_{view.key} = (SELECT {{{fields}}} FROM {chosen})")
        _check_links(cursor, snapshot, chosen)
        ahead = _ahead(cursor, snapshot, chosen)
    counts = f"CASE WHEN kept.count <= {MOST_FILES} THEN kept.counts END"
    row = cursor.execute(
        f"SELECT kept.count, kept.bytes, kept.known, kept.rows, "
        f"{counts if typical_first else 'NULL'} "
        f"FROM (SELECT getvariable('kept_{view.key}') AS kept)"
    ).fetchall()[0]
    if first := typical(row[4] or ()):
        _put_first(cursor, view.key, first, kept)
    if snapshot.files.has_deletion_vectors:
        _load_vectors(cursor, snapshot, view.key)
    return Kept(
        row[0],
        row[1],
        row[3] if row[2] == row[0] else None,
        ahead,
        join_keys=join_keys(choice.keys, ref),
        order=choice.order,
        sample=_sample(cursor, snapshot, view, row[0], row[1]),
    )


def _few(
    cursor: Connection, snapshot: Snapshot, choice: Choice, engine: Engine, *, lasting: bool
) -> pa.Table | None:
    """Return the chosen files, if they are few and nothing but their names matters; else None.

    What takes a query to find out is remembered with the snapshot.
    """
    if choice == Choice():
        return snapshot.files.listed() if snapshot.files.about <= _LISTED else None
    if snapshot.files.layout.partitions:
        return None
    index = snapshot.files.in_memory(engine)
    if index is None:
        return None
    if choice.quick is not None:
        found = quick.kept(index, choice.quick, _COLUMNS)
    elif lasting and not choice.keys and index.num_rows <= _FEW:
        asked = f"SELECT {', '.join(_COLUMNS)} FROM held_index WHERE {choice.may.exact}"
        found = snapshot.choices.get(asked)
        if found is None:
            with snapshot.files.on(cursor, engine):
                found = cursor.sql(f"{asked} ORDER BY position").to_arrow_table()
            if len(snapshot.choices) >= _REMEMBERED:
                snapshot.choices.clear()
            snapshot.choices[asked] = found
    else:
        return None
    return found if found.num_rows <= _FEW else None


def few_of(
    snapshot: Snapshot, tests: Sequence[quick.Test], engine: Engine
) -> tuple[Kept, list[tuple[Any, ...]]] | None:
    """Return the files that pass tests, if they are few and have no deleted rows.

    With them come the values of their partition columns, which are of the types `quick.PARTS`.
    """
    files = snapshot.files
    parts = [f"p{number}" for number in range(len(files.layout.partitions))]
    vectors = ["deletion_vector"] if files.has_deletion_vectors else []
    index = files.typed_in_memory(engine)
    found = None if index is None else quick.kept(index, tests, [*_COLUMNS, *vectors, *parts])
    if found is None or found.num_rows > _FEW:
        return None
    if any(found[name].null_count < found.num_rows for name in vectors):
        return None
    try:
        values = [found[name].to_pylist() for name in parts]
    except (OverflowError, ValueError):
        return None  # a day that Python does not have
    kept = _named(snapshot, *(found[name].to_pylist() for name in _COLUMNS))
    return kept, list(zip(*values, strict=True)) or [()] * found.num_rows


def _bind_few(
    cursor: Connection,
    snapshot: Snapshot,
    view: TableView,
    found: pa.Table,
    engine: Engine,
    *,
    typical_first: bool,
) -> Kept:
    """Set the variable to a few files, by their names."""
    files, sizes, counts = (found[name].to_pylist() for name in _COLUMNS)
    if typical_first and (first := typical(counts)):
        for values in (files, sizes, counts):
            values.insert(0, values.pop(first))
    kept = _named(snapshot, files, sizes, counts)
    patterns = kept.patterns or ()
    if len(patterns) <= _TOLD:
        cursor.execute(files_of(view.key, kept, engine))
        return kept
    cursor.register("named_files", pa.table({"files": lone_list(patterns)}))
    try:
        cursor.execute(_files_of(view.key, "(SELECT files FROM named_files)", kept.rows or 0))
    finally:
        cursor.unregister("named_files")
    return kept


def _named(
    snapshot: Snapshot, files: Sequence[str], sizes: Sequence[int], counts: Sequence[int | None]
) -> Kept:
    """Return what a few files are, by their names, sizes and row counts."""
    if _ALL not in snapshot.contained:
        snapshot.storage.require_inside(files)
        if len(files) == len(snapshot.files):
            snapshot.contained.add(_ALL)
    urls = [snapshot.storage.url(file) for file in files]
    patterns = [escaped(url) for url in urls]
    known = [count for count in counts if count is not None]
    rows = sum(known) if len(known) == len(counts) else None
    is_local = snapshot.storage.is_local
    ahead = () if is_local else tuple(zip(urls, sizes, strict=True))
    is_sampled = is_local and are_crumbs(len(files), sum(sizes))
    sample = tuple(patterns[number] for number in sampled(len(files))) if is_sampled else ()
    return Kept(len(files), sum(sizes), rows, ahead, patterns=tuple(patterns), sample=sample)


def files_of(key: str, kept: Kept, engine: Engine) -> str:
    """Return SQL that sets the variable of the view ``key`` to files known by their names."""
    return _files_of(key, literals(kept.patterns or [engine.empty_parquet]), kept.rows or 0)


def _files_of(key: str, listed: str, rows: int) -> str:
    files = f"SET VARIABLE files_{key} = {listed}"
    if VERSION >= (2, 0):
        return files
    return f"{files}; SET VARIABLE kept_{key} = {{'rows': {rows}}}"


def typical(counts: Sequence[int | None]) -> int:
    """Return the position of the first number that is near to the mean, by their ratio.

    >>> typical([3, None, 5_000, 4_000]), typical([90, 110]), typical([None, 0])
    (3, 0, 0)
    """
    known = [count for count in counts if count]
    if not known:
        return 0
    mean = sum(known) / len(known)
    far = [abs(math.log(count / mean)) if count else math.inf for count in counts]
    return 0 if far[0] <= _NEAR else far.index(min(far))


def _put_first(cursor: Connection, key: str, first: int, fields: Iterable[str]) -> None:
    """Put one of the files that are chosen before the others."""

    def moved(field: str) -> str:
        return f"[{field}[{first + 1}]] || {field}[:{first}] || {field}[{first + 2}:]"

    files = f"SELECT getvariable('files_{key}') AS files"
    cursor.execute(f"SET VARIABLE files_{key} = (SELECT {moved('files')} FROM ({files}))")
    packed = ", ".join(
        f"'{field}': {moved(field) if field in ('parts', 'vectors') else field}" for field in fields
    )
    kept = f"SELECT unnest(getvariable('kept_{key}'))"
    cursor.execute(f"SET VARIABLE kept_{key} = (SELECT {{{packed}}} FROM ({kept}))")


def held(cursor: Connection, ref: TableRef, view: TableView) -> tuple[Any, Any]:
    """Return what `bind` set: the files and partition values, and the deleted rows, or None.

    Both are Arrow tables: of one row with ``files`` and a struct ``kept``, and of ``(i, n)``.
    """
    fields = ["'rows': kept.rows" if VERSION < (2, 0) else "'rows': 0"]
    if ref.snapshot.files.layout.partitions:
        fields.append("'parts': kept.parts")
    kept = cursor.sql(
        f"SELECT getvariable('files_{view.key}') AS files, {{{', '.join(fields)}}} AS kept "
        f"FROM (SELECT getvariable('kept_{view.key}') AS kept)"
    ).to_arrow_table()
    if not ref.snapshot.files.has_deletion_vectors:
        return kept, None
    return kept, cursor.sql(f"FROM dv_{view.key}").to_arrow_table()


def _ahead(cursor: Connection, snapshot: Snapshot, chosen: str) -> tuple[tuple[str, int], ...]:
    """Return the URLs and sizes of the first files, where each request takes its time."""
    if snapshot.storage.is_local:
        return ()
    found = cursor.execute(
        f"SELECT file, size FROM {chosen} ORDER BY position LIMIT {_AHEAD}"
    ).fetchall()
    return tuple((snapshot.storage.url(file), size) for file, size in found)


def _sample(
    cursor: Connection, snapshot: Snapshot, view: TableView, files: int, size: int
) -> tuple[str, ...]:
    """Return a few of the files that were bound, if they are many and small."""
    if not snapshot.storage.is_local or not are_crumbs(files, size):
        return ()
    numbers = [number + 1 for number in sampled(files)]
    row = cursor.execute(f"SELECT list_select(getvariable('files_{view.key}'), {numbers})")
    return tuple(row.fetchall()[0][0])


def _choose(cursor: Connection, snapshot: Snapshot, source: str) -> str:
    """Put the files that are chosen from a checkpoint into a table, and check them: only now."""
    parts = [f"p{ordinal}" for ordinal in range(len(snapshot.files.layout.partitions))]
    columns = ", ".join([*PLAIN, "position", *parts])
    cursor.execute(f"CREATE OR REPLACE TEMP TABLE chosen AS SELECT {columns} FROM {source}")
    # Few files that are plain need no Arrow functions, the first of which imports pandas.
    few = cursor.execute(
        f"SELECT path, size BETWEEN 0 AND {LARGEST_FILE} AND modification_time IS NOT NULL "
        f"AND deletion_vector IS NULL AS plain FROM chosen LIMIT {_FEW + 1}"
    ).fetchall()
    paths = {check_file_path(path) for path, plain in few if plain and path is not None}
    if len(few) <= _FEW and len(paths) == len(few):
        return "chosen"
    files = cursor.sql("SELECT * FROM chosen").to_arrow_table()
    check_files(files, where="the checkpoint")
    check_once(files["file"], where="the checkpoint")
    check_deleted(files)
    return "chosen"


def _check_links(cursor: Connection, snapshot: Snapshot, chosen: str) -> None:
    """Refuse files that a symbolic link leads out of the table; once a snapshot and choice."""
    every = chosen == f"held_index WHERE {KEEP}"
    if not snapshot.storage.is_local or not snapshot.contained.isdisjoint((chosen, _ALL)):
        return
    found = cursor.execute(f"SELECT file FROM {chosen}").fetchall()
    snapshot.storage.require_inside(name for (name,) in found)
    if chosen == "chosen":
        return
    if len(snapshot.contained) >= _REMEMBERED:
        snapshot.contained.clear()
    snapshot.contained.add(_ALL if every else chosen)


def bind_nothing(cursor: Connection, ref: TableRef, view: TableView, empty: str) -> None:
    """Set what a view reads to no file: enough to define it."""
    files = ref.snapshot.files
    cursor.execute(_files_of(view.key, literals([empty]), 0))
    if files.layout.partitions:
        types = (f"p{i} {to_duckdb(f.type)}" for i, f in enumerate(files.layout.partitions))
        parts = f"[]::STRUCT({', '.join(types)})[]"
        cursor.execute(f"SET VARIABLE kept_{view.key} = {{'rows': 0, 'parts': {parts}}}")
    if files.has_deletion_vectors:
        cursor.execute(f"CREATE OR REPLACE TEMP TABLE dv_{view.key} (i UBIGINT, n BIGINT)")


def _load_vectors(cursor: Connection, snapshot: Snapshot, key: str) -> None:
    cursor.execute(f"CREATE OR REPLACE TEMP TABLE dv_{key} (i UBIGINT, n BIGINT)")
    vectors = f"getvariable('kept_{key}').vectors"
    rows = cursor.execute(
        f"SELECT generate_subscripts({vectors}, 1) - 1, unnest({vectors})"
    ).fetchall()
    reader = Vectors(snapshot.storage)
    for position, descriptor in rows:
        vector = vector_from_row(descriptor)
        if vector is None:
            continue
        deleted = row_numbers(reader.rows(vector))
        cursor.register("deleted", pa.table({"n": deleted}))
        cursor.execute(f"INSERT INTO dv_{key} SELECT {position}, n FROM deleted")
        cursor.unregister("deleted")


def _struct(columns: Sequence[str]) -> str:
    return "{" + ", ".join(f"'{column}': {column}" for column in columns) + "}"
