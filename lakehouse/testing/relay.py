"""Pass requests on between a client and an object store, one at a time, with what befalls them."""

from __future__ import annotations

import dataclasses
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from lakehouse.testing.fault_rules import TOLD_BEFORE, FaultPlan, FaultRule, Mishap, WireFault, told
from lakehouse.testing.faults import Faults
from lakehouse.testing.traffic import Passing, Traffic
from lakehouse.testing.wire import Head, Wire, waiting

_READS = frozenset(("read", "head", "list"))
_PATIENCE = 10.0
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Relay:
    """Serve connections, each with one of its own to the server.

    So whatever the server does to its connections, the client sees; and nothing that it does to
    its own is lost on the server.
    """

    def __init__(
        self,
        upstream: tuple[str, int],
        *,
        root: str = "",
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.traffic = Traffic(root)
        self._upstream = upstream
        self._sleep = sleep
        self._lock = threading.Lock()
        self._clients: set[Wire] = set()
        self.set_faults(Faults(), ())

    def set_faults(self, faults: Faults, rules: Sequence[FaultRule]) -> None:
        """Inject these from the next request on, and count from the beginning."""
        self._plan = FaultPlan(faults, rules, sleep=self._sleep)

    def serve(self, connection: socket.socket) -> None:
        """Serve one connection, in a thread of its own."""
        client = Wire(connection)
        with self._lock:
            self._clients.add(client)
        threading.Thread(target=self._converse, args=(client,), daemon=True).start()

    def reach(self) -> Wire:
        """Return a new connection to the server."""
        return Wire(socket.create_connection(self._upstream, timeout=_PATIENCE))

    def interrupt(self) -> None:
        """Break all connections of clients."""
        with self._lock:
            for client in self._clients:
                client.interrupt()

    def _converse(self, client: Wire) -> None:
        """Serve a client until either side has enough of it."""
        wires = [client]
        try:
            upstream = self.reach()
            wires.append(upstream)
            while upstream not in waiting(client, upstream):
                head = client.head()
                if head is None or not self._exchange(client, upstream, head):
                    break
            for wire in wires:
                wire.close()
        except (OSError, ValueError):
            for wire in wires:
                wire.reset()
        finally:
            with self._lock:
                self._clients.discard(client)

    def _exchange(self, client: Wire, upstream: Wire, head: Head) -> bool:
        passing = self.traffic.begin(head)
        mishap = self._plan.next(passing.begun)
        passing.fault = mishap.fault
        if mishap.seconds:
            self._sleep(mishap.seconds)
        return _Exchange(
            self, client, upstream, head, passing, mishap, self._sleep, client.body(head)
        ).run()


class _EarlyAnswerError(Exception):
    """Carry an answer that came before the request had ended."""

    def __init__(self, answer: Head) -> None:
        super().__init__()
        self.answer = answer


@dataclasses.dataclass(slots=True)
class _Exchange:
    """Carry one request over and its answer back."""

    relay: Relay
    client: Wire
    upstream: Wire
    head: Head
    passing: Passing
    mishap: Mishap
    sleep: Callable[[float], None]
    body: Iterator[memoryview]
    unread: bool = False

    def run(self) -> bool:
        """Carry; tell whether the connection can take another request."""
        fault, call = self.mishap.fault, self.passing.begun.call
        if fault == "reset":
            raise ConnectionResetError("injected: reset")
        if fault is not None and fault in TOLD_BEFORE:
            return self._refuse(fault)
        if fault == "torn" and call not in _READS:
            self._tear()
        if fault == "repeated":
            self._send_before()
        answer = self._send()
        if fault in ("dropped", "error_after"):
            self._drain(self.upstream.answer_body(answer, self.head.first[0]))
            if fault == "dropped":
                raise ConnectionResetError("injected: dropped")
            self._tell(fault)
            return self._lasts(answer)
        return self._give(answer)

    def _send(self) -> Head:
        """Pass the request on, and return the head of the answer, which may come before its end."""
        self.upstream.send(self.head.raw)
        self.client.before_more = self._look
        try:
            for piece in self._paced(self.body):
                self.passing.sent += len(piece)
                self.upstream.send(piece)
        except _EarlyAnswerError as early:
            self.unread = True
            return early.answer
        finally:
            self.client.before_more = None
        while (answer := self._next_head()) is None:
            pass
        return answer

    def _look(self) -> None:
        """Wait until the client sends more, and pass on "100 Continue" or see an early answer."""
        while self.upstream in waiting(self.client, self.upstream):
            if (answer := self._next_head()) is not None:
                raise _EarlyAnswerError(answer)

    def _next_head(self) -> Head | None:
        """Read a head; None where it was interim (100 Continue), and was passed on."""
        head = self.upstream.head()
        if head is None:
            raise ConnectionResetError("the server closed without an answer")
        if head.status >= 200:
            return head
        self.client.send(head.raw)
        return None

    def _give(self, answer: Head) -> bool:
        """Pass the answer on; a torn one breaks off at half of what its head promises."""
        torn = self.mishap.fault == "torn"
        most = (2 if answer.length is None else answer.length) // 2
        if torn and (answer.bare(self.head.first[0]) or not most):
            raise ConnectionResetError("injected: torn")
        self.passing.status = answer.status
        self.client.send(answer.raw)
        for piece in self._paced(self.upstream.answer_body(answer, self.head.first[0])):
            part = piece[: most - self.passing.received] if torn else piece
            self.passing.received += len(part)
            self.client.send(part)
            if torn and self.passing.received == most:
                raise ConnectionResetError("injected: torn")
        return self._lasts(answer)

    def _lasts(self, answer: Head) -> bool:
        ends = answer.bare(self.head.first[0]) or answer.chunked or answer.length is not None
        return ends and self.head.lasting and answer.lasting and not self.unread

    def _refuse(self, fault: WireFault) -> bool:
        """Answer in the server's place; a client that asks before it sends a body, sends none."""
        self.unread = self.head.awaits
        if not self.unread:
            self._drain(self.body)
        self._tell(fault)
        return self.head.lasting and not self.unread

    def _tell(self, fault: WireFault) -> None:
        status, answer = told(
            fault,
            self.passing.begun,
            status=self.mishap.status,
            azure="x-ms-version" in self.head.headers,
        )
        self.passing.status, self.passing.received = status, len(answer.partition(b"\r\n\r\n")[2])
        self.client.send(answer)

    def _tear(self) -> None:
        """Let half of the request's body through, if it has a length, and break both connections."""
        most = (self.head.length or 0) // 2
        if not most:
            raise ConnectionResetError("injected: torn")
        self.upstream.send(self.head.raw)
        if self.head.awaits:
            self.client.send(_CONTINUE)
        for piece in self._paced(self.body):
            part = piece[: most - self.passing.sent]
            self.passing.sent += len(part)
            self.upstream.send(part)
            if self.passing.sent == most:
                break
        raise ConnectionResetError("injected: torn")

    def _send_before(self) -> None:
        """Have the server do what is asked, so that the request comes to it a second time."""
        if self.head.awaits:
            self.client.send(_CONTINUE)
            raw = re.sub(rb"(?i)\r\nexpect:[^\r]*", b"", self.head.raw)
            self.head = Head.parse(raw)
        body = b"".join(bytes(piece) for piece in self.body)
        first = self.relay.reach()
        first.send(self.head.raw + body)
        while (answer := first.head()) is not None and answer.status < 200:
            pass
        if answer is not None:
            self._drain(first.answer_body(answer, self.head.first[0]))
        first.close()
        self.body = iter((memoryview(body),))

    def _drain(self, pieces: Iterator[memoryview]) -> None:
        for _ in pieces:
            pass

    def _paced(self, pieces: Iterator[memoryview]) -> Iterator[memoryview]:
        rate = self.mishap.bytes_per_second
        if rate is None:
            yield from pieces
            return
        step = max(1, rate // 20)
        for piece in pieces:
            for start in range(0, len(piece), step):
                part = piece[start : start + step]
                self.sleep(len(part) / rate)
                yield part
