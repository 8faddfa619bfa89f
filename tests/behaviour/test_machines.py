"""Two machines' worth of processes share one lake on MinIO, and no update is lost."""

import multiprocessing
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor

from lakehouse.testing.places import Place
from tests.behaviour.machines import NAMES, PROCESSES, user, work

MACHINES, STEPS = 2, 12


def test_no_update_is_lost_between_machines(server):
    store = server("minio")
    place = Place(store.bucket(), store.options()).child("lake")
    with place.connect():
        pass
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(MACHINES, mp_context=context) as pool:
        jobs = [pool.submit(work, place, machine, STEPS) for machine in range(MACHINES)]
        done = {
            user(machine, process): told
            for machine, job in enumerate(jobs)
            for process, told in enumerate(job.result())
        }
    with place.connect(create=False) as lake:
        history = lake.catalog.history()[::-1]
        assert [change.version for change in history] == list(range(len(history)))
        # Every change that was acknowledged is there once, in its order, and no other is.
        assert len(done) == MACHINES * PROCESSES
        for who, told in done.items():
            mine = [(change.operation, *change.names) for change in history if change.user == who]
            assert mine == told.changes
        assert len(history) == 1 + sum(len(told.changes) for told in done.values())
        # One after the other, the changes lead to what the catalog holds.
        names: set[str] = set()
        for change in history[1:]:
            gone = change.names[:1] if change.operation != "add table" else ()
            new = change.names[-1:] if change.operation != "drop table" else ()
            assert names >= {*gone}
            assert names.isdisjoint(new)
            names = (names - {*gone}) | {*new}
        assert names == {info.name for info in lake.tables()} <= set(NAMES)
        # Every row that was acknowledged is in its table once, dropped since or not.
        rows = defaultdict(list)
        for told in done.values():
            for uri, number in told.rows:
                rows[uri].append(number)
        assert rows
        tables = {info.uri: lake.table(info.name) for info in lake.tables()}
        for uri, table in tables.items():
            assert table.version == len(rows[uri])
        for number, uri in enumerate(sorted(rows.keys() - tables.keys())):
            tables[uri] = lake.register_table(f"gold.dropped_{number}", uri)
        for uri, expected in rows.items():
            assert sorted(tables[uri].read().fetchall()) == [(n,) for n in sorted(expected)]
