"""Fit a merge to a table's schema and its source's columns: SQL for each step, checked.

All expressions are evaluated in one scope: the table's rows under the target's alias, each with
its file and its place there, and the kept source under its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from lakehouse.delta.change_data import CHANGE_TYPE
from lakehouse.delta.features import GENERATED
from lakehouse.delta.schema.fields import Struct
from lakehouse.delta.snapshot import Snapshot
from lakehouse.dml.clauses import Clause, Merge, Verb
from lakehouse.dml.joining import Join, Scope, join_of, scope_of
from lakehouse.dml.lone import Lone, Setting
from lakehouse.dml.marking import may_mark
from lakehouse.dml.parts import Opened
from lakehouse.dml.repeated import repeated_rows
from lakehouse.dml.values import Values
from lakehouse.dml.workspace import ROW, Given, Workspace
from lakehouse.duck.describe import columns_of
from lakehouse.duck.engine import VERSION, Connection, Engine
from lakehouse.duck.errors import DuckError, translate
from lakehouse.duck.rows import Source
from lakehouse.duck.sql import identifier, literal
from lakehouse.scan.predicate import no_predicate
from lakehouse.scan.views import file_column, row_column
from lakehouse.write.change_files import ChangeType
from lakehouse.write.gate import gate
from lakehouse.write.query import Query, check_rules
from lakehouse.write.rules import NO_RULES, rules_of


def _number(local: str) -> str:
    """Return SQL of an open file's number in hits."""
    return f"getvariable('lakehouse_numbers')[({local} + 1)::BIGINT]"


NUMBER = _number("local")
FILES = "temp.main.lakehouse_files"  # (local, file): the open files' numbers in hits
BITS = "temp.main.lakehouse_bits"  # (local, bits): a bit a row of the open files
_FILE, _AT = identifier("lakehouse file"), identifier("lakehouse row")
KEPT_FILE, KEPT_ROW = _FILE, _AT  # in `Keeping.place`, the file's number in hits
# What stands beside both in a scope has names that no column is likely to have.
_HITS, _LOCAL, _PLACE, _MET = (
    identifier(f"lakehouse {name}") for name in ("hits", "hit file", "hit row", "hit source")
)
_BITS = identifier("lakehouse bits")
_HIT = (f"m.local AS {_LOCAL}", f"h.row AS {_PLACE}", f"h.source AS {_MET}")


@dataclasses.dataclass(frozen=True, slots=True)
class Making:
    """Hold how a clause makes rows: the SQL that gives its columns, and their way into files.

    ``reads`` says that the SQL reads the open files, ``masked`` that it asks for their bits.
    """

    source: Source
    query: Query
    reads: bool
    masked: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Keeping:
    """Hold how rows are found and kept whole: SQL of a condition over ``rows``, and of these rows.

    ``place`` is the table that they are kept in: by the number of their file, and theirs in it.
    ``making`` makes what they become of it.
    """

    place: str
    rows: str
    condition: str
    sql: str
    making: Making


@dataclasses.dataclass(frozen=True, slots=True)
class Bound:
    """Hold a merge that fits a schema.

    ``match`` is SQL of hits: file, row, source row (NULL: none) and the clause (0: none).
    ``updates`` and ``inserts`` are the clauses that make rows. ``kept`` is SQL of the open files'
    other rows, told by the bits of `Hits.mask`, and ``joined`` the same without bits; ``together``
    is ``kept`` with the updated rows in one pass, where that can be, and ``setting`` that of the
    columns that are set. ``inserting`` is SQL of the source rows that are inserted, ``changes`` of
    the open files' rows as they were and as they are, and of new ones, with ``_change_type``.
    ``keeping`` is there where a single clause updates rows by what they are, and may mark them.
    """

    join: Join | None
    scope: Scope
    match: str
    updates: tuple[Making, ...]
    inserts: tuple[Making, ...]
    kept: str
    joined: str
    together: str | None
    setting: Setting | None
    inserting: str | None
    changes: str
    keeping: Keeping | None = None


def bind(merge: Merge, given: Given | None, hits: str, there: Opened, space: Workspace) -> Bound:
    """Return a merge's SQL over the rows ``there``; ``hits`` names the table of hits.

    Raises InputError for expressions that cannot be used, DataError for columns that do not fit.
    """
    return _Binding(merge, given, hits, there, space).bound()


class _Binding:
    def __init__(
        self, merge: Merge, given: Given | None, hits: str, there: Opened, space: Workspace
    ) -> None:
        self._merge = merge
        self._given = given
        self._hits = hits
        self._cursor: Connection = there.cursor
        self._snapshot: Snapshot = there.snapshot
        self._schema: Struct = there.snapshot.schema
        self._space = space
        self._engine: Engine = space.engine
        names = () if given is None else tuple(c.name for c in given.columns)
        self._scope = scope_of(merge, self._schema, names)
        self._values = Values(merge, self._scope, self._schema, given, space)
        number, row = (name(self._schema) for name in (file_column, row_column))
        columns = ", ".join(identifier(field.name) for field in self._schema)
        target = identifier(merge.target)
        self._columns = ", ".join(f"{target}.{identifier(field.name)}" for field in self._schema)
        self._target = (
            f"(SELECT {columns}, {identifier(number)} AS {_FILE}, {identifier(row)} AS {_AT} "
            f"FROM {there.place}) AS {target}"
        )
        self._at = f"{target}.{_FILE}", f"{target}.{_AT}"
        # A constant for all files would be copied with every 2,048 rows. DuckDB 2 takes the files
        # for one row and would hold them in a join, but not where it looks a single value up; 1.5
        # holds them there, where rows are deleted.
        bits = f"SELECT {_BITS}.bits FROM {BITS} AS {_BITS} WHERE {_BITS}.local = {target}.{_FILE}"
        self._numbered = self._target
        if VERSION < (2, 0):
            bits = f"{target}.{_BITS}"
            self._numbered = (
                f"(SELECT {columns}, {identifier(number)} AS {_FILE}, {identifier(row)} AS {_AT}, "
                f"{_BITS} FROM {there.place} LEFT JOIN (SELECT local AS {_LOCAL}, bits AS {_BITS} "
                f"FROM {BITS}) AS {_HITS} ON {_LOCAL} = {identifier(number)}) AS {target}"
            )
        self._is_changed = f"coalesce(get_bit(({bits}), {target}.{_AT}::INTEGER), 1) = 1"
        # DuckDB takes a scan for one row and makes it the side that a join holds in memory: it
        # is to hold no more than must be joined.
        self._changing = f"(SELECT * FROM {self._numbered} WHERE {self._is_changed}) AS {target}"
        source = identifier(merge.source)
        self._source = "" if given is None else f"{given.place} AS {source}"
        self._source_row = f"{source}.{identifier(ROW)}"
        self._alone: str | None = None
        if merge.on is None and merge.repeated is None and len(merge.clauses) == 1:
            # The one condition tells which rows change, for less than their bits do.
            text = merge.clauses[0].condition
            self._alone = "true" if text is None else self._condition(text, self._target)

    def bound(self) -> Bound:
        merge = self._merge
        join = None if merge.on is None else join_of(merge, self._scope, self._space)
        match = self._match(join)
        self._try(match, "match the rows")
        inserts = merge.of("not matched")
        inserting = None
        if inserts:
            number = self._choice(inserts, self._source)
            inserting = f"SELECT 1 FROM {self._unmatched()} WHERE ({number}) <> 0"
            self._try(inserting, "choose the rows to insert")
        every = list(enumerate(merge.clauses, 1))
        updates = tuple(self._making(i, c) for i, c in every if c.verb == "update")
        made = tuple(self._making(i, c) for i, c in every if c.verb == "insert")
        changes = self._changes(updates, made)
        lone = self._lone_update(updates)
        together = None if lone is None else lone.rows(self._target)
        if together is not None:
            self._try(together, "update rows")
        return Bound(
            join=join,
            scope=self._scope,
            match=match,
            updates=updates,
            inserts=made,
            kept=self._as_stored(f"{self._numbered} WHERE NOT ({self._is_changed})"),
            joined=self._stored(self._target, "ANTI", "h.clause <> 0"),
            together=together,
            setting=None if lone is None else lone.setting(),
            inserting=inserting,
            changes=changes,
            keeping=self._keeping(updates),
        )

    def _match(self, join: Join | None) -> str:
        """Return SQL of the hits in the open files."""
        merge = self._merge
        file, row = self._at
        if merge.repeated is not None:
            return repeated_rows(merge.repeated, self._values, self._target, self._at, NUMBER)
        matched, orphans = merge.of("matched"), merge.of("not matched by source")
        if join is None:
            number, source = self._choice(matched, self._target), "CAST(NULL AS BIGINT)"
            rows = self._target
        else:
            both = f"{self._target} JOIN {self._source} ON ({join.sql})"
            number, source, rows = self._choice(matched, both), self._source_row, both
            if orphans:
                alone = self._choice(orphans, self._target)
                number = f"CASE WHEN {source} IS NOT NULL THEN {number} ELSE {alone} END"
                rows = f"{self._target} LEFT JOIN {self._source} ON ({join.sql})"
        # Who inserts has to know which source rows were met, though nothing becomes of the rows.
        met = "source IS NOT NULL" if merge.of("not matched") else "false"
        return (
            f"SELECT {NUMBER} AS file, row, source, clause FROM (SELECT {file} AS local, {row} AS row, "
            f"{source} AS source, {number} AS clause FROM {rows}) AS found WHERE clause <> 0 OR {met}"
        )

    def _choice(self, clauses: Iterable[tuple[int, Clause]], rows: str) -> str:
        """Return SQL of the number of the first clause whose condition is true, else 0."""
        cases: list[str] = []
        for number, clause in clauses:
            if clause.condition is None:
                return f"CASE {' '.join(cases)} ELSE {number} END" if cases else str(number)
            cases.append(f"WHEN ({self._condition(clause.condition, rows)}\n) THEN {number}")
        return f"CASE {' '.join(cases)} ELSE 0 END" if cases else "0"

    def _condition(self, text: str, rows: str) -> str:
        found = self._space.expression(text, columns=self._scope.names(), what="a condition")
        relation = self._try(f"SELECT ({found.sql}\n) FROM {rows}", "read the condition")
        if str(relation.types[0]) != "BOOLEAN" and not found.is_null:
            raise no_predicate(text, str(relation.types[0]))
        return found.sql

    def _making(self, number: int, clause: Clause, *, kept: str | None = None) -> Making:
        """Return how the rows of a clause are made and checked, of rows that are ``kept`` if so."""
        values, target = self._values.of(clause), identifier(self._merge.target)
        where, masked = "", False
        reads = clause.verb == "update" and self._values.needs_target(clause)
        if clause.verb == "insert":
            rows = self._unmatched()
            where = (
                f" WHERE ({self._choice(self._merge.of('not matched'), self._source)}) = {number}"
            )
        else:
            rows = (
                f"(SELECT {', '.join(_HIT)} FROM {self._hits} AS h JOIN {FILES} AS m "
                f"ON m.file = h.file WHERE h.clause = {number}) AS {_HITS}"
            )
            if kept is not None:
                reads = False
                rows = (
                    f"(SELECT k.* FROM {kept} AS k JOIN {FILES} AS m ON m.file = k.{_FILE}) "
                    f"AS {target}"
                )
            elif reads and self._alone is not None:
                rows = f"(SELECT * FROM {self._target} WHERE ({self._alone}\n)) AS {target}"
            elif reads:
                masked = True
                file, row = self._at
                rows = (
                    f"{self._changing} JOIN {rows} "
                    f"ON {file} = {_HITS}.{_LOCAL} AND {row} = {_HITS}.{_PLACE}"
                )
            if self._source and clause.kind == "matched":
                rows += f" JOIN {self._source} ON {self._source_row} = {_HITS}.{_MET}"
        # By names of their own first, so that no value can name the column of another.
        inner = ", ".join(f"{sql} AS c{i}" for i, (_, sql) in enumerate(values))
        outer = ", ".join(f"c{i} AS {identifier(name)}" for i, (name, _) in enumerate(values))
        sql = f"SELECT {outer} FROM (SELECT {inner} FROM {rows}{where})"
        columns = columns_of(self._try(sql, f"{clause.verb} rows"))
        source = Source(f"({sql})", columns, rescannable=True)
        snapshot = self._snapshot
        plan = gate(columns, self._schema, partition_columns=snapshot.partition_columns)
        missing = {column.field.name for column in plan.columns if column.source is None}
        rules = rules_of(
            self._schema,
            snapshot.properties,
            missing=missing,
            partition_columns=snapshot.partition_columns,
        )
        made = {name: self._made(name, sql) for name, sql in rules.made.items()}
        query = Query(source.name, plan, dataclasses.replace(rules, made=made))
        check_rules(self._cursor, query)
        return Making(source, query, reads, masked)

    def _lone_update(self, updates: tuple[Making, ...]) -> Lone | None:
        """Return the only clause where it is an update that asks for no source."""
        if self._alone is None or not updates:
            return None
        stored = columns_of(self._try(f"SELECT {self._columns} FROM {self._target}", "copy rows"))
        return Lone(
            schema=self._schema,
            target=identifier(self._merge.target),
            condition=self._alone,
            values=tuple(self._values.of(self._merge.clauses[0])),
            stored=gate(stored, self._schema),
            query=updates[0].query,
        )

    def _made(self, name: str, sql: str) -> str:
        """Return SQL of a column that is not given; a default is the same in all that is written."""
        field = self._schema.field(name)
        if field is None or GENERATED in field.metadata:
            return sql
        place = self._space.new_place("default")
        self._cursor.execute(f"CREATE TABLE {place} AS SELECT {sql} AS v")
        return f"(SELECT v FROM {place})"

    def _keeping(self, updates: tuple[Making, ...]) -> Keeping | None:
        """Return how to find and keep the rows at once that a single clause updates alone."""
        reads = any(making.reads for making in updates)
        if self._alone is None or not reads or not may_mark(self._snapshot):
            return None
        file, row = self._at
        place = self._space.new_place("kept")
        sql = (
            f"SELECT {_number(file)} AS {_FILE}, {row} AS {_AT}, {self._columns} "
            f"FROM {self._target} WHERE ({self._alone}\n)"
        )
        self._cursor.execute(f"CREATE TABLE {place} AS {sql} LIMIT 0")
        making = self._making(1, self._merge.clauses[0], kept=place)
        return Keeping(place, self._target, self._alone, sql, making)

    def _unmatched(self) -> str:
        return (
            f"{self._source} ANTI JOIN (SELECT source AS {_MET} FROM {self._hits}) AS {_HITS} "
            f"ON {self._source_row} = {_HITS}.{_MET}"
        )

    def _changes(self, updates: tuple[Making, ...], inserts: tuple[Making, ...]) -> str:
        """Return SQL of all changes in the open files, and of new rows, as change files hold them."""
        found: list[tuple[ChangeType, str]] = []
        before: tuple[tuple[Verb, ChangeType], ...] = (
            ("update", "update_preimage"),
            ("delete", "delete"),
        )
        for verb, kind in before:
            numbers = [str(i) for i, c in enumerate(self._merge.clauses, 1) if c.verb == verb]
            if numbers:
                found.append(
                    (
                        kind,
                        self._stored(self._changing, "SEMI", f"h.clause IN ({', '.join(numbers)})"),
                    )
                )
        found += [("update_postimage", making.query.converted()) for making in updates]
        found += [("insert", making.query.converted()) for making in inserts]
        return " UNION ALL ".join(
            f"(SELECT *, {literal(kind)} AS {CHANGE_TYPE} FROM ({sql}))" for kind, sql in found
        )

    def _stored(self, rows: str, join: str, where: str) -> str:
        """Return SQL of the open files' rows with such hits, or without, as data files hold them."""
        file, row = self._at
        return self._as_stored(
            f"{rows} {join} JOIN (SELECT {', '.join(_HIT)} FROM {self._hits} AS h JOIN {FILES} AS m "
            f"ON m.file = h.file WHERE {where}) AS {_HITS} "
            f"ON {file} = {_HITS}.{_LOCAL} AND {row} = {_HITS}.{_PLACE}"
        )

    def _as_stored(self, rows: str) -> str:
        sql = f"SELECT {self._columns} FROM {rows}"
        columns = columns_of(self._try(sql, "copy rows"))
        return Query(f"({sql})", gate(columns, self._schema), NO_RULES).converted()

    def _try(self, sql: str, doing: str) -> Any:
        try:
            return self._cursor.sql(f"SELECT * FROM ({sql}) LIMIT 0")
        except DuckError as error:
            raise translate(error, doing) from error
