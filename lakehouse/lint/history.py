"""Follow a log commit by commit, and check each against the state before it: pure.

Source: Delta protocol, "Actions", "Action Reconciliation", "In-Commit Timestamps". The replay is
its own on purpose: a mistake in the one that readers use cannot hide here.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from catalog.errors import LakehouseError
from lakehouse.delta import actions as act
from lakehouse.delta.schema.fields import Struct, schema_from_json
from lakehouse.lint.findings import Finding

Commit = Sequence[act.Action]


@dataclasses.dataclass(slots=True)
class State:
    """Hold a table's state. ``complete`` is False where the commits before are not all known."""

    files: dict[act.FileKey, act.AddFile] = dataclasses.field(default_factory=dict)
    removed: set[act.FileKey] = dataclasses.field(default_factory=set)
    metadata: act.Metadata | None = None
    protocol: act.Protocol | None = None
    transactions: dict[str, int] = dataclasses.field(default_factory=dict)
    domains: dict[str, str] = dataclasses.field(default_factory=dict)
    timestamp: int | None = None
    complete: bool = True

    def apply(self, actions: Iterable[act.Action]) -> None:
        """Go on to the state after a commit."""
        listed = list(actions)
        for action in listed:
            if isinstance(action, act.RemoveFile):
                self.files.pop(action.key, None)
                self.removed.add(action.key)
        for action in listed:
            match action:
                case act.AddFile():
                    self.files[action.key] = action
                    self.removed.discard(action.key)
                case act.Metadata():
                    self.metadata = action
                case act.Protocol():
                    self.protocol = action
                case act.Transaction():
                    self.transactions[action.app_id] = action.version
                case act.DomainMetadata(removed=True):
                    self.domains.pop(action.domain, None)
                case act.DomainMetadata():
                    self.domains[action.domain] = action.configuration
                case _:
                    pass
        self.timestamp = _in_commit_timestamp(listed)


def lint_commits(commits: Iterable[tuple[int, Commit]]) -> list[Finding]:
    """Return what is wrong with a whole history, from version 0 on.

    >>> first = [act.Protocol(1, 2), act.Metadata("id", '{"type":"struct","fields":[]}')]
    >>> lint_commits([(0, first), (1, [act.RemoveFile("a.parquet", 0)])])[0].rule
    'removes'
    """
    state, found = State(), list[Finding]()
    for version, actions in commits:
        found += lint_commit(version, actions, state)
        state.apply(actions)
    return found


def lint_commit(version: int, actions: Commit, before: State) -> list[Finding]:
    """Return what is wrong with one commit on top of a state, which is left as it is."""
    found: list[Finding] = []
    found += _once(version, actions)
    for rule in (_transactions, _protocol, _timestamps):
        found += rule(version, actions, before)
    if before.complete:
        found += _removes(version, actions, before)
        found += _adds(version, actions, before)
        found += _rows(version, actions, before)
        found += _table(version, actions, before)
    return found


def records(add: act.AddFile) -> int | None:
    """Return the number of live rows in a file, or None where its statistics do not say."""
    try:
        total = json.loads(add.stats or "{}").get("numRecords")
    except (ValueError, AttributeError):
        return None
    if not isinstance(total, int):
        return None
    return total - (add.deletion_vector.cardinality if add.deletion_vector else 0)


def _once(version: int, actions: Commit) -> Iterator[Finding]:
    """A commit says one thing about each subject (protocol, "Actions")."""
    subjects: Counter[tuple[str, str]] = Counter()
    added, removed = set[act.FileKey](), set[act.FileKey]()
    for action in actions:
        match action:
            case act.Metadata() | act.Protocol() | act.CommitInfo():
                subjects[type(action).__name__, ""] += 1
            case act.Transaction():
                subjects["Transaction", action.app_id] += 1
            case act.DomainMetadata():
                subjects["DomainMetadata", action.domain] += 1
            case act.AddFile():
                subjects["AddFile", "@".join(action.key)] += 1
                added.add(action.key)
            case act.RemoveFile():
                subjects["RemoveFile", "@".join(action.key)] += 1
                removed.add(action.key)
            case _:
                pass
    for (kind, name), count in subjects.items():
        if count > 1:
            message = f"{count} {kind} actions{' about ' + name if name else ''} in one commit"
            yield Finding("once", message, version, name or None)
    for path, _ in sorted(added & removed):
        yield Finding("once", f"{path} is added and removed in one commit", version, path)


def _removes(version: int, actions: Commit, before: State) -> Iterator[Finding]:
    """Every remove names a live file."""
    for action in actions:
        if isinstance(action, act.RemoveFile) and action.key not in before.files:
            path, vector = action.key
            with_vector = any(file == path for file, _ in before.files) if vector else False
            what = "lives with another deletion vector" if with_vector else "is not live"
            yield Finding("removes", f"removes {path}, which {what}", version, path)


def _adds(version: int, actions: Commit, before: State) -> Iterator[Finding]:
    """No file is added that is live already, nor twice with two deletion vectors."""
    gone = {action.key for action in actions if isinstance(action, act.RemoveFile)}
    adds = [action for action in actions if isinstance(action, act.AddFile)]
    if not adds:
        return
    live = Counter(path for path, vector in before.files if (path, vector) not in gone)
    for add in adds:
        path = add.key[0]
        old = before.files.get(add.key)
        if old is not None and add.key not in gone:
            refreshed = not add.data_change and (add.size, records(add)) == (
                old.size, records(old),
            )  # fmt: skip
            yield Finding("adds", f"adds {path}, which is live", version, path, note=refreshed)
        elif live[path]:
            message = f"adds {path}, which is live with another deletion vector"
            yield Finding("adds", message, version, path)
        live[path] += 1


def _rows(version: int, actions: Commit, before: State) -> Iterator[Finding]:
    """A commit with ``dataChange`` false keeps every partition's number of rows."""
    changes = [action for action in actions if isinstance(action, act.AddFile | act.RemoveFile)]
    for action in changes:
        if isinstance(action, act.AddFile) and (records(action) or 0) < 0:
            message = f"{action.path} has more deleted rows than rows"
            yield Finding("rows", message, version, action.path)
    if not changes or any(action.data_change for action in changes):
        return
    balance: Counter[tuple[tuple[str, str], ...]] = Counter()
    for action in changes:
        file = action if isinstance(action, act.AddFile) else before.files.get(action.key)
        if file is None:  # not live: another rule's finding
            return
        count = records(file)
        if count is None:
            message = f"dataChange is false, and {file.path} does not say how many rows it has"
            yield Finding("rows", message, version, file.path, note=True)
            return
        partition = tuple(sorted((k, v) for k, v in file.partition_values.items() if v))
        # A refreshed add replaces the file that is live.
        if isinstance(action, act.AddFile) and (old := before.files.get(action.key)):
            count -= records(old) or 0
        balance[partition] += count if isinstance(action, act.AddFile) else -count
    for partition, difference in balance.items():
        if difference:
            where = f" in partition {dict(partition)}" if partition else ""
            message = f"dataChange is false, and there are {difference:+d} rows{where}"
            yield Finding("rows", message, version)


def _table(version: int, actions: Commit, before: State) -> Iterator[Finding]:
    """Schema and partition columns fit together, and every live file fits them."""
    new = next((action for action in actions if isinstance(action, act.Metadata)), None)
    metadata = new or before.metadata
    if metadata is None:
        yield Finding("schema", "there is no metaData up to here", version)
        return
    try:
        schema = schema_from_json(metadata.schema_string)
    except LakehouseError as error:
        if new is not None:
            yield Finding("schema", f"the schema cannot be read: {error}", version)
        return
    expected = _physical(schema, metadata.partition_columns)
    unknown = [name for name in metadata.partition_columns if schema.field(name) is None]
    if new is not None and unknown:
        message = f"partition column {unknown[0]!r} is not in the schema"
        yield Finding("schema", message, version)
    files = [action for action in actions if isinstance(action, act.AddFile)]
    old = before.metadata
    if new is not None and old is not None and old.partition_columns != new.partition_columns:
        gone = {action.key for action in actions if isinstance(action, act.RemoveFile)}
        files += [file for key, file in before.files.items() if key not in gone]
    for file in files:
        if not unknown and set(file.partition_values) != expected:
            message = (
                f"{file.path} has values of the partition columns "
                f"{sorted(file.partition_values)}, not of {sorted(expected)}"
            )
            yield Finding("partitions", message, version, file.path)
    if _is_on(old, "delta.appendOnly") and _is_on(metadata, "delta.appendOnly"):
        for action in actions:
            if isinstance(action, act.RemoveFile) and action.data_change:
                message = f"removes rows with {action.path}, and the table is append-only"
                yield Finding("append-only", message, version, action.path)


def _transactions(version: int, actions: Commit, before: State) -> Iterator[Finding]:
    """An application's number grows: one that comes again is a write done twice."""
    for action in actions:
        if isinstance(action, act.Transaction):
            seen = before.transactions.get(action.app_id)
            if seen is not None and action.version <= seen:
                message = f"application {action.app_id!r} goes from {seen} to {action.version}"
                yield Finding("transactions", message, version)


def _protocol(version: int, actions: Commit, before: State) -> Iterator[Finding]:
    """The protocol is there from the first commit on, and only dropping a feature lowers it."""
    new = next((action for action in actions if isinstance(action, act.Protocol)), None)
    old = before.protocol
    if new is None or old is None:
        if new is None and old is None and before.complete:
            yield Finding("protocol", "there is no protocol up to here", version)
        return
    info = next((a.values for a in actions if isinstance(a, act.CommitInfo)), {})
    if "DROP FEATURE" in str(info.get("operation", "")):
        return
    lost = _features(old) - _features(new)
    lower = new.min_reader < old.min_reader or new.min_writer < old.min_writer
    if lower or (lost and new.min_writer >= 7):
        message = f"the protocol goes from {_shown(old)} to {_shown(new)}"
        yield Finding("protocol", message, version)


def _timestamps(version: int, actions: Commit, before: State) -> Iterator[Finding]:
    """In-commit timestamps, where the table has them, stand first and increase."""
    metadata = next((a for a in actions if isinstance(a, act.Metadata)), before.metadata)
    if not _is_on(metadata, "delta.enableInCommitTimestamps"):
        return
    stamp = _in_commit_timestamp(actions[:1])
    if stamp is None:
        yield Finding("timestamps", "the first action holds no in-commit timestamp", version)
    elif before.timestamp is not None and stamp <= before.timestamp:
        message = f"the in-commit timestamp goes from {before.timestamp} to {stamp}"
        yield Finding("timestamps", message, version)


def _in_commit_timestamp(actions: Commit) -> int | None:
    for action in actions:
        if isinstance(action, act.CommitInfo):
            value = action.values.get("inCommitTimestamp")
            return value if isinstance(value, int) else None
    return None


def _is_on(metadata: act.Metadata | None, name: str) -> bool:
    values: Mapping[str, str] = {} if metadata is None else metadata.configuration
    return values.get(name, "").lower() == "true"


def _physical(schema: Struct, columns: Sequence[str]) -> set[str]:
    fields = [schema.field(name) for name in columns]
    return {field.physical_name for field in fields if field is not None}


def _features(protocol: act.Protocol) -> frozenset[str]:
    return (protocol.reader_features or frozenset()) | (protocol.writer_features or frozenset())


def _shown(protocol: act.Protocol) -> str:
    features = "".join(f", {name}" for name in sorted(_features(protocol)))
    return f"({protocol.min_reader}, {protocol.min_writer}{features})"
