"""Prove it yourself: hypothesis strategies and comparisons for tables of every Delta type.

Needs `hypothesis`, which the package itself does not install.
"""

from lakehouse.testing.comparison import canonical, canonical_rows
from lakehouse.testing.predicates import predicates
from lakehouse.testing.rows import partition_values, rows, values
from lakehouse.testing.schemas import column_names, data_types, partition_types, schemas

__all__ = [
    "canonical",
    "canonical_rows",
    "column_names",
    "data_types",
    "partition_types",
    "partition_values",
    "predicates",
    "rows",
    "schemas",
    "values",
]
