"""The settings of the embedded DuckDB: what the user chose, and safe values for the rest.

DuckDB takes 80 % of the memory for itself, and counts neither lists and strings in flight nor
Python and Arrow beside it; and 90 % of the free disk. On a shared machine, or in a container
that is killed at its limit, that is too much.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping

from catalog.errors import InputError
from lakehouse.duck.machine import Machine
from lakehouse.duck.sizes import size_of

Value = str | int | float | bool
_SMALLEST = 64_000_000  # bytes; less does not plan a query over a large table
# What a process takes beside what DuckDB counts: code, Python, Arrow, what the allocator holds.
_AROUND = 400_000_000
_FOR_DUCKDB = 0.5  # of a limit, at least
_BARE = 128_000_000  # what DuckDB has of any limit: a process with less for all cannot be
_ALIASES = {"max_memory": "memory_limit", "worker_threads": "threads"}


def chosen_settings(
    config: Mapping[str, Value] | None,
    *,
    memory_limit: str | int | None = None,
    threads: int | None = None,
    spill_limit: str | int | None = None,
) -> dict[str, Value]:
    """Return what the user chose, by arguments and as DuckDB's own settings, checked. Pure.

    Raises InputError for a value that cannot be, and for one that is chosen twice.

    >>> chosen_settings({"threads": 2}, memory_limit="1GB")
    {'threads': 2, 'memory_limit': '1000000000B'}
    """
    found: dict[str, Value] = {}
    for name, value in (config or {}).items():
        found[_ALIASES.get(name.lower(), name.lower())] = value
    arguments: dict[str, tuple[str, Value | None]] = {
        "memory_limit": ("memory_limit", memory_limit),
        "threads": ("threads", threads),
        "spill_limit": ("max_temp_directory_size", spill_limit),
    }
    for argument, (name, chosen) in arguments.items():
        if chosen is None:
            continue
        if name in found:
            raise InputError(
                f"{argument} is passed, and {name} in duckdb_config too",
                next_step="Leave one of them out",
            )
        if argument == "threads":
            if type(chosen) is not int or chosen < 1:
                raise InputError(f"threads={chosen!r} is no count", next_step="Pass 1 or more")
            found[name] = chosen
        else:
            assert isinstance(chosen, str | int)
            size = size_of(chosen, name=argument)
            if argument == "memory_limit" and size < _SMALLEST:
                raise InputError(
                    f"memory_limit={chosen!r} is too little", next_step="Pass 64MB or more"
                )
            found[name] = f"{size}B"
    return found


def with_defaults(chosen: Mapping[str, Value], machine: Machine, *, free: int) -> dict[str, Value]:
    """Return settings with safe values for what was not chosen. Pure.

    Half of the memory, as many threads as processors, and spill files of up to half of the
    ``free`` bytes of their disk. Of the memory, chosen or not, DuckDB gets its share (`for_duckdb`).

    >>> with_defaults({}, Machine(memory=4_000_000_000, processors=2), free=10_000_000_000)
    {'memory_limit': '1600000000B', 'threads': 2, 'max_temp_directory_size': '5000000000B'}
    """
    found = dict(chosen)
    if machine.memory is not None:
        found.setdefault("memory_limit", f"{max(machine.memory // 2, _SMALLEST)}B")
    if "memory_limit" in found:
        # DuckDB has words for no limit, and says so itself of what is no size.
        with contextlib.suppress(InputError):
            size = size_of(str(found["memory_limit"]), name="memory_limit")
            found["memory_limit"] = f"{for_duckdb(size)}B"
    found.setdefault("threads", machine.processors)
    found.setdefault("max_temp_directory_size", f"{max(free // 2, 1)}B")
    return found


def for_duckdb(limit: int) -> int:
    """Return how much of the memory that a process may take DuckDB may count. Pure.

    The rest, up to 400 MB, is for what else the process holds. Of a limit that is hardly more than
    that DuckDB has a share, and small ones it has whole: they cannot be kept by any process.

    >>> for_duckdb(2_000_000_000), for_duckdb(500_000_000), for_duckdb(100_000_000)
    (1600000000, 250000000, 100000000)
    """
    return max(limit - _AROUND, int(limit * _FOR_DUCKDB), min(limit, _BARE))


def spill_room(limit: Value, *, free: int) -> int:
    """Return how many bytes may be spilled within a limit, and the ``free`` bytes of the disk. Pure.

    >>> spill_room("1GB", free=5_000_000_000), spill_room("none", free=5_000_000_000)
    (1000000000, 5000000000)
    """
    try:
        return min(size_of(str(limit), name="max_temp_directory_size"), free)
    except InputError:
        return free  # DuckDB has words for no limit, and says so itself of what is no size


def free_bytes(folder: str) -> int:
    """Return how many bytes of a folder's disk are free for this user."""
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize
