"""Take files out of a table."""

from __future__ import annotations

import time
from collections.abc import Iterable

from catalog.errors import InputError
from lakehouse.delta import actions as act
from lakehouse.delta.features import is_on
from lakehouse.delta.snapshot import Snapshot


def check_removable(snapshot: Snapshot) -> None:
    """Raise InputError for a table whose rows may not be removed."""
    if is_on(snapshot.properties, "delta.appendOnly"):
        raise InputError(
            "the table is append-only (delta.appendOnly)",
            next_step="Append, or change the property first",
        )


def removes_of(adds: Iterable[act.AddFile], *, data_change: bool = True) -> list[act.RemoveFile]:
    """Return the actions that remove files now."""
    now = time.time_ns() // 1_000_000
    return [add.removed(deletion_timestamp=now, data_change=data_change) for add in adds]
