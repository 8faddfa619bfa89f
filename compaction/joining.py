"""Write neighbouring bins of tiny files together: that takes less than one after the other. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from compaction.plan import Step
from lakehouse.table.copying import Copy, joined

# What a stop, a conflict or a dead worker costs at most: a second or two of work.
_MOST_FILES, _MOST_BYTES = 1000, 64 << 20


def neighbours(
    copies: Iterable[tuple[Step, Copy]],
) -> Iterator[tuple[tuple[Step, ...], Copy]]:
    """Yield copies with the steps that each is for; no more are asked for than that takes."""
    pending: list[tuple[Step, Copy]] = []
    files = size = 0
    for step, copy in copies:
        more, longer = len(step.files), step.bytes_read
        if pending and not (
            pending[-1][1].joins(copy)
            and files + more <= _MOST_FILES
            and size + longer <= _MOST_BYTES
        ):
            yield _together(pending)
            pending, files, size = [], 0, 0
        pending.append((step, copy))
        files, size = files + more, size + longer
    if pending:
        yield _together(pending)


def _together(pairs: list[tuple[Step, Copy]]) -> tuple[tuple[Step, ...], Copy]:
    steps, copies = zip(*pairs, strict=True)
    return tuple(steps), copies[0] if len(copies) == 1 else joined(copies)
