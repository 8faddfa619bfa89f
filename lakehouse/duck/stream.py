"""Read a relation batch by batch, with errors that say what is wrong with the rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from catalog import lazy
from catalog.errors import InputError, StorageError
from lakehouse.duck import signals
from lakehouse.duck.engine import Relation
from lakehouse.duck.errors import translated

pa: Any = lazy.module("pyarrow")


def batches(
    rows: Relation, *, size: int, doing: str, next_step: str | None = None
) -> Iterator[Any]:
    """Yield a relation's rows as record batches of about ``size`` rows.

    Raises InputError for rows that DuckDB cannot compute, StorageError for files that it cannot
    read; ``doing`` completes "cannot ...".
    """
    presses = signals.presses()
    with translated(doing):
        reader = rows.to_arrow_reader(size)
        while True:
            try:
                batch = reader.read_next_batch()
            except StopIteration:
                return
            except (OSError, pa.ArrowException) as error:
                # On its way through Arrow a DuckDB error loses its class; the text keeps it.
                text = str(error).removeprefix("IOError: ").split("\n\n")[0].strip()
                if text.startswith("INTERRUPT Error") and signals.presses() > presses:
                    raise KeyboardInterrupt from error
                kind = StorageError if text.startswith(("IO Error", "HTTP Error")) else InputError
                raise kind(f"cannot {doing}: {text}", next_step=next_step) from error
            yield batch


def lines(rows: Relation, *, size: int, doing: str) -> Iterator[tuple[Any, ...]]:
    """Yield a relation's rows one by one as tuples of Python values."""
    for batch in batches(rows, size=size, doing=doing):
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)
