"""Object storage that answers badly: a server on this machine that says what the test wants."""

import gc
import pickle
import threading
import traceback
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from catalog.errors import InputError, LakehouseError, OutcomeUnknownError, StorageError
from catalog.storage import Storage, open_storage
from catalog.storage.filesystem import StorageFileSystem

CANARY = "c4n4ry-s3cret"


class Server(ThreadingHTTPServer):
    status: int | None = 200
    body: bytes = b""
    requests: list[str]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.requests.append(f"{self.command} {self.path}")
        if self.server.status is None:
            self.close_connection = True
            return
        self.send_response(self.server.status)
        self.send_header("ETag", '"1"')
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = answer  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Stay quiet."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as running:
        running.requests = []
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield running
        finally:
            running.shutdown()
            thread.join()


def open_bucket(port: int) -> Storage:
    return open_storage(
        "s3://bucket/lake",
        endpoint=f"http://127.0.0.1:{port}",
        region="us-east-1",
        access_key_id="reader",
        secret_access_key=CANARY,
        client_options={"allow_http": True, "default_headers": {"x-token": CANARY}},
        retry_config={"max_retries": 0, "retry_timeout": timedelta(seconds=5)},
    )


@pytest.fixture
def bucket(server: Server) -> Storage:
    return open_bucket(server.server_address[1])


def calls(storage: Storage) -> list[Callable[[], object]]:
    return [
        lambda: storage.read("a/x"),
        lambda: storage.head("a/x"),
        lambda: list(storage.list("a")),
        lambda: storage.delete(["a/x"]),
        lambda: storage.put("a/x", b"1"),
        lambda: storage.put_if_absent("a/x", b"1"),
    ]


def test_put_if_absent_asks_the_server(server: Server, bucket: Storage) -> None:
    assert bucket.put_if_absent("a/x", b"1") is True
    server.status = 412
    assert bucket.put_if_absent("a/x", b"1") is False
    assert server.requests == ["PUT /bucket/lake/a/x"] * 2
    assert bucket.url("a/x") == "s3://bucket/lake/a/x"
    assert bucket.uri == "s3://bucket/lake"


@pytest.mark.parametrize(("status", "message"), [(403, "permission denied"), (401, "refused")])
def test_refusals(server: Server, bucket: Storage, status: int, message: str) -> None:
    server.status = status
    for call in calls(bucket):
        with pytest.raises(StorageError, match=message) as caught:
            call()
        assert "s3://bucket/lake" in str(caught.value)
        assert caught.value.next_step
        assert not caught.value.missing


def test_missing(server: Server, bucket: Storage) -> None:
    server.status = 404
    assert bucket.read_or_none("a/x") is None
    assert bucket.head("a/x") is None
    # A folder that is missing lists as empty; 404 is for a bucket that is.
    for call in (lambda: list(bucket.list("a")), lambda: bucket.put_if_absent("a/x", b"1")):
        with pytest.raises(StorageError, match="no such file or bucket") as caught:
            call()
        assert caught.value.missing


@pytest.mark.parametrize("status", [500, 503, None])
def test_no_answer_to_a_put_is_unknown(server: Server, bucket: Storage, status: int | None) -> None:
    server.status = status
    for write in (bucket.put, bucket.put_if_absent):
        with pytest.raises(OutcomeUnknownError, match="cannot tell whether s3://bucket/lake/a/x"):
            write("a/x", b"1")
    with pytest.raises(StorageError):
        bucket.read("a/x")


def test_put_that_was_never_sent_is_no_mystery(server: Server) -> None:
    server.server_close()
    storage = open_bucket(server.server_address[1])
    for call in calls(storage):
        with pytest.raises(StorageError, match="Check the endpoint"):
            call()


@pytest.mark.parametrize("status", [400, 403, 404, 500, None])
def test_secrets_never_show(server: Server, bucket: Storage, status: int | None) -> None:
    server.status, server.body = status, f"<Error><Message>{CANARY}</Message></Error>".encode()
    shown = [repr(bucket), str(bucket), repr(bucket.options), bucket.uri, bucket.url("x")]
    for call in calls(bucket):
        try:
            call()
        except LakehouseError as error:
            text = "".join(traceback.format_exception(error))
            shown += [text, repr(error), repr(error.__cause__), repr(pickle.dumps(error))]
    assert len(shown) > 5
    assert [text for text in shown if CANARY in text] == []


def test_secrets_never_show_in_a_failed_opening() -> None:
    for options in (
        {"nonsense": CANARY},
        {"client_options": CANARY},
        {"access_key_id": "reader", "secret_access_key": object()},
    ):
        with pytest.raises(InputError, match="cannot open s3://bucket") as caught:
            open_storage("s3://bucket", **options)
        assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_pickle_carries_the_options(bucket: Storage, server: Server) -> None:
    again = pickle.loads(pickle.dumps(bucket.child("deep/er")))
    assert again == bucket.child("deep/er")
    assert again.put_if_absent("x", b"")
    assert server.requests == ["PUT /bucket/lake/deep/er/x"]


def test_listing_is_sorted_and_relative(server: Server, bucket: Storage) -> None:
    names = ["b", "a/2", ".tmp-1", "a/1", "a.x"]
    item = "<Contents><Key>lake/{}</Key><Size>3</Size><LastModified>{}</LastModified></Contents>"
    found = "".join(item.format(name, "2026-01-01T00:00:00.000Z") for name in names)
    server.body = (
        f"<ListBucketResult><IsTruncated>false</IsTruncated>{found}</ListBucketResult>"
    ).encode()
    assert [entry.path for entry in bucket.list()] == ["a.x", "a/1", "a/2", "b"]
    # This server ignores where to start.
    assert [entry.path for entry in bucket.list(start_after="a/1")] == ["a/2", "b"]
    assert "start-after=lake%2Fa%2F1" in server.requests[-1]


def test_a_file_that_was_never_finished_is_not_there() -> None:
    storage = open_storage("memory://")
    files = StorageFileSystem(storage.elsewhere, schemes=("memory",))
    files.mount(storage)
    for size in (10, 20 << 20):
        half = files.open(storage.url("half"), "wb")
        half.write(b"x" * size)
        del half
        gc.collect()
        assert list(storage.list()) == []
    with files.open(storage.url("whole"), "wb") as whole:
        whole.write(b"x")
    assert [item.path for item in storage.list()] == ["whole"]


def test_a_backslash_in_the_uri_is_refused() -> None:
    for uri in ("memory://name/a\\b", "s3://bucket/a\\b"):
        with pytest.raises(InputError, match="holds a backslash"):
            open_storage(uri)
