"""Spark reads our deletion vectors and our change feed, and we read Spark's."""

from collections import Counter
from typing import Any

import pytest

import lakehouse
from lakehouse.dml import remaking
from tests.spark.judge import agree, count, named
from tests.types.engines import new_table

COLUMNS = {"k": "BIGINT", "v": "VARCHAR"}
BOTH = {"delta.enableDeletionVectors": True, "delta.enableChangeDataFeed": True}
TOLD = ("k", "v", "_change_type", "_commit_version")


def same_feed(spark: Any, table: lakehouse.Table, first: int) -> Counter:
    """Compare all changes since a version, and return them."""
    reader = spark.read.format("delta").option("readChangeFeed", "true")
    theirs = reader.option("startingVersion", first).load(table.uri).select(*TOLD).collect()
    mine = table.changes(since=first).select(", ".join(TOLD)).fetchall()
    assert Counter(map(tuple, theirs)) == Counter(mine)
    return Counter(mine)


@pytest.mark.parametrize(
    ("partition_by", "mode"), [((), "none"), (("v",), "name")], ids=["plain", "partitioned, mapped"]
)
def test_spark_reads_our_vectors_and_our_feed(spark, lake, partition_by, mode):
    table = new_table(
        lake,
        COLUMNS,
        partition_by=partition_by,
        properties={**BOTH, "delta.columnMapping.mode": mode},
    )
    table.append([{"k": k, "v": "abc"[k % 3]} for k in range(3000)])
    for change in (
        lambda: table.delete("k % 7 = 0"),
        lambda: table.delete("k < 20 OR k = 2000"),
        lambda: table.overwrite([{"k": 5000, "v": "b"}], where="v = 'b' AND k > 100"),
        lambda: table.update({"k": "k + 10000"}, where="k < 40"),
        lambda: table.upsert([{"k": 41, "v": "c"}, {"k": 9, "v": "a"}], key="k"),
        lambda: table.delete("v = 'a'"),
        lambda: table.restore(2),
        lambda: table.rewrite(table.files()["path"].to_pylist()),
        lambda: table.delete("true"),
    ):
        change()
        agree(spark, table)
    assert len(same_feed(spark, table, 1)) > 3000
    before = table.read(version=9).to_arrow_table().num_rows
    assert sum(same_feed(spark, table, 9).values()) == before  # a rewrite tells nothing


def test_we_read_the_feed_that_spark_writes(spark, lake, tmp_path):
    uri = str(tmp_path / "spark-made")
    spark.sql(
        f"CREATE TABLE delta.`{uri}` (k BIGINT, v STRING) USING delta PARTITIONED BY (v) TBLPROPERTIES "
        "('delta.enableDeletionVectors' = 'true', 'delta.enableChangeDataFeed' = 'true')"
    )
    table = lake.register_table("bronze.made", uri)
    name = named(table)
    for statement in (
        f"INSERT INTO {name} SELECT id, CASE WHEN id % 2 = 0 THEN 'x' ELSE 'y' END FROM range(100)",
        f"DELETE FROM {name} WHERE k % 9 = 0",
        f"DELETE FROM {name} WHERE k % 9 = 1",
        f"UPDATE {name} SET k = k + 1000 WHERE k < 10",
        f"MERGE INTO {name} t USING (SELECT 50L AS k UNION ALL SELECT 500L) s ON t.k = s.k "
        "WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT (k, v) VALUES (s.k, 'z')",
        f"DELETE FROM {name} WHERE v = 'x'",
        f"RESTORE TABLE {name} TO VERSION AS OF 2",
        f"OPTIMIZE {name}",
    ):
        spark.sql(statement)
        same_feed(spark, table, max(1, table.version))
    table.delete("k = 5")
    table.update({"k": "-1"}, where="k = 7")
    assert sum(same_feed(spark, table, 0).values()) > 200


def test_spark_reads_files_of_which_columns_or_rows_were_taken_over(
    spark, lake, tmp_path, monkeypatch
):
    """Those that it wrote itself, with page indexes, and ours, of several row groups."""
    monkeypatch.setattr(remaking, "LEAST", 1)
    uri = str(tmp_path / "spark-made")
    spark.sql(
        f"CREATE TABLE delta.`{uri}` (k BIGINT, n INT, s STRING, l ARRAY<STRUCT<a: INT>>, t TIMESTAMP) "
        "USING delta"
    )
    table = lake.register_table("bronze.made", uri)
    spark.sql(
        f"INSERT INTO {named(table)} SELECT id, id % 10, concat('s', id), array(named_struct('a', id)), "
        "timestamp'2024-01-01' FROM range(0, 5000, 1, 1)"
    )
    table.append([{"k": k, "n": k, "s": f"s{k}", "l": [], "t": None} for k in range(5000, 135_000)])
    table.update({"n": "n + 1", "t": "t + INTERVAL 1 DAY"}, where="k % 3 = 0")
    for _ in range(2):
        assert len(table.files()) == 2  # the copy of both would be one
        agree(spark, table)
        for where in ("k = 4999", "s = 's77'", "n > 134000", "t > '2024-01-01'"):
            assert count(spark, table, where) == len(table.read(where=where).fetchall())
        table.delete("k % 1000 = 500")
