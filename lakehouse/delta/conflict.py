"""Decide whether a commit that came first lets ours stand: pure rules.

Source: Delta protocol, "Writer Requirements" leave conflict detection to writers; these rules
give serializable writes. They are stricter than delta-rs's in one point that loses rows there:
a file that somebody removed conflicts whatever ``dataChange`` says.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable

from lakehouse.delta import actions as act

MayMatch = Callable[[tuple[act.AddFile, ...]], Collection[act.FileKey]]


@dataclasses.dataclass(frozen=True, slots=True)
class Reads:
    """Say what a change has read.

    ``files`` are the keys of the files that it read or removes. ``everything`` says that its
    result depends on all rows of the table, so that any new row matters. ``matching`` says that
    its result depends on the rows that a predicate is true for: given files that were added, it
    returns the keys of those that may hold such a row. ``files`` must then name every file of
    the snapshot that holds one. ``unchanged`` says that no file may come or go: what is written
    was computed from the table as it was. ``applications`` are those whose transactions it has
    looked at. A blind append reads nothing.
    """

    files: frozenset[act.FileKey] = frozenset()
    everything: bool = False
    matching: MayMatch | None = None
    unchanged: bool = False
    applications: frozenset[str] = frozenset()

    @property
    def is_blind(self) -> bool:
        """Tell whether nothing was read."""
        return self == _NOTHING


EVERYTHING = Reads(everything=True)
_NOTHING = Reads()


def conflict(ours: Iterable[act.Action], reads: Reads, winner: Iterable[act.Action]) -> str | None:
    """Return why the winning commit rules ours out, or None where ours may follow it.

    Who changes the table's schema or properties, and no row, may follow whoever changes rows: what
    was written for the schema before fits the one after, or the change says that it has read
    everything. Who has read a predicate is not disturbed by files that cannot match it, nor by files with
    ``dataChange`` false: every row of those stood in a file that the same commit removed
    (protocol, "Add File and Remove File"), and had one matched, that file were among ``files``.

    >>> add = act.AddFile("a.parquet", {}, 1, 1)
    >>> conflict([add], Reads(), [act.AddFile("b.parquet", {}, 1, 1)]) is None
    True
    >>> conflict([add], Reads(everything=True), [act.AddFile("b.parquet", {}, 1, 1)])
    'rows were added that this operation has not read'
    """
    mine, theirs = list(ours), list(winner)
    my_apps = {action.app_id for action in mine if isinstance(action, act.Transaction)}
    my_apps |= reads.applications
    my_domains = {action.domain for action in mine if isinstance(action, act.DomainMetadata)}
    for action in theirs:
        match action:
            case act.Protocol():
                return "the table's protocol changed"
            case act.Metadata():
                return "the table's schema or properties changed"
            case act.AddFile() | act.RemoveFile() if reads.unchanged:
                return "the table changed under an operation that computes rows from it"
            case act.RemoveFile() if action.key in reads.files:
                return f"file {action.path} was removed by another commit"
            case act.AddFile() if reads.everything and action.data_change:
                return "rows were added that this operation has not read"
            case act.AddFile() if reads.everything or action.key in reads.files:
                return "files were rewritten that this operation has read"
            case act.Transaction() if action.app_id in my_apps:
                return f"application {action.app_id!r} wrote already"
            case act.DomainMetadata() if action.domain in my_domains:
                return f"domain {action.domain!r} changed"
            case _:
                continue
    # Last, because it is the only question that takes work.
    added = tuple(a for a in theirs if isinstance(a, act.AddFile) and a.data_change)
    if reads.matching is not None and added and reads.matching(added):
        return "rows were added that may match what this operation has read"
    return None
