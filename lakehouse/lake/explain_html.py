"""The explanation of a query as HTML, for notebooks: light and dark, without script or style sheet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from html import escape

from lakehouse.lake.sizes import size
from lakehouse.scan.report import TableScan

# Colours that can be read on white and on black; all else is the notebook's own colour.
_KEPT = "#2da44e"
_QUIET = "opacity:.65"
_BOX = "border:1px solid rgba(128,128,128,.4);border-radius:6px;padding:.6em .9em;margin:.4em 0"
_TABLE = "margin:.3em 0;border:none;color:inherit;font-size:inherit"
_CELL = "text-align:left;vertical-align:top;padding:.1em .9em .1em 0;background:none;border:none"


def page(
    tables: Sequence[tuple[TableScan, Sequence[tuple[str, str]]]],
    advice: Iterable[str],
    ran: str | None,
    plan: str,
    *,
    kept: str | None = None,
) -> str:
    """Return HTML for tables with the reasons of what is read, advice, a run and DuckDB's plan.

    ``kept`` says so where an earlier run's answer is given.
    """
    parts = [] if kept is None else [f'<div style="{_BOX}">{escape(kept)}</div>']
    parts += [_table(table, reasons) for table, reasons in tables]
    parts += [f'<div style="{_BOX}"><b>advice</b>&ensp;{escape(text)}</div>' for text in advice]
    if ran is not None:
        parts.append(f'<div style="padding:.2em .9em">{escape(ran)}</div>')
    parts.append(
        f'<details style="padding:.2em .9em"><summary style="{_QUIET}">DuckDB\'s plan</summary>'
        f'<pre style="line-height:1.2">{escape(plan)}</pre></details>'
    )
    return f'<div style="max-width:60em;font-size:.95em">{"".join(parts)}</div>'


def _table(table: TableScan, reasons: Sequence[tuple[str, str]]) -> str:
    rows = [
        _measured("files", table.files_kept, table.files_total, "{:,}".format),
        _measured("bytes", table.bytes_kept, table.bytes_total, size),
    ]
    if table.rows_kept is not None and table.rows_total is not None:
        rows.append(_measured("rows", table.rows_kept, table.rows_total, "{:,}".format))
    if table.columns:
        rows.append(_row("columns", _code(", ".join(table.columns))))
    rows += [_row(word, _code(text)) for word, text in reasons]
    head = f'<b>{escape(table.name)}</b> <span style="{_QUIET}">version {table.version}</span>'
    body = "".join(rows)
    return f'<div style="{_BOX}">{head}<table style="{_TABLE}">{body}</table></div>'


def _measured(name: str, kept: int, total: int, shown: Callable[[int], str]) -> str:
    share = 100 * kept / total if total else 0
    width = max(share, 1) if kept else 0
    bar = (
        f'<div style="display:inline-block;vertical-align:middle;width:12em;height:.7em;'
        f'border-radius:3px;overflow:hidden;background:rgba(128,128,128,.25)">'
        f'<div style="width:{width:.1f}%;height:100%;background:{_KEPT}"></div></div>'
    )
    return _row(name, f"{bar}&ensp;{escape(shown(kept))} of {escape(shown(total))}")


def _row(name: str, content: str) -> str:
    return (
        f'<tr style="background:none"><td style="{_CELL};{_QUIET}">{escape(name)}</td>'
        f'<td style="{_CELL}">{content}</td></tr>'
    )


def _code(text: str) -> str:
    return (
        f'<code style="background:none;color:inherit;overflow-wrap:anywhere">{escape(text)}</code>'
    )
