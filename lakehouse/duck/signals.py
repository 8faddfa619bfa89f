"""Let Ctrl-C stop what DuckDB computes, in scripts, consoles and notebooks.

Python runs a signal's handler in the main thread, between its own instructions, and DuckDB may
compute for hours in one of them. So a thread that the signal wakes tells it to stop. And DuckDB
looks for signals itself now and then: where it finds one first it gives its query up, and waits
for its threads without giving Python's lock back. So the handler tells these, too.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import weakref
from types import FrameType
from typing import Protocol

_PAUSE = 0.2  # seconds


class Running(Protocol):
    """Be told to stop."""

    def interrupt(self) -> None:
        """Stop whatever runs."""


_lock = threading.RLock()  # the handler may come while its own thread holds it
_running: weakref.WeakSet[Running] = weakref.WeakSet()
_handled = threading.Event()
_presses = 0
_sender = -1  # the file descriptor that a signal is written to


def listen(running: Running) -> None:
    """Let Ctrl-C interrupt this, too, before it raises KeyboardInterrupt.

    Only Python's own handler is replaced, and only the main thread can do that; elsewhere nothing
    happens. Call it again at work: notebooks put Python's own handler in place for each cell.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        _install()
    with _lock:
        _running.add(running)


def forget(running: Running) -> None:
    """Leave this alone from now on; with the last one, Python's own handler comes back."""
    with _lock:
        _running.discard(running)
        is_last = not _running
    if is_last and threading.current_thread() is threading.main_thread():
        _uninstall()


def presses() -> int:
    """Return how often Ctrl-C stopped what the main thread did; 0 in other threads.

    What a handler raises within a callback of Python's own is lost.
    """
    return _presses if threading.current_thread() is threading.main_thread() else 0


def _install() -> None:
    global _sender  # noqa: PLW0603 - signals belong to the process
    if _sender < 0:
        receiver, sender = socket.socketpair()
        sender.setblocking(False)
        _sender = sender.detach()
        threading.Thread(
            target=_watch, args=(receiver,), name="lakehouse-signals", daemon=True
        ).start()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_leave_to_parent)
    signal.signal(signal.SIGINT, _pressed)
    _exchange(-1, _sender)


def _uninstall() -> None:
    if signal.getsignal(signal.SIGINT) is _pressed:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _exchange(_sender, -1)


def _exchange(old: int, new: int) -> None:
    """Have signals written elsewhere, unless somebody else has them written."""
    found = signal.set_wakeup_fd(new, warn_on_full_buffer=False)
    if found != old:
        signal.set_wakeup_fd(found)


def _leave_to_parent() -> None:
    """Forget all of it in a process that was forked: its threads and what runs are the parent's."""
    global _lock, _sender
    _uninstall()
    _lock, _sender = threading.RLock(), -1
    _running.clear()


def _pressed(number: int, frame: FrameType | None) -> None:
    global _presses  # noqa: PLW0603
    _presses += 1
    _handled.set()
    _interrupt()
    signal.default_int_handler(number, frame)


def _interrupt() -> None:
    with _lock:
        found = tuple(_running)
    for running in found:
        running.interrupt()


def _watch(receiver: socket.socket) -> None:
    while True:
        pressed = signal.SIGINT in receiver.recv(1024)
        # More than once: it may have come between two statements, and the next one runs now.
        while pressed and signal.getsignal(signal.SIGINT) is _pressed and not _handled.is_set():
            _interrupt()
            _handled.wait(_PAUSE)
        # What was pressed before the handler ran is done with.
        receiver.setblocking(False)
        try:
            while receiver.recv(1024):
                pass
        except BlockingIOError:
            receiver.setblocking(True)
        _handled.clear()
