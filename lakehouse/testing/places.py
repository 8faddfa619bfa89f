"""Where a proof has its lakes: a folder of local disk, or a bucket of a store that is started."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any
from urllib.parse import urlsplit

from catalog.storage import Storage, open_storage
from catalog.storage.location import parse
from lakehouse.lake.lake import Lake, connect

STORES = ("minio", "seaweedfs")


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """Hold a URI and the options that reach it; a value that other processes can be given.

    >>> with Place("memory://proof").child("lake").connect() as lake:
    ...     lake.uri
    'memory://proof/lake'
    """

    uri: str
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict, repr=False)

    @property
    def is_local(self) -> bool:
        """Tell whether this is a folder on local disk."""
        return parse(self.uri).scheme == "file"

    @property
    def endpoint(self) -> str | None:
        """Return the URL of the server, where one is named."""
        return self.options.get("endpoint_url")

    def child(self, name: str) -> Place:
        """Return a place below this one."""
        return Place(f"{self.uri}/{name}", self.options)

    def through(self, proxy: str) -> Place:
        """Return the same place, reached by the URL of a proxy before its server."""
        endpoint = proxy + urlsplit(self.endpoint or "").path
        return Place(self.uri, {**self.options, "endpoint_url": endpoint})

    def connect(self, **more: Any) -> Lake:
        """Open the lake that is here.

        The store is not probed, and what is acknowledged need not survive a power cut.
        """
        return connect(self.uri, durable=False, probe="never", **more, **self.options)

    def storage(self) -> Storage:
        """Open the folder."""
        return open_storage(self.uri, durable=False, **self.options)


def given_or_new(place: Place | None) -> AbstractContextManager[Place]:
    """Give a place, by default a temporary folder."""
    return at() if place is None else contextlib.nullcontext(place)


@contextlib.contextmanager
def at(store: str | None = None) -> Iterator[Place]:
    """Give an empty place: a temporary folder, or a new bucket of a store, one of `STORES`.

    The store is started, and ended after the block, with all that it holds.
    """
    if store is None:
        with tempfile.TemporaryDirectory(prefix="lakehouse-proof-") as folder:
            yield Place(folder)
    else:
        # They need the extra `s3`, which the other proofs do without.
        servers = importlib.import_module("lakehouse.testing.servers")
        with servers.start(store) as server:
            yield Place(server.bucket(), server.options())
