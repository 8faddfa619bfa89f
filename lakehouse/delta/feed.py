"""What a commit changed, row by row: a pure rule over its actions.

Source: Delta protocol, "Reader Requirements for AddCDCFile". A commit that names change data files
is told by them alone; else rows of its adds were inserted, those of its removes deleted. A file
that is removed and added under another deletion vector changed by what the two differ in.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Literal

from catalog.errors import UnsupportedError
from lakehouse.delta import actions as act
from lakehouse.delta.bitmap import Bitmap, all_but, to_bytes
from lakehouse.delta.change_data import change_files
from lakehouse.delta.deletion_vector import z85_encode
from lakehouse.delta.files.adds import records
from lakehouse.delta.schema.fields import Array, Map, Struct, Type
from lakehouse.delta.schema.widening import is_widening

Kind = Literal["insert", "delete"]
RowsOf = Callable[[act.DeletionVector], Bitmap]


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """Name a file of which all live rows are changes; ``kind`` is None where they say it."""

    file: act.AddFile
    kind: Kind | None


def parts(actions: Iterable[act.Action], *, where: str, rows_of: RowsOf) -> Iterator[Part]:
    """Yield the files that hold what a commit changed; none for one that rearranges rows.

    ``rows_of`` reads a deletion vector, and ``where`` names the commit in errors.
    """
    every = tuple(actions)
    recorded = change_files(every, where=where)
    if recorded:
        yield from (Part(file, None) for file in recorded)
        return
    adds = {a.key[0]: a for a in every if isinstance(a, act.AddFile) and a.data_change}
    removes = {
        r.key[0]: _as_add(r, where)
        for r in every
        if isinstance(r, act.RemoveFile) and r.data_change
    }
    for path in removes.keys() & adds.keys():
        found = _difference(removes[path], adds[path], rows_of)
        if found is not None:
            del removes[path], adds[path]
            yield from found
    yield from (Part(file, "delete") for file in removes.values())
    yield from (Part(file, "insert") for file in adds.values())


def is_readable_as(old: Type, new: Type) -> bool:
    """Tell whether files of one type can be read as another: fields may come, go and widen.

    Fields match by their names in the files.

    >>> from lakehouse.delta.schema.fields import Field, Primitive
    >>> one, two = (Struct((Field("a", Primitive(name)),)) for name in ("integer", "long"))
    >>> is_readable_as(one, two), is_readable_as(two, one)
    (True, False)
    """
    match old, new:
        case Struct(), Struct(fields):
            before = {field.physical_name: field.type for field in old}
            return all(
                is_readable_as(before[field.physical_name], field.type)
                for field in fields
                if field.physical_name in before
            )
        case Array(a), Array(b):
            return is_readable_as(a, b)
        case Map(a, b), Map(c, d):
            return is_readable_as(a, c) and is_readable_as(b, d)
        case _:
            return old == new or is_widening(old, new)


def _difference(old: act.AddFile, new: act.AddFile, rows_of: RowsOf) -> list[Part] | None:
    """Return what changed in a file of which another part is deleted; None where rows are unknown."""
    count = records(new)
    if count is None:
        return None
    before, after = (
        None if file.deletion_vector is None else rows_of(file.deletion_vector)
        for file in (old, new)
    )
    gone = after if before is None else after - before if after is not None else None
    back = before if after is None else before - after if before is not None else None
    sides: tuple[tuple[Bitmap | None, Kind], ...] = ((gone, "delete"), (back, "insert"))
    return [Part(_only(new, rows, count), kind) for rows, kind in sides if rows]


def _only(file: act.AddFile, rows: Bitmap, count: int) -> act.AddFile:
    """Return a file less all rows but some."""
    others = all_but(rows, count)
    if not others:
        return dataclasses.replace(file, deletion_vector=None)
    body = to_bytes(others)
    vector = act.DeletionVector("i", z85_encode(body), len(body), len(others))
    return dataclasses.replace(file, deletion_vector=vector)


def _as_add(remove: act.RemoveFile, where: str) -> act.AddFile:
    values: Mapping[str, str | None] | None = remove.partition_values
    if values is None:
        raise UnsupportedError(
            f"{where} removes {remove.path} and does not say of which partition: its rows cannot "
            "be told as deleted",
            next_step="Ask for the changes since a later version",
            features=("extendedFileMetadata",),
        )
    return act.AddFile(
        remove.path, values, remove.size or 0, 0, deletion_vector=remove.deletion_vector
    )
