"""Turn DuckDB's statistics of a written file into those of an add action.

Source: Delta protocol, "Per-file Statistics". Strings are cut to a prefix, with a maximum that is
still an upper bound; columns that hold NaN or infinity have no bounds, because readers disagree
about their order. ``nanCount`` is an addition of ours that other readers pass over: a bound of a
floating-point column may exclude a file only where it says that there is no NaN.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Mapping
from decimal import Decimal as Number
from typing import Any

from catalog.errors import DataError
from lakehouse.delta.files.layout import Layout, Leaf, is_bounded
from lakehouse.delta.schema.fields import Array, Decimal, Map, Primitive
from lakehouse.duck.parquet import ColumnStatistics, WrittenFile

PREFIX = 32
DEFAULT_INDEXED = 32
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_TIME = re.compile(r"(\d{4}-\d{2}-\d{2}) (\d{2}:\d{2}:\d{2})(?:\.(\d{1,6}))?(\+00)?")
_LAST = 0x10FFFF


def statistics(file: WrittenFile, layout: Layout, properties: Mapping[str, str]) -> str:
    """Return the ``stats`` JSON of a file.

    Raises DataError where the file holds an infinite date or timestamp, which other engines
    cannot read.
    """
    minimum: dict[str, Any] = {}
    maximum: dict[str, Any] = {}
    nulls: dict[str, Any] = {}
    nans: dict[str, Any] = {}
    for leaf in _indexed(layout, properties):
        found = _find(file, leaf)
        if found is None:
            continue
        path = leaf.physical_path
        if found.nulls is not None:
            _nest(nulls, path, found.nulls)
        if leaf.is_float and found.has_nan is False:
            _nest(nans, path, 0)
        if is_bounded(leaf.type) and not found.has_nan:
            low = _bound(leaf, found.minimum, upper=False)
            high = _bound(leaf, found.maximum, upper=True)
            if low is not None and high is not None:
                _nest(minimum, path, low)
                _nest(maximum, path, high)
    value = {
        "numRecords": file.rows,
        "minValues": minimum,
        "maxValues": maximum,
        "nullCount": nulls,
        **({"nanCount": nans} if nans else {}),
    }
    return dumped(value)


def check_finite(file: WrittenFile, layout: Layout) -> None:
    """Raise DataError where a file holds infinite dates or timestamps."""
    for leaf in layout.leaves:
        found = _find(file, leaf)
        if found is None or leaf.type not in _TEMPORAL:
            continue
        if "infinity" in (found.minimum or "") or "infinity" in (found.maximum or ""):
            name = ".".join(field.name for field in leaf.path)
            raise DataError(
                f"column {name!r} holds an infinite date or time, which Delta cannot",
                next_step="Use NULL or a far date such as 9999-12-31",
                column=name,
            )


_TEMPORAL = (Primitive("date"), Primitive("timestamp"), Primitive("timestamp_ntz"))


def truncated_maximum(text: str, length: int = PREFIX) -> str | None:
    """Return the shortest-changed upper bound of at most ``length`` characters, or None.

    >>> truncated_maximum("abc", 2)
    'ac'
    """
    if len(text) <= length:
        return text
    for end in range(length, 0, -1):
        code = ord(text[end - 1])
        if code < _LAST:
            following = 0xE000 if code == 0xD7FF else code + 1
            return text[: end - 1] + chr(following)
    return None


def _indexed(layout: Layout, properties: Mapping[str, str]) -> tuple[Leaf, ...]:
    try:
        count = int(properties.get("delta.dataSkippingNumIndexedCols", DEFAULT_INDEXED))
    except ValueError:
        count = DEFAULT_INDEXED
    return layout.leaves if count < 0 else layout.leaves[:count]


def _find(file: WrittenFile, leaf: Leaf) -> ColumnStatistics | None:
    if len(leaf.path) > 1 and isinstance(leaf.type, Array | Map):
        # DuckDB counts those whose parent is there only.
        return None
    return file.columns.get(leaf.physical_path)


def _bound(leaf: Leaf, text: str | None, *, upper: bool) -> Any:
    if text is None:
        return None
    type_ = leaf.type
    if isinstance(type_, Decimal):
        return Number(text)
    assert isinstance(type_, Primitive)
    match type_.name:
        case "string":
            return truncated_maximum(text) if upper else text[:PREFIX]
        case "float" | "double":
            number = float(text)
            if type_.name == "float" and math.isfinite(number):
                # As a double has it: "0.1" is another number where the column widens to one.
                (number,) = struct.unpack("f", struct.pack("f", number))
            if number == 0:
                # Java orders -0.0 before 0.0, which SQL takes for the same number.
                return 0.0 if upper else -0.0
            return number if math.isfinite(number) else None
        case "date":
            return text if _DATE.fullmatch(text) else None
        case "timestamp" | "timestamp_ntz":
            return _timestamp(text, zone="Z" if type_.name == "timestamp" else "")
        case _:
            return int(text)


def _timestamp(text: str, *, zone: str) -> str | None:
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    day, time, fraction, _ = match.groups()
    # Some readers want milliseconds at least.
    return f"{day}T{time}.{(fraction or ''):0<3}{zone}"


def moment(text: str) -> tuple[str, ...] | None:
    """Return what orders DuckDB's texts of dates and times; None for one that is no bound.

    >>> moment("2024-01-01 00:00:00.5") > moment("2024-01-01 00:00:00.25")
    True
    """
    if _DATE.fullmatch(text):
        return (text,)
    match = _TIME.fullmatch(text)
    return None if match is None else (match[1], match[2], f"{match[3] or '':0<6}")


def _nest(tree: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for name in path[:-1]:
        tree = tree.setdefault(name, {})
    tree[path[-1]] = value


def dumped(value: Any) -> str:
    """Return statistics as JSON, with decimals as exact numbers, which the json module cannot write."""
    if isinstance(value, Mapping):
        inner = ",".join(
            f"{json.dumps(k, ensure_ascii=False)}:{dumped(v)}" for k, v in value.items()
        )
        return f"{{{inner}}}"
    if isinstance(value, Number):
        return f"{value:f}"
    return json.dumps(value, ensure_ascii=False)
