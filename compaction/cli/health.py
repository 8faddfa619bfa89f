"""The command health: a line for each table, its file sizes, and what upkeep has saved."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import typer

from compaction.cli.maintain import EveryOption, ScheduleOption, TablesArgument, defaults_of
from compaction.cli.proposed import tell
from compaction.condition import Savings, TableCondition, conditions, savings
from compaction.keeper import Keeper
from compaction.proposing import proposals
from compaction.shape import LABELS, bars
from lakehouse.cli.options import JsonOption, LakeOption, open_lake
from lakehouse.cli.output import emit, grid, number, plain, say, size, stdout, visible

UNHEALTHY = 1

app = typer.Typer(add_completion=False)


@app.command()
def health(
    tables: TablesArgument = None,
    *,
    every: EveryOption = 3600,
    schedule: ScheduleOption = None,
    lake: LakeOption = None,
    json: JsonOption = False,
) -> None:
    """Show the condition of each table: files, small ones, clustering, last upkeep and the next.

    Exits with 1 where a table cannot be read, or its last upkeep failed. Changes nothing.
    """
    with open_lake(lake) as opened:
        keeper = Keeper(opened, defaults=defaults_of(every, schedule))
        found = conditions(keeper, tables)
        names = {condition.table for condition in found}
        saved = savings(r for r in keeper.records.all() if r["table_name"] in names)
        now = keeper.now()
        readable = [condition.table for condition in found if condition.problem is None]
        advice = proposals(opened, tables=readable)
    healthy = all(condition.healthy for condition in found)
    if json:
        listed = [{**plain(item), "healthy": item.healthy} for item in found]
        emit(
            {
                "healthy": healthy,
                "sizes": LABELS,
                "tables": listed,
                "saved": saved,
                "proposals": advice,
            }
        )
    else:
        _print(found, saved, now)
        tell(advice)
    if not healthy:
        raise typer.Exit(UNHEALTHY)


def _print(found: Sequence[TableCondition], saved: Savings, now: dt.datetime) -> None:
    right = ("files", "bytes", "small", "depth", "dead", "last", "next")
    table = grid(
        "table", "files", "bytes", "small", "depth", "dead", "last", "", "next", right=right
    )
    for item in found:
        share = f"{round(100 * item.small / item.files)} %" if item.files else "-"
        table.add_row(
            item.table,
            number(item.files),
            size(item.bytes),
            share,
            "-" if item.depth is None else f"{item.depth:.1f}",
            size(item.dead_bytes),
            "never" if item.last is None else f"{_span(now - item.last)} ago",
            visible(item.problem or item.outcome or ""),
            _next(item, now),
        )
    out = stdout()
    out.print(table)
    sizes = grid("size", "before", "", "now", "", right=("before", "now"))
    before = [item.histogram_before or item.histogram for item in found]
    for row in bars(_total(before), _total([item.histogram for item in found])):
        sizes.add_row(*row)
    out.print(sizes)
    say(
        f"Upkeep on record: {number(saved.runs)} runs, {number(saved.files)} files fewer, "
        f"{size(saved.bytes_rewritten)} rewritten, {size(saved.bytes_deleted)} of files that nothing needs "
        f"deleted, {saved.seconds:.0f} s."
    )


def _next(item: TableCondition, now: dt.datetime) -> str:
    if item.due is None:
        return "off"
    return "due now" if item.overdue else f"in {_span(item.due - now)}"


def _total(histograms: Sequence[Sequence[int]]) -> list[int]:
    return [sum(counts) for counts in zip(*histograms, strict=True)] or [0] * len(LABELS)


def _span(time: dt.timedelta) -> str:
    """Return a length of time for people.

    >>> _span(dt.timedelta(minutes=125)), _span(dt.timedelta(seconds=3.2))
    ('2 h', '3 s')
    """
    seconds = max(0.0, time.total_seconds())
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return f"{seconds:.0f} s"
