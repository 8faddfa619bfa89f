"""What one of many processes does with a lease that all of them want."""

import os
import signal
import time
from collections.abc import Mapping
from datetime import timedelta
from threading import Barrier
from typing import Any, NoReturn

from catalog import Leases, open_storage

SHORT = timedelta(seconds=0.4)
NONE = timedelta(0)


def race(uri: str, options: Mapping[str, Any], barrier: Barrier, rounds: int) -> list[int]:
    """Ask for the same leases as everybody else at the same time; return those that were given."""
    leases = Leases(open_storage(uri, durable=False, **options))
    won = []
    for number in range(rounds):
        barrier.wait()
        if leases.acquire(f"race-{number}") is not None:
            won.append(number)
    return won


def hand_over(uri: str, options: Mapping[str, Any], until: float) -> list[tuple[int, float, float]]:
    """Take and give back one lease again and again; return each token with its first and last moment."""
    leases = Leases(open_storage(uri, durable=False, **options))
    held = []
    while time.time() < until:
        lease = leases.acquire("one")
        if lease is not None:
            began = time.monotonic()  # one clock for all processes of a machine
            lease.renew()
            held.append((lease.token, began, time.monotonic()))
            lease.release()
    return held


def die(uri: str, options: Mapping[str, Any], name: str) -> NoReturn:
    """Take a lease, and be killed."""
    leases = Leases(open_storage(uri, durable=False, **options), skew=NONE)
    with leases.holding(name, ttl=SHORT) as lease:
        assert lease is not None
        os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError
