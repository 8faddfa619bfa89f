"""Run the statements that change the lake or describe it; each returns its report as rows."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping
from typing import Any

from catalog import lazy
from catalog.catalog import Catalog
from catalog.errors import AlreadyExistsError, DataError, LakehouseError, NotFoundError
from catalog.names import near_misses
from catalog.state import find
from lakehouse import table as verbs
from lakehouse.delta.features import DEFAULT, GENERATED
from lakehouse.delta.schema.types import to_duckdb
from lakehouse.duck.engine import Engine, Relation
from lakehouse.duck.sql import identifier
from lakehouse.lake.changing import Changing
from lakehouse.lake.filling import Filling
from lakehouse.lake.next_steps import in_sql
from lakehouse.lake.queries import Queries
from lakehouse.lake.statements import kinds
from lakehouse.lake.statements.parameters import inlined
from lakehouse.lake.statements.parse import parse
from lakehouse.lake.tables import Created, Tables
from lakehouse.lake.temporary import Temporary
from lakehouse.lake.views import Views
from lakehouse.scan.asked import Params

pa: Any = lazy.module("pyarrow")


@dataclasses.dataclass(frozen=True, slots=True)
class CreateReport:
    """Report a table or view that was created, or ``existed`` and was left as it is."""

    operation: str
    name: str
    uri: str | None
    version: int | None
    rows: int
    existed: bool


class Statements:
    """Run statements over a lake's tables and views."""

    def __init__(
        self, catalog: Catalog, engine: Engine, tables: Tables, views: Views, queries: Queries
    ) -> None:
        self._catalog = catalog
        self._engine = engine
        self._tables = tables
        self._views = views
        self._queries = queries
        self._temporary = Temporary(engine, queries)
        self._changing = Changing(tables, queries)
        self._filling = Filling(catalog, engine, tables, queries)

    def run(self, sql: str, params: Params) -> Relation:
        """Run a statement; what is none of ours goes to DuckDB as it is."""
        if parse(sql) is None:
            return self._queries.prepare(sql, params).relation()
        statement = parse(inlined(sql, params))
        match statement:
            case kinds.Describe(name):
                return self._describe(name)
            case kinds.Show():
                return self._show(statement)
            case None:
                raise AssertionError(sql)
            case _:
                done = self._temporarily(statement) or self._change(statement)
                return self._engine.rows([done])

    def _temporarily(self, statement: kinds.Statement) -> Mapping[str, Any] | None:
        """Run a statement on a temporary table; None where it is on the lake's."""
        match statement:
            case kinds.CreateTemporary():
                rows = self._temporary.create(statement)
                return {"operation": "create temporary table", "name": statement.name, "rows": rows}
            case kinds.Insert() if "." not in statement.table:
                return {"operation": "append", "rows": self._temporary.insert(statement)}
            case kinds.Delete() if "." not in statement.table:
                return {"operation": "delete", "rows_deleted": self._temporary.delete(statement)}
            case kinds.Update() if "." not in statement.table:
                return {"operation": "update", "rows_updated": self._temporary.update(statement)}
            case kinds.Drop() if "." not in statement.name and statement.kind == "table":
                existed = self._temporary.drop(statement)
                return {"operation": "drop table", "name": statement.name, "existed": existed}
        return None

    def _change(self, statement: kinds.Statement) -> Mapping[str, Any]:
        try:
            report = self._done(statement)
        except DataError as error:
            if not isinstance(statement, kinds.Insert | kinds.Update | kinds.Delete | kinds.Merge):
                raise
            told = in_sql(error, statement.table)
            if told is error:
                raise
            raise told from error
        return report if isinstance(report, Mapping) else dataclasses.asdict(report)

    def _done(
        self, statement: kinds.Statement
    ) -> CreateReport | verbs.WriteReport | verbs.ChangeReport | Mapping[str, Any]:
        match statement:
            case kinds.CreateTable():
                return self._create_table(statement)
            case kinds.CreateView():
                return self._create_view(statement)
            case kinds.Insert() if statement.conflict is not None:
                return self._changing.insert(statement, statement.conflict)
            case kinds.Insert():
                return self._filling.insert(statement)
            case kinds.Delete():
                return self._changing.delete(statement)
            case kinds.Update():
                return self._changing.update(statement)
            case kinds.Merge():
                return self._changing.merge(statement)
            case kinds.Alter():
                return self._alter(statement)
            case kinds.Drop():
                return self._drop(statement)
            case kinds.Comment():
                return self._comment(statement)
        raise AssertionError(statement)

    def _create_table(self, statement: kinds.CreateTable) -> CreateReport:
        if statement.query is not None:
            created = self._filling.create_as(statement, statement.query)
        else:
            created = self._tables.create(
                statement.name,
                self._schema(statement),
                partition_by=statement.partition_by,
                description=statement.comment,
                properties=statement.properties,
                checks=statement.checks,
                if_not_exists=statement.if_not_exists,
            )
        return _report(created)

    def _schema(self, statement: kinds.CreateTable) -> Any:
        texts: dict[str, str] = {}
        for column in statement.columns:
            if column.name in texts:
                raise AlreadyExistsError(
                    f"column {column.name!r} is defined twice", next_step="Leave one out"
                )
            texts[column.name] = column.type + ("" if column.nullable else " NOT NULL")
        columns = statement.columns
        return verbs.expressing.expressed(
            verbs.create.to_schema(texts, self._engine),
            defaults={c.name: c.default for c in columns if c.default is not None},
            generated={c.name: c.generated for c in columns if c.generated is not None},
            comments={c.name: c.comment for c in columns if c.comment is not None},
        )

    def _create_view(self, statement: kinds.CreateView) -> CreateReport:
        name = statement.name
        if statement.if_not_exists and find(self._catalog.state.views, name) is not None:
            return CreateReport("create view", name, None, None, 0, existed=True)
        try:
            view = self._views.create(
                name, statement.query, description=statement.comment, replace=statement.replace
            )
        except AlreadyExistsError:
            if not statement.if_not_exists or find(self._catalog.state.views, name) is None:
                raise
            return CreateReport("create view", name, None, None, 0, existed=True)
        return CreateReport("create view", view.name, None, None, 0, existed=False)

    def _alter(self, statement: kinds.Alter) -> Mapping[str, Any]:
        if statement.verb == "rename_table":
            new = statement.arguments["to"]
            layer = "" if "." in new else statement.table.partition(".")[0] + "."
            renamed = self._tables.rename(statement.table, layer + new)
            return {"operation": "rename", "name": renamed.name}
        verb = getattr(self._tables.table(statement.table).alter(), statement.verb)
        return dataclasses.asdict(verb(**statement.arguments))

    def _drop(self, statement: kinds.Drop) -> Mapping[str, Any]:
        name, cascade = statement.name, statement.cascade
        operation = f"drop {statement.kind}"
        try:
            if statement.kind == "view":
                gone = dataclasses.asdict(self._views.drop(name, cascade=cascade))
            else:
                dropped = self._tables.drop(name, purge=statement.purge, cascade=cascade)
                gone = dataclasses.asdict(dropped)
        except NotFoundError:
            state = self._catalog.state
            if not statement.if_exists or find(state.entries, name) is not None:
                raise
            return {"operation": operation, "name": name, "existed": False}
        return {"operation": operation, **gone, "existed": True}

    def _comment(self, statement: kinds.Comment) -> Mapping[str, Any]:
        name, text = statement.name, statement.text
        if statement.kind == "view":
            view = self._catalog.update_view(name, description=text)
            return {"operation": "comment", "name": view.name}
        alter = self._tables.table(name).alter()
        if statement.kind == "column":
            return dataclasses.asdict(alter.comment_column(statement.column, text))
        report = alter.describe(text or "")
        self._catalog.update_table(name, description=text)
        return dataclasses.asdict(report)

    def _describe(self, name: str) -> Relation:
        state = self._catalog.state
        rows: list[dict[str, Any]]
        if find(state.views, name) is not None:
            rows = [
                {"column_name": c, "column_type": t, "null": "YES"} for c, t in self._columns(name)
            ]
        elif find(state.tables, name) is None:
            near = near_misses(name, state.entries)
            step = f"Did you mean {' or '.join(near)}?" if near else "SHOW TABLES lists all"
            raise NotFoundError(f"no table or view {name}", next_step=step, name=name, near=near)
        else:
            snapshot = self._tables.table(name).snapshot()
            rows = [
                {
                    "column_name": field.name,
                    "column_type": to_duckdb(field.type),
                    "null": "YES" if field.nullable else "NO",
                    "key": "PARTITION" if field.name in snapshot.partition_columns else None,
                    "default": field.metadata.get(DEFAULT),
                    "extra": _generated(field.metadata.get(GENERATED)),
                    "comment": field.metadata.get("comment"),
                }
                for field in snapshot.schema
            ]
        names = ("column_name", "column_type", "null", "key", "default", "extra", "comment")
        return self._engine.rows(rows, schema=pa.schema([(name, pa.string()) for name in names]))

    def _show(self, statement: kinds.Show) -> Relation:
        state = self._catalog.state
        layer = None if statement.layer is None else state.layer(statement.layer).name
        rows: list[dict[str, Any]] = []
        for name, entry in sorted(state.entries.items()):
            if layer is not None and entry.layer != layer:
                continue
            kind = "table" if name in state.tables else "view"
            row: dict[str, Any] = {
                "name": name,
                "kind": kind,
                "description": entry.description,
                "owner": entry.owner,
            }
            if statement.columns:
                # One that cannot be read is listed all the same, without its columns.
                with contextlib.suppress(LakehouseError):
                    columns = self._columns(name)
                    row["column_names"] = [column for column, _ in columns]
                    row["column_types"] = [type_ for _, type_ in columns]
            rows.append(row)
        if layer is None and not statement.columns:
            rows += [{"name": name, "kind": "temporary"} for name in self._temporary.names()]
        schema = [(name, pa.string()) for name in ("name", "kind", "description", "owner")]
        if statement.columns:
            schema += [(name, pa.list_(pa.string())) for name in ("column_names", "column_types")]
        return self._engine.rows(rows, schema=pa.schema(schema))

    def _columns(self, name: str) -> list[tuple[str, str]]:
        layer, _, short = name.partition(".")
        query = f"SELECT * FROM {identifier(layer)}.{identifier(short)} LIMIT 0"
        relation = self._queries.prepare(query, None).relation()
        return [(c, str(t)) for c, t in zip(relation.columns, relation.types, strict=True)]


def _report(created: Created) -> CreateReport:
    table, written = created.table, created.report
    return CreateReport(
        operation="create table",
        name=table.name,
        uri=table.uri,
        version=table.version if written is None else written.version,
        rows=0 if written is None else written.rows,
        existed=created.existed,
    )


def _generated(text: str | None) -> str | None:
    return None if text is None else f"GENERATED ALWAYS AS ({text})"
