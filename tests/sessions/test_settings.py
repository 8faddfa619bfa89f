"""Memory, threads and spill files: safe by default, checked, and cleaned away."""

import os
import signal
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lakehouse
from lakehouse.duck.machine import Machine, machine
from lakehouse.duck.settings import chosen_settings, for_duckdb, with_defaults
from lakehouse.duck.sizes import size_of

# More than the limit below holds: it must be spilled to be sorted.
_TEXT = " || ".join(f"md5((n + {number})::VARCHAR)" for number in range(4))
RANKED = (
    "SELECT n, row_number() OVER (ORDER BY text) AS rank FROM "
    f"(SELECT range AS n, {_TEXT.replace('n +', 'range +')} AS text FROM range(400000))"
)
LIMIT = "80MB"


def _setting(lake, name):
    return lake.sql(f"SELECT current_setting('{name}')").fetchall()[0][0]


def test_work_that_is_larger_than_the_memory_limit_spills(tmp_path):
    spill = tmp_path / "spill"
    with lakehouse.connect(
        tmp_path / "lake", memory_limit=LIMIT, threads=1, spill_folder=spill, durable=False
    ) as lake:
        assert _setting(lake, "threads") == 1
        assert _setting(lake, "temp_directory").startswith(str(spill))
        table = lake.create_table("bronze.ranks", {"n": "BIGINT", "rank": "BIGINT"})
        assert table.append(lake.sql(RANKED)).rows == 400_000
        found = lake.sql("SELECT count(DISTINCT rank), min(rank), max(rank) FROM bronze.ranks")
        assert found.fetchall() == [(400_000, 1, 400_000)]
        first = f"SELECT min(n) FROM (SELECT n, {_TEXT} AS text FROM range(400000) t(n)) GROUP BY text ORDER BY text LIMIT 3"
        ranked = "SELECT n FROM bronze.ranks WHERE rank < 4 ORDER BY rank"
        assert lake.sql(ranked).fetchall() == lake.sql(first).fetchall()
    assert list(spill.iterdir()) == []


def test_spill_files_are_bounded_and_the_lake_goes_on(tmp_path):
    with lakehouse.connect(
        tmp_path / "lake", memory_limit=LIMIT, spill_limit="5MB", durable=False
    ) as lake:
        table = lake.create_table("bronze.a", {"n": "BIGINT", "rank": "BIGINT"})
        rows = lake.sql(RANKED)
        with pytest.raises(lakehouse.StorageError, match="memory"):
            table.append(rows)
        assert lake.sql("SELECT count(*) FROM bronze.a").fetchall() == [(0,)]


def test_defaults_leave_room_for_others(tmp_path):
    with lakehouse.connect(tmp_path / "lake", durable=False) as lake:
        here = machine()
        assert _setting(lake, "threads") == here.processors
        assert here.memory is not None
        found = size_of(_setting(lake, "memory_limit"), name="memory_limit")
        assert found <= here.memory * 0.51
        free = os.statvfs(tmp_path)
        most = size_of(_setting(lake, "max_temp_directory_size"), name="spill_limit")
        assert most <= free.f_bavail * free.f_frsize * 0.6


def test_what_the_user_chooses_wins(tmp_path):
    config: dict[str, str | int | float | bool] = {
        "memory_limit": "200MB",
        "threads": 3,
        "max_temp_directory_size": "10MB",
    }
    with lakehouse.connect(tmp_path / "lake", duckdb_config=config, durable=False) as lake:
        found = size_of(_setting(lake, "memory_limit"), name="memory_limit")
        assert found <= for_duckdb(200_000_000) < 200_000_000
        assert _setting(lake, "threads") == 3


@pytest.mark.parametrize(
    "wrong",
    [
        {"memory_limit": "lots"},
        {"memory_limit": "1MB"},
        {"memory_limit": -1},
        {"threads": 0},
        {"threads": True},
        {"spill_limit": "much"},
        {"duckdb_config": {"memory_limit": "lots"}},
        {"duckdb_config": {"no_such_setting": 1}},
        {"memory_limit": "1GB", "duckdb_config": {"max_memory": "2GB"}},
        {"threads": 1, "duckdb_config": {"THREADS": 2, "worker_threads": 2}},
    ],
    ids=str,
)
def test_a_wrong_setting_is_an_input_error_that_names_it(tmp_path, wrong):
    with pytest.raises(lakehouse.InputError) as caught:
        lakehouse.connect(tmp_path / "lake", **wrong)
    assert any(
        word in str(caught.value).lower() for word in ("memory", "threads", "spill", "no_such")
    )
    assert not (tmp_path / "lake").exists() or "duckdb_config" in wrong


def test_a_spill_folder_that_cannot_be_is_a_storage_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(lakehouse.StorageError, match="spill_folder"):
        lakehouse.connect(tmp_path / "lake", spill_folder=tmp_path / "file")


def test_what_a_killed_process_left_is_deleted_by_the_next_and_nothing_else(tmp_path):
    spill = tmp_path / "spill"
    code = (
        "import lakehouse, sys, os\n"
        "lake = lakehouse.connect(sys.argv[1], spill_folder=sys.argv[2])\n"
        "print('ready', flush=True)\n"
        "sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "lake"), str(spill)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        (theirs,) = spill.iterdir()
        foreign = spill / "lakehouse-foreign"
        foreign.mkdir()
        with lakehouse.connect(tmp_path / "lake", spill_folder=spill):
            assert theirs.exists()  # its process lives
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert theirs.exists()
    with lakehouse.connect(tmp_path / "lake", spill_folder=spill):
        assert not theirs.exists()
    assert list(spill.iterdir()) == [foreign]


@pytest.mark.parametrize(
    ("files", "groups", "memory", "processors"),
    [
        ({"memory.max": "max", "cpu.max": "max 100000"}, "0::/", None, None),
        ({"memory.max": "500000000", "cpu.max": "50000 100000"}, "0::/", 500_000_000, 1),
        ({"a/memory.max": "max", "memory.high": "400000000"}, "0::/a/b", 400_000_000, None),
        ({"a/b/memory.max": "300000000"}, "0::/a/b", 300_000_000, None),
        ({"memory/c/memory.limit_in_bytes": "9223372036854771712"}, "4:memory:/c", None, None),
        ({"memory/memory.limit_in_bytes": "200000000"}, "4:memory:/outer/c", 200_000_000, None),
        (
            {"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"},
            "5:cpuacct,cpu:/",
            None,
            1,
        ),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, "5:cpu:/", None, None),
    ],
)
def test_the_limits_of_a_container_are_kept(tmp_path, files, groups, memory, processors):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    (tmp_path / "groups").write_text(groups + "\n")
    nowhere = machine(root=tmp_path / "none", groups=tmp_path / "none")
    found = machine(root=tmp_path, groups=tmp_path / "groups")
    assert found.memory == (memory or nowhere.memory)
    assert found.processors == (processors or nowhere.processors)


@given(
    st.integers(1, 1 << 50),
    st.integers(1, 512),
    st.integers(0, 1 << 50),
    st.dictionaries(
        st.sampled_from(["memory_limit", "threads", "max_temp_directory_size"]), st.just("chosen")
    ),
)
def test_defaults_never_replace_what_was_chosen(memory, processors, free, chosen):
    found = with_defaults(chosen, Machine(memory, processors), free=free)
    assert chosen.items() <= found.items()
    assert found.keys() == {"memory_limit", "threads", "max_temp_directory_size"}


@given(st.integers(64_000_000, 1 << 60), st.integers(1, 1000))
def test_sizes_reach_duckdb_as_they_were_written(size, threads):
    found = chosen_settings({}, memory_limit=size, threads=threads)
    assert found == {"memory_limit": f"{size}B", "threads": threads}
    assert size_of(str(found["memory_limit"]), name="memory_limit") == size


@given(st.integers(1, 1 << 60), st.integers(0, 1 << 30))
def test_duckdb_has_of_a_limit_what_the_process_leaves(limit, more):
    found = for_duckdb(limit)
    assert min(limit, 128_000_000) <= found <= limit
    assert limit - found <= 400_000_000
    assert limit < 800_000_000 or limit - found == 400_000_000
    assert found <= for_duckdb(limit + more) <= found + more
