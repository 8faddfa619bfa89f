"""Commands on a table's past: history, restore."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

import lakehouse
from catalog.errors import InputError
from lakehouse.cli.options import JsonOption, LakeOption, TableArgument, YesOption, open_lake
from lakehouse.cli.output import confirm, emit, grid, moment, number, say, size, stdout, visible


def history(
    table: TableArgument,
    *,
    limit: Annotated[
        int | None,
        typer.Option("--limit", "-n", min=1, help="Only the newest.", show_default=False),
    ] = None,
    lake: LakeOption = None,
    json: JsonOption = False,
) -> None:
    """List a table's versions, newest first. Times are UTC."""
    with open_lake(lake) as opened:
        commits = opened.table(table).history(limit)
    if json:
        emit(commits)
    else:
        stdout().print(history_table(commits))


def restore(
    table: TableArgument,
    *,
    version: Annotated[
        int | None, typer.Option("--version", "-v", min=0, help="The version to bring back.")
    ] = None,
    timestamp: Annotated[
        str | None,
        typer.Option(
            "--timestamp", "-t", help="Its newest version at this time, UTC unless it has a zone."
        ),
    ] = None,
    yes: YesOption = False,
    lake: LakeOption = None,
    json: JsonOption = False,
) -> None:
    """Make an earlier version the newest again, as a new version: nothing is lost.

    Says what will change, and asks first.
    """
    if (version is None) == (timestamp is None):
        raise InputError("which version?", next_step="Pass either --version or --timestamp")
    with open_lake(lake) as opened:
        found = opened.table(table)
        target = found.snapshot(version=version, timestamp=timestamp).version
        if not json:
            say(_plan(found, target))
        confirm(f"Restore {found.name} to version {target}?", yes=yes, as_json=json)
        report = found.restore(target)
    if json:
        emit({"table": found.name, "restored": target, **_fields(report)})
    else:
        say(f"{found.name} is at version {report.version}, with the rows of version {target}.")


def history_table(commits: Sequence[lakehouse.Commit]) -> Any:
    """Return the table of versions that people see."""
    table = grid("version", "time", "operation", "changes", "by", right=["version"])
    for commit in commits:
        table.add_row(
            str(commit.version),
            moment(commit.timestamp),
            visible(_operation(commit)),
            visible(_changes(commit)),
            visible(commit.user or commit.engine or ""),
        )
    return table


def _operation(commit: lakehouse.Commit) -> str:
    mode = commit.parameters.get("mode")
    target = commit.parameters.get("version")
    if commit.operation == "WRITE" and isinstance(mode, str):
        return f"WRITE ({mode.lower()})"
    if commit.operation == "RESTORE" and target is not None:
        return f"RESTORE to {target}"
    return commit.operation


def _changes(commit: lakehouse.Commit) -> str:
    """Return the metrics that matter; other writers give numbers as text."""

    def figure(name: str) -> int:
        value = commit.metrics.get(name)
        return int(value) if isinstance(value, int | str) and str(value).isdecimal() else 0

    parts = []
    if rows := figure("numOutputRows"):
        parts.append(f"+{number(rows)} rows")
    if added := figure("numFiles") or figure("num_added_files") or figure("numRestoredFiles"):
        parts.append(f"+{number(added)} files")
    if removed := figure("numRemovedFiles") or figure("num_removed_files"):
        parts.append(f"-{number(removed)} files")
    if written := figure("numOutputBytes"):
        parts.append(size(written))
    return ", ".join(parts)


def _plan(table: lakehouse.Table, target: int) -> str:
    current = table.version
    now = set(table.files(version=current)["path"].to_pylist())
    then = set(table.files(version=target)["path"].to_pylist())
    return (
        f"{table.name} is at version {current}. Restoring version {target} removes "
        f"{number(len(now - then))} files and brings {number(len(then - now))} back; "
        f"{number(len(now & then))} stay."
    )


def _fields(report: lakehouse.WriteReport) -> dict[str, Any]:
    return {name: getattr(report, name) for name in report.__dataclass_fields__}
