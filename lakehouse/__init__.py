"""Tables in bronze, silver and gold: Delta on local disk or object storage, SQL by DuckDB.

import lakehouse

lake = lakehouse.connect("./lake")
trips = lake.create_table("bronze.trips", {"id": "BIGINT", "km": "DOUBLE"})
trips.append([{"id": 1, "km": 3.5}])
lake.sql("select sum(km) from bronze.trips").show()
"""

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
from lakehouse.scan.report import TableScan
from lakehouse.table.handle import Table
from lakehouse.table.reports import CollectReport, Commit, ExpireReport, TableDetail, WriteReport

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
    "LakehouseError",
    "Leftover",
    "NotFoundError",
    "OutcomeUnknownError",
    "StorageError",
    "Table",
    "TableDetail",
    "TableInfo",
    "TableScan",
    "UnsupportedError",
    "WriteReport",
    "connect",
]
