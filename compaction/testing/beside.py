"""Let keepers look after one table while others append to it and delete from it.

The rows at the end must be what the writers were acknowledged, as in `lakehouse.testing.stress`,
and each compaction's version must hold the rows of the version before, by a checksum of all.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import random
import time

from compaction.keeper import Keeper
from lakehouse.testing.crowd import TABLE, Bounds, Work
from lakehouse.testing.places import Place, given_or_new
from lakehouse.testing.stress import StressReport, stress

KEEPERS = 2
_TTL = dt.timedelta(seconds=20)
_CHECKED = 150  # compactions, spread over all
_PAUSE = 0.02  # seconds, so that two that ask in turns do not ask all the time


@dataclasses.dataclass(slots=True)
class UpkeepReport:
    """Report a run; ``findings`` are empty where every row was as it should be."""

    stress: StressReport
    compactions: int
    checked: int
    findings: list[str]

    def figures(self) -> dict[str, object]:
        """Return what to print."""
        return {
            **self.stress.figures(),
            "compactions": self.compactions,
            "of those, compared by checksum": self.checked,
        }


def beside_writers(
    seconds: float = 120.0, *, seed: int = 0, turns: int | None = None, place: Place | None = None
) -> UpkeepReport:
    """Let two keepers look after a table that others write to, then compare.

    No writer may fail because of them. ``place`` is empty; the default is a temporary folder.
    """
    with given_or_new(place) as place:
        done = stress(
            seconds,
            seed=seed,
            turns=turns,
            appenders=3,
            rewriters=0,
            mergers=1,
            beside=[keep] * KEEPERS,
            place=place,
        )
        compactions, checked, wrong = _compare(place)
    return UpkeepReport(done, compactions, checked, [*done.findings, *wrong])


def keep(place: Place, number: int, bounds: Bounds, seed: str) -> Work:
    """Look after the table again and again; what fails is a failure of the run."""
    work, draw = Work(), random.Random(seed)
    with place.connect(create=False, duckdb_config={"threads": 1}) as lake:
        keeper = Keeper(lake, name=f"keeper {number}", ttl=_TTL)
        (task,) = keeper.tasks([TABLE])
        # Where writers have so many turns, they leave something to do.
        while not work.failures and (
            bounds.allow(0) if bounds.turns is None else not _any_bins(keeper)
        ):
            report = keeper.attend(task, due_only=False)
            work.rewritten += report.bins
            work.failures += [f"{keeper.name}: {problem}" for problem in report.problems]
            time.sleep(_PAUSE * draw.random())
    return work


def _any_bins(keeper: Keeper) -> bool:
    return any(record["bins"] for record in keeper.records.all())


def _compare(place: Place) -> tuple[int, int, list[str]]:
    """Return the number of compactions, of those compared, and those that changed a row."""
    wrong = []
    with place.connect(create=False) as lake:
        table = lake.table(TABLE)
        done = [c.version for c in table.history() if c.operation == "OPTIMIZE"]
        chosen = done[:: max(1, len(done) // _CHECKED)]
        for version in chosen:
            sums = [
                lake.sql(
                    f"SELECT count(*), sum(hash(writer, n)), bit_xor(hash(n, writer)) "
                    f"FROM {TABLE} AT (VERSION => {at})"
                ).fetchall()
                for at in (version - 1, version)
            ]
            if sums[0] != sums[1]:
                wrong.append(f"compaction at version {version} changed rows: {sums}")
    return len(done), len(chosen), wrong
