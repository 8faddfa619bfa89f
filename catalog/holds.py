"""Holds: versions of tables that must stay readable, for a named snapshot or a reader at work.

A hold is one small document, written once and deleted when it is let go. Whoever deletes files or
log entries asks which versions are held, and leaves all that they need. A named snapshot is a hold
with a name and no end; a reader's has an end, so that one that died does not hold files for ever.
"""

from __future__ import annotations

import dataclasses
import json
import re
import types
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from catalog.errors import AlreadyExistsError, CorruptionError, InputError, NotFoundError
from catalog.names import near_misses
from catalog.storage import Storage

FOLDER = "_holds"
# How far the clocks of a reader and of who deletes may be apart.
SKEW = timedelta(minutes=10)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


def _now() -> datetime:
    return datetime.now(UTC)


@dataclasses.dataclass(frozen=True, slots=True)
class Hold:
    """Hold versions, by the tables' ids; ``until`` is when it ends, and None means never.

    ``name`` is None for a reader's.
    """

    id: str
    versions: Mapping[str, int]
    created: datetime
    name: str | None = None
    description: str | None = None
    until: datetime | None = None

    def is_over(self, now: datetime) -> bool:
        """Tell whether it has ended, by any clock that is not further off than `SKEW`."""
        return self.until is not None and self.until + SKEW < now


@dataclasses.dataclass(frozen=True, slots=True)
class Holds:
    """Keep the holds of one lake. Safe for many threads and processes.

    >>> from catalog.storage import open_storage
    >>> holds = Holds(open_storage("memory://"))
    >>> hold = holds.add({"5d1f": 7}, name="q1")
    >>> holds.versions_of("5d1f"), holds.named("q1").versions["5d1f"]
    (frozenset({7}), 7)
    >>> holds.drop(hold), holds.versions_of("5d1f")
    (None, frozenset())
    """

    storage: Storage
    clock: Callable[[], datetime] = _now

    def add(
        self,
        versions: Mapping[str, int],
        *,
        name: str | None = None,
        description: str | None = None,
        lasting: timedelta | None = None,
    ) -> Hold:
        """Hold versions; AlreadyExistsError for a name that is taken.

        One without a name ends after ``lasting``.
        """
        if name is not None and _NAME.fullmatch(name) is None:
            raise InputError(
                f"{name!r} cannot name a snapshot",
                next_step="Use up to 100 letters, digits, dots, dashes and underscores",
            )
        now = self.clock()
        until = None if lasting is None else now + lasting
        identity = uuid.uuid4().hex
        hold = Hold(identity, dict(versions), now, name, description, until)
        body = _encoded(hold)
        path = _path(name, identity)
        if not self.storage.put_if_absent(path, body) and self.storage.read(path) != body:
            raise AlreadyExistsError(
                f"there is a snapshot {name!r}", next_step="Drop it first, or use another name"
            )
        return hold

    def drop(self, hold: Hold) -> None:
        """Let versions go."""
        self.storage.delete([_path(hold.name, hold.id)])

    def all(self) -> list[Hold]:
        """Return the holds that have not ended, named ones first; delete those that have."""
        listed = [item.path for item in self.storage.list() if item.path.endswith(".json")]
        found: list[Hold] = []
        over: list[Hold] = []
        now = self.clock()
        for path in listed:
            body = self.storage.read_or_none(path)
            if body is None:  # let go in the meantime
                continue
            hold = _decoded(body, self.storage.url(path))
            (over if hold.is_over(now) else found).append(hold)
        self.storage.delete([_path(hold.name, hold.id) for hold in over])
        return sorted(found, key=lambda hold: (hold.name is None, hold.name or "", hold.created))

    def named(self, name: str) -> Hold:
        """Return a named snapshot; NotFoundError carries the near misses."""
        names = {hold.name: hold for hold in self.all() if hold.name is not None}
        if name not in names:
            near = near_misses(name, [*names])
            raise NotFoundError(
                f"no snapshot {name!r}",
                next_step=f"Did you mean {' or '.join(near)}?" if near else "See named_snapshots()",
                near=near,
            )
        return names[name]

    def versions_of(self, table_id: str) -> frozenset[int]:
        """Return the versions of a table that are held.

        Raises CorruptionError for a document that cannot be read: nothing may be deleted then.
        """
        return frozenset(
            hold.versions[table_id] for hold in self.all() if table_id in hold.versions
        )


def _path(name: str | None, identity: str) -> str:
    return f"readers/{identity}.json" if name is None else f"named/{name}.json"


def _encoded(hold: Hold) -> bytes:
    document = {
        "format": 1,
        "id": hold.id,
        "name": hold.name,
        "description": hold.description,
        "created": hold.created.isoformat(),
        "until": None if hold.until is None else hold.until.isoformat(),
        "versions": dict(hold.versions),
    }
    return json.dumps({k: v for k, v in document.items() if v is not None}).encode()


def _decoded(body: bytes, where: str) -> Hold:
    try:
        found = json.loads(body)
        until = found.get("until")
        if found["format"] != 1 or not all(
            isinstance(v, int) and v >= 0 for v in found["versions"].values()
        ):
            raise ValueError
        return Hold(
            id=str(found["id"]),
            versions=types.MappingProxyType(found["versions"]),
            created=datetime.fromisoformat(found["created"]),
            name=found.get("name"),
            description=found.get("description"),
            until=None if until is None else datetime.fromisoformat(until),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptionError(
            f"{where} is no hold on versions that this release reads",
            next_step="Update lakehouse-storage, or delete the file if nothing needs it",
            path=where,
        ) from error
