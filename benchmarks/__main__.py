"""Run benchmarks: ``python -m benchmarks [NAME ...] [--rows N] [--files N] [--rounds N] [--keep FOLDER] [--json]``."""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import append, commits, merge, million, queries, remote, upkeep
from benchmarks.measure import Figure, load

# Each takes an empty folder and the options of the command line.
BENCHMARKS: Mapping[str, Callable[[Path, argparse.Namespace], Iterator[Figure]]] = {
    "append": append.run,
    "commits": commits.run,
    "merge": merge.run,
    "million": million.run,
    "queries": queries.run,
    "remote": remote.run,
    "upkeep": upkeep.run,
}


def main() -> None:
    """Measure and print medians in seconds, and our share of each peer's time."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--files", type=int, default=1_000_000, help="of million's table")
    parser.add_argument(
        "--alone", action="store_true", help="million: no peers, for --files=10000000"
    )
    parser.add_argument("--query-files", type=int, default=20_000, help="of queries' small files")
    parser.add_argument(
        "--query-rows", type=int, default=20_000_000, help="of queries' large table"
    )
    parser.add_argument("--scale", type=float, default=1, help="of queries' TPC-H")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--gigabytes",
        type=float,
        default=0,
        help="of remote's large append, of upkeep's large clustering",
    )
    parser.add_argument("--memory", default="1GB", help="limit of upkeep's large clustering")
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="keep tables there (million, queries)"
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if unknown := set(options.names) - set(BENCHMARKS):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}")
    before = load()
    figures: list[Figure] = []
    for name in options.names or BENCHMARKS:
        with tempfile.TemporaryDirectory(prefix="lakehouse-bench-") as folder:
            for figure in BENCHMARKS[name](Path(folder), options):
                figures.append(figure)
                print(f"{figure.name}: {_medians(figure)}", file=sys.stderr, flush=True)
    if options.json:
        json.dump([_data(figure) for figure in figures], sys.stdout, indent=2)
        return
    packages = ("lakehouse-storage", "duckdb", "deltalake", "polars")
    title = ", ".join(f"{name} {version(name)}" for name in packages)
    table = Table("what", "ours", "peer", "seconds", "ours / peer", title=title)
    for figure in figures:
        ours, *peers = figure.medians.values()
        if not peers:
            table.add_row(figure.name, f"{ours:.4f}")
        for peer, ratio in figure.ratios.items():
            seconds = f"{figure.medians[peer]:.4f}"
            table.add_row(figure.name, f"{ours:.4f}", peer, seconds, f"{ratio:.2f}")
        for remark in figure.remarks:
            table.add_row(f"  {remark}")
        table.add_section()
    Console().print(table)
    Console().print(f"Python {platform.python_version()}, rounds in turns; load {before} before")


def _medians(figure: Figure) -> str:
    return ", ".join(f"{who} {seconds:.4g}" for who, seconds in figure.medians.items())


def _data(figure: Figure) -> dict[str, object]:
    return {
        "name": figure.name,
        "seconds": dict(figure.medians),
        "ratios": figure.ratios,
        "remarks": list(figure.remarks),
    }


if __name__ == "__main__":
    main()
