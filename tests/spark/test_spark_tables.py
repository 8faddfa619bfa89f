"""We read what Spark writes, at every version; our writes are right, or refused by name at once."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import lakehouse
from lakehouse.testing import canonical_rows
from tests.spark.judge import agree, agree_at_every_version, files_on_disk, ours, quoted

V = "delta.enableDeletionVectors"
DML = (
    "INSERT INTO {t} (k, v) VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, NULL)",
    "INSERT INTO {t} (k, v) VALUES (5, 'e'), (6, 'f'), (7, 'g'), (8, 'h')",
    "DELETE FROM {t} WHERE k = 2",
    "UPDATE {t} SET v = 'changed' WHERE k IN (3, 7)",
    "MERGE INTO {t} t USING (SELECT id AS k FROM range(6, 11)) s ON t.k = s.k "
    "WHEN MATCHED AND s.k = 6 THEN DELETE WHEN MATCHED THEN UPDATE SET v = 'merged' "
    "WHEN NOT MATCHED THEN INSERT (k, v) VALUES (s.k, 'new')",
    "OPTIMIZE {t}",
    "INSERT INTO {t} (k, v) VALUES (100, 'late')",
)


@dataclass(frozen=True)
class Case:
    """Say how Spark makes a table, what it does to it, and which features we may not write."""

    create: str
    # Spark's SQL makes no generated and identity columns: name, type, and expression of each.
    build: tuple[tuple[str, str, str], ...] = ()
    more: tuple[str, ...] = ()
    dml: tuple[str, ...] = DML
    conf: tuple[tuple[str, str], ...] = ()
    refused: tuple[str, ...] = ()
    row: tuple[tuple[str, Any], ...] = (("k", 1000), ("v", "ours"))
    made: tuple[tuple[str, Any], ...] = ()  # what the table's own expressions make of it


def table(properties: str = "", columns: str = "k BIGINT, v STRING", rest: str = "") -> str:
    given = f" TBLPROPERTIES ({properties})" if properties else ""
    return f"CREATE TABLE {{t}} ({columns}) USING delta {rest}{given}"


def on(name: str) -> str:
    return f"'{name}' = 'true'"


def mapped(mode: str) -> str:
    return f"'delta.columnMapping.mode' = '{mode}'"


NESTED = "k BIGINT, v STRING, s STRUCT<a: INT, b: STRUCT<c: STRING>>, l ARRAY<STRUCT<x: INT>>, m MAP<STRING, STRUCT<y: INT>>"
NESTED_ROWS = (
    "INSERT INTO {t} VALUES (20, 'n', named_struct('a', 1, 'b', named_struct('c', 'x')), "
    "array(named_struct('x', 1), NULL), map('k', named_struct('y', 2)))",
)
RENAMES = (
    "ALTER TABLE {t} RENAME COLUMN v TO w",
    "INSERT INTO {t} (k, w) VALUES (200, 'renamed')",
    "ALTER TABLE {t} DROP COLUMN w",
    "ALTER TABLE {t} ADD COLUMN v STRING",
    "INSERT INTO {t} (k, v) VALUES (201, 'another v')",
    "UPDATE {t} SET v = 'filled' WHERE k < 3",
)
DEEP_RENAMES = (
    "ALTER TABLE {t} RENAME COLUMN s.a TO aa",
    "ALTER TABLE {t} RENAME COLUMN s.b.c TO cc",
    "ALTER TABLE {t} RENAME COLUMN l.element.x TO xx",
    "ALTER TABLE {t} RENAME COLUMN m.value.y TO yy",
    "ALTER TABLE {t} ADD COLUMN s.a STRING",
    "INSERT INTO {t} VALUES (21, 'n', named_struct('aa', 1, 'b', named_struct('cc', 'x'), 'a', 'new'), "
    "array(named_struct('xx', 1)), map('k', named_struct('yy', 2)))",
    "ALTER TABLE {t} DROP COLUMN s.aa",
    "OPTIMIZE {t}",
)
TIMES = (
    "INSERT INTO {t} (k, v, ts) VALUES (11, 'a', TIMESTAMP '1500-06-01 12:30:00.000001'), "
    "(12, 'b', TIMESTAMP '2024-02-29 12:00:00.123456'), (13, 'c', TIMESTAMP '0001-01-01 00:00:00'), "
    "(14, 'd', TIMESTAMP '9999-12-31 23:59:59.999999'), (15, 'e', NULL)",
)
WIDENINGS = (
    "ALTER TABLE {t} ALTER COLUMN i TYPE INT",
    "INSERT INTO {t} (k, v, i, f, d, n) VALUES (31, 'x', 100000, 0.5, DATE '2020-01-01', 1.5)",
    "ALTER TABLE {t} ALTER COLUMN i TYPE BIGINT",
    "ALTER TABLE {t} ALTER COLUMN f TYPE DOUBLE",
    "ALTER TABLE {t} ALTER COLUMN n TYPE DECIMAL(20, 4)",
    "ALTER TABLE {t} ALTER COLUMN d TYPE TIMESTAMP_NTZ",
    "INSERT INTO {t} (k, v, i, f, d, n) VALUES (32, 'y', 10000000000, 0.1, TIMESTAMP_NTZ '2020-01-01 12:00:00', 123456789012.1234)",
    "OPTIMIZE {t}",
)

CASES = {
    "plain": Case(table()),
    "partitioned": Case(table(rest="PARTITIONED BY (v)")),
    "mapped by name": Case(table(mapped("name")), more=RENAMES),
    "mapped by id": Case(table(mapped("id")), more=RENAMES),
    "mapped, partitioned": Case(table(mapped("name"), rest="PARTITIONED BY (v)"), more=("ALTER TABLE {t} RENAME COLUMN v TO `w x`",)),
    "mapped by name, nested": Case(table(mapped("name"), NESTED), more=(*NESTED_ROWS, *DEEP_RENAMES)),
    "mapped by id, nested": Case(table(mapped("id"), NESTED), more=(*NESTED_ROWS, *DEEP_RENAMES)),
    "mapped later": Case(table(), more=("ALTER TABLE {t} SET TBLPROPERTIES ('delta.minReaderVersion' = '2', 'delta.minWriterVersion' = '5', " + mapped("name") + ")", *RENAMES)),
    "deletion vectors": Case(table(on(V))),
    "deletion vectors, partitioned": Case(table(on(V), rest="PARTITIONED BY (v)")),
    "deletion vectors, mapped": Case(table(on(V) + ", " + mapped("name")), more=RENAMES),
    "type widening": Case(
        table(on("delta.enableTypeWidening") + ", 'delta.feature.timestampNtz' = 'supported'", "k BIGINT, v STRING, i SMALLINT, f FLOAT, d DATE, n DECIMAL(9, 2)"),
        more=("INSERT INTO {t} VALUES (30, 'w', 7, 0.25, DATE '2024-02-29', 7.25)", *WIDENINGS),
    ),
    "change data feed": Case(table(on("delta.enableChangeDataFeed"))),
    "generated columns": Case("", build=(("k", "BIGINT", ""), ("v", "STRING", ""), ("g", "BIGINT", "k * 2"), ("part", "STRING", "substring(v, 1, 1)")), made=(("g", 2000), ("part", "o"))),
    "CHECK": Case(table(), more=("ALTER TABLE {t} ADD CONSTRAINT small CHECK (k < 500 OR k = 1000)",)),
    "NOT NULL": Case(table(columns="k BIGINT NOT NULL, v STRING")),
    "in-commit timestamps": Case(table(on("delta.enableInCommitTimestamps"))),
    "v2 checkpoints": Case(table("'delta.checkpointPolicy' = 'v2', 'delta.checkpointInterval' = '2'")),
    "v2 checkpoints, deletion vectors": Case(table(f"'delta.checkpointPolicy' = 'v2', 'delta.checkpointInterval' = '2', {on(V)}")),
    "classic checkpoints": Case(table(f"'delta.checkpointInterval' = '2', {on(V)}, {mapped('name')}, 'delta.checkpoint.writeStatsAsStruct' = 'true', 'delta.checkpoint.writeStatsAsJson' = 'false'", rest="PARTITIONED BY (v)")),
    "identity": Case("", build=(("k", "BIGINT", ""), ("v", "STRING", ""), ("n", "BIGINT", "IDENTITY")), refused=("identityColumns",)),
    "clustering": Case(table(rest="CLUSTER BY (k)"), refused=("clustering",)),
    "row tracking": Case(table(on("delta.enableRowTracking")), refused=("rowTracking",)),
    "defaults": Case(table("'delta.feature.allowColumnDefaults' = 'supported'", "k BIGINT, v STRING, x INT DEFAULT 7"), made=(("x", 7),)),
    "append only": Case(table(on("delta.appendOnly")), dml=(DML[0], DML[1], DML[5])),
    "INT96": Case(table(columns="k BIGINT, v STRING, ts TIMESTAMP"), more=(*TIMES, "UPDATE {t} SET v = 'again' WHERE k = 11", "OPTIMIZE {t}"), conf=(("spark.sql.parquet.outputTimestampType", "INT96"),)),
    "INT96 in structs": Case(table(columns="k BIGINT, v STRING, s STRUCT<ts: TIMESTAMP>"), more=("INSERT INTO {t} VALUES (1, 'x', named_struct('ts', TIMESTAMP '1500-06-01 12:30:00.000001')), (2, 'y', named_struct('ts', TIMESTAMP '2024-02-29 12:00:00.123456'))",), conf=(("spark.sql.parquet.outputTimestampType", "INT96"),)),
    "TIMESTAMP_MICROS": Case(table(columns="k BIGINT, v STRING, ts TIMESTAMP", rest="PARTITIONED BY (ts)"), more=(*TIMES, "OPTIMIZE {t}"), conf=(("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS"),)),
    "without zone": Case(table(columns="k BIGINT, v STRING, ts TIMESTAMP_NTZ"), more=tuple(text.replace("TIMESTAMP '", "TIMESTAMP_NTZ '") for text in TIMES)),
    "char and varchar": Case(table(columns="k BIGINT, v STRING, c CHAR(5), w VARCHAR(5)"), more=("INSERT INTO {t} VALUES (1, 'x', 'ab', 'cd')",)),
    "void, intervals apart": Case(table(columns="k BIGINT, v STRING, b BINARY, y TINYINT, n DECIMAL(38, 18)"), more=("INSERT INTO {t} VALUES (1, 'x', X'00FF', -128Y, 0.000000000000000001)",)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_case(spark, lake, tmp_path, name):
    case = CASES[name]
    place = tmp_path / "spark"
    path = f"delta.{quoted(str(place))}"
    seen = []
    for key, value in case.conf:
        spark.conf.set(key, value)
    try:
        if case.build:
            build(spark, str(place), case.build)
        else:
            spark.sql(case.create.replace("{t}", path))
        made = lake.register_table("bronze.t", place)
        for statement in (*case.dml, *case.more):
            spark.sql(statement.replace("{t}", path))
            seen.append((made.version, canonical_rows(ours(made))))
    finally:
        for key, _ in case.conf:
            spark.conf.unset(key)
    agree_at_every_version(spark, made)
    for version, rows in seen:
        assert canonical_rows(ours(made, version)) == rows
    pruned_reads_are_whole(made)
    if case.refused:
        refuses_every_write(made, case.refused)
    else:
        writes(spark, made, dict(case.row), dict(case.made))


def build(spark: Any, place: str, columns: tuple[tuple[str, str, str], ...]) -> None:
    delta = spark._jvm.io.delta.tables.DeltaTable
    builder = delta.create(spark._jsparkSession).location(place)
    for name, type_, expression in columns:
        column = delta.columnBuilder(spark._jsparkSession, name).dataType(type_)
        if expression == "IDENTITY":
            column = column.generatedAlwaysAsIdentity()
        elif expression:
            column = column.generatedAlwaysAs(expression)
        builder = builder.addColumn(column.build())
    builder.execute()


def pruned_reads_are_whole(made: lakehouse.Table) -> None:
    for version in range(1, made.version + 1):
        keys = [key for key in ours(made, version)["k"].to_pylist() if key is not None]
        for where, wanted in (
            ("k = 3", [key for key in keys if key == 3]),
            ("k > 6", [key for key in keys if key > 6]),
            ("k < 3", [key for key in keys if key < 3]),
        ):
            found = made.read(where=where, version=version).to_arrow_table()["k"].to_pylist()
            assert sorted(found) == sorted(wanted), (where, version)


def refuses_every_write(made: lakehouse.Table, features: tuple[str, ...]) -> None:
    before, version = files_on_disk(made), made.version
    first = made.files()["path"].to_pylist()
    row = [{"k": 1000}]
    for write in (
        lambda: made.append(row),
        lambda: made.append([{"k": 1, "brand_new": 1}], schema_mode="add"),
        lambda: made.overwrite(row),
        lambda: made.overwrite(row, schema_mode="overwrite"),
        lambda: made.restore(1),
        lambda: made.rewrite(first),
    ):
        with pytest.raises(lakehouse.UnsupportedError) as caught:
            write()
        assert set(features) <= set(vars(caught.value)["features"]), caught.value
        assert (files_on_disk(made), made.version) == (before, version)


def writes(spark: Any, made: lakehouse.Table, row: dict[str, Any], more: dict[str, Any]) -> None:
    rows = ours(made)
    first = made.version
    made.append([row])
    filled = pa.Table.from_pylist([{**row, **more}], schema=rows.schema)
    assert canonical_rows(ours(made)) == canonical_rows(pa.concat_tables([rows, filled]))
    made.rewrite(made.files()["path"].to_pylist())
    assert ours(made).num_rows == rows.num_rows + 1
    if made.properties.get("delta.appendOnly") == "true":
        with pytest.raises(lakehouse.InputError, match="append-only"):
            made.overwrite([row])
    else:
        made.overwrite([row])
        made.restore(2)
        made.checkpoint()
        made.append([row])
    agree_at_every_version(spark, made, first)
    if made.properties.get("delta.appendOnly") == "true":
        return
    spark.sql(f"UPDATE delta.{quoted(str(Path(made.uri)))} SET v = 'spark' WHERE k = 1000")
    agree(spark, made)
