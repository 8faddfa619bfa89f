"""doctor: a healthy lake, and several sick ones."""

from pathlib import Path

from tests.cli.conftest import Run


def data_file(lake: Path) -> Path:
    return next(iter(sorted((lake / "silver").rglob("*.parquet"))))


def test_healthy(run: Run, lake: Path) -> None:
    outcome = run("doctor", "--json")
    assert outcome.code == 0
    report = outcome.json
    assert report["healthy"] is True
    assert {"python", "duckdb", "deltalake", "pyarrow", "obstore"} <= set(report["versions"])
    assert set(report["extras"]) == {"aws", "demo", "pandas", "polars", "ray", "s3", "worker"}
    (table,) = report["tables"]
    assert table["deltalake"] is True
    assert (table["version"], table["files"], table["problems"]) == (2, 3, [])
    assert not list(lake.glob("_probe*"))
    text = run("doctor")
    assert "deltalake agrees" in text.out
    assert text.err == "Healthy.\n"


def test_without_a_lake(run: Run) -> None:
    outcome = run("doctor")
    assert outcome.code == 0
    assert "no lake is named" in outcome.out
    assert run("doctor", "--lake", "nope").code == 1


def test_missing_and_changed_files(run: Run, lake: Path) -> None:
    first, second, _ = sorted((lake / "silver").rglob("*.parquet"))
    first.unlink()
    second.write_bytes(b"short")
    outcome = run("doctor", "--json")
    assert outcome.code == 1
    (table,) = outcome.json["tables"]
    assert table["problems"][0] == "1 of 3 data files are missing"
    assert table["problems"][1].startswith("1 data files have another size")
    assert len(table["missing"]) == 1
    assert "Not healthy." in run("doctor").err


def test_a_log_that_contradicts_itself_is_found_by_a_deep_look(run: Run, lake: Path) -> None:
    assert run("doctor", "--deep").code == 0
    log = next((lake / "silver").rglob("00000000000000000001.json"))
    with log.open("a") as file:
        file.write('{"remove": {"path": "never.parquet", "dataChange": true}}\n')
    assert run("doctor").code == 0
    outcome = run("doctor", "--deep", "--json")
    assert outcome.code == 1
    (problem,) = outcome.json["tables"][0]["problems"]
    assert problem == "version 1: removes never.parquet, which is not live (removes)"


def test_damaged_log(run: Run, lake: Path) -> None:
    run("create", "gold.days", "-c", "day DATE")
    next((lake / "silver").rglob("00000000000000000001.json")).write_text("{")
    outcome = run("doctor", "--json")
    assert outcome.code == 1
    assert [table["version"] for table in outcome.json["tables"]] == [0, None]
    assert run("doctor", "gold.days").code == 0
    assert run("doctor", "gold.dayz").code == 3


def test_damaged_catalog(run: Run, lake: Path) -> None:
    for path in (lake / "_catalog").rglob("*.json*"):
        path.write_text("{")
    assert run("doctor").code == 1
