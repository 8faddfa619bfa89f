"""Run the state machine for long, and print its figures."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from lakehouse.testing.machine import TableMachine


def main(arguments: Sequence[str]) -> int:
    """Run the machine and print what it did; return 1, with how to repeat it, where it failed."""
    options = _parser().parse_args(arguments)
    phases = [Phase.generate, Phase.shrink] if options.shrink else [Phase.generate]
    wanted = settings(
        max_examples=options.runs,
        stateful_step_count=options.steps,
        phases=phases,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
    started = time.perf_counter()
    TableMachine.done.clear()
    failure: Exception | None = None
    try:
        run_state_machine_as_test(TableMachine, settings=wanted)
    except Exception as error:  # noqa: BLE001 - whatever it is, the figures shall be printed
        failure = error
    done = TableMachine.done
    for name, count in sorted(done.items(), key=lambda item: -item[1]):
        print(f"{count:>8} {name}")
    print(f"{sum(done.values()) - done['runs']} operations and checks of {done['runs']} runs "
          f"in {time.perf_counter() - started:.0f} s")  # fmt: skip
    if failure is None:
        print("every version of every run equals the model")
        return 0
    print(f"\n{type(failure).__name__}: {failure}", *getattr(failure, "__notes__", ()), sep="\n")
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lakehouse.testing machine", description=__doc__
    )
    parser.add_argument("--runs", type=int, default=500, help="runs, each on a table of its own")
    parser.add_argument("--steps", type=int, default=50, help="most steps of a run")
    parser.add_argument("--shrink", action="store_true", help="look for a shorter failing run")
    return parser
