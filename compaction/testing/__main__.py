"""Run a proof and print its figures: ``python -m compaction.testing kills``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from compaction.testing.beside import beside_writers
from compaction.testing.kills import keeper_kills
from compaction.testing.workers import workers
from lakehouse.testing.places import STORES, at
from lakehouse.testing.proofs import show


def main(arguments: Sequence[str]) -> int:
    """Run the proof that the first argument names."""
    parser = argparse.ArgumentParser("python -m compaction.testing")
    parser.add_argument("proof", choices=["beside", "kills", "workers"])
    parser.add_argument("--seconds", type=float, help="beside: 120, workers: 600")
    parser.add_argument("--count", type=int, default=100, help="of kills")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--store", choices=STORES, help="start this one (default: local disk)")
    given = parser.parse_args(arguments)
    with at(given.store) as place:
        if given.proof == "beside":
            title, report = (
                "Upkeep beside writers",
                beside_writers(given.seconds or 120, seed=given.seed, place=place),
            )
            return show(_on(title, given.store), given.seed, report.figures(), report.findings)
        if given.proof == "kills":
            killed = keeper_kills(given.count, seed=given.seed, place=place)
            title = _on("Kills of keepers", given.store)
            return show(title, given.seed, killed.figures(), killed.findings)
        shared = workers(given.seconds or 600, seed=given.seed, place=place)
        title = _on("Workers that share a lake", given.store)
        return show(title, given.seed, shared.figures(), shared.findings)


def _on(title: str, store: str | None) -> str:
    return title if store is None else f"{title} on {store}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
