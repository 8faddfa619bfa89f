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
    from lakehouse.dml.clauses import lit
    from lakehouse.lake.advice import Advice
    from lakehouse.lake.explain import Analysis, Explain
    from lakehouse.lake.lake import Lake, connect
    from lakehouse.lake.named import NamedSnapshot
    from lakehouse.lake.snapshot import LakeSnapshot
    from lakehouse.lake.tables import DropReport, TableInfo
    from lakehouse.lake.untrusted.limits import Limits
    from lakehouse.lake.views import DropViewReport, ViewInfo
    from lakehouse.scan.report import TableScan
    from lakehouse.table.consuming import Batch
    from lakehouse.table.handle import Table
    from lakehouse.table.merge import MergeBuilder
    from lakehouse.table.pinned import PinnedTable
    from lakehouse.table.positions import Consumer
    from lakehouse.table.reports import (
        ChangeReport,
        CollectReport,
        Commit,
        ExpireReport,
        TableDetail,
        TrashReport,
        VacuumReport,
        WriteReport,
    )

__all__ = [
    "Advice",
    "AlreadyExistsError",
    "Analysis",
    "Batch",
    "ChangeReport",
    "CollectReport",
    "Commit",
    "ConflictError",
    "Consumer",
    "CorruptionError",
    "DataError",
    "DropReport",
    "DropViewReport",
    "ExpireReport",
    "Explain",
    "InputError",
    "Lake",
    "LakeSnapshot",
    "LakehouseError",
    "Leftover",
    "Limits",
    "MergeBuilder",
    "NamedSnapshot",
    "NotFoundError",
    "OutcomeUnknownError",
    "PinnedTable",
    "StorageError",
    "Table",
    "TableDetail",
    "TableInfo",
    "TableScan",
    "TrashReport",
    "UnsupportedError",
    "VacuumReport",
    "ViewInfo",
    "WriteReport",
    "connect",
    "lit",
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
        "lakehouse.dml.clauses": ("lit",),
        "lakehouse.lake.advice": ("Advice",),
        "lakehouse.lake.explain": ("Analysis", "Explain"),
        "lakehouse.lake.lake": ("Lake", "connect"),
        "lakehouse.lake.named": ("NamedSnapshot",),
        "lakehouse.lake.snapshot": ("LakeSnapshot",),
        "lakehouse.lake.tables": ("DropReport", "TableInfo"),
        "lakehouse.lake.untrusted.limits": ("Limits",),
        "lakehouse.lake.views": ("DropViewReport", "ViewInfo"),
        "lakehouse.scan.report": ("TableScan",),
        "lakehouse.table.consuming": ("Batch",),
        "lakehouse.table.handle": ("Table",),
        "lakehouse.table.merge": ("MergeBuilder",),
        "lakehouse.table.pinned": ("PinnedTable",),
        "lakehouse.table.positions": ("Consumer",),
        "lakehouse.table.reports": (
            "ChangeReport",
            "CollectReport",
            "Commit",
            "ExpireReport",
            "TableDetail",
            "TrashReport",
            "VacuumReport",
            "WriteReport",
        ),
    },
)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
