"""Sizes in bytes, for people."""

from __future__ import annotations


def size(count: int) -> str:
    """Return bytes for people.

    >>> size(1_500_000)
    '1.5 MB'
    """
    number = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"
