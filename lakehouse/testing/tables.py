"""Small tables of several kinds, each with its model, made once and copied for every trial."""

from __future__ import annotations

import base64
import dataclasses
import shutil
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import pyarrow as pa

from catalog.storage import Storage, open_storage
from lakehouse.delta import actions as act
from lakehouse.delta.codec import to_lines
from lakehouse.delta.log import commit_path
from lakehouse.delta.schema.fields import Struct
from lakehouse.delta.schema.types import schema_from_arrow
from lakehouse.duck.engine import Engine
from lakehouse.scan.read import Scanner
from lakehouse.table.background import Background
from lakehouse.table.create import create
from lakehouse.table.handle import Table
from lakehouse.testing import meaning
from lakehouse.testing.model import Model, Predicate, State
from lakehouse.testing.operations import SCHEMA

# Parts and ids of the rows that each commit appends: every file holds one part.
_COMMITS = (("a", (1, 2)), ("b", (3, 4)), ("a", (5, 6)), ("b", (7, 8)))
_VECTORS = ("deletionVectors",)


@dataclasses.dataclass(frozen=True, slots=True)
class Prepared:
    """Hold a table on local disk, and its model."""

    folder: Path
    model: Model

    def copy(self, folder: Path) -> Prepared:
        """Return an equal table in a folder that does not exist yet."""
        shutil.copytree(self.folder, folder)
        return Prepared(folder, self.model)


@dataclasses.dataclass(frozen=True, slots=True)
class Opener:
    """Make handles on tables that no catalog knows; all of them share one DuckDB."""

    engine: Engine
    scanner: Scanner
    background: Background

    @classmethod
    def of(cls, engine: Engine) -> Opener:
        """Return the opener of an engine; it must be the only one, as it defines views there."""
        return cls(engine, Scanner(engine), Background(engine))

    def open(self, place: Path | Storage) -> Table:
        """Return a handle that has read nothing yet."""
        storage = place if isinstance(place, Storage) else open_storage(place, durable=False)
        return Table("t", storage, self.engine, self.scanner, self.background)


def plain(folder: Path, opener: Opener, *, partition_by: tuple[str, ...] = ()) -> Prepared:
    """Make a table of four commits of two rows each."""
    schema = schema_from_arrow(SCHEMA)
    assert isinstance(schema, Struct)
    create(open_storage(folder, durable=False), schema, partition_by=partition_by)
    table = opener.open(folder)
    made = Model((State(SCHEMA, partition_by=partition_by),))
    for part, ids in _COMMITS:
        rows = [{"id": i, "part": part, "n": i * 10} for i in ids]
        given = pa.Table.from_pylist(rows, schema=SCHEMA)
        table.append(given)
        made = made.then(meaning.append(made.latest, given))
    return Prepared(folder, made)


def partitioned(folder: Path, opener: Opener) -> Prepared:
    """Make the same, partitioned."""
    return plain(folder, opener, partition_by=("part",))


def with_deletion_vectors(folder: Path, opener: Opener) -> Prepared:
    """Make the same, and mark the first row of each part as deleted."""
    made = plain(folder, opener)
    snapshot = opener.open(folder).snapshot()
    protocol = act.Protocol(
        3, 7, frozenset(_VECTORS), frozenset((*_VECTORS, "appendOnly", "invariants"))
    )
    properties = {**snapshot.properties, "delta.enableDeletionVectors": "true"}
    metadata = dataclasses.replace(snapshot.metadata, configuration=MappingProxyType(properties))
    changes: list[act.Action] = [act.CommitInfo({"operation": "DELETE"}), protocol, metadata]
    firsts = sorted(snapshot.files.adds(), key=lambda add: add.modification_time)[:2]
    for add in firsts:
        removed = add.removed(deletion_timestamp=add.modification_time)
        changes += [removed, dataclasses.replace(add, deletion_vector=vector_of((0,)))]
    snapshot.storage.put_if_absent(commit_path(snapshot.version + 1), to_lines(tuple(changes)))
    gone = Predicate("id IN (1, 3)", lambda row: row["id"] in (1, 3))
    return Prepared(folder, made.model.then(meaning.delete(made.model.latest, gone)))


KINDS: Mapping[str, Callable[[Path, Opener], Prepared]] = MappingProxyType(
    {"plain": plain, "partitioned": partitioned, "deletion vectors": with_deletion_vectors}
)


def vector_of(rows: tuple[int, ...]) -> act.DeletionVector:
    """Return the inline deletion vector of a few rows among a file's first 65536.

    Source: Delta protocol, "Deletion Vector Format"; RoaringFormatSpec, portable format.
    """
    header = struct.pack("<iqi", 1681511377, 1, 0)
    container = struct.pack("<IIHHI", 12346, 1, 0, len(rows) - 1, 16)
    body = header + container + struct.pack(f"<{len(rows)}H", *sorted(rows))
    padded = body + b"\0" * (-len(body) % 4)
    text = base64.b85encode(padded).decode().translate(str.maketrans(_B85, _Z85))
    return act.DeletionVector("i", text, len(body), len(rows))


_Z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
_B85 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~"
