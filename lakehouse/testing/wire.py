"""HTTP/1.1 on a socket, for passing it on: heads as they came, bodies piece by piece.

Bytes are not interpreted further than finding out where a message ends (RFC 9112, section 6).
"""

from __future__ import annotations

import contextlib
import dataclasses
import select
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Self

_SPACE = 1 << 18
_LONGEST = 1 << 16
_PATIENCE = 60.0
_NO_LINGER = struct.pack("ii", 1, 0)
_END = b"\r\n\r\n"


class MessageError(ValueError):
    """Report bytes that are not HTTP/1.1."""


@dataclasses.dataclass(frozen=True, slots=True)
class Head:
    """Hold the first lines of a message: as they came, and read; header names in lower case."""

    raw: bytes = dataclasses.field(repr=False)
    first: tuple[str, str, str] = dataclasses.field(repr=False)
    headers: dict[str, str] = dataclasses.field(repr=False)

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        r"""Read the lines of a request or an answer.

        >>> Head.parse(b"GET /b/k HTTP/1.1\r\nRange: bytes=0-9\r\n\r\n").headers
        {'range': 'bytes=0-9'}
        """
        first, *rest = raw[: -len(_END)].decode("latin-1").split("\r\n")
        words = first.split(" ", 2)
        pairs = [line.partition(":") for line in rest]
        if len(words) < 2 or not all(colon for _, colon, _ in pairs):
            raise MessageError("not the head of an HTTP message")
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        return cls(raw, (words[0], words[1], words[2] if len(words) > 2 else ""), headers)

    @property
    def status(self) -> int:
        """Return the status of an answer."""
        return int(self.first[1])

    @property
    def length(self) -> int | None:
        """Return the length of the body where the head tells it."""
        stated = self.headers.get("content-length")
        return None if stated is None else int(stated)

    @property
    def chunked(self) -> bool:
        """Tell whether the body comes in chunks."""
        return self.headers.get("transfer-encoding", "").lower().endswith("chunked")

    @property
    def awaits(self) -> bool:
        """Tell whether the client wants to be asked for the body."""
        return self.headers.get("expect", "").lower() == "100-continue"

    @property
    def lasting(self) -> bool:
        """Tell whether the connection may be used again."""
        wish = self.headers.get("connection", "").lower()
        old = "HTTP/1.0" in self.first
        return wish == "keep-alive" if old else wish != "close"

    def bare(self, method: str) -> bool:
        """Tell whether this answer to a ``method`` has no body, whatever its headers say."""
        return method == "HEAD" or self.status < 200 or self.status in (204, 304)


class Wire:
    """Read and write one connection; pieces of a body are valid until the next is asked for.

    ``before_more`` is called whenever nothing is left of what was read, and may wait, or raise.
    """

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(_PATIENCE)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection = connection
        self._space = bytearray(_SPACE)
        self._view = memoryview(self._space)
        self._start = self._end = 0
        self.before_more: Callable[[], None] | None = None

    def head(self) -> Head | None:
        """Read the first lines of a message; None where the other side has closed."""
        raw = self._through(_END)
        return None if raw is None else Head.parse(raw)

    def body(self, head: Head) -> Iterator[memoryview]:
        """Read the body of a request."""
        if head.chunked:
            return self._chunks()
        return self._pieces(head.length or 0)

    def answer_body(self, head: Head, method: str) -> Iterator[memoryview]:
        """Read the body of the answer to a request of this method."""
        if head.bare(method):
            return iter(())
        if head.chunked or head.length is not None:
            return self.body(head)
        return self._rest()

    def send(self, data: bytes | memoryview) -> None:
        """Write bytes, all of them."""
        self._connection.sendall(data)

    def reset(self) -> None:
        """Break the connection, so that the other side sees a reset rather than an end."""
        with contextlib.suppress(OSError):
            self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self._connection.close()

    def interrupt(self) -> None:
        """Break the connection under another thread that reads or writes it."""
        with contextlib.suppress(OSError):
            self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            self._connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End the connection once the other side has read what was written.

        Closing at once, with bytes of a request unread, would reset it and lose the answer.
        """
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)
            self._connection.settimeout(1.0)
            while self._connection.recv_into(self._view):
                pass
        self._connection.close()

    def _more(self) -> bool:
        if self._start == self._end:
            self._start = self._end = 0
        elif self._end == len(self._view):
            kept = self._end - self._start
            self._view[:kept] = self._view[self._start : self._end]
            self._start, self._end = 0, kept
        if self.before_more is not None:
            self.before_more()
        got = self._connection.recv_into(self._view[self._end :])
        self._end += got
        return got > 0

    def _through(self, mark: bytes) -> bytes | None:
        """Read up to and including a mark; None where nothing more came."""
        while (found := self._space.find(mark, self._start, self._end)) < 0:
            if self._end - self._start > _LONGEST:
                raise MessageError(f"no end of a head in {_LONGEST} bytes")
            if not self._more():
                if self._start < self._end:
                    raise ConnectionResetError("closed in the middle of a head")
                return None
        seen = bytes(self._view[self._start : found + len(mark)])
        self._start += len(seen)
        return seen

    def _pieces(self, length: int) -> Iterator[memoryview]:
        while length:
            if self._start == self._end and not self._more():
                raise ConnectionResetError("closed in the middle of a body")
            piece = self._view[self._start : min(self._end, self._start + length)]
            self._start += len(piece)
            length -= len(piece)
            yield piece

    def _chunks(self) -> Iterator[memoryview]:
        """Read a body in chunks, sizes and trailers included."""
        while True:
            line = self._line()
            yield memoryview(line)
            size = int(line.partition(b";")[0], 16)
            if not size:
                break
            yield from self._pieces(size + 2)
        while line != b"\r\n":
            line = self._line()
            yield memoryview(line)

    def _line(self) -> bytes:
        line = self._through(b"\r\n")
        if line is None:
            raise ConnectionResetError("closed in the middle of a body")
        return line

    def _rest(self) -> Iterator[memoryview]:
        while self._start < self._end or self._more():
            piece = self._view[self._start : self._end]
            self._start = self._end
            yield piece

    def _readable_by(self, poll: select.poll) -> bool:
        """Ask a poll to watch this connection; True where bytes have been read ahead."""
        poll.register(self._connection, select.POLLIN)
        return self._start < self._end


def waiting(*wires: Wire) -> list[Wire]:
    """Wait until some of the connections have something to read, and return these."""
    poll = select.poll()
    ahead = [wire for wire in wires if wire._readable_by(poll)]
    if ahead:
        return ahead
    found = {number for number, _ in poll.poll()}
    return [wire for wire in wires if wire._connection.fileno() in found]
