"""Storage: local disk, S3, Azure, Google and memory, behind one value that knows how to reach it."""

from catalog.storage.backend import Backend, StoredObject
from catalog.storage.location import Location, check_relative, join, parse
from catalog.storage.options import Options
from catalog.storage.storage import Storage, open_storage

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
