"""Other libraries reach the lake's bucket with the lake's keys: deltalake, and what takes fsspec."""

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet
import pytest

import lakehouse
from catalog import InputError, StorageError
from catalog.storage import open_storage

ROWS = pa.table({"n": [1, 2, 3]})


@pytest.fixture(params=["minio", "azurite"])
def lake(request, server):
    store = server(request.param)
    with lakehouse.connect(f"{store.bucket()}/lake", **store.options()) as lake:
        yield lake


def test_deltalake_reads_with_the_same_keys(lake):
    table = lake.create_table("bronze.t", {"n": "BIGINT"})
    table.append(ROWS)
    theirs = table.to_deltalake()
    assert theirs.version() == table.version
    assert theirs.get_add_actions().num_rows == 1


def test_files_beside_the_tables(lake):
    files = lake.filesystem()
    folder = f"{lake.uri}/landing/day=1"
    with files.open(f"{folder}/a.parquet", "wb") as file:
        pyarrow.parquet.write_table(ROWS, file)
    assert pyarrow.parquet.read_table(f"{folder}/a.parquet", filesystem=files)["n"].to_pylist() == [
        1, 2, 3,
    ]  # fmt: skip
    assert pyarrow.dataset.dataset(folder, filesystem=files).count_rows() == 3
    assert pd.read_parquet(f"{folder}/a.parquet", filesystem=files)["n"].sum() == 6
    with files.open(f"{folder}/a.parquet") as file:
        assert pl.read_parquet(file)["n"].sum() == 6
    assert files.find(f"{lake.uri}/landing") == [f"{folder}/a.parquet"]
    assert files.glob(f"{lake.uri}/landing/**/*.parquet") == [f"{folder}/a.parquet"]
    # DuckDB reads it by the same way, and the lake loads it.
    assert lake.sql(f"SELECT sum(n) FROM '{folder}/a.parquet'").fetchall() == [(6,)]
    files.rm(f"{folder}/a.parquet")
    assert not files.exists(f"{folder}/a.parquet")


def test_files_that_are_rewritten_by_others_are_read_anew(lake):
    """Files in the lake's folder are no data files of a table: they may change."""
    place = lake.catalog.storage
    files = lake.filesystem()
    files._ends._clock = iter(range(0, 1000, 10)).__next__
    for content in (b"old", b"newer"):
        place.put("landing/a.csv", content)
        assert files.cat_file(f"{lake.uri}/landing/a.csv") == content


def test_another_bucket_of_the_same_server(lake, server):
    store = server("minio" if lake.uri.startswith("s3") else "azurite")
    bucket = store.bucket()
    open_storage(bucket, **store.options()).put("a.txt", b"there")
    assert lake.filesystem().cat_file(f"{bucket}/a.txt") == b"there"


def test_a_missing_table_is_an_error_of_ours(lake):
    table = lake.create_table("bronze.t", {"n": "BIGINT"})
    with pytest.raises(StorageError, match="deltalake cannot open"):
        table.to_deltalake(version=99)


def test_local_disk_needs_none(tmp_path):
    with lakehouse.connect(tmp_path) as lake, pytest.raises(InputError, match="on local disk"):
        lake.filesystem()


def test_a_connection_string_opens_a_lake(server, monkeypatch):
    azurite = server("azurite")
    uri, options = azurite.bucket(), azurite.options()
    text = (
        f"DefaultEndpointsProtocol=http;AccountName={options['account_name']};"
        f"AccountKey={options['account_key']};BlobEndpoint={options['endpoint_url']}"
    )
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "c29tZWJvZHkgZWxzZSdz")
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", "sv=1&sig=somebody-elses")
    with lakehouse.connect(uri, connection_string=text) as lake:
        table = lake.create_table("bronze.t", {"n": "BIGINT"})
        table.append(ROWS)
        assert lake.sql("SELECT sum(n) FROM bronze.t").fetchall() == [(6,)]
        assert table.to_deltalake().version() == 1
