"""`Limits`: how much one query of an untrusted author may take."""

from __future__ import annotations

import dataclasses
import math

from catalog.errors import InputError
from lakehouse.duck.sizes import size_of


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """Bound each query of a lake that was opened with ``untrusted_sql``.

    ``timeout`` is wall time in seconds, ``memory_limit`` what its process may take beside the
    100 to 200 MB that it needs to be there, ``max_rows`` and ``max_bytes`` bound its result (as
    Arrow), ``threads`` are its DuckDB's, and ``at_once`` so many queries run while others wait.

    >>> Limits(timeout=5, memory_limit="256MB").memory
    256000000
    """

    timeout: float = 30.0
    memory_limit: str | int = "1GB"
    max_rows: int = 1_000_000
    max_bytes: str | int = "256MB"
    threads: int = 2
    at_once: int = 4

    def __post_init__(self) -> None:
        if not (math.isfinite(self.timeout) and 0 < self.timeout <= 86_400):
            raise InputError(f"timeout={self.timeout!r} is no time", next_step="Pass seconds")
        for name in ("max_rows", "threads", "at_once"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise InputError(f"{name}={value!r} is no count", next_step="Pass 1 or more")
        _ = self.bytes
        if self.memory < 32_000_000:
            raise InputError(
                f"memory_limit={self.memory_limit!r} is too little for any query",
                next_step="Pass 32MB or more",
            )

    @property
    def memory(self) -> int:
        """Return the memory limit in bytes."""
        return size_of(self.memory_limit, name="memory_limit")

    @property
    def bytes(self) -> int:
        """Return the most bytes of a result."""
        return size_of(self.max_bytes, name="max_bytes")


_STEPS = {
    "timeout": "Narrow the query, or raise Limits(timeout=...)",
    "memory_limit": "Narrow the query, or raise Limits(memory_limit=...)",
    "max_rows": "Add LIMIT or aggregate, or raise Limits(max_rows=...)",
    "max_bytes": "Select less, or raise Limits(max_bytes=...)",
}


def exceeded(bound: str, detail: str) -> InputError:
    """Return the error of a query that went over a bound; it has the bound's name in ``bound``."""
    return InputError(
        f"the query was stopped at its limit: {detail}", next_step=_STEPS[bound], bound=bound
    )
