"""Whether a lake's store keeps what commits rely on: probed once, and remembered beside the catalog.

A fit result is a file in `_catalog/`, with a name that tells which store it is about. The listing
that opening a lake makes anyway shows it, so that knowing costs no request.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from catalog import storage as room
from catalog.errors import OutcomeUnknownError, StorageError
from catalog.storage import Storage

Probing = Literal["once", "again", "never"]


@dataclass(frozen=True, slots=True)
class Fitness:
    """Know whether the store of a catalog's folder is fit."""

    storage: Storage
    clock: Callable[[], datetime]

    @property
    def name(self) -> str:
        """Return the name of the file that says so.

        Another bucket, or another address, may be another store: a lake can be copied.
        """
        settings = self.storage.settings
        about = (settings.endpoint, settings.location.host) if settings else ("local",)
        digest = hashlib.sha256("\n".join(about).encode()).hexdigest()[:16]
        return f"_store-{room.probe.VERSION}-{digest}.json"

    def require(self, there: Collection[str], *, when: Probing) -> None:
        """Raise UnsupportedError for a store that is not fit; `there` are files that were listed.

        Local disk and memory are ours, and are probed only when told so.
        """
        known = self.storage.settings is None or self.name in there
        if when == "never" or (when == "once" and known):
            return
        result = self.probe()
        if result.verdict == "unfit":
            raise result.refusal(self.storage.uri.rpartition("/")[0])

    def probe(self) -> room.probe.ProbeResult:
        """Probe the store; remember it where it is fit, and forget that it was where it is not."""
        result = room.probing.probe(self.storage, clock=self.clock)
        try:
            if result.verdict == "fit":
                self.storage.put(self.name, room.probe.encode(result))
            elif result.verdict == "unfit":
                self.storage.delete([self.name])
        except (StorageError, OutcomeUnknownError):
            # Then the next one probes again.
            return result
        return result

    def recall(self) -> room.probe.ProbeResult | None:
        """Return the result that was remembered, if any."""
        found = self.storage.read_or_none(self.name)
        return room.probe.decode(found) if found else None
