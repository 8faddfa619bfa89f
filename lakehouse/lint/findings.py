"""What the linter says: frozen values that name the rule, the version and the file."""

from __future__ import annotations

import dataclasses
from typing import Literal

Rule = Literal[
    "versions",
    "unreadable",
    "once",
    "removes",
    "adds",
    "rows",
    "partitions",
    "schema",
    "transactions",
    "protocol",
    "timestamps",
    "append-only",
    "checkpoint",
    "compaction",
    "hint",
    "files",
]


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """Say what is wrong, or with ``note``, what could not be verified or is merely unusual.

    ``version`` is that of the commit or the checkpoint; None where the whole table is meant.
    """

    rule: Rule
    message: str
    version: int | None = None
    path: str | None = None
    note: bool = False

    def __str__(self) -> str:
        where = "" if self.version is None else f"version {self.version}: "
        return f"{where}{self.message} ({self.rule})"
