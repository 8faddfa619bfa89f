"""A writer that slept while another took over cannot commit, however close it was."""

from pathlib import Path

import pytest

import lakehouse
from catalog import open_storage
from catalog.catalog import Catalog
from lakehouse.duck.engine import Engine
from lakehouse.lake.lake import Lake
from lakehouse.lint.log import lint
from lakehouse.testing.ambush import Ambush


@pytest.fixture
def place(tmp_path):
    with lakehouse.connect(tmp_path / "lake", durable=False) as lake:
        table = lake.create_table("bronze.t", {"n": "BIGINT"})
        for n in range(3):
            table.append([{"n": n}])
    return tmp_path / "lake"


def paths_of(table: lakehouse.Table) -> list[str]:
    return list(table.files()["path"].to_pylist())


def data_files(table: lakehouse.Table) -> int:
    return len([*Path(table.uri).glob("*.parquet")])


@pytest.mark.parametrize("others", [0, 2])
def test_one_that_sleeps_right_before_its_commit(place, others: int) -> None:
    with lakehouse.connect(place, durable=False) as lake:
        table = lake.table("bronze.t")

        def take_over() -> None:
            for n in range(others):  # it has to find the fence behind other commits, too
                table.append([{"n": 10 + n}])
            assert table.fence(8).operation == "fence"
            table.append([{"n": 20}])

        ambush = Ambush(take_over)
        storage = open_storage(place, durable=False).wrapped(ambush.around)
        with Lake(storage, Catalog.open(storage, create=False), Engine()) as sleeper:
            stale = sleeper.table("bronze.t")
            paths = paths_of(stale)
            files = data_files(table)
            with pytest.raises(lakehouse.ConflictError, match="8 has taken over"):
                stale.rewrite(paths, fence=5)
            assert ambush.sprung
            assert data_files(table) == files + others + 1  # it took what it had written away
            assert stale.rewrite(paths, fence=8).files_removed == 3
        assert [c.operation for c in table.history(2)] == ["OPTIMIZE", "WRITE"]
        assert sorted(table.read().fetchall()) == sorted(
            (n,) for n in [0, 1, 2, 20, *range(10, 10 + others)]
        )
        assert not [f for f in lint(table.snapshot().storage) if not f.note]


def test_tokens_may_only_grow(place) -> None:
    with lakehouse.connect(place, durable=False) as lake:
        table = lake.table("bronze.t")
        paths = paths_of(table)
        assert table.rewrite(paths[:2], fence=3).files_removed == 2
        assert table.rewrite(paths_of(table), fence=3).files_removed == 2
        version = table.fence(3).version
        assert table.fence(3).version == version  # it is there already
        assert table.rewrite(paths_of(table), fence=3).version == version + 1
        version += 1
        assert table.fence(4).version == version + 1
        for late in (lambda: table.fence(3), lambda: table.rewrite(paths_of(table), fence=3)):
            with pytest.raises(lakehouse.ConflictError, match="4 has taken over"):
                late()
        assert table.version == version + 1
        table.checkpoint()
    with lakehouse.connect(place, durable=False) as lake:
        with pytest.raises(lakehouse.ConflictError, match="4 has taken over"):
            lake.table("bronze.t").fence(0)
        with pytest.raises(lakehouse.InputError, match="whole number"):
            lake.table("bronze.t").fence(-1)


def test_appends_do_not_mind(place) -> None:
    with lakehouse.connect(place, durable=False) as lake:
        table = lake.table("bronze.t")
        ambush = Ambush(lambda: table.fence(1))
        storage = open_storage(place, durable=False).wrapped(ambush.around)
        with Lake(storage, Catalog.open(storage, create=False), Engine()) as other:
            assert other.table("bronze.t").append([{"n": 9}]).attempts == 2
        assert len(table.read().fetchall()) == 4
