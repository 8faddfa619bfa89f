"""Merge rows into a table, clause by clause: what `Table.merge` returns."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict, get_args

from catalog.errors import InputError
from lakehouse.dml.clauses import Clause, Merge, Values
from lakehouse.duck.rows import Rows
from lakehouse.table.alteration import Target
from lakehouse.table.merging import Terms, merge
from lakehouse.table.reports import ChangeReport
from lakehouse.table.sources import Sourcing
from lakehouse.table.writing import AppendMode

Matched = Literal["update", "delete"]
NotMatched = Literal["insert"]
NotMatchedBySource = Literal["delete"]


class MergeOptions(TypedDict, total=False):
    """Say what a merge may be given beside its clauses."""

    deduplicate: str | None
    null_safe: bool
    schema_mode: AppendMode | None
    metadata: Mapping[str, Any] | None
    idempotency_key: tuple[str, int] | None
    dry_run: bool
    if_version: int | None
    aliases: tuple[str, str]


@dataclasses.dataclass(frozen=True, slots=True)
class MergeBuilder:
    """Collect the clauses of a merge, in order; nothing happens before `run`.

    Of several clauses for a row the first whose condition is true wins. Conditions and values are
    SQL over the aliases ``t``, the table, and ``s``, the source. Each method returns a new value.
    """

    target: Target
    rows: Rows = dataclasses.field(repr=False)
    on: str | tuple[str, ...]
    terms: Terms
    sourcing: Sourcing = Sourcing()
    null_safe: bool = False
    aliases: tuple[str, str] = ("t", "s")
    clauses: tuple[Clause, ...] = ()

    def when_matched_update(
        self,
        set: Values = None,  # noqa: A002 - as SQL says it
        *,
        condition: str | None = None,
    ) -> MergeBuilder:
        """Update rows that match: all columns that the source has, these, or by expressions."""
        return self._with(Clause("matched", "update", condition, set))

    def when_matched_delete(self, *, condition: str | None = None) -> MergeBuilder:
        """Delete rows that match."""
        return self._with(Clause("matched", "delete", condition))

    def when_not_matched_insert(
        self, values: Values = None, *, condition: str | None = None
    ) -> MergeBuilder:
        """Insert rows of the source that match none: all columns, these, or by expressions."""
        return self._with(Clause("not matched", "insert", condition, values))

    def when_not_matched_by_source_update(
        self,
        set: Mapping[str, Any],  # noqa: A002 - as SQL says it
        *,
        condition: str | None = None,
    ) -> MergeBuilder:
        """Update rows that no row of the source matches, by expressions over ``t``."""
        return self._with(Clause("not matched by source", "update", condition, set))

    def when_not_matched_by_source_delete(self, *, condition: str | None = None) -> MergeBuilder:
        """Delete rows that no row of the source matches."""
        return self._with(Clause("not matched by source", "delete", condition))

    def run(self) -> ChangeReport:
        """Do it, in one commit; a second call does it again."""
        spec = Merge(self.clauses, self.on, self.null_safe, *self.aliases)
        after, report = merge(
            self.target.snapshot(),
            self.rows,
            spec,
            self.terms,
            engine=self.target.engine,
            scanner=self.target.scanner,
            sourcing=self.sourcing,
        )
        self.target.remember(after)
        return report

    def _with(self, clause: Clause) -> MergeBuilder:
        return dataclasses.replace(self, clauses=(*self.clauses, clause))


def parse_clauses(
    *, matched: object, not_matched: object, not_matched_by_source: object
) -> tuple[Clause, ...]:
    """Return the clauses that keywords ask for: all columns of the source, no condition.

    >>> parse_clauses(matched="update", not_matched=None, not_matched_by_source=None)
    (Clause(kind='matched', verb='update', condition=None, values=None),)
    """
    clauses = []
    if matched is not None:
        verb: Matched = "delete" if _is("matched", matched, Matched) == "delete" else "update"
        clauses.append(Clause("matched", verb))
    if not_matched is not None:
        _is("not_matched", not_matched, NotMatched)
        clauses.append(Clause("not matched", "insert"))
    if not_matched_by_source is not None:
        _is("not_matched_by_source", not_matched_by_source, NotMatchedBySource)
        clauses.append(Clause("not matched by source", "delete"))
    return tuple(clauses)


def _is(name: str, value: object, mode: object) -> object:
    known = get_args(mode)
    if value not in known:
        raise InputError(
            f"{name}={value!r} is not known; it may be {' or '.join(map(repr, known))}",
            next_step="For conditions and expressions, leave it out and call "
            ".when_matched_update() and the like",
        )
    return value


def parse_on(on: str | Sequence[str]) -> str | tuple[str, ...]:
    """Return how rows are matched: one name or condition, or several names."""
    return on if isinstance(on, str) else tuple(on)


def parse_names(names: str | Sequence[str]) -> tuple[str, ...]:
    """Return the names of columns that a caller means."""
    return (names,) if isinstance(names, str) else tuple(names)
