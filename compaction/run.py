"""Run upkeep: plan each table, write what is to be rewritten, and commit as it gets ready."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from compaction.advice import weights
from compaction.executors import Executor, Threads
from compaction.joining import together
from compaction.plan import REWRITES, Plan, Step, plan_table, worth
from compaction.policy import Policy
from compaction.room import Room
from compaction.survey import Surveyed, survey, tables_of
from lakehouse import Lake, LakehouseError, Table, VacuumReport, WriteReport
from lakehouse.delta.protocol import check_writable
from lakehouse.table.copying import Copied, Copy, cluster_tags, copies_of
from lakehouse.table.fencing import Fence
from lakehouse.table.vacuuming import Sweep

T = TypeVar("T")
REDOS = 5
"""How often files are planned again after a writer has changed some of them."""
# A commit takes a while, readers read it, and each tenth makes a checkpoint of what the next ones
# remove: of small rewrites, which are quick to do again, those that get ready within a moment share one.
MOMENT = 2.0
_SMALL = 64 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class CompactionReport:
    """Report what became of one table; sizes in bytes, wall time in seconds.

    ``bins`` are the rewrites that were committed, ``redone`` those that were planned again because
    a writer was faster, and ``left`` the files that were left to a later run. ``bytes_written`` are
    the new files'. ``files_deleted`` are those that no version needs which is kept. ``problems`` say
    what failed.
    """

    table: str
    version: int
    bins: int
    files_before: int
    files_after: int
    bytes_rewritten: int
    seconds: float
    bytes_written: int = 0
    rows_rewritten: int = 0
    redone: int = 0
    left: int = 0
    checkpoints: int = 0
    log_entries: int = 0
    files_deleted: int = 0
    bytes_deleted: int = 0
    problems: tuple[str, ...] = ()


def plan(
    lake: Lake,
    *,
    tables: Sequence[str] | None = None,
    policy: Policy | None = None,
    reads: Mapping[str, float] | None = None,
) -> dict[str, Plan]:
    """Return what `run` would do, by table, in its order, without touching anything.

    ``policy`` takes the place of each table's own. ``reads`` say how often tables were queried;
    by default the lake is asked (`Lake.reads`).
    """
    return {done.facts.name: made for done, made in _planned(lake, tables, policy, reads)}


def run(
    lake: Lake,
    *,
    tables: Sequence[str] | None = None,
    policy: Policy | None = None,
    executor: Executor | None = None,
    fence: Callable[[str], Fence] | None = None,
    stop: Callable[[], bool] = lambda: False,
    reads: Mapping[str, float] | None = None,
) -> list[CompactionReport]:
    """Bring the tables named (default: all of the lake) into shape; see `plan` for what is done.

    Rewrites are committed as they get ready, and change no row, so that a stop loses those at hand
    only; small ones that get ready within a moment share a commit. Row count and checksum of new
    files are compared with the old ones' before. Where a writer changes a file meanwhile the
    rewrite is planned again; writers never fail because of it.

    ``executor`` writes the files (default: threads); ``fence`` gives for a table's name what is
    asked right before each commit to it, and returns the number of the lease that the commit is
    made under; ``stop`` is asked before each rewrite.

    >>> import tempfile, lakehouse
    >>> with lakehouse.connect(tempfile.mkdtemp()) as lake:
    ...     table = lake.create_table("silver.t", {"n": "BIGINT"})
    ...     reports = [table.append([{"n": n}]) for n in range(3)]
    ...     (report,) = run(lake)
    ...     report.bins, report.files_before, report.files_after
    (1, 3, 1)
    """
    done = []
    for surveyed, made in _planned(lake, tables, policy, reads):
        if stop():
            break
        name = surveyed.table.name
        own = fence(name) if fence is not None else None
        done.append(_Run(surveyed, policy, executor or Threads(), own, stop).all(made))
    return done


def _planned(
    lake: Lake,
    tables: Sequence[str] | None,
    policy: Policy | None,
    reads: Mapping[str, float] | None,
) -> Iterator[tuple[Surveyed, Plan]]:
    """Yield tables with their plans; those first whose upkeep is worth most."""
    found = []
    reads = weights(lake.reads()) if reads is None else reads
    for table in tables_of(lake, tables):
        surveyed = survey(table, policy=policy)
        often = reads.get(table.name, 1.0)
        made = plan_table(dataclasses.replace(surveyed.facts, reads=often), surveyed.policy)
        found.append((worth(made, surveyed.policy, often), surveyed, made))
    found.sort(key=lambda item: item[0], reverse=True)
    for _, surveyed, made in found:
        yield surveyed, made


class _Run:
    """Run one table's plan."""

    def __init__(
        self,
        surveyed: Surveyed,
        policy: Policy | None,
        executor: Executor,
        fence: Fence | None,
        stop: Callable[[], bool],
    ) -> None:
        self._table: Table = surveyed.table
        self._policy = policy
        self._first = surveyed
        self._executor = executor
        self._fence = fence
        self._stop = stop
        self._rewriter = surveyed.table.rewriter()
        self._room = Room(self._rewriter.engine.spill_room)
        self._done: list[WriteReport] = []
        self._bins = 0
        self._committed = time.monotonic()
        self._problems: list[str] = []

    def all(self, made: Plan) -> CompactionReport:
        """Do all steps, and report."""
        started = time.perf_counter()
        surveyed, steps, redone = self._first, made.steps, 0
        lost = self._rewrite(surveyed, steps, join=True)
        for _ in range(REDOS):
            if not lost or self._halted:
                break
            surveyed = survey(self._table, policy=self._policy, only=frozenset(lost))
            steps = plan_table(surveyed.facts, surveyed.policy).steps
            redone += sum(step.kind in REWRITES for step in steps)
            lost = self._rewrite(surveyed, steps, join=False)
        kinds = {step.kind for step in made.steps}
        checkpoints = int("checkpoint" in kinds and self._tried(self._table.checkpoint) is not None)
        expired = self._tried(self._table.expire_log) if "expire_log" in kinds else None
        unneeded = self._first.unneeded
        swept = None
        if "vacuum" in kinds and unneeded is not None:
            swept = self._tried(lambda: self._swept(unneeded))
        before = self._first.facts.all_files
        done = self._done
        return CompactionReport(
            table=self._table.name,
            version=self._table.version,
            bins=self._bins,
            files_before=before,
            files_after=before + sum(r.files_added - r.files_removed for r in done),
            bytes_rewritten=sum(r.bytes_removed for r in done),
            bytes_written=sum(r.bytes_added for r in done),
            rows_rewritten=sum(r.rows for r in done),
            seconds=time.perf_counter() - started,
            redone=redone,
            left=len(lost),
            checkpoints=checkpoints,
            log_entries=0 if expired is None else expired.files,
            files_deleted=0 if swept is None else swept.files,
            bytes_deleted=0 if swept is None else swept.bytes,
            problems=tuple(self._problems),
        )

    @property
    def _halted(self) -> bool:
        return bool(self._problems) or self._stop()

    def _rewrite(self, surveyed: Surveyed, steps: Sequence[Step], *, join: bool) -> set[str]:
        """Do the steps that rewrite files; return the files that writers have changed meanwhile.

        Bins of tiny files are written together where they ``join``, for once: a writer who changes
        a file of one is in the way of all of them.
        """
        snapshot, lost = surveyed.snapshot, set[str]()
        todo = [step for step in steps if step.kind in REWRITES]
        if not todo:
            return lost
        check_writable(snapshot.protocol, snapshot.properties, snapshot.schema)
        begun: list[tuple[tuple[Step, ...], Copy]] = []

        def copies() -> Iterator[Copy]:
            each = ((step, copy) for step in todo for copy in _copies(step, surveyed))
            for steps, copy in together(each) if join else (((s,), copy) for s, copy in each):
                if self._halted:
                    return
                begun.append((steps, copy))
                yield copy

        ready: list[tuple[tuple[Step, ...], Copy, Copied]] = []
        for number, outcome in self._executor.run(copies(), self._write):
            done, copy = begun[number]
            if isinstance(outcome, LakehouseError):
                lost |= self._commit(ready)
                self._problems.append(str(outcome))
                continue
            ready.append((done, copy, outcome))
            size = sum(copied.bytes for _, _, copied in ready)
            if size >= _SMALL or time.monotonic() - self._committed >= MOMENT:
                lost |= self._commit(ready)
        return lost | self._commit(ready)

    def _write(self, copy: Copy) -> Copied:
        size = 0 if copy.clustering is None else copy.snapshot.files.bytes
        with self._room.taken(size):
            return self._rewriter.write(copy)

    def _commit(self, ready: list[tuple[tuple[Step, ...], Copy, Copied]]) -> set[str]:
        """Commit what is ready; return the files that writers have changed meanwhile."""
        if not ready:
            return set()
        given = tuple(ready)
        ready.clear()
        if self._problems:  # what was under way is not worth a commit that may fail as well
            for _, copy, copied in given:
                copied.discard(copy.storage)
            return set()
        kinds = ", ".join(sorted({step.kind for steps, _, _ in given for step in steps}))
        done = self._tried(
            lambda: self._rewriter.commit(
                [copy for _, copy, _ in given],
                [copied for _, _, copied in given],
                metadata={"upkeep": kinds},
                fence=self._fence,
            )
        )
        self._committed = time.monotonic()
        if done is None:
            return set()
        if done.report.files_removed:
            self._done.append(done.report)
        late = {id(copy) for copy in done.left}
        self._bins += sum(len(steps) for steps, copy, _ in given if id(copy) not in late)
        return {
            path
            for steps, copy, _ in given
            if id(copy) in late
            for step in steps
            for path in step.files
        }

    def _swept(self, unneeded: Sweep) -> VacuumReport:
        """Delete what nothing needs, under the lease still."""
        if self._fence is not None:
            self._fence()
        return self._table.vacuum_as_planned(unneeded)

    def _tried(self, verb: Callable[[], T]) -> T | None:
        try:
            return verb()
        except LakehouseError as error:
            self._problems.append(str(error))
            return None


def _copies(step: Step, surveyed: Surveyed) -> tuple[Copy, ...]:
    clustering = surveyed.policy.clustering
    tags: Mapping[str, str] = {}
    if clustering is not None and step.kind == "cluster":
        tags = cluster_tags(clustering)
    elif clustering is not None and step.cluster is not None:
        tags = cluster_tags(clustering, step.cluster.id)
    return copies_of(
        surveyed.snapshot,
        step.files,
        clustering=clustering,
        file_bytes=step.file_bytes,
        tags=tags,
    )
