"""A pseudo-terminal with a program in it."""

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

# Takes the terminal, so that Ctrl-C reaches it, and tells when a query has begun: no test guesses.
PROGRAM = """if True:
    import fcntl, termios
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    import lakehouse
    from lakehouse.cli import main
    sql = lakehouse.Lake.sql
    def told(lake, query, *args):
        if "hash(range)" in query:
            print("has begun", flush=True)
        return sql(lake, query, *args)
    lakehouse.Lake.sql = told
    main()
"""
_CODES = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|\][^\x07]*\x07|[=>])")
_PATIENCE = 120.0  # seconds, for a machine that is very busy


class Terminal:
    """Type into a program, and wait for what it shows."""

    def __init__(self, args: Sequence[str], state: Path, env: Mapping[str, str]) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", PROGRAM, *args],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={
                **os.environ,
                "TERM": "xterm",
                "XDG_STATE_HOME": str(state),
                "PROMPT_TOOLKIT_NO_CPR": "1",  # nobody here answers where the cursor is
                **env,
            },
            start_new_session=True,
        )
        os.close(slave)
        self._unread = ""

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def wait_for(self, text: str) -> str:
        """Return what was shown up to ``text``, which is gone then."""
        deadline = time.monotonic() + _PATIENCE
        while text not in self._unread:
            ready, _, _ = select.select([self._master], [], [], deadline - time.monotonic())
            assert ready, f"waited for {text!r}, saw {self._unread!r}"
            try:
                data = os.read(self._master, 65536)
            except OSError:  # Linux says so at the end
                data = b""
            assert data, f"it ended before {text!r}: {self._unread!r}"
            self._unread = _CODES.sub("", self._unread + data.decode(errors="replace"))
        before, _, self._unread = self._unread.partition(text)
        return before

    def ends(self) -> int:
        """Return the exit code; what is shown until then is read, so that it can be written."""
        with contextlib.suppress(OSError):
            while os.read(self._master, 65536):
                pass
        return self.process.wait(_PATIENCE)

    def close(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        os.close(self._master)


@contextlib.contextmanager
def opened(args: Sequence[str], state: Path, **env: str) -> Iterator[Terminal]:
    terminal = Terminal(args, state, env)
    try:
        yield terminal
    finally:
        terminal.close()
