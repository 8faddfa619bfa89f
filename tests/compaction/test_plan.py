"""The planner's promises, for any table and policy: it is pure, so hypothesis plays the storage."""

import dataclasses
import datetime as dt
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compaction.bins import pack
from compaction.facts import Cluster, FileFacts, TableFacts
from compaction.overlap import Overlaps, depth
from compaction.plan import REWRITES, Plan, Step, plan_table, worth
from compaction.policy import Policy
from compaction.window import Window
from lakehouse.table.clustering import Clustering

TARGET = 1000
NOW = dt.datetime(2026, 11, 28, 12, tzinfo=dt.UTC).timestamp()
KEY = Clustering(("a",), "linear").key
names = (f"{n}.parquet" for n in itertools.count())
bounds = st.one_of(
    st.tuples(st.integers(0, 100), st.integers(0, 20)).map(lambda b: (b[0], b[0] + b[1])),
    st.just((None, None)),
)


@st.composite
def files(draw) -> FileFacts:
    rows = draw(st.integers(1, 100))
    key = draw(st.sampled_from([None, KEY, "zorder(x,y)"]))
    return FileFacts(
        path=next(names),
        size=draw(st.one_of(st.integers(1, TARGET), st.integers(1, 10 * TARGET))),
        rows=rows,
        deleted=draw(st.one_of(st.just(0), st.integers(0, rows))),
        partition=(draw(st.sampled_from(["x", None])),),
        box=(draw(bounds),),
        cluster=None if key is None else Cluster(draw(st.sampled_from("klmnop")), key),
    )


policies = st.builds(
    Policy,
    target_bytes=st.just(TARGET),
    small_bytes=st.sampled_from([None, 300, TARGET]),
    min_files=st.integers(2, 4),
    cluster_by=st.sampled_from([(), ("a",)]),
    curve=st.just("linear"),
    group_bytes=st.sampled_from([3 * TARGET, 50 * TARGET]),
    deleted_share=st.sampled_from([0.05, 0.5]),
)
tables = st.lists(files(), max_size=20)


def facts(found: list[FileFacts], **more) -> TableFacts:
    size = sum(file.size for file in found)
    return TableFacts("silver.t", 3, NOW, tuple(found), len(found), size, **more)


def after(found: list[FileFacts], plan: Plan) -> list[FileFacts]:
    """Play what a run does: rows are sorted, and take as many bytes as before."""
    by_path = {file.path: file for file in found}
    for step in plan.steps:
        old = [by_path.pop(path) for path in step.files]
        size = sum(file.live_bytes for file in old)
        if not size:
            continue
        count = step.files_after
        low = min((f.box[0][0] for f in old if f.box[0][0] is not None), default=0)
        high = max((f.box[0][1] for f in old if f.box[0][1] is not None), default=0)
        cluster = step.cluster
        if step.kind == "cluster":
            cluster = Cluster(next(names), KEY)
        cuts = [low + (high - low) * n / count for n in range(count + 1)]
        for n in range(count):
            new = FileFacts(
                path=next(names),
                size=size // count + (n < size % count),
                rows=sum((f.rows or 0) - f.deleted for f in old) // count + 1,
                partition=old[0].partition,
                box=((cuts[n], cuts[n + 1]),),
                cluster=cluster,
            )
            by_path[new.path] = new
    return list(by_path.values())


@given(tables, policies)
def test_a_file_is_in_one_step_at_most_and_steps_stay_in_a_partition(found, policy) -> None:
    plan = plan_table(facts(found), policy)
    by_path = {file.path: file for file in found}
    taken = [path for step in plan.steps for path in step.files]
    assert len(taken) == len(set(taken))
    for step in plan.steps:
        assert len({by_path[path].partition for path in step.files}) == 1
        assert step.benefit > 0 or step.kind == "cluster"
        assert step.reason


@given(tables, policies)
def test_no_rewrite_makes_files_worse(found, policy) -> None:
    by_path = {file.path: file for file in found}
    for step in plan_table(facts(found), policy).steps:
        old = [by_path[path] for path in step.files]
        if step.kind in ("compact", "purge"):
            assert step.files_after <= 1
            assert len(old) > 1 or old[0].deleted
            assert step.bytes_written <= max(TARGET, *(file.live_bytes for file in old))
        else:
            large = sum(file.live_bytes for file in old) / TARGET
            assert step.files_after <= max(len(old), round(large))
            assert sum(f.live_bytes for f in old) <= max(
                policy.group_bytes, *(file.live_bytes for file in old)
            )


@given(tables, policies)
def test_it_ends_and_leaves_nothing_to_do(found, policy) -> None:
    for _ in range(60):
        plan = plan_table(facts(found), policy)
        if not plan.steps:
            break
        found = after(found, plan)
    assert not plan.steps
    assert not [f for f in found if f.deleted_share >= policy.deleted_share]


@given(tables, policies.map(lambda p: dataclasses.replace(p, cluster_by=())))
def test_one_round_is_enough_without_clustering(found, policy) -> None:
    rest = after(found, plan_table(facts(found), policy))
    assert plan_table(facts(rest), policy).steps == ()


@given(tables, policies, st.integers(1, 20_000), st.floats(1, 100))
def test_the_budget_is_kept_and_nothing_is_lost(found, policy, size, seconds) -> None:
    limited = dataclasses.replace(policy, most_bytes=size, most_seconds=seconds)
    free, plan = plan_table(facts(found), policy), plan_table(facts(found), limited)
    assert plan.bytes <= size
    assert plan.seconds <= seconds
    paths = lambda steps: sorted(step.files for step in steps)  # noqa: E731
    assert paths((*plan.steps, *plan.postponed)) == paths(free.steps)


@given(tables, policies)
def test_hot_partitions_are_left_alone(found, policy) -> None:
    cool = dataclasses.replace(policy, cool_down=60.0)
    newest = {("x",): NOW - 10, (None,): NOW - 100}
    steps = plan_table(facts(found, newest=newest), cool).steps
    by_path = {file.path: file for file in found}
    assert {by_path[path].partition for step in steps for path in step.files} <= {(None,)}


@given(tables)
def test_counts_of_overlaps_are_exact(found) -> None:
    overlaps = Overlaps(found)

    def meet(one: FileFacts, other: FileFacts) -> bool:
        (low, high), (bottom, top) = one.box[0], other.box[0]
        return None in (low, bottom) or (low <= top and bottom <= high)

    for file in found:
        wanted = sum(meet(file, other) for other in found if other is not file)
        assert overlaps.count(file, most=1000) == wanted
        assert overlaps.count(file, most=2) == min(wanted, 3)


def appended(count: int, size: int, box) -> list[FileFacts]:
    return [FileFacts(next(names), size, 10, box=(box,)) for _ in range(count)]


CLUSTERED = Policy(target_bytes=TARGET, cluster_by=("a",), curve="linear")


def test_new_rows_cost_their_own_bytes_only() -> None:
    found = after(
        appended(200, TARGET, (0, 100)), plan_table(facts(appended(0, 1, (0, 1))), CLUSTERED)
    )
    found = after(found, plan_table(facts(found), CLUSTERED))
    assert depth(found) < 3
    total = sum(file.size for file in found)
    found += appended(10, TARGET // 5, (0, 100))
    plan = plan_table(facts(found), CLUSTERED)
    assert [step.kind for step in plan.steps] == ["cluster"]
    assert sum(step.bytes_read for step in plan.steps) < 0.05 * total


def test_a_table_that_grows_is_rewritten_seldom_and_stays_clustered() -> None:
    found: list[FileFacts] = []
    appended_bytes = rewritten = 0
    for _ in range(100):
        found += appended(5, TARGET // 2, (0, 100))
        appended_bytes += 5 * (TARGET // 2)
        while (plan := plan_table(facts(found), CLUSTERED)).steps:
            rewritten += sum(step.bytes_written for step in plan.steps)
            found = after(found, plan)
    assert rewritten < 7 * appended_bytes
    assert depth(found) < 16


def test_files_that_are_in_order_already_are_left_alone() -> None:
    found = [FileFacts(next(names), TARGET, 10, box=((n, n + 1),)) for n in range(50)]
    assert plan_table(facts(found), CLUSTERED).steps == ()


def test_what_reads_most_and_matters_most_comes_first() -> None:
    found = appended(10, 10, (0, 1))
    plan = plan_table(facts(found), Policy(target_bytes=TARGET))
    often, seldom = worth(plan, Policy(), reads=100.0), worth(plan, Policy(), reads=1.0)
    assert worth(plan, Policy(priority=3)) > often > seldom


def test_steps_for_the_log() -> None:
    steps = plan_table(
        facts([], commits_since_checkpoint=100, expired_entries=5, expired_bytes=9, dead_files=1),
        Policy(),
    ).steps
    assert {step.kind for step in steps} == {"checkpoint", "expire_log", "vacuum"}
    assert steps[-1].kind == "vacuum"
    assert not {step.kind for step in steps} & set(REWRITES)


def test_it_says_why_it_is_quiet() -> None:
    found = facts(appended(10, 10, (0, 1)))
    assert plan_table(found, Policy(enabled=False)).quiet == "upkeep is switched off"
    night = Policy(windows=(Window(dt.time(22), dt.time(6)),))
    assert plan_table(found, night).quiet == "it waits for 22:00-06:00"


@pytest.mark.parametrize("kind", ["compact", "purge"])
def test_deleted_rows_are_purged_alone_or_with_small_files(kind: str) -> None:
    size = TARGET if kind == "purge" else 10
    found = [FileFacts(next(names), size, 100, deleted=20), *appended(1, 10, (0, 1))]
    (step,) = plan_table(facts(found), Policy(target_bytes=TARGET)).steps
    assert isinstance(step, Step)
    assert step.kind == kind
    assert "20 deleted rows go" in step.reason


def test_packing_keeps_neighbours_together() -> None:
    found = [FileFacts(str(n), 300) for n in range(7)]
    bins = pack(found, target=1000, small=500, min_files=2, deleted_share=0.1)
    assert [[file.path for file in bin_.files] for bin_ in bins] == [
        ["0", "1", "2"],
        ["3", "4", "5"],
    ]
