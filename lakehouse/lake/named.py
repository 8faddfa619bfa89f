"""Named snapshots of a lake, for people: which tables they hold, at which versions."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import datetime

from catalog.holds import Hold
from catalog.state import CatalogState


@dataclasses.dataclass(frozen=True, slots=True)
class NamedSnapshot:
    """Describe a named snapshot; ``versions`` are by the names that its tables have now.

    ``dropped`` counts tables that are in the catalog no more.
    """

    name: str
    created: datetime
    description: str | None
    versions: Mapping[str, int]
    dropped: int = 0


def described(hold: Hold, state: CatalogState) -> NamedSnapshot:
    """Return a hold with a name as what people see of it."""
    assert hold.name is not None
    names = {entry.id: entry.name for entry in state.tables.values()}
    versions = {names[i]: version for i, version in hold.versions.items() if i in names}
    return NamedSnapshot(
        name=hold.name,
        created=hold.created,
        description=hold.description,
        versions=dict(sorted(versions.items())),
        dropped=len(hold.versions) - len(versions),
    )
