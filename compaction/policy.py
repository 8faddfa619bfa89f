"""What upkeep aims at: a frozen value, read from a table's properties."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from compaction.window import Window

DEFAULT_TARGET = 128 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class Policy:
    """Say when files are worth rewriting; sizes in bytes.

    Files below ``small_fraction`` of ``target_bytes`` are small; at least ``min_files`` small
    files of one partition are merged, into files of about ``target_bytes``.
    """

    target_bytes: int = DEFAULT_TARGET
    small_fraction: float = 0.5
    min_files: int = 2
    windows: tuple[Window, ...] = ()
    priority: int = 1
    enabled: bool = True

    def __post_init__(self) -> None:
        if self.target_bytes < 1 or not 0 < self.small_fraction <= 1 or self.min_files < 2:
            raise ValueError(f"{self} cannot be followed")

    @classmethod
    def of(cls, properties: Mapping[str, str], *, layer: str = "") -> Policy:  # noqa: ARG003
        """Return the policy that a table's properties ask for (``delta.targetFileSize``)."""
        text = properties.get("delta.targetFileSize", "")
        return cls(target_bytes=int(text)) if text.isdigit() and int(text) > 0 else cls()
