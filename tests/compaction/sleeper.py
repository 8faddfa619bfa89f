"""A keeper in a process of its own, that is stopped right before its commit."""

import os
import signal
import sys
from collections.abc import Callable
from typing import TypeVar

from catalog import Catalog, open_storage
from compaction import Keeper
from lakehouse.duck.engine import Engine
from lakehouse.lake.lake import Lake
from lakehouse.testing.watched import Watched

T = TypeVar("T")


def main(uri: str) -> None:
    """Look after the first table, and say what became of it."""

    def around(call: str, path: str, make: Callable[[], T]) -> T:
        if call == "put_if_absent" and "_delta_log" in path:
            os.kill(os.getpid(), signal.SIGSTOP)
        return make()

    storage = open_storage(uri, durable=False).wrapped(lambda inner: Watched(inner, around))
    with Lake(storage, Catalog.open(storage, create=False), Engine({"threads": 1})) as lake:
        keeper = Keeper(lake, name="sleeper")
        report = keeper.attend(keeper.tasks()[0])
    sys.stdout.write(report.outcome)


if __name__ == "__main__":
    main(sys.argv[1])
