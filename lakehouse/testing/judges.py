"""Read a table with every engine that judges ours: delta-rs and Polars.

Needs `polars`, which the package itself does not install.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

import deltalake
import polars as pl
import pyarrow as pa
from deltalake.exceptions import DeltaProtocolError


def by_delta_rs(uri: str, version: int | None = None) -> pa.Table:
    """Return the rows as delta-rs reads them."""
    handle = deltalake.DeltaTable(uri, version=version)
    builder = deltalake.QueryBuilder().register("t", handle)
    return pa.table(builder.execute("SELECT * FROM t").read_all())


def by_polars(uri: str, version: int | None = None) -> pa.Table:
    """Return the rows as Polars reads them."""
    return pl.read_delta(uri, version=version).to_arrow()


JUDGES: Mapping[str, Callable[[str, int | None], pa.Table]] = MappingProxyType(
    {"delta-rs": by_delta_rs, "Polars": by_polars}
)


def verdicts(uri: str, version: int | None = None) -> Iterator[tuple[str, pa.Table]]:
    """Yield what each judge reads; one that says that it lacks a feature says no more."""
    for name, read in JUDGES.items():
        try:
            yield name, read(uri, version)
        except (DeltaProtocolError, pl.exceptions.ComputeError) as error:
            if "not support" not in str(error):
                raise
