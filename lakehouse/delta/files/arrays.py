"""Make Arrow arrays of plain values: `pyarrow.array` imports pandas where that is installed.

That takes a fifth of a second and 40 MB, which is much for a small commit, and for a process that
is to stay within little memory.
"""

from __future__ import annotations

import array
import itertools
from collections.abc import Iterable, Sequence
from typing import Any

from catalog import lazy

pa: Any = lazy.module("pyarrow")


def texts(values: Sequence[str | None]) -> pa.Array:
    """Return texts, or nulls.

    >>> texts(["a", None, "bc"]).to_pylist()
    ['a', None, 'bc']
    """
    encoded = [b"" if value is None else value.encode() for value in values]
    present = _bits(value is not None for value in values) if None in values else None
    data = [present, _offsets(map(len, encoded)), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(encoded), data)


def numbers(values: Iterable[int]) -> pa.Array:
    """Return numbers of 64 bits.

    >>> numbers([1, -2]).to_pylist()
    [1, -2]
    """
    found = array.array("q", values)
    return pa.Array.from_buffers(pa.int64(), len(found), [None, pa.py_buffer(found)])


def flags(values: Sequence[bool]) -> pa.Array:
    """Return booleans.

    >>> flags([True, False, True]).to_pylist()
    [True, False, True]
    """
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, _bits(values)])


def lone_list(values: Sequence[str]) -> pa.Array:
    """Return one list of texts.

    >>> lone_list(["a", "b"]).to_pylist()
    [['a', 'b']]
    """
    offsets = pa.Array.from_buffers(pa.int32(), 2, [None, _offsets([len(values)])])
    return pa.ListArray.from_arrays(offsets, texts(values))


def maps(values: Sequence[Sequence[tuple[str, str | None]]]) -> pa.Array:
    """Return maps of texts, each from its entries.

    >>> maps([[("a", "1"), ("b", None)], []]).to_pylist()
    [[('a', '1'), ('b', None)], []]
    """
    offsets = pa.Array.from_buffers(pa.int32(), len(values) + 1, [None, _offsets(map(len, values))])
    entries = list(itertools.chain.from_iterable(values))
    keys, items = texts([key for key, _ in entries]), texts([item for _, item in entries])
    return pa.MapArray.from_arrays(offsets, keys, items)


def _offsets(lengths: Iterable[int]) -> pa.Buffer:
    return pa.py_buffer(array.array("i", itertools.accumulate(lengths, initial=0)))


def _bits(values: Iterable[bool]) -> pa.Buffer:
    """Return one bit a value, the first in the lowest place."""
    digits = "".join("1" if value else "0" for value in values)[::-1]
    return pa.py_buffer(int(digits or "0", 2).to_bytes(len(digits) // 8 + 1, "little"))
