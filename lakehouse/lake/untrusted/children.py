"""Processes for queries: forks of one that has imported all that they need."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

from catalog.errors import LakehouseError, UnsupportedError
from lakehouse.lake.untrusted import wire

_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from lakehouse.lake.untrusted.child import main; main(int(sys.argv[2]))"
# What is left of the environment is what finds shared libraries; the rest keeps libraries from
# starting threads, and from taking address space that counts.
_ENVIRONMENT = {
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "LC_ALL": "C.UTF-8",
    "MALLOC_ARENA_MAX": "2",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


def require_limits() -> None:
    """Raise UnsupportedError where the system cannot bound what a process takes."""
    if sys.platform != "linux":
        raise UnsupportedError(
            f"untrusted_sql needs Linux's limits on a process's memory; this is {sys.platform}",
            next_step="Run it in a Linux container",
            features=("untrusted_sql",),
        )
    if not sys.executable:
        raise UnsupportedError(
            "untrusted_sql starts Python, and this program does not say where it is",
            next_step="Set sys.executable",
            features=("untrusted_sql",),
        )


class Children:
    """Start processes; safe between threads. The first takes some tenths of a second."""

    def __init__(self) -> None:
        require_limits()
        self._lock = threading.Lock()
        self._running: tuple[subprocess.Popen[bytes], socket.socket] | None = None
        self._lines: set[wire.Line] = set()

    @contextlib.contextmanager
    def line(self) -> Iterator[wire.Line]:
        """Give a line to a new process, which ends with it."""
        with self._lock:
            line = wire.Line(self._forked())
            self._lines.add(line)
        try:
            yield line
        finally:
            with self._lock:
                self._lines.discard(line)
            line.close()

    def interrupt(self) -> None:
        """End all processes that run a query."""
        with self._lock:
            lines = list(self._lines)
        for line in lines:
            with contextlib.suppress(OSError):  # ended in the meantime
                line.shut()

    def close(self) -> None:
        """End all processes."""
        self.interrupt()
        with self._lock:
            self._stop()

    def _forked(self) -> socket.socket:
        """Return a connection to a new process."""
        for _ in range(2):
            if self._running is None:
                self._running = _started()
            ours, theirs = socket.socketpair()
            with theirs, contextlib.suppress(OSError):
                socket.send_fds(self._running[1], [b"+"], [theirs.fileno()])
            if ours.recv(1):
                return ours
            ours.close()
            self._stop()  # somebody killed it: once more
        raise LakehouseError(
            "the process that runs untrusted SQL does not start",
            next_step="Check that Python starts, and that processes and memory are not exhausted",
        )

    def _stop(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            process, control = running
            control.close()
            process.kill()
            process.wait()


def _started() -> tuple[subprocess.Popen[bytes], socket.socket]:
    ours, theirs = socket.socketpair()
    environment = dict(_ENVIRONMENT)
    if "LD_LIBRARY_PATH" in os.environ:
        environment["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
    paths = json.dumps([os.path.abspath(path) for path in sys.path])  # noqa: PTH100
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-I", "-B", "-c", _START, paths, str(theirs.fileno())],
            pass_fds=(theirs.fileno(),),
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    ours.recv(1)  # it has imported all it needs, or ended, as will be seen
    return process, ours
