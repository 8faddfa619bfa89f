"""The change data feed's files and columns, as the log and the protocol know them.

Source: Delta protocol, "Change Data Files", "Add CDC File".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from catalog.errors import CorruptionError, InputError
from lakehouse.delta.actions import Action, AddFile, OtherAction, Protocol
from lakehouse.delta.features import is_on
from lakehouse.delta.paths import check_file_path
from lakehouse.delta.protocol import writer_features
from lakehouse.delta.schema.fields import Struct

PROPERTY = "delta.enableChangeDataFeed"
FOLDER = "_change_data"
CHANGE_TYPE = "_change_type"
COMMIT_VERSION = "_commit_version"
COMMIT_TIMESTAMP = "_commit_timestamp"
# Of our own, while a feed is read: what happened to all rows of a file.
OF_FILE = "_change_of_file"
_COLUMNS = (CHANGE_TYPE, COMMIT_VERSION, COMMIT_TIMESTAMP, OF_FILE)


def is_recorded(protocol: Protocol, configuration: Mapping[str, str]) -> bool:
    """Tell whether writers of a table must record changes: by the property and the feature."""
    return is_on(configuration, PROPERTY) and "changeDataFeed" in writer_features(protocol)


def check_columns(schema: Struct, configuration: Mapping[str, str]) -> None:
    """Raise InputError for a table with a feed whose columns have the names of the feed's own."""
    if not is_on(configuration, PROPERTY):
        return
    for field in schema:
        if field.name.lower() in _COLUMNS:
            raise InputError(
                f"column {field.name!r} has a name that the change data feed needs",
                next_step=f"Rename it, or leave {PROPERTY} off",
            )


def change_action(file: AddFile) -> OtherAction:
    """Return the action that names a change data file, from what was written of it."""
    values: dict[str, Any] = {
        "path": file.path,
        "partitionValues": dict(file.partition_values),
        "size": file.size,
        "dataChange": False,
    }
    return OtherAction("cdc", MappingProxyType(values))


def change_files(actions: Iterable[Action], *, where: str) -> tuple[AddFile, ...]:
    """Return the change data files that a commit names, in the form of data files.

    Raises CorruptionError where one cannot be read, or lies outside of the table's folder.
    """
    found = []
    for action in actions:
        if not isinstance(action, OtherAction) or action.kind != "cdc":
            continue
        path, values = action.values.get("path"), action.values.get("partitionValues") or {}
        size = action.values.get("size")
        if not isinstance(path, str) or not isinstance(values, Mapping):
            raise CorruptionError(f"{where} names a change data file without path or values")
        check_file_path(path)
        found.append(AddFile(path, dict(values), size if isinstance(size, int) else 0, 0))
    return tuple(found)
