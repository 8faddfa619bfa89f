"""Read ``ALTER TABLE``: from SQL to the verb of `Table.alter` that does it.

Types and expressions are kept as written, for DuckDB to judge.
"""

from __future__ import annotations

from typing import Any

from lakehouse.lake.statements.kinds import Alter
from lakehouse.lake.statements.reader import Reader

_FORM = (
    "Write ALTER TABLE silver.t followed by ADD COLUMN c TYPE, DROP COLUMN c, RENAME COLUMN a TO b, "
    "ALTER COLUMN c (TYPE t | SET NOT NULL | DROP NOT NULL | COMMENT 'text' | FIRST | AFTER b), "
    "ADD CONSTRAINT n CHECK (...), DROP CONSTRAINT n, SET TBLPROPERTIES ('k' = 'v'), "
    "UNSET TBLPROPERTIES ('k'), or RENAME TO name"
)


def alter(reader: Reader) -> Alter:
    """Read what follows ALTER.

    >>> alter(Reader("TABLE silver.t RENAME COLUMN a TO b"))
    Alter(table='silver.t', verb='rename_column', arguments={'old': ('a',), 'new': 'b'})
    >>> alter(Reader("TABLE silver.t ADD COLUMN IF NOT EXISTS s.x DECIMAL(10, 2) FIRST")).arguments
    {'name': ('s', 'x'), 'type': 'DECIMAL(10, 2)', 'first': True, 'if_not_exists': True}
    """
    reader.kind, reader.form = "ALTER TABLE", _FORM
    reader.words("table")
    if reader.take("if", "exists"):
        raise reader.wrong("ALTER TABLE takes no IF EXISTS")
    table = reader.table()
    verb, arguments = _action(reader)
    reader.finish()
    return Alter(table, verb, arguments)


def _action(reader: Reader) -> tuple[str, dict[str, Any]]:
    if reader.take("add", "constraint"):
        name = reader.name()
        reader.words("check")
        return "add_constraint", {"name": name, "sql": reader.parenthesis()}
    if reader.take("add"):
        return "add_column", _new_column(reader)
    if reader.take("drop", "constraint"):
        optional = reader.optional("if_exists", "if", "exists")
        return "drop_constraint", {"name": reader.name(), **optional}
    if reader.take("drop"):
        reader.take("column")
        optional = reader.optional("if_exists", "if", "exists")
        return "drop_column", {"name": reader.path(), **optional}
    if reader.take("rename", "to"):
        return "rename_table", {"to": ".".join(reader.path())}
    if reader.take("rename"):
        reader.take("column")
        old = reader.path()
        reader.words("to")
        return "rename_column", {"old": old, "new": reader.name()}
    if reader.take("set", "tblproperties"):
        return "set_properties", {"properties": reader.properties()}
    if reader.take("unset", "tblproperties"):
        optional = reader.optional("if_exists", "if", "exists")
        return "unset_properties", {"names": reader.property_names(), **optional}
    reader.words("alter")
    reader.take("column")
    return _column_change(reader, reader.path())


def _new_column(reader: Reader) -> dict[str, Any]:
    reader.take("column")
    optional = reader.optional("if_not_exists", "if", "not", "exists")
    found: dict[str, Any] = {
        "name": reader.path(),
        "type": reader.until("comment", "first", "after"),
    }
    if reader.take("comment"):
        found["comment"] = reader.text()
    if reader.take("first"):
        found["first"] = True
    elif reader.take("after"):
        found["after"] = reader.name()
    return {**found, **optional}


def _column_change(reader: Reader, column: tuple[str, ...]) -> tuple[str, dict[str, Any]]:
    if reader.take("set", "not", "null"):
        return "set_not_null", {"name": column}
    if reader.take("drop", "not", "null"):
        return "drop_not_null", {"name": column}
    if reader.take("comment"):
        return "comment_column", {"name": column, "comment": reader.text()}
    if reader.take("first"):
        return "move_column", {"name": column, "first": True}
    if reader.take("after"):
        return "move_column", {"name": column, "after": reader.name()}
    if not reader.take("set", "data", "type"):
        reader.words("type")
    return "change_type", {"name": column, "type": reader.until()}
