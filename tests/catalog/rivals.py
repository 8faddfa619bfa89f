"""What one of many processes does to a catalog that all of them share."""

import random
from threading import Barrier

from catalog import Catalog, InputError, open_storage

POOL = [f"silver.t{number}" for number in range(6)] + ["gold.t0", "gold.t1"]


def race_to_create(uri: str, barrier: Barrier, rival: int, rounds: int) -> list[int]:
    """Create the same names as everybody else at the same time; return the rounds won."""
    barrier.wait()
    catalog = Catalog.open(open_storage(uri, durable=False), user=f"rival {rival}")
    won = []
    for number in range(rounds):
        barrier.wait()
        try:
            catalog.add_table(
                f"gold.race{number}", id=str(rival), location=f"r{number}-{rival}", managed=True
            )
        except InputError:
            continue
        won.append(number)
    return won


def scramble(uri: str, barrier: Barrier, rival: int, steps: int) -> list[tuple[str, ...]]:
    """Create, rename and drop overlapping names; return what was acknowledged."""
    catalog = Catalog.open(open_storage(uri, durable=False), user=f"rival {rival}")
    choose = random.Random(rival)
    done: list[tuple[str, ...]] = []
    barrier.wait()
    for number in range(steps):
        operation = choose.choice(["add table", "add table", "rename table", "drop table"])
        name, other = choose.sample(POOL, 2)
        try:
            if operation == "add table":
                place = f"data/{rival}-{number}"
                catalog.add_table(name, id=f"{rival}-{number}", location=place, managed=True)
                done.append((operation, name))
            elif operation == "rename table":
                catalog.rename_table(name, other)
                done.append((operation, name, other))
            else:
                catalog.drop_table(name)
                done.append((operation, name))
        except InputError:
            continue
    return done
