"""Requests to an object store, counted: each takes its time, so none is made without need."""

from collections.abc import Iterator

import pytest

import lakehouse
from lakehouse.scan import footers
from lakehouse.testing import FaultProxy, Request


@pytest.fixture
def proxy(server) -> Iterator[FaultProxy]:
    with FaultProxy(server("minio").endpoint) as running:
        yield running


@pytest.fixture
def place(server, proxy) -> tuple[str, dict[str, str]]:
    store = server("minio")
    return f"{store.bucket()}/lake", {**store.options(), "endpoint_url": proxy.url}


@pytest.fixture
def lake(place) -> Iterator[lakehouse.Lake]:
    """Give a lake with a table of 13 files of 100 rows, with a checkpoint at version 10."""
    with lakehouse.connect(place[0], **place[1]) as opened:
        table = opened.create_table("bronze.trips", {"id": "BIGINT", "km": "DOUBLE"})
        for start in range(0, 1300, 100):
            table.append([{"id": start + i, "km": 1.5} for i in range(100)])
            opened.settle()
        yield opened


PRUNED = "SELECT count(*), sum(km) FROM bronze.trips WHERE id BETWEEN 350 AND 449"


def data_files(requests: tuple[Request, ...]) -> list[str]:
    return [request.path for request in requests if "/part-" in request.path]


def test_opening_a_lake_is_one_list_and_one_document(lake, place, proxy):
    proxy.forget()
    with lakehouse.connect(place[0], **place[1]):
        assert proxy.counted() == {"list": 1, "read": 1}


def test_a_first_query_reads_the_log_once_and_the_files_that_may_match(lake, place, proxy):
    with lakehouse.connect(place[0], **place[1]) as other:
        proxy.forget()
        assert other.sql(PRUNED).fetchall() == [(100, 150.0)]
        requests = proxy.requests
    assert len(set(data_files(requests))) == len(data_files(requests)) == 2
    logs = [request.path.rpartition("/")[2] for request in requests if request.call == "read"]
    assert sorted(name for name in logs if not name.startswith("part-")) == [
        f"{10:020d}.checkpoint.parquet",
        *(f"{version:020d}.json" for version in (11, 12, 13)),
    ]
    # The catalog's and the table's.
    assert proxy.counted() == {"list": 2, "read": 6}


def test_a_second_query_asks_for_news_only(lake, proxy):
    lake.sql(PRUNED).fetchall()
    proxy.forget()
    assert lake.sql(PRUNED).fetchall() == [(100, 150.0)]
    assert lake.sql(PRUNED.replace("sum(km)", "max(id)")).fetchall() == [(100, 449)]
    assert proxy.counted() == {"list": 4}


def test_queries_of_a_snapshot_ask_for_no_news(lake, proxy):
    lake.create_table("bronze.other", {"id": "BIGINT"})
    lake.sql(PRUNED).fetchall()
    proxy.forget()
    with lake.snapshot() as view:
        assert proxy.counted() == {"list": 3}  # the catalog and each table, at its beginning
        for _ in range(3):
            assert view.sql(PRUNED).fetchall() == [(100, 150.0)]
    assert proxy.counted() == {"list": 3}


def test_a_refresh_is_one_list_and_the_new_commits(lake, place, proxy):
    table = lake.table("bronze.trips")
    assert table.version == 13
    proxy.forget()
    assert table.version == 13
    assert proxy.counted() == {"list": 1}
    with lakehouse.connect(place[0], **place[1]) as other:
        other.table("bronze.trips").append([{"id": 5000, "km": 2.0}])
    proxy.forget()
    assert table.version == 14
    assert proxy.counted() == {"list": 1, "read": 1}


def test_an_append_is_a_refresh_and_two_puts(lake, proxy):
    table = lake.table("bronze.trips")
    proxy.forget()
    table.append([{"id": 5000, "km": 2.0}])
    assert proxy.counted() == {"list": 1, "put": 1, "put_if_absent": 1}


def test_footers_are_read_once_in_a_process(lake, proxy):
    everything = "SELECT count(*), sum(km) FROM bronze.trips"
    lake.sql(everything).fetchall()
    proxy.forget()
    assert lake.sql(everything).fetchall() == [(1300, 1950.0)]
    assert data_files(proxy.requests) == []


def test_files_that_a_join_looks_at_first_are_fetched_once(lake, place, proxy, monkeypatch):
    monkeypatch.setattr(footers, "MANY_ROWS", 1)
    joined = "SELECT count(*) FROM bronze.trips AS a JOIN bronze.trips AS b USING (id)"
    with lakehouse.connect(place[0], **place[1]) as other:
        proxy.forget()
        other.explain(joined)
        assert data_files(proxy.requests) == []
        assert other.sql(joined).fetchall() == [(1300,)]
        found = data_files(proxy.requests)
        assert len(set(found)) == len(found) == 13
        proxy.forget()
        assert other.sql(joined).fetchall() == [(1300,)]
        assert data_files(proxy.requests) == []


def test_explaining_a_query_reads_no_data(lake, place, proxy):
    with lakehouse.connect(place[0], **place[1]) as other:
        proxy.forget()
        (scan,) = other.explain(PRUNED).tables
        assert (scan.files_kept, scan.files_total) == (2, 13)
        assert data_files(proxy.requests) == []
