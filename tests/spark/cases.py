"""What Spark does to the tables that we read: how it makes each one, changes it, and goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

KEYS_AND_TEXTS = "k BIGINT, v STRING"
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
    """Say how Spark makes a table, what it does to it, and what a writer of it must know.

    ``build`` are name, type and expression of columns that Spark's SQL cannot make (generated,
    identity). ``features`` name all that we must support to write; where we lack one, every write
    is refused with its name. ``row`` is what we append then, ``computed`` what else we must write.
    ``leaves`` are patterns of files that must be there in the end, as proof of what was tested.
    """

    create: str = ""
    build: tuple[tuple[str, str, str], ...] = ()
    dml: tuple[str, ...] = DML
    more: tuple[str, ...] = ()
    conf: Mapping[str, str] = field(default_factory=dict)
    features: tuple[str, ...] = ()
    row: Mapping[str, Any] = field(default_factory=lambda: {"k": 1000, "v": "ours"})
    computed: Mapping[str, Any] = field(default_factory=dict)
    leaves: tuple[str, ...] = ()


def table(*properties: str, columns: str = KEYS_AND_TEXTS, rest: str = "") -> str:
    given = f" TBLPROPERTIES ({', '.join(properties)})" if properties else ""
    return f"CREATE TABLE {{t}} ({columns}) USING delta {rest}{given}"


def on(name: str) -> str:
    return f"'delta.{name}' = 'true'"


def turn(*properties: str) -> str:
    return f"ALTER TABLE {{t}} SET TBLPROPERTIES ({', '.join(properties)})"


def mapped(mode: str) -> str:
    return f"'delta.columnMapping.mode' = '{mode}'"


def every(commits: int) -> str:
    return f"'delta.checkpointInterval' = '{commits}'"


VECTORS = on("enableDeletionVectors")
V2 = "'delta.checkpointPolicy' = 'v2'"
BY_TEXT = "PARTITIONED BY (v)"
NESTED = (
    KEYS_AND_TEXTS + ", s STRUCT<a: INT, b: STRUCT<c: STRING>>, "
    "l ARRAY<STRUCT<x: INT>>, m MAP<STRING, STRUCT<y: INT>>"
)
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
    "OPTIMIZE {t}",
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
    "UPDATE {t} SET s.a = 'changed' WHERE k = 20",
    "OPTIMIZE {t}",
)
TIMES = (
    "INSERT INTO {t} (k, v, ts) VALUES (11, 'a', TIMESTAMP '1500-06-01 12:30:00.000001'), "
    "(12, 'b', TIMESTAMP '2024-02-29 12:00:00.123456'), (13, 'c', TIMESTAMP '0001-01-01 00:00:00'), "
    "(14, 'd', TIMESTAMP '9999-12-31 23:59:59.999999'), (15, 'e', NULL)",
)
WIDE = "i SMALLINT, f FLOAT, d DATE, n DECIMAL(9, 2), x INT, y TINYINT"
WIDENINGS = (
    "INSERT INTO {t} VALUES (30, 'w', 7, 0.25, DATE '2024-02-29', 7.25, -5, 3)",
    "ALTER TABLE {t} ALTER COLUMN i TYPE INT",
    "INSERT INTO {t} (k, v, i, f, d, n) VALUES (31, 'x', 100000, 0.5, DATE '2020-01-01', 1.5)",
    "ALTER TABLE {t} ALTER COLUMN i TYPE BIGINT",
    "ALTER TABLE {t} ALTER COLUMN f TYPE DOUBLE",
    "ALTER TABLE {t} ALTER COLUMN n TYPE DECIMAL(20, 4)",
    "ALTER TABLE {t} ALTER COLUMN d TYPE TIMESTAMP_NTZ",
    "ALTER TABLE {t} ALTER COLUMN x TYPE DOUBLE",
    "ALTER TABLE {t} ALTER COLUMN y TYPE DECIMAL(12, 1)",
    "INSERT INTO {t} VALUES (32, 'y', 10000000000, 0.1, TIMESTAMP_NTZ '2020-01-01 12:00:00', "
    "123456789012.1234, 0.5, 12345678901.5)",
    "UPDATE {t} SET v = 'again' WHERE k = 30",
    "DELETE FROM {t} WHERE k = 31",
    "OPTIMIZE {t}",
)
INT96 = {"spark.sql.parquet.outputTimestampType": "INT96"}
MICROS = {"spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS"}
# To Delta, CHAR is text; Spark fills it up with spaces when it reads, by a setting of its own.
PARTS = {"spark.databricks.delta.checkpoint.partSize": "2"}


def sidecars(top: str) -> Mapping[str, str]:
    return {"spark.databricks.delta.checkpointV2.topLevelFileFormat": top}


CASES = {
    "plain": Case(table()),
    "partitioned": Case(table(rest=BY_TEXT)),
    "replaced": Case(table(rest=BY_TEXT), more=(
        "INSERT OVERWRITE {t} VALUES (1, 'only'), (2, 'these')",
        "INSERT INTO {t} REPLACE WHERE v = 'only' VALUES (3, 'only')",
        "RESTORE TABLE {t} TO VERSION AS OF 5",
        "DELETE FROM {t}",
        "INSERT INTO {t} (k, v) VALUES (4, 'end')",
    )),
    "columns added": Case(table(columns=KEYS_AND_TEXTS + ", s STRUCT<a: INT>"), more=(
        "INSERT INTO {t} VALUES (10, 'x', named_struct('a', 1))",
        "ALTER TABLE {t} ADD COLUMNS (first INT FIRST, s.b STRING, l ARRAY<STRUCT<x: INT>>)",
        "INSERT INTO {t} VALUES (7, 11, 'y', named_struct('a', 2, 'b', 'b'), array(named_struct('x', 1)))",
        "ALTER TABLE {t} ADD COLUMN l.element.y INT",
        "ALTER TABLE {t} ALTER COLUMN v FIRST",
        "UPDATE {t} SET first = 0 WHERE k > 3",
        "OPTIMIZE {t}",
    )),
    "mapped by name": Case(table(mapped("name")), more=RENAMES, features=("columnMapping",)),
    "mapped by id": Case(table(mapped("id")), more=RENAMES, features=("columnMapping",)),
    "mapped, partitioned": Case(table(mapped("name"), rest=BY_TEXT), more=("ALTER TABLE {t} RENAME COLUMN v TO `w x`", "UPDATE {t} SET `w x` = 'again' WHERE k = 1", "OPTIMIZE {t}"), features=("columnMapping",), row={"k": 1000, "w x": "ours"}),
    "mapped by name, nested": Case(table(mapped("name"), columns=NESTED), more=(*NESTED_ROWS, *DEEP_RENAMES), features=("columnMapping",)),
    "mapped by id, nested": Case(table(mapped("id"), columns=NESTED), more=(*NESTED_ROWS, *DEEP_RENAMES), features=("columnMapping",)),
    "mapped later": Case(table(), more=(turn("'delta.minReaderVersion' = '2'", "'delta.minWriterVersion' = '5'", mapped("name")), *RENAMES), features=("columnMapping",)),
    "deletion vectors": Case(table(VECTORS), more=("DELETE FROM {t} WHERE k = 7", "OPTIMIZE {t}", "DELETE FROM {t} WHERE k = 100"), features=("deletionVectors",), leaves=("deletion_vector_*.bin",)),
    "deletion vectors, partitioned": Case(table(VECTORS, rest=BY_TEXT), features=("deletionVectors",)),
    "deletion vectors, mapped": Case(table(VECTORS, mapped("name")), more=RENAMES, features=("deletionVectors", "columnMapping")),
    "type widening": Case(table(on("enableTypeWidening"), "'delta.feature.timestampNtz' = 'supported'", columns=f"{KEYS_AND_TEXTS}, {WIDE}"), more=WIDENINGS, features=("typeWidening",)),
    "type widening, mapped": Case(table(on("enableTypeWidening"), mapped("name"), "'delta.feature.timestampNtz' = 'supported'", columns=f"{KEYS_AND_TEXTS}, {WIDE}"), more=(*WIDENINGS, "ALTER TABLE {t} RENAME COLUMN i TO ii"), features=("typeWidening", "columnMapping")),
    "type widening, nested": Case(table(on("enableTypeWidening"), columns=KEYS_AND_TEXTS + ", s STRUCT<i: SMALLINT>, l ARRAY<INT>, m MAP<SMALLINT, STRUCT<f: FLOAT>>"), more=(
        "INSERT INTO {t} VALUES (20, 'n', named_struct('i', 1S), array(1, NULL), map(1S, named_struct('f', float(0.5))))",
        "ALTER TABLE {t} ALTER COLUMN s.i TYPE BIGINT",
        "ALTER TABLE {t} ALTER COLUMN l.element TYPE BIGINT",
        "ALTER TABLE {t} ALTER COLUMN m.key TYPE INT",
        "ALTER TABLE {t} ALTER COLUMN m.value.f TYPE DOUBLE",
        "INSERT INTO {t} VALUES (21, 'n', named_struct('i', 10000000000), array(10000000000), map(100000, named_struct('f', 0.1)))",
        "UPDATE {t} SET v = 'again' WHERE k = 20",
        "OPTIMIZE {t}",
    ), features=("typeWidening",)),
    "change data feed": Case(table(on("enableChangeDataFeed")), features=("changeDataFeed",), leaves=("_change_data/*.parquet",)),
    "change data feed, deletion vectors": Case(table(on("enableChangeDataFeed"), VECTORS, rest=BY_TEXT), features=("changeDataFeed", "deletionVectors")),
    "generated columns": Case(build=(("k", "BIGINT", ""), ("v", "STRING", ""), ("g", "BIGINT", "k * 2"), ("part", "STRING", "substring(v, 1, 1)")), features=("generatedColumns",), computed={"g": 2000, "part": "o"}),
    "CHECK": Case(table(), more=("ALTER TABLE {t} ADD CONSTRAINT small CHECK (k < 5000)", "ALTER TABLE {t} ADD CONSTRAINT named CHECK (v IS NULL OR v <> '')", "UPDATE {t} SET v = 'checked' WHERE k = 1", "ALTER TABLE {t} DROP CONSTRAINT named", "OPTIMIZE {t}"), features=("checkConstraints",)),
    "NOT NULL": Case(table(columns="k BIGINT NOT NULL, v STRING"), more=("ALTER TABLE {t} ALTER COLUMN k DROP NOT NULL", "INSERT INTO {t} VALUES (NULL, 'none')")),
    "in-commit timestamps": Case(table(on("enableInCommitTimestamps")), features=("inCommitTimestamp",)),
    "in-commit timestamps, later": Case(table(), more=(turn(on("enableInCommitTimestamps")), "UPDATE {t} SET v = 'again' WHERE k = 1", "OPTIMIZE {t}"), features=("inCommitTimestamp",)),
    "v2 checkpoints, JSON": Case(table(V2, every(2)), conf=sidecars("json"), features=("v2Checkpoint",), leaves=("_delta_log/*.checkpoint.*-*.json", "_delta_log/_sidecars/*.parquet")),
    "v2 checkpoints, Parquet": Case(table(V2, every(3), VECTORS), conf={**sidecars("parquet"), **PARTS}, features=("v2Checkpoint", "deletionVectors"), leaves=("_delta_log/*.checkpoint.*-*.parquet", "_delta_log/_sidecars/*.parquet")),
    "checkpoints in parts": Case(table(every(2), rest=BY_TEXT), conf=PARTS, leaves=("_delta_log/*.checkpoint.0000000002.*.parquet",)),
    "checkpoints, typed statistics": Case(table(every(2), VECTORS, mapped("name"), on("checkpoint.writeStatsAsStruct"), "'delta.checkpoint.writeStatsAsJson' = 'false'", rest=BY_TEXT), features=("deletionVectors", "columnMapping")),
    "identity": Case(build=(("k", "BIGINT", ""), ("v", "STRING", ""), ("n", "BIGINT", "IDENTITY")), features=("identityColumns",)),
    "clustering": Case(table(rest="CLUSTER BY (k)"), more=("ALTER TABLE {t} CLUSTER BY (v)", "OPTIMIZE {t} FULL", "ALTER TABLE {t} CLUSTER BY NONE", "INSERT INTO {t} VALUES (101, 'later')"), features=("clustering", "domainMetadata")),
    "row tracking": Case(table(on("enableRowTracking")), features=("rowTracking", "domainMetadata")),
    "defaults": Case(table("'delta.feature.allowColumnDefaults' = 'supported'", columns=KEYS_AND_TEXTS + ", x INT DEFAULT 7"), features=("allowColumnDefaults",), computed={"x": 7}),
    "append only": Case(table(on("appendOnly")), dml=(DML[0], DML[1], DML[5])),
    "all at once": Case(
        table(VECTORS, mapped("name"), on("enableChangeDataFeed"), on("enableTypeWidening"), on("enableInCommitTimestamps"), on("enableRowTracking"), V2, every(3), columns=KEYS_AND_TEXTS + ", i INT", rest="CLUSTER BY (k)"),
        more=("INSERT INTO {t} VALUES (30, 'w', 7)", "ALTER TABLE {t} ALTER COLUMN i TYPE BIGINT", "ALTER TABLE {t} RENAME COLUMN i TO j", "UPDATE {t} SET j = 10000000000 WHERE k < 5", "DELETE FROM {t} WHERE k = 3", "OPTIMIZE {t} FULL"),
        conf=sidecars("parquet"),
        features=("deletionVectors", "columnMapping", "changeDataFeed", "typeWidening", "inCommitTimestamp", "rowTracking", "v2Checkpoint", "clustering", "domainMetadata"),
    ),
    "INT96": Case(table(columns=KEYS_AND_TEXTS + ", ts TIMESTAMP"), more=(*TIMES, "UPDATE {t} SET v = 'again' WHERE k = 11", "OPTIMIZE {t}"), conf=INT96),
    "INT96 in structs": Case(table(columns=KEYS_AND_TEXTS + ", s STRUCT<ts: TIMESTAMP>"), more=("INSERT INTO {t} VALUES (1, 'x', named_struct('ts', TIMESTAMP '1500-06-01 12:30:00.000001')), (2, 'y', named_struct('ts', TIMESTAMP '2024-02-29 12:00:00.123456'))",), conf=INT96),
    "TIMESTAMP_MICROS": Case(table(columns=KEYS_AND_TEXTS + ", ts TIMESTAMP", rest="PARTITIONED BY (ts)"), more=(*TIMES, "OPTIMIZE {t}"), conf=MICROS),
    "without zone": Case(table(columns=KEYS_AND_TEXTS + ", ts TIMESTAMP_NTZ"), more=tuple(text.replace("TIMESTAMP '", "TIMESTAMP_NTZ '") for text in TIMES)),
    "char and varchar": Case(table(columns=KEYS_AND_TEXTS + ", c CHAR(5), w VARCHAR(5)"), more=("INSERT INTO {t} VALUES (1, 'x', 'ab', 'cd')",)),
    "binary, small, exact": Case(table(columns=KEYS_AND_TEXTS + ", b BINARY, y TINYINT, n DECIMAL(38, 18)"), more=("INSERT INTO {t} VALUES (1, 'x', X'00FF', -128Y, 0.000000000000000001)",)),
}  # fmt: skip

# Readers must know these, and we do not.
UNREADABLE = {
    "variantType": (
        "CREATE TABLE {t} (k BIGINT, v VARIANT) USING delta",
        "INSERT INTO {t} SELECT 1, parse_json('{\"a\": 1}')",
    ),
}
