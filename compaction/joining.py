"""Write bins of tiny files together: that takes less than one after the other. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator

from compaction.plan import Step
from lakehouse.table.copying import Copy, joined

# What a stop, a conflict or a dead worker costs at most: a second or two of work.
_MOST_FILES, _MOST_BYTES = 1000, 64 << 20
_OPEN = 16  # partitions


def together(copies: Iterable[tuple[Step, Copy]]) -> Iterator[tuple[tuple[Step, ...], Copy]]:
    """Yield copies with the steps that each is for, not long after they came."""
    waiting: dict[Hashable, list[tuple[Step, Copy]]] = {}
    for step, copy in copies:
        common = copy.common
        if common is None:
            yield (step,), copy
            continue
        group = waiting.get(common, [])
        if group and not _fit(group, step):
            yield _joined(waiting.pop(common))
        waiting.setdefault(common, []).append((step, copy))
        if len(waiting) > _OPEN:
            yield _joined(waiting.pop(next(iter(waiting))))
    yield from map(_joined, waiting.values())


def _fit(group: list[tuple[Step, Copy]], step: Step) -> bool:
    steps = [*(one for one, _ in group), step]
    files, size = sum(len(one.files) for one in steps), sum(one.bytes_read for one in steps)
    return files <= _MOST_FILES and size <= _MOST_BYTES


def _joined(group: list[tuple[Step, Copy]]) -> tuple[tuple[Step, ...], Copy]:
    steps, copies = zip(*group, strict=True)
    return tuple(steps), copies[0] if len(copies) == 1 else joined(copies)
