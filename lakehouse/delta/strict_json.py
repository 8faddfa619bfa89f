"""Read JSON that may be hostile: one reading of it, bounded, and values of the type they must be.

Every function raises ValueError, TypeError or RecursionError, with what was found.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

# A line holds one action. Schemas and statistics of tables with tens of thousands of columns
# take megabytes.
LONGEST_LINE = 64 << 20
# Deeper than any schema or statistics, and far from what Python's and DuckDB's stacks can bear.
DEEPEST = 200
_LONG = 2**63
_LAST_MOMENT = 253_402_300_799_999  # the end of the year 9999


def document(line: bytes) -> Any:
    """Return the value of one JSON document.

    Refused, since others could read it in another way or not at all: text that is not UTF-8 or
    starts with a mark, keys that occur twice, NaN and infinities, half a surrogate pair. Bounded
    are length and depth.
    """
    if len(line) > LONGEST_LINE:
        raise ValueError(f"it has {len(line):,} bytes, and a line has at most {LONGEST_LINE:,}")
    # json.loads would guess at UTF-16, and take a mark at the start.
    value = _DECODER.decode(line.decode("utf-8"))
    if line.count(b"{") + line.count(b"[") > DEEPEST:
        _check_depth(value)
    if b"\\u" in line:
        json.dumps(value, ensure_ascii=False).encode()
    return value


def mapping(value: Any, name: str) -> Mapping[str, Any]:
    """Return a JSON object; ``name`` says what it is."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} is not an object but {shown(value)}")
    return value


def sequence(value: Any) -> Sequence[Any]:
    """Return a JSON array; null is an empty one."""
    if value is not None and not isinstance(value, list):
        raise TypeError(f"a list expected, found {shown(value)}")
    return value or ()


def text(value: Any) -> str:
    """Return a string."""
    if not isinstance(value, str):
        raise TypeError(f"text expected, found {shown(value)}")
    return value


def flag(value: Any, *, otherwise: bool) -> bool:
    """Return true or false; null is ``otherwise``."""
    if value is not None and not isinstance(value, bool):
        raise TypeError(f"true or false expected, found {shown(value)}")
    return otherwise if value is None else value


def whole(value: Any) -> int:
    """Return a number of 64 bits, which is written without fraction, exponent or quotes."""
    if type(value) is not int or not -_LONG <= value < _LONG:
        raise ValueError(f"a whole number of 64 bits expected, found {shown(value)}")
    return value


def count(value: Any, *, largest: int = _LONG - 1) -> int:
    """Return a number from 0 to ``largest``."""
    if type(value) is not int or not 0 <= value <= largest:
        raise ValueError(f"a count expected, found {shown(value)}")
    return value


def moment(value: Any) -> int:
    """Return milliseconds since the epoch that Python can show as a time."""
    if not 0 <= whole(value) <= _LAST_MOMENT:
        raise ValueError(f"milliseconds since the epoch expected, found {value}")
    return int(value)


def shown(value: Any) -> str:
    """Return a value for a message, cut where it is long."""
    found = repr(value)
    return found if len(found) <= 100 else f"{found[:100]}..."


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {shown(twice)} occurs twice in one object")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON value")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)


def _check_depth(value: Any) -> None:
    level: list[Any] = [value]
    for _ in range(DEEPEST):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise ValueError(f"it is nested more than {DEEPEST} levels deep")
