"""Change Arrow data only so that DuckDB reads every value as it is.

What DuckDB would cut (nanoseconds with a zone, before DuckDB 2) is converted here, checked; what
it would read from the wrong place is copied.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from catalog import lazy
from catalog.errors import DataError
from lakehouse.duck.engine import VERSION

pa: Any = lazy.module("pyarrow")

_BATCH_ROWS = 100_000


def exact_table(table: pa.Table) -> pa.Table:
    """Return a table that DuckDB reads exactly; DataError where a value would change."""
    target = _exact_schema(table.schema)
    if target is not None:
        table = _cast(table, target)
    if not any(_is_deep(type_) for type_ in table.schema.types):
        return table
    batches = table.to_batches(max_chunksize=_BATCH_ROWS)
    return pa.Table.from_batches([_unsliced(batch) for batch in batches], table.schema)


def exact_reader(reader: pa.RecordBatchReader) -> pa.RecordBatchReader:
    """Return a stream that DuckDB reads exactly; it raises DataError where a value would change."""
    target = _exact_schema(reader.schema)
    if target is None and not any(_is_deep(type_) for type_ in reader.schema.types):
        return reader

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in reader:
            yield from exact_table(pa.Table.from_batches([batch])).to_batches()

    return pa.RecordBatchReader.from_batches(target or reader.schema, batches())


def _is_deep(type_: pa.DataType) -> bool:
    """Tell whether a type has a struct inside of a struct.

    Of a slice of such an array DuckDB 1.5 reads other rows' values, and DuckDB 2 refuses it.
    """
    children = [type_.field(index).type for index in range(type_.num_fields)]
    if pa.types.is_struct(type_) and any(map(_holds_struct, children)):
        return True
    return any(_is_deep(child) for child in children)


def _holds_struct(type_: pa.DataType) -> bool:
    return pa.types.is_struct(type_) or any(
        _holds_struct(type_.field(index).type) for index in range(type_.num_fields)
    )


def _unsliced(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return a copy of a batch whose arrays start at their buffers' start."""
    return batch.take(pa.array(range(batch.num_rows), pa.int64()))


def _exact_schema(schema: pa.Schema) -> pa.Schema | None:
    """Return the schema to cast to before DuckDB may have the rows, or None if all is well."""
    fields = [pa.field(f.name, _exact_type(f.type), f.nullable) for f in schema]
    exact = pa.schema(fields)
    return None if exact.types == schema.types else exact


def _exact_type(type_: pa.DataType) -> pa.DataType:
    if pa.types.is_timestamp(type_) and type_.unit == "ns" and type_.tz and VERSION < (2, 0):
        return pa.timestamp("us", tz=type_.tz)
    if pa.types.is_float16(type_):
        return pa.float32()
    if pa.types.is_decimal256(type_) and type_.precision <= 38:
        return pa.decimal128(type_.precision, type_.scale)
    return type_


def _cast(table: pa.Table, target: pa.Schema) -> pa.Table:
    arrays = []
    for column, field in zip(table.columns, target, strict=True):
        try:
            arrays.append(column.cast(field.type, safe=True))
        except pa.ArrowInvalid as error:
            raise DataError(
                f"column {field.name!r} would change: {error}",
                next_step=f"Round it to {field.type} yourself",
                column=field.name,
            ) from error
    return pa.table(arrays, schema=target)
