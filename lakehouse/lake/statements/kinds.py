"""The statements as frozen values. SQL in them is as it was written; names are without quotes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

Kind = Literal["table", "view"]


@dataclasses.dataclass(frozen=True, slots=True)
class NewColumn:
    """Define a column: ``default`` and ``generated`` are SQL expressions."""

    name: str
    type: str
    nullable: bool = True
    default: str | None = None
    generated: str | None = None
    comment: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CreateTable:
    """Create a table of ``columns``, or of a query, whose columns ``names`` may name anew."""

    name: str
    columns: tuple[NewColumn, ...] = ()
    names: tuple[str, ...] = ()
    query: str | None = None
    partition_by: tuple[str, ...] = ()
    properties: Mapping[str, str] = dataclasses.field(default_factory=dict)
    checks: Mapping[str, str] = dataclasses.field(default_factory=dict)
    comment: str | None = None
    if_not_exists: bool = False
    replace: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CreateView:
    """Keep a query under a name."""

    name: str
    query: str
    comment: str | None = None
    if_not_exists: bool = False
    replace: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CreateTemporary:
    """Create a table of DuckDB's own: ``definition`` follows its name, and a query may follow."""

    name: str
    definition: str
    query: str | None = None
    if_not_exists: bool = False
    replace: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """Drop a table or a view; ``cascade`` takes the views along that read it."""

    kind: Kind
    name: str
    if_exists: bool = False
    cascade: bool = False
    purge: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Alter:
    """Change a table: a verb of `Alter`, or ``rename_table`` with the new name in ``to``."""

    table: str
    verb: str
    arguments: Mapping[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """Name a query's rows, for a change that reads them."""

    query: str
    alias: str


@dataclasses.dataclass(frozen=True, slots=True)
class OnConflict:
    """Say what happens to a row whose key is there: nothing, or columns are set."""

    keys: tuple[str, ...]
    values: Mapping[str, str] = dataclasses.field(default_factory=dict)
    where: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Insert:
    """Add a query's rows, or replace all rows by them.

    Without ``columns`` its columns are the table's in order, unless they go ``by_name``.
    """

    table: str
    query: str
    columns: tuple[str, ...] = ()
    by_name: bool = False
    overwrite: bool = False
    is_values: bool = False
    conflict: OnConflict | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """Delete the rows for which ``where`` is true; ``alias`` may stand before columns in it.

    With a ``source``, these are rows for which it is true with a row of that.
    """

    table: str
    where: str = "true"
    alias: str | None = None
    source: Source | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """Set columns, by SQL, of the rows that `Delete` would delete."""

    table: str
    values: Mapping[str, str]
    where: str | None = None
    alias: str | None = None
    source: Source | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """Say what happens to rows of a kind for which a condition is true.

    ``values`` are SQL by column, or for an insert in the table's order; None takes them from the
    source by name.
    """

    kind: Literal["matched", "not matched", "not matched by source"]
    verb: Literal["update", "delete", "insert"]
    condition: str | None = None
    values: Mapping[str, str] | tuple[str, ...] | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """Merge a source into a table; ``on`` is a condition, or columns that both have."""

    table: str
    source: Source
    on: str | tuple[str, ...]
    clauses: tuple[When, ...]
    alias: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Describe:
    """List a table's or a view's columns."""

    name: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Show:
    """List tables and views of all layers or one; ``columns`` lists their columns as well."""

    layer: str | None = None
    columns: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Comment:
    """Describe a table or view, or a column in ``column``; None takes the description away."""

    kind: Literal["table", "view", "column"]
    name: str
    text: str | None
    column: tuple[str, ...] = ()


Statement = (
    CreateTable
    | CreateView
    | CreateTemporary
    | Drop
    | Alter
    | Insert
    | Delete
    | Update
    | Merge
    | Describe
    | Show
    | Comment
)
