"""The actions of a Delta commit, as frozen values.

Source: Delta protocol, "Actions". Fields that we do not know are kept in ``extra``, so that a
file or table written by another engine loses nothing when we carry its action on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote

FileKey = tuple[str, str]
"""What identifies a live file: its decoded path, and the id of its deletion vector or nothing."""


def _parquet() -> Mapping[str, Any]:
    return {"provider": "parquet", "options": {}}


@dataclasses.dataclass(frozen=True, slots=True)
class DeletionVector:
    """Point to the rows of a file that are deleted."""

    storage_type: str
    path_or_inline: str
    size_in_bytes: int
    cardinality: int
    offset: int | None = None

    @property
    def id(self) -> str:
        """Return the identity used in reconciliation (protocol, "Action Reconciliation")."""
        start = "" if self.offset is None else f"@{self.offset}"
        return f"{self.storage_type}{self.path_or_inline}{start}"


@dataclasses.dataclass(frozen=True, slots=True)
class AddFile:
    """Add a data file to the table. ``path`` is as in the log: relative and URL-encoded."""

    path: str
    partition_values: Mapping[str, str | None]
    size: int
    modification_time: int
    data_change: bool = True
    stats: str | None = None
    deletion_vector: DeletionVector | None = None
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def key(self) -> FileKey:
        """Return what identifies this file: decoded path and deletion vector."""
        return _key(self.path, self.deletion_vector)

    def removed(self, *, deletion_timestamp: int, data_change: bool = True) -> RemoveFile:
        """Return the action that removes this file (milliseconds since the epoch)."""
        return RemoveFile(
            path=self.path,
            deletion_timestamp=deletion_timestamp,
            data_change=data_change,
            partition_values=self.partition_values,
            size=self.size,
            deletion_vector=self.deletion_vector,
            extra=MappingProxyType(
                {k: v for k, v in self.extra.items() if k in _CARRIED and v is not None}
            ),
        )


@dataclasses.dataclass(frozen=True, slots=True)
class RemoveFile:
    """Remove a data file; the action stays in the log as a tombstone."""

    path: str
    deletion_timestamp: int | None
    data_change: bool = True
    partition_values: Mapping[str, str | None] | None = None
    size: int | None = None
    deletion_vector: DeletionVector | None = None
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def is_plain(self) -> bool:
        """Tell whether it says nothing but the path, time and size of a file without partition."""
        return (
            self.size is not None
            and self.partition_values is not None
            and not (self.partition_values or self.deletion_vector or self.extra)
        )

    @property
    def key(self) -> FileKey:
        """Return what identifies the removed file: decoded path and deletion vector."""
        return _key(self.path, self.deletion_vector)


@dataclasses.dataclass(frozen=True, slots=True)
class Metadata:
    """Describe the table. ``schema_string`` is the schema's JSON."""

    id: str
    schema_string: str
    partition_columns: tuple[str, ...] = ()
    configuration: Mapping[str, str] = dataclasses.field(default_factory=dict)
    name: str | None = None
    description: str | None = None
    created_time: int | None = None
    format: Mapping[str, Any] = dataclasses.field(default_factory=_parquet)


@dataclasses.dataclass(frozen=True, slots=True)
class Protocol:
    """Say which versions and features a reader and a writer must know."""

    min_reader: int
    min_writer: int
    reader_features: frozenset[str] | None = None
    writer_features: frozenset[str] | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Transaction:
    """Hold an application's own version, for writes that must happen once."""

    app_id: str
    version: int
    last_updated: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class DomainMetadata:
    """Hold one domain's configuration; ``removed`` ends it."""

    domain: str
    configuration: str
    removed: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class CommitInfo:
    """Hold the provenance of a commit, as free JSON."""

    values: Mapping[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class OtherAction:
    """Hold an action that changes no live file: ``cdc`` and what later protocols add."""

    kind: str
    values: Mapping[str, Any]


Action = (
    AddFile | RemoveFile | Metadata | Protocol | Transaction | DomainMetadata | CommitInfo
    | OtherAction
)  # fmt: skip


def _key(path: str, vector: DeletionVector | None) -> FileKey:
    return unquote(path) if "%" in path else path, vector.id if vector else ""


_CARRIED = ("tags", "baseRowId", "defaultRowCommitVersion")
