"""Draw a query's result in the terminal: bars for names, lines over times and numbers.

Pure: from columns of plain values to lines of text. docs/decisions/0029 says why not a library.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Literal

from rich.cells import cell_len, set_cell_size
from rich.text import Text

COLOURS = ("cyan", "yellow", "magenta", "green")
_EIGHTHS = " ▏▎▍▌▋▊▉"
# Braille cells hold 2 x 4 dots; bits of the dots by row, left and right (Unicode, U+2800).
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_LONGEST_LABEL = 24
_SHORTEST = 8

Kind = Literal["bars", "lines"]


@dataclasses.dataclass(frozen=True, slots=True)
class Series:
    """Hold the values of one column; None where there is nothing to draw."""

    name: str
    values: tuple[float | None, ...]


def bars(labels: Sequence[str], series: Sequence[Series], *, width: int) -> list[Text]:
    """Return a bar for each label and series, all on one scale that has zero on it.

    >>> for line in bars(["AA", "UA"], [Series("n", (4.0, -2.0))], width=24):
    ...     print(line)
    AA       ██████████▋   4
    UA  █████             -2
    """
    known = [value for one in series for value in one.values if value is not None]
    low, high = min([0.0, *known]), max([0.0, *known])
    figures = {value: figure(value) for value in known}
    name_width = min(max((cell_len(label) for label in labels), default=0), _LONGEST_LABEL)
    figure_width = max(map(len, figures.values()), default=0)
    room = max(width - name_width - figure_width - 4, _SHORTEST)
    span = high / 2 - low / 2  # halves, because the width of all doubles is none of them
    lines = legend(series)
    for row, label in enumerate(labels):
        for number, one in enumerate(series):
            value = one.values[row]
            name = set_cell_size(label if number == 0 else "", name_width)
            if value is None:
                lines.append(Text(f"{name}  -"))
                continue
            zero = round(-low / 2 / span * room) if span else 0
            drawn = _bar(value / 2 / span * room if span else 0.0, zero).ljust(room)
            line = Text.assemble(f"{name}  ", (drawn, _colour(number)))
            lines.append(line.append(f"  {figures[value]:>{figure_width}}"))
    return lines


def lines(
    x: Sequence[float],
    series: Sequence[Series],
    *,
    ends: tuple[str, str],
    width: int,
    height: int,
) -> list[Text]:
    """Return a line for each series over ``x``; ``ends`` are the texts of the lowest and highest x.

    >>> for line in lines([0, 1, 2], [Series("n", (0, 2, 1))], ends=("a", "c"), width=12, height=3):
    ...     print(line)
    2 ┤   ⡰⠑⠢⢄⡀
      │ ⢀⠎    ⠈⠑
    0 ┤⡰⠁
      a       c
    """
    known = [value for one in series for value in one.values if value is not None]
    low, high = min(known, default=0.0), max(known, default=0.0)
    marks = [figure(high), figure(low)]
    margin = max(map(len, marks))
    columns = max(width - margin - 2, _SHORTEST)
    canvas = _Canvas(columns, height)
    place_x = _scale(min(x, default=0.0), max(x, default=0.0), columns * 2 - 1)
    place_y = _scale(low, high, height * 4 - 1)
    for number, one in enumerate(series):
        points = [
            (place_x(at), height * 4 - 1 - place_y(value))
            for at, value in sorted(zip(x, one.values, strict=True), key=lambda pair: pair[0])
            if value is not None
        ]
        canvas.line(points, number)
    drawn = legend(series)
    for row in range(height):
        mark = marks[0] if row == 0 else marks[1] if row == height - 1 else ""
        edge = f"{mark:>{margin}} {'┤' if mark else '│'}"
        drawn.append(Text(edge).append_text(canvas.row(row)))
    first, last = ends
    gap = max(columns - cell_len(first) - cell_len(last), 1)
    drawn.append(Text(" " * (margin + 2) + first + " " * gap + last))
    for line in drawn:
        line.rstrip()
    return drawn


def legend(series: Sequence[Series]) -> list[Text]:
    """Return the line that says which colour is which column; none for a single one."""
    if len(series) < 2:
        return []
    parts = [(f"■ {one.name}  ", _colour(number)) for number, one in enumerate(series)]
    return [Text.assemble(*parts)]


def figure(value: float) -> str:
    """Return a number in few characters.

    >>> figure(1234567.0), figure(0.25), figure(3.0), figure(1e300)
    ('1,234,567', '0.25', '3', '1e+300')
    """
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.2f}" if 1 <= abs(value) < 1e12 else f"{value:.3g}"


def is_drawable(value: float | None) -> bool:
    """Tell whether a value has a place on a scale."""
    return value is not None and math.isfinite(value)


class _Canvas:
    """Hold dots in cells of 2 x 4, each cell in the colour of the series that was there last."""

    def __init__(self, columns: int, rows: int) -> None:
        self._bits = [[0] * columns for _ in range(rows)]
        self._colours = [[0] * columns for _ in range(rows)]

    def line(self, points: Sequence[tuple[int, int]], colour: int) -> None:
        for x, y in points[:1]:
            self._dot(x, y, colour)
        for (x, y), (to_x, to_y) in itertools.pairwise(points):
            steps = max(abs(to_x - x), abs(to_y - y), 1)
            for step in range(1, steps + 1):
                share = step / steps
                self._dot(round(x + (to_x - x) * share), round(y + (to_y - y) * share), colour)

    def row(self, number: int) -> Text:
        drawn = Text()
        for bits, colour in zip(self._bits[number], self._colours[number], strict=True):
            drawn.append(chr(0x2800 + bits) if bits else " ", _colour(colour) if bits else "")
        return drawn

    def _dot(self, x: int, y: int, colour: int) -> None:
        self._bits[y // 4][x // 2] |= _DOTS[y % 4][x % 2]
        self._colours[y // 4][x // 2] = colour


def _bar(length: float, zero: int) -> str:
    """Draw from ``zero`` to the right, or to the left; anything but zero shows."""
    if length < 0:
        cells = min(max(round(-length), 1), zero)
        return " " * (zero - cells) + "█" * cells
    whole = int(length)
    part = _EIGHTHS[int((length - whole) * 8)].strip()
    return " " * zero + "█" * whole + (part or ("" if whole or not length else _EIGHTHS[1]))


def _scale(low: float, high: float, most: int) -> Callable[[float], int]:
    span = high / 2 - low / 2
    return lambda value: round((value / 2 - low / 2) / span * most) if span else most // 2


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]
