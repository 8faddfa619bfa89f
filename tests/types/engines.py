"""Read one table with every engine that we compare: ours, delta-rs, Polars."""

import contextlib
import importlib.util
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import deltalake
import duckdb
import polars as pl
import pyarrow as pa
from hypothesis import settings

import lakehouse
from lakehouse.testing import canonical_rows

numbers = itertools.count()


def effort(share: float) -> settings:
    """Return the settings for a property that costs more, or less, than others."""
    return settings(max_examples=max(5, int(settings().max_examples * share)))


def new_table(lake: lakehouse.Lake, schema, **options) -> lakehouse.Table:
    return lake.create_table(f"bronze.t{next(numbers)}", schema, **options)


def comparable(table: pa.Table) -> list[str]:
    """Return a table's rows as sorted texts that are equal just where the rows are.

    DuckDB 1.5 writes 0.0 and -0.0 into one dictionary entry of a Parquet file, as whichever came
    first; there, and only there, the sign of zeros is not compared.
    """
    texts = [repr(row) for row in canonical_rows(table)]
    if duckdb.__version__ < "2":
        texts = [text.replace("float -0.0'", "float 0.0'") for text in texts]
    return sorted(texts)


def ours(table: lakehouse.Table) -> pa.Table:
    return table.read().to_arrow_table()


def delta_rs(table: lakehouse.Table) -> pa.Table:
    handle = deltalake.DeltaTable(table.uri)
    builder = deltalake.QueryBuilder().register("t", handle)
    return pa.table(builder.execute("SELECT * FROM t").read_all())


def polars(table: lakehouse.Table) -> pa.Table:
    return pl.read_delta(table.uri).to_arrow()


PEERS: dict[str, Callable[[lakehouse.Table], pa.Table]] = {"delta_rs": delta_rs, "polars": polars}


def delta_extension() -> Path | None:
    """Return DuckDB's delta extension for this very version, where its wheel is installed."""
    spec = importlib.util.find_spec("duckdb_extension_delta")
    places = (spec and spec.submodule_search_locations) or []
    found = [path for place in places for path in Path(place).rglob("delta.duckdb_extension")]
    return next((path for path in found if f"v{duckdb.__version__}" in path.parts), None)


@contextlib.contextmanager
def with_delta_extension() -> Iterator[duckdb.DuckDBPyConnection]:
    """Give a connection of plain DuckDB that has ``delta_scan``."""
    with duckdb.connect(config={"allow_unsigned_extensions": True}) as connection:
        connection.execute(f"LOAD '{delta_extension()}'; SET TimeZone = 'UTC'")
        yield connection
