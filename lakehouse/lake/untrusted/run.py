"""One query that runs in a process of its own, as seen from the lake."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pickle
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

from catalog import errors, lazy
from catalog.errors import InputError, LakehouseError
from catalog.storage import Storage
from lakehouse.duck.engine import Engine, Relation
from lakehouse.duck.errors import NameErrors
from lakehouse.duck.sql import identifier
from lakehouse.lake.untrusted import wire
from lakehouse.lake.untrusted.job import Planned
from lakehouse.lake.untrusted.lent import answer
from lakehouse.lake.untrusted.limits import Limits, exceeded
from lakehouse.scan.may import May
from lakehouse.scan.plan import Reach
from lakehouse.scan.reasons import not_pruned
from lakehouse.scan.report import Kept, NotPruned, TableRef, TableScan, report
from lakehouse.scan.views import TableView

pa: Any = lazy.module("pyarrow")
ipc: Any = lazy.module("pyarrow.ipc")

_MOST = 1 << 24  # bytes of a message other than a piece of the result
_FETCHES = 16  # at once, for one query
_KINDS: Mapping[str, type[LakehouseError]] = {
    kind.__name__: kind
    for kind in (
        errors.CorruptionError, errors.DataError, errors.InputError, errors.NotFoundError,
        errors.StorageError, errors.UnsupportedError,
    )
}  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True)
class Bound:
    """Hold the files that were chosen of a table, and what its view needs to read them."""

    where: May
    kept: Kept
    variable: Any
    vectors: Any

    @property
    def paths(self) -> tuple[str, ...]:
        """Return the files, as a reader takes them: in form of patterns."""
        return tuple(self.variable["files"][0].as_py())


class Run:
    """Speak with the process of one query; InputError where it goes over a limit."""

    def __init__(self, line: wire.Line, limits: Limits) -> None:
        self.line = line
        self.limits = limits
        self._until = time.monotonic() + limits.timeout

    def send(self, kind: bytes, payload: bytes) -> None:
        """Send it a message."""
        try:
            self.line.send(kind, payload)
        except OSError as error:
            raise self._ended() from error

    def receive(self, *, most: int = _MOST) -> tuple[bytes, bytearray]:
        """Return its next message; raises the error that it tells of."""
        try:
            kind, payload = self.line.receive(most=most, until=self._until)
        except TimeoutError:
            raise exceeded("timeout", f"timeout={self.limits.timeout:g} seconds") from None
        except (EOFError, OSError) as error:
            raise self._ended() from error
        if kind == wire.ERROR:
            raise self._told(json.loads(payload))
        return kind, payload

    def reached(self, keys: set[str]) -> dict[str, tuple[Reach, ...]]:
        """Return the filters and columns that reach each view."""
        _, payload = self.receive()
        found = json.loads(payload)
        return {
            key: tuple(
                Reach(
                    tuple(str(text) for text in scan["filters"]),
                    frozenset(int(column) for column in scan["columns"]),
                )
                for scan in found[key]
            )
            for key in keys
        }

    def _ended(self) -> LakehouseError:
        if self.line.is_shut:
            return InputError("cannot run the query: interrupted")
        if time.monotonic() >= self._until:
            return exceeded("timeout", f"timeout={self.limits.timeout:g} seconds")
        return exceeded(
            "memory_limit",
            f"its process ended, most likely at memory_limit={self.limits.memory_limit}",
        )

    def _told(self, told: Mapping[str, Any]) -> LakehouseError:
        bound = told.get("bound")
        if bound is not None:
            shown = getattr(self.limits, str(bound))
            more = f" ({told['message']})" if told["message"] else ""
            return exceeded(str(bound), f"{bound}={shown}{more}")
        kind = _KINDS.get(str(told["kind"]), LakehouseError)
        error = kind(str(told["message"]), next_step=told["next_step"])
        if told["name_error"] is not None:
            error.__cause__ = NameErrors[0](str(told["name_error"]))
        return error


@dataclasses.dataclass(frozen=True, slots=True)
class Guarded:
    """Hold a query that was planned in a process of its own, which waits to run it.

    ``scans`` are what the process told of; its `choices` leave out filters that would take
    something to evaluate here.
    """

    once: ClassVar[bool] = True
    is_kept: ClassVar[bool] = False

    engine: Engine
    run: Run
    stack: contextlib.ExitStack
    refs: tuple[TableRef, ...]
    views: tuple[TableView, ...]
    bound: tuple[Bound, ...]
    scans: tuple[tuple[Reach, ...], ...]
    cheap: tuple[tuple[Reach, ...], ...]

    @property
    def choices(self) -> tuple[tuple[TableRef, May, Sequence[Reach], Kept], ...]:
        """Return what was chosen of each table, and the filters that it was chosen by."""
        return tuple(
            (ref, bound.where, scans, bound.kept)
            for ref, bound, scans in zip(self.refs, self.bound, self.cheap, strict=True)
        )

    def close(self) -> None:
        """End the process."""
        self.stack.close()

    def tables(self) -> tuple[TableScan, ...]:
        """Return what is read of each table, for people: it counts all files."""
        return tuple(
            report(ref, bound.where, scans, bound.kept, _unpruned(ref, scans), self.engine)
            for ref, bound, scans in zip(self.refs, self.bound, self.scans, strict=True)
        )

    def relation(self) -> Relation:
        """Run the query, and return its result, which is here as a whole."""
        with self._running(explain=False) as messages:
            columns, pieces = [], []
            for kind, payload in messages:
                if kind == wire.COLUMNS:
                    columns = [str(name) for name in json.loads(payload)]
                else:
                    pieces.append(payload)
            rows = ipc.open_stream(b"".join(pieces)).read_all()
        rows.validate(full=True)
        return _relation(rows, columns, self.engine)

    def plan(self) -> str:
        """Return DuckDB's plan as text."""
        with self._running(explain=True) as messages:
            return b"".join(payload for _, payload in messages).decode()

    @contextlib.contextmanager
    def _running(self, *, explain: bool) -> Iterator[Iterator[tuple[bytes, bytearray]]]:
        with self.stack, ThreadPoolExecutor(_FETCHES, "lakehouse-fetch") as pool:
            try:
                self.run.send(wire.PLANNED, pickle.dumps(self._planned(explain=explain)))
                yield self._messages(pool)
            finally:
                # Ends the process, so that nobody waits for what it asked for.
                self.stack.close()

    def _messages(self, pool: ThreadPoolExecutor) -> Iterator[tuple[bytes, bytearray]]:
        left = self.run.limits.bytes
        planned = frozenset(_plain(path) for bound in self.bound for path in bound.paths)
        places = [ref.snapshot.storage for ref in self.refs]
        while True:
            kind, payload = self.run.receive(most=left + _MOST)
            if kind == wire.END:
                return
            if kind == wire.FETCH:
                pool.submit(self._fetch, json.loads(payload), places, planned)
                continue
            left -= len(payload)
            if left < 0:
                raise exceeded("max_bytes", f"max_bytes={self.run.limits.max_bytes}")
            yield kind, payload

    def _fetch(
        self, request: dict[str, Any], places: Sequence[Storage], planned: frozenset[str]
    ) -> None:
        found: Any
        try:
            found = answer(request, places, planned)
        except LakehouseError as error:
            found = error
        with contextlib.suppress(OSError):  # the query has ended
            self.run.line.send(wire.ANSWER, pickle.dumps((request["number"], found)))

    def _planned(self, *, explain: bool) -> Planned:
        local: set[str] = set()
        for bound in self.bound:
            local |= {*bound.paths, *map(_plain, bound.paths)}
        keys = [view.key for view in self.views]
        return Planned(
            kept={k: _stream(b.variable) for k, b in zip(keys, self.bound, strict=True)},
            vectors={
                k: _stream(b.vectors)
                for k, b in zip(keys, self.bound, strict=True)
                if b.vectors is not None
            },
            allowed=tuple(sorted(local)),
            remote=tuple(
                dict.fromkeys(
                    ref.snapshot.storage.url()
                    for ref in self.refs
                    if not ref.snapshot.storage.is_local
                )
            ),
            explain=explain,
        )


def _plain(pattern: str) -> str:
    """Return the path that a pattern of `escaped` stands for."""
    return re.sub(r"\[([\[*?])\]", r"\1", pattern)


def _stream(table: Any) -> bytes:
    sink = pa.BufferOutputStream()
    with ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _relation(rows: Any, columns: Sequence[str], engine: Engine) -> Relation:
    """Return rows as a relation; two columns may have one name."""
    numbered = [f"c{number}" for number in range(len(columns))]
    cursor = engine.cursor()
    found = cursor.from_arrow(rows.rename_columns(numbered))
    names = zip(numbered, columns, strict=True)
    shown = found.project(", ".join(f"{number} AS {identifier(name)}" for number, name in names))
    engine.keep_with(shown, cursor, "")
    return shown


def _unpruned(ref: TableRef, scans: Sequence[Reach]) -> Sequence[NotPruned]:
    filters = [text for scan in scans for text in scan.filters]
    return not_pruned(filters, ref.snapshot.files.layout)
