"""How the demo looks: headings, code, result tables, a chart and a tree, all by Rich."""

from __future__ import annotations

import contextlib
import datetime as dt
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, JustifyMethod, RenderableType
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.rule import Rule
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from lakehouse.demo.report import Check, StepReport

WIDTH = 100
_BLOCKS = " ▁▂▃▄▅▆▇█"
_HEAT = ("green", "green", "yellow", "yellow", "red", "red")


class Show:
    """Print the demo to a console, and keep the time of each step."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.steps: list[StepReport] = []

    @contextlib.contextmanager
    def step(self, name: str, says: str, *, color: str = "cyan") -> Iterator[None]:
        """Head a step, and record how long it takes."""
        number = len(self.steps) + 1
        title = Text.assemble((f"{number} {name}", f"bold {color}"), (f"  {says}", "default"))
        self.gap()
        self._print(Rule(title, align="left", style=color), indent=0)
        started = time.perf_counter()
        yield
        self.steps.append(StepReport(name, time.perf_counter() - started))

    def say(self, text: str) -> None:
        """Print a sentence; Rich markup is understood."""
        self._print(Text.from_markup(text), indent=0)

    def result(self, text: str) -> None:
        """Print what came out, in one line; Rich markup is understood."""
        self._print(Text.assemble(("→ ", "dim"), Text.from_markup(text)))

    def gap(self) -> None:
        """Print an empty line."""
        self.console.print()

    def python(self, code: str) -> None:
        """Print Python as a user would type it."""
        self._code(code, "python")

    def sql(self, code: str) -> None:
        """Print SQL as a user would type it."""
        self._code(code, "sql")

    def table(
        self,
        columns: Sequence[str],
        rows: Sequence[Sequence[Any]],
        *,
        bar: str | None = None,
    ) -> None:
        """Print rows; the column ``bar`` gets a bar beside its number."""
        table = _table()
        top = max((float(row[columns.index(bar)]) for row in rows), default=1.0) if bar else 1.0
        for index, column in enumerate(columns):
            numeric = any(isinstance(row[index], int | float) for row in rows)
            side: JustifyMethod = "right" if numeric else "left"
            table.add_column(column.replace("_", " "), justify=side, no_wrap=True)
        if bar:
            table.add_column("", no_wrap=True)
        for row in rows:
            cells: list[RenderableType] = [_cell(value) for value in row]
            if bar:
                cells.append(_bar(float(row[columns.index(bar)]) / top))
            table.add_row(*cells)
        self._print(table)

    def columns(self, values: Sequence[tuple[dt.date, float]], *, height: int) -> None:
        """Print one column a value, with the months below and the scale at the left."""
        top = max(value for _, value in values)
        lines = []
        for level in range(height - 1, -1, -1):
            heights = (max(0.0, min(1.0, value / top * height - level)) for _, value in values)
            line = "".join(_BLOCKS[round(part * 8)] for part in heights)
            scale = f"{top * (level + 1) / height:>4.0f} % "
            lines.append(Text.assemble((scale, "dim"), (line, _HEAT[level * 6 // height])))
        lines.append(Text("       " + _months([day for day, _ in values]), style="dim"))
        self._print(Group(*lines))

    def files(self, rows: Sequence[tuple[str, int, int, str, str]]) -> None:
        """Print files kept and skipped: question, files kept and in all, bytes, and why."""
        table = _table()
        for column in ("WHERE", "files", "", "bytes", "why"):
            side: JustifyMethod = "right" if column == "files" else "left"
            table.add_column(column, justify=side, no_wrap=True)
        for where, kept, total, volume, why in rows:
            marks = Text.assemble(("■" * kept, "yellow"), ("□" * (total - kept), "green"))
            table.add_row(Text(where), f"{kept} of {total}", marks, volume, why)
        self._print(table)

    def tree(self, root: Tree) -> None:
        """Print a tree of folders."""
        self._print(root, indent=0)

    def check(self, check: Check) -> None:
        """Print one check with its tick, or with what was expected instead."""
        mark = ("✓ ", "bold green") if check.passed else ("✗ ", "bold red")
        line = f"{check.table:<24} {check.what:<38} {check.found:>12}"
        self._print(Text.assemble(mark, (line, "default" if check.passed else "red")), indent=0)
        if not check.passed:
            self._print(Text(f"expected {check.expected:>12}", style="red"))

    @contextlib.contextmanager
    def progress(self, text: str, total: int) -> Iterator[Progress]:
        """Show a bar while work goes on; it is gone afterwards."""
        bar = Progress(
            TextColumn("  {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        with bar:
            bar.add_task(text, total=total)
            yield bar

    @contextlib.contextmanager
    def busy(self, text: str) -> Iterator[None]:
        """Show that work goes on."""
        with self.console.status(text):
            yield

    def _code(self, code: str, language: str) -> None:
        # Printed as text: a Syntax fills its lines with spaces, which are copied along.
        syntax = Syntax("", language, theme="ansi_dark", background_color="default")
        text = syntax.highlight(textwrap.indent(code, "  "))
        text.rstrip()
        self.console.print(text, soft_wrap=True)

    def _print(self, what: RenderableType, *, indent: int = 2) -> None:
        width = min(self.console.width, WIDTH)
        # Not expanded: lines without trailing spaces are better to copy. A rule has to be.
        padded = Padding(what, (0, 0, 0, indent), expand=isinstance(what, Rule))
        self.console.print(padded, width=width)


def schema_code(schema: Mapping[str, str], *, width: int = 70) -> str:
    """Return a schema as the dict that a user would type.

    >>> print(schema_code({"id": "BIGINT", "at": "DATE", "km": "DOUBLE"}, width=40))
    {
        "id": "BIGINT", "at": "DATE",
        "km": "DOUBLE",
    }
    """
    lines = [""]
    for name, type_ in schema.items():
        item = f' "{name}": "{type_}",'
        if lines[-1] and len(lines[-1]) + len(item) + 3 > width:
            lines.append("")
        lines[-1] += item
    return "{\n" + "".join(f"   {line}\n" for line in lines) + "}"


def _table() -> Table:
    # Two spaces between columns: everything fits into 80.
    return Table(
        box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="dim"
    )


def _cell(value: Any) -> str:
    match value:
        case None:
            return "NULL"
        case bool():
            return str(value)
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.1f}"
        case _:
            return str(value)


def _bar(share: float) -> Text:
    eighths = round(share * 18 * 8)
    partial = " ▏▎▍▌▋▊▉"[eighths % 8].strip()
    return Text("█" * (eighths // 8) + partial, style=_HEAT[min(5, int(share * 6))])


def _months(days: Sequence[dt.date]) -> str:
    """Return the names of the months, each where its first week stands."""
    line, last = "", 0
    for index, day in enumerate(days):
        ends = day + dt.timedelta(days=6)
        if ends.month != last and index + 3 <= len(days):
            line = line.ljust(index) + f"{ends:%b}"
        last = ends.month
    return line
