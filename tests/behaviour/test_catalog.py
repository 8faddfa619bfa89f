"""Names, layers and lake-wide facts."""

from concurrent.futures import ThreadPoolExecutor

import pytest

import lakehouse
from catalog import Catalog
from tests.behaviour.place import by_extension, rows


def test_a_lake_is_created_once_and_opened_again(place):
    with pytest.raises(lakehouse.NotFoundError, match="no lake"):
        place.connect(create=False)
    with place.connect(layers=("raw", "fine")) as lake:
        assert lake.layers() == ["raw", "fine"]
    with place.connect() as lake:
        assert lake.layers() == ["raw", "fine"]
        assert lake.uri.endswith("/lake")
        assert [change.operation for change in lake.catalog.history()] == ["create catalog"]


def test_data_files_are_fetched_as_this_backend_is_meant_to(place, lake):
    """The suite proves what it says: DuckDB by its extension where there is one."""
    expected = "duckdb" if by_extension(place.backend) else "obstore"
    if place.backend == "disk":
        expected = "disk"
    assert lake._engine.mount(place.storage("lake")) == expected


def test_tables_are_described_and_listed(lake, other):
    lake.declare_layer("platinum", description="finer than gold")
    lake.create_table("platinum.t", {"n": "BIGINT"}, description="numbers")
    lake.create_table("bronze.t", {"n": "BIGINT"})
    lake.catalog.update_table("platinum.t", owner="ann", tags={"pii": "no", "größe": "klein"})
    assert other.layers() == ["bronze", "silver", "gold", "platinum"]
    (info,) = other.tables(layer="platinum")
    assert (info.name, info.description, info.owner) == ("platinum.t", "numbers", "ann")
    assert info.tags == {"pii": "no", "größe": "klein"}
    assert info.uri == lake.table("platinum.t").uri
    assert [info.name for info in other.tables()] == ["bronze.t", "platinum.t"]
    with pytest.raises(lakehouse.NotFoundError, match=r"platinum\.t"):
        other.table("platinum.tt")


def test_a_taken_name_is_refused_and_leaves_no_files(place, lake, other):
    table = lake.create_table("silver.t", {"n": "BIGINT"})
    before = [item.path for item in place.storage("lake").list()]
    with pytest.raises(lakehouse.AlreadyExistsError):
        other.create_table("silver.t", {"other": "DATE"})
    again = other.create_table("silver.t", {"other": "DATE"}, if_not_exists=True)
    assert (again.uri, again.schema) == (table.uri, table.schema)
    assert [item.path for item in place.storage("lake").list()] == before


def test_of_many_that_create_a_name_one_wins(place, lake):
    place.require_races()

    def create(number):
        try:
            return lake.create_table("gold.raced", {f"c{number}": "BIGINT"}).schema.names
        except lakehouse.AlreadyExistsError:
            return None

    with ThreadPoolExecutor(6) as pool:
        (won,) = [names for names in pool.map(create, range(6)) if names]
    assert lake.table("gold.raced").schema.names == won
    assert len({item.path.split("/")[0] for item in place.storage("lake/gold").list()}) == 1


def test_changes_from_many_catalogs_all_stand(place, lake):
    place.require_races()

    def declare(number):
        catalog = Catalog.open(place.storage("lake"), user=f"user {number}", probe="never")
        for step in range(3):
            catalog.declare_layer(f"layer_{number}_{step}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(declare, range(4)))
    assert {f"layer_{n}_{step}" for n in range(4) for step in range(3)} < set(lake.layers())
    history = lake.catalog.history()
    assert [change.version for change in history] == list(range(12, -1, -1))


def test_a_rename_moves_no_file(lake, other):
    table = lake.create_table("bronze.old", {"n": "BIGINT"})
    table.append([{"n": 1}])
    renamed = lake.rename_table("bronze.old", "gold.new")
    assert (renamed.uri, renamed.version) == (table.uri, 1)
    assert rows(other.sql("SELECT n FROM gold.new")) == [(1,)]
    with pytest.raises(lakehouse.NotFoundError):
        other.sql("SELECT n FROM bronze.old")
    assert other.create_table("bronze.old", {"m": "DATE"}).uri != table.uri


def test_a_dropped_table_can_be_registered_again(lake, other):
    lake.create_table("silver.t", {"n": "BIGINT"}).append([{"n": 1}])
    report = lake.drop_table("silver.t")
    assert report.files_deleted == 0
    with pytest.raises(lakehouse.NotFoundError):
        other.table("silver.t")
    back = other.register_table("gold.back", report.uri)
    assert rows(back.read()) == [(1,)]
    assert back.append([{"n": 2}]).version == 2
    assert rows(lake.sql("FROM gold.back")) == [(1,), (2,)]
    with pytest.raises(lakehouse.InputError, match="registered"):
        lake.drop_table("gold.back", purge=True)


def test_purge_deletes_the_files_of_that_table_only(place, lake, other):
    kept = lake.create_table("silver.t2", {"n": "BIGINT"})
    kept.append([{"n": 1}])
    before = {item.path for item in place.storage("lake").list() if "_catalog" not in item.path}
    table = lake.create_table("silver.t", {"n": "BIGINT", "p": "VARCHAR"}, partition_by="p")
    table.append([{"n": n, "p": f"a/{n} %"} for n in range(5)])
    table.checkpoint()
    assert other.drop_table("silver.t", purge=True).files_deleted == 9
    left = {item.path for item in place.storage("lake").list() if "_catalog" not in item.path}
    assert left == before
    assert rows(other.table("silver.t2").read()) == [(1,)]


def test_a_table_beside_the_lake_is_registered_where_it_is(place, lake, other):
    with place.connect() as elsewhere:
        table = elsewhere.create_table("bronze.t", {"n": "BIGINT"})
        table.append([{"n": 7}])
    outside = place.storage("outside/of it")
    inside = place.storage("lake").child(table.uri.partition("/lake/")[2])
    for item in inside.list():
        outside.put(item.path, inside.read(item.path))
    registered = lake.register_table("gold.t", outside.uri)
    registered.append([{"n": 8}])
    assert rows(other.sql("SELECT * FROM gold.t")) == [(7,), (8,)]
    assert rows(other.sql("SELECT * FROM bronze.t")) == [(7,)]
    assert [info.managed for info in other.tables()] == [True, False]
    with pytest.raises(lakehouse.LakehouseError, match=r"gold\.t"):
        lake.register_table("silver.again", outside.uri)
    with pytest.raises(lakehouse.NotFoundError):
        lake.register_table("silver.none", place.storage("nothing").uri)
