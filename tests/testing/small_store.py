"""A store of HTTP objects over real sockets, small enough to see what a proxy passes on."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class SmallStore(ThreadingHTTPServer):
    """Keep objects by path; note each request's lines, and the connections."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.objects: dict[str, bytes] = {}
        self.heads: list[tuple[str, str, list[tuple[str, str]]]] = []
        self.connections = 0

    def get_request(self):
        self.connections += 1
        return super().get_request()

    def handle_error(self, request, client_address):
        """Say nothing: broken connections are what is tested."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: SmallStore

    def log_message(self, *_):
        pass

    def setup(self):
        super().setup()
        self.connection.settimeout(20)

    def handle_expect_100(self):
        if "denied" in self.path:
            self.close_connection = True
            self._answer(403, b"denied")
            return False
        return super().handle_expect_100()

    def do_GET(self):
        self._note()
        if "chunked" in self.path:
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"3;x=y\r\nabc\r\n10000\r\n" + b"z" * 65536 + b"\r\n0\r\nA: b\r\n\r\n")
        elif "until-close" in self.path:
            self.close_connection = True
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"all of it")
        elif "vanish" in self.path:
            self.close_connection = True
        elif "bye" in self.path:
            self.close_connection = True
            self._answer(200, b"bye")
        elif self.headers["If-None-Match"]:
            self._answer(304, None)
        elif self.path.partition("?")[0] in self.server.objects:
            data = self.server.objects[self.path.partition("?")[0]]
            if asked := self.headers["Range"]:
                first, last = asked.removeprefix("bytes=").split("-")
                self._answer(206, data[int(first) : int(last) + 1])
            else:
                self._answer(200, data)
        else:
            self._answer(200 if "list-type" in self.path else 404, b"<none/>")

    do_HEAD = do_GET  # noqa: N815 (the name that http.server calls)

    def do_PUT(self):
        self._note()
        if "early" in self.path:
            self.close_connection = True
            self._answer(403, b"too early")
            return
        data = self._chunks() if self.headers["Transfer-Encoding"] else self._body()
        exists = self.path in self.server.objects
        if exists and self.headers["If-None-Match"]:
            self._answer(412, b"exists")
        else:
            self.server.objects[self.path] = data
            self._answer(200, b"")

    do_POST = do_PUT  # noqa: N815

    def do_DELETE(self):
        self._note()
        self.server.objects.pop(self.path, None)
        self._answer(204, None)

    def _note(self):
        self.server.heads.append((self.command, self.path, self.headers.items()))

    def _body(self):
        length = int(self.headers["Content-Length"] or 0)
        data = self.rfile.read(length)
        if len(data) < length:
            raise ConnectionError("half a body")
        return data

    def _chunks(self):
        data = b""
        while size := int(self.rfile.readline(), 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def _answer(self, status, body):
        self.send_response(status)
        if body is not None:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if body and self.command != "HEAD":
            self.wfile.write(body)


@contextmanager
def small_store():
    with SmallStore() as store:
        threading.Thread(target=store.serve_forever, args=(0.01,), daemon=True).start()
        yield store
        store.shutdown()
