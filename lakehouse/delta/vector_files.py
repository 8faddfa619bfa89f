"""Write deletion vectors: small ones into the log itself, the others side by side into files.

Source: Delta protocol, "Deletion Vectors", "Deletion Vector File Storage Format".
"""

from __future__ import annotations

import contextlib
import dataclasses
import struct
import uuid
import zlib
from collections.abc import Iterable

from catalog.errors import StorageError
from catalog.storage import Storage
from lakehouse.delta.actions import DeletionVector
from lakehouse.delta.bitmap import Bitmap, to_bytes
from lakehouse.delta.deletion_vector import relative_path, z85_encode

# A vector in the log costs no file, but it is read with every snapshot.
_INLINE = 256
# Who reads one vector fetches its file, and offsets are 32 bits.
_LARGEST_FILE = 16 << 20
_VERSION = b"\x01"


@dataclasses.dataclass(frozen=True, slots=True)
class NewVectors:
    """Hold vectors that were written and that no commit names yet, and the files they are in."""

    vectors: tuple[DeletionVector, ...]
    paths: tuple[str, ...]


def write_vectors(storage: Storage, deleted: Iterable[Bitmap]) -> NewVectors:
    """Write the vectors of sets of row numbers, in their order; they are durable then."""
    vectors: list[DeletionVector] = []
    paths: list[str] = []
    name, body = uuid.uuid4(), bytearray(_VERSION)

    def flush() -> None:
        if len(body) > len(_VERSION):
            path = relative_path(DeletionVector("u", z85_encode(name.bytes), 0, 0))
            paths.append(path)
            storage.put(path, bytes(body))

    try:
        for rows in deleted:
            data = to_bytes(rows)
            if len(data) <= _INLINE:
                vectors.append(DeletionVector("i", z85_encode(data), len(data), len(rows)))
                continue
            if len(body) + len(data) > _LARGEST_FILE:
                flush()
                name, body = uuid.uuid4(), bytearray(_VERSION)
            offset = len(body)
            vectors.append(
                DeletionVector("u", z85_encode(name.bytes), len(data), len(rows), offset)
            )
            body += struct.pack(">i", len(data)) + data + struct.pack(">I", zlib.crc32(data))
        flush()
    except BaseException:
        with contextlib.suppress(StorageError):
            storage.delete(paths)
        raise
    return NewVectors(tuple(vectors), tuple(paths))
