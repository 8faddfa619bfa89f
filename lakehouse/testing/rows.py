"""Draw values and rows of Arrow types, with a liking for those that break things."""

from __future__ import annotations

import datetime as dt
import decimal
from typing import Any
from urllib.parse import quote

import pyarrow as pa
from hypothesis import strategies as st

_AWKWARD_TEXTS = (
    "", " ", "''", "it's", '"', "a\nb", "a\r\n\tb", "\0", "a\0b", "\\", "\\N", "NULL", "null", "%41",
    "nan", "p0", "min0", "/", "..", "a=b", "ünï", "e\u0301", "😀", "\ud7ff", "\ue000",
    "\U0010ffff", "\U0010ffff" * 40, "a" * 31 + "\u0301", "a" * 32, "a" * 33, "z" * 300,
)  # fmt: skip
PARTITION_TEXTS = (
    " ", "it's", '"', "a\nb", "\t", "\x01", "\x7f", "\\", "NULL", "%41", "%", "a/b", "a=b", ".",
    "..", "*?[x]", "{a}", "a#b?c&d", "a:b", "ünï", "列", "😀", " a ", "é" * 40, "x" * 250,
)  # fmt: skip
_FLOATS = (
    0.0, -0.0, 1.5, -1.5, 0.1, 1e300, -1e300, 5e-324, -5e-324, 2.0**53, 2.0**53 + 2,
    float("nan"), float("inf"), float("-inf"),
)  # fmt: skip
_LONGEST_NAME = 255  # bytes of a folder's name, percent-encoded
_BITS = {pa.int8(): 8, pa.int16(): 16, pa.int32(): 32, pa.int64(): 64}


def values(type_: pa.DataType) -> st.SearchStrategy[Any]:
    """Draw Python values of a type, never None at the top; nested values may hold None."""
    is_ = pa.types
    if type_ in _BITS:
        low, high = -(2 ** (_BITS[type_] - 1)), 2 ** (_BITS[type_] - 1) - 1
        return st.sampled_from((low, -1, 0, 1, high)) | st.integers(low, high)
    if is_.is_boolean(type_):
        return st.booleans()
    if is_.is_string(type_):
        return st.sampled_from(_AWKWARD_TEXTS) | st.text(st.characters(codec="utf-8"), max_size=40)
    if is_.is_binary(type_):
        return st.sampled_from((b"", b"\0", b"\xff\xfe", b"a'b")) | st.binary(max_size=20)
    if is_.is_float64(type_):
        return st.sampled_from(_FLOATS) | st.floats()
    if is_.is_float32(type_):
        narrow = tuple(value for value in _FLOATS if abs(value) not in (1e300, 0.1, 5e-324))
        return st.sampled_from((*narrow, 2.0**-149, 3.4028234663852886e38)) | st.floats(width=32)
    if is_.is_date(type_):
        return st.sampled_from((dt.date.min, dt.date.max)) | st.dates()
    if is_.is_timestamp(type_):
        zones = st.just(dt.UTC) if type_.tz else st.none()
        zone = dt.UTC if type_.tz else None
        edges = (
            dt.datetime.min.replace(tzinfo=zone),
            dt.datetime.max.replace(tzinfo=zone),
            dt.datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=zone),
            dt.datetime(2024, 2, 29, 12, 0, 0, 1, tzinfo=zone),
        )
        return st.sampled_from(edges) | st.datetimes(timezones=zones)
    if is_.is_decimal(type_):
        most = 10**type_.precision - 1
        unscaled = st.sampled_from((-most, -1, 0, 1, most)) | st.integers(-most, most)
        context = decimal.Context(prec=40)
        return unscaled.map(lambda n: context.scaleb(decimal.Decimal(n), -type_.scale))
    if is_.is_list(type_):
        return st.lists(st.none() | values(type_.value_type), max_size=3)
    if is_.is_map(type_):
        pairs = st.tuples(values(type_.key_type), st.none() | values(type_.item_type))
        return st.lists(pairs, max_size=3, unique_by=lambda pair: pair[0])
    if is_.is_struct(type_):
        return st.fixed_dictionaries(
            {field.name: st.none() | values(field.type) for field in type_.fields}
        )
    raise TypeError(f"no values are known for {type_}")


def partition_values(type_: pa.DataType, *, column: str = "p") -> st.SearchStrategy[Any]:
    """Draw values that a partition column may hold: no empty string, no negative zero.

    Texts are so short that a folder can be called by them and the column's name.
    """
    if pa.types.is_string(type_):
        free = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
        room = _LONGEST_NAME - len(f"{quote(column, safe='')}=")
        return (st.sampled_from(PARTITION_TEXTS) | free).filter(
            lambda text: len(quote(text, safe="")) <= room
        )
    if pa.types.is_floating(type_):
        return values(type_).map(lambda value: value if value != 0 else 0.0)
    return values(type_)


def rows(
    schema: pa.Schema, *, min_rows: int = 0, max_rows: int = 6, partition_by: tuple[str, ...] = ()
) -> st.SearchStrategy[pa.Table]:
    """Draw Arrow tables of a schema; nullable columns hold None as well."""
    cells = {}
    for field in schema:
        is_partition = field.name in partition_by
        drawn = (
            partition_values(field.type, column=field.name) if is_partition else values(field.type)
        )
        cells[field.name] = st.none() | drawn if field.nullable else drawn
    return st.lists(st.fixed_dictionaries(cells), min_size=min_rows, max_size=max_rows).map(
        lambda found: pa.Table.from_pylist(found, schema=schema)
    )
