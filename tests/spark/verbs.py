"""Every verb that changes a table: a new one needs a line here.

The tables have ``k BIGINT NOT NULL``, ``v VARCHAR``, and, for ``SCHEMA_CHANGES``, what `COLUMNS`
adds. The changes of one table follow each other in this order, too.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lakehouse

Verb = Callable[[lakehouse.Table], Any]
ROW = {"k": 1000, "v": "ours"}
COLUMNS = {
    "k": "BIGINT NOT NULL",
    "v": "VARCHAR",
    "i": "INTEGER",
    "j": "SMALLINT",
    "s": "STRUCT(a INTEGER, b VARCHAR)",
    "l": "STRUCT(x FLOAT)[]",
}


def rewrite(table: lakehouse.Table) -> lakehouse.WriteReport:
    return table.rewrite(table.files()["path"].to_pylist())


def expire(table: lakehouse.Table) -> None:
    """Write a checkpoint, and take the commits before it away, as cleaning up does.

    The commit of the newest version stays: Spark refuses a log that ends with a checkpoint alone.
    """
    table.checkpoint()
    for version in range(table.version):
        Path(table.uri, "_delta_log", f"{version:020d}.json").unlink(missing_ok=True)


def drop_and_add(table: lakehouse.Table) -> None:
    """Give a new field the name of one that is gone: the old values must stay gone."""
    table.alter().drop_column(("s", "b"), if_exists=True)
    table.alter().add_column(("s", "b"), "DATE")


def widen_in_place(table: lakehouse.Table) -> None:
    table.alter().set_properties({"delta.enableTypeWidening": True})
    table.alter().change_type("j", "BIGINT")
    table.alter().change_type(("l", "element", "x"), "DOUBLE")


def switch_on(**names: Any) -> Verb:
    return lambda table: table.alter().set_properties({f"delta.{k}": v for k, v in names.items()})


DATA_CHANGES: Mapping[str, Verb] = {
    "append": lambda table: table.append([ROW]),
    "append, once": lambda table: table.append([ROW], idempotency_key=("job", 17)),
    "append, adding columns": lambda table: table.append([{**ROW, "w": 1.5}], schema_mode="add"),
    "append nothing": lambda table: table.append([ROW][:0]),
    "delete": lambda table: table.delete("k > 2 AND k < 1000"),
    "delete by text": lambda table: table.delete("v = 'a'"),
    "delete all": lambda table: table.delete("true"),
    "overwrite": lambda table: table.overwrite([ROW]),
    "overwrite, other columns": lambda table: table.overwrite(
        [{"v": 1.5, "k": 1000, "z": True}], schema_mode="overwrite"
    ),
    "restore": lambda table: table.restore(1),
    "rewrite": rewrite,
}
SCHEMA_CHANGES: Mapping[str, Verb] = {
    "add column": lambda table: table.alter().add_column("extra", "DOUBLE", first=True),
    "add field": lambda table: table.alter().add_column(("s", "c"), "BIGINT"),
    "move column": lambda table: table.alter().move_column("i", first=True),
    "drop NOT NULL": lambda table: table.alter().drop_not_null("k"),
    "set NOT NULL": lambda table: table.alter().set_not_null("k"),
    "comment": lambda table: table.alter().comment_column("v", "said"),
    "describe": lambda table: table.alter().describe("of things"),
    "widen": lambda table: table.alter().change_type("i", "BIGINT"),
    "append, widening": lambda table: table.append([{**ROW, "j": 2**20}], schema_mode="widen"),
    "widen in place": widen_in_place,
    "rename column": lambda table: table.alter().rename_column("v", "it's"),
    "rename field": lambda table: table.alter().rename_column(("s", "a"), "aa"),
    "rename in list": lambda table: table.alter().rename_column(("l", "element", "x"), "xx"),
    "drop column": lambda table: table.alter().drop_column("i"),
    "drop field": lambda table: table.alter().drop_column(("s", "b")),
    "add it again": drop_and_add,
    "property": switch_on(enableChangeDataFeed=False),
    "in-commit timestamps": switch_on(enableInCommitTimestamps=True),
    "deletion vectors": switch_on(enableDeletionVectors=True),
    "v2 checkpoints": switch_on(checkpointPolicy="v2"),
    "unset": lambda table: table.alter().unset_properties(["delta.enableInCommitTimestamps"], if_exists=True),
}  # fmt: skip
# These change no version.
UPKEEP: Mapping[str, Verb] = {
    "checkpoint": lambda table: table.checkpoint(),
    "checkpoint, commits expired": expire,
}
# What a table that we must not write refuses, whatever its columns.
REFUSED: Mapping[str, Verb] = {
    **{name: verb for name, verb in DATA_CHANGES.items() if name != "append nothing"},
    "add column": SCHEMA_CHANGES["add column"],
    "describe": SCHEMA_CHANGES["describe"],
    "rename": lambda table: table.alter().rename_column("k", "key"),
    "property": switch_on(appendOnly=True),
}
