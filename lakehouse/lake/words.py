"""Say in words which files a query reads of a table, what decided that, and what would help. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lakehouse.lake.advice import Advice
from lakehouse.lake.sizes import size
from lakehouse.scan.report import JoinKeys, TableScan

KEPT = "The answer is kept from an earlier run: nothing is read now. That run read:"
_UNLESS_UNKNOWN = re.compile(r"'(?:[^']|'')*'|(?P<wrapped>\bcoalesce\()")
_NOT_ALL_NULL = re.compile(r" AND nulls\([^()]*\) < rows")
_QUOTED_OR_EDGE = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|[()]")


def reasons(table: TableScan) -> Iterator[tuple[str, str]]:
    """Yield what decided which files are read, and what did not: a word, and a text."""
    if table.filters:
        yield "filters", " AND ".join(table.filters)
    if table.answered_from_log:
        yield "reads", "no file: answered from the log"
        return
    for keys in table.join_keys:
        yield "join", _joined(keys)
    if table.order is not None:
        yield "order", f"files that cannot hold {table.order} are skipped"
    skipped = table.files_total - table.files_kept
    if table.predicate and skipped:
        files = "file" if skipped == 1 else "files"
        yield "skipped", f"{skipped:,} {files}, where this cannot hold: {plainly(table.predicate)}"
    elif table.predicate and table.files_total:
        yield "skipped", f"none: this may hold in every file: {plainly(table.predicate)}"
    elif table.files_total and not skipped:
        yield "skipped", "none: no filter that the files' statistics can answer"
    for one in table.not_pruned:
        hint = f" → {one.hint}" if one.hint else ""
        yield "no help", f"{one.filter}: {one.why}{hint}"


def told(table: TableScan) -> Iterator[str]:
    """Yield lines of text about a table."""
    yield (
        f"{table.name} (version {table.version}): {table.files_kept} of {table.files_total} files, "
        f"{size(table.bytes_kept)} of {size(table.bytes_total)}"
    )
    if table.columns:
        yield f"  columns: {', '.join(table.columns)}"
    for word, text in reasons(table):
        yield f"  {word}: {text}"


def in_words(advice: Advice) -> str:
    """Return advice as a sentence, with what to do."""
    how = "partitioned" if advice.action == "partition" else "clustered (sorted)"
    files = f"{advice.files_then:,} {'file' if advice.files_then == 1 else 'files'}"
    return (
        f"{advice.table}, {how} by {advice.column}: this query would read about {files} and "
        f"{size(advice.bytes_then)} rather than {advice.files:,} and {size(advice.bytes)} "
        f"({advice.sql})"
    )


def plainly(predicate: str) -> str:
    """Return what is asked of statistics without what it says of files that have none.

    >>> plainly(
    ...     "(coalesce(max(ts) >= CAST('x' AS DATE), true) AND coalesce(nulls(ts) < rows, true))"
    ... )
    "max(ts) >= CAST('x' AS DATE)"
    """
    text, start = predicate, 0
    while (found := _UNLESS_UNKNOWN.search(text, start)) is not None:
        if found["wrapped"] is None:
            start = found.end()
            continue
        end = _closing(text, found.end())
        inner, comma, otherwise = text[found.end() : end].rpartition(", ")
        if comma and otherwise in ("true", "false"):
            text = text[: found.start()] + inner + text[end + 1 :]
            start = found.start()
        else:
            start = found.end()
    text = _NOT_ALL_NULL.sub("", text)
    while text.startswith("(") and _closing(text, 1) == len(text) - 1:
        text = text[1:-1]
    return text


def _joined(keys: JoinKeys) -> str:
    bounds = f"{keys.low or '…'} to {keys.high or '…'}"
    count = "" if keys.values is None else f"{keys.values:,} keys of "
    return f"{count}{keys.column} from {bounds}, by the other side of a join"


def _closing(text: str, start: int) -> int:
    """Return where the parenthesis that is open at ``start`` is closed."""
    depth = 1
    for match in _QUOTED_OR_EDGE.finditer(text, start):
        depth += {"(": 1, ")": -1}.get(match[0], 0)
        if not depth:
            return match.start()
    return len(text)
