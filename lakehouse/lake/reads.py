"""Keep what sessions have counted of their queries in the lake, for those who look after tables.

A session writes one small document, when it is closed, and only where it was asked to.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
import uuid
from collections.abc import Iterable

from catalog.errors import LakehouseError
from catalog.storage import Storage
from lakehouse.scan.tally import Reads, merged

READS = "_upkeep/reads"
_KEPT = 100  # documents


def save(storage: Storage, reads: Iterable[Reads]) -> None:
    """Write counts as one document, and delete the oldest documents where there are many."""
    listed = [dataclasses.asdict(read) for read in reads]
    if not listed:
        return
    name = f"{READS}/{time.time_ns():020d}-{uuid.uuid4().hex[:8]}.json"
    storage.put_if_absent(name, json.dumps({"reads": listed}).encode())
    present = [item.path for item in storage.list(READS)]
    storage.delete(present[:-_KEPT])


def load(storage: Storage) -> tuple[Reads, ...]:
    """Return what all documents have counted; one that cannot be read counts nothing."""
    found: list[Reads] = []
    for item in storage.list(READS):
        with contextlib.suppress(LakehouseError, ValueError, KeyError, TypeError, AttributeError):
            listed = json.loads(storage.read(item.path))["reads"]
            found += [Reads(**{**read, "columns": tuple(read["columns"])}) for read in listed]
    return merged(found)
