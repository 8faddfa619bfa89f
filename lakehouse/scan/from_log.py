"""Answer `count(*)`, `min`, `max` and queries of partition columns from the file index alone.

The query stays DuckDB's. It runs over a stand-in that has a row for each combination of partition
values: these, how many rows there are, and the smallest and largest value of columns whose
statistics are exact. In its text, ``count(*)`` becomes a sum of those numbers, and ``min(a)`` and
``max(a)`` take those columns. A text is rewritten where every name in it is understood; whether
the result is the same is then read off DuckDB's plan, in which columns have names of ours.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from catalog import lazy
from lakehouse.delta.files.index import FileIndex
from lakehouse.delta.files.layout import Layout, Leaf
from lakehouse.delta.schema.fields import Decimal, Primitive
from lakehouse.delta.schema.types import to_duckdb
from lakehouse.delta.snapshot import Snapshot
from lakehouse.duck.engine import Connection, Engine
from lakehouse.duck.sql import identifier
from lakehouse.scan.may import May
from lakehouse.scan.names import alias_at
from lakehouse.scan.report import Kept, TableRef
from lakehouse.scan.tokens import Token, tokens
from lakehouse.scan.views import TableView
from lakehouse.scan.volatile import AnyVolatile

pc: Any = lazy.module("pyarrow.compute")

_REMEMBERED, _FEW = 100, 10_000  # tables of answers a snapshot, and rows in each
# Texts are cut and times rounded, floating point has NaN; booleans and binary have no bounds.
_EXACT = ("byte", "short", "integer", "long", "date")
_EXACT_DIGITS = 15  # delta-rs writes decimals as doubles
_NAMES = ("word", "quoted")
_ONCE = ("select", "from")
# What may hide another table or column behind a name, or depends on how often rows are there.
_OPAQUE = frozenset(
    (
        "columns",
        "pivot",
        "sample",
        "sum",
        "sum_no_overflow",
        "summarize",
        "table",
        "tablesample",
        "unpivot",
        "with",
    )
)
_ASKED = frozenset(("count", "min", "max", "distinct", "group"))
ASKED = re.compile(rf"\b(?:{'|'.join(_ASKED)})\b", re.IGNORECASE)  # by all queries of this kind
_REPEATABLE = re.compile(r"(?:min|max|sum|sum_no_overflow)\(#\d+\)|count\(DISTINCT #\d+\)")
_EXTRA = re.compile(r"\b((?:rows|lo\d+|hi\d+))_[0-9a-f]{20}\b")
_DATA = re.compile(r"\bc(\d+)_[0-9a-f]{20}\b")


@dataclasses.dataclass(frozen=True, slots=True)
class Rewritten:
    """Hold a query for the stand-in, and the leaves whose bounds it takes.

    ``extra`` are the columns that it may read beside partition columns. ``renames`` says that
    its columns need the names of the original's.
    """

    sql: str
    leaves: tuple[Leaf, ...]
    extra: frozenset[str]
    renames: bool


def log_view(layout: Layout, place: tuple[str, str]) -> TableView:
    """Return the definitions of a table's stand-in that holds the answers.

    The view selects from the table ``temp.main.log_<key>`` of ``p<i>``, ``rows``, ``lo<j>`` and
    ``hi<j>``; other columns are NULL.
    """
    fields = layout.schema.fields
    types = [to_duckdb(field.type) for field in fields]
    exact = [(leaf.ordinal, to_duckdb(leaf.type)) for leaf in exact_leaves(layout).values()]
    parts = {field.name: f"p{i}" for i, field in enumerate(layout.partitions)}
    text = f"{place}\0{types}\0{exact}\0{[(f.name, parts.get(f.name)) for f in fields]}"
    key = hashlib.sha256(f"from the log\0{text}".encode()).hexdigest()[:20]
    extra = {"rows": "BIGINT"}
    for ordinal, type_ in exact:
        extra |= {f"lo{ordinal}": type_, f"hi{ordinal}": type_}
    columns = [f"c{i}_{key} {type_}" for i, type_ in enumerate(types)]
    columns += [f"{name}_{key} {type_}" for name, type_ in extra.items()]
    named = [f"c{i}_{key} AS {identifier(field.name)}" for i, field in enumerate(fields)]
    named += [f"{name}_{key}" for name in extra]
    selected = [
        f"{parts.get(field.name, f'NULL::{type_}')} AS {identifier(field.name)}"
        for field, type_ in zip(fields, types, strict=True)
    ]
    selected += [f"{name} AS {name}_{key}" for name in extra]
    held = [f"p{i} {to_duckdb(field.type)}" for i, field in enumerate(layout.partitions)]
    held += [f"{name} {type_}" for name, type_ in extra.items()]
    return TableView(
        key=key,
        columns=tuple(columns),
        stand_in_view=f"SELECT {', '.join(named)} FROM ",
        view=f"SELECT {', '.join(selected)} FROM temp.main.log_{key}",
        nothing=f"CREATE OR REPLACE TEMP TABLE log_{key} ({', '.join(held)})",
    )


def exact_leaves(layout: Layout) -> Mapping[str, Leaf]:
    """Return the columns whose smallest and largest values statistics can tell, by folded name."""
    folded = [field.name.lower() for field in layout.schema]
    return {
        leaf.path[0].name.lower(): leaf
        for leaf in layout.leaves
        if len(leaf.path) == 1
        and leaf.has_bounds
        and _is_exact(leaf)
        # Unlike DuckDB, this also folds letters beyond ASCII.
        and folded.count(leaf.path[0].name.lower()) == 1
    }


def rewritten(sql: str, ref: TableRef, key: str, any_volatile: AnyVolatile) -> Rewritten | None:
    """Return a query of one table as one of its stand-in, or None where a name is not understood.

    It has one SELECT and one FROM, names no data column but as ``min(a)`` and ``max(a)``, and
    calls no function that differs from row to row.
    """
    layout = ref.snapshot.files.layout
    found = tokens(sql)
    if found and found[-1].text == ";":
        sql, found = sql[: found[-1].start], found[:-1]
    words = [token.text.lower() if token.kind in _NAMES else "" for token in found]
    if not layout.leaves or not _OPAQUE.isdisjoint(words):
        return None
    if any(words.count(word) != 1 for word in _ONCE) or words[0] not in _ONCE:
        return None
    if not _names_the_table(found, words, ref):
        return None
    changes, used = _changes(found, words, exact_leaves(layout), key)
    partitions = {name.lower() for name in layout.partition_columns}
    data = {field.name.lower() for field in layout.schema} - partitions
    calls = set()
    for index, token in enumerate(found):
        if index in used:
            continue
        if (token.kind == "mark" and token.text in "*;") or words[index] in data:
            return None
        if words[index] and _text(found, index + 1) == "(":
            calls.add(words[index])
    if any_volatile(calls - _ASKED):
        return None
    out, end = [], 0
    for start, stop, text, _ in changes:
        out += [sql[end:start], text]
        end = stop
    out.append(sql[end:])
    leaves = tuple({leaf.ordinal: leaf for *_, leaf in changes if leaf is not None}.values())
    extra = {"rows"} if any(leaf is None for *_, leaf in changes) else set()
    extra |= {f"{side}{leaf.ordinal}" for leaf in leaves for side in ("lo", "hi")}
    return Rewritten("".join(out), leaves, frozenset(extra), bool(changes))


def renamed(sql: str, names: Sequence[str]) -> str:
    """Return a query whose columns have other names."""
    return f"SELECT * FROM ({sql}\n) AS answers({', '.join(map(identifier, names))})"


def is_same(plan: str, query: Rewritten, layout: Layout) -> bool:
    """Tell by its plan whether a query gives over the stand-in what it gives over the table.

    The first thing that happens to rows, once they are filtered, is an aggregate for which it does
    not matter how many are alike; and only partition columns and answers are read.
    """
    scans: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []
    _scans(json.loads(plan)[0], [], scans)
    if len(scans) != 1:
        return False
    scan, above = scans[0]
    while above and above[-1]["name"].strip() in ("PROJECTION", "FILTER"):
        above.pop()
    if not above or not above[-1]["name"].strip().endswith(("_GROUP_BY", "_AGGREGATE")):
        return False
    aggregates = _lines(above[-1]["extra_info"].get("Aggregates", ""))
    if not all(map(_REPEATABLE.fullmatch, aggregates)) or "Projections" not in scan["extra_info"]:
        return False
    text = json.dumps(scan["extra_info"])
    if not {match[1] for match in _EXTRA.finditer(text)} <= query.extra:
        return False
    fields, partitions = layout.schema.fields, layout.partition_columns
    return all(fields[int(match[1])].name in partitions for match in _DATA.finditer(text))


def bind_answers(
    cursor: Connection,
    snapshot: Snapshot,
    view: TableView,
    where: May,
    leaves: Sequence[Leaf],
    engine: Engine,
) -> Kept | None:
    """Give the stand-in its rows; None where the statistics of files that match are not exact."""
    files = snapshot.files
    if leaves and (files.stored is not None or files.has_wide_bounds):
        return None
    asked = _answers(files, where, leaves)
    found = snapshot.answers.get(asked)
    if found is None:
        with files.on(cursor, engine) as index:
            found = cursor.sql(asked.replace("<index>", index, 1)).to_arrow_table()
        if len(snapshot.answers) >= _REMEMBERED:
            snapshot.answers.clear()
        if found.num_rows <= _FEW:
            snapshot.answers[asked] = found
    if not pc.all(found["known"], min_count=0).as_py():
        return None
    cursor.register(f"log_{view.key}", found)
    return Kept(0, 0, pc.sum(found["rows"], min_count=0).as_py(), from_log=True)


def _answers(files: FileIndex, where: May, leaves: Sequence[Leaf]) -> str:
    """Return SQL for the rows of a stand-in, over ``<index>``; ``known`` is false for a guess."""
    layout = files.layout
    keys = [f"p{i}" for i in range(len(layout.partitions))]
    wanted = {leaf.ordinal for leaf in leaves}
    known = ["live >= 0"]
    if leaves:
        known.append("deletion_vector IS NULL")
    known += [
        f"(CASE WHEN nulls{n} = rows THEN min{n} IS NULL AND max{n} IS NULL "
        f"ELSE nulls{n} < rows AND min{n} <= max{n} END)"
        for n in sorted(wanted)
    ]
    bounds = []
    for leaf in exact_leaves(layout).values():
        n, type_ = leaf.ordinal, to_duckdb(leaf.type)
        low, high = (f"min(min{n})", f"max(max{n})") if n in wanted else (f"NULL::{type_}",) * 2
        bounds += [f"{low} AS lo{n}", f"{high} AS hi{n}"]
    # Texts made of 0.0 and of -0.0 differ, though the values are one group.
    floats = any(to_duckdb(field.type) in ("FLOAT", "DOUBLE") for field in layout.partitions)
    groups = ", ".join([*keys, "position"] if floats else keys)
    selected = [
        *keys,
        "sum(live)::BIGINT AS rows",
        *bounds,
        f"bool_and(coalesce({' AND '.join(known)}, false)) AS known",
    ]
    live = "rows"
    if files.has_deletion_vectors:
        live = "rows - coalesce(deletion_vector.cardinality, 0)"
    condition = where.exact if files.stored is None else where.stored
    return (
        f"SELECT {', '.join(selected)} FROM (SELECT *, {live} AS live FROM <index> "
        f"WHERE {condition}) WHERE live IS DISTINCT FROM 0 "
        + (f"GROUP BY {groups}" if groups else "HAVING count(*) > 0")
    )


def _is_exact(leaf: Leaf) -> bool:
    if isinstance(leaf.type, Decimal):
        return leaf.type.precision <= _EXACT_DIGITS
    return isinstance(leaf.type, Primitive) and leaf.type.name in _EXACT


def _names_the_table(found: list[Token], words: list[str], ref: TableRef) -> bool:
    """Tell whether the FROM of a query names the table, and gives its columns no other names."""
    first = words.index("from") + 1
    named = words[first : first + 3] == [ref.schema.lower(), "", ref.name.lower()]
    _, after = alias_at(found, first + 3)
    return named and _text(found, after) not in ("(", ",")


Change = tuple[int, int, str, Leaf | None]


def _changes(
    found: list[Token], words: list[str], leaves: Mapping[str, Leaf], key: str
) -> tuple[list[Change], set[int]]:
    """Return what to replace in the text (no leaf: by a count), and the tokens that are spent."""
    changes: list[Change] = []
    used: set[int] = set()
    for index, word in enumerate(words):
        called = word in ("count", "min", "max") and found[index].kind == "word"
        if not called or _text(found, index + 1) != "(" or _text(found, index - 1) == ".":
            continue
        inner = index + 2
        if word == "count":
            close = inner + (_text(found, inner) == "*")
            if _text(found, close) == ")":
                text = f"CAST(coalesce(sum(rows_{key}), 0) AS BIGINT)"
                changes.append((found[index].start, found[close].end, text, None))
                used.update(range(index, close + 1))
            continue
        last = inner + 2 * (_text(found, inner + 1) == ".")
        if _text(found, last + 1) != ")" or (leaf := leaves.get(words[last])) is None:
            continue
        name = f"{'lo' if word == 'min' else 'hi'}{leaf.ordinal}_{key}"
        changes.append((found[last].start, found[last].end, name, leaf))
        used.update((index, last))
    return changes, used


def _text(found: list[Token], index: int) -> str:
    """Return the mark at a position; nothing for other tokens, and beyond the ends."""
    inside = 0 <= index < len(found) and found[index].kind == "mark"
    return found[index].text if inside else ""


def _lines(value: str | list[str]) -> list[str]:
    texts = value.split("\n") if isinstance(value, str) else value
    return [text for text in texts if text]


def _scans(
    node: dict[str, Any],
    above: list[dict[str, Any]],
    found: list[tuple[dict[str, Any], list[dict[str, Any]]]],
) -> None:
    if "Table" in node["extra_info"]:
        found.append((node, list(above)))
    for child in node["children"]:
        _scans(child, [*above, node], found)
