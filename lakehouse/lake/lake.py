"""`Lake`: the entry to a lakehouse, and SQL over its tables."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from types import TracebackType
from typing import Any, Literal

from catalog import storage as storages
from catalog.catalog import Catalog
from catalog.errors import InputError
from catalog.fitness import Probing
from catalog.storage import Storage, open_storage
from lakehouse import lake as room
from lakehouse.duck.engine import Engine, Relation
from lakehouse.lake.queries import Queries
from lakehouse.lake.statements.first import is_statement
from lakehouse.lake.tables import DropReport, TableInfo, Tables
from lakehouse.scan.read import Params, Scanner
from lakehouse.scan.tally import Reads, merged
from lakehouse.table.background import Background
from lakehouse.table.handle import Table


def connect(
    uri: str | os.PathLike[str],
    *,
    create: bool = True,
    layers: Sequence[str] = ("bronze", "silver", "gold"),
    duckdb_config: Mapping[str, str | int | float | bool] | None = None,
    durable: bool = True,
    probe: Probing = "once",
    record_reads: bool = False,
    **storage_options: Any,
) -> Lake:
    """Open the lake at ``uri``, and create it if it is not there.

    ``uri`` is a folder (``./lake``, ``file:///data/lake``) or a place in object storage
    (``s3://bucket/lake``, ``az://container/lake``, ``gs://bucket/lake``). ``create=False`` raises
    NotFoundError where there is no lake. ``layers`` are those of a new lake. ``duckdb_config`` are settings of
    the embedded DuckDB, such as ``{"memory_limit": "4GB", "threads": 4}``. ``durable=False``
    skips fsync: faster, and a power cut may lose what was acknowledged. ``record_reads`` keeps,
    when the lake is closed, a document that says by which columns its queries filtered and how many
    files they read, so that upkeep knows what sorting a table would be worth.

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
    storage = open_storage(uri, durable=durable, **storage_options)
    catalog = Catalog.open(storage, create=create, layers=tuple(layers), probe=probe)
    return Lake(storage, catalog, Engine(duckdb_config), record_reads=record_reads)


class Lake:
    """Hold tables in layers, and run SQL over them. Made by `connect`; safe between threads."""

    def __init__(
        self, storage: Storage, catalog: Catalog, engine: Engine, *, record_reads: bool = False
    ) -> None:
        self._storage = storage
        self._catalog = catalog
        self._engine = engine
        self._reader = engine.mount(storage)
        self._scanner = Scanner(engine)
        self._background = Background(engine)
        self._record_reads = record_reads
        self._tables = Tables(storage, catalog, engine, self._scanner, self._background)
        self._queries = Queries(catalog, engine, self._scanner, self._tables.handle)

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

        What is stopped raises; a write that is stopped leaves its table as it was.
        """
        self._engine.interrupt()

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
        if is_statement(query):
            return self._statements.run(query, params)
        return self._queries.prepare(query, params).relation()

    def explain(
        self, query: str, params: Params = None, *, analyze: bool = False
    ) -> room.explain.Explain:
        """Show which files a query reads of each table and which it skips, and why.

        It comes with advice where another layout of a table would save much, and with DuckDB's
        plan. ``analyze`` runs the query as well, for its rows and its time. Print it, show it in
        a notebook, or take `to_dict()`.
        """
        return room.explain.explain(lambda: self._queries.prepare(query, params), analyze=analyze)

    def snapshot(self) -> room.snapshot.LakeSnapshot:
        """Return all tables at the versions that they have now, to query the same state again.

        The catalog is read, and every table's newest version looked up side by side, before this
        returns; no query looks again. What others commit in between may be seen of one table
        and not of another: each table is whole, the set is as old as those looks. Versions are
        not protected: files that a later vacuum deletes are gone for a snapshot, too.

        >>> import tempfile, lakehouse
        >>> with lakehouse.connect(tempfile.mkdtemp()) as lake:
        ...     numbers = lake.create_table("bronze.numbers", {"n": "BIGINT"})
        ...     with lake.snapshot() as view:
        ...         report = numbers.append([{"n": 1}])
        ...         view.sql("select count(*) from bronze.numbers").fetchall()
        [(0,)]
        """
        return room.snapshot.LakeSnapshot(self._queries.pins(), self._queries)

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
