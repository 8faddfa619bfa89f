"""Who writes the copies of a plan: this thread, several, or several processes.

An executor writes files and returns what it wrote; it commits nothing, so that one that dies loses
the copies at hand and nothing else. `compaction.on_ray` has one for a Ray cluster.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol

from lakehouse import LakehouseError
from lakehouse.duck.engine import Engine
from lakehouse.scan.read import Scanner
from lakehouse.table.copying import Copied, Copy
from lakehouse.table.written import write_copy

Write = Callable[[Copy], Copied]
Outcome = Copied | LakehouseError
Setting = str | int | float | bool


class Executor(Protocol):
    """Write copies, at once or one after the other.

    Yields each copy's number and what came of it, as they get ready. ``write`` is the caller's own
    way to write one, in its own DuckDB; whoever works elsewhere does without. Copies are asked for
    when there is room for them, so that the caller may stop by giving no more.
    """

    def run(self, copies: Iterable[Copy], write: Write) -> Iterator[tuple[int, Outcome]]:
        """Write the copies."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class Inline:
    """Write one copy after the other, with all threads of DuckDB for each."""

    def run(self, copies: Iterable[Copy], write: Write) -> Iterator[tuple[int, Outcome]]:
        """Write the copies."""
        for number, copy in enumerate(copies):
            yield number, attempt(write, copy)


@dataclasses.dataclass(frozen=True, slots=True)
class Threads:
    """Write several copies at once in the caller's DuckDB, which shares its memory among them."""

    count: int = 4

    def run(self, copies: Iterable[Copy], write: Write) -> Iterator[tuple[int, Outcome]]:
        """Write the copies."""
        with concurrent.futures.ThreadPoolExecutor(self.count, "lakehouse-upkeep") as pool:
            yield from in_pool(copies, self.count, lambda copy: pool.submit(attempt, write, copy))


@dataclasses.dataclass(frozen=True, slots=True)
class Processes:
    """Write several copies at once, each process with a DuckDB of its own.

    ``duckdb_config`` are the settings of each: ``memory_limit`` is for one process.
    """

    count: int = 2
    duckdb_config: Mapping[str, Setting] = dataclasses.field(default_factory=dict)

    def run(self, copies: Iterable[Copy], write: Write) -> Iterator[tuple[int, Outcome]]:  # noqa: ARG002
        """Write the copies."""
        context = multiprocessing.get_context("spawn")
        config = dict(self.duckdb_config)
        with concurrent.futures.ProcessPoolExecutor(self.count, mp_context=context) as pool:
            yield from in_pool(
                copies, self.count, lambda copy: pool.submit(write_elsewhere, copy, config)
            )


def write_elsewhere(copy: Copy, config: Mapping[str, Setting]) -> Outcome:
    """Write a copy in a DuckDB that is opened for it."""
    with Engine(config) as engine:
        return attempt(lambda it: write_copy(it, engine=engine, scanner=Scanner(engine)), copy)


def attempt(write: Write, copy: Copy) -> Outcome:
    """Write a copy; return the error where it cannot be written."""
    try:
        return write(copy)
    except LakehouseError as error:
        return error


def in_pool(
    copies: Iterable[Copy],
    width: int,
    submit: Callable[[Copy], concurrent.futures.Future[Outcome]],
    *,
    deaths: tuple[type[Exception], ...] = (concurrent.futures.BrokenExecutor,),
) -> Iterator[tuple[int, Outcome]]:
    """Yield what futures come to, with a few more begun than are worked on.

    ``deaths`` are the errors that say that a worker died, or cannot be reached.
    """
    waiting: dict[concurrent.futures.Future[Outcome], int] = {}
    coming = enumerate(copies)
    more = True
    while more or waiting:
        while more and len(waiting) < 2 * width:
            following = next(coming, None)
            if following is None:
                more = False
                break
            number, copy = following
            try:
                waiting[submit(copy)] = number
            except deaths as error:
                yield number, _died(error)
        done, _ = concurrent.futures.wait(waiting, return_when=concurrent.futures.FIRST_COMPLETED)
        for future in done:
            number = waiting.pop(future)
            try:
                yield number, future.result()
            except deaths as error:
                yield number, _died(error)


def _died(error: Exception) -> LakehouseError:
    return LakehouseError(
        f"a worker died: {type(error).__name__}",
        next_step="Look at the workers' memory and logs; nothing of it was committed",
    )
