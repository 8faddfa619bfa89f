"""Keep the history of slowly changing rows: a row a period (a dimension of type 2).

The history of a key is a row of points in time, each with what holds from then on. Rows that come
are points, late ones too; a point that changes nothing is not kept. All periods of the keys that
came are made anew from their points, and only what differs is written.
"""

from __future__ import annotations

import dataclasses
import time

from catalog.errors import DataError, InputError
from catalog.names import near_misses
from lakehouse.delta.commit import Change, commit, otherwise
from lakehouse.delta.conflict import Reads
from lakehouse.delta.schema.fields import Field, Primitive, Struct
from lakehouse.delta.schema.mapping import mapped_fields
from lakehouse.delta.snapshot import Snapshot
from lakehouse.dml.clauses import Clause, Merge
from lakehouse.dml.joining import join_of, scope_of
from lakehouse.dml.keys import reached
from lakehouse.dml.merging import Merging
from lakehouse.dml.parts import opened, part
from lakehouse.dml.workspace import ROW, Given, Workspace, workspace
from lakehouse.duck.describe import Column, columns_of
from lakehouse.duck.engine import Engine
from lakehouse.duck.errors import DuckError
from lakehouse.duck.rows import Rows, Source
from lakehouse.duck.sql import identifier
from lakehouse.scan.matching import answers
from lakehouse.scan.read import Scanner
from lakehouse.table.idempotency import is_done, once
from lakehouse.table.merging import Terms, change_report, earlier_change
from lakehouse.table.reports import ChangeReport
from lakehouse.table.tombstones import check_removable, removes_of
from lakehouse.write.gate import gate
from lakehouse.write.query import Query, rejected
from lakehouse.write.rules import NO_RULES
from lakehouse.write.samples import many

_GONE = identifier("lakehouse gone")


@dataclasses.dataclass(frozen=True, slots=True)
class Keeping:
    """Say how a history is kept: the columns of the key, of what is tracked, and of time.

    ``track`` None means all columns that are neither. ``effective`` is the rows' column with the
    time from which they hold; the others are the table's.
    """

    key: tuple[str, ...]
    track: tuple[str, ...] | None
    effective: str
    valid_from: str
    valid_to: str
    current: str


@dataclasses.dataclass(frozen=True, slots=True)
class _Columns:
    """Hold the table's own names, by role."""

    key: tuple[str, ...]
    track: tuple[str, ...]
    others: tuple[str, ...]
    valid_from: str
    valid_to: str
    current: str


def scd2(
    snapshot: Snapshot,
    rows: Rows,
    how: Keeping,
    terms: Terms,
    *,
    engine: Engine,
    scanner: Scanner,
) -> tuple[Snapshot | None, ChangeReport]:
    """Put rows into the history of their keys, in one commit; where nothing changes there is none."""
    started = time.perf_counter()
    if terms.key is not None and is_done(snapshot, terms.key):
        return snapshot, earlier_change(snapshot, terms.key, terms.operation)
    with workspace(engine) as space:
        given = space.keep(rows)
        planned: list[Merging] = []

        def discard() -> None:
            while planned:
                planned.pop().discard()

        def plan(current: Snapshot) -> Change | None:
            check_removable(current)
            discard()
            columns = _columns(current, how)
            points = _points(space, given, how, columns, current)
            source = _differences(space, points, columns, current, scanner)
            planned.append(Merging(_spec(columns), source, space=space, scanner=scanner))
            merged = planned[0].plan(current)
            if merged.is_idle:
                return None
            # The periods of a key hang on all of its rows, wherever they stand.
            files = frozenset(current.files.keys())
            return Change(
                "MERGE",
                (*removes_of(merged.gone), *merged.actions),
                reads=Reads(files, everything=True),
                parameters={"predicate": list(how.key)},
                metrics=merged.metrics(),
            )

        with otherwise(discard):
            done = commit(snapshot, once(plan, terms.key), engine=engine, metadata=terms.metadata)
        if not done.names_files:
            discard()
    return done.snapshot, change_report(done, terms, started)


def _columns(snapshot: Snapshot, how: Keeping) -> _Columns:
    found = {field.name.lower(): field for field in snapshot.schema}

    def named(name: str) -> str:
        if name.lower() not in found:
            near = near_misses(name, snapshot.schema.names())
            raise InputError(
                f"the table has no column {name!r}, which its history needs",
                next_step=f"Did you mean {near[0]!r}?" if near else "Add it to the table",
                column=name,
            )
        return found[name.lower()].name

    key = tuple(map(named, how.key))
    own = [named(name) for name in (how.valid_from, how.valid_to, how.current)]
    rest = [field.name for field in snapshot.schema if field.name not in (*key, *own)]
    track = tuple(rest) if how.track is None else tuple(map(named, how.track))
    if found[own[2].lower()].type != Primitive("boolean"):
        raise InputError(f"column {own[2]!r} says which row is current: it must be BOOLEAN")
    if not key or len({*key, *track, *own}) != len(key) + len(track) + 3:
        raise InputError(
            "each column of a history has one part: key, tracked, or one of its times",
            next_step="Name no column twice",
        )
    others = tuple(name for name in rest if name not in track)
    return _Columns(key, track, others, own[0], own[1], own[2])


def _points(
    space: Workspace, given: Given, how: Keeping, columns: _Columns, snapshot: Snapshot
) -> str:
    """Return the table of what came, in the types of the history; DataError where it does not fit."""
    names = {column.name.lower(): column.name for column in given.columns}
    effective = names.get(how.effective.lower())
    if effective is None:
        near = near_misses(how.effective, list(names.values()))
        raise DataError(
            f"the rows have no column {how.effective!r} that says from when they hold",
            next_step=f"Did you mean {near[0]!r}?" if near else "Add it to the rows",
            column=how.effective,
        )
    for name in (*columns.key, *columns.track):
        if name.lower() not in names:
            raise DataError(
                f"the rows have no column {name!r}", next_step="Add it to the rows", column=name
            )
    # As they were described when they came: a column of NULL only has no type of its own.
    found = tuple(
        Column(columns.valid_from if column.name == effective else column.name, column.type)
        for column in given.columns
    )
    selected = ", ".join(
        f"{identifier(old.name)} AS {identifier(new.name)}"
        for old, new in zip(given.columns, found, strict=True)
    )
    sql = f"(SELECT {selected} FROM {given.place})"
    needed = (*columns.key, columns.valid_from)
    schema = _required(snapshot.schema, needed, without=(columns.valid_to, columns.current))
    place = space.new_place("points")
    with space.engine.work("read the rows") as cursor:
        source = Source(sql, found, rescannable=True)
        query = Query(sql, gate(found, schema), NO_RULES)
        try:
            cursor.execute(f"CREATE TABLE {place} AS SELECT DISTINCT * FROM ({query.checked()})")
        except DuckError as error:
            raise rejected(error, cursor, source, query) from error
        keys = ", ".join(map(identifier, needed))
        several = f"SELECT {keys} FROM {place} GROUP BY {keys} HAVING count(*) > 1"
        row = cursor.execute(f"SELECT count(*) FROM ({several})").fetchone()
        if row is not None and row[0]:
            samples = tuple(cursor.execute(f"{several} LIMIT 3").fetchall())
            raise DataError(
                f"the rows say different things of {many(row[0])} from the same time on, for "
                f"example {samples[0]}",
                next_step="Leave one row for each key and time; nothing was written",
                count=row[0],
                samples=samples,
            )
    return place


def _required(schema: Struct, names: tuple[str, ...], *, without: tuple[str, ...]) -> Struct:
    """Return a schema by its own names in which some columns are NOT NULL, and some are not."""

    def plain(field: Field, _: tuple[str, ...]) -> Field:
        return Field(field.name, field.type, field.nullable)

    bare = mapped_fields(schema, plain)
    return Struct(
        tuple(
            dataclasses.replace(field, nullable=field.nullable and field.name not in names)
            for field in bare
            if field.name not in without
        )
    )


def _differences(
    space: Workspace, points: str, columns: _Columns, snapshot: Snapshot, scanner: Scanner
) -> Given:
    """Return the rows of the history that are to be written, and those that are to go."""
    start, end, current = map(identifier, (columns.valid_from, columns.valid_to, columns.current))
    key = ", ".join(map(identifier, columns.key))
    values = ", ".join(map(identifier, (*columns.track, *columns.others)))
    place = space.new_place("rows")
    candidates = _reached(space, points, columns, snapshot, scanner)
    with opened(candidates, scanner, "read the history") as there:
        before = space.new_place("before")
        there.cursor.execute(
            f"CREATE TABLE {before} AS SELECT {key}, {start}, {values}, {end}, {current} "
            f"FROM {there.place} AS h SEMI JOIN {points} AS p ON {_same('h', 'p', columns.key)}"
        )
        at = (*columns.key, columns.valid_from)
        same = f"{_same('h', 'p', at)} AND {_equal('h', 'p', columns.track)}"
        other = f"{_same('h', 'p', at)} AND NOT ({_equal('h', 'p', columns.track)})"
        window = f"(PARTITION BY {key} ORDER BY {start})"
        tracked = _struct(columns.track)
        after = (
            f"SELECT *, lead({start}) OVER {window} AS {end} FROM ("
            f"SELECT {key}, {start}, {values} FROM ("
            f"SELECT {key}, {start}, {values} FROM {before} AS h ANTI JOIN {points} AS p ON {other} "
            f"UNION ALL BY NAME "
            f"SELECT {key}, {start}, {values} FROM {points} AS p ANTI JOIN {before} AS h ON {same}) "
            f"QUALIFY row_number() OVER {window} = 1 "
            f"OR {tracked} IS DISTINCT FROM lag({tracked}) OVER {window})"
        )
        made = f"SELECT *, {end} IS NULL AS {current} FROM ({after})"
        every = (*columns.track, *columns.others, columns.valid_to, columns.current)
        there.cursor.execute(
            f"CREATE TABLE {place} AS SELECT *, row_number() OVER () AS {identifier(ROW)} FROM ("
            f"SELECT *, false AS {_GONE} FROM ({made}) AS p ANTI JOIN {before} AS h "
            f"ON {_same('h', 'p', at)} AND {_equal('h', 'p', every)} "
            f"UNION ALL BY NAME "
            f"SELECT *, true AS {_GONE} FROM {before} AS h ANTI JOIN ({made}) AS p "
            f"ON {_same('h', 'p', at)})"
        )
        names = columns_of(
            there.cursor.sql(f"SELECT * EXCLUDE ({identifier(ROW)}) FROM {place} LIMIT 0")
        )
    return Given(place, names, space.count(place))


def _reached(
    space: Workspace, points: str, columns: _Columns, snapshot: Snapshot, scanner: Scanner
) -> Snapshot:
    """Return the snapshot with the files only that may hold periods of the keys that came."""
    with space.engine.work("read the rows") as cursor:
        found = columns_of(cursor.sql(f"SELECT * FROM {points} LIMIT 0"))
    given = Given(points, found, space.count(points))
    spec = Merge((Clause("matched", "delete"),), columns.key)
    scope = scope_of(spec, snapshot.schema, [column.name for column in found])
    join = join_of(spec, scope, space)
    asked = reached(spec, join, scope, given, snapshot, space=space, scanner=scanner)
    return part(snapshot, {answer.key for answer in answers(snapshot.files, asked, space.engine)})


def _spec(columns: _Columns) -> Merge:
    gone = f"s.{_GONE}"
    every = [
        *columns.key, *columns.track, *columns.others,
        columns.valid_from, columns.valid_to, columns.current,
    ]  # fmt: skip
    return Merge(
        (
            Clause("matched", "delete", gone),
            Clause("matched", "update", None, every),
            Clause("not matched", "insert", f"NOT {gone}", every),
        ),
        (*columns.key, columns.valid_from),
    )


def _same(left: str, right: str, names: tuple[str, ...]) -> str:
    return " AND ".join(f"{left}.{identifier(n)} = {right}.{identifier(n)}" for n in names)


def _equal(left: str, right: str, names: tuple[str, ...]) -> str:
    return (
        " AND ".join(
            f"{left}.{identifier(n)} IS NOT DISTINCT FROM {right}.{identifier(n)}" for n in names
        )
        or "true"
    )


def _struct(names: tuple[str, ...]) -> str:
    return f"row({', '.join(map(identifier, names))})" if names else "NULL"
