"""load: files of all formats, new tables and old ones, and rows that do not fit."""

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import lakehouse
from lakehouse.cli.files import Source
from tests.cli.conftest import Run

CSV = "id,name\n1,a\n2,NA\n"
NDJSON = '{"id": 1, "name": "a"}\n{"id": 2, "name": null}\n'
FILES = {
    "a.csv": CSV.encode(),
    "a.TSV": CSV.replace(",", "\t").encode(),
    "a.csv.gz": gzip.compress(CSV.encode()),
    "a.json": f"[{NDJSON.strip().replace(chr(10), ',')}]".encode(),
    "a.ndjson": NDJSON.encode(),
    "a.jsonl.gz": gzip.compress(NDJSON.encode()),
}


def rows(run: Run, table: str) -> list[tuple[object, ...]]:
    lines = run("sql", f"select * from {table} order by all", "--json").lines
    return [tuple(line.values()) for line in lines]


@pytest.mark.parametrize("name", FILES)
def test_formats(run: Run, lake: Path, folder: Path, name: str) -> None:
    (folder / name).write_bytes(FILES[name])
    report = run("load", "bronze.a", name, "--json").json
    assert (report["created"], report["rows"], report["version"]) == (True, 2, 1)
    assert [row[0] for row in rows(run, "bronze.a")] == [1, 2]


def test_parquet_and_zst(run: Run, lake: Path, folder: Path) -> None:
    table = pa.table({"id": [1, 2], "at": pa.array([0, 1], pa.timestamp("us", "UTC"))})
    pq.write_table(table, folder / "a.parquet")
    with pa.CompressedOutputStream(str(folder / "b.csv.zst"), "zstd") as file:
        file.write(CSV.encode())
    assert run("load", "bronze.a", "a.parquet").code == 0
    assert run("load", "bronze.b", "b.csv.zst").code == 0
    assert len(rows(run, "bronze.a")) == len(rows(run, "bronze.b")) == 2


def test_globs_match_columns_by_name(run: Run, lake: Path, folder: Path) -> None:
    (folder / "1.csv").write_text("id,name\n1,a\n")
    (folder / "2.csv").write_text("name,id,extra\nb,2,x\n")
    report = run("load", "bronze.a", "?.csv", "--json").json
    assert report["rows"] == 2
    assert rows(run, "bronze.a") == [(1, "a", None), (2, "b", "x")]


def test_a_file_whose_name_looks_like_a_glob(run: Run, lake: Path, folder: Path) -> None:
    (folder / "a[1]*.csv").write_text(CSV)
    (folder / "a1b.csv").write_text("id,name\n9,z\n")
    assert run("load", "bronze.a", "a[1]*.csv").code == 0
    assert [row[0] for row in rows(run, "bronze.a")] == [1, 2]


def test_options_and_format(run: Run, lake: Path, folder: Path) -> None:
    (folder / "it's.dat").write_text("id;name\n1;a\n2;NA\n")
    args = ("-o", "delim=;", "-o", "nullstr=NA", "-o", "columns={'id': 'INT', 'name': 'VARCHAR'}")
    assert run("load", "bronze.a", "it's.dat").code == 2
    assert run("load", "bronze.a", "it's.dat", "--format", "csv", *args).code == 0
    assert rows(run, "bronze.a") == [(1, "a"), (2, None)]


def test_modes(run: Run, lake: Path, folder: Path) -> None:
    (folder / "a.csv").write_text(CSV)
    for mode, count in (("append", 2), ("append", 4), ("overwrite", 2)):
        assert run("load", "bronze.a", "a.csv", "--mode", mode).code == 0
        assert len(rows(run, "bronze.a")) == count


def test_new_columns(run: Run, lake: Path, folder: Path) -> None:
    (folder / "a.csv").write_text(CSV)
    (folder / "b.csv").write_text("id,name,more\n3,c,x\n")
    run("load", "bronze.a", "a.csv")
    assert run("load", "bronze.a", "b.csv", "--json").error["type"] == "DataError"
    assert len(rows(run, "bronze.a")) == 2
    assert run("load", "bronze.a", "b.csv", "--schema-mode", "add").code == 0
    assert rows(run, "bronze.a")[2] == (3, "c", "x")


def test_partition_by(run: Run, lake: Path, folder: Path) -> None:
    (folder / "a.csv").write_text("id,year,month\n1,2013,1\n2,2013,2\n")
    assert run("load", "bronze.a", "a.csv", "--partition-by", "year, month").code == 0
    assert run("show", "bronze.a", "--json").json["partition_by"] == ["year", "month"]
    again = run("load", "bronze.a", "a.csv", "--partition-by", "id")
    assert again.code == 2
    assert "partitioned by year, month" in again.err


class TestNothingIsLeft:
    def test_missing_file(self, run: Run, lake: Path) -> None:
        assert run("load", "bronze.a", "nope.csv", "--json").error["type"] == "StorageError"
        assert run("ls", "bronze", "--json").json == []

    def test_missing_layer(self, run: Run, lake: Path, folder: Path) -> None:
        (folder / "a.csv").write_text(CSV)
        assert run("load", "raw.a", "a.csv").code == 3

    def test_rows_that_cannot_be_read(self, run: Run, lake: Path, folder: Path) -> None:
        lines = "".join(f"{i},x\n" for i in range(30_000))
        (folder / "a.csv").write_text(f"id,name\n{lines}oops,x\n")
        error = run("load", "bronze.a", "a.csv", "--json").error
        assert error["type"] == "InputError"
        assert "Line: 30002" in error["message"]
        assert "--option" in error["next_step"]
        assert run("ls", "bronze", "--json").json == []
        assert list((lake / "bronze").rglob("*.parquet")) == []

    def test_rows_that_do_not_fit(self, run: Run, lake: Path, folder: Path) -> None:
        run("create", "bronze.a", "-c", "id SMALLINT", "-c", "name VARCHAR")
        (folder / "a.csv").write_text("id,name\n1,a\n99999,b\n")
        error = run("load", "bronze.a", "a.csv", "--json").error
        assert error["type"] == "DataError"
        assert "99999" in error["message"]
        assert run("show", "bronze.a", "--json").json["version"] == 0


def test_sql_quotes_names_and_values() -> None:
    sql = Source(("it's.csv",), options={"nullstr": "'"}).sql()
    assert sql == "SELECT * FROM read_csv(['it''s.csv'], nullstr = '''')"
    with pytest.raises(lakehouse.InputError, match="no name of an option"):
        Source(("a.csv",), options={"x = 1); drop": "1"}).sql()
    with pytest.raises(lakehouse.InputError, match="different formats"):
        Source(("a.csv", "b.parquet")).sql()
