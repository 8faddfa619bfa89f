"""Change what a table is: from the schema and properties that are wanted to the log's actions."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Mapping
from types import MappingProxyType

from lakehouse.delta import actions as act
from lakehouse.delta.change_data import check_columns
from lakehouse.delta.features import is_on
from lakehouse.delta.protocol import check_writable, upgraded
from lakehouse.delta.schema.fields import Primitive, Struct
from lakehouse.delta.schema.mapping import assigned
from lakehouse.delta.schema.widening import changed_leaves, with_type_changes
from lakehouse.delta.snapshot import Snapshot
from lakehouse.table.references import check_uncomputed

TYPE_WIDENING = "delta.enableTypeWidening"


@dataclasses.dataclass(frozen=True, slots=True)
class Definition:
    """Hold a table's next schema, and the actions that bring it about: none where nothing changes.

    ``rewrites`` says that data files of the schema before do not fit it, so that the rows must be
    written anew in the same commit, and that one which adds such a file may not come in between.
    """

    schema: Struct
    actions: tuple[act.Action, ...] = ()
    rewrites: bool = False


def redefine(
    snapshot: Snapshot,
    *,
    schema: Struct | None = None,
    configuration: Mapping[str, str] | None = None,
    partition_columns: tuple[str, ...] | None = None,
    description: str | None = None,
    replaces_rows: bool = False,
    seed: uuid.UUID | None = None,
) -> Definition:
    """Plan a table's change to another schema, properties or description.

    New columns get ids and physical names where the table maps its columns. A column whose type
    widens is recorded where ``delta.enableTypeWidening`` is set; else its files must be rewritten
    (unless the change ``replaces_rows`` anyway). The protocol grows as far as it must. The same
    ``seed`` gives new columns the same physical names again.
    Raises UnsupportedError, by feature name, for what this release does not write.
    """
    old = snapshot.metadata
    columns = old.partition_columns if partition_columns is None else partition_columns
    wanted, settings = assigned(
        snapshot.schema if schema is None else schema,
        old.configuration if configuration is None else configuration,
        seed=seed,
    )
    rewrites = False
    if not replaces_rows and next(changed_leaves(snapshot.schema, wanted), None) is not None:
        check_uncomputed(snapshot, wanted)
        if _is_recordable(snapshot, wanted, settings):
            wanted = with_type_changes(snapshot.schema, wanted)
        else:
            rewrites = True
    metadata = dataclasses.replace(
        old,
        schema_string=old.schema_string if wanted == snapshot.schema else wanted.to_json(),
        configuration=MappingProxyType(dict(settings)),
        partition_columns=columns,
        description=old.description if description is None else description,
    )
    if metadata == old:
        return Definition(snapshot.schema)
    check_columns(wanted, settings)
    protocol = upgraded(snapshot.protocol, wanted, settings)
    check_writable(protocol, settings, wanted)
    actions = (metadata,) if protocol == snapshot.protocol else (protocol, metadata)
    return Definition(wanted, actions, rewrites)


def _is_recordable(snapshot: Snapshot, wanted: Struct, settings: Mapping[str, str]) -> bool:
    """Tell whether readers can follow the change of types by the schema's own record of it."""
    if not is_on(settings, TYPE_WIDENING):
        return False
    # As a partition value, the text of a date is no timestamp's, and that of a float another double's.
    return not any(
        wanted.field(field.name) not in (None, field)
        and field.type in (Primitive("date"), Primitive("float"))
        for field in snapshot.files.layout.partitions
    )
