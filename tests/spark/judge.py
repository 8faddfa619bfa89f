"""Ask Spark for the rows of a table, and compare them with ours."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

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


def ours(table: lakehouse.Table, version: int | None = None) -> pa.Table:
    return table.read(version=version).to_arrow_table()


def agree(spark: Any, table: lakehouse.Table, version: int | None = None) -> None:
    """Assert that Spark and we see the same columns and rows."""
    theirs, mine = by_spark(spark, table, version), ours(table, version)
    assert theirs.column_names == mine.column_names
    assert canonical_rows(theirs) == canonical_rows(mine), f"version {version}"


def agree_at_every_version(spark: Any, table: lakehouse.Table, first: int = 0) -> None:
    """Assert the same of every version from ``first`` on.

    One query reads all versions of one schema: what takes Spark long is the number of queries.
    """
    mine = {version: ours(table, version) for version in range(first, table.version + 1)}
    for schema in {rows.schema: None for rows in mine.values()}:
        versions = [version for version, rows in mine.items() if rows.schema == schema]
        query = " UNION ALL ".join(
            f"SELECT {version} AS read_version, * FROM {named(table)} VERSION AS OF {version}"
            for version in versions
        )
        theirs = pa.table(spark.sql(query).toArrow())
        assert theirs.column_names[1:] == schema.names
        for version in versions:
            rows = theirs.filter(pc.equal(theirs["read_version"], version)).drop("read_version")
            assert canonical_rows(rows) == canonical_rows(mine[version]), f"version {version}"


def files_on_disk(table: lakehouse.Table) -> list[str]:
    return sorted(str(path) for path in Path(table.uri).rglob("*") if path.is_file())
