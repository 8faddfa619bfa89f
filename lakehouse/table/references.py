"""Find what else in a table's definition speaks of a column."""

from __future__ import annotations

import re
from collections.abc import Iterator

from catalog.errors import InputError
from lakehouse.delta.features import CONSTRAINT, GENERATED, INVARIANTS
from lakehouse.delta.schema.edits import Path, shown
from lakehouse.delta.schema.fields import fields_of
from lakehouse.delta.snapshot import Snapshot


def check_unreferenced(snapshot: Snapshot, path: Path, done: str) -> None:
    """Raise InputError where an expression of the table names a column that is to be ``done`` to.

    Names are looked for as words in the expressions' text: one too many is found rather than one
    too few.
    """
    for what, text in _expressions(snapshot):
        if re.search(rf"(?<!\w){re.escape(path[-1])}(?!\w)", text, re.IGNORECASE):
            raise InputError(
                f"column {shown(path)!r} cannot be {done}: {what} names it",
                next_step="Drop that first",
                column=shown(path),
            )


def _expressions(snapshot: Snapshot) -> Iterator[tuple[str, str]]:
    for name, text in snapshot.properties.items():
        if name.startswith(CONSTRAINT):
            yield f"constraint {name.removeprefix(CONSTRAINT)!r} ({text})", text
    for name in ("delta.dataSkippingStatsColumns",):
        if name in snapshot.properties:
            yield f"property {name}", snapshot.properties[name]
    for domain in snapshot.domains.values():
        if domain.domain == "delta.clustering" and not domain.removed:
            yield "the table's clustering", domain.configuration
    for field in fields_of(snapshot.schema):
        for key in (INVARIANTS, GENERATED):
            if key in field.metadata:
                yield f"the rule of column {field.name!r}", str(field.metadata[key])
