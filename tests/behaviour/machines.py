"""What the processes of several machines do to one lake: the same few names, all at once."""

import multiprocessing
import os
import random
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

import lakehouse
from lakehouse.lake.lake import Lake
from lakehouse.testing.places import Place

NAMES = ("bronze.a", "silver.b", "gold.c")
PROCESSES = 4


@dataclass(slots=True)
class Done:
    """Hold what one process was told has happened: to names in order, and rows by table URI."""

    changes: list[tuple[str, ...]] = field(default_factory=list)
    rows: list[tuple[str, int]] = field(default_factory=list)
    refused: int = 0


def user(machine: int, process: int) -> str:
    """Return who the catalog's history names."""
    return f"machine-{machine}-{process}"


def work(place: Place, machine: int, steps: int) -> list[Done]:
    """Run the processes of one machine, and return what each was told."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with ProcessPoolExecutor(PROCESSES, mp_context=context) as pool:
        jobs = [pool.submit(_process, place, machine, n, steps) for n in range(PROCESSES)]
        return [job.result() for job in jobs]


def _process(place: Place, machine: int, process: int, steps: int) -> Done:
    os.environ["LOGNAME"] = user(machine, process)
    choose, done = random.Random(f"{machine}/{process}"), Done()
    with place.connect(duckdb_config={"threads": 1}) as lake:
        for step in range(steps):
            try:
                _step(lake, choose, (machine * PROCESSES + process) * steps + step, done)
            except lakehouse.InputError:  # the name is taken, or gone
                done.refused += 1
    return done


def _step(lake: Lake, choose: random.Random, number: int, done: Done) -> None:
    name, other = choose.sample(NAMES, 2)
    match choose.choice(["create", "create", "write", "write", "write", "drop", "rename"]):
        case "create":
            lake.create_table(name, {"n": "BIGINT"})
            done.changes.append(("add table", name))
        case "write":
            table = lake.table(name)
            table.append([{"n": number}])
            done.rows.append((table.uri, number))
        case "drop":
            lake.drop_table(name)
            done.changes.append(("drop table", name))
        case _:
            lake.rename_table(name, other)
            done.changes.append(("rename table", name, other))
