"""Read a merge's condition: which columns of the table equal what of the source, and what else."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Collection, Mapping

from catalog.errors import InputError
from catalog.names import near_misses
from lakehouse.delta.schema.fields import Struct
from lakehouse.dml.clauses import Merge
from lakehouse.dml.workspace import Workspace
from lakehouse.duck.engine import Connection
from lakehouse.duck.errors import DuckError
from lakehouse.duck.sql import identifier
from lakehouse.scan.expression import (
    Node,
    conjuncts,
    lower,
    references_of,
    text_of,
)


@dataclasses.dataclass(frozen=True, slots=True)
class Pair:
    """Say that a column of the table equals an expression over the source.

    ``null_safe`` says that NULL equals NULL.
    """

    column: str
    source: str
    null_safe: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Scope:
    """Hold the names that expressions of a change may use.

    ``columns`` and ``given`` have the names in lower case, and as they are: DuckDB does not fold
    letters beyond ASCII.
    """

    target: str
    source: str
    columns: Mapping[str, str]
    given: Mapping[str, str]

    def names(self) -> tuple[str, ...]:
        """Return all columns' names."""
        return (*self.columns.values(), *self.given.values())

    def side(self, reference: tuple[str, ...] | list[str]) -> str:
        """Return whose a reference is: ``target``, ``source``, or nothing where that is open."""
        first = reference[0]
        if len(reference) > 1 and first in (self.target, self.source):
            return "target" if first == self.target else "source"
        of_target, of_source = first in self.columns, first in self.given
        if of_target == of_source:
            return ""
        return "target" if of_target else "source"


@dataclasses.dataclass(frozen=True, slots=True)
class Join:
    """Hold a condition over both sides, and what it says of the table's columns.

    ``own`` are conditions over the table's columns alone that hold wherever it does, as SQL
    without an alias.
    """

    sql: str
    pairs: tuple[Pair, ...]
    own: tuple[str, ...]


def scope_of(merge: Merge, schema: Struct, given: Collection[str]) -> Scope:
    """Return the names that a merge's expressions may use."""
    return Scope(
        merge.target.lower(),
        merge.source.lower(),
        {field.name.lower(): field.name for field in schema},
        {name.lower(): name for name in given},
    )


def join_of(merge: Merge, scope: Scope, space: Workspace) -> Join:
    """Return a merge's condition, read; InputError where it cannot be used."""
    assert merge.on is not None
    if isinstance(merge.on, str) and _known(merge.on, scope.columns) not in scope.columns:
        if merge.null_safe:
            raise InputError(
                "null_safe is for keys that are given by name",
                next_step="Write IS NOT DISTINCT FROM in the condition",
            )
        return _condition(merge.on, scope, space)
    names = (merge.on,) if isinstance(merge.on, str) else merge.on
    if not names:
        raise InputError("a merge needs a key", next_step="Pass on='id', or a condition")
    equals = "IS NOT DISTINCT FROM" if merge.null_safe else "="
    pairs, terms = [], []
    for name in names:
        key = _known(name, scope.columns)
        for side, known in (("table", scope.columns), ("source", scope.given)):
            if key not in known:
                near = near_misses(name, tuple(known))
                raise InputError(
                    f"the {side} has no column {name!r} to match by",
                    next_step=f"Did you mean {near[0]!r}?" if near else "",
                )
        mine = f"{identifier(merge.target)}.{identifier(scope.columns[key])}"
        theirs = f"{identifier(merge.source)}.{identifier(scope.given[key])}"
        terms.append(f"{mine} {equals} {theirs}")
        pairs.append(Pair(scope.columns[key], theirs, merge.null_safe))
    return Join(" AND ".join(terms), tuple(pairs), ())


def _known(name: str, columns: Collection[str]) -> str:
    """Return a column's name in lower case, without spaces around it unless they are its own."""
    key = name.lower()
    return key if key in columns else key.strip()


def own_conditions(text: str | None, scope: Scope, space: Workspace) -> tuple[str, ...]:
    """Return what a condition says of the table's columns alone, as SQL without an alias."""
    if text is None:
        return ()
    found = space.expression(text, columns=scope.names(), what="a condition")
    with space.engine.work("read the condition") as cursor:
        own = (_own(cursor, node, scope) for node in conjuncts(found.tree))
        return tuple(condition for condition in own if condition is not None)


def _condition(text: str, scope: Scope, space: Workspace) -> Join:
    found = space.expression(text, columns=scope.names(), what="a condition")
    pairs, own = [], []
    with space.engine.work("read the condition") as cursor:
        for node in conjuncts(found.tree):
            if pair := _pair(cursor, node, scope):
                pairs.append(pair)
            elif mine := _own(cursor, node, scope):
                own.append(mine)
    return Join(f"{found.sql}\n", tuple(pairs), tuple(own))


def _pair(cursor: Connection, node: Node, scope: Scope) -> Pair | None:
    if node["type"] not in ("COMPARE_EQUAL", "COMPARE_NOT_DISTINCT_FROM"):
        return None
    for mine, theirs in ((node["left"], node["right"]), (node["right"], node["left"])):
        if mine["class"] != "COLUMN_REF" or scope.side(lower(mine)) != "target":
            continue
        parts = lower(mine)
        name = scope.columns.get(parts[-1])
        has_alias = len(parts) == 2 and parts[0] == scope.target
        if name is None or not (has_alias or len(parts) == 1):
            continue
        others = references_of(theirs)
        if others and all(scope.side(lower(other)) == "source" for other in others):
            try:
                source = text_of(cursor, theirs)
            except DuckError:
                return None
            return Pair(name, source, node["type"] != "COMPARE_EQUAL")
    return None


def _own(cursor: Connection, node: Node, scope: Scope) -> str | None:
    """Return a condition without the table's alias, if it is about the table alone."""
    references = references_of(node)
    if not references or any(scope.side(lower(r)) != "target" for r in references):
        return None
    bare = copy.deepcopy(node)
    for reference in references_of(bare):
        names = reference["column_names"]
        if len(names) > 1 and names[0].lower() == scope.target:
            reference["column_names"] = names[1:]
    try:
        return text_of(cursor, bare)
    except DuckError:
        return None
