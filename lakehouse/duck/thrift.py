"""Read and write Thrift's compact protocol, in which Parquet keeps its footers.

Structural: a struct is a dict from field number to type and value, so that fields that nobody
here knows of are kept. Source: Apache Thrift, "Thrift Compact protocol encoding"
(doc/specs/thrift-compact-protocol.md).
"""

from __future__ import annotations

from typing import Any

TRUE, FALSE, I8, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT, UUID = range(1, 14)
_NUMBERS = (I16, I32, I64)
_BYTES = {I8: 1, DOUBLE: 8, UUID: 16}  # kept as they are
_DEEPEST = 64

Struct = dict[int, tuple[int, Any]]
"""Fields by number: the type, and the value as the type has it.

Numbers are ints, booleans say it by their type (the value is None). ``BINARY``, and what is kept
as it stands (``I8``, ``DOUBLE``, ``UUID``), is bytes; lists and sets are ``(type of the items,
items)``, maps ``(type of the keys, of the values, pairs)``.
"""


def read(data: bytes) -> Struct:
    """Return the struct that fills all of ``data``; ValueError where it is none.

    >>> read(write({1: (I32, 7), 20: (LIST, (BINARY, [b"a", b"b"]))}))
    {1: (5, 7), 20: (9, (8, [b'a', b'b']))}
    """
    try:
        value, end = _struct(data, 0, 0)
    except IndexError as error:
        raise ValueError("a Thrift struct is cut off") from error
    if end != len(data):
        raise ValueError("a Thrift struct is followed by something else")
    return value


def write(value: Struct) -> bytes:
    """Return a struct's bytes, its fields by ascending number."""
    out = bytearray()
    _write_struct(out, value)
    return bytes(out)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    byte = data[at]
    if byte < 0x80:
        return byte, at + 1
    value, shift = byte & 0x7F, 7
    while True:
        at += 1
        byte = data[at]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at + 1
        shift += 7
        if shift > 63:
            raise ValueError("a Thrift number is too long")


def _number(data: bytes, at: int) -> tuple[int, int]:
    value, at = _varint(data, at)
    return (value >> 1) ^ -(value & 1), at


def _struct(data: bytes, at: int, depth: int) -> tuple[Struct, int]:
    if depth > _DEEPEST:
        raise ValueError("a Thrift struct is nested too deeply")
    value: Struct = {}
    last = 0
    while True:
        header = data[at]
        at += 1
        if header == 0:
            return value, at
        type_, delta = header & 0x0F, header >> 4
        if delta:
            last += delta
        else:
            last, at = _number(data, at)
        if last in value:
            raise ValueError(f"a Thrift struct has field {last} twice")
        if type_ <= FALSE and type_:
            value[last] = (type_, None)
        else:
            found, at = _value(data, at, type_, depth)
            value[last] = (type_, found)


def _value(data: bytes, at: int, type_: int, depth: int) -> tuple[Any, int]:
    if type_ in _NUMBERS:
        return _number(data, at)
    if type_ == BINARY:
        length, at = _varint(data, at)
        return _cut(data, at, length)
    if type_ == STRUCT:
        return _struct(data, at, depth + 1)
    if type_ in (LIST, SET):
        header = data[at]
        count, inner = header >> 4, header & 0x0F
        at += 1
        if count == 15:
            count, at = _varint(data, at)
        return _items(data, at, inner, count, depth + 1)
    if type_ == MAP:
        return _map(data, at, depth + 1)
    if type_ in _BYTES:
        return _cut(data, at, _BYTES[type_])
    raise ValueError(f"a Thrift value has the unknown type {type_}")


def _items(
    data: bytes, at: int, inner: int, count: int, depth: int
) -> tuple[tuple[int, list[Any]], int]:
    if count > len(data) - at:  # each takes a byte at least
        raise ValueError("a Thrift list is cut off")
    if depth > _DEEPEST:
        raise ValueError("a Thrift list is nested too deeply")
    items = []
    for _ in range(count):
        item, at = _item(data, at, inner, depth)
        items.append(item)
    return (inner, items), at


def _item(data: bytes, at: int, inner: int, depth: int) -> tuple[Any, int]:
    if inner in (TRUE, FALSE):  # in a list, booleans are bytes
        return _cut(data, at, 1)
    return _value(data, at, inner, depth)


def _map(data: bytes, at: int, depth: int) -> tuple[tuple[int, int, list[Any]], int]:
    count, at = _varint(data, at)
    if not count:
        return (0, 0, []), at
    if count > len(data) - at:
        raise ValueError("a Thrift map is cut off")
    if depth > _DEEPEST:
        raise ValueError("a Thrift map is nested too deeply")
    keys, values = data[at] >> 4, data[at] & 0x0F
    at += 1
    pairs = []
    for _ in range(count):
        key, at = _item(data, at, keys, depth)
        value, at = _item(data, at, values, depth)
        pairs.append((key, value))
    return (keys, values, pairs), at


def _cut(data: bytes, at: int, length: int) -> tuple[bytes, int]:
    if at + length > len(data):
        raise ValueError("Thrift's bytes are cut off")
    return data[at : at + length], at + length


def _write_varint(out: bytearray, value: int) -> None:
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def _write_number(out: bytearray, value: int) -> None:
    _write_varint(out, value << 1 if value >= 0 else (-value << 1) - 1)


def _write_struct(out: bytearray, value: Struct) -> None:
    last = 0
    for number in sorted(value):
        type_, found = value[number]
        if 0 < number - last <= 15:
            out.append(number - last << 4 | type_)
        else:
            out.append(type_)
            _write_number(out, number)
        last = number
        if type_ > FALSE:
            _write_value(out, type_, found)
    out.append(0)


def _write_value(out: bytearray, type_: int, value: Any) -> None:
    if type_ in _NUMBERS:
        _write_number(out, value)
    elif type_ == BINARY:
        _write_varint(out, len(value))
        out += value
    elif type_ == STRUCT:
        _write_struct(out, value)
    elif type_ in (LIST, SET):
        inner, items = value
        if len(items) < 15:
            out.append(len(items) << 4 | inner)
        else:
            out.append(0xF0 | inner)
            _write_varint(out, len(items))
        for item in items:
            _write_value(out, inner, item)
    elif type_ == MAP:
        keys, values, pairs = value
        _write_varint(out, len(pairs))
        if pairs:
            out.append(keys << 4 | values)
        for key, item in pairs:
            _write_value(out, keys, key)
            _write_value(out, values, item)
    else:
        out += value
