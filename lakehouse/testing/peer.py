"""delta-rs as the other party: the operations of `OPERATIONS` that it has, by the same names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import deltalake
from deltalake import CommitProperties, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError

from lakehouse.testing.operations import Work

Handle = deltalake.DeltaTable
# What it raises where it refuses; a panic of its Rust code is no Exception.
REFUSALS = (DeltaError, ValueError, OSError)
Conflict = CommitFailedError


def open_stale(uri: str) -> Handle:
    """Return a handle that knows the version that is the newest now, and no later one."""
    return Handle(uri)


def _append_once(table: Handle, work: Work) -> None:
    mark = CommitProperties(app_transactions=[Transaction(work.name, 1)])
    deltalake.write_deltalake(table, work.rows, mode="append", commit_properties=mark)


def _merge(table: Handle, work: Work) -> None:
    (
        table.merge(work.rows, predicate="t.id = s.id", source_alias="s", target_alias="t")
        .when_matched_update_all()
        .when_not_matched_insert_all()
        .execute()
    )


PEER: Mapping[str, Callable[[Handle, Work], object]] = MappingProxyType(
    {
        "append": lambda t, w: deltalake.write_deltalake(t, w.rows, mode="append"),
        "append once": _append_once,
        "append wider": lambda t, w: deltalake.write_deltalake(
            t, w.wider_rows, mode="append", schema_mode="merge"
        ),
        "overwrite": lambda t, w: deltalake.write_deltalake(t, w.rows, mode="overwrite"),
        "overwrite schema": lambda t, w: deltalake.write_deltalake(
            t, w.wider_rows, mode="overwrite", schema_mode="overwrite"
        ),
        "overwrite part": lambda t, w: deltalake.write_deltalake(
            t, w.rows, mode="overwrite", predicate=w.where.sql
        ),
        "delete": lambda t, w: t.delete(w.where.sql),
        "update": lambda t, w: t.update(updates={"n": "7"}, predicate=w.where.sql),
        "merge": _merge,
        "rewrite": lambda t, w: t.optimize.compact(),
        "restore": lambda t, w: t.restore(w.version),
        "add column": lambda t, w: t.alter.add_columns(
            [deltalake.Field(w.name, deltalake.schema.PrimitiveType("string"))]
        ),
        "add constraint": lambda t, w: t.alter.add_constraint({w.name: w.positive.sql}),
        "set property": lambda t, w: t.alter.set_table_properties(
            {w.name: "yes"}, raise_if_not_exists=False
        ),
        "checkpoint": lambda t, w: t.create_checkpoint(),
    }
)
