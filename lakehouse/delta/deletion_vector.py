"""Read deletion vectors: which rows of a data file are deleted.

Source: Delta protocol, "Deletion Vectors", "Deletion Vector Format". `lakehouse.delta.vector_files`
writes them.
"""

from __future__ import annotations

import base64
import struct
import uuid
import zlib

from catalog.errors import CorruptionError, UnsupportedError
from catalog.storage import Storage
from lakehouse.delta.actions import DeletionVector
from lakehouse.delta.bitmap import Bitmap, from_bytes
from lakehouse.delta.paths import check_vector_prefix

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
        name = uuid.UUID(bytes=z85_decode(encoded))
    except ValueError as error:
        raise CorruptionError(f"deletion vector path {text!r} is not valid") from error
    folder = f"{check_vector_prefix(prefix)}/" if prefix else ""
    return f"{folder}deletion_vector_{name}.bin"


class Vectors:
    """Read the deletion vectors of a table, each file of theirs once in a row."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._last: tuple[str, bytes] = ("", b"")

    def rows(self, vector: DeletionVector) -> Bitmap:
        """Return the numbers of the deleted rows.

        Raises CorruptionError where magic number, length, checksum or cardinality do not agree.
        """
        match vector.storage_type:
            case "i":
                try:
                    body = z85_decode(vector.path_or_inline)[: vector.size_in_bytes]
                except ValueError as error:
                    raise CorruptionError("an inline deletion vector is not valid") from error
            case "u":
                body = self._stored(vector)
            case "p":
                raise UnsupportedError(
                    "cannot read this table: a deletion vector has an absolute path",
                    next_step="Rewrite it with its own engine, for example by OPTIMIZE or REORG",
                )
            case other:
                raise UnsupportedError(f"deletion vector storage type {other!r} is not supported")
        return _rows(body, vector)

    def _stored(self, vector: DeletionVector) -> bytes:
        path = relative_path(vector)
        if self._last[0] != path:
            self._last = (path, self._storage.read(path, at_most=_LARGEST))
        data = self._last[1]
        start = vector.offset or 0
        (size,) = struct.unpack_from(">i", data, start) if len(data) >= start + 4 else (-1,)
        body = data[start + 4 : start + 4 + size]
        if size != vector.size_in_bytes or len(body) != size or len(data) < start + 8 + size:
            raise CorruptionError(f"deletion vector file {path} is truncated or of another size")
        (checksum,) = struct.unpack_from(">I", data, start + 4 + size)
        if zlib.crc32(body) != checksum:
            raise CorruptionError(f"deletion vector file {path} fails its checksum")
        return body


def _rows(body: bytes, vector: DeletionVector) -> Bitmap:
    if vector.cardinality > _MOST_ROWS:
        raise CorruptionError(
            f"a deletion vector says that it holds {vector.cardinality:,} rows; at most "
            f"{_MOST_ROWS:,} are read"
        )
    rows = from_bytes(body)
    if len(rows) != vector.cardinality:
        raise CorruptionError(
            f"a deletion vector holds {len(rows)} rows, and its descriptor says "
            f"{vector.cardinality}"
        )
    return rows


def z85_encode(data: bytes) -> str:
    """Return bytes as the log stores them, filled up with zeros to a multiple of four.

    >>> z85_encode(uuid.UUID("d2c639aa-8816-431a-aaf6-d3fe2512ff61").bytes)
    '^-aqEH.-t@S}K{vb[*k^'
    """
    padded = data + bytes(-len(data) % 4)
    return base64.b85encode(padded).decode().translate(_TO_Z85)


def z85_decode(text: str) -> bytes:
    """Return the bytes of a text of `z85_encode`; ValueError for any other."""
    return base64.b85decode(text.translate(_FROM_Z85))


_Z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
_B85 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~"
# Base 85 as in RFC 1924 has the same digits in another order.
_TO_Z85, _FROM_Z85 = str.maketrans(_B85, _Z85), str.maketrans(_Z85, _B85)
