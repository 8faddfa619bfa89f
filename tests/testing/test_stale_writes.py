"""Writes and changes that were planned on one state of a table, and commit after another."""

import contextlib
import json

import pyarrow.parquet as pq
import pytest

import lakehouse
from catalog.storage import open_storage
from lakehouse.delta.codec import to_lines
from lakehouse.delta.log import commit_path
from lakehouse.duck.engine import Engine
from lakehouse.testing.ambush import Ambush
from lakehouse.testing.tables import Opener


@pytest.mark.parametrize("verb", ["append", "overwrite"])
def test_a_column_that_became_not_null_lets_no_null_of_a_stale_writer_in(tmp_path, verb):
    with lakehouse.connect(tmp_path, durable=False) as lake, Engine() as engine:
        table = lake.create_table("bronze.t", {"id": "BIGINT", "n": "INTEGER"})
        table.append([{"id": 0, "n": 0}])
        ambush = Ambush(lambda: table.alter().set_not_null("n"))
        storage = open_storage(table.uri, durable=False).wrapped(ambush.around)
        stale = Opener.of(engine).open(storage)
        with pytest.raises(lakehouse.DataError, match="NOT NULL"):
            getattr(stale, verb)([{"id": 1, "n": None}])
        assert table.read().fetchall() == [(0, 0)]
        assert getattr(stale, verb)([{"id": 1, "n": 1}]).version == 3


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        (lambda stale: stale.alter().change_type("id", "BIGINT"), False),
        (lambda stale: stale.append([{"id": 1 << 40}], schema_mode="widen"), False),
        (
            lambda stale: stale.overwrite([{"id": 1 << 40}], where="id > 7", schema_mode="widen"),
            True,
        ),
    ],
    ids=["alter", "append", "overwrite"],
)
def test_no_file_of_the_old_type_slips_into_an_empty_table(tmp_path, change, refused):
    with lakehouse.connect(tmp_path, durable=False) as lake, Engine() as engine:
        table = lake.create_table("bronze.t", {"id": "INTEGER"})
        ambush = Ambush(lambda: table.append([{"id": 1}]))
        stale = Opener.of(engine).open(
            open_storage(table.uri, durable=False).wrapped(ambush.around)
        )
        with pytest.raises(lakehouse.InputError) if refused else contextlib.nullcontext():
            change(stale)
        assert (1,) in table.read().fetchall()
        assert str(table.schema.field("id").type) == ("int32" if refused else "int64")
        for path in table.files()["path"].to_pylist():
            assert pq.read_schema(f"{table.uri}/{path}").field("id").type == table.schema.types[0]


def test_rows_that_were_written_for_other_partitions_are_written_again(tmp_path):
    with lakehouse.connect(tmp_path, durable=False) as lake, Engine() as engine:
        table = lake.create_table("bronze.t", {"id": "INTEGER", "p": "VARCHAR"})

        def repartition():
            metadata = table.snapshot().metadata
            found = json.loads(to_lines([metadata]))
            found["metaData"]["partitionColumns"] = ["p"]
            table.snapshot().storage.put(commit_path(1), json.dumps(found).encode())

        storage = open_storage(table.uri, durable=False).wrapped(Ambush(repartition).around)
        Opener.of(engine).open(storage).append([{"id": 1, "p": "x"}])
        assert table.partition_by == ("p",)
        assert table.read().fetchall() == [(1, "x")]
        assert table.files()["partition.p"].to_pylist() == ["x"]
