"""Histories of tables as the protocol means them: a model that shares no code with ours."""

from datetime import UTC, datetime

from hypothesis import strategies as st

from catalog.storage import StoredObject
from lakehouse.delta import actions as act
from lakehouse.delta.log import parse_listing

LATE = datetime(2024, 1, 1, tzinfo=UTC)


def compacted(commits):
    """Reconcile commits as the protocol says ("Action Reconciliation"), independent of ours."""
    newest: dict[object, act.Action] = {}
    for commit in commits:
        for action in sorted(commit, key=lambda action: isinstance(action, act.AddFile)):
            match action:
                case act.AddFile() | act.RemoveFile():
                    newest["file", action.key] = action
                case act.Transaction():
                    newest["txn", action.app_id] = action
                case act.DomainMetadata():
                    newest["domain", action.domain] = action
                case act.CommitInfo():
                    pass
                case _:
                    newest[type(action)] = action
    return list(newest.values())


names = st.sampled_from("abcd")
vectors = st.sampled_from(
    [None, act.DeletionVector("i", "x", 1, 1), act.DeletionVector("i", "y", 1, 1)]
)
adds = st.builds(
    act.AddFile,
    path=names,
    partition_values=st.just({}),
    size=st.integers(0, 9),
    modification_time=st.just(1),
    deletion_vector=vectors,
)
removes = st.builds(
    act.RemoveFile, path=names, deletion_timestamp=st.integers(1, 3), deletion_vector=vectors
)
others = st.one_of(
    st.builds(act.Transaction, names, st.integers(0, 5)),
    st.builds(act.DomainMetadata, names, st.sampled_from(["{}", "{1}"]), st.booleans()),
    st.builds(act.CommitInfo, st.just({"inCommitTimestamp": 7})),
)
singular = st.one_of(
    st.builds(act.Metadata, names, st.just("{}")),
    st.builds(act.Protocol, st.integers(1, 2), st.integers(2, 6)),
)


def _what(action):
    return getattr(action, "key", None) or type(action)


commit_actions = st.tuples(
    # A file of the log without any action is damaged.
    st.lists(st.one_of(adds, removes), min_size=1, max_size=4, unique_by=_what),
    st.lists(others, max_size=2),
    st.lists(singular, max_size=2, unique_by=type),
).map(lambda parts: [action for part in parts for action in part])
histories = st.lists(commit_actions, min_size=1, max_size=10)


@st.composite
def logs(draw):
    """Draw a history, compacted ranges of it, a checkpoint, and which single commits are left."""
    history = draw(histories)
    last = len(history) - 1
    ranges = draw(
        st.lists(
            st.tuples(st.integers(0, last), st.integers(0, last)).filter(lambda r: r[0] < r[1]),
            max_size=4,
            unique=True,
        )
        if last
        else st.just([])
    )
    gone = draw(st.sets(st.integers(0, last), max_size=3))
    checkpoint = draw(st.none() | st.integers(0, last))
    return history, ranges, gone, checkpoint


def files_of(history, ranges, gone, checkpoint):
    """Return the log's files, by path: the actions in each."""
    files = {f"{v:020d}.json": c for v, c in enumerate(history) if v not in gone}
    for first, last in ranges:
        files[f"{first:020d}.{last:020d}.compacted.json"] = compacted(history[first : last + 1])
    if checkpoint is not None:
        files[f"{checkpoint:020d}.checkpoint.parquet"] = compacted(history[: checkpoint + 1])
    return {f"_delta_log/{name}": actions for name, actions in files.items()}


def listing_of(files):
    """Return the log's files as if listed."""
    return parse_listing(StoredObject(path, 1, LATE) for path in sorted(files))


def state(tail):
    """Return what a table is: order, tombstones of old and provenance are not part of it."""
    return (
        {add.key: add for add in tail.adds},
        tail.metadata,
        tail.protocol,
        dict(tail.transactions),
        dict(tail.domains),
    )
