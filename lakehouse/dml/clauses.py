"""Say what a change does to which rows: clauses, as frozen values."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from catalog.errors import InputError

Kind = Literal["matched", "not matched", "not matched by source"]
Verb = Literal["update", "delete", "insert"]
Values = Mapping[str, Any] | Sequence[str] | None


@dataclasses.dataclass(frozen=True, slots=True)
class Value:
    """Hold a value that stands for itself where SQL is expected; `lit` makes one."""

    value: Any


def lit(value: Any) -> Value:
    """Return a value that stands for itself, where a text would be taken for SQL.

    >>> lit("it's")
    Value(value="it's")
    """
    return Value(value)


@dataclasses.dataclass(frozen=True, slots=True)
class Clause:
    """Hold what happens to rows of a kind for which a condition is true.

    ``values`` are SQL expressions, or `Value` and other Python values, by column of the table; a
    list of names takes these from the source; None takes all that the source has.
    """

    kind: Kind
    verb: Verb
    condition: str | None = None
    values: Values = None

    def __post_init__(self) -> None:
        if isinstance(self.values, str):
            raise InputError(
                f"columns to set are a dict or a list, not a text: {self.values[:200]}",
                next_step="Pass {'column': 'SQL expression'}, or a list of names",
            )
        if self.values is not None and not self.values:
            raise InputError(f"nothing is to be set by this {self.verb}")
        if self.kind == "not matched by source" and self.takes_source:
            raise InputError(
                "rows that the source does not have cannot be updated from it",
                next_step="Pass set={'column': 'SQL expression'}",
            )

    @property
    def takes_source(self) -> bool:
        """Tell whether columns are taken from the source by their names."""
        return self.verb != "delete" and not isinstance(self.values, Mapping)


@dataclasses.dataclass(frozen=True, slots=True)
class Repeated:
    """Say that the rows matched are those that repeat a key: all but one of each.

    Which is kept is the first by ``order``, a column, or any. NULL repeats NULL if ``null_safe``.
    """

    key: tuple[str, ...]
    order: str | None = None
    descending: bool = False
    null_safe: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Merge:
    """Hold a merge: how rows are matched, and clauses, of which the first that holds wins.

    ``on`` is a name, names, or a condition over ``target`` and ``source``, which are the aliases
    of both. ``null_safe`` lets NULL match NULL, where names are given. Without ``on`` there is no
    source: every row is matched, or those that are ``repeated``.
    """

    clauses: tuple[Clause, ...]
    on: str | tuple[str, ...] | None = None
    null_safe: bool = False
    target: str = "t"
    source: str = "s"
    repeated: Repeated | None = None

    def __post_init__(self) -> None:
        if not self.clauses:
            raise InputError(
                "a merge needs at least one clause",
                next_step="Call for example .when_matched_update() before .run()",
            )
        if self.target.lower() == self.source.lower():
            raise InputError(f"target and source have the same alias {self.target!r}")
        last: dict[Kind, Clause] = {}
        for clause in self.clauses:
            if clause.kind in last and last[clause.kind].condition is None:
                raise InputError(
                    f"a clause for rows {clause.kind} follows one without a condition",
                    next_step="Give the earlier one a condition, or leave the later one out",
                )
            last[clause.kind] = clause

    def of(self, kind: Kind) -> list[tuple[int, Clause]]:
        """Return the clauses of a kind, each with its number, from 1."""
        return [(i, c) for i, c in enumerate(self.clauses, 1) if c.kind == kind]
