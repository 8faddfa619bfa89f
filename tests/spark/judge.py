"""Ask Spark for the rows of a table, and compare them with ours."""

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa

import lakehouse
from lakehouse.testing import canonical_rows


def quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def named(table: lakehouse.Table) -> str:
    """Return what Spark's SQL calls a table of ours."""
    return f"delta.{quoted(table.uri)}"


def by_spark(spark: Any, table: lakehouse.Table, version: int | None = None) -> pa.Table:
    at = "" if version is None else f" VERSION AS OF {version}"
    return pa.table(spark.sql(f"SELECT * FROM {named(table)}{at}").toArrow())


def count(spark: Any, table: lakehouse.Table, where: str) -> int:
    return int(spark.sql(f"SELECT count(*) FROM {named(table)} WHERE {where}").collect()[0][0])


def counts(spark: Any, table: lakehouse.Table, filters: dict[str, int]) -> dict[str, int]:
    """Count the rows of each filter, in one query: Spark's queries are slow to start."""
    query = " UNION ALL ".join(
        f"SELECT {number} AS number, count(*) AS found FROM {named(table)} WHERE {where}"
        for number, where in enumerate(filters)
    )
    found = {row["number"]: row["found"] for row in spark.sql(query).collect()}
    return {where: found[number] for number, where in enumerate(filters)}


def ours(table: lakehouse.Table, version: int | None = None) -> pa.Table:
    return table.read(version=version).to_arrow_table()


def agree(spark: Any, table: lakehouse.Table, version: int | None = None) -> None:
    """Assert that Spark and we see the same columns and rows."""
    same(by_spark(spark, table, version), ours(table, version), f"version {version}")


def same(theirs: pa.Table, mine: pa.Table, where: str) -> None:
    assert mine.column_names == theirs.column_names, where
    assert canonical_rows(mine) == canonical_rows(theirs), where


class Witness:
    """Remember what Spark read at each version, and hold our reads against it."""

    def __init__(self, spark: Any, table: lakehouse.Table) -> None:
        self.spark, self.table = spark, table
        self.seen: list[pa.Table] = []

    def look(self) -> None:
        """Compare the versions that are new since the last look."""
        newest = self.table.version
        for version in range(len(self.seen), newest + 1):
            # A read of the newest version costs Spark less than time travel to it.
            theirs = by_spark(self.spark, self.table, None if version == newest else version)
            same(theirs, ours(self.table, version), f"version {version}")
            self.seen.append(theirs)
        same(self.seen[-1], ours(self.table), "refreshed")

    def look_back(self) -> None:
        """Compare every version again, now that there are later ones and their checkpoints."""
        for version, theirs in enumerate(self.seen):
            same(theirs, ours(self.table, version), f"version {version}, later")

    def look_through_checkpoint(self, lake: lakehouse.Lake) -> None:
        """Compare what is left of a copy whose commits before the newest checkpoint expired."""
        copy = Path(self.table.uri).with_name("expired")
        shutil.copytree(self.table.uri, copy)
        log = copy / "_delta_log"
        newest = max((int(path.name[:20]) for path in log.glob("0*.checkpoint*")), default=-1)
        for version in range(newest + 1):
            (log / f"{version:020d}.json").unlink()
        table = lake.register_table("bronze.expired", copy)
        for version in range(max(newest, 0), len(self.seen)):
            same(self.seen[version], ours(table, version), f"version {version}, expired")


def files_on_disk(table: lakehouse.Table) -> list[str]:
    return sorted(str(path) for path in Path(table.uri).rglob("*") if path.is_file())
