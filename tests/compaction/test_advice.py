"""What was queried decides who comes first, and what is proposed."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import compaction
import lakehouse
from compaction.advice import Divisible, advise, advise_partitions
from compaction.cli.health import app as health
from compaction.cli.maintain import app as maintain
from compaction.policy_command import app
from lakehouse.lake.reads import READS
from lakehouse.scan.tally import Reads

counts = st.builds(
    Reads,
    table=st.sampled_from(["silver.a", "silver.b"]),
    columns=st.lists(st.sampled_from("abcdef"), unique=True).map(tuple),
    queries=st.integers(1, 100),
    files_total=st.integers(0, 10_000),
    files_read=st.integers(0, 10_000),
    bytes_read=st.integers(0, 1 << 40),
)


@given(st.lists(counts))
def test_proposals_are_possible_and_promise_a_share(reads) -> None:
    columns = {"silver.a": tuple("abcde")}
    for made in advise(reads, columns):
        assert made.table == "silver.a"
        assert 1 <= len(made.cluster_by) <= 4
        assert set(made.cluster_by) <= set("abcde")
        assert 0 <= made.saving < 1
        assert made.queries >= 10


@given(
    st.lists(counts),
    st.builds(
        Divisible,
        bytes=st.integers(0, 1 << 40),
        values=st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 1 << 70)),
    ),
)
def test_partitions_that_are_proposed_fill_files(reads, table) -> None:
    found = advise_partitions(reads, {"silver.a": table})
    assert len(found) <= 1
    for made in found:
        (column,) = made.partition_by
        assert (made.table, made.cluster_by) == ("silver.a", ())
        assert 2 <= table.values[column] <= table.bytes / 64_000_000
        wide = [r for r in reads if r.table == "silver.a" and 2 * r.files_read > r.files_total]
        asking = [r for r in wide if column in r.columns]
        assert 10 <= made.queries <= sum(r.queries for r in asking)
        assert made.saving == pytest.approx(1 - 1 / table.values[column])
    # What nobody asks for, or asks for too little, is no partition.
    assert advise_partitions([r for r in reads if not r.columns], {"silver.a": table}) == ()


def asked(place: Path, times: int, **more) -> None:
    with lakehouse.connect(place, **more) as lake:
        for n in range(times):
            lake.sql(f"SELECT sum(x) FROM silver.t WHERE a = {20 + n} AND part = 'p'").fetchall()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    with lakehouse.connect(tmp_path / "lake", durable=False) as lake:
        for name in ("silver.t", "silver.u"):
            schema = {"a": "BIGINT", "x": "DOUBLE", "part": "VARCHAR"}
            table = lake.create_table(name, schema, partition_by=["part"])
            for n in range(9):
                table.append([{"a": a * 9 + n, "x": 1.0, "part": "p"} for a in range(9)])
    return tmp_path / "lake"


def test_what_sessions_count_reaches_the_planner(place: Path) -> None:
    asked(place, 8)  # was not told to record
    with lakehouse.connect(place) as lake:
        assert lake.reads() == ()
    for _ in range(2):
        asked(place, 8, record_reads=True)
    with lakehouse.connect(place) as lake:
        (read,) = lake.reads()
        assert (read.table, read.columns, read.queries) == ("silver.t", ("a", "part"), 16)
        assert read.files_total == 16 * 9
        assert read.files_read == read.files_total
        assert list(compaction.plan(lake)) == ["silver.t", "silver.u"]
        assert list(compaction.plan(lake, reads={"silver.u": 99})) == ["silver.u", "silver.t"]
        (made,) = compaction.proposals(lake)
        assert (made.table, made.cluster_by, made.queries) == ("silver.t", ("a",), 16)
        assert made.saving == pytest.approx(8 / 9)
        lake.table("silver.t").alter().set_properties({"lakehouse.clusterBy": "a"})
        assert compaction.proposals(lake) == ()


def test_a_damaged_document_counts_nothing(place: Path) -> None:
    asked(place, 3, record_reads=True)
    for n, body in enumerate(("{", '{"reads": [{"table": 1}]}', "[]")):
        (place / READS / f"{n}.json").write_text(body)
    with lakehouse.connect(place) as lake:
        assert [read.queries for read in lake.reads()] == [3]


def test_commands_propose_partitions(place: Path, monkeypatch) -> None:
    monkeypatch.setattr("compaction.advice.PARTITION_BYTES", 10)
    with lakehouse.connect(place, record_reads=True) as lake:
        table = lake.create_table("silver.days", {"day": "DATE", "x": "DOUBLE", "s": "VARCHAR"})
        for _ in range(9):
            days = [f"2024-01-{1 + d:02}" for d in range(10)]
            table.append(pa.table({"day": pa.array(days).cast(pa.date32()), "x": [1.0] * 10}))
        for d in range(12):
            where = f"day = DATE '2024-01-01' + {d % 10}"
            lake.sql(f"SELECT sum(x) FROM silver.days WHERE {where}").fetchall()
    with lakehouse.connect(place) as lake:
        made = {p.partition_by: p for p in compaction.proposals(lake, tables=["silver.days"])}
    assert set(made) == {(), ("day",)}
    assert (made[()].cluster_by, made["day",].queries) == (("day",), 12)
    assert made["day",].saving == pytest.approx(0.9)
    told = "silver.days: a table partitioned by day would save about 90% of the"
    for command, arguments in ((health, ["silver.days"]), (maintain, ["silver.days", "--plan"])):
        result = CliRunner().invoke(command, [*arguments, "--lake", str(place)])
        assert told in result.stderr, result.output
        shown = CliRunner().invoke(command, [*arguments, "--lake", str(place), "--json"])
        assert [p["partition_by"] for p in json.loads(shown.stdout)["proposals"]] == [[], ["day"]]


def test_the_command_tells(place: Path) -> None:
    asked(place, 12, record_reads=True)
    result = CliRunner().invoke(app, ["silver.t", "--lake", str(place)])
    assert "silver.t: clusterBy=a would save about 89% of the" in result.stderr
