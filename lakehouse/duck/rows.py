"""Bring rows of any kind into DuckDB: Arrow, pandas, Polars, DuckDB relations, dicts.

Nothing is copied where it need not be, streams stay streams, and no value may change on the way.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from catalog import lazy
from catalog.errors import DataError, InputError
from lakehouse.duck.describe import Column, DuckType, columns_of
from lakehouse.duck.engine import Connection, Engine, Relation
from lakehouse.duck.exact import exact_reader, exact_table
from lakehouse.duck.kinds import check_kinds, is_nan
from lakehouse.duck.sql import identifier

pa: Any = lazy.module("pyarrow")

Rows = Any
_numbers = itertools.count()


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """Hold rows that a cursor can select from.

    ``name`` is quoted SQL. ``rescannable`` is False for streams, which can be read once. Without
    ``columns`` there are no rows, and nothing to select from.
    """

    name: str
    columns: tuple[Column, ...]
    rescannable: bool


def register(cursor: Connection, rows: Rows) -> Source:
    """Make rows selectable in ``cursor``.

    Raises InputError for what is not rows, and DataError where dicts hold values of no one type.
    """
    data, rescannable = _to_arrow(rows)
    _refuse_duplicates(data.schema.names)
    name = f"rows_{next(_numbers)}"
    if not data.schema.names:
        if isinstance(data, pa.Table) and data.num_rows:
            raise DataError("the rows have no columns", next_step="Name at least one")
        return Source(identifier(name), (), rescannable)
    cursor.register(name, data)
    columns = columns_of(cursor.sql(f"SELECT * FROM {identifier(name)} LIMIT 0"))
    typed = tuple(
        Column(column.name, _with_nulls(column.type, type_))
        for column, type_ in zip(columns, data.schema.types, strict=True)
    )
    return Source(identifier(name), typed, rescannable)


def query_of(engine: Engine, rows: Rows) -> tuple[Connection, Source] | None:
    """Return a query's cursor and its rows, where ``rows`` are an engine's own, unchanged query.

    They need not pass through Arrow then, and can be read again.
    """
    made = engine.made_of(rows) if isinstance(rows, Relation) else None
    if made is None:
        return None
    cursor, sql = made
    text = sql.strip().rstrip(";")
    # A PIVOT that looks for its columns is several statements: as a part of one it has no rows.
    if not text.lower().startswith(_QUERIES) or ";" in text or _PIVOT.search(text):
        return None
    columns = columns_of(rows)
    _refuse_duplicates([column.name for column in columns])
    return cursor, Source(f"({text}\n)", columns, rescannable=True)


_PIVOT = re.compile(r"\bpivot\b", re.IGNORECASE)
_QUERIES = ("select ", "select\n", "with ", "with\n", "from ")


def arrow_schema_of(rows: Rows) -> pa.Schema | None:
    """Return the Arrow schema of rows without reading them; None if they are not Arrow-like."""
    if isinstance(rows, pa.Schema):
        return rows
    if isinstance(rows, pa.Table | pa.RecordBatch | pa.RecordBatchReader):
        return rows.schema
    return None


def _to_arrow(rows: Rows) -> tuple[pa.Table | pa.RecordBatchReader, bool]:
    if isinstance(rows, pa.Table):
        return exact_table(rows), True
    if isinstance(rows, pa.RecordBatch):
        return exact_table(pa.Table.from_batches([rows])), True
    if isinstance(rows, pa.RecordBatchReader):
        return exact_reader(rows), False
    if isinstance(rows, Relation):
        return exact_reader(rows.to_arrow_reader()), False
    if _is_pandas(rows):
        return _pandas(rows), True
    if isinstance(rows, Mapping):
        return _columns(rows), True
    if isinstance(rows, Sequence) and not isinstance(rows, str | bytes):
        return _dicts(rows), True
    if hasattr(rows, "__arrow_c_stream__"):
        # A data frame gives its stream again at each call; a generator-like object does not.
        return exact_reader(pa.RecordBatchReader.from_stream(rows)), False
    if hasattr(rows, "__arrow_c_array__"):
        return exact_table(pa.Table.from_batches([pa.record_batch(rows)])), True
    if hasattr(rows, "collect") and hasattr(rows, "collect_schema"):
        raise InputError("these rows are a lazy frame", next_step="Pass frame.collect()")
    raise InputError(
        f"cannot read rows from {type(rows).__name__}",
        next_step="Pass an Arrow table or reader, a pandas or Polars frame, a DuckDB relation, "
        "or a list of dicts",
    )


def _refuse_duplicates(names: Sequence[str]) -> None:
    # DuckDB would rename the second.
    twice = [name for name, count in Counter(name.lower() for name in names).items() if count > 1]
    if twice:
        found = [name for name in names if name.lower() == twice[0]]
        raise DataError(
            f"the rows have {len(found)} columns {found[-1]!r}",
            next_step="Rename or drop one of them",
            column=found[-1],
        )


def _with_nulls(type_: DuckType, arrow: pa.DataType) -> DuckType:
    """Return a type with what Arrow calls null as such: DuckDB before 2.0 calls it INTEGER."""
    if pa.types.is_null(arrow):
        return DuckType("null", '"NULL"')
    if type_.children and arrow.num_fields == len(type_.children):
        children = tuple(
            Column(child.name, _with_nulls(child.type, arrow.field(index).type))
            for index, child in enumerate(type_.children)
        )
        return dataclasses.replace(type_, children=children)
    return type_


def _is_pandas(rows: Rows) -> bool:
    return type(rows).__module__.split(".")[0] == "pandas" and hasattr(rows, "columns")


def _pandas(rows: Rows) -> pa.Table:
    names = [str(name) for name in rows.columns]
    _refuse_duplicates(names)
    for position, name in enumerate(names):
        values = rows.iloc[:, position]
        if values.dtype == object:
            # What pandas means by a missing value has no kind.
            check_kinds(name, (value for value in values if not is_nan(value)))
    try:
        return exact_table(pa.Table.from_pandas(rows, preserve_index=False))
    except (ValueError, pa.ArrowTypeError, OverflowError) as error:
        raise DataError(
            f"a pandas column holds values of no one type: {error}",
            next_step="Convert it, for example with frame.astype",
        ) from error


def _columns(rows: Mapping[str, Any]) -> pa.Table:
    lengths = {name: len(values) for name, values in rows.items()}
    if len(set(lengths.values())) > 1:
        raise InputError(f"the columns have different lengths: {lengths}")
    return exact_table(pa.table({str(name): _array(name, v) for name, v in rows.items()}))


def _dicts(rows: Sequence[Any]) -> pa.Table:
    wrong = next((row for row in rows if not isinstance(row, Mapping)), None)
    if wrong is not None:
        raise InputError(
            f"a list of dicts is expected; found a {type(wrong).__name__} in it",
            next_step="Pass rows such as [{'id': 1, 'name': 'a'}]",
        )
    # Every row's keys count, not only the first row's.
    names = list(dict.fromkeys(str(name) for row in rows for name in row))
    arrays = [_array(name, [row.get(name) for row in rows]) for name in names]
    if not names:
        if rows:
            raise DataError("the rows have no columns", next_step="Name at least one")
        return pa.table({})
    return pa.table(arrays, names=names)


def _array(name: str, values: Any) -> Any:
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return values
    check_kinds(name, values)
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, UnicodeError) as error:
        samples = tuple(dict.fromkeys(type(value).__name__ for value in values))
        raise DataError(
            f"column {name!r} holds values of no one type ({', '.join(samples)}): {error}",
            next_step="Make them one type",
            column=name,
        ) from error
