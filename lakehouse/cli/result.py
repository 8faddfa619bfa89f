"""Show a query's result as a table or a chart, or write it as CSV, JSON lines or Parquet.

Values become text in DuckDB, so that nothing is lost on the way: decimals, nanoseconds and
large integers come out digit by digit.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import sys
import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, TextIO, get_args

from rich.cells import cell_len
from rich.text import Text

from catalog.errors import InputError, LakehouseError, StorageError
from lakehouse.cli import waiting
from lakehouse.cli.output import is_number, number, say, stdout, visible
from lakehouse.duck.engine import Relation
from lakehouse.duck.stream import batches, lines

Format = Literal["table", "csv", "json", "parquet", "chart"]
SHOWN_ONLY = ("table", "chart")
SHOWN = 50
_COUNTED = 1_000_000  # counting what is not shown must not take longer than people wait
_BATCH = 2_000
_CELL = 60
_DOING = "run the query"
_TEXT = "CAST(COLUMNS(*) AS VARCHAR)"
# In DuckDB's JSON text: strings, and the numbers that JSON does not have.
_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|-?Infinity|NaN')
_SUFFIXES: dict[str, Format] = {
    ".csv": "csv", ".json": "json", ".jsonl": "json", ".ndjson": "json", ".parquet": "parquet",
}  # fmt: skip


def chosen_format(wanted: Format | None, output: Path | None, *, as_json: bool) -> Format:
    """Return the format of a result; InputError where the options do not go together."""
    if as_json and wanted not in (None, "json"):
        raise InputError(f"--json is not --format {wanted}", next_step="Leave one of them out")
    if as_json:
        return "json"
    found = wanted or (_SUFFIXES.get(output.suffix.lower()) if output else "table")
    if found is None:
        raise InputError(
            f"cannot tell the format by the name {output}",
            next_step=f"Choose one of {', '.join(get_args(Format))}",
        )
    if found == "parquet" and output is None:
        raise InputError("Parquet is not for a terminal", next_step="Name a file for it")
    if found in SHOWN_ONLY and output is not None:
        raise InputError(f"a {found} is for the terminal", next_step="Choose csv, json or parquet")
    return found


def show(rows: Relation, *, limit: int | None, hint: str = "use --all or --limit") -> None:
    """Print rows as a table, and say how many there are beyond ``limit``, and ``hint``.

    On a terminal, columns in the middle are left out where the table would be too wide.
    """
    bound = rows if limit is None else rows.limit(limit + _COUNTED + 1)
    shown: list[tuple[str | None, ...]] = []
    more = 0
    for batch in batches(bound.project(_TEXT), size=_BATCH, doing=_DOING):
        if limit is None or len(shown) < limit:
            part = batch if limit is None else batch.slice(0, limit - len(shown))
            shown += zip(*(column.to_pylist() for column in part.columns), strict=True)
            more -= part.num_rows
        more += batch.num_rows
    if rows.columns == ["explain_key", "explain_value"]:
        waiting.over()
        sys.stdout.writelines(f"{plan}\n" for _, plan in shown)
        return
    _print_table(rows.columns, [str(type_) for type_ in rows.types], shown)
    if more:
        count = f"more than {number(_COUNTED)}" if more > _COUNTED else number(more)
        say(f"… {count} more rows; {hint}.", style="dim")


def write(
    rows: Relation, form: Format, output: Path | None, *, limit: int | None = None, hint: str = ""
) -> None:
    """Write rows to a file, which appears when it is complete, or to standard output.

    ``limit`` is for standard output; it says where there are more rows, and ``hint``.
    """
    if output is None:
        if _write_text(rows, form, sys.stdout, limit=limit):
            say(f"… more rows; {hint}.", style="dim")
        return
    with _replacing(output) as place:
        if form == "parquet":
            rows.write_parquet(str(place))
        else:
            with place.open("w", encoding="utf-8", newline="") as file:
                _write_text(rows, form, file)
    say(f"Wrote {output}.")


def csv_line(values: Iterable[str | None]) -> str:
    """Return a line of CSV in which NULL (nothing) and empty text (``""``) differ.

    >>> csv_line(["a", None, "", "b,c"])
    'a,,"","b,c"'
    """
    return ",".join(_csv_cell(value) for value in values)


def json_line(text: str) -> str:
    """Return DuckDB's JSON with NaN and infinities as text, which JSON can hold.

    >>> json_line('{"a":NaN,"b":"NaN"}')
    '{"a":"NaN","b":"NaN"}'
    """
    if "NaN" not in text and "Infinity" not in text:
        return text
    return _TOKENS.sub(lambda m: m[0] if m[0][0] == '"' else f'"{m[0]}"', text)


def columns_that_fit(widths: Sequence[int], available: int) -> list[int]:
    """Return which columns to show, from both ends: all of them, or as many as fit.

    >>> columns_that_fit([10, 10, 10, 10], 80), columns_that_fit([10, 10, 10, 10], 32)
    ([0, 1, 2, 3], [0, 3])
    """
    if sum(widths) <= available:
        return list(range(len(widths)))
    left, right = [0], [len(widths) - 1] if len(widths) > 1 else []
    used = widths[0] + widths[-1] + 4  # the gap is a column too
    for step in range(1, len(widths) - 1):
        index = (step + 1) // 2 if step % 2 else len(widths) - 1 - step // 2
        used += widths[index]
        if used > available:
            break
        (left if step % 2 else right).append(index)
    return left + right[::-1]


def _print_table(
    columns: Sequence[str], types: Sequence[str], rows: Sequence[Sequence[str | None]]
) -> None:
    """Print lines of our own making: Rich's tables take minutes for a million rows."""
    out = stdout()
    # Text is cut on terminals only: elsewhere it may be what somebody looks for.
    cells = [[_cell(value, cut=out.is_terminal) for value in row] for row in rows]
    names = [visible(name) for name in columns]
    widths = [
        max([cell_len(name), *(cell_len(row[index]) for row in cells)])
        for index, name in enumerate(names)
    ]
    kept = columns_that_fit([width + 3 for width in widths], out.width)
    ends = [is_number(type_) for type_ in types]
    gap = next((i for i, (a, b) in enumerate(itertools.pairwise(kept)) if b > a + 1), None)

    def line(values: Sequence[str]) -> str:
        parts = [_padded(values[index], widths[index], right=ends[index]) for index in kept]
        if gap is not None:
            parts.insert(gap + 1, "…")
        return " " + "   ".join(parts).rstrip()

    head = line(names)
    out.print(Text(head, style="bold"), overflow="ignore", no_wrap=True)
    sys.stdout.write(" " + "─" * (cell_len(head) - 1) + "\n")
    sys.stdout.writelines(line(row) + "\n" for row in cells)


def _cell(value: str | None, *, cut: bool) -> str:
    text = "NULL" if value is None else visible(value)
    return text if not cut or len(text) <= _CELL else text[: _CELL - 1] + "…"


def _padded(text: str, width: int, *, right: bool) -> str:
    space = " " * (width - cell_len(text))
    return space + text if right else text + space


def _write_text(rows: Relation, form: Format, file: TextIO, *, limit: int | None = None) -> bool:
    """Write rows as text; return whether there are more than ``limit``."""
    rows = rows if limit is None else rows.limit(limit + 1)
    if form == "json":
        objects = rows.query("result", "SELECT to_json(result)::VARCHAR FROM result")
        assert objects is not None  # it is a SELECT
        texts = lines(objects, size=_BATCH, doing=_DOING)
        written = (json_line(str(text)) for (text,) in texts)
    else:
        texts = lines(rows.project(_TEXT), size=_BATCH, doing=_DOING)
        written = (csv_line(row) for row in texts)
    first = list(itertools.islice(written, 1))
    if file is sys.stdout:
        waiting.over()
    if form == "csv":
        file.write(csv_line(rows.columns) + "\n")
    found = itertools.chain(first, written)
    file.writelines(f"{line}\n" for line in itertools.islice(found, limit))
    return next(found, None) is not None


def _csv_cell(value: str | None) -> str:
    if value is None:
        return ""
    if value and not re.search(r'[",\r\n]|^\s|\s$', value):
        return value
    return '"' + value.replace('"', '""') + '"'


@contextlib.contextmanager
def _replacing(output: Path) -> Iterator[Path]:
    """Give a place beside a file, and move it there if all went well."""
    place = output.with_name(f".{output.name}.{uuid.uuid4().hex[:8]}")
    try:
        yield place
        place.replace(output)
    except LakehouseError:
        raise
    except OSError as error:
        raise StorageError(f"cannot write {output}: {error}", next_step="Check the path") from error
    finally:
        place.unlink(missing_ok=True)
