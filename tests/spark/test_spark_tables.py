"""We read what Spark writes, at every version; our writes are right, or refused by name at once."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import lakehouse
from lakehouse.delta.protocol import WRITE_FEATURES
from lakehouse.testing import canonical_rows
from tests.spark.cases import CASES, UNREADABLE, Case
from tests.spark.judge import Witness, agree, files_on_disk, named, ours, quoted
from tests.spark.verbs import REFUSED, rewrite


@pytest.mark.parametrize("name", CASES)
def test_case(spark, lake, tmp_path, name):
    case = CASES[name]
    made = carry_out(spark, lake, tmp_path / "spark", case)
    if lacking := set(case.features) - WRITE_FEATURES:
        refuses_every_write(made, lacking)
    else:
        writes(spark, made, case)


@pytest.mark.parametrize("feature", UNREADABLE)
def test_unreadable(spark, lake, tmp_path, feature):
    for statement in UNREADABLE[feature]:
        spark.sql(statement.replace("{t}", f"delta.{quoted(str(tmp_path / 'spark'))}"))
    before = sorted(path for path in tmp_path.rglob("*") if "spark" in path.parts)
    with pytest.raises(lakehouse.UnsupportedError, match=feature):
        lake.register_table("bronze.t", tmp_path / "spark")
    assert sorted(path for path in tmp_path.rglob("*") if "spark" in path.parts) == before
    assert list(lake.tables()) == []


def carry_out(spark: Any, lake: lakehouse.Lake, place: Path, case: Case) -> lakehouse.Table:
    """Let Spark do all that a case says, and read every version as it arrives and afterwards."""
    for key, value in case.conf.items():
        spark.conf.set(key, value)
    try:
        if case.build:
            build(spark, str(place), case.build)
        else:
            spark.sql(case.create.replace("{t}", f"delta.{quoted(str(place))}"))
        made = lake.register_table("bronze.t", place)
        witness = Witness(spark, made)
        for statement in (*case.dml, *case.more):
            spark.sql(statement.replace("{t}", named(made)))
            witness.look()
    finally:
        for key in case.conf:
            spark.conf.unset(key)
    for pattern in case.leaves:
        assert list(place.glob(pattern)), pattern
    witness.look_back()
    witness.look_through_checkpoint(lake)
    same_history(spark, made)
    pruned_reads_are_whole(made)
    return made


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


def same_history(spark: Any, made: lakehouse.Table) -> None:
    """Assert that times and operations are Spark's; so in-commit timestamps are read right."""
    told = spark.sql(f"DESCRIBE HISTORY {named(made)}").select("version", "timestamp", "operation")
    theirs = pa.table(told.toArrow()).to_pylist()
    mine = [(commit.version, commit.timestamp, commit.operation) for commit in made.history()]
    assert mine == [(row["version"], row["timestamp"], row["operation"]) for row in theirs]


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


def refuses_every_write(made: lakehouse.Table, features: set[str]) -> None:
    before, version = files_on_disk(made), made.version
    for name, verb in REFUSED.items():
        with pytest.raises(lakehouse.UnsupportedError) as caught:
            verb(made)
        assert features <= set(vars(caught.value)["features"]), (name, caught.value)
        assert (files_on_disk(made), made.version) == (before, version), name


def writes(spark: Any, made: lakehouse.Table, case: Case) -> None:
    """Write to a table of Spark's; Spark agrees after every verb, and goes on."""
    rows = ours(made)
    made.append([case.row])
    filled = pa.Table.from_pylist([{**case.row, **case.computed}], schema=rows.schema)
    assert canonical_rows(ours(made)) == canonical_rows(pa.concat_tables([rows, filled]))
    agree(spark, made)
    rewrite(made)
    assert canonical_rows(ours(made)) == canonical_rows(pa.concat_tables([rows, filled]))
    agree(spark, made)
    if made.properties.get("delta.appendOnly") == "true":
        with pytest.raises(lakehouse.InputError, match="append-only"):
            made.overwrite([case.row])
        return
    deletes(spark, made, "k IN (4, 1000)")
    agree(spark, made)
    made.overwrite([case.row])
    agree(spark, made)
    made.restore(made.version - 1)
    made.checkpoint()
    made.append([case.row])
    agree(spark, made)
    spark.sql(f"UPDATE {named(made)} SET k = -1 WHERE k = 1000")
    agree(spark, made)
    spark.sql(f"OPTIMIZE {named(made)}")
    agree(spark, made)


def deletes(spark: Any, made: lakehouse.Table, where: str) -> None:
    """Delete rows; a change data feed tells them."""
    before = ours(made).num_rows
    made.delete(where)
    gone = before - ours(made).num_rows
    assert gone > 0
    if made.properties.get("delta.enableChangeDataFeed") == "true":
        feed = spark.read.format("delta").option("readChangeFeed", "true")
        changes = feed.option("startingVersion", made.version).load(made.uri).collect()
        assert [row["_change_type"] for row in changes] == ["delete"] * gone
