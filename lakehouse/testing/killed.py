"""Let processes die by SIGKILL, and tell whether they did."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from typing import Any

_PATIENCE = 120.0


def was_killed(work: Callable[..., None], *arguments: Any) -> bool:
    """Run what kills itself in a process of its own; tell whether it did, or ended before.

    Raises AssertionError where it ended in another way.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([work.__module__])
    process = context.Process(target=work, args=arguments, daemon=True)
    process.start()
    process.join(_PATIENCE)
    if process.exitcode not in (0, -signal.SIGKILL):
        process.kill()
        raise AssertionError(f"{work.__name__} was to be killed; it ended with {process.exitcode}")
    return process.exitcode != 0
