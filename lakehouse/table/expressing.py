"""Define columns whose values the table's own expressions make: defaults and generated columns.

Source: Delta protocol, "Default Columns", "Generated Columns". Both are kept as Spark SQL, so that
every engine makes the same values; users may write DuckDB's SQL. What both do not read alike is
refused when the table is made, and not when the first row comes.
"""

from __future__ import annotations

from collections.abc import Mapping

from catalog.errors import InputError
from lakehouse import write as on_demand
from lakehouse.delta.features import DEFAULT, GENERATED
from lakehouse.delta.schema.edits import with_metadata
from lakehouse.delta.schema.fields import Struct
from lakehouse.write.kinds import Untranslatable
from lakehouse.write.rules import rules_of


def expressed(
    schema: Struct,
    *,
    defaults: Mapping[str, str] | None = None,
    generated: Mapping[str, str] | None = None,
    comments: Mapping[str, str] | None = None,
) -> Struct:
    """Return a schema with expressions and comments, by column.

    Raises InputError for SQL that is no expression, and UnsupportedError, by the feature's name,
    for one that not every engine reads alike or whose type is not the column's.
    """
    fields = []
    for field in schema:
        for texts, key in ((defaults, DEFAULT), (generated, GENERATED)):
            if texts and (text := texts.get(field.name)) is not None:
                field = with_metadata(field, key, _spark(field.name, text))
        if comments and (comment := comments.get(field.name)) is not None:
            field = with_metadata(field, "comment", comment)
        fields.append(field)
    made = Struct(tuple(fields))
    rules_of(made, {}, missing=[f.name for f in made if {DEFAULT, GENERATED} & {*f.metadata}])
    computed = {field.name for field in made if GENERATED in field.metadata}
    for field in made:
        text = field.metadata.get(GENERATED)
        used = (
            {name.partition(".")[0] for name in on_demand.from_spark(text, made).columns}
            if text
            else set()
        )
        if others := sorted(used & computed):
            raise InputError(
                f"generated column {field.name!r} reads {others[0]!r}, which is generated too",
                next_step="Write the whole expression in both",
                column=field.name,
            )
    return made


def _spark(name: str, text: str) -> str:
    try:
        return on_demand.to_spark(text)
    except Untranslatable as error:
        raise InputError(
            f"column {name!r} cannot be made by {text!r}: {error}",
            next_step="Use constants, arithmetic and plain functions",
            column=name,
        ) from error
