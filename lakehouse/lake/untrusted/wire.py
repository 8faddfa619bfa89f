"""Messages between the lake and the process of a query: a kind, a length, and bytes.

What goes to the process may be pickled. What comes from it never is: JSON, and Arrow's stream.
"""

from __future__ import annotations

import socket
import struct
import threading
import time

_HEAD = struct.Struct(">cQ")

# To the process: what to run, which files to read, the answer to a request.
JOB, PLANNED, ANSWER = b"J", b"P", b"A"
# From it: filters, a request for bytes of a file, columns, pieces of the result, text, its end.
REACHED, FETCH, COLUMNS, PIECE, TEXT, ERROR, END = b"R", b"F", b"C", b"D", b"T", b"E", b"Z"


class Line:
    """Send and receive messages over a socket; sending is safe between threads."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._lock = threading.Lock()
        self.is_shut = False

    def send(self, kind: bytes, payload: bytes | memoryview = b"") -> None:
        """Send one message."""
        with self._lock:
            self._socket.sendall(_HEAD.pack(kind, len(payload)))
            self._socket.sendall(payload)

    def receive(self, *, most: int, until: float | None = None) -> tuple[bytes, bytearray]:
        """Return the next message; EOFError at the end, or for one of more than ``most`` bytes.

        Raises TimeoutError at ``until``, a time of the monotonic clock.
        """
        kind, length = _HEAD.unpack(self._exactly(_HEAD.size, until))
        if length > most:
            raise EOFError(f"a message of {length} bytes")
        return kind, self._exactly(length, until)

    def close(self) -> None:
        """End the connection: the process at the other end ends, too."""
        self._socket.close()

    def shut(self) -> None:
        """End the connection under a thread that waits for a message; EOFError is raised there."""
        self.is_shut = True
        self._socket.shutdown(socket.SHUT_RDWR)

    def _exactly(self, length: int, until: float | None) -> bytearray:
        found = bytearray(length)
        view = memoryview(found)
        while view:
            if until is not None:
                left = until - time.monotonic()
                if left <= 0:
                    raise TimeoutError
                self._socket.settimeout(left)
            count = self._socket.recv_into(view)
            if not count:
                raise EOFError("the connection has ended")
            view = view[count:]
        return found
