"""Writes that planned before a rule came, and commit after it: found by the state machine."""

import pytest

import lakehouse
from catalog.storage import open_storage
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
