"""Read sizes of memory and files as people write them."""

from __future__ import annotations

import re
from decimal import Decimal

from catalog.errors import InputError

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(I?)B?", re.IGNORECASE)
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


def size_of(value: str | int, *, name: str) -> int:
    """Return a size in bytes: a number of them, or text such as ``512MB`` or ``1.5 GiB``.

    ``name`` is how the InputError for anything else calls it.

    >>> size_of("1.5 GiB", name="memory_limit"), size_of("2MB", name="memory_limit")
    (1610612736, 2000000)
    """
    size = 0
    if isinstance(value, str):
        match = _SIZE.fullmatch(value.strip())
        if match:
            base = 1024 if match[3] else 1000
            size = int(Decimal(match[1]) * base ** _POWERS[match[2].upper()])
    elif not isinstance(value, bool):
        size = int(value)
    if size <= 0:
        raise InputError(
            f"{name}={value!r} is no size", next_step="Pass bytes, or text such as '512MB' or '2GB'"
        )
    return size
