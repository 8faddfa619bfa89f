"""Write the rows of some of a table's files anew, here or in another process; nothing is committed.

A `Copy` says what to write. It can be pickled, and holds how the storage is reached: treat it as a
secret. What comes back, a `Copied`, are the actions of the new files, whose content was compared
with that of the old ones: the number of rows, and a checksum that does not depend on their order.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from catalog import lazy
from catalog.errors import InputError
from catalog.names import near_misses
from catalog.storage import Storage
from lakehouse.delta import actions as act
from lakehouse.delta.actions import FileKey
from lakehouse.delta.files.arrays import numbers
from lakehouse.delta.files.index import FileIndex
from lakehouse.delta.files.layout import Leaf
from lakehouse.delta.schema.mapping import mode_of
from lakehouse.delta.snapshot import Snapshot, layout_of
from lakehouse.scan.crumbs import are_small
from lakehouse.table.clustering import Clustering
from lakehouse.write.data_files import NewFiles, discard_files
from lakehouse.write.gate import HIVE_NULL

pa: Any = lazy.module("pyarrow")

_MOST_CRUMBS = 256 << 20
CLUSTER_ID, CLUSTER_KEY = "lakehouse.clusterId", "lakehouse.clusteredBy"


@dataclasses.dataclass(frozen=True, slots=True)
class Copy:
    """Say which files of one partition to write anew, and how.

    ``files`` are rows of RAW (`lakehouse.delta.files.adds`). Rows are sorted by ``clustering``,
    where there is one. Files are cut at about ``file_bytes``; None makes one, or as many as there
    are ``bins``: of how many files, in their order, each takes the rows. ``tags`` are those of the
    new files.
    """

    storage: Storage = dataclasses.field(repr=False)
    version: int
    protocol: act.Protocol
    metadata: act.Metadata
    files: Any = dataclasses.field(repr=False)
    values: Mapping[str, str | None]
    folder: str
    clustering: Clustering | None = None
    file_bytes: int | None = None
    bins: tuple[int, ...] = ()
    tags: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def snapshot(self) -> Snapshot:
        """Return the table with these files only."""
        return Snapshot(
            storage=self.storage,
            version=self.version,
            written=None,
            protocol=self.protocol,
            metadata=self.metadata,
            files=FileIndex(self.files, layout_of(self.metadata)),
            transactions={},
            domains={},
            checkpoint_version=None,
        )

    @property
    def has_crumbs(self) -> bool:
        """Tell whether files are so small that to open them takes longer than to keep the rows."""
        files = self.snapshot.files
        return files.bytes <= _MOST_CRUMBS and are_small(len(files), files.bytes)

    @property
    def common(self) -> Hashable:
        """Return what is the same for copies that can be written together; None: it cannot."""
        if self.clustering is not None or self.file_bytes is not None or not self.has_crumbs:
            return None
        return self.version, self.folder, *self.values.items(), *self.tags.items()

    @property
    def keys(self) -> frozenset[FileKey]:
        """Return what identifies the files that are written anew."""
        return frozenset(self.snapshot.files.keys())

    def fits(self, snapshot: Snapshot) -> bool:
        """Tell whether what was written can take the old files' place in a snapshot."""
        return (
            snapshot.files.layout == layout_of(self.metadata)
            and mode_of(snapshot.properties) == mode_of(self.metadata.configuration)
            and snapshot.files.holds(self.keys)
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Copied:
    """Hold new files, whose rows are verified to be those of the old ones; no commit names them."""

    adds: tuple[act.AddFile, ...]
    rows: int
    checksum: int
    seconds: float

    @property
    def bytes(self) -> int:
        """Return the new files' size."""
        return sum(add.size for add in self.adds)

    def discard(self, storage: Storage) -> None:
        """Delete the files, as far as storage lets us."""
        discard_files(storage, NewFiles(self.adds, self.rows, self.bytes))


def joined(copies: Sequence[Copy]) -> Copy:
    """Return a copy that writes what several do that have all in common, a file for each."""
    return dataclasses.replace(
        copies[0],
        files=pa.concat_tables([copy.files for copy in copies]),
        bins=tuple(copy.files.num_rows for copy in copies),
    )


def copies_of(
    snapshot: Snapshot,
    paths: Collection[str],
    *,
    clustering: Clustering | None = None,
    file_bytes: int | None = None,
    tags: Mapping[str, str] | None = None,
) -> tuple[Copy, ...]:
    """Return what to write for live files with these paths: a copy a partition.

    Paths that are not live are passed over. Raises NotFoundError or InputError for columns that
    rows cannot be sorted by.
    """
    if clustering is not None:
        clustering = resolved(clustering, snapshot)
    names = [field.physical_name for field in snapshot.files.layout.partitions]
    found = snapshot.files.find(frozenset(paths)).held
    groups: dict[tuple[str | None, ...], list[int]] = {}
    for row, texts in enumerate(found["partition_values"].to_pylist()):
        known = dict(texts or ())
        groups.setdefault(tuple(known.get(name) or None for name in names), []).append(row)
    metadata = dataclasses.replace(
        snapshot.metadata,
        configuration=dict(snapshot.metadata.configuration),
        format=dict(snapshot.metadata.format),
    )
    return tuple(
        Copy(
            storage=snapshot.storage,
            version=snapshot.version,
            protocol=snapshot.protocol,
            metadata=metadata,
            files=found.take(numbers(rows)),
            values=dict(zip(names, values, strict=True)),
            folder=_folder(found["file"][rows[0]].as_py(), names, values),
            clustering=clustering,
            file_bytes=file_bytes,
            tags=dict(tags or {}),
        )
        for values, rows in groups.items()
    )


def cluster_tags(clustering: Clustering, id: str | None = None) -> Mapping[str, str]:  # noqa: A002
    """Return the tags by which files tell that one sort has written them."""
    return {CLUSTER_ID: id or uuid.uuid4().hex, CLUSTER_KEY: clustering.key}


def resolved(clustering: Clustering, snapshot: Snapshot) -> Clustering:
    """Return a clustering by the columns' names as the table has them.

    Raises InputError for a column that rows cannot be sorted by.
    """
    known = {leaf.path[0].name.lower(): leaf for leaf in leaves_of(snapshot)}
    found = []
    for column in clustering.columns:
        leaf = known.get(column.lower())
        if leaf is None:
            near = near_misses(column, [leaf.path[0].name for leaf in known.values()])
            raise InputError(
                f"rows cannot be clustered by {column!r}: it is no column with bounds",
                next_step=f"Did you mean {near[0]!r}?"
                if near
                else "Choose columns of numbers, text or times, and no partition column",
            )
        found.append(leaf.path[0].name)
    return dataclasses.replace(clustering, columns=tuple(found))


def leaves_of(snapshot: Snapshot) -> tuple[Leaf, ...]:
    """Return the columns that rows can be clustered by: those with bounds, not inside others."""
    leaves = snapshot.files.layout.leaves
    return tuple(leaf for leaf in leaves if len(leaf.path) == 1 and leaf.has_bounds)


def _folder(file: str, names: Sequence[str], values: Sequence[str | None]) -> str:
    """Return where new files of a partition stand: beside an old one, where its folders name it."""
    wanted = [f"{quote(name, safe='')}=" for name in names]
    folders = file.split("/")[:-1]
    if len(folders) == len(wanted) and all(
        folder.startswith(name) for folder, name in zip(folders, wanted, strict=True)
    ):
        return "/".join(folders)
    return "/".join(
        name + quote(value or HIVE_NULL, safe="")
        for name, value in zip(wanted, values, strict=True)
    )
