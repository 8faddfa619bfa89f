"""Ask a file index which files a predicate may, or must, match: no data file is opened."""

from __future__ import annotations

import dataclasses

from catalog.errors import LakehouseError
from lakehouse.delta.actions import AddFile, FileKey
from lakehouse.delta.files.adds import raw_table, vector_id
from lakehouse.delta.files.index import FileIndex
from lakehouse.delta.files.layout import Layout
from lakehouse.delta.files.typed import typed_rows
from lakehouse.duck.engine import Engine
from lakehouse.duck.errors import DuckError
from lakehouse.scan.limits import Limit, is_ruled_out, limits
from lakehouse.scan.may import DROP, KEEP, May, Search
from lakehouse.scan.predicate import Predicate
from lakehouse.scan.read import Scanner
from lakehouse.scan.report import TableRef

# Planning a longer predicate twice more takes longer than to read files of which all goes.
_LONGEST_PROOF = 5_000


@dataclasses.dataclass(frozen=True, slots=True)
class Question:
    """Hold SQL over a file index, for one predicate and one schema.

    ``may`` is true for files that may hold a row which the predicate is true for, ``all`` for
    files of which it is true for every row. ``limits`` follow from ``may``, which needs the
    columns of ``searches``.
    """

    may: str
    all: str
    limits: tuple[Limit, ...] = ()
    searches: tuple[Search, ...] = ()

    def on(self, index: str) -> str:
        """Return SQL of an index that has all columns which this asks for."""
        for search in self.searches:
            index = search.on(index)
        return index


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """Say of one file that may match: its live rows (None: unknown), and whether all match."""

    key: FileKey
    rows: int | None
    all: bool


def question(ref: TableRef, predicate: Predicate, scanner: Scanner) -> Question:
    """Return what to ask the file indexes of a table about a predicate."""
    if predicate.constant is not None:
        return Question(KEEP, KEEP) if predicate.constant else Question(DROP, DROP)
    may = scanner.may_match(ref, predicate.sql)
    within = limits(may, ref.snapshot.files.layout)
    if len(predicate.sql) > _LONGEST_PROOF:
        return Question(may.exact, DROP, within)
    proofs = []
    # All match where no row is left: none for which the predicate is false or NULL.
    rest = scanner.may_match(ref, f"({predicate.sql}\n) IS NOT TRUE").exact
    if rest != KEEP:
        proofs.append(f"NOT ({rest})")
    never_null = _never_null(ref.snapshot.files.layout, predicate)
    false = KEEP
    if never_null is not None:
        false = scanner.may_match(ref, f"NOT ({predicate.sql}\n)").exact
    if false != KEEP:
        proofs.append(f"(NOT ({false}) AND {never_null})")
    return Question(may.exact, " OR ".join(proofs) or DROP, within)


def asked_of(may: May, layout: Layout) -> Question:
    """Return what to ask where nobody asks whether all rows match."""
    return Question(may.exact, DROP, limits(may, layout), may.searches)


def answers(files: FileIndex, asked: Question, engine: Engine) -> list[Answer]:
    """Return the files that may match, in their order.

    Where DuckDB cannot evaluate the question, nothing is known of any file.
    """
    if files.is_empty:
        return []
    with (
        engine.work("choose the files of a predicate") as cursor,
        files.on(cursor, engine) as index,
    ):
        searched = asked.on(index)
        for may, every, source in (
            (asked.may, asked.all, searched),
            (asked.may, DROP, searched),
            (KEEP, DROP, index),
        ):
            sql = (
                "SELECT file, deletion_vector, "
                "rows - coalesce(deletion_vector.cardinality, 0) AS live, "
                f"coalesce(({every}), false) AS every FROM {source} WHERE {may} ORDER BY position"
            )
            try:
                found = cursor.execute(sql).fetchall()
            except DuckError:
                continue
            return [
                Answer((file, vector_id(vector)), rows, every)
                for file, vector, rows, every in found
            ]
    raise LakehouseError("the file index cannot be read", next_step="Report this")


def may_match(
    adds: tuple[AddFile, ...], layout: Layout, asked: Question, engine: Engine
) -> list[FileKey]:
    """Return the keys of added files that may hold a matching row, by a single query at most.

    It is asked between a lost race and the next put, where each millisecond loses another.
    """
    adds = tuple(add for add in adds if not is_ruled_out(add, asked.limits))
    if not adds:
        return []
    raw = raw_table(adds)
    sql = (
        f"SELECT file, deletion_vector FROM {asked.on(f'({typed_rows(layout)})')} "
        f"WHERE ({asked.may}) "
        "AND coalesce(rows - coalesce(deletion_vector.cardinality, 0) <> 0, true)"
    )
    with engine.work("choose among new files") as cursor:
        cursor.register("raw_files", raw)
        try:
            found = cursor.execute(sql).fetchall()
            return [(file, vector_id(vector)) for file, vector in found]
        except DuckError:
            known = answers(FileIndex(raw, layout), asked, engine)
            return [answer.key for answer in known if answer.rows != 0]


def _never_null(layout: Layout, predicate: Predicate) -> str | None:
    """Return SQL over the index: true for files in which the predicate is NULL for no row."""
    if predicate.null_with is None:
        return None
    terms = []
    partitions = {f.name.lower(): i for i, f in enumerate(layout.partitions)}
    leaves = {leaf.path[0].name.lower(): leaf for leaf in layout.leaves if len(leaf.path) == 1}
    for name in sorted(predicate.null_with):
        if name in partitions:
            terms.append(f"p{partitions[name]} IS NOT NULL")
        elif name in leaves:
            terms.append(f"coalesce(nulls{leaves[name].ordinal} = 0, false)")
        else:
            return None
    return " AND ".join(terms) or KEEP
