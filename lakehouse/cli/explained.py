"""Show in the terminal what a query reads, and what it skips."""

from __future__ import annotations

from rich.console import Group
from rich.text import Text
from rich.tree import Tree

import lakehouse
from lakehouse.cli.output import number, say, size, stdout, visible

_BAR = 24


def show(explained: lakehouse.Explain, *, plan: bool = False) -> None:
    """Print what a query reads of each table."""
    out = stdout()
    for table in explained.tables:
        out.print(_tree(table))
    if not explained.tables:
        say("The query reads no table of the lake.")
    if plan:
        out.print(explained.plan)


def _tree(table: lakehouse.TableScan) -> Tree:
    tree = Tree(Text.assemble((table.name, "bold"), f"  version {table.version}"))
    files = f"{number(table.files_kept)} of {number(table.files_total)} files"
    sizes = f"{size(table.bytes_kept)} of {size(table.bytes_total)}"
    skipped = number(table.files_total - table.files_kept)
    tree.add(Text.assemble("files    ", _bar(table.files_kept, table.files_total), f"  {files}"))
    tree.add(Text.assemble("bytes    ", _bar(table.bytes_kept, table.bytes_total), f"  {sizes}"))
    if table.rows_total is not None and table.rows_kept is not None:
        counts = f"{number(table.rows_kept)} of {number(table.rows_total)} rows"
        tree.add(Text.assemble("rows     ", _bar(table.rows_kept, table.rows_total), f"  {counts}"))
    if table.columns:
        tree.add(Text(f"columns  {visible(', '.join(table.columns))}"))
    if table.filters:
        tree.add(Text(f"filters  {visible(' AND '.join(table.filters))}"))
    if table.answered_from_log:
        tree.add(Text("answered from the log: no file is read"))
    elif table.predicate:
        why = Group(
            Text(f"skipped  {skipped} files, where this cannot hold:"),
            Text(f"         {visible(table.predicate)}", style="dim"),
        )
        tree.add(why)
    elif table.files_total:
        tree.add(Text("skipped  none: no filter that the files' statistics can answer"))
    return tree


def _bar(kept: int, total: int) -> Text:
    """Draw the kept part in colour; anything kept shows."""
    filled = 0 if not total else max(round(_BAR * kept / total), 1 if kept else 0)
    return Text.assemble(("█" * filled, "green"), ("░" * (_BAR - filled), "dim"))
