"""Bins of tiny files are written together, and each still becomes its own file."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import compaction
import lakehouse
from catalog.storage import open_storage
from compaction import Policy
from compaction.executors import Inline, Processes
from compaction.joining import together
from compaction.plan import Step
from lakehouse.delta import actions as act
from lakehouse.delta.files.adds import raw_table
from lakehouse.table.copying import Copy

PARTS = ("a", "b")
SIZES = st.integers(1, 40 << 20)


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[lakehouse.Lake]:
    with lakehouse.connect(tmp_path, durable=False) as lake:
        yield lake


def filled(lake: lakehouse.Lake, count: int = 12) -> lakehouse.Table:
    table = lake.create_table(
        "silver.t",
        {"id": "BIGINT", "x": "DOUBLE", "part": "VARCHAR"},
        partition_by=["part"],
        properties={"delta.enableDeletionVectors": "true"},
    )
    for n in range(count):
        table.append(
            [
                {"id": 100 * n + i, "x": -0.0 if i % 3 else None, "part": part}
                for part in PARTS
                for i in range(40)
            ]
        )
    table.delete("id % 100 = 7")
    return table


def content(table: lakehouse.Table) -> list[str]:
    return sorted(map(repr, table.read().fetchall()))


def policy(table: lakehouse.Table) -> Policy:
    """Return one that makes a file of three."""
    files = table.files()["size_bytes"].to_pylist()
    return Policy(target_bytes=3 * max(files), min_files=2)


@pytest.mark.parametrize("executor", [Inline(), Processes(1)], ids=["inline", "processes"])
def test_bins_written_together_hold_the_rows_of_each(lake, executor) -> None:
    table = filled(lake)
    before = content(table)
    (made,) = compaction.plan(lake, policy=policy(table)).values()
    bins = [step for step in made.steps if step.kind == "compact"]
    assert len(bins) >= 2 * len(PARTS)
    (report,) = compaction.run(lake, policy=policy(table), executor=executor)
    assert (report.problems, report.left, report.bins) == ((), 0, len(bins))
    assert report.files_after == sum(step.files_after for step in bins)
    assert content(table) == before
    for part in PARTS:  # as the files stood in a row before, so do their rows
        bounds = sorted(
            (low, high)
            for low, high, of in zip(
                *(table.files()[c].to_pylist() for c in ("min.id", "max.id", "partition.part")),
                strict=True,
            )
            if of == part
        )
        assert len(bounds) > 1
        assert all(one[1] < other[0] for one, other in itertools.pairwise(bounds))


def test_one_that_a_writer_changed_does_not_keep_the_others(lake) -> None:
    table = filled(lake)

    class Late:
        """Let a writer go first, once files are written."""

        def __init__(self) -> None:
            self.wrote = False

        def run(self, copies, write):
            for number, outcome in Inline().run(copies, write):
                if not self.wrote:
                    self.wrote = True
                    table.delete("id = 303 AND part = 'a'")
                yield number, outcome

    wanted = [row for row in content(table) if not row.startswith("(303, ") or "'b'" in row]
    (report,) = compaction.run(lake, policy=policy(table), executor=Late())
    assert (report.problems, report.left) == ((), 0)
    assert report.redone > 1
    assert content(table) == wanted
    assert table.detail().files < 12


@given(st.lists(st.tuples(st.sampled_from(PARTS), st.integers(1, 600), SIZES), max_size=12))
def test_each_step_is_written_once_with_others_of_its_partition(drawn) -> None:
    pairs = [_pair(number, part, count, size) for number, (part, count, size) in enumerate(drawn)]
    found = [*together(iter(pairs))]
    written = [step for steps, _ in found for step in steps]
    assert sorted(step.files for step in written) == sorted(step.files for step, _ in pairs)
    for steps, copy in found:
        assert copy.files["file"].to_pylist() == [path for step in steps for path in step.files]
        parts = {dict(values)["part"] for values in copy.files["partition_values"].to_pylist()}
        assert parts == {copy.values["part"]}
        assert copy.bins == (tuple(len(step.files) for step in steps) if len(steps) > 1 else ())
        if len(steps) > 1:
            assert copy.files.num_rows <= 1000
            assert sum(step.bytes_read for step in steps) <= 64 << 20


def _pair(number: int, part: str, count: int, size: int) -> tuple[Step, Copy]:
    adds = [
        act.AddFile(f"{number}-{n}.parquet", {"part": part}, -(-size // count), 0, True)
        for n in range(count)
    ]
    schema = '{"type":"struct","fields":[]}'
    copy = Copy(
        storage=open_storage("memory://joining"),
        version=1,
        protocol=act.Protocol(1, 2),
        metadata=act.Metadata("id", schema),
        files=raw_table(adds),
        values={"part": part},
        folder=f"part={part}",
    )
    files = tuple(add.path for add in adds)
    return Step("compact", "", files=files, bytes_read=count * -(-size // count)), copy
