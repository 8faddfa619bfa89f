"""How well files are clustered: how many others hold values between a file's bounds. Pure."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Sequence
from typing import Any

from compaction.facts import FileFacts, Interval

_MOST_LOOKS = 4096  # at other files, for one file
_SAMPLE = 200


class Overlaps:
    """Count, for files of one partition, the others that overlap in every column.

    A bound that is not known overlaps with everything.
    """

    def __init__(self, files: Sequence[FileFacts]) -> None:
        self._everywhere = [file for file in files if not _is_known(file)]
        self._files = sorted((f for f in files if _is_known(f)), key=lambda file: file.box[0][0])
        self._lows = [file.box[0][0] for file in self._files]
        # The greatest upper bound so far: files before the first that reaches up to a value do not.
        self._reach = list(itertools.accumulate((f.box[0][1] for f in self._files), max))

    def count(self, file: FileFacts, *, most: int) -> int:
        """Return how many others overlap with a file; ``most`` + 1 where there are more.

        So it does, too, where that would take too many looks.
        """
        if not _is_known(file):
            return min(len(self._files) + len(self._everywhere) - 1, most + 1)
        found = len(self._everywhere)
        low, high = file.box[0]
        first = bisect.bisect_left(self._reach, low)
        last = bisect.bisect_right(self._lows, high)
        for looks, other in enumerate(itertools.islice(self._files, first, last)):
            if found > most or looks > _MOST_LOOKS:
                return most + 1
            if other is not file and _meet(file.box, other.box):
                found += 1
        return min(found, most + 1)


def depth(files: Sequence[FileFacts]) -> float:
    """Return how many files, on average, hold values between the bounds of one; 1 is perfect.

    Of many files some are looked at.

    >>> a, b = FileFacts("a", 1, box=((1, 5),)), FileFacts("b", 1, box=((4, 9),))
    >>> depth([a]), depth([a, b]), depth([a, FileFacts("c", 1, box=((6, 9),))])
    (1.0, 2.0, 1.0)
    """
    if not files:
        return 0.0
    overlaps = Overlaps(files)
    sample = files[:: max(1, len(files) // _SAMPLE)]
    found = sum(overlaps.count(file, most=len(files)) for file in sample)
    return 1 + found / len(sample)


def _is_known(file: FileFacts) -> bool:
    return bool(file.box) and file.box[0][0] is not None and file.box[0][1] is not None


def _meet(one: tuple[Interval, ...], other: tuple[Interval, ...]) -> bool:
    return all(
        _reaches(low, top) and _reaches(bottom, high)
        for (low, high), (bottom, top) in zip(one, other, strict=True)
    )


def _reaches(low: Any, high: Any) -> bool:
    return low is None or high is None or bool(low <= high)
