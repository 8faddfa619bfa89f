"""Sample a table's statistics: how columns with filters lie over its files."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

from catalog.errors import LakehouseError
from lakehouse import scan as on_demand
from lakehouse.delta.files.layout import Leaf
from lakehouse.delta.schema.fields import Decimal, Primitive
from lakehouse.delta.schema.types import to_duckdb
from lakehouse.duck.engine import Engine
from lakehouse.lake.advice import Spread
from lakehouse.lake.conditions import parts
from lakehouse.scan.may import EVERY, May
from lakehouse.scan.plan import Reach
from lakehouse.scan.report import Kept, TableRef

_COLUMN = re.compile(r"\bc(\d+)_[0-9a-f]{20}\b")
_FILES = 64
_SHARES = "[0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95]"
_MIDDLE = "0.45"
_WHOLE = ("byte", "short", "integer", "long")
_TIMES = ("timestamp", "timestamp_ntz")


def spreads(
    ref: TableRef, where: May, scans: Sequence[Reach], kept: Kept, engine: Engine
) -> list[Spread]:
    """Return the spread of each column whose bounds are asked for by a query's only scan."""
    if len(scans) != 1 or ref.snapshot.files.is_empty:
        return []
    pruner = on_demand.Pruner(ref.snapshot.files.layout)
    filters: dict[int, list[str]] = {}
    for text in (part for joined in scans[0].filters for part in parts(joined)):
        numbers = {int(match[1]) for match in _COLUMN.finditer(text)}
        # No layout helps a filter that does not come down to bounds.
        if len(numbers) == 1 and pruner.may_match((text,)) != EVERY:
            filters.setdefault(numbers.pop(), []).append(_COLUMN.sub("value", text))
    names = [field.name for field in ref.snapshot.schema.fields]
    places: dict[int, int] = {}
    for keys in kept.join_keys:
        number = names.index(keys.column)
        if keys.values is not None:
            places[number] = keys.values
            filters.setdefault(number, []).append("false")  # a few of all values
        elif keys.low is not None and keys.high is not None:
            text = f"value BETWEEN {keys.low} AND {keys.high}"
            filters.setdefault(number, []).append(text)
    found = []
    for number, texts in filters.items():
        leaf = _leaf(ref, number)
        if leaf is not None and re.search(rf"\b(min|max){leaf.ordinal}\b", where.exact):
            spread = _spread(ref, leaf, texts, engine)
            if spread is not None:
                found.append(dataclasses.replace(spread, places=places.get(number, 1)))
    return found


def _leaf(ref: TableRef, number: int) -> Leaf | None:
    layout = ref.snapshot.files.layout
    path = (layout.schema.fields[number],)
    return next((leaf for leaf in layout.leaves if leaf.path == path and leaf.has_bounds), None)


def _spread(ref: TableRef, leaf: Leaf, filters: Sequence[str], engine: Engine) -> Spread | None:
    low, high = f"min{leaf.ordinal}", f"max{leaf.ordinal}"
    try:
        with engine.work("sample the statistics") as cursor:
            with ref.snapshot.files.on(cursor, engine) as index:
                cursor.execute(
                    f"CREATE TEMP TABLE points AS "
                    f"SELECT CAST({_between(leaf)} AS {to_duckdb(leaf.type)}) AS value, share FROM ("
                    f"SELECT {low} AS low, {high} AS high FROM {index} "
                    f"WHERE {low} IS NOT NULL AND {high} IS NOT NULL "
                    f"ORDER BY hash(position) LIMIT {_FILES}), "
                    f"(SELECT unnest({_SHARES}) AS share)"
                )
                (row,) = cursor.execute(
                    # One point a file: of many files, each point costs a pass over all.
                    f"SELECT (SELECT count(*) FROM {index} JOIN points ON share = {_MIDDLE} "
                    f"AND coalesce({low} <= value AND value <= {high}, true)), "
                    f"(SELECT count(*) FROM points WHERE share = {_MIDDLE}), "
                    f"(SELECT count(*) FROM points), "
                    f"(SELECT count(*) FROM points WHERE {' AND '.join(f'({text})' for text in filters)}), "
                    f"(SELECT {most_values(leaf)} FROM {index})"
                ).fetchall()
    except LakehouseError:
        return None  # DuckDB shows some expressions in a form that it does not read
    held, middles, points, matching, values = row
    if not points:
        return None
    return Spread(leaf.path[0].name, held / middles, matching / points, values)


def most_values(leaf: Leaf) -> str:
    """Return SQL over the file index for how many different values there are at most, or NULL."""
    if _is_whole(leaf):
        return f"max(max{leaf.ordinal})::HUGEINT - min(min{leaf.ordinal})::HUGEINT + 1"
    if leaf.type == Primitive("date"):
        return f"max(max{leaf.ordinal}) - min(min{leaf.ordinal}) + 1"
    return "max(NULL)"


def _between(leaf: Leaf) -> str:
    """Return SQL for the value at a share of the way from a file's lowest to its highest."""
    if _is_whole(leaf) or isinstance(leaf.type, Decimal) or leaf.is_float:
        return "low + (high::DOUBLE - low::DOUBLE) * share"
    if leaf.type == Primitive("date"):
        return "low + CAST((high - low) * share AS INTEGER)"
    if isinstance(leaf.type, Primitive) and leaf.type.name in _TIMES:
        return "low + to_microseconds(CAST((epoch_us(high) - epoch_us(low)) * share AS BIGINT))"
    return "CASE WHEN share < 0.5 THEN low ELSE high END"


def _is_whole(leaf: Leaf) -> bool:
    return isinstance(leaf.type, Primitive) and leaf.type.name in _WHOLE
