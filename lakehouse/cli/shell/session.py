"""A session of queries over one lake: each runs, and its result is shown or written as chosen."""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Callable
from pathlib import Path

import lakehouse
from lakehouse.cli import draw, result, waiting
from lakehouse.cli.output import say
from lakehouse.cli.shell.names import LakeNames
from lakehouse.duck.engine import Relation
from lakehouse.duck.errors import translated

# Queries, after which all names are what they were.
_READS = re.compile(
    r"\s*(select|from|with|values|describe|summarize|show|explain)\b", re.IGNORECASE
)


@dataclasses.dataclass(frozen=True, slots=True)
class Look:
    """Say how results come out.

    None is no bound: ``shown`` is that of tables, ``texts`` of CSV and JSON that are not written to
    a file, ``limit`` of all but tables, wherever they go. ``hint`` tells how to see more.
    """

    form: result.Format = "table"
    output: Path | None = None
    limit: int | None = None
    shown: int | None = result.SHOWN
    texts: int | None = None
    timer: bool = False
    hint: str = "use --all or --limit"


class Session:
    """Run queries over one lake; ``look`` may change in between, and ``last`` is the newest query."""

    def __init__(
        self,
        lake: lakehouse.Lake,
        look: Look,
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.lake = lake
        self.look = look
        self.names = LakeNames(lake)
        self.last: str | None = None
        self.is_over = False
        self._clock = clock

    def query(self, sql: str) -> None:
        """Run SQL, and show its result; LakehouseError where it fails."""
        self.last = sql
        begun = self._clock()
        # Rows as JSON on standard output are for programs.
        wanted = self.look.form != "json" or self.look.output is not None
        with (
            waiting.shown(self.lake.progress, wanted=wanted),
            translated("run the query"),
        ):
            self._show(self.lake.sql(sql))
        if not _READS.match(sql):
            self.names.forget()
        if self.look.timer:
            say(f"{self._clock() - begun:.3f} s", style="dim")

    def _show(self, rows: Relation) -> None:
        look = self.look
        if look.output is None and look.form == "table":
            result.show(rows, limit=look.shown, hint=look.hint)
        elif look.form == "chart":
            draw.draw(rows)
        else:
            bound = rows if look.limit is None else rows.limit(look.limit)
            result.write(bound, look.form, look.output, limit=look.texts, hint=look.hint)
