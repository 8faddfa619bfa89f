"""Show what a query reads: files and bytes kept and skipped of each table, and why."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

from lakehouse.duck.stream import batches
from lakehouse.lake import explain_html
from lakehouse.lake.advice import Advice, advise, is_worth_a_look
from lakehouse.lake.planned import Planned
from lakehouse.lake.spread import spreads
from lakehouse.lake.words import KEPT, in_words, reasons, told
from lakehouse.scan.report import TableScan

_BATCH = 100_000


@dataclasses.dataclass(frozen=True, slots=True)
class Analysis:
    """Report a run: the rows that came back, and seconds of planning and of running."""

    rows: int
    planning: float
    running: float

    @property
    def in_words(self) -> str:
        """Return it as a sentence.

        >>> Analysis(1200, 0.0041, 0.25).in_words
        '1,200 rows in 0.254 s, 0.004 s of it planning'
        """
        rows = f"{self.rows:,} {'row' if self.rows == 1 else 'rows'}"
        whole = self.planning + self.running
        return f"{rows} in {whole:.3f} s, {self.planning:.3f} s of it planning"


@dataclasses.dataclass(frozen=True, slots=True)
class Explain:
    """Hold what a query reads of each table, advice, and DuckDB's physical plan as text.

    ``analysis`` is there where the query was run. ``kept`` says that its answer is kept from an
    earlier run: nothing is read now, and ``tables`` are what that run read.
    """

    tables: tuple[TableScan, ...]
    plan: str
    advice: tuple[Advice, ...] = ()
    analysis: Analysis | None = None
    kept: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        return {
            "kept": self.kept,
            "tables": [dataclasses.asdict(table) for table in self.tables],
            "advice": [dataclasses.asdict(advice) for advice in self.advice],
            "analysis": None if self.analysis is None else dataclasses.asdict(self.analysis),
            "plan": self.plan,
        }

    def __str__(self) -> str:
        lines = [KEPT] if self.kept else []
        lines += [line for table in self.tables for line in told(table)]
        lines += [in_words(advice) for advice in self.advice]
        lines += [] if self.analysis is None else [self.analysis.in_words]
        return "\n".join((*lines, self.plan))

    def _repr_html_(self) -> str:
        words = [in_words(advice) for advice in self.advice]
        kept = KEPT if self.kept else None
        ran = None if self.analysis is None else self.analysis.in_words
        return explain_html.page(
            [(t, list(reasons(t))) for t in self.tables], words, ran, self.plan, kept=kept
        )


def explain(
    prepare: Callable[[], Planned],
    *,
    analyze: bool = False,
    clock: Callable[[], float] = time.perf_counter,
) -> Explain:
    """Return the explanation of a query that ``prepare`` plans, and run it to ``analyze`` it."""
    begun = clock()
    prepared = prepare()
    planning = clock() - begun
    try:
        plan = prepared.plan()
        analysis = None
        if analyze:
            ready = prepare() if prepared.once else prepared
            analysis = _run(ready, planning, clock)
    finally:
        prepared.close()
    tables = prepared.tables()
    advised = (
        advise(scan, spreads(*choice, prepared.engine))
        for scan, choice in zip(tables, prepared.choices, strict=True)
        if is_worth_a_look(scan)
    )
    advice = tuple(found for found in advised if found is not None)
    return Explain(tables, plan, advice, analysis, prepared.is_kept)


def _run(prepared: Planned, planning: float, clock: Callable[[], float]) -> Analysis:
    begun = clock()
    found = batches(prepared.relation(), size=_BATCH, doing="run the query")
    rows = sum(batch.num_rows for batch in found)
    return Analysis(rows, planning, clock() - begun)
