"""The proxy passes requests on unchanged, counts them, and does what its faults say."""

import http.client
import socket
from contextlib import closing, contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog import InputError
from lakehouse.testing import FaultProxy, FaultRule, Faults, Injector
from lakehouse.testing.relay import Relay
from tests.testing.small_store import small_store

BROKEN = (ConnectionError, http.client.HTTPException)
ABSENT = {"If-None-Match": "*"}
LOG = "/b/lake/t/_delta_log/00000000000000000000.json"


@pytest.fixture(scope="module")
def stage():
    with small_store() as store, FaultProxy(store.url, root="b/lake") as proxy:
        yield store, proxy


@pytest.fixture
def store(stage):
    store, proxy = stage
    store.objects.clear()
    store.heads.clear()
    proxy.set_faults()
    proxy.forget()
    return store


@pytest.fixture
def proxy(stage, store):
    return stage[1]


def connected(place):
    return closing(http.client.HTTPConnection(place.url.removeprefix("http://"), timeout=20))


def ask(client, method, path, body=None, headers=None, *, chunked=False):
    client.request(method, path, body, headers or {}, encode_chunked=chunked)
    answer = client.getresponse()
    return answer.status, answer.read()


def once(place, *args):
    """Ask on a connection of its own; None where it broke."""
    with connected(place) as client:
        try:
            return ask(client, *args)
        except BROKEN:
            return None


@contextmanager
def dialled(proxy):
    port = int(proxy.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=20) as raw:
        yield raw


def test_one_connection_carries_many_requests_unchanged(store, proxy):
    data = bytes(range(256)) * 5000
    before = store.connections
    with connected(proxy) as client:
        assert ask(client, "PUT", "/b/a%20b?x=1&y", data, {"X-Odd": "one,  two"}) == (200, b"")
        assert ask(client, "GET", "/b/a%20b?x=1&y")[0] == 404
        assert ask(client, "PUT", "/b/k", iter([b"one", data]), {}, chunked=True)[0] == 200
        assert ask(client, "GET", "/b/k") == (200, b"one" + data)
        assert ask(client, "GET", "/b/k", None, {"Range": "bytes=1-3"}) == (206, b"ne\x00")
        assert ask(client, "HEAD", "/b/k") == (200, b"")
        assert ask(client, "GET", "/b/k", None, {"If-None-Match": "e"}) == (304, b"")
        assert ask(client, "GET", "/chunked") == (200, b"abc" + b"z" * 65536)
        assert ask(client, "DELETE", "/b/k") == (204, b"")
        assert ask(client, "PUT", "/b/empty", b"") == (200, b"")
    assert store.connections == before + 1
    assert store.objects == {"/b/a%20b?x=1&y": data, "/b/empty": b""}
    method, path, headers = store.heads[0]
    assert (method, path) == ("PUT", "/b/a%20b?x=1&y")
    assert headers == [
        ("Host", proxy.url.removeprefix("http://")),
        ("Accept-Encoding", "identity"),
        ("Content-Length", str(len(data))),
        ("X-Odd", "one,  two"),
    ]


def test_a_body_that_ends_with_the_connection_passes(proxy):
    assert once(proxy, "GET", "/until-close") == (200, b"all of it")


def test_a_client_that_asks_before_it_sends_is_answered_by_the_server(store, proxy):
    lines = b"PUT /b/%b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    with dialled(proxy) as raw:
        raw.sendall(lines % b"asked")
        assert raw.recv(100).startswith(b"HTTP/1.1 100 ")
        raw.sendall(b"hello")
        assert raw.recv(100).startswith(b"HTTP/1.1 200 ")
    assert store.objects == {"/b/asked": b"hello"}
    with dialled(proxy) as raw:
        raw.sendall(lines % b"denied")
        assert raw.recv(100).startswith(b"HTTP/1.1 403 ")
    with dialled(proxy) as raw:
        proxy.set_faults(rules=[FaultRule("unavailable")])
        raw.sendall(lines % b"storm")
        assert raw.recv(100).startswith(b"HTTP/1.1 503 ")
    proxy.set_faults(rules=[FaultRule("repeated")])
    with dialled(proxy) as raw:
        raw.sendall(lines % b"twice")
        assert raw.recv(100).startswith(b"HTTP/1.1 100 ")
        raw.sendall(b"again")
        assert raw.recv(100).startswith(b"HTTP/1.1 200 ")
    assert [path for _, path, _ in store.heads] == ["/b/asked", "/b/twice", "/b/twice"]


def test_an_answer_that_comes_before_the_body_has_ended_arrives(proxy):
    with dialled(proxy) as raw:
        raw.sendall(b"PUT /early HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nfirst")
        assert raw.recv(100).startswith(b"HTTP/1.1 403 ")


def test_a_server_that_hangs_up_breaks_the_connection(store, proxy):
    assert once(proxy, "GET", "/vanish") is None
    assert [(item.status, item.fault) for item in proxy.requests] == [(None, None)]


def test_a_server_that_closes_an_idle_connection_closes_the_clients(proxy):
    with dialled(proxy) as raw:
        raw.sendall(b"GET /bye HTTP/1.1\r\nHost: x\r\n\r\n")
        with raw.makefile("rb") as answer:
            assert answer.read().endswith(b"bye")


def test_requests_are_counted_without_their_secrets(store, proxy):
    signed = "?X-Amz-Signature=canary&X-Amz-Credential=canary"
    with connected(proxy) as client:
        ask(client, "PUT", LOG, b"12345", {**ABSENT, "Authorization": "canary"})
        ask(client, "GET", LOG + signed, None, {"Range": "bytes=1-2"})
        ask(client, "GET", "/b?list-type=2&prefix=lake%2Ft%2F")
    put, read, listed = proxy.requests
    assert "canary" not in repr(proxy.requests)
    assert (put.call, put.path, put.status, put.sent) == (
        "put_if_absent", "t/_delta_log/00000000000000000000.json", 200, 5,
    )  # fmt: skip
    assert (read.range, read.status, read.received) == ("bytes=1-2", 206, 2)
    assert read.query == ("X-Amz-Signature", "X-Amz-Credential")
    assert (listed.call, listed.path, listed.method) == ("list", "t/", "GET")
    assert put.started <= read.started <= listed.started
    assert proxy.counted() == {"put_if_absent": 1, "read": 1, "list": 1}
    proxy.forget()
    assert proxy.requests == ()


@pytest.mark.parametrize(
    ("fault", "told", "arrives"),
    [
        ("dropped", None, True),
        ("error_after", 500, True),
        ("repeated", 412, True),
        ("error_before", 500, False),
        ("torn", None, False),
        ("unavailable", 503, False),
        ("refused", 403, False),
    ],
)
def test_a_put_lands_or_not_as_its_fault_says(store, proxy, fault, told, arrives):
    only: dict[str, Any] = {fault: 1.0}
    proxy.set_faults(Faults(**only, paths="*_delta_log/*"))
    assert once(proxy, "PUT", "/b/lake/t/data", b"rows", ABSENT) == (200, b"")
    answer = once(proxy, "PUT", LOG, b"12345678", ABSENT)
    assert (answer and answer[0]) == told
    assert (LOG in store.objects) == arrives
    request = proxy.requests[-1]
    assert (request.status, request.fault) == (told, fault)


@pytest.mark.parametrize(
    ("fault", "told"),
    [("read_error", 500), ("torn", 200), ("unavailable", 503), ("dropped", None), ("reset", None)],
)
def test_a_read_fails_as_its_fault_says(store, proxy, fault, told):
    store.objects["/b/k"] = b"12345678"
    proxy.set_faults(rules=[FaultRule(fault)])
    answer = once(proxy, "GET", "/b/k")
    assert (answer and answer[0]) == (None if fault == "torn" else told)
    (request,) = proxy.requests
    assert request.status == told
    if fault == "torn":
        assert request.received == 4


def test_a_chunked_answer_and_one_without_a_body_break_too(store, proxy):
    proxy.set_faults(rules=[FaultRule("torn")])
    assert once(proxy, "GET", "/chunked") is None
    assert once(proxy, "HEAD", "/b/none") is None


def test_a_torn_request_without_a_body_does_not_arrive(store, proxy):
    store.objects["/b/k"] = b""
    proxy.set_faults(rules=[FaultRule("torn")])
    assert once(proxy, "DELETE", "/b/k") is None
    assert once(proxy, "PUT", "/b/other", b"") is None
    assert (store.objects, store.heads) == ({"/b/k": b""}, [])


@pytest.mark.parametrize(
    ("headers", "code"), [({}, b"SlowDown"), ({"x-ms-version": "2021"}, b"ServerBusy")]
)
def test_a_storm_is_worded_as_the_service_would_and_passes(store, proxy, headers, code):
    proxy.set_faults(rules=[FaultRule("unavailable", calls="put*", times=3)])
    with connected(proxy) as client:
        for _ in range(3):
            status, body = ask(client, "PUT", "/b/<k>", b"12345", headers)
            assert status == 503
            assert b"<Code>%b</Code>" % code in body
            assert b"b/&lt;k&gt;" in body
        assert ask(client, "PUT", "/b/k", b"12345")[0] == 200
    assert store.objects == {"/b/k": b"12345"}


def test_an_expired_token_has_the_status_that_is_asked_for(store, proxy):
    rules = [FaultRule("expired", times=1), FaultRule("expired", status=403, times=1)]
    proxy.set_faults(rules=rules)
    answers = [once(proxy, "GET", "/b/k") for _ in range(2)]
    assert [answer and answer[0] for answer in answers] == [400, 404]
    proxy.set_faults(rules=rules[1:])
    status, body = once(proxy, "GET", "/b/k") or (0, b"")
    assert (status, b"ExpiredToken" in body) == (403, True)
    assert once(proxy, "HEAD", "/b/k") == (404, b"")


def test_a_seed_means_the_same_here_as_below_a_lake(store, proxy):
    faults = Faults(seed=3, dropped=0.3, error_after=0.2, refused=0.3, paths="t/*", every=2)
    proxy.set_faults(faults)
    injector = Injector(faults)
    expected = []
    for number in range(40):
        once(proxy, "PUT", f"/b/lake/t/{number}", b"", ABSENT)
        expected.append(injector.next("put_if_absent", f"t/{number}"))
    assert [item.fault for item in proxy.requests] == expected
    assert len(set(expected)) == 4


def test_while_it_is_unreachable_connections_are_refused_and_those_that_stand_break(store, proxy):
    with connected(proxy) as client:
        assert ask(client, "GET", "/b/k")[0] == 404
        with proxy.unreachable():
            with pytest.raises(BROKEN):
                ask(client, "GET", "/b/k")
            with connected(proxy) as other, pytest.raises(ConnectionRefusedError):
                ask(other, "GET", "/b/k")
    assert once(proxy, "GET", "/b/k") == (404, b"<none/>")


def test_late_and_slow_requests_wait_in_proportion(store):
    slept: list[float] = []
    host, port = store.server_address[:2]
    relay = Relay((str(host), port), sleep=slept.append)
    rules = [FaultRule("late", seconds=0.5), FaultRule("slow", bytes_per_second=100, calls="PUT")]
    relay.set_faults(Faults(delay=0.25), rules)
    near, far = _pair()
    with near:
        near.sendall(
            b"PUT /b/k HTTP/1.1\r\nConnection: close\r\nContent-Length: 40\r\n\r\n" + b"x" * 40
        )
        relay.serve(far)
        assert near.recv(100).startswith(b"HTTP/1.1 200 ")
    assert slept[:2] == [0.25, 0.5]
    assert sum(slept[2:]) == pytest.approx(0.4)
    assert max(slept[2:]) <= 0.05


def _pair():
    with socket.create_server(("127.0.0.1", 0)) as door:
        near = socket.create_connection(door.getsockname())
        return near, door.accept()[0]


@given(after=st.integers(0, 5), every=st.integers(1, 5), times=st.none() | st.integers(0, 5))
def test_a_rule_hits_every_nth_after_the_first_some_times(after, every, times):
    rule = FaultRule("reset", after=after, every=every, times=times)
    hits = [number for number in range(1, 60) if rule.hits(number)]
    assert hits == list(range(after + every, 60, every))[:times]


def test_what_it_cannot_do_is_refused(proxy):
    with pytest.raises(InputError, match="stale"):
        proxy.set_faults(Faults(stale=0.1))
    with pytest.raises(InputError, match="stale"):
        proxy.set_faults(rules=[FaultRule("stale")])
    with pytest.raises(InputError, match="begin at 1"):
        FaultRule("late", every=0)
    for upstream in ("https://user:canary@host", "host:9000"):
        with pytest.raises(InputError, match="http://host:port") as refused:
            FaultProxy(upstream)
        assert "canary" not in str(refused.value)


def test_it_stops_once_and_for_all(store):
    with FaultProxy(store.url) as proxy:
        proxy.stop()
    assert not proxy._process.is_alive()
    assert once(proxy, "GET", "/") is None
    with pytest.raises(InputError, match="has stopped"):
        proxy.counted()
