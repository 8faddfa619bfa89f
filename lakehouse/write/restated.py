"""Statistics of a file of which some columns were written anew, a row group at a time.

Pure. Those of the other columns stay as the log has them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from decimal import Decimal as Number
from typing import Any

from lakehouse.delta.files.layout import Layout
from lakehouse.delta.schema.fields import Decimal, Type
from lakehouse.duck.parquet import ColumnStatistics, WrittenFile
from lakehouse.write.statistics import dumped, moment, statistics

_SECTIONS = ("minValues", "maxValues", "nullCount", "nanCount")


def together(parts: Sequence[WrittenFile], layout: Layout) -> WrittenFile:
    """Return what one file would be of which these are the parts; its columns are leaves."""
    found = {}
    for leaf in layout.leaves:
        path = leaf.physical_path
        columns = [(part.rows, part.columns[path]) for part in parts if path in part.columns]
        if len(columns) == len(parts):
            found[path] = _column(columns, _key(leaf.type))
    rows, size = sum(part.rows for part in parts), sum(part.size for part in parts)
    return WrittenFile(parts[0].name, rows, size, found, {})


def restated(
    stats: str | None,
    new: WrittenFile,
    columns: Collection[str],
    layout: Layout,
    properties: Mapping[str, str],
) -> str:
    """Return statistics of a file in which ``columns``, physical names, are those of ``new``.

    ValueError where it had none that can be read, or had another number of rows.
    """
    # Decimals are exact that way, and floats the same number.
    old = json.loads(stats or "", parse_float=Number, parse_constant=_refuse)
    fresh = json.loads(statistics(new, layout, properties), parse_float=Number)
    if not isinstance(old, dict) or old.get("numRecords") != fresh["numRecords"]:
        raise ValueError("another number of rows")
    for section in _SECTIONS:
        had = old.get(section, {})
        if not isinstance(had, dict):
            raise ValueError(f"{section} are not of the protocol's form")
        kept = {name: value for name, value in had.items() if name not in columns}
        value = {**kept, **fresh.get(section, {})}
        if value or section in old:
            old[section] = value
    try:
        return dumped(old)
    except TypeError as error:
        raise ValueError("statistics are not of the protocol's form") from error


def _column(
    parts: Sequence[tuple[int, ColumnStatistics]], key: Callable[[str], Any]
) -> ColumnStatistics:
    columns = [column for _, column in parts]
    # Where all is NULL there is nothing to bound.
    bounded = [column for rows, column in parts if column.nulls != rows]
    return ColumnStatistics(
        nulls=_sum([column.nulls for column in columns]),
        minimum=_outermost([column.minimum for column in bounded], key, min),
        maximum=_outermost([column.maximum for column in bounded], key, max),
        has_nan=_any([column.has_nan for column in columns]),
        nans=_sum([column.nans for column in columns]),
    )


def _outermost(
    texts: Sequence[str | None], key: Callable[[str], Any], choose: Callable[..., str]
) -> str | None:
    known = [text for text in texts if text is not None]
    if not known or len(known) < len(texts) or any(key(text) is None for text in known):
        return None
    return choose(known, key=key)


def _key(type_: Type) -> Callable[[str], Any]:
    """Return what orders the texts of values of a type as the values are ordered, or None."""
    if isinstance(type_, Decimal):
        return Number
    name = getattr(type_, "name", "")
    match name:
        case "byte" | "short" | "integer" | "long":
            return int
        case "float" | "double":
            return float
        case "string":
            return str
        case "date" | "timestamp" | "timestamp_ntz":
            return moment
        case _:
            return lambda _: None


def _sum(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _any(flags: Sequence[bool | None]) -> bool | None:
    if True in flags:
        return True
    return None if None in flags else False


def _refuse(text: str) -> Any:
    raise ValueError(f"{text} is no number of JSON")
