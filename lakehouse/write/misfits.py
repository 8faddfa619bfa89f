"""Find the columns whose values do not fit a table as it is, in one pass over the rows."""

from __future__ import annotations

from collections.abc import Sequence

from lakehouse.duck.engine import Connection
from lakehouse.duck.rows import Source
from lakehouse.write.evolution import Misfits
from lakehouse.write.gate import Cure, GatePlan


def find_misfits(cursor: Connection, source: Source, plan: GatePlan) -> Misfits:
    """Return the columns for which the table would have to change.

    A stream can be read once only, so its types decide: every column of a type that could hold
    values which do not fit counts, and none counts as holding NULL.
    """
    suspects = [
        (column.field.name, check.cure, check.sql)
        for column in plan.columns
        for check in column.checks
        if check.cure is not None
    ]
    if not suspects:
        return Misfits()
    if not source.rescannable:
        return Misfits(_named(suspects, "widen", [True] * len(suspects)))
    tests = ", ".join(f"coalesce(bool_or({sql}), false)" for _, _, sql in suspects)
    row = cursor.execute(f"SELECT {tests} FROM {source.name}").fetchone()
    assert row is not None
    return Misfits(_named(suspects, "widen", row), _named(suspects, "relax", row))


def _named(
    suspects: Sequence[tuple[str, Cure, str]], cure: Cure, found: Sequence[bool]
) -> frozenset[str]:
    pairs = zip(suspects, found, strict=True)
    return frozenset(name for (name, kind, _), hit in pairs if hit and kind == cure)
