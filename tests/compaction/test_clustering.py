"""Curves: their shape, and what sorting along them is worth for values of any kind."""

import itertools
from pathlib import Path

import pytest

import compaction
import lakehouse
from compaction import Policy
from lakehouse.table.clustering import Clustering, _hilbert, sort_key


@pytest.mark.parametrize(("count", "bits"), [(2, 6), (3, 4), (4, 3)])
def test_a_hilbert_curve_meets_each_cell_once_and_moves_by_one(count: int, bits: int) -> None:
    places = _hilbert(count, bits)
    cells = list(itertools.product(range(1 << bits), repeat=count))
    path: list[tuple[int, ...]] = [()] * len(cells)
    for cell, place in zip(cells, places, strict=True):
        path[place] = cell
    assert sorted(places) == list(range(len(cells)))
    steps = (zip(a, b, strict=True) for a, b in itertools.pairwise(path))
    assert {sum(abs(x - y) for x, y in step) for step in steps} == {1}


def test_a_z_order_interleaves_the_ranks(tmp_path: Path) -> None:
    clustering = Clustering(("a", "b"))
    quantiles = (str(list(range(1, 64))),) * 2
    cell = sort_key(clustering, ("a", "b"), quantiles)
    with lakehouse.connect(tmp_path / "lake", durable=False) as lake:
        found = lake.sql(
            f"SELECT a, b, {cell} FROM range(64) AS x(a), range(64) AS y(b)"
        ).fetchall()
        (last,) = lake.sql(f"SELECT {cell} FROM (SELECT NULL AS a, NULL AS b)").fetchall()

    def interleaved(a: int, b: int) -> int:
        return sum((a >> i & 1) << (2 * i + 1) | (b >> i & 1) << (2 * i) for i in range(6))

    assert all(place == interleaved(a, b) for a, b, place in found)
    assert last == (64 * 64 - 1,)


KINDS = {
    "BIGINT": "(hash(range) % 1000000)::BIGINT",
    "VARCHAR": "md5(range::VARCHAR)",
    "DATE": "DATE '2000-01-01' + (hash(range) % 9000)::INTEGER",
    "TIMESTAMP": "TIMESTAMP '2000-01-01' + to_seconds(hash(range) % 100000000)",
    "TIMESTAMPTZ": "TIMESTAMPTZ '2000-01-01 00:00:00+00' + to_seconds(hash(range) % 100000000)",
    "DECIMAL(12, 3)": "((hash(range) % 1000000) / 7)::DECIMAL(12, 3)",
    "DOUBLE": "exp((hash(range) % 1000) / 50)",
}


@pytest.mark.parametrize("type_", KINDS)
def test_any_type_is_sorted_together_with_another(tmp_path: Path, type_: str) -> None:
    with lakehouse.connect(tmp_path / "lake", durable=False) as lake:
        table = lake.create_table("silver.t", {"a": type_, "b": "INTEGER"})
        table.append(
            lake.sql(
                f"SELECT CASE WHEN range % 10 > 0 THEN {KINDS[type_]} END AS a, "
                "(hash(range, 7) % 1000)::INTEGER AS b FROM range(40000)"
            )
        )
        paths = table.files()["path"].to_pylist()
        size = table.detail().bytes
        table.rewrite(paths, cluster_by=["A", "b"], file_bytes=size // 16)
        files = table.detail().files
        assert files >= 8
        (low,) = lake.sql("SELECT median(b) FROM silver.t").fetchall()
        (value,) = lake.sql("SELECT quantile_disc(a, 0.3) FROM silver.t").fetchall()
        for where, parameter in (("b = ?", int(low[0])), ("a = ?", value[0])):
            (scan,) = lake.explain(f"SELECT * FROM silver.t WHERE {where}", [parameter]).tables
            assert scan.files_kept <= files * 0.6
            found = lake.sql(f"SELECT count(*) FROM silver.t WHERE {where}", [parameter])
            assert found.fetchall()[0][0] > 0


def test_a_table_larger_than_memory_is_sorted(tmp_path: Path) -> None:
    config: dict[str, str | int | float | bool] = {"memory_limit": "150MB", "threads": 2}
    with lakehouse.connect(tmp_path / "lake", durable=False, duckdb_config=config) as lake:
        table = lake.create_table("silver.t", {"a": "BIGINT", "b": "VARCHAR", "c": "VARCHAR"})
        rows = "SELECT (hash(range, {0}) % 1000000)::BIGINT AS a, md5(range::VARCHAR) AS b, "
        rows += "sha256(range::VARCHAR) AS c FROM range(400000)"
        for seed in range(3):
            table.append(lake.sql(rows.format(seed)))
        sums = "SELECT count(*), sum(hash(a, b, c)) FROM silver.t"
        before = lake.sql(sums).fetchall()
        size = table.detail().bytes
        assert size > 100 << 20
        policy = Policy(target_bytes=size // 8, cluster_by=("a", "b"))
        (report,) = compaction.run(lake, policy=policy)
        assert report.problems == ()
        assert report.bytes_rewritten == size
        assert lake.sql(sums).fetchall() == before


def test_columns_may_have_any_name(tmp_path: Path) -> None:
    names = ["rowid", "one", "it", "h", "k0", "q0", "v", "n", "file_index", 'a "b"', "row number"]
    with lakehouse.connect(tmp_path / "lake", durable=False) as lake:
        table = lake.create_table("silver.t", dict.fromkeys(names, "BIGINT"))
        for n in range(3):
            table.append([{name: (n * 7 + i) % 5 for i, name in enumerate(names)}] * 4)
        before = sorted(table.read().fetchall())
        paths = table.files()["path"].to_pylist()
        table.rewrite(paths, cluster_by=["one", "rowid", "k0"], file_bytes=1)
        assert sorted(table.read().fetchall()) == before


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["nothing"], "cannot be clustered by 'nothing'"),
        (["a", "a"], "cannot be clustered by a, a"),
        (list("abcde"), "cannot be clustered by a, b, c, d, e"),
        (["flag"], "cannot be clustered by 'flag'"),
        (["part"], "cannot be clustered by 'part'"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, columns: list[str], message: str) -> None:
    with lakehouse.connect(tmp_path / "lake", durable=False) as lake:
        schema = {"a": "BIGINT", "flag": "BOOLEAN", "part": "VARCHAR"}
        table = lake.create_table("silver.t", schema, partition_by=["part"])
        table.append([{"a": 1, "flag": True, "part": "x"}])
        with pytest.raises(lakehouse.InputError, match=message):
            table.rewrite(table.files()["path"].to_pylist(), cluster_by=columns)
        with pytest.raises(lakehouse.InputError, match="no curve 'spiral'"):
            table.rewrite([], cluster_by=["a"], curve="spiral")  # type: ignore[arg-type]
