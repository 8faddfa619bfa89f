"""Sorting is kept to the room that there is for spilling."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from hypothesis import given
from hypothesis import strategies as st

import compaction
import lakehouse
from compaction import Policy
from compaction.room import Room, largest
from compaction.survey import survey


@given(st.lists(st.integers(0, 100), min_size=1, max_size=12), st.integers(0, 500))
def test_no_more_is_let_in_than_there_is_room_for_but_for_one_alone(sizes, room):
    most, inside, found = room // 4, [], []
    lock, let = threading.Lock(), Room(room)

    def sort(size: int) -> None:
        with let.taken(size):
            with lock:
                inside.append(size)
                found.append((sum(inside), sum(1 for one in inside if one)))
            with lock:
                inside.remove(size)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(sort, sizes))
    assert len(found) == len(sizes)
    assert all(total <= most or count == 1 for total, count in found)


@given(st.integers(1, 1 << 50), st.integers(0, 1 << 50))
def test_a_group_is_never_larger_than_asked_for_nor_than_fits(group, room):
    assert 1 <= largest(group, room) <= max(1, min(group, room // 4))


def test_a_table_is_clustered_in_pieces_where_little_can_be_spilled(tmp_path):
    with lakehouse.connect(tmp_path / "lake", spill_limit="200KB", durable=False) as lake:
        table = lake.create_table("silver.t", {"n": "BIGINT"})
        for start in range(8):
            table.append(lake.sql(f"SELECT hash(range, {start}) % 1000 AS n FROM range(2000)"))
        policy = Policy(cluster_by=("n",), group_bytes=1 << 30)
        surveyed = survey(table, policy=policy)
        assert surveyed.policy.group_bytes == 200_000 // 4
        groups = [
            step for step in compaction.plan(lake, policy=policy)["silver.t"].steps if step.files
        ]
        assert len(groups) > 1
        assert all(step.bytes_read <= 200_000 // 4 for step in groups)
        before = lake.sql("SELECT count(*), sum(n) FROM silver.t").fetchall()
        (report,) = compaction.run(lake, policy=policy)
        assert (report.bins, report.problems) == (len(groups), ())
        assert lake.sql("SELECT count(*), sum(n) FROM silver.t").fetchall() == before
