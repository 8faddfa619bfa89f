"""A snapshot of a lake: the same state, however often and by whatever thread it is asked."""

import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

import lakehouse

BOTH = "SELECT (SELECT count(*) FROM silver.a), (SELECT sum(n) FROM silver.b)"


@pytest.fixture
def lake(tmp_path):
    with lakehouse.connect(tmp_path / "lake", durable=False) as lake:
        for name in ("silver.a", "silver.b"):
            lake.create_table(name, {"n": "BIGINT"}).append([{"n": 1}])
        yield lake


@pytest.mark.parametrize("used_before", [True, False])
def test_all_tables_stay_as_they_were_when_it_was_taken(lake, used_before):
    with lakehouse.connect(lake.uri, durable=False) as reader:
        if used_before:
            assert reader.sql(BOTH).fetchall() == [(1, 1)]
        with reader.snapshot() as view:
            for name in ("silver.a", "silver.b"):
                lake.table(name).append([{"n": 10}])
            assert view.sql(BOTH).fetchall() == [(1, 1)]
            assert reader.sql(BOTH).fetchall() == [(2, 11)]
            assert view.sql(BOTH).fetchall() == [(1, 1)]
            assert view.versions == {"silver.a": 1, "silver.b": 1}
            assert [scan.version for scan in view.explain(BOTH).tables] == [1, 1]
            assert repr(view) == "LakeSnapshot({'silver.a': 1, 'silver.b': 1})"
            now = view.sql("SELECT count(*) FROM silver.a AT (VERSION => 2)")
            assert now.fetchall() == [(2,)]


def test_names_stay_too(lake):
    with lake.snapshot() as view:
        lake.drop_table("silver.a")
        lake.rename_table("silver.b", "silver.c")
        lake.create_table("silver.a", {"other": "VARCHAR"})
        assert view.sql(BOTH).fetchall() == [(1, 1)]
        assert view.table("silver.a").schema.names == ["n"]
        with pytest.raises(lakehouse.NotFoundError, match=r"silver\.c"):
            view.sql("SELECT * FROM silver.c")


def test_a_table_is_read_as_it_was_and_not_written(lake):
    view = lake.snapshot()
    lake.table("silver.a").alter().add_column("m", "BIGINT")
    lake.table("silver.a").append([{"n": 2, "m": 3}])
    table = view.table("silver.a")
    assert (table.name, table.version, table.schema.names) == ("silver.a", 1, ["n"])
    assert table.read(where="n > 0").fetchall() == [(1,)]
    assert table.read(columns=["n"]).fetchall() == [(1,)]
    assert (table.files().num_rows, table.bounds("n"), table.detail().rows) == (1, (1, 1), 1)
    assert (table.partition_by, table.uri) == ((), lake.table("silver.a").uri)
    assert dict(table.properties) == dict(lake.table("silver.a").properties)
    assert not hasattr(table, "append")
    with pytest.raises(lakehouse.NotFoundError):
        table.bounds("m")
    for statement in ("ALTER TABLE silver.a ADD COLUMN x INT", "DROP TABLE silver.a"):
        with pytest.raises(lakehouse.InputError):
            view.sql(statement)
    assert lake.table("silver.a").version == 3


def test_a_closed_one_says_so_and_its_results_can_still_be_read(lake):
    with lake.snapshot() as view:
        rows = view.sql("SELECT n FROM silver.a")
    lake.table("silver.a").append([{"n": 2}])
    assert rows.fetchall() == [(1,)]
    for call in (
        lambda: view.sql("SELECT 1"),
        lambda: view.table("silver.a"),
        lambda: view.versions,
    ):
        with pytest.raises(lakehouse.InputError, match="closed"):
            call()
    assert repr(view) == "LakeSnapshot(closed)"


def test_a_table_that_cannot_be_read_holds_up_no_other(lake):
    shutil.rmtree(f"{lake.table('silver.b').uri.removeprefix('file://')}/_delta_log")
    with lakehouse.connect(lake.uri, durable=False) as reader, reader.snapshot() as view:
        assert view.sql("SELECT count(*) FROM silver.a").fetchall() == [(1,)]
        assert view.versions == {"silver.a": 1}
        with pytest.raises(lakehouse.NotFoundError, match="not a Delta table"):
            view.table("silver.b")


def test_threads_share_it(lake):
    with lakehouse.connect(lake.uri, durable=False) as reader, reader.snapshot() as view:
        lake.table("silver.a").append([{"n": 2}])
        with ThreadPoolExecutor(4) as pool:
            seen = list(pool.map(lambda _: view.sql(BOTH).fetchall(), range(20)))
    assert seen == [[(1, 1)]] * 20
