"""Create a Delta table: version 0 of its log."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from typing import Any

from catalog.errors import AlreadyExistsError, InputError
from catalog.storage import Storage
from lakehouse.delta.actions import Metadata
from lakehouse.delta.change_data import check_columns
from lakehouse.delta.commit import first_commit
from lakehouse.delta.properties import checked
from lakehouse.delta.protocol import check_writable, protocol_for
from lakehouse.delta.schema.fields import Field, Struct
from lakehouse.delta.schema.mapping import assigned
from lakehouse.delta.schema.types import from_duckdb, schema_from_arrow, schema_from_duckdb
from lakehouse.duck.describe import columns_of, type_of
from lakehouse.duck.engine import Engine, Relation
from lakehouse.duck.errors import DuckError, translate
from lakehouse.duck.rows import arrow_schema_of, register
from lakehouse.table.constraining import stored_checks
from lakehouse.write.gate import validate_schema


def to_schema(schema: Any, engine: Engine) -> Struct:
    """Return the Delta schema that a user means.

    ``schema`` is a `pyarrow.Schema`, a dict of column names to DuckDB type texts (``BIGINT``,
    ``DECIMAL(10,2)``, ``VARCHAR NOT NULL``), or rows, whose columns are taken. Raises InputError.
    """
    if isinstance(schema, Struct):
        return schema
    found = arrow_schema_of(schema)
    if found is not None:
        return schema_from_arrow(found)
    if isinstance(schema, Mapping) and schema and all(isinstance(t, str) for t in schema.values()):
        return _from_texts(schema, engine)
    if isinstance(schema, Relation):
        return schema_from_duckdb(columns_of(schema))
    with engine.work("read the columns of these rows") as cursor:
        return schema_from_duckdb(register(cursor, schema).columns)


def create(
    storage: Storage,
    schema: Struct,
    *,
    partition_by: tuple[str, ...] = (),
    description: str | None = None,
    name: str | None = None,
    properties: Mapping[str, Any] | None = None,
    checks: Mapping[str, str] | None = None,
    commit_metadata: Mapping[str, Any] | None = None,
) -> str:
    """Write version 0 of a table at ``storage``, and return the table's id.

    The lowest protocol that fits is chosen. ``checks`` are constraints, in SQL, by name. Raises AlreadyExistsError where there is a log
    already, InputError and UnsupportedError for a schema or properties that cannot be.
    """
    validate_schema(schema, partition_by)
    schema, configuration = assigned(schema, checked(properties or {}))
    if checks:
        configuration = {**configuration, **stored_checks(checks, schema)}
    check_columns(schema, configuration)
    protocol = protocol_for(schema, configuration)
    check_writable(protocol, configuration, schema)
    metadata = Metadata(
        id=str(uuid.uuid4()),
        schema_string=schema.to_json(),
        partition_columns=partition_by,
        configuration=configuration,
        name=name,
        description=description,
        created_time=time.time_ns() // 1_000_000,
    )
    if not first_commit(
        storage,
        (protocol, metadata),
        operation="CREATE TABLE",
        parameters={
            "partitionBy": list(partition_by),
            "properties": dict(configuration),
            **({} if description is None else {"description": description}),
        },
        metadata=commit_metadata,
    ):
        raise AlreadyExistsError(
            f"there is a Delta table at {storage.uri} already",
            next_step="Register it with register_table",
        )
    return metadata.id


def _from_texts(texts: Mapping[str, str], engine: Engine) -> Struct:
    fields = []
    with engine.work("read the schema") as cursor:
        for name, text in texts.items():
            plain = text.strip()
            nullable = not plain.upper().endswith("NOT NULL")
            plain = plain if nullable else plain[: -len("NOT NULL")].strip()
            try:
                type_ = cursor.type(plain)
                # The former takes what may follow a type in CREATE TABLE, and drops it.
                cursor.sql(f"SELECT CAST(NULL AS {plain}\n)")
            except DuckError as error:
                raise InputError(
                    f"column {name!r} has type {text!r}, which is no type of DuckDB's",
                    next_step="Use a type such as BIGINT, VARCHAR, DOUBLE, TIMESTAMP, "
                    "DECIMAL(10,2) or VARCHAR[]",
                    column=name,
                ) from translate(error, "read the type")
            fields.append(Field(str(name), from_duckdb(type_of(type_), column=name), nullable))
    return Struct(tuple(fields))
