"""Choose how a query's result is drawn, and draw it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from rich.text import Text

from catalog.errors import InputError
from lakehouse.cli import chart
from lakehouse.cli.output import is_number, number, say, stdout, visible
from lakehouse.duck.engine import Relation
from lakehouse.duck.stream import lines

_TIMES = re.compile(r"DATE|TIMESTAMP.*")
_BARS = 50
_POINTS = 20_000
_FEW = 24  # so many rows can be read one by one
_HEIGHT = 16
_WIDTH = 80  # where no terminal says otherwise
_MOST_SERIES = len(chart.COLOURS)


def draw(rows: Relation) -> None:
    """Print a chart of rows.

    The first column that is no number names or places the rows, columns of numbers are drawn: as
    bars, or as lines where there are many rows over times or numbers.
    """
    types = [str(type_) for type_ in rows.types]
    along, series = roles(types)
    found = list(lines(_plain(rows, types, along, series), size=_POINTS, doing="run the query"))
    if along is None:  # their order places them
        found = [(str(at), float(at), *values) for at, (_, _, *values) in enumerate(found, 1)]
    as_lines = len(found) > _FEW and any(row[1] is not None for row in found)
    most = _POINTS if as_lines else _BARS
    names = [visible(rows.columns[index]) for index in series]
    out = stdout()
    width = out.width if out.is_terminal else _WIDTH
    for line in (_lines if as_lines else _bars)(found[:most], names, width):
        out.print(line, no_wrap=True, overflow="ignore")
    if len(found) > most:
        say(f"… only the first {number(most)} rows are drawn; use LIMIT or GROUP BY.", style="dim")


def roles(types: Sequence[str]) -> tuple[int | None, list[int]]:
    """Return which column names or places the rows, and which are drawn; InputError without any.

    >>> roles(["VARCHAR", "BIGINT", "DOUBLE"]), roles(["BIGINT", "BIGINT"]), roles(["BIGINT"])
    ((0, [1, 2]), (0, [1]), (None, [0]))
    """
    numbers = [index for index, type_ in enumerate(types) if is_number(type_)]
    others = [index for index in range(len(types)) if index not in numbers]
    along = others[0] if others else numbers[0] if len(numbers) > 1 else None
    series = [index for index in numbers if index != along]
    if not series:
        raise InputError(
            "there is nothing to draw: no column holds numbers",
            next_step="Select one, such as count(*), or choose another format",
        )
    return along, series[:_MOST_SERIES]


def _plain(
    rows: Relation, types: Sequence[str], along: int | None, series: Sequence[int]
) -> Relation:
    """Return each row's label, its place on a scale if it has one, and the values to draw."""
    label, place = "NULL", "NULL"
    if along is not None:
        label = f"CAST(#{along + 1} AS VARCHAR)"
        if _TIMES.fullmatch(types[along]):
            place = f"epoch(#{along + 1})"
        elif is_number(types[along]):
            place = f"CAST(#{along + 1} AS DOUBLE)"
    values = (f"CAST(#{index + 1} AS DOUBLE)" for index in series)
    columns = (f"{sql} AS c{i}" for i, sql in enumerate((label, place, *values)))
    return rows.limit(_POINTS + 1).project(", ".join(columns))


def _bars(found: Sequence[Sequence[Any]], names: Sequence[str], width: int) -> list[Text]:
    labels = ["NULL" if row[0] is None else visible(row[0]) for row in found]
    return chart.bars(labels, _series(found, names), width=width)


def _lines(found: Sequence[Sequence[Any]], names: Sequence[str], width: int) -> list[Text]:
    placed = [row for row in found if chart.is_drawable(row[1])]
    first, last = min(placed, key=lambda row: row[1]), max(placed, key=lambda row: row[1])
    return chart.lines(
        [row[1] for row in placed],
        _series(placed, names),
        ends=(visible(first[0]), visible(last[0])),
        width=width,
        height=_HEIGHT,
    )


def _series(found: Sequence[Sequence[Any]], names: Sequence[str]) -> list[chart.Series]:
    return [
        chart.Series(
            name, tuple(row[i + 2] if chart.is_drawable(row[i + 2]) else None for row in found)
        )
        for i, name in enumerate(names)
    ]
