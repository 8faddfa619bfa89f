"""The writer that is killed: it follows the script, tells what it does, and dies where it must."""

from __future__ import annotations

import dataclasses
import json
import os
import posixpath
import signal
import threading
import uuid
from collections.abc import Callable
from typing import Literal, NoReturn, TypeVar

from catalog.catalog import Catalog
from catalog.storage import Storage
from catalog.storage.backend import TEMPORARY_PREFIX
from lakehouse.delta.log import LOG
from lakehouse.duck.engine import Engine
from lakehouse.lake.lake import Lake
from lakehouse.testing.places import Place
from lakehouse.testing.script import perform, step
from lakehouse.testing.watched import Watched

T = TypeVar("T")
Side = Literal["before", "within", "after"]
TABLE = "bronze.killed"


@dataclasses.dataclass(frozen=True, slots=True)
class Aim:
    """Say where a writer dies: at its ``call``-th storage call, or (None) at any moment.

    With ``puts`` only puts are counted: they are few, and matter most. Any moment is ``delay`` seconds after it began its ``step``-th step. ``within`` a put means that
    half of a temporary file is written, which has no name yet.
    """

    call: int | None
    side: Side = "before"
    puts: bool = False
    step: int = 0
    delay: float = 0.0


def write(place: Place, journal: str, seed: int, first: int, aim: Aim) -> NoReturn:
    """Do the script's steps from ``first`` on until death, telling of each in the journal."""
    tell = _Journal(journal)
    plain = place.storage()
    sight = _Sight(plain, aim, tell)
    storage = plain.wrapped(lambda inner: Watched(inner, sight))
    lake = Lake(storage, Catalog.open(storage, create=False, probe="never"), Engine({"threads": 2}))
    table = lake.table(TABLE)
    number = first
    while True:
        todo = step(seed, number)
        if aim.call is None and number == first + aim.step:
            threading.Timer(aim.delay, _die).start()
        tell("begin", step=number, kind=todo.kind)
        report = perform(table, todo)
        tell("done", step=number, replayed=report is not None and report.replayed)
        number += 1


class _Journal:
    """Append lines to a file; what is in the page cache outlives the process."""

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def __call__(self, what: str, **more: object) -> None:
        os.write(self._descriptor, json.dumps({"what": what, **more}).encode() + b"\n")


class _Sight:
    """Tell of every storage call, and die at one of them."""

    def __init__(self, plain: Storage, aim: Aim, tell: _Journal) -> None:
        self._plain = plain
        self._aim = aim
        self._tell = tell
        self._calls = 0

    def __call__(self, call: str, path: str, make: Callable[[], T], /) -> T:
        counts = call.startswith("put") or not self._aim.puts
        self._calls += counts
        hit, kind = counts and self._calls == self._aim.call, _kind_of(path)
        if hit and self._aim.side == "within" and call.startswith("put"):
            name = f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}"
            self._plain.put(posixpath.join(posixpath.dirname(path), name), b'{"commitInfo":')
            self._tell("within", call=call, of=kind)
            _die()
        self._tell("before", call=call, of=kind)
        if hit and self._aim.side != "after":
            _die()
        try:
            return make()
        finally:
            self._tell("after", call=call, of=kind)
            if hit:
                _die()


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _kind_of(path: str) -> str:
    if LOG not in path:
        return "the catalog" if path.startswith("_catalog") else "data"
    name = posixpath.basename(path)
    if "checkpoint" in name:
        return "a checkpoint"
    return "a commit" if name.endswith(".json") else "the log"
