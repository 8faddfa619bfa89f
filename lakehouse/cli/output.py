"""Write: data to standard output, words and progress to standard error."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import sys
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import typer
from rich import box
from rich.console import Console
from rich.filesize import decimal
from rich.progress import Progress, ProgressColumn
from rich.table import Table
from rich.text import Text

from catalog.errors import InputError
from lakehouse.cli import waiting

_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}
_CONTROLS |= {ord("\n"): "\\n", ord("\t"): "\\t", ord("\r"): "\\r"}

_NUMBERS = re.compile(r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|FLOAT|DOUBLE|DECIMAL.*")


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave it to the program, which gives every closed pipe the same exit code."""
        raise BrokenPipeError


def stdout() -> Console:
    """Return the console for data. Names and values are never read as Rich's markup.

    Lines are not cut where nobody looks at a terminal.
    """
    waiting.over()
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 10_000
    return _Console(markup=False, highlight=False, emoji=False, width=width)


def stderr() -> Console:
    """Return the console for words and progress."""
    return _Console(stderr=True, markup=False, highlight=False, emoji=False, soft_wrap=True)


def say(text: str, *, style: str = "") -> None:
    """Write a sentence for people to standard error."""
    waiting.over()
    stderr().print(Text(text, style=style))


def emit(value: Any) -> None:
    """Write one JSON document to standard output."""
    typer.echo(json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False))


def plain(value: Any) -> Any:
    """Return a value as JSON knows it: reports as objects, times as ISO 8601 text.

    >>> plain({"at": datetime(2024, 1, 31, 12), "columns": ("a", "b")})
    {'at': '2024-01-31T12:00:00', 'columns': ['a', 'b']}
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def grid(*columns: str, right: Iterable[str] = (), title: str | None = None) -> Table:
    """Return an empty table; the columns named in ``right`` are aligned to the right."""
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    aligned = set(right)
    for name in columns:
        justify: Any = "right" if name in aligned else "left"
        table.add_column(Text(visible(name)), justify=justify, overflow="fold")
    return table


def visible(text: str) -> str:
    r"""Return text for one line of a terminal: what could steer it is spelled out.

    >>> print(visible("a" + chr(27) + "[31m" + chr(10)))
    a\x1b[31m\n
    """
    return text.translate(_CONTROLS)


def size(count: int | None) -> str:
    """Return bytes for people; ``?`` where they are not known."""
    return "?" if count is None else decimal(count)


def number(count: int | None) -> str:
    """Return a count with separators; ``?`` where it is not known."""
    return "?" if count is None else f"{count:,}"


def is_number(type_: str) -> bool:
    """Tell whether a DuckDB type is one of numbers."""
    return _NUMBERS.fullmatch(type_) is not None


def moment(time: datetime | None) -> str:
    """Return a time in UTC, to the second."""
    return "?" if time is None else f"{time:%Y-%m-%d %H:%M:%S}"


def progress(*columns: str | ProgressColumn) -> Progress:
    """Return a progress display on standard error, silent unless that is a terminal."""
    console = stderr()
    # Some versions of Rich end even a display that is switched off with an empty line.
    console.quiet = not console.is_terminal
    return Progress(*columns, console=console, transient=True, disable=console.quiet)


def confirm(question: str, *, yes: bool, as_json: bool) -> None:
    """Ask before something that is hard to undo; InputError where nobody can answer."""
    if yes:
        return
    if as_json or not is_interactive():
        raise InputError("this needs a confirmation", next_step="Pass --yes to go ahead")
    typer.confirm(question, abort=True, err=True)


def is_interactive() -> bool:
    """Tell whether somebody sits at a terminal to answer a question."""
    return sys.stdin.isatty()


def read_text(path: str) -> str:
    """Return a text file's content; InputError if it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {error}", next_step="Check the path") from error
