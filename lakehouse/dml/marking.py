"""Mark rows as deleted by deletion vectors, and decide when that is cheaper than to copy the rest.

Source: Delta protocol, "Deletion Vectors", "Per-file Statistics" (``tightBounds``).
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from catalog import lazy
from catalog.errors import StorageError
from catalog.storage import Storage
from lakehouse.delta import actions as act
from lakehouse.delta.actions import FileKey
from lakehouse.delta.bitmap import Bitmap, bitmap
from lakehouse.delta.deletion_vector import Vectors
from lakehouse.delta.features import is_on
from lakehouse.delta.files.adds import records
from lakehouse.delta.protocol import reader_features
from lakehouse.delta.snapshot import Snapshot
from lakehouse.delta.vector_files import write_vectors
from lakehouse.duck.engine import Connection

pc: Any = lazy.module("pyarrow.compute")

# What a byte costs: to read it, and to write it. Dead bytes are read this often until compaction
# takes them; another file costs as much as this many bytes.
_READ, _WRITE, _READS, _FILE = 1, 4, 4, 64 << 10
_TIGHT = re.compile(r'"tightBounds"\s*:\s*true')


@dataclasses.dataclass(frozen=True, slots=True)
class Marked:
    """Hold files in which rows were marked as deleted, for a commit to be.

    ``gone`` are the files as they were, ``kept`` the same under their new vectors, less those in
    which no row is left; ``paths`` are the vectors' files. ``rows`` were not deleted before.
    """

    gone: tuple[act.AddFile, ...] = ()
    kept: tuple[act.AddFile, ...] = ()
    rows: int = 0
    paths: tuple[str, ...] = ()


NOTHING = Marked()


def may_mark(snapshot: Snapshot) -> bool:
    """Tell whether writers may add deletion vectors to a table."""
    return is_on(snapshot.properties, "delta.enableDeletionVectors") and (
        "deletionVectors" in reader_features(snapshot.protocol)
    )


def is_cheaper(add: act.AddFile, deleted: int) -> bool:
    """Tell whether to mark ``deleted`` more rows of a file is cheaper than to copy the others.

    A copy reads and writes what stays; a mark lets all readers pass over what is dead, old vectors
    included. Never where the number of rows is not known, which a vector's file must state.

    >>> large = act.AddFile("a", {}, 100 << 20, 1, stats='{"numRecords":100}')
    >>> is_cheaper(large, 1), is_cheaper(large, 99)
    (True, False)
    """
    rows = records(add)
    if not rows:
        return False
    dead = deleted + (add.deletion_vector.cardinality if add.deletion_vector else 0)
    staying = max(0, rows - dead)
    copy = add.size * staying // rows * (_READ + _WRITE) + _FILE
    return add.size * dead // rows * _READ * _READS <= copy


def rows_by_file(
    cursor: Connection, selected: str, keys: Sequence[FileKey]
) -> dict[FileKey, Bitmap]:
    """Return the row numbers of each file in which a SELECT finds some.

    The SELECT gives the columns of a numbered view: `file_column`, a position in ``keys``, and
    `row_column`.
    """
    found: dict[FileKey, Bitmap] = {}
    sql = f"SELECT i::BIGINT AS i, n::BIGINT AS n FROM ({selected}\n) AS t(i, n) ORDER BY i"
    for batch in cursor.sql(sql).to_arrow_reader():
        runs, start = pc.run_end_encode(batch["i"]), 0
        for end, position in zip(runs.run_ends.to_pylist(), runs.values.to_pylist(), strict=True):
            rows = bitmap(batch["n"].slice(start, end - start))
            key, start = keys[position], end
            found[key] = found[key] | rows if key in found else rows
    return found


def mark(snapshot: Snapshot, deleted: Mapping[FileKey, Bitmap]) -> Marked:
    """Mark rows of files as deleted beside those that are, and write the vectors.

    Every file's number of rows must be known (`records`); `discard_marks` takes the files back.
    """
    adds = snapshot.files.only(deleted.keys()).adds()
    reader, rows = Vectors(snapshot.storage), 0
    kept, vectors = [], []
    # Side by side in one file of vectors, they are read together.
    for add in sorted(adds, key=lambda add: add.key[1]):
        whole = deleted[add.key]
        if add.deletion_vector is not None:
            before = reader.rows(add.deletion_vector)
            whole = whole | before
            rows -= len(before)
        rows += len(whole)
        if len(whole) != records(add):
            kept.append(add)
            vectors.append(whole)
    new = write_vectors(snapshot.storage, vectors)
    marked = tuple(
        dataclasses.replace(add, deletion_vector=vector, stats=_loose(add.stats or ""))
        for add, vector in zip(kept, new.vectors, strict=True)
    )
    return Marked(adds, marked, rows, new.paths)


def discard_marks(storage: Storage, marked: Marked) -> None:
    """Delete the files of vectors that no commit will name, as far as the storage lets us."""
    with contextlib.suppress(StorageError):
        storage.delete(marked.paths)


def _loose(stats: str) -> str:
    """Return statistics that say that their bounds need not occur in what is left.

    As text: decimals must not pass through floating point. Quotes inside of texts are escaped,
    so that the name is found as a key only.

    >>> _loose('{"numRecords":2}')
    '{"numRecords":2,"tightBounds":false}'
    """
    if ("tightBounds" in stats or "\\u" in stats) and "tightBounds" in json.loads(stats):
        return _TIGHT.sub('"tightBounds":false', stats)
    return f'{stats.rstrip()[:-1]},"tightBounds":false}}'
