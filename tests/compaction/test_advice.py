"""What was queried decides who comes first, and what is proposed."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import compaction
import lakehouse
from compaction.advice import advise
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


def test_the_command_tells(place: Path) -> None:
    asked(place, 12, record_reads=True)
    result = CliRunner().invoke(app, ["silver.t", "--lake", str(place)])
    assert "silver.t: clusterBy=a would save about 89% of the" in result.stderr
