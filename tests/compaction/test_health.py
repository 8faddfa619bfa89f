"""`lakehouse health`, `maintain --plan`, and what the lake says of itself in SQL."""

import datetime as dt
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import lakehouse
from compaction import Keeper, TableUpkeep, policy_command, upkeep
from compaction.cli import health, maintain
from compaction.condition import conditions
from compaction.reports import record_of
from lakehouse.lake.system import RUNS


@pytest.fixture
def lake(tmp_path: Path):
    with lakehouse.connect(tmp_path / "lake", durable=False) as opened:
        for name, properties in (
            ("bronze.a", {"lakehouse.clusterBy": "n"}),
            ("gold.b", {"lakehouse.upkeep": "false"}),
        ):
            table = opened.create_table(name, {"n": "BIGINT"}, properties=properties)
            for n in range(3):
                table.append([{"n": n}, {"n": n + 10}])
        yield opened


def run(app, *args: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, list(args))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def test_conditions(lake) -> None:
    keeper = Keeper(lake)
    before = {c.table: c for c in conditions(keeper)}
    assert {(c.files, c.small, c.last, c.healthy) for c in before.values()} == {(3, 3, None, True)}
    assert (before["bronze.a"].depth, before["gold.b"].depth) == (3.0, None)
    assert (before["bronze.a"].overdue, before["gold.b"].due) == (True, None)
    assert [r.table for r in upkeep(lake)] == ["bronze.a"]
    (after,) = conditions(keeper, ["bronze.a"])
    assert (after.files, after.depth, after.outcome, after.overdue) == (1, 1.0, "done", False)
    assert (after.histogram_before, after.histogram) == ((3, 0, 0, 0, 0, 0), (1, 0, 0, 0, 0, 0))
    list(upkeep(lake))  # which has nothing to do
    assert conditions(keeper, ["bronze.a"])[0].histogram_before == (3, 0, 0, 0, 0, 0)


def test_the_command(lake) -> None:
    list(upkeep(lake))
    code, out, err = run(health.app, "--lake", lake.uri)
    assert code == 0
    assert "bronze.a" in out
    assert "off" in out
    assert "1 runs, 2 files fewer" in err
    code, out, _ = run(health.app, "--lake", lake.uri, "--json")
    document = json.loads(out)
    assert (code, document["healthy"], document["saved"]["files"]) == (0, True, 2)
    assert [t["table"] for t in document["tables"]] == ["bronze.a", "gold.b"]


def test_what_is_wrong_is_told(lake) -> None:
    (Path(lake.table("bronze.a").uri) / "_delta_log" / f"{1:020}.json").write_text("{")
    with lakehouse.connect(lake.uri, create=False) as other:
        (report,) = upkeep(other)
        assert report.outcome == "failed"
    code, out, _ = run(health.app, "--lake", lake.uri, "--json")
    document = json.loads(out)
    assert (code, document["healthy"]) == (health.UNHEALTHY, False)
    wrong = next(t for t in document["tables"] if not t["healthy"])
    assert (wrong["table"], wrong["outcome"]) == ("bronze.a", "failed")
    assert wrong["problem"]


def test_a_plan_touches_nothing(lake) -> None:
    def everything() -> dict[str, bytes]:
        return {str(p): p.read_bytes() for p in Path(lake.uri).rglob("*") if p.is_file()}

    before = everything()
    code, out, err = run(maintain.app, "--lake", lake.uri, "--plan")
    assert code == 0
    assert "cluster" in out
    assert "steps: 1. Nothing was touched." in err
    code, out, _ = run(maintain.app, "--lake", lake.uri, "--plan", "--json", "bronze.a")
    (made,) = json.loads(out)["plans"]
    assert (code, made["table"], len(made["steps"][0]["files"])) == (0, "bronze.a", 3)
    assert everything() == before


def test_the_policy_command_knows_schedules(lake) -> None:
    change = ("--lake", lake.uri, "bronze", "--set", "upkeepSchedule=0 3 * * *", "--json")
    settings = json.loads(run(policy_command.app, *change)[1])["policies"][0]["settings"]
    found = {s["property"]: (s["value"], s["source"]) for s in settings}
    assert found["lakehouse.upkeepSchedule"] == ("0 3 * * *", "property")
    assert found["lakehouse.upkeepJitter"] == (None, "default")
    assert [str(task.schedule) for task in Keeper(lake).tasks(["bronze.a"])] == ["0 3 * * *"]
    with pytest.raises(lakehouse.InputError, match="never comes"):
        run(policy_command.app, "--lake", lake.uri, "bronze", "--set", "upkeepSchedule=0 0 30 2 *")


def test_runs_in_sql(lake) -> None:
    assert lake.sql("SELECT * FROM system.maintenance").fetchall() == []
    list(upkeep(lake))
    query = "SELECT table_name, files_before - files_after FROM System.Maintenance WHERE started < now()"
    assert lake.sql(query).fetchall() == [("bronze.a", 2)]
    with lake.snapshot() as view:
        assert view.sql(query).fetchall() == [("bronze.a", 2)]
    joined = (
        'SELECT m.outcome, count(*) FROM system.tables AS t JOIN "system".maintenance m '
        "USING (table_id), bronze.a WHERE t.layer = $layer GROUP BY ALL"
    )
    assert lake.sql(joined, {"layer": "bronze"}).fetchall() == [("done", 6)]
    assert lake.sql("SELECT table_name, managed FROM system.tables ORDER BY 1").fetchall() == [
        ("bronze.a", True), ("gold.b", True),
    ]  # fmt: skip
    assert "system.maintenance" not in lake.explain(query).plan
    # A text is no name, and other names with `system` are DuckDB's.
    assert lake.sql("SELECT 'system.tables'").fetchall() == [("system.tables",)]
    assert lake.sql("SELECT count(*) > 0 FROM system.main.duckdb_types").fetchall() == [(True,)]
    aliased = "SELECT system.tables FROM (SELECT 7 AS tables) AS system"
    assert lake.sql(aliased).fetchall() == [(7,)]
    assert lake.sql("SELECT 1 AS system").fetchall() == [(1,)]
    for wrong in ("SELECT * FROM system.nothing", "SELECT * FROM system."):
        with pytest.raises(lakehouse.InputError):
            lake.sql(wrong)


def test_a_record_has_the_columns_of_the_relation() -> None:
    report = TableUpkeep("bronze.a", started=dt.datetime.now(dt.UTC))
    assert record_of(report, run="r", table_id="1").keys() - {"id", "key", "at"} == RUNS.keys()
