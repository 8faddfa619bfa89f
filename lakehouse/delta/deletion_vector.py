"""Decode deletion vectors: which rows of a data file are deleted.

Source: Delta protocol, "Deletion Vectors", "Deletion Vector Format".
"""

from __future__ import annotations

import base64
import struct
import uuid
import zlib
from typing import Any

from catalog import lazy
from catalog.errors import CorruptionError, UnsupportedError
from catalog.storage import Storage
from lakehouse.delta.actions import DeletionVector
from lakehouse.delta.paths import check_vector_prefix

pa: Any = lazy.module("pyarrow")
pyroaring: Any = lazy.module("pyroaring")

_MAGIC = 1681511377
_UUID_LENGTH = 20
# One file may hold the vectors of many data files. A few bytes can stand for many rows: neither
# may take memory without bound.
_LARGEST = 1 << 30
_MOST_ROWS = 1 << 28


def relative_path(vector: DeletionVector) -> str:
    """Return the path of a vector's file below the table's root (storage type ``u``).

    >>> relative_path(DeletionVector("u", "ab^-aqEH.-t@S}K{vb[*k^", 36, 6, 4))
    'ab/deletion_vector_d2c639aa-8816-431a-aaf6-d3fe2512ff61.bin'
    """
    text = vector.path_or_inline
    prefix, encoded = text[:-_UUID_LENGTH], text[-_UUID_LENGTH:]
    try:
        name = uuid.UUID(bytes=_z85_decode(encoded))
    except ValueError as error:
        raise CorruptionError(f"deletion vector path {text!r} is not valid") from error
    folder = f"{check_vector_prefix(prefix)}/" if prefix else ""
    return f"{folder}deletion_vector_{name}.bin"


def deleted_rows(storage: Storage, vector: DeletionVector) -> pa.Array:
    """Return the deleted rows' positions in their file, ascending, as int64.

    Raises CorruptionError where magic number, length, checksum or cardinality do not agree.
    """
    match vector.storage_type:
        case "i":
            try:
                body = _z85_decode(vector.path_or_inline)[: vector.size_in_bytes]
            except ValueError as error:
                raise CorruptionError("an inline deletion vector is not valid") from error
        case "u":
            body = _stored(storage, vector)
        case "p":
            raise UnsupportedError(
                "cannot read this table: a deletion vector has an absolute path",
                next_step="Rewrite it with its own engine, for example by OPTIMIZE or REORG",
            )
        case other:
            raise UnsupportedError(f"deletion vector storage type {other!r} is not supported")
    return _rows(body, vector)


def _stored(storage: Storage, vector: DeletionVector) -> bytes:
    path = relative_path(vector)
    data = storage.read(path, at_most=_LARGEST)
    start = vector.offset or 0
    (size,) = struct.unpack_from(">i", data, start) if len(data) >= start + 4 else (-1,)
    body = data[start + 4 : start + 4 + size]
    if size != vector.size_in_bytes or len(body) != size or len(data) < start + 8 + size:
        raise CorruptionError(f"deletion vector file {path} is truncated or of another size")
    (checksum,) = struct.unpack_from(">I", data, start + 4 + size)
    if zlib.crc32(body) != checksum:
        raise CorruptionError(f"deletion vector file {path} fails its checksum")
    return body


def _rows(body: bytes, vector: DeletionVector) -> pa.Array:
    if len(body) < 4 or struct.unpack_from("<i", body)[0] != _MAGIC:
        raise CorruptionError("a deletion vector has the wrong magic number")
    if vector.cardinality > _MOST_ROWS:
        raise CorruptionError(
            f"a deletion vector says that it holds {vector.cardinality:,} rows; at most "
            f"{_MOST_ROWS:,} are read"
        )
    try:
        bitmap = pyroaring.BitMap64.deserialize(body[4:])
    except ValueError as error:
        raise CorruptionError(f"a deletion vector is damaged: {error}") from error
    if len(bitmap) != vector.cardinality:
        raise CorruptionError(
            f"a deletion vector holds {len(bitmap)} rows, and its descriptor says "
            f"{vector.cardinality}"
        )
    return pa.array(bitmap.to_array(), pa.uint64()).cast(pa.int64())


def _z85_decode(text: str) -> bytes:
    # Base 85 as in RFC 1924 has the same digits in another order.
    table = str.maketrans(_Z85, _B85)
    return base64.b85decode(text.translate(table))


_Z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
_B85 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~"
