"""Tables in bronze, silver and gold: Delta on local disk or object storage, SQL by DuckDB.

import lakehouse

lake = lakehouse.connect("./lake")
trips = lake.create_table("bronze.trips", {"id": "BIGINT", "km": "DOUBLE"})
trips.append([{"id": 1, "km": 3.5}])
lake.sql("select sum(km) from bronze.trips").show()
"""

from typing import TYPE_CHECKING

from catalog import lazy

if TYPE_CHECKING:  # imported on first use: docs/decisions/0018
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
    from lakehouse.delta.leftovers import Leftover
    from lakehouse.lake.explain import Explain
    from lakehouse.lake.lake import DropReport, Lake, TableInfo, connect
    from lakehouse.lake.snapshot import LakeSnapshot
    from lakehouse.lake.untrusted.limits import Limits
    from lakehouse.scan.report import TableScan
    from lakehouse.table.handle import Table
    from lakehouse.table.pinned import PinnedTable
    from lakehouse.table.reports import (
        CollectReport,
        Commit,
        ExpireReport,
        TableDetail,
        WriteReport,
    )

__all__ = [
    "AlreadyExistsError",
    "CollectReport",
    "Commit",
    "ConflictError",
    "CorruptionError",
    "DataError",
    "DropReport",
    "ExpireReport",
    "Explain",
    "InputError",
    "Lake",
    "LakeSnapshot",
    "LakehouseError",
    "Leftover",
    "Limits",
    "NotFoundError",
    "OutcomeUnknownError",
    "PinnedTable",
    "StorageError",
    "Table",
    "TableDetail",
    "TableInfo",
    "TableScan",
    "UnsupportedError",
    "WriteReport",
    "connect",
]

__getattr__ = lazy.names(
    __name__,
    {
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
        "lakehouse.delta.leftovers": ("Leftover",),
        "lakehouse.lake.explain": ("Explain",),
        "lakehouse.lake.lake": (
            "DropReport",
            "Lake",
            "TableInfo",
            "connect",
        ),
        "lakehouse.lake.snapshot": ("LakeSnapshot",),
        "lakehouse.lake.untrusted.limits": ("Limits",),
        "lakehouse.scan.report": ("TableScan",),
        "lakehouse.table.handle": ("Table",),
        "lakehouse.table.pinned": ("PinnedTable",),
        "lakehouse.table.reports": (
            "CollectReport",
            "Commit",
            "ExpireReport",
            "TableDetail",
            "WriteReport",
        ),
    },
)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
