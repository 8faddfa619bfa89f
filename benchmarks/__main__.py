"""Run all benchmarks: ``python -m benchmarks [--rows N] [--rounds N] [--json]``."""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import append
from benchmarks.measure import Figure


def main() -> None:
    """Measure and print medians in seconds, and our share of each peer's time."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lakehouse-bench-") as folder:
        figures = list(append.run(Path(folder), count=options.rows, rounds=options.rounds))
    if options.json:
        json.dump([_data(figure) for figure in figures], sys.stdout, indent=2)
        return
    packages = ("lakehouse-storage", "duckdb", "deltalake", "polars")
    title = ", ".join(f"{name} {version(name)}" for name in packages)
    table = Table("what", "ours", "peer", "seconds", "ours / peer", title=title)
    for figure in figures:
        ours, *_ = figure.medians.values()
        for peer, ratio in figure.ratios.items():
            seconds = f"{figure.medians[peer]:.3f}"
            table.add_row(figure.name, f"{ours:.3f}", peer, seconds, f"{ratio:.2f}")
        table.add_section()
    Console().print(table)
    Console().print(f"Python {platform.python_version()}, median of rounds in turns")


def _data(figure: Figure) -> dict[str, object]:
    return {"name": figure.name, "seconds": dict(figure.medians), "ratios": figure.ratios}


if __name__ == "__main__":
    main()
