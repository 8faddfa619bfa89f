"""Say in SQL what to do next, where an error of a table's verb says it for Python."""

from __future__ import annotations

import re

from catalog.errors import DataError
from lakehouse.write.gate import ADD_BY_MODE

_MODE = "ALTER TABLE {table} SET TBLPROPERTIES ('lakehouse.schemaMode' = '{mode}')"
_ALTER = re.compile(r"table\.alter\(\)\.add_column\(.*\)")
# What verbs advise, and what a statement can do instead.
_IN_SQL = (
    (
        ADD_BY_MODE,
        "Run ALTER TABLE {table} ADD COLUMN ... first, or let writes add columns: "
        + _MODE.replace("{mode}", "add"),
    ),
    (
        "Pass schema_mode='add' to add it",
        "Let writes add it: " + _MODE.replace("{mode}", "add"),
    ),
    (
        "pass schema_mode='widen'",
        "let writes widen it: " + _MODE.replace("{mode}", "widen"),
    ),
    (
        "deduplicate='latest by <column>'",
        "QUALIFY row_number() OVER (PARTITION BY the key ORDER BY ... DESC) = 1",
    ),
    ("Leave them out, or pass null_safe=True", "Leave them out"),
)


def in_sql(error: DataError, table: str) -> DataError:
    """Return an error of a statement on a table, with a next step that a statement can do.

    >>> found = in_sql(
    ...     DataError("no", next_step="Leave them out, or pass null_safe=True"), "silver.t"
    ... )
    >>> print(found)
    no. Leave them out
    """
    step = _ALTER.sub(f"ALTER TABLE {table} ADD COLUMN ...", error.next_step or "")
    for python, sql in _IN_SQL:
        step = step.replace(python, sql.replace("{table}", table))
    return error if step == error.next_step else error.advised(step)
