"""A network that fails: errors that name the cause, within the budget, nothing lost, nothing twice."""

import socket
from typing import Any

import pytest

from catalog import OutcomeUnknownError, StorageError, open_storage
from lakehouse.testing import FaultRule

BROKEN: Any = (
    "reset",
    "unavailable",
    "error_before",
    "error_after",
    "refused",
    "expired",
    "dropped",
)
LATE = 0.2
SLOW = FaultRule("slow", bytes_per_second=200_000)


def numbers(lake):
    return [row[0] for row in lake.sql("SELECT n FROM bronze.t ORDER BY n").fetchall()]


def tried(do):
    """Do something; return None, or the error, which must be one of ours and say what to do."""
    try:
        do()
    except (StorageError, OutcomeUnknownError) as error:
        return error if error.next_step else pytest.fail(f"what to do about it? {error}")
    return None


@pytest.mark.parametrize("fault", BROKEN)
@pytest.mark.parametrize("paths", ["*.parquet", "*/_delta_log/*.json"])
def test_a_storm_loses_no_append_and_doubles_none(connected, proxy, fault, paths):
    lake = connected()
    table = lake.create_table("bronze.t", {"n": "BIGINT"})
    sure, unsure = set(), set()
    for number in range(2):
        proxy.set_faults(rules=[FaultRule(fault, calls="put*", paths=paths, after=number)])
        error = tried(lambda number=number: table.append([{"n": number}]))
        if error is None:
            sure.add(number)
        elif isinstance(error, OutcomeUnknownError):
            unsure.add(number)
    proxy.set_faults()
    found = numbers(lake)
    assert len(found) == len(set(found))
    assert sure <= set(found) <= sure | unsure
    table.append([{"n": 9}])
    assert numbers(lake)[-1] == 9


@pytest.mark.parametrize("fault", ["reset", "unavailable", "error_before", "error_after"])
def test_what_passes_within_the_budget_is_not_noticed(connected, proxy, fault):
    """One request in five fails, and each may be tried once more."""
    lake = connected()
    proxy.set_faults(rules=[FaultRule(fault, calls="[!p]*", every=5)])
    table = lake.create_table("bronze.t", {"n": "BIGINT"})
    for number in range(5):
        table.append([{"n": number}])
    table.checkpoint()
    assert numbers(lake) == [*range(5)]
    proxy.set_faults()
    assert numbers(connected()) == [*range(5)]


@pytest.mark.parametrize("fault", ["reset", "error_after", "dropped"])
def test_a_commit_whose_answer_is_lost_is_looked_up(connected, proxy, fault):
    lake = connected()
    table = lake.create_table("bronze.t", {"n": "BIGINT"})
    for number in range(3):
        rule = FaultRule(fault, calls="put_if_absent", paths="*/_delta_log/*.json", times=1)
        proxy.set_faults(rules=[rule])
        table.append([{"n": number}])
    proxy.set_faults()
    assert numbers(lake) == [0, 1, 2]
    assert table.version == 3


@pytest.mark.parametrize("fault", ["reset", "unavailable", "expired"])
def test_queries_tell_what_is_wrong_and_go_on_afterwards(connected, proxy, fault):
    connected().create_table("bronze.t", {"n": "BIGINT"}).append([{"n": 1}])
    lake = connected()
    proxy.set_faults(rules=[FaultRule(fault, calls="read"), FaultRule(fault, calls="list")])
    assert tried(lambda: lake.sql("SELECT * FROM bronze.t")) is not None
    proxy.set_faults()
    assert numbers(lake) == [1]


def test_changes_of_the_catalog(connected, proxy):
    lake = connected()
    for number, fault in enumerate(BROKEN):
        proxy.set_faults(rules=[FaultRule(fault, calls="put*", paths="*_catalog/*", times=3)])
        error = tried(lambda number=number: lake.declare_layer(f"layer{number}"))
        proxy.set_faults()
        known = f"layer{number}" in connected().layers()
        assert known if error is None else (isinstance(error, OutcomeUnknownError) or not known)


def test_checkpoints(connected, proxy):
    lake = connected()
    table = lake.create_table("bronze.t", {"n": "BIGINT"})
    for number in range(3):
        table.append([{"n": number}])
    for fault in BROKEN:
        proxy.set_faults(rules=[FaultRule(fault, calls="put*")])
        tried(table.checkpoint)
        proxy.set_faults()
        assert numbers(connected()) == [0, 1, 2]
    table.checkpoint()
    assert numbers(connected()) == [0, 1, 2]


@pytest.mark.parametrize("fault", ["reset", "error_after", "expired"])
@pytest.mark.parametrize("after", [0, 2, 4])
def test_uploads_in_pieces_arrive_whole_or_not_at_all(
    connected, proxy, place, tmp_path, fault, after
):
    """20 MB: a beginning, three pieces, and an end."""
    uri, options = place
    storage = open_storage(f"{uri}/free", **options)
    content = bytes(range(256)) * 80_000
    (tmp_path / "x").write_bytes(content)
    streams: Any = storage.streams

    def stream():
        writer = streams.writer("b")
        for at in range(0, len(content), 1 << 20):
            writer.write(content[at : at + (1 << 20)])
        writer.close()

    for path, do in (("a", lambda: storage.upload("a", tmp_path / "x")), ("b", stream)):
        rule = FaultRule(fault, calls="P[UO]*", paths=f"*/{path}", after=after, times=3)
        proxy.set_faults(rules=[rule])
        error = tried(do)
        proxy.set_faults()
        found = storage.read_or_none(path)
        assert found == content if error is None else found in (None, content)
        do()
        assert storage.read(path) == content


def test_nothing_answers(connected, proxy, place):
    uri, options = place
    lake = connected()
    table = lake.create_table("bronze.t", {"n": "BIGINT"})
    table.append([{"n": 1}])
    with proxy.unreachable():
        for do in (
            lambda: table.append([{"n": 2}]),
            lambda: lake.sql("FROM bronze.t"),
            lambda: lake.declare_layer("more"),
            lambda: open_storage(uri, **options).read("x"),
        ):
            error = tried(do)
            assert error is not None
            assert f"nothing answers at {proxy.url}" in str(error)
    assert numbers(lake) == [1]
    assert "more" not in lake.layers()


def test_retries_keep_to_the_budget(proxy, place):
    uri, options = place
    proxy.set_faults(rules=[FaultRule("unavailable")])
    for retries in (0, 1, 3):
        proxy.forget()
        with pytest.raises(StorageError, match="asks for fewer requests"):
            open_storage(uri, **{**options, "retries": retries}).read("x")
        assert proxy.counted() == {"read": retries + 1}
    proxy.forget()
    options = {**options, "retries": 1000, "retry_seconds": 0.5}
    with pytest.raises(StorageError, match="asks for fewer requests"):
        open_storage(uri, **options).read("x")
    assert 2 <= proxy.counted()["read"] < 20


def test_slow_but_sure(connected, proxy):
    lake = connected()
    proxy.set_faults(rules=[SLOW, FaultRule("late", seconds=0.01)])
    table = lake.create_table("bronze.t", {"n": "BIGINT"})
    table.append([{"n": 1}])
    assert numbers(lake) == [1]


@pytest.fixture
def silent():
    """Return the address of a server that takes requests and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        yield f"http://127.0.0.1:{door.getsockname()[1]}"


def test_a_server_that_never_answers(place, silent):
    uri, options = place
    patience = {"endpoint_url": silent, "timeout": 0.3, "retries": 1}
    storage = open_storage(uri, **{**options, **patience})
    for do in (lambda: storage.read("x"), lambda: [*storage.list()], lambda: storage.head("x")):
        with pytest.raises(StorageError, match=f"{silent} did not answer in time"):
            do()
    with pytest.raises(OutcomeUnknownError, match="did not answer in time"):
        storage.put_if_absent("x", b"")


def test_no_more_requests_at_once_than_asked_for(proxy, place):
    uri, options = place
    names = [f"{number}" for number in range(12)]
    for name in names:
        open_storage(uri, **options).put(name, name.encode())
    proxy.set_faults(rules=[FaultRule("late", seconds=LATE)])
    for limit in (1, 3):
        proxy.forget()
        storage = open_storage(uri, **{**options, "requests": limit})
        assert [*storage.read_many(names)] == [name.encode() for name in names]
        assert not overlapping(proxy.requests, more_than=limit)
    proxy.forget()
    assert len([*open_storage(uri, **options).read_many(names)]) == len(names)
    # Without a limit they do overlap, or this would have proved nothing.
    assert overlapping(proxy.requests, more_than=3)


def overlapping(requests, *, more_than):
    """Tell whether so many requests, each of which takes so long, must have run at once."""
    began = sorted(request.started for request in requests)
    return any(later - first < LATE for first, later in zip(began, began[more_than:], strict=False))
