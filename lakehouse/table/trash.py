"""The trash of a table: files that a vacuum put aside, and what brings them back."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from catalog.errors import NotFoundError
from catalog.storage import Storage
from lakehouse.delta.leftovers import Leftover
from lakehouse.delta.vacuum import TRASH
from lakehouse.table.reports import TrashReport


def put_aside(storage: Storage, gone: Iterable[Leftover]) -> str:
    """Copy files into the trash, and return the name of the run that brings them back."""
    run = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}"
    for item in gone:
        storage.copy(item.path, f"{TRASH}/{run}/{item.path}")
    return run


def undo(storage: Storage, run: str) -> TrashReport:
    """Bring back what one vacuum put into the trash; NotFoundError where there is no such run."""
    folder = f"{TRASH}/{run}/"
    found = [item for item in storage.list(folder) if item.path.startswith(folder)]
    if not found:
        raise NotFoundError(
            f"the trash of {storage.url()} has nothing of a vacuum {run!r}",
            next_step=f"It has {', '.join(runs(storage)) or 'nothing'}",
        )
    kept, back = [], []
    for item in found:
        path = item.path.removeprefix(folder)
        if storage.head(path) is not None:
            kept.append(path)
            continue
        storage.copy(item.path, path)
        back.append(item)
    storage.delete([item.path for item in back])
    return TrashReport(len(back), sum(item.size for item in back), tuple(kept))


def empty(storage: Storage, *, older_than: timedelta) -> TrashReport:
    """Delete for good what was put into the trash longer ago."""
    now = min(storage.now(), datetime.now(UTC))
    wanted = [run for run in runs(storage) if _time_of(run) <= now - older_than]
    found = [item for run in wanted for item in storage.list(f"{TRASH}/{run}/")]
    storage.delete([item.path for item in found])
    return TrashReport(len(found), sum(item.size for item in found))


def runs(storage: Storage) -> tuple[str, ...]:
    """Return the vacuums whose files are in the trash, oldest first."""
    found = {item.path.split("/")[1] for item in storage.list(f"{TRASH}/")}
    return tuple(sorted(run for run in found if _is_run(run)))


def _is_run(name: str) -> bool:
    try:
        _time_of(name)
    except ValueError:
        return False
    return True


def _time_of(run: str) -> datetime:
    return datetime.strptime(run.partition("-")[0], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
