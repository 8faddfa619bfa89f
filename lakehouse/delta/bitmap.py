"""Sets of row numbers as roaring bitmaps, and their bytes: the only module that knows pyroaring.

Source: Delta protocol, "Deletion Vector Format": a magic number, then the portable 64-bit format.
"""

from __future__ import annotations

import array
import struct
from typing import Any

from catalog import lazy
from catalog.errors import CorruptionError

pa: Any = lazy.module("pyarrow")
pyroaring: Any = lazy.module("pyroaring")

Bitmap = Any  # a pyroaring.BitMap64: it has &, |, -, len(), and is compared by value
_MAGIC = 1681511377


def bitmap(rows: pa.Array) -> Bitmap:
    """Return the set of the row numbers in an Arrow array of int64 without NULL.

    >>> sorted(bitmap(pa.array([7, 3, 7])))
    [3, 7]
    """
    numbers = array.array("Q")
    whole = memoryview(rows.buffers()[1])
    numbers.frombytes(whole[rows.offset * 8 : (rows.offset + len(rows)) * 8])
    return pyroaring.BitMap64(numbers)


def row_numbers(rows: Bitmap) -> pa.Array:
    """Return a set's row numbers, ascending, as int64."""
    return pa.array(rows.to_array(), pa.uint64()).cast(pa.int64())


def all_but(rows: Bitmap, count: int) -> Bitmap:
    """Return those of the first ``count`` row numbers that are not in a set.

    >>> sorted(all_but(bitmap(pa.array([0, 2])), 4))
    [1, 3]
    """
    return rows.flip(0, count)


def to_bytes(rows: Bitmap) -> bytes:
    """Return a set as the protocol stores it, in few bytes."""
    rows.run_optimize()
    return struct.pack("<i", _MAGIC) + bytes(rows.serialize())


def from_bytes(body: bytes) -> Bitmap:
    """Return the set in a deletion vector's bytes; CorruptionError where it is none."""
    if len(body) < 4 or struct.unpack_from("<i", body)[0] != _MAGIC:
        raise CorruptionError("a deletion vector has the wrong magic number")
    try:
        return pyroaring.BitMap64.deserialize(body[4:])
    except ValueError as error:
        raise CorruptionError(f"a deletion vector is damaged: {error}") from error
