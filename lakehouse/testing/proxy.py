"""An HTTP proxy before an object store: it counts the requests, and answers some of them badly.

It is a process of its own, so that it does not share an interpreter with what is tested.
"""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import socket
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from multiprocessing import connection
from multiprocessing.connection import Connection
from typing import Any, Self
from urllib.parse import urlsplit

from catalog.errors import InputError
from lakehouse.testing.fault_rules import FaultRule
from lakehouse.testing.faults import Faults
from lakehouse.testing.relay import Relay
from lakehouse.testing.traffic import Request

_HOST = "127.0.0.1"
_BACKLOG = 256
_PATIENCE = 10.0
_NO_FAULTS = Faults()


@dataclasses.dataclass(frozen=True, slots=True)
class _SetFaults:
    faults: Faults
    rules: tuple[FaultRule, ...]

    def __post_init__(self) -> None:
        if self.faults.stale or any(rule.fault == "stale" for rule in self.rules):
            raise InputError(
                "a listing cannot be stale on the wire",
                next_step="Use Injector, or leave it out: no storage that we support does that",
            )


class FaultProxy:
    """Stand before a plain-HTTP object store at a free port of this machine.

    Requests pass unchanged, Host header and signature included. `Faults` mean the same as for
    `Injector`, except that ``pages`` are the server's, and that ``stale`` is refused. With
    ``root="bucket/prefix"`` patterns and records name paths from there, as a lake does.

    ::

        with FaultProxy("http://127.0.0.1:9000", faults=Faults(delay=0.03)) as proxy:
            lake = lakehouse.connect("s3://bucket/lake", endpoint_url=proxy.url)
            proxy.forget()
            lake.table("bronze.events").refresh()
            assert proxy.counted() == {"list": 1}
    """

    def __init__(
        self,
        upstream: str,
        *,
        faults: Faults = _NO_FAULTS,
        rules: Sequence[FaultRule] = (),
        root: str = "",
    ) -> None:
        server = urlsplit(upstream)
        if server.scheme != "http" or not server.hostname:
            raise InputError(
                f"cannot stand before {server.scheme or 'nothing'}://{server.hostname or ''}",
                next_step="Name a server by http://host:port; what is encrypted cannot be counted",
            )
        self._lock = threading.Lock()
        self._control, far = multiprocessing.Pipe()
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        where = (server.hostname, server.port or 80)
        self._process = context.Process(target=_serve, args=(far, where, root), daemon=True)
        self._process.start()
        far.close()
        self.url = f"http://{_HOST}:{self._control.recv()}"
        self.set_faults(faults, rules=rules)

    def set_faults(self, faults: Faults = _NO_FAULTS, *, rules: Sequence[FaultRule] = ()) -> None:
        """Inject these instead, from the next request on; nothing, without arguments."""
        self._ask(_SetFaults(faults, tuple(rules)))

    @property
    def requests(self) -> tuple[Request, ...]:
        """Return the requests since the last `forget`, in the order in which they came."""
        found: tuple[Request, ...] = self._ask("requests")
        return found

    def counted(self) -> Counter[str]:
        """Return how many requests of each call there were since the last `forget`."""
        return Counter(request.call for request in self.requests)

    def forget(self) -> None:
        """Begin a new count."""
        self._ask("forget")

    @contextlib.contextmanager
    def unreachable(self) -> Iterator[None]:
        """Refuse connections for a while, and break those that stand."""
        self._ask("close")
        try:
            yield
        finally:
            self._ask("open")

    def stop(self) -> None:
        """End the process; a second time does nothing."""
        with self._lock:
            self._control.close()
        self._process.join(_PATIENCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _ask(self, command: str | _SetFaults) -> Any:
        with self._lock:
            if self._control.closed:
                raise InputError("the proxy has stopped", next_step="Ask it before `stop`")
            self._control.send(command)
            return self._control.recv()


def _serve(control: Connection[Any, Any], upstream: tuple[str, int], root: str) -> None:
    """Accept connections and commands until the other end of ``control`` is gone."""
    relay, door = Relay(upstream, root=root), _door(0)
    door.listen(_BACKLOG)
    port, is_open = door.getsockname()[1], True
    control.send(port)
    while True:
        ready = connection.wait([control, door] if is_open else [control])
        if door in ready:
            client, _ = door.accept()
            relay.serve(client)
        if control not in ready:
            continue
        try:
            command = control.recv()
        except EOFError:
            return
        answer = None
        if isinstance(command, _SetFaults):
            relay.set_faults(command.faults, command.rules)
        elif command == "requests":
            answer = relay.traffic.seen()
        elif command == "forget":
            relay.traffic.forget()
        elif command == "open":
            door.listen(_BACKLOG)
            is_open = True
        else:
            door.close()
            # Bound, but not listening: connections are refused, and nobody else takes the port.
            door, is_open = _door(port), False
            relay.interrupt()
        control.send(answer)


def _door(port: int) -> socket.socket:
    door = socket.socket()
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    door.bind((_HOST, port))
    return door
