"""The SQL of a table: a view over its data files, and the stand-in that queries are planned on.

A view is the same for all versions of one schema; which files it reads stands in a variable of
the connection, so that sessions with different snapshots share it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence

from lakehouse.delta.files.layout import Layout
from lakehouse.delta.schema.fields import FLOATS, Array, Field, Map, Struct, Type, fields_of
from lakehouse.delta.schema.mapping import mode_of
from lakehouse.delta.schema.types import to_duckdb
from lakehouse.delta.schema.widening import TYPE_CHANGES
from lakehouse.duck.engine import VERSION
from lakehouse.duck.sql import KEY, VALUE, identifier, literal, literals

_DISTINCT = re.compile(r"\bdistinct\s+from\b|\bis\s+not\s+(?:true|false)\b", re.IGNORECASE)


@dataclasses.dataclass(frozen=True, slots=True)
class TableView:
    """Hold the definitions for one table; ``key`` is their hash and names their variables.

    ``columns`` are the stand-in's, with their types. ``nothing`` is SQL that makes what the view
    reads, empty, where that is no variable. ``plain`` is the view for files that all have exactly
    the columns ``stored``, by name and type in SQL: see `lakehouse.scan.footers`; empty where a
    name is not enough to find a column.
    """

    key: str
    columns: tuple[str, ...]
    stand_in_view: str
    view: str
    nothing: str = ""
    plain: str = ""
    stored: tuple[tuple[str, str], ...] = ()


def file_column(schema: Struct) -> str:
    """Return the name of the column that numbers files in a view: none of the table's own.

    >>> file_column(Struct(()))
    'file_index'
    """
    return _free("file_index", schema)


def row_column(schema: Struct) -> str:
    """Return the name of the column that numbers a file's rows in a view, deleted ones too.

    >>> row_column(Struct(()))
    'file_row_number'
    """
    return _free("file_row_number", schema)


def _free(name: str, schema: Struct) -> str:
    taken = {field.name.lower() for field in schema}
    while name in taken:
        name += "_"
    return name


def table_view(
    layout: Layout,
    properties: Mapping[str, str],
    *,
    place: tuple[str, str],
    has_vectors: bool,
    numbered: bool = False,
    wary: bool = False,
) -> TableView:
    """Return the definitions of a table's view and stand-in.

    ``place`` is the view's schema and name: part of the key, so that two tables of one schema,
    or two versions of one table, each have variables of their own in a query. ``numbered`` adds
    `file_column`, a row's file as its position in ``files``, and `row_column`, its place there.
    ``wary`` is for queries of which `is_wary` is true.

    The view selects from ``getvariable('files_<key>')``, a list of URLs; ``getvariable('kept_<key>')``,
    a struct of about how many ``rows`` are in them (DuckDB 1.5 orders joins by that, 2.0 takes no
    notice) and, where the table is partitioned, structs ``{p0, ...}`` in the same order in ``parts``
    (DuckDB copies all of a struct for each look at a field); and from the
    table ``temp.main.dv_<key>`` of ``(i, n)``, where it has deletion vectors.
    """
    fields = layout.schema.fields
    by_id = mode_of(properties) == "id"
    source = Source(
        files="getvariable('files_<key>')",
        rows="getvariable('kept_<key>').rows" if VERSION < (2, 0) else "",
        values=tuple(f"p.p{i}" for i in range(len(layout.partitions))),
        joins=_joins(layout, has_vectors=has_vectors),
    )
    template = _view(layout, source, by_id=by_id, numbered=numbered, wary=wary)
    stored = () if by_id or numbered or wary else _stored(layout)
    types = [to_duckdb(field.type) for field in fields]
    key = hashlib.sha256(f"{place}\0{template}\0{types}".encode()).hexdigest()[:20]
    columns = [f"c{i}_{key} {type_}" for i, type_ in enumerate(types)]
    names = ", ".join(f"c{i}_{key} AS {identifier(f.name)}" for i, f in enumerate(fields))
    if numbered:
        columns += [f"file_{key} UBIGINT", f"row_{key} BIGINT"]
        names += f", file_{key} AS {identifier(file_column(layout.schema))}"
        names += f", row_{key} AS {identifier(row_column(layout.schema))}"
    return TableView(
        key=key,
        columns=tuple(columns),
        stand_in_view=f"SELECT {names} FROM ",
        view=template.replace("<key>", key),
        plain=_plain_view(layout, source).replace("<key>", key) if stored else "",
        stored=stored,
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """Hold, as SQL, the files of a view, their partition values, and what is joined to them.

    ``rows`` is about how many they have, or empty where DuckDB takes no notice.
    """

    files: str
    rows: str
    values: tuple[str, ...]
    joins: str = ""

    @property
    def options(self) -> str:
        """Return the reader's options."""
        counted = f", explicit_cardinality = {self.rows}" if self.rows else ""
        return f"hive_partitioning = false{counted}"


def frozen_view(
    layout: Layout, properties: Mapping[str, str], sources: Sequence[Source], *, plain: bool
) -> str:
    """Return a view that stands by itself: over files that are named in it, from all sources.

    ``plain`` says that all of them have exactly the table's columns.
    """
    by_id = mode_of(properties) == "id"
    return " UNION ALL ".join(
        _plain_view(layout, source) if plain else _view(layout, source, by_id=by_id)
        for source in sources
    )


def rows_of(
    layout: Layout, properties: Mapping[str, str], source: Source, *, first: int, count: int
) -> str:
    """Return a query of some rows of a single file, by their places in it, in their order."""
    by_id = mode_of(properties) == "id"
    view = _view(layout, source, by_id=by_id, numbered=True, wary=True)
    row = identifier(row_column(layout.schema))
    return f"SELECT * FROM ({view}) WHERE {row} BETWEEN {first} AND {first + count - 1}"


def told_view(layout: Layout, patterns: Sequence[str], rows: int | None) -> str:
    """Return a query of files that all have exactly the table's columns, as short as can be.

    DuckDB 2 reads text slowly. The table has no partitions and no deletion vectors.
    """
    selected = []
    for field in layout.schema:
        name, physical = identifier(field.name), identifier(field.physical_name)
        if isinstance(field.type, Struct | Array | Map):
            physical = f"CAST({physical} AS {to_duckdb(field.type, physical=True)})"
        column = _renamed(_guarded(physical, field, wary=False), field.type)
        selected.append(name if column == name else f"{column} AS {name}")
    counted = "" if rows is None or len(patterns) == 1 else f", explicit_cardinality = {rows}"
    reader = f"read_parquet({literals(patterns)}, hive_partitioning = false{counted})"
    return f"SELECT {', '.join(selected)} FROM {reader}"


def _joins(layout: Layout, *, has_vectors: bool) -> str:
    sql = ""
    if layout.partitions:
        parts = (
            "SELECT unnest(getvariable('kept_<key>').parts, max_depth := 2), "
            "(generate_subscripts(getvariable('kept_<key>').parts, 1) - 1)::UBIGINT AS i"
        )
        sql += f" JOIN ({parts}) AS p ON p.i = r.file_index"
    if has_vectors:
        # No anti-join: DuckDB 2 takes a scan for one row, and would hold all of it in memory.
        sql += (
            " WHERE (r.file_index, r.file_row_number) NOT IN "
            "(SELECT (d.i, d.n) FROM temp.main.dv_<key> AS d)"
        )
    return sql


def is_wary(texts: Iterable[str]) -> bool:
    """Tell whether DuckDB must not look for rows of SQL in files by the files' own statistics.

    Version 1.5 finds no row of NULLs alone where a column IS DISTINCT FROM a value, or something
    else holds (OR).
    """
    return VERSION < (2, 0) and any(map(_DISTINCT.search, texts))


def _view(
    layout: Layout, source: Source, *, by_id: bool, numbered: bool = False, wary: bool = False
) -> str:
    entries = []
    for ordinal, field in _in_files(layout):
        named = by_id and field.field_id is not None
        key = str(field.field_id) if named else literal(field.physical_name)
        type_ = literal(to_duckdb(field.type, physical=True))
        entries.append(f"{key}: {{name: 'c{ordinal}', type: {type_}, default_value: NULL}}")
    reader = (
        f"read_parquet({source.files}, schema = MAP {{{', '.join(entries)}}}, {source.options})"
    )
    return _selected(layout, source, reader, numbered=numbered, wary=wary)


def _plain_view(layout: Layout, source: Source) -> str:
    """Return a view of files that all have the table's columns, and of the same types.

    DuckDB looks into a file before it plans: it knows the number of rows, of which version 2 knows
    nothing where it is told a schema, and the statistics of a single file.
    """
    columns = [
        f"CAST({identifier(field.physical_name)} AS {to_duckdb(field.type, physical=True)}) "
        f"AS c{ordinal}"
        for ordinal, field in _in_files(layout)
    ]
    reader = (
        f"(SELECT {', '.join(columns)}, file_index, file_row_number FROM read_parquet("
        f"{source.files}, {source.options}))"
    )
    return _selected(layout, source, reader)


def _selected(
    layout: Layout, source: Source, reader: str, *, numbered: bool = False, wary: bool = False
) -> str:
    """Return the view over a reader that names the table's columns ``c<i>``."""
    partitions = {field.name: i for i, field in enumerate(layout.partitions)}
    selected = []
    for ordinal, field in enumerate(layout.schema):
        if field.name in partitions:
            column = source.values[partitions[field.name]]
        else:
            column = _renamed(_guarded(f"r.c{ordinal}", field, wary=wary), field.type)
        selected.append(f"{column} AS {identifier(field.name)}")
    if numbered:
        selected.append(f"r.file_index AS {identifier(file_column(layout.schema))}")
        selected.append(f"r.file_row_number AS {identifier(row_column(layout.schema))}")
    return f"SELECT {', '.join(selected)} FROM {reader} AS r{source.joins}"


def _in_files(layout: Layout) -> list[tuple[int, Field]]:
    """Return the columns that stand in data files, with their ordinals."""
    partitions = set(layout.partition_columns)
    return [(i, field) for i, field in enumerate(layout.schema) if field.name not in partitions]


def _stored(layout: Layout) -> tuple[tuple[str, str], ...]:
    return tuple(
        (field.physical_name, to_duckdb(field.type, physical=True))
        for _, field in _in_files(layout)
    )


def _guarded(sql: str, field: Field, *, wary: bool) -> str:
    """Return a column in a form through which DuckDB pushes no filter into files.

    For structs, where it is DuckDB 2: pushed into a file that lacks the column, a filter on a
    field is an internal error there, and the instance is dead. Where it is older: for types that
    were widened, as its constant is cast to the type in the file, and rounded there; and for
    floats, as it looks for 0.0 in a Bloom filter that holds -0.0, or the other way round, and
    skips rows that are equal; and for all that is ``wary``. Files are chosen before, by statistics.
    """
    new = VERSION >= (2, 0)
    wrong = isinstance(field.type, Struct) if new else wary or _is_pushed_wrongly(field)
    return f"CASE WHEN {sql} IS NOT NULL THEN {sql} END" if wrong else sql


def _is_pushed_wrongly(field: Field) -> bool:
    return any(
        TYPE_CHANGES in inner.metadata or inner.type in FLOATS
        for inner in fields_of(Struct((field,)))
    )


def _renamed(sql: str, type_: Type) -> str:
    """Return SQL that gives nested fields their logical names, where the files have others."""
    if not has_other_names(type_):
        return sql
    match type_:
        case Struct(fields):
            parts = ", ".join(
                f"{identifier(f.name)} := "
                + _renamed(f"struct_extract({sql}, {literal(f.physical_name)})", f.type)
                for f in fields
            )
            return f"CASE WHEN {sql} IS NOT NULL THEN struct_pack({parts}) END"
        case Array(element):
            return f"list_transform({sql}, lambda x: {_renamed('x', element)})"
        case Map(key, value):
            inner = f"{{'key': {_renamed(KEY, key)}, 'value': {_renamed(VALUE, value)}}}"
            packed = f"map_from_entries(list_transform(map_entries({sql}), lambda x: {inner}))"
            return f"CASE WHEN {sql} IS NOT NULL THEN {packed} END"
        case _:
            return sql


def has_other_names(type_: Type) -> bool:
    """Tell whether fields inside of a type have other names in data files."""
    match type_:
        case Struct(fields):
            return any(_is_other(field) for field in fields)
        case Array(element):
            return has_other_names(element)
        case Map(key, value):
            return has_other_names(key) or has_other_names(value)
        case _:
            return False


def _is_other(field: Field) -> bool:
    return field.physical_name != field.name or has_other_names(field.type)
