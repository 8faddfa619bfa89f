"""`Lake`: the entry to a lakehouse, and SQL over its tables."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from types import TracebackType
from typing import Any, Literal

from catalog import storage as storages
from catalog.catalog import Catalog
from catalog.errors import InputError
from catalog.fitness import Probing
from catalog.holds import FOLDER, Holds
from catalog.storage import Storage, open_storage
from lakehouse import lake as room
from lakehouse.duck.engine import Connection, Engine, Relation
from lakehouse.duck.settings import chosen_settings
from lakehouse.lake.queries import Queries
from lakehouse.lake.statements.first import is_statement
from lakehouse.lake.tables import DropReport, TableInfo, Tables
from lakehouse.lake.untrusted.limits import Limits
from lakehouse.scan.answers import Answers
from lakehouse.scan.asked import Params
from lakehouse.scan.read import Scanner
from lakehouse.scan.tally import Reads, merged
from lakehouse.table.background import Background
from lakehouse.table.handle import Table


def connect(
    uri: str | os.PathLike[str],
    *,
    create: bool = True,
    layers: Sequence[str] = ("bronze", "silver", "gold"),
    memory_limit: str | int | None = None,
    threads: int | None = None,
    spill_folder: str | os.PathLike[str] | None = None,
    spill_limit: str | int | None = None,
    duckdb_config: Mapping[str, str | int | float | bool] | None = None,
    durable: bool = True,
    probe: Probing = "once",
    untrusted_sql: bool | Limits = False,
    record_reads: bool = False,
    keep_answers: bool = True,
    progress: bool = False,
    **storage_options: Any,
) -> Lake:
    """Open the lake at ``uri``, and create it if it is not there.

    ``uri`` is a folder (``./lake``, ``file:///data/lake``) or a place in object storage
    (``s3://bucket/lake``, ``az://container/lake``, ``gs://bucket/lake``). ``create=False`` raises
    NotFoundError where there is no lake. ``layers`` are those of a new lake. ``durable=False``
    skips fsync: faster, and a power cut may lose what was acknowledged. ``record_reads`` keeps,
    when the lake is closed, a document that says by which columns its queries filtered and how many
    files they read, so that upkeep knows what sorting a table would be worth. ``keep_answers=False``
    has every query read its tables; else small answers of queries that come again are kept while
    their tables are the same (docs/sql.md). ``progress`` lets `Lake.progress` tell how far a query is.

    ``memory_limit`` (bytes, or ``"4GB"``; half of the machine's or container's) bounds what this
    process takes for the lake. The embedded DuckDB has it less 400 MB for Python, Arrow and what
    DuckDB does not count (of limits below 800 MB half, but 128 MB; ``current_setting('memory_limit')``
    tells), and then spills to files: below ``spill_folder`` (the system's for temporary files), of
    up to ``spill_limit`` (half of what is free there). They go when the lake is closed, and those of
    processes that were killed when the next lake is opened. Rows that you hold yourself, such as
    results in pandas, come on top. ``threads`` are as many as processors. ``duckdb_config`` has
    other settings of DuckDB, such as ``{"TimeZone": "Asia/Tokyo"}``; a ``memory_limit`` there is
    meant alike.

    ``untrusted_sql`` locks `Lake.sql`, `Lake.explain` and those of snapshots down, for SQL that
    anybody may have written: it can read the lake's tables and compute, nothing else, each query
    in a process of its own with `Limits`. docs/untrusted.md has what it keeps and what not.

    ``storage_options`` say how object storage is reached: ``endpoint_url``, ``region``, keys
    (``access_key_id`` and ``secret_access_key``, ``account_name`` and ``account_key``, ...),
    ``credentials`` (a function that is asked for keys when they expire), ``profile``, ``ca_file``,
    ``proxy_url``, ``timeout``, ``retries``, ``requests``, and ``reader``, who fetches data files
    for DuckDB. What is left out comes from the environment and the profiles of the AWS tools.
    docs/storage.md has them all.

    The first to connect to a lake on an object store probes whether the store keeps what commits
    rely on (about 60 requests, 18 MiB up and 13 down), and raises UnsupportedError if it does not.
    The result is kept beside the catalog: ``probe="again"`` does not believe it, ``"never"`` does
    not ask.

    >>> import tempfile
    >>> with connect(tempfile.mkdtemp()) as lake:
    ...     table = lake.create_table("bronze.numbers", {"n": "BIGINT"})
    ...     report = table.append([{"n": 1}, {"n": 2}])
    ...     lake.sql("select sum(n) from bronze.numbers").fetchall()
    [(3,)]
    """
    settings = chosen_settings(
        duckdb_config, memory_limit=memory_limit, threads=threads, spill_limit=spill_limit
    )
    storage = open_storage(uri, durable=durable, **storage_options)
    catalog = Catalog.open(storage, create=create, layers=tuple(layers), probe=probe)
    limits = untrusted_sql if isinstance(untrusted_sql, Limits) else None
    if untrusted_sql is True:
        limits = Limits()
    return Lake(
        storage,
        catalog,
        Engine(settings, spill_folder=spill_folder, progress=progress),
        limits=limits,
        record_reads=record_reads,
        keep_answers=keep_answers,
    )


class Lake:
    """Hold tables in layers, and run SQL over them. Made by `connect`; safe between threads."""

    def __init__(
        self,
        storage: Storage,
        catalog: Catalog,
        engine: Engine,
        *,
        limits: Limits | None = None,
        record_reads: bool = False,
        keep_answers: bool = True,
    ) -> None:
        self._storage = storage
        self._catalog = catalog
        self._engine = engine
        self._reader = engine.mount(storage)
        self._scanner = Scanner(engine, trusted=limits is None)
        self._door = None if limits is None else room.untrusted.Door(engine, self._scanner, limits)
        self._background = Background(engine)
        self._record_reads = record_reads
        self._holds = Holds(storage.child(FOLDER))
        self._tables = Tables(
            storage, catalog, engine, self._scanner, self._background, self._holds
        )
        answers = Answers(engine, self._scanner.tally) if keep_answers else None
        self._queries = Queries(
            catalog, engine, self._scanner, self._tables.handle, self._door, answers
        )

    def __repr__(self) -> str:
        return f"Lake({self.uri!r})"

    def __enter__(self) -> Lake:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @cached_property
    def _views(self) -> room.views.Views:
        return room.views.Views(self._catalog, self._queries)

    @cached_property
    def _statements(self) -> room.running.Statements:
        return room.running.Statements(
            self._catalog, self._engine, self._tables, self._views, self._queries
        )

    @cached_property
    def _connections(self) -> room.connections.Connections:
        return room.connections.Connections(self._engine, self._scanner, self._queries.pins)

    @property
    def uri(self) -> str:
        """Return where the lake is."""
        return self._storage.url()

    @property
    def catalog(self) -> Catalog:
        """Return the lake's catalog, for its history and for descriptions, owners and tags."""
        return self._catalog

    @property
    def reader(self) -> Literal["disk", "duckdb", "obstore"]:
        """Return who fetches data files for DuckDB: the disk, its own extension, or obstore."""
        return self._reader

    def close(self) -> None:
        """Close the embedded DuckDB and delete its spill files; results not yet read are lost.

        Waits for what goes on in the background, as `settle` does.
        """
        try:
            self.settle()
            if self._record_reads:
                self._record_reads = False
                room.reads.save(self._storage, self._scanner.tally.counted())
        finally:
            self._queries.close()
            if self._door is not None:
                self._door.close()
            self._engine.close()

    def settle(self) -> None:
        """Wait for checkpoints and cleaning in the background, which begin after commits."""
        self._background.settle()

    def reads(self) -> tuple[Reads, ...]:
        """Return how often tables were read with filters on which columns, and how much of them.

        By this session, and by those that were opened with ``record_reads`` and are closed.
        """
        return merged((*room.reads.load(self._storage), *self._scanner.tally.counted()))

    def interrupt(self) -> None:
        """Stop the queries and writes that run now; call it from another thread.

        What is stopped raises; a write that is stopped leaves its table as it was. Ctrl-C does the
        same in the main thread, unless the program handles SIGINT itself (docs/ctrl-c.md).
        """
        self._engine.interrupt()
        if self._door is not None:
            self._door.interrupt()

    def progress(self) -> float | None:
        """Return how much of the query that runs is done, 0 to 1; call it from another thread.

        None where nothing runs, where DuckDB does not know, and without ``connect(progress=True)``.
        What takes several queries, such as a merge, begins anew with each.
        """
        return self._engine.progress()

    def layers(self) -> list[str]:
        """Return the layers' names, in order of declaration."""
        return self._catalog.layers()

    def declare_layer(self, name: str, *, description: str | None = None) -> None:
        """Add a layer beside bronze, silver and gold."""
        self._catalog.declare_layer(name, description)

    def create_table(
        self,
        name: str,
        schema: Any,
        *,
        partition_by: str | Sequence[str] = (),
        description: str | None = None,
        properties: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        if_not_exists: bool = False,
    ) -> Table:
        """Create an empty table, and return it.

        ``schema`` is a `pyarrow.Schema`, a dict of column names to DuckDB types (``{"id": "BIGINT
        NOT NULL", "at": "TIMESTAMPTZ"}``), or rows whose columns are taken. ``properties`` that
        switch on a feature decide the table's protocol; ``metadata`` is kept in its history.
        Exactly one of several that create a name at the same time wins; the others get AlreadyExistsError, or
        the winner's table with ``if_not_exists``.
        """
        return self._tables.create(
            name,
            schema,
            partition_by=partition_by,
            description=description,
            properties=properties,
            metadata=metadata,
            if_not_exists=if_not_exists,
        ).table

    def table(self, name: str) -> Table:
        """Return a table by its name; NotFoundError carries the near misses."""
        return self._tables.table(name)

    def tables(self, *, layer: str | None = None) -> list[TableInfo]:
        """Return the tables of the lake, or of one layer, ordered by name."""
        return self._tables.infos(layer)

    def drop_table(self, name: str, *, purge: bool = False, cascade: bool = False) -> DropReport:
        """Take a table out of the catalog.

        Its files stay, and `register_table` brings it back, unless ``purge`` deletes them;
        tables that were registered are never deleted. Raises InputError where views read it,
        unless ``cascade`` drops these too.
        """
        return self._tables.drop(name, purge=purge, cascade=cascade)

    def rename_table(self, old: str, new: str) -> Table:
        """Give a table that no view reads another name; its files do not move."""
        return self._tables.rename(old, new)

    def register_table(self, name: str, uri: str | os.PathLike[str]) -> Table:
        """Give an existing Delta table a name in this lake; its files stay where they are.

        Raises NotFoundError where there is no Delta table at ``uri``.
        """
        return self._tables.register(name, uri)

    def create_view(
        self, name: str, query: str, *, description: str | None = None, replace: bool = False
    ) -> room.views.ViewInfo:
        """Keep a query under a name, for all queries of all users of the lake.

        It may read tables, earlier versions of them (``AT``), other views, and files. Tables and
        views that it reads cannot be dropped or renamed while it is there. Raises InputError for
        a query that does not run, AlreadyExistsError for a name that is taken, unless ``replace``
        puts the query in place of a view's.

        >>> import tempfile, lakehouse
        >>> with lakehouse.connect(tempfile.mkdtemp()) as lake:
        ...     report = lake.create_table("silver.t", {"n": "BIGINT"}).append([{"n": 1}, {"n": 5}])
        ...     view = lake.create_view("gold.large", "SELECT n FROM silver.t WHERE n > 3")
        ...     view.depends_on, lake.sql("SELECT * FROM gold.large").fetchall()
        (('silver.t',), [(5,)])
        """
        return self._views.create(name, query, description=description, replace=replace)

    def drop_view(self, name: str, *, cascade: bool = False) -> room.views.DropViewReport:
        """Drop a view; InputError where others read it, unless ``cascade`` drops these too."""
        return self._views.drop(name, cascade=cascade)

    def view(self, name: str) -> room.views.ViewInfo:
        """Return what the catalog knows of a view; NotFoundError carries the near misses."""
        return self._views.info(name)

    def views(self, *, layer: str | None = None) -> list[room.views.ViewInfo]:
        """Return the views of the lake, or of one layer, ordered by name."""
        return self._views.infos(layer)

    def sql(self, query: str, params: Params = None) -> Relation:
        """Run SQL over the lake's tables, and return the result as a lazy DuckDB relation.

        Tables are named as in the catalog; ``silver.flights AT (VERSION => 3)`` or
        ``AT (TIMESTAMP => '2024-01-31 12:00')`` reads an earlier state. ``params`` are a sequence
        for ``?`` or ``$1``, or a mapping for ``$name``. Only files that may hold matching rows
        are opened; `explain` shows which.

        ``CREATE TABLE``, ``INSERT``, ``DELETE``, ``ALTER TABLE``, ``DROP TABLE`` and their like
        (docs/sql.md) are done at once, and return their report as a row.
        """
        # Untrusted SQL only ever queries: no statement of ours is looked for in it.
        if self._door is None and is_statement(query):
            return self._statements.run(query, params)
        return self._queries.planned(query, params).relation()

    def explain(
        self, query: str, params: Params = None, *, analyze: bool = False
    ) -> room.explain.Explain:
        """Show which files a query reads of each table and which it skips, and why.

        It comes with advice where another layout of a table would save much, and with DuckDB's
        plan. ``analyze`` runs the query as well, for its rows and its time. Print it, show it in
        a notebook, or take `to_dict()`.
        """
        return room.explain.explain(lambda: self._queries.planned(query, params), analyze=analyze)

    def snapshot(
        self, name: str | None = None, *, hold: timedelta | None = None
    ) -> room.snapshot.LakeSnapshot:
        """Return all tables at the versions that they have now, to query the same state again.

        The catalog is read, and every table's newest version looked up side by side, before this
        returns; no query looks again. What others commit in between may be seen of one table
        and not of another: each table is whole, the set is as old as those looks. ``hold`` keeps
        the versions' files from vacuums, until the snapshot is closed, and at most so long; without
        it, files stay for the tables' retention, a week unless they say otherwise.

        ``name`` is that of a snapshot that `name_snapshot` made: its versions are read.

        >>> import tempfile, lakehouse
        >>> with lakehouse.connect(tempfile.mkdtemp()) as lake:
        ...     numbers = lake.create_table("bronze.numbers", {"n": "BIGINT"})
        ...     with lake.snapshot() as view:
        ...         report = numbers.append([{"n": 1}])
        ...         view.sql("select count(*) from bronze.numbers").fetchall()
        [(0,)]
        """
        if name is not None:
            pins = self._queries.pins(self._holds.named(name).versions)
            return room.snapshot.LakeSnapshot(pins, self._queries)
        pins = self._queries.pins()
        if hold is None:
            return room.snapshot.LakeSnapshot(pins, self._queries)
        held = self._holds.add(pins.by_id(), lasting=hold)
        return room.snapshot.LakeSnapshot(
            pins, self._queries, let_go=lambda: self._holds.drop(held)
        )

    def name_snapshot(
        self, name: str, *, description: str | None = None
    ) -> room.named.NamedSnapshot:
        """Name the versions that all tables have now; they stay readable until it is dropped.

        `snapshot` opens it. Vacuums, and what shortens logs, leave all that these versions need.
        Raises AlreadyExistsError for a name that is taken.

        >>> import tempfile, lakehouse
        >>> with lakehouse.connect(tempfile.mkdtemp()) as lake:
        ...     numbers = lake.create_table("bronze.numbers", {"n": "BIGINT"})
        ...     named = lake.name_snapshot("2026-q1")
        ...     report = numbers.append([{"n": 1}])
        ...     with lake.snapshot("2026-q1") as view:
        ...         view.sql("select count(*) from bronze.numbers").fetchall()
        [(0,)]
        """
        held = self._holds.add(self._queries.pins().by_id(), name=name, description=description)
        return room.named.described(held, self._catalog.state)

    def named_snapshots(self) -> list[room.named.NamedSnapshot]:
        """Return the named snapshots, in order of their names."""
        state = self._catalog.state
        holds = [hold for hold in self._holds.all() if hold.name is not None]
        return [room.named.described(hold, state) for hold in holds]

    def drop_snapshot(self, name: str) -> None:
        """Forget a named snapshot: the next vacuum may delete what only its versions need."""
        self._holds.drop(self._holds.named(name))

    def duckdb(
        self, refresh: Connection | None = None, *, tables: Sequence[str] | None = None
    ) -> Connection:
        """Return a connection to a DuckDB of its own, in which the lake's tables can be queried.

        Nothing that is done there touches the lake. The tables are views of all files, or of
        those in ``tables``, at the versions that they have now: pass a connection as ``refresh``
        to have them at the newest ones. Of partitions only those are read that a filter asks
        for; for the skipping of files by statistics, time travel and writing there is `sql`. It
        has the lake's settings, so that together they may take twice the memory limit; close it,
        or let it go.

        >>> import tempfile, lakehouse
        >>> with lakehouse.connect(tempfile.mkdtemp()) as lake:
        ...     report = lake.create_table("bronze.numbers", {"n": "BIGINT"}).append([{"n": 1}])
        ...     with lake.duckdb() as connection:
        ...         connection.sql("FROM bronze.numbers").fetchall()
        [(1,)]
        """
        self._scanner.require_trust("a connection")
        if refresh is None:
            return self._connections.open(tables)
        if tables is not None:
            raise InputError(
                "tables are chosen when a connection is made", next_step="Leave it out"
            )
        self._connections.refresh(refresh)
        return refresh

    def filesystem(self) -> storages.filesystem.StorageFileSystem:
        """Return an fsspec file system that reaches the lake's bucket with the lake's credentials.

        Paths are whole URLs. It is for files beside the tables, and for libraries that take an
        fsspec file system (pandas, pyarrow, Dask). Raises InputError for a lake on local disk.
        """
        if self._storage.is_local:
            raise InputError(
                f"{self.uri} is on local disk", next_step="Open its files by their paths"
            )
        files = storages.filesystem.StorageFileSystem(self._storage.elsewhere)
        files.mount(self._storage)
        return files
