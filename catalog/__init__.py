"""The catalog of a lake, and the storage and the errors that everything above shares."""

from typing import TYPE_CHECKING

from catalog import lazy

if TYPE_CHECKING:  # imported on first use: docs/decisions/0018
    from catalog.catalog import Catalog
    from catalog.changes import (
        KEEP,
        AddTable,
        AddView,
        Change,
        DeclareLayer,
        DropTable,
        DropView,
        Keep,
        RenameTable,
        UpdateTable,
        UpdateView,
    )
    from catalog.errors import (
        AlreadyExistsError,
        ConflictError,
        CorruptionError,
        DataError,
        InputError,
        LakehouseError,
        NotFoundError,
        OutcomeUnknownError,
        StorageError,
        UnsupportedError,
    )
    from catalog.journal import Backoff
    from catalog.leases import Lease, Leases
    from catalog.names import near_misses, validate_layer, validate_table_name
    from catalog.state import CatalogChange, CatalogState, LayerEntry, TableEntry, ViewEntry
    from catalog.storage import Options, Storage, StoredObject, open_storage

__all__ = [
    "AddTable",
    "AddView",
    "AlreadyExistsError",
    "Backoff",
    "Catalog",
    "CatalogChange",
    "CatalogState",
    "Change",
    "ConflictError",
    "CorruptionError",
    "DataError",
    "DeclareLayer",
    "DropTable",
    "DropView",
    "InputError",
    "KEEP",
    "Keep",
    "LakehouseError",
    "LayerEntry",
    "Lease",
    "Leases",
    "NotFoundError",
    "Options",
    "OutcomeUnknownError",
    "RenameTable",
    "Storage",
    "StorageError",
    "StoredObject",
    "TableEntry",
    "UnsupportedError",
    "UpdateTable",
    "UpdateView",
    "ViewEntry",
    "near_misses",
    "open_storage",
    "validate_layer",
    "validate_table_name",
]

__getattr__ = lazy.names(
    __name__,
    {
        "catalog.catalog": ("Catalog",),
        "catalog.changes": (
            "KEEP",
            "AddTable",
            "AddView",
            "Change",
            "DeclareLayer",
            "DropTable",
            "DropView",
            "Keep",
            "RenameTable",
            "UpdateTable",
            "UpdateView",
        ),
        "catalog.errors": (
            "AlreadyExistsError",
            "ConflictError",
            "CorruptionError",
            "DataError",
            "InputError",
            "LakehouseError",
            "NotFoundError",
            "OutcomeUnknownError",
            "StorageError",
            "UnsupportedError",
        ),
        "catalog.journal": ("Backoff",),
        "catalog.leases": ("Lease", "Leases"),
        "catalog.names": (
            "near_misses",
            "validate_layer",
            "validate_table_name",
        ),
        "catalog.state": (
            "CatalogChange",
            "CatalogState",
            "LayerEntry",
            "TableEntry",
            "ViewEntry",
        ),
        "catalog.storage": (
            "Options",
            "Storage",
            "StoredObject",
            "open_storage",
        ),
    },
)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
