"""Write Parquet files anew without some of their rows, as they were written before.

Pure: how each column is to be written, and the footer that a new file gets. What is not known to be
right is a ValueError: such a file is copied by its values instead. Source: Apache Parquet,
"parquet.thrift".
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from lakehouse.duck.thrift import BINARY, I32, I64, LIST, STRUCT, TRUE, Struct
from lakehouse.write.footer import (
    Footer,
    Piece,
    chunks_of,
    ending,
    groups_of,
    integer,
    meta_of,
    optional,
    structs_of,
    value_of,
)

_BYTES = 6
_WIDTHS = {0: 1, 1: 4, 2: 8, 4: 4, 5: 8}  # bytes of a value, by physical type
# A writer that is asked for it writes these, and no others that it cannot read.
_ENCODINGS = {0, 2, 3, 4, 8}  # plain, dictionaries, runs
_CODECS = {0: "none", 1: "snappy", 2: "gzip", 6: "zstd"}
_TEXTS: tuple[int | None, ...] = (None, 0)  # no other type than bytes, UTF-8
_MOST = 256  # bytes of a bound: what is longer tells no more
_PAGE, _LEAST_ROWS = 1 << 20, 1024  # bytes, and what PyArrow gives a column at once by default


@dataclasses.dataclass(frozen=True, slots=True)
class Written:
    """Say how a leaf column was written, and is to be again.

    ``is_text`` tells bytes that are in nothing else, which can be read as dictionaries.
    """

    path: tuple[str, ...]
    codec: str
    has_dictionary: bool
    is_text: bool

    @property
    def name(self) -> str:
        """Return the path as PyArrow calls it."""
        return ".".join(self.path)


@dataclasses.dataclass(frozen=True, slots=True)
class Bounds:
    """Hold what is known of one column in one row group: bounds as they are stored."""

    nulls: int
    low: bytes | None = None
    high: bytes | None = None


def columns_as_written(footer: Footer) -> tuple[Written, ...]:
    """Return how the leaf columns of a file were written; ValueError where one is unusual."""
    found = []
    groups = [chunks_of(group) for group in groups_of(footer.meta)]
    largest = footer.groups.index(max(footer.groups))
    for leaf, node in enumerate(_leaves(footer)):
        metas = [meta_of(chunks[leaf]) for chunks in groups]
        codecs = {value_of(meta, 4, I32) for meta in metas}
        encodings = {code for meta in metas for code in value_of(meta, 2, LIST)[1]}
        if len(codecs) != 1 or not codecs <= _CODECS.keys() or not encodings <= _ENCODINGS:
            raise ValueError("written in a way that is not written here")
        is_text = value_of(node, 1, I32) == _BYTES
        if is_text and optional(node, 6, I32) not in _TEXTS:
            raise ValueError("bytes that are neither a text nor bytes")
        path = tuple(name.decode() for name in value_of(metas[0], 3, LIST)[1])
        has_dictionary = (optional(metas[largest], 11, I64) or 0) > 0
        is_text = is_text and len(path) == 1
        found.append(Written(path, _CODECS[codecs.pop()], has_dictionary, is_text))
    if len({column.name for column in found}) != len(found):
        raise ValueError("two columns that PyArrow calls the same")
    return tuple(found)


def memory(footer: Footer) -> int:
    """Return how many bytes the largest row group takes when it is read, at most about."""
    largest = 0
    types = [value_of(node, 1, I32) for node in _leaves(footer)]
    for group in groups_of(footer.meta):
        rows = integer(group, 3)
        sizes = [
            max(integer(meta_of(chunk), 6), rows * _WIDTHS.get(type_, 16))
            for type_, chunk in zip(types, chunks_of(group), strict=True)
        ]
        largest = max(largest, sum(sizes))
    return largest


def rows_at_once(footer: Footer) -> int:
    """Return how many rows to give a column's writer at once: about a page of the largest column.

    After each time it looks whether a page is full.
    """
    widest = max(
        integer(meta_of(chunk), 6) / integer(group, 3)
        for group in groups_of(footer.meta)
        for chunk in chunks_of(group)
    )
    return max(_LEAST_ROWS, int(_PAGE / max(1.0, widest)))


def thinned(
    old: Footer,
    new: Footer,
    groups: Sequence[int],
    bounds: Sequence[Mapping[int, Bounds]],
) -> tuple[tuple[Piece, ...], bytes]:
    """Return pieces of the old file to put after the new one's data, and what ends the file.

    The new file has the rows that stay of the old one's row ``groups``, in which its values stand
    as they did: so the schema is the old one's. ``bounds`` are those of leaf columns that the
    writer gave none, by row group. Bloom filters are carried over: that of more rows may be asked
    for fewer.
    """
    _check_same(old, new)
    pieces: list[Piece] = []
    at, made = new.end, []
    olds = groups_of(old.meta)
    for number, (before, group) in enumerate(
        zip([olds[i] for i in groups], groups_of(new.meta), strict=True)
    ):
        chunks = []
        for leaf, (was, chunk) in enumerate(zip(chunks_of(before), chunks_of(group), strict=True)):
            meta, was = dict(meta_of(chunk)), meta_of(was)
            if (known := bounds[number].get(leaf)) is not None:
                meta[12] = (STRUCT, _statistics(known))
            if 14 in was and 15 in was:
                pieces.append(Piece(0, integer(was, 14), value_of(was, 15, I32)))
                meta[14], meta[15] = (I64, at), was[15]
                at += pieces[-1].length
            chunks.append(chunk | {3: (STRUCT, meta)})
        made.append(
            group | {1: (LIST, (STRUCT, chunks))} | {n: before[n] for n in (4,) if n in before}
        )
    meta = new.meta | {2: old.meta[2], 4: (LIST, (STRUCT, made))}
    return tuple(pieces), ending(meta, old)


def _leaves(footer: Footer) -> list[Struct]:
    return [node for node in structs_of(footer.meta, 2)[1:] if not optional(node, 5, I32)]


def _check_same(old: Footer, new: Footer) -> None:
    """Raise ValueError where values do not stand in the new file as they did in the old one."""
    nodes = structs_of(old.meta, 2), structs_of(new.meta, 2)
    if [_stands(node) for node in nodes[0][1:]] != [_stands(node) for node in nodes[1][1:]]:
        raise ValueError("values are written otherwise")


def _stands(node: Struct) -> tuple[object, ...]:
    """Return how the values of a node of the schema stand in a file, with its name and children."""
    converted = optional(node, 6, I32)
    unit = {9: 1, 10: 2}.get(converted or 0)
    if 10 in node:
        logical = value_of(node, 10, STRUCT)
        if 8 in logical:
            (unit,) = value_of(value_of(logical, 8, STRUCT), 2, STRUCT)
    # Type, length, repetition, children, scale.
    rest = (optional(node, number, I32) or None for number in (1, 2, 3, 5, 7))
    return value_of(node, 4, BINARY), unit, 1 in node, *rest


def _statistics(known: Bounds) -> Struct:
    found: Struct = {3: (I64, known.nulls)}
    if known.low is not None and len(known.low) <= _MOST:
        found |= {6: (BINARY, known.low), 8: (TRUE, None)}
    if known.high is not None and len(known.high) <= _MOST:
        found |= {5: (BINARY, known.high), 7: (TRUE, None)}
    return found
