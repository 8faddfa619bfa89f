"""HTTP messages end where they should, however the network cuts them; requests are told apart."""

import contextlib
import itertools
import socket
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.testing.traffic import Traffic, call_of
from lakehouse.testing.wire import Head, MessageError, Wire

NEXT = b"GET /next HTTP/1.1\r\n\r\n"


def _received(message, cuts):
    """Send a message in pieces, and return what a wire reads: the first request, its body, the next."""
    near, far = socket.socketpair(socket.AF_UNIX)
    edges = sorted({0, len(message), *(cut % (len(message) + 1) for cut in cuts)})
    with near, far:
        sender = threading.Thread(target=_send, args=(near, message, edges))
        sender.start()
        wire = Wire(_Plain(far))  # type: ignore[arg-type]
        head = wire.head()
        assert head is not None
        body = b"".join(bytes(piece) for piece in wire.body(head))
        after = wire.head()
        sender.join()
    return head, body, after


def _send(near, message, edges):
    # Who refuses a message does not read the rest.
    with contextlib.suppress(OSError):
        for edge, end in itertools.pairwise(edges):
            near.sendall(message[edge:end])


class _Plain:
    """A socket without TCP's options."""

    def __init__(self, inner):
        self._inner = inner

    def __getattr__(self, name):
        return (lambda *_: None) if name == "setsockopt" else getattr(self._inner, name)


@given(body=st.binary(max_size=300_000), cuts=st.lists(st.integers(0, 400_000), max_size=8))
def test_a_body_of_known_length_ends_there(body, cuts):
    lines = f"PUT /b/k HTTP/1.1\r\nHost: x\r\ncontent-LENGTH: {len(body)}\r\n\r\n".encode()
    head, read, after = _received(lines + body + NEXT, cuts)
    assert (head.raw, read, after) == (lines, body, Head.parse(NEXT))


@given(
    chunks=st.lists(st.binary(min_size=1, max_size=70_000), max_size=5),
    trailer=st.sampled_from([b"", b"X: y\r\n"]),
    cuts=st.lists(st.integers(0, 400_000), max_size=8),
)
def test_chunks_pass_as_they_came(chunks, trailer, cuts):
    lines = b"PUT /b/k HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = b"".join(b"%x;a=b\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    body += b"0\r\n" + trailer + b"\r\n"
    head, read, after = _received(lines + body + NEXT, cuts)
    assert (head.raw, read, after) == (lines, body, Head.parse(NEXT))


@pytest.mark.parametrize("raw", [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nno colon\r\n\r\n"])
def test_what_is_not_http_is_refused(raw):
    with pytest.raises(MessageError):
        Head.parse(raw)


def test_a_head_without_an_end_is_refused():
    with pytest.raises(MessageError, match="no end"):
        _received(b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 50_000, [])


def test_a_head_shows_no_secrets():
    assert "s3cret" not in repr(
        Head.parse(b"GET /?s3cret HTTP/1.1\r\nAuthorization: s3cret\r\n\r\n")
    )


@pytest.mark.parametrize(
    ("method", "query", "headers", "call"),
    [
        ("GET", {}, {}, "read"),
        ("HEAD", {}, {}, "head"),
        ("GET", {"list-type": "2"}, {}, "list"),
        ("GET", {"restype": "container", "comp": "list"}, {}, "list"),
        ("GET", {"prefix": "a/"}, {}, "list"),
        ("PUT", {}, {}, "put"),
        ("PUT", {}, {"if-none-match": "*"}, "put_if_absent"),
        ("PUT", {}, {"x-goog-if-generation-match": "0"}, "put_if_absent"),
        ("PUT", {"comp": "blocklist"}, {"if-none-match": "*"}, "put_if_absent"),
        ("POST", {"uploads": ""}, {}, "put"),
        ("POST", {"uploadId": "1"}, {"if-none-match": "*"}, "put_if_absent"),
        ("POST", {"delete": ""}, {}, "delete"),
        ("POST", {"comp": "batch"}, {}, "delete"),
        ("DELETE", {}, {}, "delete"),
    ],
)
def test_each_request_is_a_storage_call(method, query, headers, call):
    assert call_of(method, query, headers) == call


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/b/lake/t/_delta_log/0%3D1.json", "t/_delta_log/0=1.json"),
        ("/b?list-type=2&prefix=lake%2Ft%2F", "t/"),
        ("/b/other", "b/other"),
    ],
)
def test_paths_are_told_from_the_root(target, path):
    head = Head.parse(f"GET {target} HTTP/1.1\r\n\r\n".encode())
    assert Traffic("b/lake").begin(head).seen().path == path
