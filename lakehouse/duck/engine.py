"""Own the embedded DuckDB: one in-memory instance a lake, one cursor a piece of work."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import duckdb

from catalog import lazy
from catalog.errors import InputError
from catalog.storage import Storage
from lakehouse.duck import signals
from lakehouse.duck.errors import translated
from lakehouse.duck.fetching import Fetching
from lakehouse.duck.machine import machine
from lakehouse.duck.planning import Planning
from lakehouse.duck.reach import Reach, Way
from lakehouse.duck.settings import Value, free_bytes, spill_room, with_defaults
from lakehouse.duck.spill import SpillFolder
from lakehouse.duck.sql import identifier, literal

pa: Any = lazy.module("pyarrow")

# Settings that say what a query means. All others stay out of processes for untrusted SQL: they
# may hold keys, or open what is closed there.
MEANING = frozenset(
    {
        "calendar",
        "default_collation",
        "default_null_order",
        "default_order",
        "ieee_floating_point_ops",
        "integer_division",
        "null_order",
        "old_implicit_casting",
        "order_by_non_integer_literal",
        "preserve_identifier_case",
        "scalar_subquery_error_on_multiple_rows",
    }
)
Connection = duckdb.DuckDBPyConnection
Relation = duckdb.DuckDBPyRelation
Statement = duckdb.Statement
TEMPORARY = "lakehouse_temporary"  # the database of users' temporary tables
_THREADS_A_CORE, _MOST_THREADS = 4, 32
VERSION: tuple[int, ...] = tuple(int(part) for part in duckdb.__version__.split(".")[:2])


class Engine:
    """Run DuckDB for one lake.

    ``config`` holds DuckDB settings (``memory_limit``, ``threads``, ``temp_directory`` ...); what
    it leaves out has safe values, and files are spilled below ``spill_folder``. The session's time
    zone is UTC unless ``config`` says otherwise, so that results do not depend on the machine. Work
    larger than the memory limit spills to ``temp_directory``, at most ``spill_room`` bytes.
    ``progress`` has progress counted.

    Use one cursor per thread or piece of work; cursors share the instance's memory limit.
    """

    def __init__(
        self,
        config: Mapping[str, Value] | None = None,
        *,
        spill_folder: str | os.PathLike[str] | None = None,
        progress: bool = False,
    ) -> None:
        self._given = (dict(config or {}), spill_folder)
        self._machine = machine()
        self._spill = SpillFolder(spill_folder)
        self._folder = self._spill.path
        chosen = dict(config or {})
        self._chose_threads = "threads" in chosen
        chosen.setdefault("temp_directory", str(self._folder / "spill"))
        free = free_bytes(str(self._folder))
        settings: dict[str, Any] = with_defaults(chosen, self._machine, free=free)
        time_zone = str(settings.pop("TimeZone", settings.pop("timezone", "UTC")))
        self.meaning = {"timezone": time_zone} | {
            name.lower(): str(value) for name, value in chosen.items() if name.lower() in MEANING
        }
        # At the start DuckDB takes this one and does not keep to it.
        spill_limit = settings.pop("max_temp_directory_size")
        self.spill_room = spill_room(spill_limit, free=free)
        try:
            with translated("open the embedded DuckDB"):
                self._root = duckdb.connect(":memory:", config=settings)
                self._root.execute(
                    f"SET GLOBAL max_temp_directory_size = {literal(str(spill_limit))}"
                )
                self._root.execute(f"SET GLOBAL TimeZone = {literal(time_zone)}")
        except BaseException:
            self._spill.delete()
            raise
        self._lock = threading.RLock()  # a signal's handler may interrupt whoever holds it
        self._cursors: weakref.WeakSet[Connection] = weakref.WeakSet()
        self._kept: weakref.WeakKeyDictionary[Relation, tuple[Connection, str]] = (
            weakref.WeakKeyDictionary()
        )
        self._once: set[str] = set()
        self._counts_progress = progress
        self.has_temporary = False
        self._reach = Reach(self._root, self._lock)
        self._planning = Planning(self._run, settings)
        self._fetching = Fetching(self._run, settings, has=VERSION >= (2, 0))
        self.empty_parquet = self.no_rows([("nothing", "INTEGER")])
        signals.listen(self)

    def cursor(self, *, counted: bool = True) -> Connection:
        """Return a new connection to the same instance, with its progress ``counted`` or not."""
        with _open():
            cursor = self._root.cursor()
            if self._counts_progress and counted:  # DuckDB has these for each connection
                cursor.execute("SET enable_progress_bar = true")
                cursor.execute("SET enable_progress_bar_print = false")
        with self._lock:
            self._cursors.add(cursor)
        signals.listen(self)
        return cursor

    def sibling(self) -> Engine:
        """Return another engine with the same settings."""
        config, spill_folder = self._given
        return Engine(config, spill_folder=spill_folder)

    def hand_out(self) -> Connection:
        """Return a connection for others to keep: this engine closes when it is gone."""
        connection = self.cursor()
        weakref.finalize(connection, self.close)
        return connection

    def interrupt(self) -> None:
        """Stop whatever this instance runs; call it from another thread."""
        with self._lock:
            running = list(self._cursors)
        for cursor in running:
            with contextlib.suppress(duckdb.ConnectionException):  # closed in the meantime
                cursor.interrupt()

    def progress(self) -> float | None:
        """Return how much of what runs is done, 0 to 1; None where that is not known.

        Of several queries, that of the one that is nearest to its end.
        """
        with self._lock:
            running = list(self._cursors)
        found = []
        for cursor in running:
            with contextlib.suppress(duckdb.ConnectionException):  # closed in the meantime
                found.append(cursor.query_progress())
        done = max(found, default=-1.0)
        return None if done < 0 else min(done / 100, 1.0)

    def keep_with(self, relation: Relation, cursor: Connection, sql: str) -> None:
        """Let a cursor live, and be interrupted, as long as a relation that it made of ``sql``."""
        with self._lock:
            self._kept[relation] = (cursor, sql)

    def made_of(self, relation: Relation) -> tuple[Connection, str] | None:
        """Return the cursor and the SQL of a relation that was kept, or None for any other."""
        with self._lock:
            return self._kept.get(relation)

    def rows(
        self, values: Sequence[Mapping[str, Any]], *, schema: pa.Schema | None = None
    ) -> Relation:
        """Return dicts as a relation, as if a query had given them.

        Without ``schema`` there is at least one, and their values tell the types.
        """
        cursor = self.cursor()
        relation = cursor.from_arrow(pa.Table.from_pylist([dict(row) for row in values], schema))
        self.keep_with(relation, cursor, "")
        return relation

    @contextlib.contextmanager
    def work(self, doing: str, *, reading: bool = False) -> Iterator[Connection]:
        """Give a cursor for a piece of work, translate DuckDB's errors, and close it."""
        cursor = self.cursor()
        try:
            with translated(doing, reading=reading):
                yield cursor
        finally:
            cursor.close()

    @contextlib.contextmanager
    def preparing(self, doing: str) -> Iterator[Connection]:
        """Give a cursor for work that goes on later: like `work`, but closed only on a failure."""
        cursor = self.cursor()
        try:
            with translated(doing):
                yield cursor
        except BaseException:
            cursor.close()
            raise

    def once(self, key: str, *statements: str) -> None:
        """Run statements the first time that this engine sees ``key``; safe between threads."""
        with self._lock:
            if key in self._once:
                return
            for statement in statements:
                self._run(statement)
            self._once.add(key)

    def no_rows(self, columns: Sequence[tuple[str, str]]) -> str:
        """Return the path of a Parquet file that has columns, by name and type, and no row."""
        selected = ", ".join(f"NULL::{type_} AS {identifier(name)}" for name, type_ in columns)
        name = hashlib.sha256(selected.encode()).hexdigest()[:20]
        path = str(self._folder / f"no-rows-{name}.parquet")
        copy = f"COPY (SELECT {selected} WHERE false) TO {literal(path)} (FORMAT parquet)"
        self.once(path, copy)
        return path

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """Give a folder on local disk for files of a piece of work, and delete it after."""
        with tempfile.TemporaryDirectory(dir=self._folder, ignore_cleanup_errors=True) as folder:
            yield Path(folder)

    def planning(
        self, *, off: tuple[str, ...], most: int | None = None
    ) -> contextlib.AbstractContextManager[None]:
        """Plan without some optimizers meanwhile, see `lakehouse.duck.planning`."""
        return self._planning.changed(off=off, most=most)

    def reading_tiny_files(self, storage: Storage) -> contextlib.AbstractContextManager[None]:
        """Read many tiny files of a storage more cheaply meanwhile, see `lakehouse.duck.fetching`."""
        # Where requests take their time, these threads wait for them; so they do for others' queries.
        if self._reach.is_remote or not storage.is_local:
            return contextlib.nullcontext()
        return self._fetching.inline()

    def prefer_reading(self, *, inline: bool | None) -> None:
        """Read local files without threads that wait for the disk, or with them, from now on.

        None is for whoever does not mind.
        """
        if inline is not None:
            self._fetching.prefer(inline=inline and not self._reach.is_remote)

    def keep_temporary(self) -> None:
        """Make room for temporary tables, which all later queries see."""
        self.once(TEMPORARY, f"ATTACH ':memory:' AS {TEMPORARY}")
        self.has_temporary = True

    def search(self, database: str) -> str:
        """Return SQL that lets names be looked up in a database, and among temporary tables."""
        if not self.has_temporary:
            return f"USE {database}"
        return f"SET search_path = '{database}.main,{TEMPORARY}.main'"

    def mount(self, storage: Storage) -> Way:
        """Let this instance open the files below a storage's folder; return who fetches them."""
        if storage.is_local:
            return "disk"
        if VERSION < (2, 0) and not self._chose_threads:
            # DuckDB 1.5 has no others than its working threads to wait for answers.
            threads = min(_MOST_THREADS, _THREADS_A_CORE * self._machine.processors)
            self.once("threads", f"SET GLOBAL threads = {threads}")
        with translated(f"reach {storage.uri}"):
            return self._reach.mount(storage)

    def read_ahead(self, files: Iterable[tuple[str, int | None]]) -> None:
        """Begin to fetch files that a query is going to read, by URL and size in bytes."""
        self._reach.read_ahead(files)

    def close(self) -> None:
        """Close the instance and remove its spill folder."""
        self._reach.close()
        signals.forget(self)
        # DuckDB 2.0 refuses to close a connection at work, and this one works under the lock.
        with self._lock:
            self._root.close()
        self._spill.delete()

    def _run(self, statement: str) -> None:
        with self._lock, _open():
            self._root.execute(statement)

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


@contextlib.contextmanager
def _open() -> Iterator[None]:
    try:
        yield
    except duckdb.ConnectionException as error:
        raise InputError("the lake is closed", next_step="Connect to it again") from error
