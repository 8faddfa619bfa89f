"""Run a query over snapshots: plan, prune, and read only the files that can matter."""

from __future__ import annotations

import dataclasses
import re
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from catalog.errors import InputError
from lakehouse.delta.deletion_vector import deleted_rows
from lakehouse.delta.files import vector_from_row
from lakehouse.delta.snapshot import Snapshot
from lakehouse.delta.types import to_duckdb
from lakehouse.duck.engine import Connection, Engine, Relation
from lakehouse.duck.errors import DuckError, NameErrors, ParserError, translate
from lakehouse.duck.sql import identifier, literal
from lakehouse.scan.plan import Reach, reaches
from lakehouse.scan.prune import KEEP, Pruner
from lakehouse.scan.views import TableView, table_view

Params = Sequence[Any] | Mapping[str, Any] | None
_CLOCK = re.compile(
    r"\b(now|today|current_\w+|local\w+|get_current_\w+|transaction_timestamp)\b", re.IGNORECASE
)
_INDEX_COLUMN = re.compile(r"'(?:[^']|'')*'|\b(?P<kind>min|max|nulls|nan|p)(?P<number>\d+)\b")


_VERBS = "Use the lake's and the tables' methods: create_table, append, overwrite, drop_table"
_NOT_QUERIES = {
    **dict.fromkeys(
        ("CREATE", "INSERT", "UPDATE", "DELETE", "ALTER", "DROP", "MERGE_INTO"), _VERBS
    ),
    "SET": "Pass settings as connect(..., duckdb_config={...})",
}


@dataclasses.dataclass(frozen=True, slots=True)
class TableRef:
    """Name a snapshot in SQL: ``schema.name``, and how reports call it."""

    schema: str
    name: str
    shown: str
    snapshot: Snapshot


@dataclasses.dataclass(frozen=True, slots=True)
class TableScan:
    """Report what a query reads of one table.

    ``predicate`` is what was asked of the file index; None where every file may match.
    ``columns`` are those that are read. Sizes are in bytes. Rows are None where statistics lack.
    """

    name: str
    version: int
    files_total: int
    files_kept: int
    bytes_total: int
    bytes_kept: int
    rows_total: int | None
    rows_kept: int | None
    predicate: str | None
    filters: tuple[str, ...]
    columns: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class _Kept:
    """Count what is left after pruning."""

    files: int
    bytes: int
    rows: int | None


@dataclasses.dataclass(frozen=True, slots=True)
class Prepared:
    """Hold a planned query: its connection, its text, and what it will read."""

    engine: Engine
    cursor: Connection
    sql: str
    params: Params
    tables: tuple[TableScan, ...]

    def relation(self) -> Relation:
        """Return the result as a lazy DuckDB relation."""
        try:
            relation = self.cursor.sql(self.sql, params=self.params)
        except DuckError as error:
            raise translate(error, "run the query") from error
        if isinstance(relation, Relation):  # DuckDB 1.5 gives None for COPY and the like
            self.engine.keep_with(relation, self.cursor)
        return relation


class Scanner:
    """Hold the views of a lake's tables in one engine; safe between threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._generations: list[dict[tuple[str, str], str]] = []
        self._volatile_names: frozenset[str] | None = None

    def prepare(
        self,
        sql: str,
        refs: Sequence[TableRef],
        params: Params = None,
        *,
        others: Sequence[str] = (),
    ) -> Prepared:
        """Plan a query that names ``refs``, and choose the files that it has to read.

        ``others`` are names in it that are no table now, and must not be found even if they
        were one before. Raises InputError for SQL that DuckDB refuses.
        """
        views = [self._view(ref) for ref in refs]
        cursor = self._engine.cursor()
        try:
            generation = self._define(refs, views, others)
            # Plan and run in one transaction, so that now() is the same in both.
            at_once = _CLOCK.search(sql) is not None
            if at_once:
                cursor.execute("BEGIN")
            cursor.execute(f"USE plan{generation}")
            reached = self._reached(cursor, sql, params)
            scans = [reached.get(f"t{view.key}", []) for view in views]
            wheres = [self._where(ref, scan) for ref, scan in zip(refs, scans, strict=True)]
            try:
                figures = self._bind_all(cursor, refs, views, wheres)
            except (*NameErrors, ParserError):
                # DuckDB shows some expressions in a form that it does not read.
                if at_once:
                    cursor.execute("ROLLBACK")
                    cursor.execute("BEGIN")
                wheres = [KEEP] * len(refs)
                figures = self._bind_all(cursor, refs, views, wheres)
            cursor.execute(f"USE scan{generation}")
        except DuckError as error:
            cursor.close()
            raise translate(error, "plan the query") from error
        except BaseException:
            cursor.close()
            raise
        totals = [ref.snapshot.files.rows(self._engine) for ref in refs]
        tables = tuple(map(_report, refs, wheres, scans, figures, totals))
        return Prepared(self._engine, cursor, sql, params, tables)

    def _where(self, ref: TableRef, scans: Sequence[Reach]) -> str:
        """Return the predicate of a table that is scanned several times: any scan may match."""
        if not scans:
            return KEEP
        pruner = Pruner(ref.snapshot.files.layout, self._volatile)
        parts = [pruner.may_match(scan.filters) for scan in scans]
        return KEEP if KEEP in parts else " OR ".join(f"({part})" for part in dict.fromkeys(parts))

    def _volatile(self) -> frozenset[str]:
        """Return the names of functions that differ from row to row; asked for when needed."""
        if self._volatile_names is None:
            self._volatile_names = self._list_volatile()
        return self._volatile_names

    def _list_volatile(self) -> frozenset[str]:
        with self._engine.work("list DuckDB's functions") as cursor:
            rows = cursor.execute(
                "SELECT DISTINCT lower(function_name) FROM duckdb_functions() "
                "WHERE stability IS DISTINCT FROM 'CONSISTENT'"
            ).fetchall()
        return frozenset(row[0] for row in rows)

    def _view(self, ref: TableRef) -> TableView:
        files = ref.snapshot.files
        return table_view(
            files.layout,
            ref.snapshot.properties,
            place=(ref.schema, ref.name),
            has_vectors=files.has_deletion_vectors,
        )

    def _define(
        self,
        refs: Sequence[TableRef],
        views: Sequence[TableView],
        others: Sequence[str],
    ) -> int:
        """Return a generation of definitions that has all views, and create what it lacks.

        Sessions may need different definitions of one name at once, before and after the
        table's schema changed; each set of definitions lives in databases of its own.
        """
        wanted = {(r.schema, r.name): v for r, v in zip(refs, views, strict=True)}
        with self._lock:
            number = self._generation(wanted, frozenset(name.lower() for name in others))
            known = self._generations[number]
            missing = [ref for ref in refs if (ref.schema, ref.name) not in known]
            if missing:
                with self._engine.work("define the tables' views") as cursor:
                    for ref in missing:
                        view = wanted[(ref.schema, ref.name)]
                        _bind_nothing(cursor, ref, view, self._engine.empty_parquet)
                        _create(cursor, number, ref, view)
                        known[(ref.schema, ref.name)] = view.key
        return number

    def _generation(
        self, wanted: Mapping[tuple[str, str], TableView], others: frozenset[str]
    ) -> int:
        for number, known in enumerate(self._generations):
            stale = any(f"{schema}.{name}".lower() in others for schema, name in known)
            if not stale and all(
                known.get(name, view.key) == view.key for name, view in wanted.items()
            ):
                return number
        number = len(self._generations)
        self._engine.once("stand_in", "ATTACH ':memory:' AS stand_in")
        self._engine.once(
            f"generation {number}",
            f"ATTACH ':memory:' AS plan{number}",
            f"ATTACH ':memory:' AS scan{number}",
        )
        self._generations.append({})
        return number

    def _reached(self, cursor: Connection, sql: str, params: Params) -> dict[str, list[Reach]]:
        statements = cursor.extract_statements(sql)
        if len(statements) != 1:
            raise InputError(
                f"one statement is expected; found {len(statements)}",
                next_step="Run statements one by one",
            )
        kind = statements[0].type.name
        if kind in _NOT_QUERIES:
            raise InputError(
                f"sql() runs queries, and this is {kind.replace('_', ' ')}",
                next_step=_NOT_QUERIES[kind],
            )
        # An empty stand-in must not be folded away.
        cursor.execute("SET disabled_optimizers = 'statistics_propagation'")
        try:
            rows = cursor.execute(f"EXPLAIN (FORMAT json) {sql}", params).fetchall()
        except ParserError:
            # Not a query, such as EXPLAIN itself: DuckDB runs it as it stands, unpruned.
            return {}
        finally:
            cursor.execute("RESET disabled_optimizers")
        return reaches(rows[0][1])

    def _bind_all(
        self,
        cursor: Connection,
        refs: Sequence[TableRef],
        views: Sequence[TableView],
        wheres: Sequence[str],
    ) -> list[_Kept]:
        return [
            self._bind(cursor, ref, view, where)
            for ref, view, where in zip(refs, views, wheres, strict=True)
        ]

    def _bind(self, cursor: Connection, ref: TableRef, view: TableView, where: str) -> _Kept:
        """Set the variable that a view reads to the files that may match."""
        empty = self._engine.empty_parquet
        snapshot = ref.snapshot
        if not len(snapshot.files):
            _bind_nothing(cursor, ref, view, empty)
            return _Kept(0, 0, 0)
        root = literal(_escaped(snapshot.storage.url().rstrip("/") + "/"))
        kept = {
            "files": f"coalesce(list({root} || pattern ORDER BY position), [{literal(empty)}])",
            "count": "count(*)",
            "bytes": "coalesce(sum(size), 0)::BIGINT",
            "known": "count(rows)",
            "rows": "coalesce(sum(rows - coalesce(deletion_vector.cardinality, 0)), 0)::BIGINT",
        }
        if snapshot.files.layout.partitions:
            values = [f"p{i}" for i in range(len(snapshot.files.layout.partitions))]
            kept["parts"] = f"coalesce(list({_struct(values)} ORDER BY position), [])"
        if snapshot.files.has_deletion_vectors:
            kept["vectors"] = "list(deletion_vector ORDER BY position)"
        fields = ", ".join(f"'{field}': {sql}" for field, sql in kept.items())
        cursor.register("file_index", snapshot.files.typed(self._engine))
        cursor.execute(
            f"SET VARIABLE kept_{view.key} = (SELECT {{{fields}}} FROM file_index WHERE {where})"
        )
        cursor.unregister("file_index")
        if snapshot.files.has_deletion_vectors:
            self._load_vectors(cursor, snapshot, view.key)
        row = cursor.execute(
            f"SELECT kept.count, kept.bytes, kept.known, kept.rows "
            f"FROM (SELECT getvariable('kept_{view.key}') AS kept)"
        ).fetchall()[0]
        return _Kept(row[0], row[1], row[3] if row[2] == row[0] else None)

    def _load_vectors(self, cursor: Connection, snapshot: Snapshot, key: str) -> None:
        cursor.execute(f"CREATE OR REPLACE TEMP TABLE dv_{key} (i UBIGINT, n BIGINT)")
        vectors = f"getvariable('kept_{key}').vectors"
        rows = cursor.execute(
            f"SELECT generate_subscripts({vectors}, 1) - 1, unnest({vectors})"
        ).fetchall()
        for position, descriptor in rows:
            vector = vector_from_row(descriptor)
            if vector is None:
                continue
            deleted = deleted_rows(snapshot.storage, vector)
            cursor.register("deleted", pa.table({"n": deleted}))
            cursor.execute(f"INSERT INTO dv_{key} SELECT {position}, n FROM deleted")
            cursor.unregister("deleted")


def _struct(columns: Sequence[str]) -> str:
    return "{" + ", ".join(f"'{column}': {column}" for column in columns) + "}"


def _escaped(path: str) -> str:
    """Return a path in which a glob's characters stand for themselves."""
    return re.sub(r"([\[*?])", r"[\1]", path)


def _bind_nothing(cursor: Connection, ref: TableRef, view: TableView, empty: str) -> None:
    """Set what a view reads to no file: enough to define it."""
    files = ref.snapshot.files
    fields = f"'files': [{literal(empty)}]"
    if files.layout.partitions:
        types = (f"p{i} {to_duckdb(f.type)}" for i, f in enumerate(files.layout.partitions))
        fields += f", 'parts': []::STRUCT({', '.join(types)})[]"
    cursor.execute(f"SET VARIABLE kept_{view.key} = {{{fields}}}")
    if files.has_deletion_vectors:
        cursor.execute(f"CREATE OR REPLACE TEMP TABLE dv_{view.key} (i UBIGINT, n BIGINT)")


def _create(cursor: Connection, generation: int, ref: TableRef, view: TableView) -> None:
    stand_in = f"stand_in.t{view.key}"
    cursor.execute(f"CREATE TABLE IF NOT EXISTS {stand_in} {view.stand_in}")
    for database, body in (
        (f"plan{generation}", f"{view.stand_in_view}{stand_in}"),
        (f"scan{generation}", view.view),
    ):
        place = f"{database}.{identifier(ref.schema)}"
        cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {place}")
        cursor.execute(f"CREATE VIEW {place}.{identifier(ref.name)} AS {body}")


def _report(
    ref: TableRef,
    where: str,
    scans: Sequence[Reach],
    kept: _Kept,
    rows_total: int | None,
) -> TableScan:
    files = ref.snapshot.files
    fields = files.layout.schema.fields
    read = sorted({number for scan in scans for number in scan.columns})
    return TableScan(
        name=ref.shown,
        version=ref.snapshot.version,
        files_total=len(files),
        files_kept=kept.files,
        bytes_total=files.bytes,
        bytes_kept=kept.bytes,
        rows_total=rows_total,
        rows_kept=kept.rows,
        predicate=None if where == KEEP else _readable(where, ref),
        filters=tuple(dict.fromkeys(_named(f, ref) for scan in scans for f in scan.filters)),
        columns=tuple(fields[number].name for number in read) or tuple(f.name for f in fields),
    )


def _named(text: str, ref: TableRef) -> str:
    fields = ref.snapshot.schema.fields
    return re.sub(r"\bc(\d+)_[0-9a-f]{20}\b", lambda match: fields[int(match[1])].name, text)


def _readable(where: str, ref: TableRef) -> str:
    layout = ref.snapshot.files.layout
    leaves = {str(leaf.ordinal): ".".join(f.name for f in leaf.path) for leaf in layout.leaves}

    def named(match: re.Match[str]) -> str:
        kind, number = match["kind"], match["number"]
        if kind is None:
            return match[0]  # a string constant may look like a column of the index
        if kind == "p":
            return layout.partition_columns[int(number)]
        return f"{kind}({leaves[number]})"

    return _INDEX_COLUMN.sub(named, where)
