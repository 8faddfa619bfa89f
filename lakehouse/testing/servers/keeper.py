"""Keep a server while somebody uses it, and end it then: a program of its own, see `start`.

Whoever uses the server holds a shared lock on the file `users`. The system takes it from them when
they end, however they end. The keeper waits for the exclusive lock, and ends the server with it.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

_GRACE = 2.0


def main(folder: Path, command: list[str]) -> None:
    """Run a server in ``folder`` until it ends, nobody uses it, or SIGTERM says so."""
    os.setsid()  # what interrupts a user's terminal is not meant for the server
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with (folder / "users").open() as users:
        server = subprocess.Popen(command, cwd=folder / "data", start_new_session=True)
        try:
            threading.Thread(target=_end_when_unused, args=(users,), daemon=True).start()
            server.wait()
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            (folder / "server.json").unlink(missing_ok=True)
            _stop(server)
            shutil.rmtree(folder / "data", ignore_errors=True)


def _end_when_unused(users: IO[str]) -> None:
    fcntl.flock(users, fcntl.LOCK_EX)
    os.kill(os.getpid(), signal.SIGTERM)


def _stop(server: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(_GRACE)
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
