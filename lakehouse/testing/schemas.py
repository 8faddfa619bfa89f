"""Draw column names, column types and schemas that a Delta table can hold."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import strategies as st

AWKWARD_NAMES = (
    "a b", " ", 'q"q', "it's", "d.o.t", "a/b", "a=b", "%41", "a,b;{}()", "new\nline", "tab\t",
    "\\", "*", "?", "$1", "#1", "-- no comment", "select", "from", "null", "true", "filename",
    "file_row_number", "file_index", "rowid", "c0", "p0", "i", "x", "key", "min0", "ünï", "列",
    "😀", "x" * 300,
)  # fmt: skip
PRIMITIVES: tuple[pa.DataType, ...] = (
    pa.string(), pa.int64(), pa.int32(), pa.int16(), pa.int8(), pa.float32(), pa.float64(),
    pa.bool_(), pa.binary(), pa.date32(), pa.timestamp("us", tz="UTC"), pa.timestamp("us"),
)  # fmt: skip


def column_names() -> st.SearchStrategy[str]:
    """Draw names: plain ones, words of SQL and of our own machinery, quotes, dots, unicode."""
    free = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)
    return st.sampled_from(AWKWARD_NAMES) | st.from_regex(r"[a-z]{1,6}", fullmatch=True) | free


@st.composite
def decimals(draw: st.DrawFn) -> pa.DataType:
    """Draw decimal types of every precision and scale."""
    precision = draw(st.integers(1, 38))
    return pa.decimal128(precision, draw(st.integers(0, precision)))


def data_types(*, nested: bool = True) -> st.SearchStrategy[pa.DataType]:
    """Draw the types that a column may have, lists, structs and maps of them included."""
    flat = st.sampled_from(PRIMITIVES) | decimals()
    return st.recursive(flat, _nested, max_leaves=5) if nested else flat


def partition_types() -> st.SearchStrategy[pa.DataType]:
    """Draw the types that a partition column may have."""
    return st.sampled_from([type_ for type_ in PRIMITIVES if type_ != pa.binary()]) | decimals()


@st.composite
def schemas(
    draw: st.DrawFn, *, min_columns: int = 1, max_columns: int = 5, nested: bool = True
) -> pa.Schema:
    """Draw schemas whose names differ by more than case; any column may be NULL."""
    names = draw(
        st.lists(
            column_names(), min_size=min_columns, max_size=max_columns, unique_by=str.casefold
        ).filter(_tells_apart)
    )
    return pa.schema([pa.field(name, draw(data_types(nested=nested))) for name in names])


def _nested(inner: st.SearchStrategy[pa.DataType]) -> st.SearchStrategy[pa.DataType]:
    keys = st.sampled_from([pa.string(), pa.int64(), pa.date32()])
    names = st.lists(column_names(), min_size=1, max_size=3, unique_by=str.casefold)
    return (
        inner.map(pa.list_)
        | st.tuples(keys, inner).map(lambda pair: pa.map_(*pair))
        | names.filter(_tells_apart).flatmap(
            lambda fields: st.tuples(*(inner for _ in fields)).map(
                lambda types: pa.struct(list(zip(fields, types, strict=True)))
            )
        )
    )


def _tells_apart(names: list[str]) -> bool:
    return len({name.lower() for name in names}) == len(names)
