"""Delta actions as JSON lines, and back.

Source: Delta protocol, "Actions". What a later protocol adds is kept: unknown actions as
OtherAction, unknown fields in ``extra``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from catalog.errors import CorruptionError
from lakehouse.delta.actions import (
    Action,
    AddFile,
    CommitInfo,
    DeletionVector,
    DomainMetadata,
    Metadata,
    OtherAction,
    Protocol,
    RemoveFile,
    Transaction,
)

_ADD_FIELDS = frozenset(
    ("path", "partitionValues", "size", "modificationTime", "dataChange", "stats", "deletionVector")
)
_REMOVE_FIELDS = frozenset(
    ("path", "deletionTimestamp", "dataChange", "partitionValues", "size", "deletionVector")
)


def encode_path(path: str) -> str:
    """Return a file's relative path as the log stores it (RFC 2396).

    >>> encode_path("day=a b%2F/x.parquet")
    'day=a%20b%252F/x.parquet'
    """
    return quote(path, safe="/=@!$&'()*+,;~-._")


def to_lines(actions: Iterable[Action]) -> bytes:
    """Return the body of a commit file: one JSON document a line."""
    return b"".join(
        json.dumps(to_json(action), ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        for action in actions
    )


def to_json(action: Action) -> dict[str, Any]:
    """Return an action as the JSON value that stands on its line."""
    match action:
        case AddFile():
            return {
                "add": {
                    "path": action.path,
                    "partitionValues": dict(action.partition_values),
                    "size": action.size,
                    "modificationTime": action.modification_time,
                    "dataChange": action.data_change,
                    **({} if action.stats is None else {"stats": action.stats}),
                    **_vector_json(action.deletion_vector),
                    **action.extra,
                }
            }
        case RemoveFile():
            extended = action.partition_values is not None and action.size is not None
            return {
                "remove": {
                    "path": action.path,
                    "deletionTimestamp": action.deletion_timestamp,
                    "dataChange": action.data_change,
                    "extendedFileMetadata": extended,
                    **(
                        {
                            "partitionValues": dict(action.partition_values or {}),
                            "size": action.size,
                        }
                        if extended
                        else {}
                    ),
                    **_vector_json(action.deletion_vector),
                    **{k: v for k, v in action.extra.items() if k != "extendedFileMetadata"},
                }
            }
        case Metadata():
            return {
                "metaData": {
                    "id": action.id,
                    **({} if action.name is None else {"name": action.name}),
                    **({} if action.description is None else {"description": action.description}),
                    "format": dict(action.format),
                    "schemaString": action.schema_string,
                    "partitionColumns": list(action.partition_columns),
                    "configuration": dict(action.configuration),
                    **({} if action.created_time is None else {"createdTime": action.created_time}),
                }
            }
        case Protocol():
            features = {
                "readerFeatures": action.reader_features,
                "writerFeatures": action.writer_features,
            }
            return {
                "protocol": {
                    "minReaderVersion": action.min_reader,
                    "minWriterVersion": action.min_writer,
                    **{k: sorted(v) for k, v in features.items() if v is not None},
                }
            }
        case Transaction():
            return {
                "txn": {
                    "appId": action.app_id,
                    "version": action.version,
                    **({} if action.last_updated is None else {"lastUpdated": action.last_updated}),
                }
            }
        case DomainMetadata():
            return {
                "domainMetadata": {
                    "domain": action.domain,
                    "configuration": action.configuration,
                    "removed": action.removed,
                }
            }
        case CommitInfo():
            return {"commitInfo": dict(action.values)}
        case OtherAction():
            return {action.kind: dict(action.values)}


def from_lines(body: bytes, *, where: str) -> list[Action]:
    """Parse the body of a commit file; ``where`` names it in errors.

    Raises CorruptionError, with the line, for text that is not an action of the protocol's form.
    """
    actions: list[Action] = []
    for number, line in enumerate(body.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            actions.append(from_json(json.loads(line)))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise CorruptionError(
                f"{where}, line {number} is not a valid action: {type(error).__name__}: {error}",
                next_step="Restore this log file from a backup; run lakehouse doctor on the table",
                file=where,
                line=number,
            ) from error
    return actions


def from_json(value: Mapping[str, Any]) -> Action:
    """Return the action in one line's JSON; raises KeyError, TypeError or ValueError."""
    if len(value) != 1:
        present = [key for key, inner in value.items() if inner is not None]
        if len(present) != 1:
            raise ValueError(f"one action expected, found {sorted(value)}")
        value = {present[0]: value[present[0]]}
    kind, inner = next(iter(value.items()))
    if not isinstance(inner, Mapping):
        raise TypeError(f"{kind} is not an object")
    parser = _PARSERS.get(kind)
    return OtherAction(kind, inner) if parser is None else parser(inner)


def vector_from_json(value: Mapping[str, Any] | None) -> DeletionVector | None:
    """Return a deletion vector descriptor, or None."""
    if value is None:
        return None
    offset = value.get("offset")
    return DeletionVector(
        storage_type=_text(value["storageType"]),
        path_or_inline=_text(value["pathOrInlineDv"]),
        size_in_bytes=_count(value["sizeInBytes"]),
        cardinality=_count(value["cardinality"]),
        offset=None if offset is None else _count(offset),
    )


def _vector_json(vector: DeletionVector | None) -> dict[str, Any]:
    if vector is None:
        return {}
    return {
        "deletionVector": {
            "storageType": vector.storage_type,
            "pathOrInlineDv": vector.path_or_inline,
            **({} if vector.offset is None else {"offset": vector.offset}),
            "sizeInBytes": vector.size_in_bytes,
            "cardinality": vector.cardinality,
        }
    }


def _add(value: Mapping[str, Any]) -> AddFile:
    stats = value.get("stats")
    return AddFile(
        path=_text(value["path"]),
        partition_values=_partition_values(value["partitionValues"]),
        size=_count(value["size"]),
        modification_time=int(value["modificationTime"]),
        data_change=bool(value.get("dataChange", True)),
        stats=None if stats is None else _text(stats),
        deletion_vector=vector_from_json(value.get("deletionVector")),
        extra=_extra(value, _ADD_FIELDS),
    )


def _remove(value: Mapping[str, Any]) -> RemoveFile:
    deleted, size = value.get("deletionTimestamp"), value.get("size")
    values = value.get("partitionValues")
    return RemoveFile(
        path=_text(value["path"]),
        deletion_timestamp=None if deleted is None else int(deleted),
        data_change=bool(value.get("dataChange", True)),
        partition_values=None if values is None else _partition_values(values),
        size=None if size is None else _count(size),
        deletion_vector=vector_from_json(value.get("deletionVector")),
        extra=_extra(value, _REMOVE_FIELDS),
    )


def _metadata(value: Mapping[str, Any]) -> Metadata:
    format_ = value.get("format") or {"provider": "parquet", "options": {}}
    if format_.get("provider", "parquet") != "parquet":
        raise ValueError(f"data format {format_.get('provider')!r} is not parquet")
    return Metadata(
        id=_text(value["id"]),
        schema_string=_text(value["schemaString"]),
        partition_columns=tuple(_text(name) for name in value.get("partitionColumns") or ()),
        configuration=MappingProxyType(
            {_text(k): _text(v) for k, v in (value.get("configuration") or {}).items()}
        ),
        name=value.get("name"),
        description=value.get("description"),
        created_time=value.get("createdTime"),
        format=MappingProxyType(dict(format_)),
    )


def _protocol(value: Mapping[str, Any]) -> Protocol:
    reader, writer = value.get("readerFeatures"), value.get("writerFeatures")
    return Protocol(
        min_reader=_count(value["minReaderVersion"]),
        min_writer=_count(value["minWriterVersion"]),
        reader_features=None if reader is None else frozenset(map(_text, reader)),
        writer_features=None if writer is None else frozenset(map(_text, writer)),
    )


def _transaction(value: Mapping[str, Any]) -> Transaction:
    return Transaction(_text(value["appId"]), int(value["version"]), value.get("lastUpdated"))


def _domain(value: Mapping[str, Any]) -> DomainMetadata:
    return DomainMetadata(
        _text(value["domain"]), _text(value["configuration"]), bool(value.get("removed", False))
    )


_PARSERS: Mapping[str, Any] = MappingProxyType(
    {
        "add": _add,
        "remove": _remove,
        "metaData": _metadata,
        "protocol": _protocol,
        "txn": _transaction,
        "domainMetadata": _domain,
        "commitInfo": CommitInfo,
    }
)


def _partition_values(values: Mapping[str, Any]) -> Mapping[str, str | None]:
    return MappingProxyType(
        {_text(name): None if value is None else _text(value) for name, value in values.items()}
    )


def _extra(value: Mapping[str, Any], known: frozenset[str]) -> Mapping[str, Any]:
    return MappingProxyType({k: v for k, v in value.items() if k not in known and v is not None})


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"text expected, found {value!r}")
    return value


def _count(value: Any) -> int:
    number = int(value)
    if number < 0 or isinstance(value, bool):
        raise ValueError(f"a count expected, found {value!r}")
    return number
