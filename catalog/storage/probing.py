"""Try out an object store, in a folder of its own: make the requests that `probe` judges."""

import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from catalog.errors import LakehouseError, OutcomeUnknownError
from catalog.storage.probe import (
    CLOCK,
    DELETE,
    IF_ABSENT,
    LARGE_IF_ABSENT,
    LIST,
    PIECES,
    READ,
    Answer,
    Observations,
    ProbeResult,
    Race,
    judge,
    judge_race,
)
from catalog.storage.storage import Storage

T = TypeVar("T")
FOLDER = "_probe"
_WRITERS = 8
_ROUNDS = 3
_LARGE_WRITERS = 2
# Above the size from which servers and proxies treat a body differently.
_LARGE = (5 << 20) + 1
# Above the size from which the storage sends a file in pieces.
_IN_PIECES = (8 << 20) + 1
# What a probe left behind that was killed.
_OLD = timedelta(days=1)


def probe(storage: Storage, *, clock: Callable[[], datetime]) -> ProbeResult:
    """Find out whether a lake may stand on the store that ``storage`` is a folder of.

    About 60 requests, 18 MiB up and 13 down, below ``_probe/``, all deleted again. Errors of the storage
    leave checks open instead of being raised.
    """
    at = clock()
    name = f"{FOLDER}/{uuid.uuid4().hex}"
    seen = _Observer(storage, name, clock).observe()
    endpoint = storage.settings.endpoint if storage.settings else storage.uri
    return judge(seen, endpoint=endpoint, at=at)


class _Observer:
    def __init__(self, storage: Storage, name: str, clock: Callable[[], datetime]) -> None:
        self._storage = storage
        self._name = name
        self._folder = storage.child(name)
        self._clock = clock
        self._problems: dict[str, str] = {}

    def observe(self) -> Observations:
        before = self._clock()
        try:
            self._folder.put("clock", b"")
        except LakehouseError as error:
            # Who may not write is told so once, and asks no more.
            return Observations(problems={"": error.message})
        after = self._clock()
        seen = Observations(
            skew=self._try(CLOCK, lambda: self._skew(before, after)),
            reads=self._try(READ, self._reads),
            lists=self._try(LIST, self._lists),
            races=tuple(self._races(IF_ABSENT, _ROUNDS, _WRITERS, 1)),
            large_races=tuple(self._races(LARGE_IF_ABSENT, 1, _LARGE_WRITERS, _LARGE)),
            pieces=self._try(PIECES, self._pieces),
        )
        return replace(
            seen, deletes=bool(self._try(DELETE, self._deletes)), problems=self._problems
        )

    def _try(self, check: str, do: Callable[[], T]) -> T | None:
        try:
            return do()
        except LakehouseError as error:
            self._problems[check] = error.message
            return None

    def _skew(self, before: datetime, after: datetime) -> timedelta | None:
        found = self._folder.head("clock")
        return found.modified - min(max(found.modified, before), after) if found else None

    def _reads(self) -> bool:
        # Looking first: some caches remember that there was nothing.
        if self._folder.head("read") is not None:
            return False
        self._folder.put("read", b"first")
        if self._folder.read_or_none("read") != b"first":
            return False
        self._folder.put("read", b"second")
        return self._folder.read_or_none("read") == b"second"

    def _lists(self) -> bool:
        for number in range(3):
            names = {item.path for item in self._folder.list("list")}
            if names != {f"list/{before}" for before in range(number)}:
                return False
            self._folder.put(f"list/{number}", b"")
        return len(list(self._folder.list("list"))) == 3

    def _races(self, check: str, rounds: int, writers: int, size: int) -> Iterator[Race]:
        """Yield races until so many were clear; lost answers are worth as many more."""
        clear = 0
        for number in range(2 * rounds):
            race = self._try(check, partial(self._race, check, f"{size}-{number}", writers, size))
            if race is None:
                continue
            yield race
            verdict = judge_race(race)
            clear += verdict is True
            if verdict is False or clear == rounds:
                return

    def _race(self, check: str, name: str, writers: int, size: int) -> Race:
        bodies = [bytes([65 + writer]) * size for writer in range(writers)]
        together = threading.Barrier(writers)

        def write(body: bytes) -> Answer:
            together.wait()
            return self._answer(check, name, body)

        with ThreadPoolExecutor(writers) as pool:
            answers = list(pool.map(write, bodies))
        found = self._folder.read_or_none(name)
        if size < _LARGE:
            # Whoever comes late is told so as well, also if the file was replaced since.
            self._folder.put(name, b"replaced")
            answers.append(self._answer(check, name, b"late"))
        stored = bodies.index(found) if found in bodies else None
        return Race(answers=tuple(answers), stored=stored)

    def _answer(self, check: str, name: str, body: bytes) -> Answer:
        try:
            return "written" if self._folder.put_if_absent(name, body) else "exists"
        except OutcomeUnknownError as error:
            self._problems[check] = error.message
            return "unknown"
        except LakehouseError as error:
            self._problems[check] = error.message
            return "denied"

    def _pieces(self) -> bool:
        body = b"0123456789abcdef" * (_IN_PIECES // 16 + 1)
        self._folder.put("pieces", body)
        return self._folder.read_or_none("pieces") == body

    def _deletes(self) -> bool:
        def ours(path: str) -> bool:
            return path.startswith(f"{self._name}/")

        there = list(self._storage.list(FOLDER))
        newest = max((item.modified for item in there), default=self._clock())
        self._storage.delete(
            item.path for item in there if ours(item.path) or newest - item.modified > _OLD
        )
        return not any(ours(item.path) for item in self._storage.list(FOLDER))
