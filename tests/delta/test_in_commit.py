"""In-commit timestamps only ever grow, whatever the clocks say, and time travel goes by them."""

import dataclasses
import itertools
import json
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lakehouse
from lakehouse.delta import actions as act
from lakehouse.delta.commit import Change, Retries, commit
from lakehouse.delta.in_commit import Table, newest_at, stamped
from lakehouse.delta.protocol import upgraded
from lakehouse.table.timeline import version_at

ON = {"delta.enableInCommitTimestamps": "true"}
METADATA = act.Metadata("id", "{}")
ENABLED = dataclasses.replace(METADATA, configuration=ON)
PROTOCOL = act.Protocol(1, 7, None, frozenset({"inCommitTimestamp"}))
clocks = st.lists(st.integers(0, 10_000), min_size=1, max_size=20)
FIRST = "delta.inCommitTimestampEnablementVersion"
SINCE = "delta.inCommitTimestampEnablementTimestamp"


@given(clocks=clocks, enabled_at=st.integers(0, 5))
def test_times_strictly_increase(clocks, enabled_at):
    table, previous, times = Table(METADATA, PROTOCOL), None, []
    for version, now in enumerate(clocks):
        actions = (ENABLED,) if version == enabled_at else ()
        own, written = stamped(table, actions, version=version, previous=previous, now=now)
        table = table.after(written)
        assert (own is None) == (version < enabled_at)
        if own is not None:
            times.append(own)
            assert own >= now
            assert previous is None or own == max(now, previous + 1)
            assert table.metadata is not None
            since = {n: v for n, v in table.metadata.configuration.items() if n not in ON}
            if enabled_at:
                assert since == {FIRST: str(enabled_at), SINCE: str(times[0])}
            else:
                assert since == {}
        previous = now if own is None else own  # before, the time of the file
    assert all(before < after for before, after in itertools.pairwise(times))


@given(
    gaps=st.lists(st.integers(1, 5), min_size=1, max_size=12),
    files=st.lists(st.integers(1, 5), min_size=12, max_size=12),
    first=st.integers(0, 12),
    expired=st.integers(0, 4),
    moment=st.integers(0, 70),
)
def test_the_version_at_a_time_by_the_protocol_s_words(gaps, files, first, expired, moment):
    last = len(gaps) - 1
    first = min(first, last)
    modified = [sum(files[: n + 1]) for n in range(len(gaps))]
    base = modified[first - 1] if first else 0
    own = {n: base + sum(gaps[first : n + 1]) for n in range(first, last + 1)}
    configuration = dict(ON) if first == 0 else {**ON, FIRST: str(first), SINCE: str(own[first])}
    versions = list(range(min(expired, last), last + 1))
    found = newest_at(
        moment,
        versions,
        configuration=configuration,
        files=lambda some: [modified[n] for n in some],
        own=lambda version: own[version],
    )
    late = first == 0 or moment >= own[first]
    considered = [n for n in versions if (n >= first) == late]
    times = own if late else modified
    assert found == max((n for n in considered if times[n] <= moment), default=None)


def table_with(lake, **properties):
    return lake.create_table("bronze.t", {"n": "BIGINT"}, properties=properties)


def own_times(table):
    folder = table.snapshot().storage.local_path / "_delta_log"
    times = {}
    for file in sorted(folder.glob("*.json")):
        first = json.loads(file.read_text().splitlines()[0])
        assert "commitInfo" in first
        times[int(file.stem)] = first["commitInfo"].get("inCommitTimestamp")
    return times


def planned(change, _):
    return change


def add(number):
    return act.AddFile(f"{number}.parquet", {}, 1, 1, stats='{"numRecords":1}')


@settings(max_examples=settings().max_examples // 10)
@given(data=st.data())
def test_commits_with_random_clocks_that_race(tmp_path_factory, data):
    start = 1_700_000_000_000
    with lakehouse.connect(tmp_path_factory.mktemp("lake"), durable=False) as lake:
        table = table_with(lake, **ON)
        engine = lake._engine
        stale = table.snapshot()
        for number in range(data.draw(st.integers(1, 6))):
            change = Change("WRITE", (add(number),))
            clock = data.draw(st.integers(start - 10**9, start + 10**9))
            base = stale if data.draw(st.booleans()) else table.snapshot()
            done = commit(
                base,
                partial(planned, change),
                engine=engine,
                clock=partial(int, clock),
                retries=Retries(sleep=lambda _: None),
            )
            assert done.snapshot is not None
            assert done.snapshot.timestamp == own_times(table)[done.version]
        times = list(own_times(table).values())
        assert all(before < after for before, after in itertools.pairwise(times))
        fresh = lakehouse.connect(lake.uri).table("bronze.t").snapshot()
        assert fresh.timestamp == times[-1]
        for version, millis in own_times(table).items():
            at = datetime.fromtimestamp(millis / 1000, UTC)
            assert version_at(fresh, at) == version
            if version:
                assert version_at(fresh, at - timedelta(milliseconds=1)) == version - 1


def enable(table, engine):
    def plan(current):
        configuration = {**current.properties, **ON}
        protocol = upgraded(current.protocol, current.schema, configuration)
        metadata = dataclasses.replace(current.metadata, configuration=configuration)
        return Change("SET TBLPROPERTIES", (protocol, metadata))

    return commit(table.snapshot(), plan, engine=engine)


def test_enabling_on_a_table_with_history_and_time_travel_across_it(tmp_path):
    with lakehouse.connect(tmp_path, durable=False) as lake:
        table = table_with(lake)
        table.append([{"n": 1}])
        before = table.snapshot().timestamp
        done = enable(table, lake._engine)
        assert done.version == 2
        table.append([{"n": 2}])
        times = own_times(table)
        assert [version for version, time in times.items() if time is None] == [0, 1]
        assert times[2] > before
        assert times[3] > times[2]
        assert table.properties[FIRST] == "2"
        assert table.properties[SINCE] == str(times[2])

        def at(millis):
            return version_at(table.snapshot(), datetime.fromtimestamp(millis / 1000, UTC))

        assert [at(times[2] - 1), at(times[2]), at(times[3] - 1), at(times[3])] == [1, 2, 2, 3]
        assert at(before) == 1
        shown = {c.version: round(c.timestamp.timestamp() * 1000) for c in table.history()}
        assert {n: shown[n] for n in (2, 3)} == {n: times[n] for n in (2, 3)}
        # An older version that comes back does not end the times, nor forget since when they are.
        table.restore(1)
        assert table.properties[SINCE] == str(times[2])
        assert own_times(table)[4] > times[3]
        assert table.to_deltalake().version() == 4


def test_the_time_survives_a_checkpoint_of_the_same_version(tmp_path):
    with lakehouse.connect(tmp_path, durable=False) as lake:
        table = table_with(lake, **ON)
        table.append([{"n": 1}])
        table.checkpoint()
        fresh = lakehouse.connect(tmp_path).table("bronze.t")
        assert fresh.snapshot().timestamp == own_times(table)[1]
        far = commit(
            table.snapshot(),
            lambda _: Change("WRITE", (add(1),)),
            engine=lake._engine,
            clock=lambda: own_times(table)[1] + 10**9,
        )
        fresh._latest = None
        table.checkpoint()
        fresh.append([{"n": 2}])
        assert own_times(table)[3] == own_times(table)[far.version] + 1


def test_a_plain_table_shows_its_time_after_a_checkpoint(tmp_path):
    with lakehouse.connect(tmp_path, durable=False) as lake:
        table = table_with(lake)
        table.append([{"n": 1}])
        modified = table.snapshot().timestamp
        table.checkpoint()
        assert lakehouse.connect(tmp_path).table("bronze.t").snapshot().timestamp == modified
        with pytest.raises(lakehouse.NotFoundError, match="first one that is left is version 0"):
            table.read(timestamp="2000-01-01")
