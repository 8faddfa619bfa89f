"""The lake as a user meets it: tables by name, SQL over them, time travel, other engines."""

import json
import threading
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import deltalake
import duckdb
import polars as pl
import pyarrow as pa
import pytest

import lakehouse
from lakehouse.delta.codec import to_lines


@pytest.fixture
def lake(tmp_path):
    with lakehouse.connect(tmp_path / "lake", durable=False) as lake:
        yield lake


@pytest.fixture
def flights(lake):
    table = lake.create_table(
        "silver.flights",
        {"carrier": "VARCHAR", "day": "DATE", "delay": "INTEGER"},
        partition_by="carrier",
        description="one row a flight",
        properties={"owner.team": "data"},
    )
    for number, carrier in enumerate(["AA", "UA", "DL"]):
        table.append([{"carrier": carrier, "day": date(2013, 1, 1 + number), "delay": number}])
    return table


@pytest.mark.parametrize("form", ["path", "file uri", "text"])
def test_a_lake_is_created_once_and_opened_again(tmp_path, form):
    place = {"path": tmp_path, "file uri": tmp_path.as_uri(), "text": str(tmp_path)}[form]
    with pytest.raises(lakehouse.NotFoundError):
        lakehouse.connect(place, create=False)
    with lakehouse.connect(place) as lake:
        lake.create_table("gold.a", {"n": "BIGINT"}).append([{"n": 1}])
        assert lake.layers() == ["bronze", "silver", "gold"]
    with lakehouse.connect(place, create=False) as lake:
        assert lake.sql("SELECT * FROM gold.a").fetchall() == [(1,)]
        assert Path(lake.uri) == tmp_path


def test_tables_are_found_renamed_dropped_and_brought_back(lake, flights):
    lake.declare_layer("platinum")
    assert [info.name for info in lake.tables()] == ["silver.flights"]
    assert lake.tables(layer="gold") == []
    renamed = lake.rename_table("silver.flights", "platinum.trips")
    assert (renamed.uri, renamed.version) == (flights.uri, 3)
    assert lake.sql("SELECT count(*) FROM platinum.trips").fetchall() == [(3,)]
    report = lake.drop_table("platinum.trips")
    assert report.files_deleted == 0
    with pytest.raises(lakehouse.NotFoundError):
        lake.sql("SELECT * FROM platinum.trips")
    back = lake.register_table("gold.trips", report.uri)
    assert len(back.read().fetchall()) == 3
    assert [info.managed for info in lake.tables()] == [False]
    with pytest.raises(lakehouse.InputError, match="registered"):
        lake.drop_table("gold.trips", purge=True)


def test_purge_deletes_the_files_and_the_folder(lake, flights):
    assert lake.drop_table("silver.flights", purge=True).files_deleted == 7
    assert not Path(flights.uri).exists()


def test_locations_never_overlap(lake, flights, tmp_path):
    with pytest.raises(lakehouse.LakehouseError, match=r"silver\.flights"):
        lake.register_table("gold.again", flights.uri)
    outside = tmp_path / "outside"
    deltalake.write_deltalake(outside, pa.table({"a": [1]}))
    deltalake.write_deltalake(outside / "inner", pa.table({"a": [1]}))
    lake.register_table("gold.outer", outside)
    with pytest.raises(lakehouse.LakehouseError):
        lake.register_table("gold.inner", outside / "inner")


def test_a_schema_comes_from_arrow_types_or_rows(lake):
    schema = pa.schema(
        [
            pa.field("id", pa.int64(), nullable=False),
            pa.field("tags", pa.list_(pa.string()), metadata={"comment": "free words"}),
        ]
    )
    by_arrow = lake.create_table("bronze.a", schema)
    assert by_arrow.schema.field("id").nullable is False
    assert by_arrow.schema.field("tags").metadata == {b"comment": b"free words"}
    by_rows = lake.create_table("bronze.b", [{"id": 1, "name": "x"}])
    assert by_rows.schema == pa.schema([("id", pa.int64()), ("name", pa.string())])
    assert by_rows.version == 0
    by_relation = lake.create_table("bronze.c", lake.sql("SELECT 1::DECIMAL(9,2) AS d"))
    assert by_relation.schema.field("d").type == pa.decimal128(9, 2)
    again = lake.create_table("bronze.c", {"other": "DATE"}, if_not_exists=True)
    assert again.schema == by_relation.schema


def test_a_table_describes_itself(lake, flights):
    detail = flights.detail()
    assert (detail.rows, detail.files, detail.version) == (3, 3, 3)
    assert (detail.min_reader, detail.min_writer) == (1, 2)
    assert (detail.description, detail.partition_by) == ("one row a flight", ("carrier",))
    assert flights.properties["owner.team"] == "data"
    files = flights.files().to_pylist()
    assert [file["partition.carrier"] for file in files] == ["AA", "UA", "DL"]
    assert [(file["min.delay"], file["null_count.delay"]) for file in files] == [
        (0, 0),
        (1, 0),
        (2, 0),
    ]
    flights.append([{"delay": 9}], metadata={"run": 7})
    newest, *older = flights.history()
    assert (newest.operation, newest.metadata, len(older)) == ("WRITE", {"run": 7}, 4)
    assert [commit.version for commit in flights.history(2)] == [4, 3]


def test_sql_sees_views_ctes_joins_and_parameters(lake, flights):
    lake.create_table("gold.names", {"carrier": "VARCHAR", "name": "VARCHAR"}).append(
        [{"carrier": "AA", "name": "American"}]
    )
    joined = lake.sql(
        """
        WITH late AS (SELECT * FROM silver.flights WHERE delay >= $least)
        SELECT n.name, "silver"."flights".delay -- silver.nothing
        FROM SILVER.Flights JOIN gold.names n USING (carrier)
        WHERE n.name <> 'gold.names' AND carrier NOT IN (SELECT carrier FROM late)
        """,
        {"least": 1},
    )
    assert joined.fetchall() == [("American", 0)]
    assert joined.to_arrow_table().to_pylist() == [{"name": "American", "delay": 0}]
    assert joined.pl().height == 1
    assert joined.df().shape == (1, 2)


def test_time_travel_by_version_time_and_parameters(lake, flights):
    count = "SELECT count(*) FROM silver.flights AT (VERSION => {})"
    assert lake.sql(count.format(1)).fetchall() == [(1,)]
    assert lake.sql(count.format("$v"), {"v": 2}).fetchall() == [(2,)]
    assert lake.sql(count.format("?") + " WHERE delay < ?", [3, 2]).fetchall() == [(2,)]
    both = lake.sql(
        "SELECT old.delay, flights.delay FROM silver.flights AT (VERSION => 1) AS old "
        "RIGHT JOIN silver.flights USING (carrier) ORDER BY 2"
    )
    assert both.fetchall() == [(0, 0), (None, 1), (None, 2)]
    times = {commit.version: commit.timestamp for commit in flights.history()}
    moment = times[2] + (times[3] - times[2]) / 2
    text = moment.isoformat()
    assert flights.read(timestamp=moment).to_arrow_table().num_rows == 2
    at = f"SELECT count(*) FROM silver.flights AT (TIMESTAMP => '{text}')"
    assert lake.sql(at).fetchall() == [(2,)]
    assert len(flights.read(timestamp=datetime.now(UTC) + timedelta(days=1)).fetchall()) == 3


def test_explain_says_which_files_are_skipped_and_why(lake, flights):
    found = lake.explain("SELECT sum(delay) FROM silver.flights WHERE carrier = 'UA'")
    (scan,) = found.tables
    assert (scan.files_total, scan.files_kept, scan.rows_kept) == (3, 1, 1)
    assert scan.bytes_kept < scan.bytes_total
    assert "carrier" in scan.predicate
    assert set(scan.columns) == {"carrier", "delay"}
    assert "1 of 3 files" in str(found)
    assert json.loads(json.dumps(found.to_dict()))["tables"][0]["name"] == "silver.flights"
    by_bounds = lake.explain("SELECT * FROM silver.flights WHERE day > DATE '2013-01-02'")
    assert by_bounds.tables[0].files_kept == 1
    in_vain = lake.explain("SELECT * FROM silver.flights WHERE hash(delay) = 3")
    assert in_vain.tables[0].files_kept == 3


def test_restore_brings_rows_and_columns_back(lake, flights):
    flights.overwrite([{"carrier": "XX", "extra": 1.5}], schema_mode="overwrite")
    assert flights.schema.names == ["carrier", "extra"]
    report = flights.restore(3)
    assert (report.files_added, report.files_removed) == (3, 1)
    assert flights.schema.names == ["carrier", "day", "delay"]
    assert len(flights.read().fetchall()) == 3
    assert flights.restore(3).version == flights.version == 5
    Path(flights.uri, flights.files(version=4)["path"][0].as_py()).unlink()
    with pytest.raises(lakehouse.StorageError, match="cannot be restored"):
        flights.restore(4)


def test_restore_brings_back_a_feature_that_another_engine_dropped(lake, flights):
    before = flights.snapshot()
    flights.alter().rename_column("delay", "late")
    mapped = flights.version
    dropped = to_lines([before.protocol, before.metadata])
    before.storage.put(f"_delta_log/{mapped + 1:020d}.json", dropped)
    assert "columnMapping" not in flights.detail().features
    flights.restore(mapped)
    assert flights.schema.names[-1] == "late"
    assert "columnMapping" in flights.detail().features
    assert len(flights.read(columns=["late"]).fetchall()) == 3


def _by_plain_duckdb(uri):
    """Return rows with nothing but DuckDB: the log as JSON, its live files as Parquet."""
    with duckdb.connect() as connection:
        log = f"read_json('{uri}/_delta_log/*.json', format = 'newline_delimited', filename = true)"
        live = connection.sql(
            f"SELECT coalesce(add.path, remove.path) AS path, arg_max(add IS NOT NULL, filename) AS live "
            f"FROM {log} WHERE add IS NOT NULL OR remove IS NOT NULL GROUP BY path"
        ).fetchall()
        files = [f"{uri}/{path}" for path, kept in live if kept]
        names = "hive_partitioning = true, hive_types_autocast = false"
        query = f"SELECT carrier, day, delay FROM read_parquet({files!r}, {names})"
        return connection.sql(query).fetchall()


def test_other_engines_read_the_same_rows(lake, flights):
    flights.overwrite(flights.read(where="delay > 0"))
    flights.append([{"carrier": "AA", "day": None, "delay": None}])
    columns = "carrier, day, delay"
    ours = sorted(flights.read(columns=["carrier", "day", "delay"]).fetchall(), key=repr)
    builder = deltalake.QueryBuilder().register("t", deltalake.DeltaTable(flights.uri))
    peer = pa.table(builder.execute(f"SELECT {columns} FROM t").read_all())
    assert sorted((tuple(row.values()) for row in peer.to_pylist()), key=repr) == ours
    frame = pl.read_delta(flights.uri).select("carrier", "day", "delay")
    assert sorted(frame.rows(), key=repr) == ours
    assert sorted(_by_plain_duckdb(flights.uri), key=repr) == ours
    assert len(ours) == 3


def test_a_table_that_another_engine_writes_to_is_seen_at_once(lake, flights):
    deltalake.write_deltalake(
        flights.uri,
        pa.table({"carrier": ["B6"], "day": [None], "delay": pa.array([7], pa.int32())}).cast(
            flights.schema
        ),
        mode="append",
    )
    assert flights.version == 4
    assert flights.read(where="carrier = 'B6'", columns=["delay"]).fetchall() == [(7,)]


def test_a_lake_of_many_tables_answers_at_once(lake):
    names = [f"bronze.t{number}" for number in range(30)]
    for name in names:
        lake.create_table(name, {"n": "BIGINT"}).append([{"n": 1}])
    union = " UNION ALL ".join(f"SELECT n FROM {name}" for name in names)
    assert lake.sql(f"SELECT sum(n) FROM ({union})").fetchall() == [(30,)]


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("CREATE TABLE silver.x (i INT)", "create_table"),
        ("INSERT INTO silver.flights VALUES (1)", "append"),
        ("DELETE FROM silver.flights", "overwrite"),
        ("DROP TABLE silver.flights", "drop_table"),
        ("SET threads = 1", "duckdb_config"),
    ],
)
def test_a_statement_that_is_no_query_is_refused_with_the_method_to_call(lake, flights, sql, words):
    with pytest.raises(lakehouse.InputError, match=words):
        lake.explain(sql)
    with lake.snapshot() as view, pytest.raises(lakehouse.InputError, match=words):
        view.sql(sql)
    assert len(flights.read().fetchall()) == 3


def test_a_table_named_without_its_layer_is_guessed_in_the_error(lake, flights):
    with pytest.raises(lakehouse.NotFoundError, match=r"silver\.flights"):
        lake.sql("SELECT * FROM flights")


def test_a_query_that_runs_can_be_stopped(lake):
    endless = lake.sql("SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b")
    timer = threading.Timer(0.3, lake.interrupt)
    timer.start()
    with pytest.raises((duckdb.Error, RuntimeError), match=r"(?i)interrupt"):
        endless.fetchall()
    timer.join()
    assert lake.sql("SELECT 1").fetchall() == [(1,)]


def test_settings_reach_the_embedded_duckdb(tmp_path):
    config: dict[str, str | int] = {
        "threads": 1,
        "memory_limit": "200MB",
        "TimeZone": "Europe/Rome",
    }
    with lakehouse.connect(tmp_path, duckdb_config=config) as lake:
        query = "SELECT current_setting('threads'), current_setting('TimeZone')"
        assert lake.sql(query).fetchall() == [(1, "Europe/Rome")]
    with pytest.raises(lakehouse.LakehouseError, match="threds"):
        lakehouse.connect(tmp_path, duckdb_config={"threds": 1})


def test_now_is_one_moment_in_planning_and_running(lake):
    table = lake.create_table("bronze.t", {"at_time": "TIMESTAMPTZ"})
    table.append([{"at_time": datetime.now(UTC) - timedelta(days=2)}])
    table.append([{"at_time": datetime.now(UTC) + timedelta(days=2)}])
    recent = "SELECT count(*) FROM bronze.t WHERE at_time > now() - INTERVAL 1 DAY"
    assert lake.sql(recent).fetchall() == [(1,)]
    assert lake.explain(recent).tables[0].files_kept == 1
    assert lake.sql("SELECT count(*) FROM bronze.t WHERE at_time < current_date").fetchall() == [
        (1,)
    ]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT carrier, delay FROM silver.flights;",
        "-- a remark first\nSELECT carrier, delay FROM silver.flights -- and last",
        "WITH f AS (FROM silver.flights) SELECT carrier, delay FROM f ORDER BY delay",
        "FROM silver.flights SELECT carrier, delay",
        "VALUES ('AA', 0), ('UA', 1), ('DL', 2)",
        "SELECT carrier, delay FROM silver.flights WHERE delay < now()::DATE - DATE '2000-01-01'",
        "PIVOT silver.flights ON day USING count(*)",
    ],
)
def test_queries_of_every_form_can_be_appended(lake, flights, query):
    rows = lake.sql(query)
    target = lake.create_table("gold.copy", rows)
    assert target.append(rows).rows == 3
    assert sorted(target.read().fetchall(), key=repr) == sorted(rows.fetchall(), key=repr)
    assert target.append(rows.limit(1)).rows == 1
    assert target.append(lake.sql("FROM gold.copy")).rows == 4


def test_rows_of_a_query_that_do_not_fit_are_counted(lake, flights):
    target = lake.create_table("gold.small", {"carrier": "VARCHAR", "delay": "TINYINT"})
    with pytest.raises(lakehouse.DataError, match="in 1 row") as caught:
        target.append(lake.sql("SELECT carrier, delay * 100 AS delay FROM silver.flights"))
    assert (caught.value.column, caught.value.count) == ("delay", 1)
    assert target.version == 0
