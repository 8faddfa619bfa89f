"""An endless script of operations on one table, and what its rows are after each of them.

A step is a function of a seed and its number, so that a writer that was killed can be replaced by
one that goes on where it stopped, and whoever watches knows what should be there.
"""

from __future__ import annotations

import dataclasses
import random
from collections import Counter
from collections.abc import Callable
from typing import Literal

import pyarrow as pa

from lakehouse.table.handle import Table
from lakehouse.table.reports import ChangeReport, WriteReport
from lakehouse.testing.agreement import Rows

Kind = Literal[
    "append", "overwrite", "add column", "alter", "delete", "update", "upsert", "rewrite",
    "checkpoint",
]  # fmt: skip
COLUMNS = ("step", "n", "text")
SCHEMA = {"step": "BIGINT", "n": "BIGINT", "text": "VARCHAR"}
_WEIGHTS: dict[Kind, int] = {
    "append": 30, "overwrite": 8, "add column": 7, "alter": 6, "delete": 12, "update": 7,
    "upsert": 10, "rewrite": 12, "checkpoint": 8,
}  # fmt: skip
_RESIDUES = 5
_BULK = 5000


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """Hold one operation; ``rows`` are those that it writes, ``residue`` those that it changes."""

    number: int
    kind: Kind
    rows: int
    residue: int

    @property
    def key(self) -> tuple[str, int]:
        """Return the idempotency key of this step."""
        return "script", self.number

    @property
    def where(self) -> str:
        """Return the predicate of a delete or an update."""
        return f"n % {_RESIDUES} = {self.residue}"


def step(seed: int, number: int) -> Step:
    """Return a step of the script; the first always appends.

    >>> step(1, 0).kind, step(1, 7) == step(1, 7)
    ('append', True)
    """
    draw = random.Random(f"{seed}/{number}")
    kind = draw.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0] if number else "append"
    # Now and then so many rows that DuckDB is at work on the file for a while.
    rows = _BULK if draw.random() < 0.2 else draw.randint(1, 20)
    return Step(number, kind, rows, draw.randrange(_RESIDUES))


def perform(table: Table, step: Step, *, keyed: bool = True) -> WriteReport | ChangeReport | None:
    """Do a step; with its key, one that was done before is not done again."""
    key = step.key if keyed else None
    match step.kind:
        case "append":
            return table.append(data_of(step), idempotency_key=key)
        case "overwrite":
            return table.overwrite(data_of(step), idempotency_key=key)
        case "add column":
            wider = data_of(step).append_column(f"c{step.number}", pa.array([1] * step.rows))
            return table.append(wider, schema_mode="add", idempotency_key=key)
        case "alter":
            return table.alter(idempotency_key=key).add_column(f"c{step.number}", "BIGINT")
        case "delete":
            return table.delete(step.where, idempotency_key=key)
        case "update":
            return table.update({"step": step.number}, where=step.where, idempotency_key=key)
        case "upsert":
            return table.upsert(data_of(step), key="n", idempotency_key=key)
        case "rewrite":
            return table.rewrite(table.files()["path"].to_pylist(), idempotency_key=key)
        case "checkpoint":
            table.checkpoint()
    return None


def rows_after(rows: Rows, step: Step) -> Rows:
    """Return the rows after a step.

    >>> sorted(rows_after(Counter({(0, 1, "0-1"): 1}), Step(3, "append", 1, 0)))
    [(0, 1, '0-1'), (3, 0, '3-0')]
    """
    new: Rows = Counter((step.number, n, f"{step.number}-{n}") for n in range(step.rows))
    match step.kind:
        case "append" | "add column":
            return rows + new
        case "overwrite":
            return new
        case "delete":
            return Counter(
                {row: c for row, c in rows.items() if row[1] % _RESIDUES != step.residue}
            )
        case "update":
            return _moved(rows, lambda n: n % _RESIDUES == step.residue, step.number)
        case "upsert":
            known = {n for _, n, _ in rows}
            kept = Counter({row: c for row, c in rows.items() if row[1] >= step.rows})
            given = Counter(row for row in new if row[1] not in known)
            for (_, n, _), count in rows.items():
                if n < step.rows:
                    given[step.number, n, f"{step.number}-{n}"] += count
            return kept + given
        case _:
            return rows


def _moved(rows: Rows, chosen: Callable[[int], bool], number: int) -> Rows:
    moved: Rows = Counter()
    for (step, n, text), count in rows.items():
        moved[number if chosen(n) else step, n, text] += count
    return moved


def columns_after(columns: frozenset[str], step: Step) -> frozenset[str]:
    """Return the table's columns after a step."""
    adds = step.kind in ("add column", "alter")
    return columns | {f"c{step.number}"} if adds else columns


def data_of(step: Step) -> pa.Table:
    """Return the rows that a step writes."""
    numbers = range(step.rows)
    return pa.table(
        {
            "step": pa.array([step.number] * step.rows, pa.int64()),
            "n": pa.array(numbers, pa.int64()),
            "text": pa.array([f"{step.number}-{n}" for n in numbers]),
        }
    )
