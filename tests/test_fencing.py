"""A writer that slept while another took over cannot commit, however close it was."""

from pathlib import Path

import pytest

import lakehouse
from catalog import open_storage
from catalog.catalog import Catalog
from lakehouse.duck.engine import Engine
from lakehouse.lake.lake import Lake
from lakehouse.lint.log import lint
from lakehouse.table.copying import copies_of
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


def rewrite(table: lakehouse.Table, token: int) -> lakehouse.WriteReport:
    rewriter = table.rewriter()
    copies = copies_of(table.snapshot(), paths_of(table))
    written = [rewriter.write(copy) for copy in copies]
    return rewriter.commit(copies, written, fence=lambda: token).report


def fence(table: lakehouse.Table, token: int) -> lakehouse.WriteReport:
    return table.rewriter().fence(token)


def data_files(table: lakehouse.Table) -> int:
    return len([*Path(table.uri).glob("*.parquet")])


@pytest.mark.parametrize("others", [0, 2])
def test_one_that_sleeps_right_before_its_commit(place, others: int) -> None:
    with lakehouse.connect(place, durable=False) as lake:
        table = lake.table("bronze.t")

        def take_over() -> None:
            for n in range(others):  # it has to find the fence behind other commits, too
                table.append([{"n": 10 + n}])
            assert fence(table, 8).operation == "fence"
            table.append([{"n": 20}])

        ambush = Ambush(take_over)
        storage = open_storage(place, durable=False).wrapped(ambush.around)
        with Lake(storage, Catalog.open(storage, create=False), Engine()) as sleeper:
            stale = sleeper.table("bronze.t")
            stale.snapshot()
            files = data_files(table)
            with pytest.raises(lakehouse.ConflictError, match="8 has committed"):
                rewrite(stale, 5)
            assert ambush.sprung
            assert data_files(table) == files + others + 1  # it took what it had written away
            assert rewrite(stale, 8).files_removed == others + 4
        assert [c.operation for c in table.history(2)] == ["OPTIMIZE", "WRITE"]
        assert sorted(table.read().fetchall()) == sorted(
            (n,) for n in [0, 1, 2, 20, *range(10, 10 + others)]
        )
        assert not [f for f in lint(table.snapshot().storage) if not f.note]


def test_tokens_may_only_grow(place) -> None:
    with lakehouse.connect(place, durable=False) as lake:
        table = lake.table("bronze.t")
        assert rewrite(table, 3).files_removed == 3
        table.append([{"n": 3}])
        assert rewrite(table, 3).files_removed == 2  # there it is already, and not written again
        version = table.version
        assert fence(table, 3).version == version
        assert fence(table, 4).version == version + 1
        for late in (fence, rewrite):
            with pytest.raises(lakehouse.ConflictError, match="4 has committed"):
                late(table, 3)
        assert not [f for f in lint(table.snapshot().storage) if not f.note]
        assert table.version == version + 1
        table.checkpoint()
    with lakehouse.connect(place, durable=False) as lake:
        with pytest.raises(lakehouse.ConflictError, match="4 has committed"):
            fence(lake.table("bronze.t"), 0)
        with pytest.raises(lakehouse.InputError, match="whole number"):
            fence(lake.table("bronze.t"), -1)


def test_appends_do_not_mind(place) -> None:
    with lakehouse.connect(place, durable=False) as lake:
        table = lake.table("bronze.t")
        ambush = Ambush(lambda: fence(table, 1))
        storage = open_storage(place, durable=False).wrapped(ambush.around)
        with Lake(storage, Catalog.open(storage, create=False), Engine()) as other:
            assert other.table("bronze.t").append([{"n": 9}]).attempts == 2
        assert len(table.read().fetchall()) == 4
