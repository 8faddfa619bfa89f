"""Show what upkeep would do: ``lakehouse maintain --plan``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from compaction.cli.proposed import tell
from compaction.plan import Plan
from compaction.proposing import proposals
from compaction.run import plan
from lakehouse import Lake
from lakehouse.cli.output import emit, grid, number, say, size, stdout, visible


def show(lake: Lake, tables: Sequence[str] | None, *, json: bool) -> None:
    """Print the plan of all tables, or those named, what is worth most first; touch nothing."""
    plans, advice = plan(lake, tables=tables), proposals(lake, tables=tables)
    if json:
        emit({"plans": list(plans.values()), "proposals": advice})
    else:
        _print(plans)
        tell(advice)


def _print(plans: Mapping[str, Plan]) -> None:
    right = ("files", "bytes", "time", "saves")
    table = grid("table", "step", "files", "bytes", "time", "saves", "reason", right=right)
    for name, made in plans.items():
        for when, steps in (("", made.steps), ("later: ", made.postponed)):
            for step in steps:
                files = f"{number(len(step.files))} → {number(step.files_after)}"
                table.add_row(
                    name,
                    when + step.kind,
                    files if step.files else "",
                    size(step.bytes),
                    f"{step.seconds:.1f} s",
                    size(round(step.benefit)),
                    visible(step.reason),
                )
        if made.quiet:
            table.add_row(name, "", "", "", "", "", visible(made.quiet))
    if table.row_count:
        stdout().print(table)
    count = sum(len(made.steps) for made in plans.values())
    say(f"Tables: {number(len(plans))}, steps: {number(count)}. Nothing was touched.")
