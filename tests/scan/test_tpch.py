"""TPC-H's queries give what DuckDB gives on the same files, whatever is skipped."""

import duckdb
import pytest

import lakehouse
from benchmarks.queries import built_tpch
from benchmarks.tpch import QUERIES, TABLES
from lakehouse.scan import probe


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Give a lake, and a connection with views of the same names over the same files."""
    home = built_tpch(tmp_path_factory.mktemp("tpch") / "lake", 0.01, files=3)
    with (
        pytest.MonkeyPatch.context() as patch,
        lakehouse.connect(home) as lake,
        duckdb.connect() as raw,
    ):
        # Joins are to decide here, too, though the files are few.
        patch.setattr(probe, "MANY_FILES", 2)
        patch.setattr(probe, "_SHARE", 0)
        raw.execute("CREATE SCHEMA gold")
        for name in TABLES:
            files = f"read_parquet('{home}/raw/{name}/*.parquet')"
            raw.execute(f"CREATE VIEW gold.{name} AS FROM {files}")
        yield lake, raw


@pytest.mark.parametrize("number", QUERIES)
def test_queries(both, number):
    lake, raw = both
    assert comparable(lake.sql(QUERIES[number])) == comparable(raw.sql(QUERIES[number]))


def comparable(relation):
    """Return rows in which sums of floating point are equal in any order."""
    return [
        tuple(f"{value:.9g}" if isinstance(value, float) else value for value in row)
        for row in relation.fetchall()
    ]
