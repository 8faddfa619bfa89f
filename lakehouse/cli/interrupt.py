"""Make Ctrl-C work while a library computes and does not listen.

Python notices a signal only between its own instructions, and DuckDB may compute for hours in
one of them. A thread that the signal wakes at once is what can act in the meantime.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from typing import NoReturn

EXIT_CODE = 130  # 128 + SIGINT, as shells report it
_GRACE = 10.0  # seconds for the command to clean up
_PAUSE = 0.2  # seconds
_actions: list[Callable[[], None]] = []


def on_interrupt(action: Callable[[], None]) -> None:
    """Call this, in another thread, when the command that runs is interrupted."""
    _actions.append(action)


@contextlib.contextmanager
def watch(*, patient: bool = False) -> Iterator[threading.Event]:
    """Stop what runs on Ctrl-C, and the process if that takes long or at a second Ctrl-C.

    The event tells of the first. Signals reach the main thread only; elsewhere nothing happens.
    ``patient`` leaves the process alone, however long it takes and often somebody presses.
    """
    pressed, done = threading.Event(), threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield pressed
        return
    actions = tuple(_actions)
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    before = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    handled = signal.signal(signal.SIGINT, _pressed)
    thread = threading.Thread(
        target=_wait, args=(receiver, pressed, done), kwargs={"patient": patient}, daemon=True
    )
    thread.start()
    try:
        yield pressed
    finally:
        done.set()
        signal.signal(signal.SIGINT, handled)
        signal.set_wakeup_fd(before)
        sender.close()
        thread.join()
        receiver.close()
        _actions[:] = actions


def _pressed(*_: object) -> NoReturn:
    """Stop what runs, then raise.

    DuckDB looks for signals itself now and then, with Python's lock. Where it finds one first it
    gives its query up, and waits for its threads without giving the lock back: they have to have
    been told before.
    """
    for action in tuple(_actions):
        action()
    raise KeyboardInterrupt


def _wait(
    receiver: socket.socket, pressed: threading.Event, done: threading.Event, *, patient: bool
) -> None:
    while data := receiver.recv(1):
        if data[0] == signal.SIGINT and not done.is_set():
            break
    else:
        return
    pressed.set()
    receiver.settimeout(_PAUSE)
    for _ in itertools.count() if patient else range(round(_GRACE / _PAUSE)):
        # More than once: it may have come between two statements, and the next one runs now.
        for action in tuple(_actions):
            action()
        with contextlib.suppress(TimeoutError):
            data = receiver.recv(1)
            if not data:
                return
            if data[0] == signal.SIGINT and not patient:
                break
    if not done.is_set():
        _leave()


def _leave() -> NoReturn:
    sys.stderr.write("Interrupted.\n")
    sys.stderr.flush()
    os._exit(EXIT_CODE)
