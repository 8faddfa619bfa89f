"""Writers at the same time: what is acknowledged is there, once, as in some serial order."""

from concurrent.futures import ThreadPoolExecutor

import pytest

import lakehouse
from lakehouse.testing import lint
from lakehouse.testing.ambush import Ambush
from tests.behaviour.place import rows


@pytest.fixture
def table(lake):
    table = lake.create_table("silver.t", {"p": "VARCHAR", "n": "BIGINT"}, partition_by="p")
    for p in "ab":
        table.append([{"p": p, "n": 1}, {"p": p, "n": 2}])
    yield table
    assert lint(table.snapshot().storage) == []
    assert table.leftovers() == ()


@pytest.fixture
def outrun(place, table):
    """Call something on the table, and something else right before its commit."""

    def outrun(late, first):
        ambush = Ambush(lambda: first(table))
        with place.connect(wrap=ambush.around) as lake:
            return late(lake.table("silver.t"))

    return outrun


def test_appends_that_meet_both_stand(table, outrun):
    report = outrun(
        lambda late: late.append([{"p": "a", "n": 3}]),
        lambda first: first.append([{"p": "a", "n": 4}]),
    )
    assert (report.version, report.attempts) == (4, 2)
    assert rows(table.read(where="n > 2")) == [("a", 3), ("a", 4)]


def test_a_delete_takes_what_was_appended_before_it(table, outrun):
    report = outrun(
        lambda late: late.delete("n = 2"), lambda first: first.append([{"p": "a", "n": 2}])
    )
    assert report.rows_deleted == 3
    assert rows(table.read()) == [("a", 1), ("b", 1)]


def test_a_delete_follows_a_rewrite_of_its_files(table, outrun):
    report = outrun(
        lambda late: late.delete("n = 2"),
        lambda first: first.rewrite(first.files()["path"].to_pylist()),
    )
    assert report.rows_deleted == 2
    assert rows(table.read()) == [("a", 1), ("b", 1)]


def test_a_rewrite_gives_way_to_a_delete(table, outrun):
    report = outrun(
        lambda late: late.rewrite(late.files()["path"].to_pylist()),
        lambda first: first.delete("n = 1"),
    )
    assert report.files_removed == 0
    assert rows(table.read()) == [("a", 2), ("b", 2)]


def test_partial_overwrites_of_one_partition_follow_each_other(table, outrun):
    outrun(
        lambda late: late.overwrite([{"p": "a", "n": 7}], where="p = 'a'"),
        lambda first: first.overwrite([{"p": "a", "n": 8}], where="p = 'a'"),
    )
    assert rows(table.read()) == [("a", 7), ("b", 1), ("b", 2)]


def test_one_key_from_two_writers_is_one_write(table, outrun):
    report = outrun(
        lambda late: late.append([{"p": "a", "n": 9}], idempotency_key=("job", 1)),
        lambda first: first.append([{"p": "a", "n": 9}], idempotency_key=("job", 1)),
    )
    assert (report.replayed, report.version) == (True, 3)
    assert rows(table.read(where="n = 9")) == [("a", 9)]


def test_a_new_column_beside_an_append(table, outrun):
    outrun(
        lambda late: late.append([{"p": "a", "n": 3}]),
        lambda first: first.alter().add_column("w", "DOUBLE"),
    )
    assert rows(table.read(where="n = 3")) == [("a", 3, None)]


def test_a_column_that_is_gone_refuses_the_append(table, outrun):
    with pytest.raises((lakehouse.ConflictError, lakehouse.DataError)):
        outrun(
            lambda late: late.append([{"p": "a", "n": 3}]),
            lambda first: first.overwrite([{"p": "a", "m": 1}], schema_mode="overwrite"),
        )
    assert table.version == 3
    table.restore(2)
    assert len(table.read().fetchall()) == 4


def test_writers_in_threads_lose_nothing(place, table):
    place.require_races()

    def write(number):
        with place.connect(create=False) as lake:
            mine = lake.table("silver.t")
            versions = [mine.append([{"p": "c", "n": 10 * number + n}]).version for n in range(4)]
            mine.delete(f"p = 'c' AND n = {10 * number}")
            return versions

    with ThreadPoolExecutor(3) as pool:
        versions = [version for mine in pool.map(write, (1, 2, 3)) for version in mine]
    assert len(set(versions)) == 12
    expected = sorted(("c", 10 * number + n) for number in (1, 2, 3) for n in (1, 2, 3))
    assert rows(table.read(where="p = 'c'")) == expected
    assert table.version == 2 + 12 + 3


@pytest.mark.parametrize("fault", ["dropped", "error_after", "repeated"])
def test_a_lost_answer_is_no_lost_write_and_no_conflict(place, table, fault):
    with place.losing(fault) as lake:
        lake.create_table("gold.made", {"n": "BIGINT"}).append([{"n": 1}])
        mine = lake.table("silver.t")
        reports = [
            mine.append([{"p": "c", "n": 3}]),
            mine.append([{"p": "c", "n": 4}]),
            mine.delete("n = 1"),
            mine.overwrite([{"p": "a", "n": 5}], where="p = 'a'"),
        ]
        lake.rename_table("gold.made", "gold.kept")
        lake.declare_layer("late")
    assert [report.version for report in reports] == [3, 4, 5, 6]
    assert rows(table.read()) == [("a", 5), ("b", 2), ("c", 3), ("c", 4)]
    with place.connect(create=False) as lake:
        assert rows(lake.sql("FROM gold.kept")) == [(1,)]
        assert [change.operation for change in lake.catalog.history()] == [
            "declare layer", "rename table", "add table", "add table", "create catalog",
        ]  # fmt: skip
