"""One table of all operations that change a table: how to do each, and what it means.

A new operation is one entry of `OPERATIONS`, and has a place in the pair matrix by that. One that
we do not have yet has no ``perform``; delta-rs may have it (`lakehouse.testing.peer`).
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from lakehouse.delta.log import LOG
from lakehouse.table.handle import Table
from lakehouse.table.reports import VacuumReport
from lakehouse.testing import meaning
from lakehouse.testing.model import Model, Predicate, State

SCHEMA = pa.schema([("id", pa.int64()), ("n", pa.int32()), ("part", pa.string())])


@dataclasses.dataclass(frozen=True, slots=True)
class Work:
    """Hold what one party works with, on a table with the columns of `SCHEMA`.

    ``part`` is the value of the column of that name in its rows, ``first_id`` the smallest id of
    those that it writes, ``name`` the one that it gives to new columns, constraints and
    properties, ``version`` the one that it restores.
    """

    part: str
    first_id: int
    name: str
    version: int

    @property
    def rows(self) -> pa.Table:
        """Return two rows of the part."""
        ids = [self.first_id, self.first_id + 1]
        values = [{"id": i, "n": i * 10, "part": self.part} for i in ids]
        return pa.Table.from_pylist(values, schema=SCHEMA)

    @property
    def nulls(self) -> pa.Table:
        """Return the rows with NULL for ``n``."""
        return self.rows.set_column(1, "n", pa.nulls(2, pa.int32()))

    @property
    def wider_rows(self) -> pa.Table:
        """Return the rows with one more column."""
        return self.rows.append_column(self.name, pa.array(["x", None]))

    @property
    def where(self) -> Predicate:
        """Return the condition that is true for all rows of the part."""
        return Predicate(
            f"part = '{self.part}'", lambda row: bool(row["part"] == self.part), ("part",)
        )

    @property
    def positive(self) -> Predicate:
        """Return a condition that rows of every part meet, but not all rows: an ``n`` above 0."""
        return Predicate("n > 0", lambda row: row["n"] is not None and row["n"] > 0, ("n",))


@dataclasses.dataclass(frozen=True, slots=True)
class Operation:
    """Name an operation; say how a handle performs it and what it means.

    ``perform`` is None where we do not have it yet. ``always_fits`` says that nobody's rows can
    make it fail: only a table whose columns or constraints no longer let its rows in.
    """

    name: str
    perform: Callable[[Table, Work], object] | None
    meaning: Callable[[Model, Work], State]
    always_fits: bool = False


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "append",
        lambda table, work: table.append(work.rows),
        lambda table, work: meaning.append(table.latest, work.rows),
        always_fits=True,
    ),
    Operation(
        "append once",
        lambda table, work: table.append(work.rows, idempotency_key=(work.name, 1)),
        lambda table, work: meaning.append(table.latest, work.rows, key=(work.name, 1)),
        always_fits=True,
    ),
    Operation(
        "append nulls",
        lambda table, work: table.append(work.nulls),
        lambda table, work: meaning.append(table.latest, work.nulls),
    ),
    Operation(
        "append wider",
        lambda table, work: table.append(work.wider_rows, schema_mode="add"),
        lambda table, work: meaning.append(table.latest, work.wider_rows, schema_mode="add"),
    ),
    Operation(
        "overwrite",
        lambda table, work: table.overwrite(work.rows),
        lambda table, work: meaning.overwrite(table.latest, work.rows),
    ),
    Operation(
        "overwrite schema",
        lambda table, work: table.overwrite(work.wider_rows, schema_mode="overwrite"),
        lambda table, work: meaning.overwrite(
            table.latest, work.wider_rows, schema_mode="overwrite"
        ),
    ),
    Operation(
        "overwrite part",
        lambda table, work: table.overwrite(work.rows, where=work.where.sql),
        lambda table, work: meaning.overwrite(table.latest, work.rows, where=work.where),
    ),
    Operation(
        "delete",
        lambda table, work: table.delete(work.where.sql),
        lambda table, work: meaning.delete(table.latest, work.where),
    ),
    Operation(
        "update",
        lambda table, work: table.update({"n": 7}, where=work.where.sql),
        lambda table, work: meaning.update(table.latest, {"n": 7}, work.where),
    ),
    Operation(
        "merge",
        lambda table, work: table.upsert(work.rows, key="id"),
        lambda table, work: meaning.merge(table.latest, work.rows, on="id"),
    ),
    Operation(
        "rewrite",
        lambda table, work: table.rewrite(_files(table, work)),
        lambda table, work: table.latest,
    ),
    Operation(
        "cluster",
        lambda table, work: (
            table.rewrite(_files(table, work), cluster_by=["part", "id"])
            if "part" not in table.partition_by
            else table.rewrite(_files(table, work), cluster_by=["id"])
        ),
        lambda table, work: table.latest,
    ),
    Operation(
        "restore",
        lambda table, work: table.restore(version=work.version),
        lambda table, work: meaning.restore(table, work.version),
    ),
    Operation(
        "add column",
        lambda table, work: table.alter().add_column(work.name, "VARCHAR"),
        lambda table, work: meaning.add_column(table.latest, pa.field(work.name, pa.string())),
    ),
    Operation(
        "widen column",
        lambda table, work: table.alter().change_type("n", "BIGINT"),
        lambda table, work: meaning.widen(table.latest, "n", pa.int64()),
    ),
    Operation(
        "rename column",
        lambda table, work: table.alter().rename_column("n", work.name),
        lambda table, work: meaning.rename_column(table.latest, "n", work.name),
    ),
    Operation(
        "drop column",
        lambda table, work: table.alter().drop_column("n"),
        lambda table, work: meaning.drop_column(table.latest, "n"),
    ),
    Operation(
        "set not null",
        lambda table, work: table.alter().set_not_null("n"),
        lambda table, work: meaning.set_not_null(table.latest, "n"),
    ),
    Operation(
        "add constraint",
        lambda table, work: table.alter().add_constraint(work.name, work.positive.sql),
        lambda table, work: meaning.add_constraint(table.latest, work.name, work.positive),
    ),
    Operation(
        "set property",
        lambda table, work: table.alter().set_properties({work.name: "yes"}),
        lambda table, work: meaning.set_property(table.latest, work.name, "yes"),
    ),
    Operation(
        "checkpoint", lambda table, work: table.checkpoint(), lambda table, work: table.latest
    ),
    Operation(
        "vacuum",
        lambda table, work: vacuumed(table, work.name),
        lambda table, work: table.latest,
        always_fits=True,
    ),
)


def aged(table: Table, days: float = 20) -> None:
    """Let a table on local disk, as it is now, have been written so many days ago.

    Files that no version names stay as young as they are: they may belong to somebody at work.
    """
    root, then = folder_of(table), time.time() - days * 24 * 3600
    for add in table.snapshot().files.adds():
        os.utime(root / add.key[0], (then, then))
    for number, path in enumerate(sorted((root / LOG).iterdir())):
        os.utime(path, (then + number, then + number))


def folder_of(table: Table) -> Path:
    """Return the folder of a table on local disk."""
    root = table.snapshot().storage.local_path
    assert root is not None
    return root


def vacuumed(table: Table, name: str) -> VacuumReport:
    """Vacuum a table that is old, in which a dead writer has left a file of this name."""
    aged(table)
    orphan = folder_of(table) / f"part-{name}.parquet"
    orphan.write_bytes(b"PAR1")
    then = time.time() - 20 * 24 * 3600
    os.utime(orphan, (then, then))
    report = table.vacuum()
    assert not orphan.exists(), report
    return report


def _files(table: Table, work: Work) -> list[str]:
    """Return the files that may hold rows of the part."""
    found = table.files()
    least, most = (
        ("partition.part", "partition.part")
        if "part" in table.partition_by
        else ("min.part", "max.part")
    )
    return [
        str(path)
        for path, low, high in zip(
            *(found[name].to_pylist() for name in ("path", least, most)), strict=True
        )
        if low is None or high is None or low <= work.part <= high
    ]
