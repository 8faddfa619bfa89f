"""What the proofs report: figures by the labels of their fields, and findings."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any


@dataclasses.dataclass(slots=True)
class Report:
    """Report a proof: seconds, and ``findings``, which are empty where nothing was wrong.

    Fields of subclasses are made by `counted` and `tallied`.

    >>> @dataclasses.dataclass(slots=True)
    ... class Kills(Report):
    ...     kills: int = counted("kills")
    ...     hits: Counter[str] = tallied("hit {}")
    >>> report = Kills()
    >>> report.kills += 2
    >>> report.hits["start"] += 1
    >>> report.figures()
    {'kills': 2, 'hit start': 1, 'seconds': 0.0}
    """

    seconds: float = 0.0
    findings: list[str] = dataclasses.field(default_factory=list)

    def figures(self) -> dict[str, object]:
        """Return what to print."""
        found: dict[str, object] = {}
        for field in dataclasses.fields(self):
            label, value = field.metadata.get("label"), getattr(self, field.name)
            if label is None:
                continue
            if isinstance(value, Counter):
                found |= {label.format(name): count for name, count in value.most_common()}
            else:
                found[label] = value
        return {**found, "seconds": round(self.seconds, 1)}

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        """Count the seconds of a block."""
        started = time.perf_counter()
        yield
        self.seconds = time.perf_counter() - started


def counted(label: str) -> Any:
    """Return a field that counts, printed under a label."""
    return dataclasses.field(default=0, metadata={"label": label})


def tallied(label: str) -> Any:
    """Return a field that counts by name, printed under a label that has ``{}`` for it."""
    return dataclasses.field(default_factory=Counter, metadata={"label": label})
