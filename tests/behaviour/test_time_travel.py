"""Earlier versions are read, by number and by time, and made the newest again."""

from datetime import timedelta

import pytest

import lakehouse
from tests.behaviour.place import rows


@pytest.fixture
def table(lake):
    # Times are in the commits: those of files may have a resolution of a second.
    table = lake.create_table(
        "silver.t", {"n": "BIGINT"}, properties={"delta.enableInCommitTimestamps": "true"}
    )
    for n in range(3):
        table.append([{"n": n}], metadata={"run": n})
    return table


def test_by_version(table, other):
    count = "SELECT count(*) FROM silver.t AT (VERSION => {})"
    assert [other.sql(count.format(v)).fetchall() for v in range(4)] == [[(v,)] for v in range(4)]
    assert other.sql(count.format("?"), [2]).fetchall() == [(2,)]
    joined = other.sql(
        "SELECT new.n FROM silver.t AT (VERSION => 1) AS old RIGHT JOIN silver.t AS new USING (n) "
        "WHERE old.n IS NULL"
    )
    assert rows(joined) == [(1,), (2,)]
    with pytest.raises(lakehouse.NotFoundError):
        other.table("silver.t").read(version=9)


def test_by_time(table, other):
    times = {commit.version: commit.timestamp for commit in table.history()}
    assert sorted(times) == [0, 1, 2, 3]
    there = other.table("silver.t")
    for version, moment in times.items():
        assert len(there.read(timestamp=moment).fetchall()) == version
    text = times[2].isoformat()
    at = f"SELECT count(*) FROM silver.t AT (TIMESTAMP => '{text}')"
    assert other.sql(at).fetchall() == [(2,)]
    with pytest.raises(lakehouse.NotFoundError):
        there.read(timestamp=times[0] - timedelta(days=1))


def test_by_time_of_the_storage(lake, other):
    """Without times in the commits, those count that the storage gave to their files."""
    table = lake.create_table("bronze.t", {"n": "BIGINT"})
    table.append([{"n": 1}])
    newest = other.table("bronze.t").history(1)[0]
    assert rows(other.table("bronze.t").read(timestamp=newest.timestamp)) == [(1,)]
    now = lake.table("bronze.t").snapshot().storage.now()
    assert abs(now - newest.timestamp) < timedelta(minutes=5)


def test_history_tells_who_did_what(table, other):
    other.table("silver.t").delete("n = 0")
    history = table.history()
    assert [commit.operation for commit in history] == ["DELETE", *["WRITE"] * 3, "CREATE TABLE"]
    assert [commit.metadata for commit in history[1:4]] == [{"run": 2}, {"run": 1}, {"run": 0}]
    assert [commit.version for commit in table.history(2)] == [4, 3]


def test_restore_makes_an_earlier_version_the_newest(table, other):
    table.overwrite([{"n": 9}])
    report = other.table("silver.t").restore(2)
    assert (report.version, report.files_added, report.files_removed) == (5, 2, 1)
    assert rows(table.read()) == [(0,), (1,)]
    assert rows(table.read(version=4)) == [(9,)]
    table.checkpoint()
    assert rows(other.sql("FROM silver.t AT (VERSION => 4)")) == [(9,)]
