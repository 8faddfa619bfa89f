"""Delta actions as JSON lines, and back.

Source: Delta protocol, "Actions". What a later protocol adds is kept: unknown actions as
OtherAction, unknown fields in ``extra``. What is known must have the protocol's type: a number is
no text and no fraction, and nothing is read in two ways.
"""

from __future__ import annotations

import json
import json.encoder
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
from lakehouse.delta.paths import decode_path
from lakehouse.delta.strict_json import (
    count,
    document,
    flag,
    mapping,
    moment,
    sequence,
    shown,
    text,
    whole,
)

_ADD_FIELDS = frozenset(
    ("path", "partitionValues", "size", "modificationTime", "dataChange", "stats", "deletionVector")
)
_REMOVE_FIELDS = frozenset(
    ("path", "deletionTimestamp", "dataChange", "partitionValues", "size", "deletionVector")
)


# Half a gigabyte is a commit of a million files.
LARGEST_COMMIT = 4 << 30
# A pebibyte: no storage holds such a file, and sums of sizes stay within 64 bits for longer.
LARGEST_FILE = 1 << 50
_INT = 2**31 - 1
# Once made, it takes half of the time that `json.dumps` does with these arguments.
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_quoted = json.encoder.encode_basestring


def encode_path(path: str) -> str:
    """Return a file's relative path as the log stores it (RFC 2396).

    >>> encode_path("day=a b%2F/x.parquet")
    'day=a%20b%252F/x.parquet'
    """
    return quote(path, safe="/=@!$&'()*+,;~-._")


def to_lines(actions: Iterable[Action]) -> bytes:
    """Return the body of a commit file: one JSON document a line."""
    return "".join(map(_line, actions)).encode()


def _line(action: Action) -> str:
    if isinstance(action, RemoveFile) and action.is_plain:
        # Upkeep writes them by the thousand: what `to_json` says, without the values in between.
        return (
            f'{{"remove":{{"path":{_quoted(action.path)},'
            f'"deletionTimestamp":{_ENCODER.encode(action.deletion_timestamp)},'
            f'"dataChange":{"true" if action.data_change else "false"},"extendedFileMetadata":true,'
            f'"partitionValues":{{}},"size":{action.size}}}}}\n'
        )
    return _ENCODER.encode(to_json(action)) + "\n"


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

    Blank lines and either line ending are fine. Raises CorruptionError, with the line, for text
    that is not an action of the protocol's form, and for a file without any.
    """
    actions: list[Action] = []
    for number, line in enumerate(body.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            actions.append(from_json(document(line)))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            problem = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise _damaged(
                f"{where}, line {number} is not a valid action: {problem}", where, number
            ) from error
    if not actions:
        # Every writer states at least who it is: an empty file is a write that was cut off.
        raise _damaged(f"{where} is empty", where, 0)
    return actions


def from_json(value: Any) -> Action:
    """Return the action in one line's JSON; raises KeyError, TypeError or ValueError."""
    if not isinstance(value, Mapping):
        raise TypeError(f"an object expected, found {shown(value)}")
    present = [key for key, inner in value.items() if inner is not None]
    if len(present) != 1:
        raise ValueError(f"one action expected, found {shown(sorted(present))}")
    kind, inner = present[0], value[present[0]]
    if not isinstance(inner, Mapping):
        raise TypeError(f"{kind} is not an object")
    parser = _PARSERS.get(kind)
    return OtherAction(kind, inner) if parser is None else parser(inner)


def vector_from_json(value: Any) -> DeletionVector | None:
    """Return a deletion vector descriptor, or None."""
    if value is None:
        return None
    value = mapping(value, "deletionVector")
    offset = value.get("offset")
    return DeletionVector(
        storage_type=text(value["storageType"]),
        path_or_inline=text(value["pathOrInlineDv"]),
        size_in_bytes=count(value["sizeInBytes"], largest=_INT),
        cardinality=count(value["cardinality"]),
        offset=None if offset is None else count(offset, largest=_INT),
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


def _damaged(message: str, where: str, line: int) -> CorruptionError:
    return CorruptionError(
        message,
        next_step="Restore this log file from a backup; run lakehouse doctor on the table",
        file=where,
        line=line,
    )


def _add(value: Mapping[str, Any]) -> AddFile:
    stats = value.get("stats")
    return AddFile(
        path=_path(value["path"]),
        partition_values=_partition_values(value["partitionValues"]),
        size=count(value["size"], largest=LARGEST_FILE),
        modification_time=whole(value["modificationTime"]),
        data_change=flag(value.get("dataChange"), otherwise=True),
        stats=None if stats is None else text(stats),
        deletion_vector=vector_from_json(value.get("deletionVector")),
        extra=_extra(value, _ADD_FIELDS),
    )


def _remove(value: Mapping[str, Any]) -> RemoveFile:
    deleted, size = value.get("deletionTimestamp"), value.get("size")
    values = value.get("partitionValues")
    return RemoveFile(
        path=_path(value["path"]),
        deletion_timestamp=None if deleted is None else whole(deleted),
        data_change=flag(value.get("dataChange"), otherwise=True),
        partition_values=None if values is None else _partition_values(values),
        size=None if size is None else count(size),
        deletion_vector=vector_from_json(value.get("deletionVector")),
        extra=_extra(value, _REMOVE_FIELDS),
    )


def _change_file(value: Mapping[str, Any]) -> OtherAction:
    _path(value["path"])
    return OtherAction("cdc", value)


def _metadata(value: Mapping[str, Any]) -> Metadata:
    format_ = mapping(value.get("format") or {"provider": "parquet", "options": {}}, "format")
    if format_.get("provider", "parquet") != "parquet":
        raise ValueError(f"data format {shown(format_.get('provider'))} is not parquet")
    columns = tuple(text(name) for name in sequence(value.get("partitionColumns")))
    if len(set(columns)) != len(columns):
        raise ValueError(f"a partition column is listed twice: {shown(columns)}")
    configuration = mapping(value.get("configuration") or {}, "configuration")
    name, description = value.get("name"), value.get("description")
    created = value.get("createdTime")
    return Metadata(
        id=text(value["id"]),
        schema_string=text(value["schemaString"]),
        partition_columns=columns,
        configuration=MappingProxyType(
            {text(k): text(v) for k, v in configuration.items() if v is not None}
        ),
        name=None if name is None else text(name),
        description=None if description is None else text(description),
        created_time=None if created is None else moment(created),
        format=MappingProxyType(dict(format_)),
    )


def _protocol(value: Mapping[str, Any]) -> Protocol:
    found = Protocol(
        min_reader=count(value["minReaderVersion"], largest=_INT),
        min_writer=count(value["minWriterVersion"], largest=_INT),
        reader_features=_features(value.get("readerFeatures")),
        writer_features=_features(value.get("writerFeatures")),
    )
    # Without the list nobody knows what a reader must know; with one too many, neither.
    for version, features, first, field in (
        (found.min_reader, found.reader_features, 3, "readerFeatures"),
        (found.min_writer, found.writer_features, 7, "writerFeatures"),
    ):
        if version == first and features is None:
            raise ValueError(f"version {version} needs {field}, and there are none")
        if version < first and features:
            raise ValueError(f"version {version} cannot have {field}: {sorted(features)}")
    return found


def _features(value: Any) -> frozenset[str] | None:
    return None if value is None else frozenset(map(text, sequence(value)))


def _transaction(value: Mapping[str, Any]) -> Transaction:
    updated = value.get("lastUpdated")
    return Transaction(
        text(value["appId"]), whole(value["version"]), None if updated is None else whole(updated)
    )


def _domain(value: Mapping[str, Any]) -> DomainMetadata:
    return DomainMetadata(
        text(value["domain"]),
        text(value["configuration"]),
        flag(value.get("removed"), otherwise=False),
    )


def _info(value: Mapping[str, Any]) -> CommitInfo:
    if value.get("inCommitTimestamp") is not None:
        moment(value["inCommitTimestamp"])
    return CommitInfo(value)


_PARSERS: Mapping[str, Any] = MappingProxyType(
    {
        "add": _add,
        "remove": _remove,
        "cdc": _change_file,
        "metaData": _metadata,
        "protocol": _protocol,
        "txn": _transaction,
        "domainMetadata": _domain,
        "commitInfo": _info,
    }
)


def _partition_values(values: Any) -> Mapping[str, str | None]:
    return MappingProxyType(
        {
            text(name): None if value is None else text(value)
            for name, value in mapping(values, "partitionValues").items()
        }
    )


def _extra(value: Mapping[str, Any], known: frozenset[str]) -> Mapping[str, Any]:
    return MappingProxyType({k: v for k, v in value.items() if k not in known and v is not None})


def _path(value: Any) -> str:
    if not text(value):
        raise ValueError("path is empty")
    decode_path(value)
    return str(value)
