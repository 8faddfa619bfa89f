"""Show in the terminal what a query reads, and what it skips."""

from __future__ import annotations

from collections.abc import Iterable

from rich.table import Table
from rich.text import Text
from rich.tree import Tree

import lakehouse
from lakehouse.cli.output import number, say, size, stdout, visible
from lakehouse.lake.words import KEPT, in_words, reasons

_BAR = 24
# What people look for first, in what decided.
_STYLES = {"no help": "yellow", "reads": "green", "skipped": "dim"}


def show(explained: lakehouse.Explain, *, plan: bool = False) -> None:
    """Print what a query reads of each table, advice, and what a run took."""
    out = stdout()
    if explained.kept:
        say(KEPT)
    for table in explained.tables:
        out.print(_tree(table))
    if not explained.tables:
        say("The query reads no table of the lake.")
    for advice in explained.advice:
        out.print(_line("advice", Text(in_words(advice), style="cyan")))
    if explained.analysis is not None:
        out.print(_line("ran", Text(explained.analysis.in_words)))
    if plan:
        out.print(explained.plan)


def _tree(table: lakehouse.TableScan) -> Tree:
    tree = Tree(Text.assemble((table.name, "bold"), f"  version {table.version}"))
    for word, content in _rows(table):
        tree.add(_line(word, content))
    return tree


def _rows(table: lakehouse.TableScan) -> Iterable[tuple[str, Text]]:
    files = f"  {number(table.files_kept)} of {number(table.files_total)} files"
    yield "files", _bar(table.files_kept, table.files_total).append(files)
    sizes = f"  {size(table.bytes_kept)} of {size(table.bytes_total)}"
    yield "bytes", _bar(table.bytes_kept, table.bytes_total).append(sizes)
    if table.rows_total is not None and table.rows_kept is not None:
        counts = f"  {number(table.rows_kept)} of {number(table.rows_total)} rows"
        yield "rows", _bar(table.rows_kept, table.rows_total).append(counts)
    if table.columns:
        yield "columns", Text(visible(", ".join(table.columns)))
    for word, text in reasons(table):
        yield word, Text(visible(text), style=_STYLES.get(word, ""))


def _line(word: str, content: Text) -> Table:
    """Return a word and a text beside it, which stays there when it needs several lines."""
    line = Table.grid(padding=(0, 2, 0, 0))
    line.add_column(width=7, no_wrap=True)
    line.add_column(overflow="fold")
    line.add_row(word, content)
    return line


def _bar(kept: int, total: int) -> Text:
    """Draw the kept part in colour; anything kept shows."""
    filled = 0 if not total else max(round(_BAR * kept / total), 1 if kept else 0)
    return Text.assemble(("█" * filled, "green"), ("░" * (_BAR - filled), "dim"))
