"""Take the columns of a Parquet file over into another, byte for byte: what its footer says of them.

Pure: from footers to the pieces of the new file and its footer. What is not known to be right is a
ValueError: such a file is copied by its values instead. Source: Apache Parquet, "parquet.thrift".
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lakehouse.write import thrift
from lakehouse.write.thrift import BINARY, I32, I64, LIST, STRUCT, Struct

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
        return tuple(_int(group, 3) for group in _groups(self.meta))


@dataclasses.dataclass(frozen=True, slots=True)
class Piece:
    """Point to bytes of one of several files, by its position among them."""

    file: int
    start: int
    length: int


@dataclasses.dataclass(frozen=True, slots=True)
class Spliced:
    """Hold what a new file is made of, after its magic number: pieces, then ``end``."""

    pieces: tuple[Piece, ...]
    end: bytes


@dataclasses.dataclass(frozen=True, slots=True)
class _Column:
    """Hold a top-level column of a schema: its first node, all its nodes, and its first leaf."""

    node: Struct
    nodes: range
    leaf: int
    leaves: int

    @property
    def name(self) -> bytes:
        return bytes(_value(self.node, 4, BINARY))


def runs(groups: Sequence[int], vector: int) -> list[range]:
    """Return the row groups of a file, by their rows, in runs that a writer gives again at once.

    A row group is full when it has a number of rows or more after a whole vector, a writer's or
    one of what it reads. So all of a run end in the same vector, but for a last one that has less.

    >>> runs([122_880, 122_880, 500], 2048), runs([123_679, 123_678], 2048)
    ([range(0, 3)], [range(0, 2)])
    >>> runs([5000, 9000, 9000, 2048], 2048)
    [range(0, 1), range(1, 4)]
    """
    found, start = [], 0
    vectors = [-(-count // vector) for count in groups]
    for i in range(1, len(groups) + 1):
        ends = i == len(groups) or vectors[i] > vectors[start] or vectors[i - 1] < vectors[start]
        if ends:
            found.append(range(start, i))
            start = i
    return found


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


def check_columns(
    footer: Footer, columns: Mapping[str, int | None], known: Sequence[str], *, by_id: bool
) -> tuple[int, int]:
    """Return the bytes of columns that are replaced, and of the others, which are kept.

    ValueError where that cannot be. ``columns`` are those that are replaced: physical names and, where they have one, field ids,
    which find them where ``by_id`` says so. ``known`` are the physical names of all that the table
    has: what a file holds beyond is not carried on.
    """
    found = list(_columns(footer.meta))
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
        if len(column.nodes) != 1 or _value(column.node, 3, I32) == _REPEATED:
            raise ValueError(f"{name} is nested")
        if by_id and number != _optional(column.node, 9, I32):
            raise ValueError(f"{name} has another id")
        leaves.add(column.leaf)
    replaced = kept = 0
    for group in _groups(footer.meta):
        for leaf, chunk in enumerate(_chunks(group)):
            size = _int(_meta(chunk), 7)
            if leaf in leaves:
                replaced += size
            else:
                kept += size
    return replaced, kept


def spliced(old: Footer, new: Sequence[Footer]) -> Spliced:
    """Return a file with the columns of ``new``, and all others of ``old``.

    All of ``new`` have the same columns, and one after the other the row groups of the old file.
    Pieces number the old file 0 and these from 1 on. Page indexes are left out: they hold offsets
    of pages, and readers do without.
    """
    made = [(i, group) for i, footer in enumerate(new, 1) for group in _groups(footer.meta)]
    if old.groups != tuple(_int(group, 3) for _, group in made):
        raise ValueError("other row groups")
    columns = {column.name: column for column in _columns(new[0].meta)}
    nodes = list(_structs(old.meta, 2))
    replaced: dict[int, int] = {}
    for column in _columns(old.meta):
        if (other := columns.pop(column.name, None)) is not None:
            nodes[column.nodes.start] = other.node
            replaced[column.leaf] = other.leaf
    if columns or any(_value(f.meta, 2, LIST) != _value(new[0].meta, 2, LIST) for f in new):
        raise ValueError("other columns")
    out = _Out()
    groups = [
        _group(group, _chunks(other), number, replaced, out)
        for group, (number, other) in zip(_groups(old.meta), made, strict=True)
    ]
    out.add_filters()
    meta = dict(old.meta)
    meta[2] = (LIST, (STRUCT, nodes))
    meta[4] = (LIST, (STRUCT, groups))
    pairs = [pair for pair in _pairs(old.meta) if _value(pair, 1, BINARY) != _ARROW]
    meta.pop(5, None)
    if pairs:
        meta[5] = (LIST, (STRUCT, pairs))
    footer = thrift.write(meta)
    return Spliced(tuple(out.pieces), footer + len(footer).to_bytes(4, "little") + MAGIC)


class _Out:
    """Lay out a new file: each piece after the one before."""

    def __init__(self) -> None:
        self.pieces: list[Piece] = []
        self._at = len(MAGIC)
        self._filters: list[tuple[int, Struct]] = []

    def chunk(self, file: int, chunk: Struct) -> Struct:
        """Add a column chunk, and return what the footer says of it."""
        meta = dict(_meta(chunk))
        start, length = _range(meta)
        moved = self._add(file, start, length) - start
        for number in (9, 10, 11):  # data, index and dictionary pages
            if (at := _optional(meta, number, I64) or 0) > 0:
                meta[number] = (I64, at + moved)
        if 14 in meta and 15 in meta:
            self._filters.append((file, meta))
        else:
            meta.pop(14, None)  # without its length, a Bloom filter cannot be taken over
            meta.pop(15, None)
        # The second is "deprecated" and "ambiguous", to be 0; no other is but for page indexes.
        return {2: (I64, 0), 3: (STRUCT, meta)}

    def add_filters(self) -> None:
        """Add the chunks' Bloom filters, and say so in what was returned of them."""
        for file, meta in self._filters:
            meta[14] = (I64, self._add(file, _int(meta, 14), _value(meta, 15, I32)))

    def _add(self, file: int, start: int, length: int) -> int:
        at, self._at = self._at, self._at + length
        last = self.pieces[-1] if self.pieces else None
        if last is not None and (last.file, last.start + last.length) == (file, start):
            self.pieces[-1] = Piece(file, last.start, last.length + length)
        else:
            self.pieces.append(Piece(file, start, length))
        return at


def _group(
    group: Struct, new: Sequence[Struct], number: int, replaced: Mapping[int, int], out: _Out
) -> Struct:
    """Return a row group with other chunks in the place of some, the new ones of file ``number``."""
    chunks, grown = [], 0
    for leaf, chunk in enumerate(_chunks(group)):
        if leaf not in replaced:
            chunks.append(out.chunk(0, chunk))
            continue
        other = new[replaced[leaf]]
        chunks.append(out.chunk(number, other))
        grown += _int(_meta(other), 6) - _int(_meta(chunk), 6)
    made = dict(group)
    made[1] = (LIST, (STRUCT, chunks))
    made[2] = (I64, _int(group, 2) + grown)
    if 4 in made:
        # Rows are still in the order of what stands before a column that changed.
        sorting = _structs(group, 4)
        changed = [_value(by, 1, I32) in replaced for by in sorting]
        kept = sorting[: changed.index(True)] if True in changed else sorting
        made[4] = (LIST, (STRUCT, kept))
        if not kept:
            del made[4]
    if 5 in made:
        made[5] = (I64, _range(_meta(chunks[0]))[0])
    if 6 in made:
        made[6] = (I64, sum(_int(_meta(chunk), 7) for chunk in chunks))
    return made


def _check(footer: Footer) -> None:
    """Raise ValueError for a footer that is not as it should be."""
    meta = footer.meta
    _only(meta, _FILE)
    writer = _value(meta, 6, BINARY) if 6 in meta else b""
    if writer.startswith(_WRONG_SIZES):
        raise ValueError("a writer that counts wrong")
    pairs = {_value(pair, 1, BINARY): _optional(pair, 2, BINARY) or b"" for pair in _pairs(meta)}
    if any(key in pairs for key in _OTHER_CALENDAR) or (
        pairs.get(_SPARK, b"").startswith(_OLD_SPARK)
    ):
        raise ValueError("dates of another calendar")
    owners = [column for column in _columns(meta) for _ in range(column.leaves)]
    if 7 in meta and len(_value(meta, 7, LIST)[1]) != len(owners):
        raise ValueError("orders of other columns")
    ranges = [(0, len(MAGIC)), (footer.end, 0)]
    for group in _groups(meta):
        _only(group, _GROUP)
        chunks = list(_chunks(group))
        if len(chunks) != len(owners) or _int(group, 3) <= 0:
            raise ValueError("a row group without rows, or of other columns")
        for owner, chunk in zip(owners, chunks, strict=True):
            _only(chunk, _CHUNK)
            column = _meta(chunk)
            _only(column, _COLUMN)
            if _value(column, 3, LIST)[1][:1] != [owner.name]:
                raise ValueError("columns in another order")
            ranges.append(_range(column))
            if 14 in column and 15 in column:
                ranges.append((_int(column, 14), _value(column, 15, I32)))
    if sum(footer.groups) != _int(meta, 3) or not footer.groups:
        raise ValueError("another number of rows")
    ranges.sort()
    if any(
        start < 0 or length < 0 or start + length > following
        for (start, length), (following, _) in itertools.pairwise(ranges)
    ) or ranges[-1] != (footer.end, 0):
        raise ValueError("columns that overlap, or leave their file")


def _columns(meta: Struct) -> Iterator[_Column]:
    """Yield the top-level columns of a schema, whose nodes stand in depth-first order."""
    nodes = _structs(meta, 2)
    if not nodes:
        raise ValueError("no schema")
    at, leaf = 1, 0
    for _ in range(_optional(nodes[0], 5, I32) or 0):
        start, open_, leaves = at, 1, 0
        while open_:
            if at == len(nodes):
                raise ValueError("a schema that is cut off")
            children = _optional(nodes[at], 5, I32) or 0
            leaves += children == 0
            open_ += children - 1
            at += 1
        yield _Column(nodes[start], range(start, at), leaf, leaves)
        leaf += leaves
    if at != len(nodes):
        raise ValueError("a schema with too many nodes")


def _range(meta: Struct) -> tuple[int, int]:
    """Return where a chunk begins, and its length."""
    start, dictionary = _int(meta, 9), _optional(meta, 11, I64) or 0
    if dictionary > start:
        raise ValueError("a dictionary after its data")
    return dictionary if dictionary > 0 else start, _int(meta, 7)


def _groups(meta: Struct) -> list[Struct]:
    return _structs(meta, 4)


def _chunks(group: Struct) -> list[Struct]:
    return _structs(group, 1)


def _pairs(meta: Struct) -> list[Struct]:
    return _structs(meta, 5) if 5 in meta else []


def _meta(chunk: Struct) -> Struct:
    found: Struct = _value(chunk, 3, STRUCT)
    return found


def _structs(value: Struct, number: int) -> list[Struct]:
    inner, items = _value(value, number, LIST)
    if inner != STRUCT and items:
        raise ValueError(f"field {number} has another type")
    found: list[Struct] = items
    return found


def _int(value: Struct, number: int) -> int:
    return int(_value(value, number, I64))


def _optional(value: Struct, number: int, type_: int) -> Any:
    return _value(value, number, type_) if number in value else None


def _value(value: Struct, number: int, type_: int) -> Any:
    found = value.get(number)
    if found is None or found[0] != type_:
        raise ValueError(f"field {number} is missing, or has another type")
    return found[1]


def _only(value: Struct, numbers: set[int]) -> None:
    if not value.keys() <= numbers:
        raise ValueError(f"fields {sorted(value.keys() - numbers)} are not known")
