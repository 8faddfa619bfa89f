"""Find what else in a table's definition speaks of a column."""

from __future__ import annotations

import re
from collections.abc import Iterator

from catalog.errors import InputError
from lakehouse.delta.features import CONSTRAINT, GENERATED, INVARIANTS
from lakehouse.delta.schema.edits import Path, shown
from lakehouse.delta.schema.fields import Struct, fields_of
from lakehouse.delta.schema.widening import changed_leaves
from lakehouse.delta.snapshot import Snapshot


def check_unreferenced(snapshot: Snapshot, path: Path, done: str) -> None:
    """Raise InputError where an expression of the table names a column that is to be ``done`` to.

    Names are looked for as words in the expressions' text: one too many is found rather than one
    too few.
    """
    for what, text in _expressions(snapshot):
        if _names(text, path[-1]):
            raise InputError(
                f"column {shown(path)!r} cannot be {done}: {what} names it",
                next_step="Drop that first",
                column=shown(path),
            )


def check_uncomputed(snapshot: Snapshot, schema: Struct) -> None:
    """Raise InputError where a column of another type in ``schema`` has others computed from it."""
    for field in schema:
        before = snapshot.schema.field(field.name)
        if before is None or next(changed_leaves(before.type, field.type), None) is None:
            continue
        for other in fields_of(snapshot.schema):
            text = str(other.metadata.get(GENERATED, ""))
            if _names(text, field.name):
                raise InputError(
                    f"column {field.name!r} cannot change its type: column {other.name!r} is "
                    f"computed from it ({text})",
                    next_step="Write the rows into a new table",
                    column=field.name,
                )


def _names(text: str, name: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text, re.IGNORECASE) is not None


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
