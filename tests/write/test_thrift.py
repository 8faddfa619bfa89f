"""Thrift's compact protocol: what is read is written again, byte for byte; nonsense is refused."""

from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lakehouse.duck import thrift

NUMBERS = {
    thrift.I16: st.integers(-(2**15), 2**15 - 1),
    thrift.I32: st.integers(-(2**31), 2**31 - 1),
    thrift.I64: st.integers(-(2**63), 2**63 - 1),
}
PLAIN = NUMBERS | {
    thrift.I8: st.binary(min_size=1, max_size=1),
    thrift.DOUBLE: st.binary(min_size=8, max_size=8),
    thrift.BINARY: st.binary(max_size=200),
    thrift.UUID: st.binary(min_size=16, max_size=16),
}


def _lists(inner):
    """Lists, of items that `inner` gives as (type, value)."""
    same = st.lists(inner, max_size=20).map(lambda items: [i for i in items if i[0] == items[0][0]])
    return same.map(lambda items: (items[0][0] if items else thrift.I32, [v for _, v in items]))


def _maps(inner):
    return st.lists(st.tuples(inner, inner), max_size=3).map(
        lambda pairs: (
            pairs[0][0][0] if pairs else 0,
            pairs[0][1][0] if pairs else 0,
            [
                (key[1], value[1])
                for key, value in pairs
                if (key[0], value[0]) == (pairs[0][0][0], pairs[0][1][0])
            ],
        )
    )


def _structs(inner):
    flags = st.sampled_from([(thrift.TRUE, None), (thrift.FALSE, None)])
    return st.dictionaries(st.integers(-(2**15), 2**15 - 1), st.one_of(inner, flags), max_size=6)


def _more(inner):
    return st.one_of(
        st.tuples(st.sampled_from([thrift.LIST, thrift.SET]), _lists(inner)),
        st.tuples(st.just(thrift.MAP), _maps(inner)),
        st.tuples(st.just(thrift.STRUCT), _structs(inner)),
    )


VALUES = st.recursive(
    st.one_of([st.tuples(st.just(type_), values) for type_, values in PLAIN.items()]), _more
)


@settings(max_examples=settings().max_examples // 2)
@given(_structs(VALUES))
def test_what_is_written_is_read(value):
    data = thrift.write(value)
    assert thrift.read(data) == value
    for end in (len(data) - 1, len(data) // 2):
        with pytest.raises(ValueError, match="Thrift"):
            thrift.read(data[:end])
    with pytest.raises(ValueError, match="followed"):
        thrift.read(data + b"\0")


@given(st.binary(max_size=60))
@example(b"\x19" * 300)
@example(b"\x1c" * 300)
@example(b"\x1b\x01\xbb" * 100)
@example(b"\x16" + b"\xff" * 20)
def test_nonsense_is_refused_or_read(data):
    try:
        value = thrift.read(data)
    except ValueError:
        return
    assert thrift.read(thrift.write(value)) == value


TABLE = pa.table(
    {
        "id": range(5000),
        "name": [f"name {i % 7}" for i in range(5000)],
        "list": [[i, None] for i in range(5000)],
        "struct": [{"a": i, "b": [{"c": "x"}]} for i in range(5000)],
        "float": [None if i % 3 else i / 7 for i in range(5000)],
    }
)


def by_duckdb(path):
    with duckdb.connect() as connection:
        connection.register("t", TABLE)
        connection.execute(f"COPY t TO '{path}' (FORMAT parquet, ROW_GROUP_SIZE 2048)")


def by_delta_rs(path):
    write_deltalake(f"{path}.delta", TABLE)
    return next(Path(f"{path}.delta").glob("*.parquet"))


WRITERS = {
    "DuckDB": by_duckdb,
    "PyArrow": lambda path: pq.write_table(
        TABLE, path, row_group_size=999, write_page_index=True,
        sorting_columns=[pq.SortingColumn(0)], store_schema=True,
    ),
    "Polars": lambda path: pl.DataFrame(TABLE).write_parquet(path, row_group_size=2000),
    "delta-rs": by_delta_rs,
}  # fmt: skip


@pytest.mark.parametrize("writer", WRITERS)
def test_footers_of_all_writers(tmp_path, writer):
    path = tmp_path / "t.parquet"
    path = WRITERS[writer](path) or path
    data = path.read_bytes()
    length = int.from_bytes(data[-8:-4], "little")
    footer = data[-8 - length : -8]
    assert thrift.write(thrift.read(footer)) == footer
