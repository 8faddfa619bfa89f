"""Read and check the footer of a Parquet file of which another is to be made.

Pure. What is not known to be right is a ValueError: such a file is copied by its values instead. Source: Apache Parquet, "parquet.thrift".
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lakehouse.duck import thrift
from lakehouse.duck.thrift import BINARY, I32, I64, LIST, STRUCT, Struct

MAGIC = b"PAR1"
END = 8  # bytes of the footer's length and the magic number
_REPEATED = 2
# All fields that parquet.thrift has, by struct. In others an offset might stand that would lead
# astray in another file. What says that something is encrypted, or in another file, is left out.
_FILE = {1, 2, 3, 4, 5, 6, 7}
_GROUP = {1, 2, 3, 4, 5, 6, 7}
_CHUNK = {2, 3, 4, 5, 6, 7}
_COLUMN = set(range(1, 18))
# parquet-cpp, before it was Arrow's, left a header out of the size of a chunk (PARQUET-816).
_WRONG_SIZES = b"parquet-cpp version"
# Files whose dates and times are of another calendar, where Spark says so or is old.
_OTHER_CALENDAR = (b"org.apache.spark.legacyDateTime", b"org.apache.spark.legacyINT96")
_SPARK, _OLD_SPARK = b"org.apache.spark.version", (b"1.", b"2.")
# Arrow's own schema would have to follow the columns' types; readers do without.
_ARROW = b"ARROW:schema"


@dataclasses.dataclass(frozen=True, slots=True)
class Footer:
    """Hold a footer that was read, and where a file's data ends before it."""

    meta: Struct
    end: int

    @property
    def groups(self) -> tuple[int, ...]:
        """Return the number of rows of each row group."""
        return tuple(integer(group, 3) for group in groups_of(self.meta))


@dataclasses.dataclass(frozen=True, slots=True)
class Piece:
    """Point to bytes of one of several files, by its position among them."""

    file: int
    start: int
    length: int


@dataclasses.dataclass(frozen=True, slots=True)
class Column:
    """Hold a top-level column of a schema: its first node, all its nodes, and its first leaf."""

    node: Struct
    nodes: range
    leaf: int
    leaves: int

    @property
    def name(self) -> bytes:
        """Return the name, as it is stored."""
        return bytes(value_of(self.node, 4, BINARY))


def length_of(end: bytes) -> int:
    """Return the length of a footer by the last bytes of its file, `END` of them.

    >>> length_of(bytes([16, 0, 0, 0]) + MAGIC)
    16
    """
    if len(end) != END or end[4:] != MAGIC:
        raise ValueError("no plain Parquet file")
    return int.from_bytes(end[:4], "little")


def footer_of(data: bytes, size: int) -> Footer:
    """Read a footer, all bytes of it and no others, of a file of ``size`` bytes; and check it."""
    found = Footer(thrift.read(data), size - END - len(data))
    _check(found)
    return found


def ending(meta: Struct, old: Footer) -> bytes:
    """Return the bytes that end a file of such a footer, with the key-value pairs of another."""
    pairs = [pair for pair in pairs_of(old.meta) if value_of(pair, 1, BINARY) != _ARROW]
    data = thrift.write(
        {n: value for n, value in meta.items() if n != 5}
        | ({5: (LIST, (STRUCT, pairs))} if pairs else {})
    )
    return data + len(data).to_bytes(4, "little") + MAGIC


def check_columns(
    footer: Footer, columns: Mapping[str, int | None], known: Sequence[str], *, by_id: bool
) -> tuple[int, int]:
    """Return the bytes of columns that are replaced, and of the others, which are kept.

    ValueError where that cannot be. ``columns`` are those that are replaced: physical names and, where they have one, field ids,
    which find them where ``by_id`` says so. ``known`` are the physical names of all that the table
    has: what a file holds beyond is not carried on.
    """
    found = list(columns_of(footer.meta))
    names = [column.name.decode().lower() for column in found]
    if len(set(names)) != len(names):
        raise ValueError("two columns have one name")
    if not {column.name.decode() for column in found} <= set(known):
        raise ValueError("the file has columns that the table has not")
    leaves = set()
    for name, number in columns.items():
        column = next((c for c in found if c.name == name.encode()), None)
        if column is None:
            raise ValueError(f"the file lacks {name}")
        if len(column.nodes) != 1 or value_of(column.node, 3, I32) == _REPEATED:
            raise ValueError(f"{name} is nested")
        if by_id and number != optional(column.node, 9, I32):
            raise ValueError(f"{name} has another id")
        leaves.add(column.leaf)
    replaced = kept = 0
    for group in groups_of(footer.meta):
        for leaf, chunk in enumerate(chunks_of(group)):
            size = integer(meta_of(chunk), 7)
            if leaf in leaves:
                replaced += size
            else:
                kept += size
    return replaced, kept


def _check(footer: Footer) -> None:
    """Raise ValueError for a footer that is not as it should be."""
    meta = footer.meta
    _only(meta, _FILE)
    writer = value_of(meta, 6, BINARY) if 6 in meta else b""
    if writer.startswith(_WRONG_SIZES):
        raise ValueError("a writer that counts wrong")
    pairs = {value_of(pair, 1, BINARY): optional(pair, 2, BINARY) or b"" for pair in pairs_of(meta)}
    if any(key in pairs for key in _OTHER_CALENDAR) or (
        pairs.get(_SPARK, b"").startswith(_OLD_SPARK)
    ):
        raise ValueError("dates of another calendar")
    owners = [column for column in columns_of(meta) for _ in range(column.leaves)]
    if 7 in meta and len(value_of(meta, 7, LIST)[1]) != len(owners):
        raise ValueError("orders of other columns")
    ranges = [(0, len(MAGIC)), (footer.end, 0)]
    for group in groups_of(meta):
        _only(group, _GROUP)
        chunks = list(chunks_of(group))
        if len(chunks) != len(owners) or integer(group, 3) <= 0:
            raise ValueError("a row group without rows, or of other columns")
        for owner, chunk in zip(owners, chunks, strict=True):
            _only(chunk, _CHUNK)
            column = meta_of(chunk)
            _only(column, _COLUMN)
            if value_of(column, 3, LIST)[1][:1] != [owner.name]:
                raise ValueError("columns in another order")
            ranges.append(range_of(column))
            if 14 in column and 15 in column:
                ranges.append((integer(column, 14), value_of(column, 15, I32)))
    if sum(footer.groups) != integer(meta, 3) or not footer.groups:
        raise ValueError("another number of rows")
    ranges.sort()
    if any(
        start < 0 or length < 0 or start + length > following
        for (start, length), (following, _) in itertools.pairwise(ranges)
    ) or ranges[-1] != (footer.end, 0):
        raise ValueError("columns that overlap, or leave their file")


def columns_of(meta: Struct) -> Iterator[Column]:
    """Yield the top-level columns of a schema, whose nodes stand in depth-first order."""
    nodes = structs_of(meta, 2)
    if not nodes:
        raise ValueError("no schema")
    at, leaf = 1, 0
    for _ in range(optional(nodes[0], 5, I32) or 0):
        start, open_, leaves = at, 1, 0
        while open_:
            if at == len(nodes):
                raise ValueError("a schema that is cut off")
            children = optional(nodes[at], 5, I32) or 0
            leaves += children == 0
            open_ += children - 1
            at += 1
        yield Column(nodes[start], range(start, at), leaf, leaves)
        leaf += leaves
    if at != len(nodes):
        raise ValueError("a schema with too many nodes")


def range_of(meta: Struct) -> tuple[int, int]:
    """Return where a chunk begins, and its length."""
    start, dictionary = integer(meta, 9), optional(meta, 11, I64) or 0
    if dictionary > start:
        raise ValueError("a dictionary after its data")
    return dictionary if dictionary > 0 else start, integer(meta, 7)


def groups_of(meta: Struct) -> list[Struct]:
    """Return the row groups of a footer."""
    return structs_of(meta, 4)


def chunks_of(group: Struct) -> list[Struct]:
    """Return what a row group says of its column chunks, one a leaf."""
    return structs_of(group, 1)


def pairs_of(meta: Struct) -> list[Struct]:
    """Return the key-value pairs of a footer."""
    return structs_of(meta, 5) if 5 in meta else []


def meta_of(chunk: Struct) -> Struct:
    """Return the metadata of a column chunk."""
    found: Struct = value_of(chunk, 3, STRUCT)
    return found


def structs_of(value: Struct, number: int) -> list[Struct]:
    """Return a field that is a list of structs; ValueError where it is none."""
    inner, items = value_of(value, number, LIST)
    if inner != STRUCT and items:
        raise ValueError(f"field {number} has another type")
    found: list[Struct] = items
    return found


def integer(value: Struct, number: int) -> int:
    """Return a field of 64 bits."""
    return int(value_of(value, number, I64))


def optional(value: Struct, number: int, type_: int) -> Any:
    """Return a field, or None where there is none."""
    return value_of(value, number, type_) if number in value else None


def value_of(value: Struct, number: int, type_: int) -> Any:
    """Return a field of a type; ValueError where there is none."""
    found = value.get(number)
    if found is None or found[0] != type_:
        raise ValueError(f"field {number} is missing, or has another type")
    return found[1]


def _only(value: Struct, numbers: set[int]) -> None:
    if not value.keys() <= numbers:
        raise ValueError(f"fields {sorted(value.keys() - numbers)} are not known")
