"""A write with a key happens once, whatever is tried again."""

import pytest

import lakehouse


@pytest.fixture
def lake(tmp_path):
    with lakehouse.connect(tmp_path / "lake", durable=False) as lake:
        yield lake


@pytest.fixture
def table(lake):
    return lake.create_table("bronze.t", {"n": "BIGINT"})


@pytest.mark.parametrize("verb", ["append", "overwrite"])
def test_a_replay_writes_nothing_and_reports_the_first(lake, table, verb):
    write = getattr(table, verb)
    first = write([{"n": 1}], idempotency_key=("job", 17))
    table.append([{"n": 2}])
    other = lakehouse.connect(lake.uri).table("bronze.t")
    again = getattr(other, verb)([{"n": 1}], idempotency_key=("job", 17))
    assert (again.version, again.rows, again.files_added) == (first.version, 1, 1)
    assert (first.replayed, again.replayed) == (False, True)
    assert sorted(table.read().fetchall()) == [(1,), (2,)]


def test_a_smaller_number_is_done_and_a_greater_one_is_not(table):
    table.append([{"n": 1}], idempotency_key=("job", 17))
    assert table.append([{"n": 2}], idempotency_key=("job", 3)).replayed
    assert not table.append([{"n": 3}], idempotency_key=("job", 18)).replayed
    assert not table.append([{"n": 4}], idempotency_key=("other", 3)).replayed
    assert sorted(table.read().fetchall()) == [(1,), (3,), (4,)]


def test_keys_survive_a_checkpoint(lake, table):
    table.append([{"n": 1}], idempotency_key=("job", 1))
    table.checkpoint()
    with lakehouse.connect(lake.uri) as fresh:
        assert fresh.table("bronze.t").append([{"n": 1}], idempotency_key=("job", 1)).replayed
    assert table.read().fetchall() == [(1,)]


def test_two_that_race_with_one_key_write_once(lake, table):
    stale = table.snapshot()
    other = lakehouse.connect(lake.uri).table("bronze.t")
    other.append([{"n": 1}], idempotency_key=("job", 1))
    table._refreshed = lambda: stale
    report = table.append([{"n": 1}], idempotency_key=("job", 1))
    assert (report.replayed, report.version) == (True, 1)
    del table._refreshed
    assert table.read().fetchall() == [(1,)]
    storage = table.snapshot().storage
    assert sum(item.path.endswith(".parquet") for item in storage.list()) == 1


@pytest.mark.parametrize("key", ["job", ("job",), ("job", "1"), ("", 1), ("job", -1), 7])
def test_a_key_of_another_form_is_refused(table, key):
    with pytest.raises(lakehouse.InputError, match="idempotency key"):
        table.append([{"n": 1}], idempotency_key=key)
    assert table.version == 0
