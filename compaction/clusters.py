"""Choose files to be sorted together, and leave those alone that are sorted well. Pure.

A file tells by a tag which sort wrote it (a cluster), or its bounds show that it overlaps with few
others, whoever wrote it. Everything else is fresh, and sorted by itself, into a cluster of its
own: so new rows cost their own bytes, and not those of the table. Clusters of about one size are
merged when there are four: a row is rewritten about once for each fourfold growth of the table,
and the files that overlap in one place stay few.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from compaction.facts import FileFacts, Partition
from compaction.overlap import Overlaps

_FAN = 4
_FEW = 4  # files that may overlap with a file that counts as sorted


@dataclasses.dataclass(frozen=True, slots=True)
class Group:
    """Hold files to be sorted together, of one partition, and whether they are new."""

    files: tuple[FileFacts, ...]
    is_fresh: bool

    @property
    def bytes(self) -> int:
        """Return the bytes of all files together."""
        return sum(file.size for file in self.files)


def groups(
    files: Sequence[FileFacts], *, key: str, target: int, group_bytes: int
) -> tuple[list[Group], list[FileFacts]]:
    """Return what to sort, and the other files that no sort has written.

    ``key`` is that of the sort; ``target`` is the size of the files to be written.
    """
    chosen: list[Group] = []
    others: list[FileFacts] = []
    by_partition: dict[Partition, list[FileFacts]] = {}
    for file in files:
        by_partition.setdefault(file.partition, []).append(file)
    for members in by_partition.values():
        fresh, clusters, narrow = _told_apart(members, key, target)
        others += narrow
        chosen += [
            Group(tuple(piece), is_fresh=True)
            for piece in _pieces(fresh, group_bytes)
            if len(piece) > 1 or piece[0].live_bytes > 2 * target
        ]
        merged = _levels(clusters, target, group_bytes)
        chosen += [Group(tuple(files), is_fresh=False) for files in merged]
    return chosen, others


def _told_apart(
    members: list[FileFacts], key: str, target: int
) -> tuple[list[FileFacts], dict[str, list[FileFacts]], list[FileFacts]]:
    """Return fresh files, clusters by their id, and files that are narrow by themselves."""
    clusters: dict[str, list[FileFacts]] = {}
    fresh, narrow = [], []
    overlaps = Overlaps(members)
    most = min(_FEW, (len(members) - 1) // _FAN)
    for file in members:
        if file.cluster is not None and file.cluster.key == key:
            clusters.setdefault(file.cluster.id, []).append(file)
        elif file.live_bytes <= 2 * target and overlaps.count(file, most=most) <= most:
            narrow.append(file)
        else:
            fresh.append(file)
    return fresh, clusters, narrow


def _pieces(files: list[FileFacts], most: int) -> Iterable[list[FileFacts]]:
    """Cut files into pieces of at most so many bytes, or of one file."""
    piece: list[FileFacts] = []
    size = 0
    for file in files:
        if piece and size + file.live_bytes > most:
            yield piece
            piece, size = [], 0
        piece.append(file)
        size += file.live_bytes
    if piece:
        yield piece


def _levels(
    clusters: dict[str, list[FileFacts]], target: int, group_bytes: int
) -> Iterable[list[FileFacts]]:
    """Yield the files of clusters of one size, where there are enough of them to be merged."""
    levels: dict[int, list[list[FileFacts]]] = {}
    for files in clusters.values():
        size = sum(file.live_bytes for file in files)
        if size * 2 <= group_bytes:
            levels.setdefault(_level(size, target), []).append(files)
    for _, alike in sorted(levels.items()):
        while len(alike) >= _FAN:
            taken: list[FileFacts] = []
            count = 0
            while alike and (
                count < 2
                or sum(f.live_bytes for f in taken) + sum(f.live_bytes for f in alike[0])
                <= group_bytes
            ):
                taken += alike.pop(0)
                count += 1
            yield taken


def _level(size: int, target: int) -> int:
    """Return the number of times that a cluster grew fourfold, from the smallest that count.

    >>> [_level(size, 256) for size in (0, 1, 3, 4, 16)]
    [0, 0, 0, 1, 2]
    """
    level, smallest = 0, max(1, target // 256)
    while size >= _FAN * smallest:
        size //= _FAN
        level += 1
    return level
