"""Storage: local disk, S3, Azure, Google and memory, behind one value that knows how to reach it."""

from typing import TYPE_CHECKING

from catalog import lazy
from catalog.storage.backend import Backend, StoredObject
from catalog.storage.location import Location, check_relative, join, parse
from catalog.storage.options import Options
from catalog.storage.storage import Storage, open_storage

if TYPE_CHECKING:  # imported on first use: docs/decisions/0018
    from catalog.storage import filesystem as filesystem
    from catalog.storage import probe as probe
    from catalog.storage import probing as probing
    from catalog.storage import remote as remote

__all__ = [
    "Backend",
    "Location",
    "Options",
    "Storage",
    "StoredObject",
    "check_relative",
    "join",
    "open_storage",
    "parse",
]

__getattr__ = lazy.names(
    __name__,
    {
        "catalog.storage.filesystem": (),
        "catalog.storage.probe": (),
        "catalog.storage.probing": (),
        "catalog.storage.remote": (),
    },
)
