"""Every verb that changes a table, on columns ``k`` and ``v``: a new one needs a line here."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lakehouse

ROW = {"k": 1000, "v": "ours"}


def rewrite(table: lakehouse.Table) -> lakehouse.WriteReport:
    return table.rewrite(table.files()["path"].to_pylist())


def expire(table: lakehouse.Table) -> None:
    """Write a checkpoint, and take the commits that it stands for away, as cleaning up does."""
    table.checkpoint()
    for version in range(table.version + 1):
        Path(table.uri, "_delta_log", f"{version:020d}.json").unlink(missing_ok=True)


COMMITS: Mapping[str, Callable[[lakehouse.Table], Any]] = {
    "append": lambda table: table.append([ROW]),
    "append, once": lambda table: table.append([ROW], idempotency_key=("job", 17)),
    "append, adding columns": lambda table: table.append([{**ROW, "w": 1.5}], schema_mode="add"),
    "append nothing": lambda table: table.append([{**ROW}][:0]),
    "overwrite": lambda table: table.overwrite([ROW]),
    "overwrite, other columns": lambda table: table.overwrite(
        [{"v": 1.5, "k": 1000, "z": True}], schema_mode="overwrite"
    ),
    "restore": lambda table: table.restore(1),
    "rewrite": rewrite,
}  # fmt: skip
# These change no version.
UPKEEP: Mapping[str, Callable[[lakehouse.Table], Any]] = {
    "checkpoint": lambda table: table.checkpoint(),
    "checkpoint, commits expired": expire,
}
