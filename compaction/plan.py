"""Plan a table's upkeep: from facts and a policy to steps, in order, within a budget. Pure.

Properties that hold: a file is in one step at most; no step makes more files than it takes, but
for those that are too large; a table that was looked after needs nothing; files of a partition that
is still written to are left alone; the steps together keep the budget.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Literal

from compaction.bins import Bin, pack
from compaction.clusters import Group, groups
from compaction.facts import Cluster, FileFacts, TableFacts
from compaction.overlap import depth
from compaction.policy import Policy

Kind = Literal["compact", "cluster", "purge", "checkpoint", "expire_log", "vacuum"]
REWRITES: tuple[Kind, ...] = ("compact", "cluster", "purge")

# What it costs a reader to open a file, or to read a commit, in bytes that it could have read.
OPEN_BYTES = 4 << 20
_COMMIT_BYTES = 256 << 10
# What a core of some years ago reads, sorts and writes in a second.
_COPIED_A_SECOND = 60 << 20
_SORTED_A_SECOND = 30 << 20
_SECONDS_A_STEP = 0.05


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """Hold one thing to do, its cost and its benefit.

    ``files`` are the paths that a rewrite takes; ``files_after`` is about how many it makes, cut at
    about ``file_bytes`` (None: it makes one).
    ``benefit`` is about how many bytes a reader of the table is saved each time. ``cluster`` is
    what new files are tagged with where they stay in the sort that wrote the old ones.
    """

    kind: Kind
    reason: str
    files: tuple[str, ...] = ()
    files_after: int = 0
    file_bytes: int | None = None
    bytes_read: int = 0
    bytes_written: int = 0
    seconds: float = 0.0
    benefit: float = 0.0
    cluster: Cluster | None = None

    @property
    def bytes(self) -> int:
        """Return the bytes that are read and written."""
        return self.bytes_read + self.bytes_written


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """Hold the steps for one table, best first, and those that the budget does not allow.

    ``quiet`` says why there is nothing to do, where that is not because all is well.
    """

    table: str
    version: int
    steps: tuple[Step, ...] = ()
    postponed: tuple[Step, ...] = ()
    target_bytes: int = 0
    quiet: str | None = None

    @property
    def bytes(self) -> int:
        """Return the bytes that all steps read and write."""
        return sum(step.bytes for step in self.steps)

    @property
    def seconds(self) -> float:
        """Return about how long all steps take on one core."""
        return sum(step.seconds for step in self.steps)


def plan_table(facts: TableFacts, policy: Policy) -> Plan:
    """Return what to do for a table.

    >>> small = [FileFacts(f"{n}.parquet", 1000) for n in range(3)]
    >>> facts = TableFacts("gold.t", 7, now=0.0, files=tuple(small), all_files=3, all_bytes=3000)
    >>> [
    ...     (step.kind, len(step.files), step.files_after)
    ...     for step in plan_table(facts, Policy()).steps
    ... ]
    [('compact', 3, 1)]
    """
    target = policy.target(facts.all_bytes)
    if not policy.enabled:
        return Plan(facts.name, facts.version, target_bytes=target, quiet="upkeep is switched off")
    if not policy.allows(dt.datetime.fromtimestamp(facts.now, dt.UTC)):
        hours = ", ".join(map(str, policy.windows))
        return Plan(facts.name, facts.version, target_bytes=target, quiet=f"it waits for {hours}")
    found = [*_rewrites(facts, policy, target), *_log_steps(facts, policy)]
    found.sort(key=lambda step: _rank(step, facts, policy), reverse=True)
    steps, postponed = _within(found, policy)
    return Plan(facts.name, facts.version, steps, postponed, target)


def worth(plan: Plan, policy: Policy, reads: float = 1.0) -> tuple[int, float]:
    """Return what orders tables: their priority, then what their best step is worth a byte."""
    best = max((_worth(step, policy) for step in plan.steps), default=0.0)
    return policy.priority, best * max(1.0, reads)


def _rewrites(facts: TableFacts, policy: Policy, target: int) -> Iterable[Step]:
    cold = [file for file in facts.files if not _is_hot(file, facts, policy)]
    small = policy.small(facts.all_bytes)
    rest: Sequence[FileFacts] = cold
    clustering = policy.clustering
    if clustering is not None:
        sorting, rest = groups(
            cold, key=clustering.key, target=target, group_bytes=policy.group_bytes
        )
        yield from (_cluster(group, facts, target) for group in sorting)
        taken = {file.path for group in sorting for file in group.files}
        taken.update(file.path for file in rest)
        for file in cold:
            if file.path not in taken and file.deleted_share >= policy.deleted_share:
                stays = file.cluster is not None and file.cluster.key == clustering.key
                yield _merge(Bin((file,)), cluster=file.cluster if stays else None)
        # Neighbours in the sort, not in time.
        rest = sorted(rest, key=_place)
    for bin_ in pack(
        rest,
        target=target,
        small=small,
        min_files=policy.min_files,
        deleted_share=policy.deleted_share,
    ):
        yield _merge(bin_)


def _merge(bin_: Bin, cluster: Cluster | None = None) -> Step:
    count = len(bin_.files)
    deleted = sum(file.deleted for file in bin_.files)
    dead = bin_.bytes - bin_.live_bytes
    after = 1 if bin_.live_bytes else 0
    reason = f"{count} small files become one" if count > 1 else ""
    if deleted:
        reason += f"{' and ' if reason else ''}{deleted} deleted rows go"
    return Step(
        kind="compact" if count > 1 else "purge",
        reason=reason,
        files=tuple(file.path for file in bin_.files),
        files_after=after,
        bytes_read=bin_.bytes,
        bytes_written=bin_.live_bytes,
        seconds=_SECONDS_A_STEP + (bin_.bytes + count * OPEN_BYTES / 64) / _COPIED_A_SECOND,
        benefit=(count - after) * OPEN_BYTES + dead + (OPEN_BYTES if deleted else 0),
        cluster=cluster,
    )


def _cluster(group: Group, facts: TableFacts, target: int) -> Step:
    size = sum(file.live_bytes for file in group.files)
    after = max(1, round(size / target))
    before = depth(group.files)
    # A query that asks for few values reads the files that overlap there.
    overlap = min(1.0, before / len(group.files))
    kept = min(overlap, 1 / math.sqrt(after)) if after > 1 else overlap
    others = facts.all_files - len(group.files)
    what = f"{len(group.files)} {'new ' if group.is_fresh and others else ''}files"
    return Step(
        kind="cluster",
        reason=f"{what} overlap {before:.1f} deep, and are sorted together",
        files=tuple(file.path for file in group.files),
        files_after=after,
        file_bytes=math.ceil(size / after) if after > 1 else None,
        bytes_read=group.bytes,
        bytes_written=size,
        seconds=_SECONDS_A_STEP + group.bytes / _SORTED_A_SECOND,
        benefit=size * (overlap - kept) + max(0, len(group.files) - after) * OPEN_BYTES,
    )


def _log_steps(facts: TableFacts, policy: Policy) -> Iterable[Step]:
    lag = facts.commits_since_checkpoint
    if lag >= policy.checkpoint_lag:
        yield Step(
            kind="checkpoint",
            reason=f"{lag} commits follow the newest checkpoint",
            bytes_written=200 * facts.all_files,
            seconds=_SECONDS_A_STEP + facts.all_files / 300_000,
            benefit=lag * _COMMIT_BYTES,
        )
    if facts.expired_entries:
        yield Step(
            kind="expire_log",
            reason=f"{facts.expired_entries} log entries are older than the table keeps them",
            files_after=0,
            seconds=_SECONDS_A_STEP,
            benefit=facts.expired_bytes,
        )
    if facts.dead_files:
        yield Step(
            kind="vacuum",
            reason=f"{facts.dead_files} files are needed by no version that is kept",
            seconds=_SECONDS_A_STEP + facts.dead_files / 1000,
            benefit=facts.dead_bytes,
        )


def _within(steps: list[Step], policy: Policy) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
    """Split steps into those that the budget allows, in order, and the others."""
    kept, postponed = [], []
    size, seconds = 0, 0.0
    for step in steps:
        fits = (policy.most_bytes is None or size + step.bytes <= policy.most_bytes) and (
            policy.most_seconds is None or seconds + step.seconds <= policy.most_seconds
        )
        if not fits:
            postponed.append(step)
            continue
        kept.append(step)
        size, seconds = size + step.bytes, seconds + step.seconds
    return tuple(kept), tuple(postponed)


def _rank(step: Step, facts: TableFacts, policy: Policy) -> tuple[bool, float]:
    # Files are dropped from storage last: what a rewrite leaves behind is kept anyway.
    return step.kind != "vacuum", _worth(step, policy) * max(1.0, facts.reads)


def _worth(step: Step, policy: Policy) -> float:
    return step.benefit / (1e-6 + policy.cost(read=step.bytes_read, written=step.bytes_written))


def _is_hot(file: FileFacts, facts: TableFacts, policy: Policy) -> bool:
    newest = facts.newest.get(file.partition)
    return newest is not None and facts.now - newest < policy.cool_down


def _place(file: FileFacts) -> tuple[bool, float, str]:
    low = file.box[0][0] if file.box else None
    return low is None, _number(low), "" if low is None else str(low)


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float | Decimal) else 0.0
