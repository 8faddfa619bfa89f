"""Take the columns of a Parquet file over into another, byte for byte: what its footer says of them.

Pure: from footers to the pieces of the new file and its footer. What is not known to be right is a
ValueError: such a file is copied by its values instead. Source: Apache Parquet, "parquet.thrift".
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from lakehouse.duck.thrift import I32, I64, LIST, STRUCT, Struct
from lakehouse.write.footer import (
    MAGIC,
    Footer,
    Piece,
    chunks_of,
    columns_of,
    ending,
    groups_of,
    integer,
    meta_of,
    optional,
    range_of,
    structs_of,
    value_of,
)


@dataclasses.dataclass(frozen=True, slots=True)
class Spliced:
    """Hold what a new file is made of, after its magic number: pieces, then ``end``."""

    pieces: tuple[Piece, ...]
    end: bytes


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


def spliced(old: Footer, new: Sequence[Footer]) -> Spliced:
    """Return a file with the columns of ``new``, and all others of ``old``.

    All of ``new`` have the same columns, and one after the other the row groups of the old file.
    Pieces number the old file 0 and these from 1 on. Page indexes are left out: they hold offsets
    of pages, and readers do without.
    """
    made = [(i, group) for i, footer in enumerate(new, 1) for group in groups_of(footer.meta)]
    if old.groups != tuple(integer(group, 3) for _, group in made):
        raise ValueError("other row groups")
    columns = {column.name: column for column in columns_of(new[0].meta)}
    nodes = list(structs_of(old.meta, 2))
    replaced: dict[int, int] = {}
    for column in columns_of(old.meta):
        if (other := columns.pop(column.name, None)) is not None:
            nodes[column.nodes.start] = other.node
            replaced[column.leaf] = other.leaf
    if columns or any(value_of(f.meta, 2, LIST) != value_of(new[0].meta, 2, LIST) for f in new):
        raise ValueError("other columns")
    out = _Out()
    groups = [
        _group(group, chunks_of(other), number, replaced, out)
        for group, (number, other) in zip(groups_of(old.meta), made, strict=True)
    ]
    out.add_filters()
    meta = dict(old.meta)
    meta[2] = (LIST, (STRUCT, nodes))
    meta[4] = (LIST, (STRUCT, groups))
    return Spliced(tuple(out.pieces), ending(meta, old))


class _Out:
    """Lay out a new file: each piece after the one before."""

    def __init__(self) -> None:
        self.pieces: list[Piece] = []
        self._at = len(MAGIC)
        self._filters: list[tuple[int, Struct]] = []

    def chunk(self, file: int, chunk: Struct) -> Struct:
        """Add a column chunk, and return what the footer says of it."""
        meta = dict(meta_of(chunk))
        start, length = range_of(meta)
        moved = self._add(file, start, length) - start
        for number in (9, 10, 11):  # data, index and dictionary pages
            if (at := optional(meta, number, I64) or 0) > 0:
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
            meta[14] = (I64, self._add(file, integer(meta, 14), value_of(meta, 15, I32)))

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
    for leaf, chunk in enumerate(chunks_of(group)):
        if leaf not in replaced:
            chunks.append(out.chunk(0, chunk))
            continue
        other = new[replaced[leaf]]
        chunks.append(out.chunk(number, other))
        grown += integer(meta_of(other), 6) - integer(meta_of(chunk), 6)
    made = dict(group)
    made[1] = (LIST, (STRUCT, chunks))
    made[2] = (I64, integer(group, 2) + grown)
    if 4 in made:
        # Rows are still in the order of what stands before a column that changed.
        sorting = structs_of(group, 4)
        changed = [value_of(by, 1, I32) in replaced for by in sorting]
        kept = sorting[: changed.index(True)] if True in changed else sorting
        made[4] = (LIST, (STRUCT, kept))
        if not kept:
            del made[4]
    if 5 in made:
        made[5] = (I64, range_of(meta_of(chunks[0]))[0])
    if 6 in made:
        made[6] = (I64, sum(integer(meta_of(chunk), 7) for chunk in chunks))
    return made
