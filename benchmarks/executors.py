"""One plan, several executors: inline, threads, processes and, where it is installed, a Ray cluster.

``python -m benchmarks.executors [--rows N]``, also in the environment of ``make test-ray``, which
lacks the peers of the other benchmarks. Each z-orders a table of its own, of the same rows.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import compaction
import lakehouse
from compaction import Policy
from compaction.executors import Executor, Inline, Processes, Threads
from compaction.on_ray import OnRay

PARTS = 8
_EACH: Mapping[str, str | int] = {"threads": 1, "memory_limit": "1GB"}  # of two that work apart


def main() -> None:
    """Print the seconds that each takes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.executors", description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lakehouse-bench-") as folder:
        found = set()
        for name, executor in _executors():
            place = Path(folder, name.replace(" ", "-"))
            seconds, content = _run(place, executor, options.rows)
            found.add(content)
            print(f"{name}: {seconds:.1f} s", flush=True)
        assert len(found) == 1, found


def _executors() -> Iterator[tuple[str, Executor]]:
    yield "inline", Inline()
    yield "threads", Threads()
    yield "processes", Processes(2, _EACH)
    if importlib.util.find_spec("ray") is not None:
        ray = importlib.import_module("ray")
        context = ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
        yield "Ray", OnRay(str(context.address_info["address"]), count=2, duckdb_config=_EACH)
        ray.shutdown()


def _run(place: Path, executor: Executor, rows: int) -> tuple[float, object]:
    """Cluster a partitioned table, a copy a partition; return seconds, and what rows there are."""
    config: dict[str, str | int | float | bool] = {"memory_limit": "2GB"}
    with lakehouse.connect(place, durable=False, duckdb_config=config) as lake:
        table = lake.create_table(
            "bronze.t",
            {
                "id": "BIGINT",
                "kind": "INTEGER",
                "city": "VARCHAR",
                "value": "DOUBLE",
                "part": "INT",
            },
            partition_by=["part"],
        )
        for part in range(PARTS):
            for half in range(2):
                table.append(
                    lake.sql(
                        f"SELECT range AS id, (hash(range, {part}) % 1000)::INTEGER AS kind, "
                        f"'city ' || hash({half}, range) % 5000 AS city, range / 7.0 AS value, "
                        f"{part}::INTEGER AS part FROM range({rows // PARTS // 2})"
                    )
                )
        policy = Policy(cluster_by=("kind", "city"), target_bytes=4 << 20)
        started = time.perf_counter()
        (report,) = compaction.run(lake, policy=policy, executor=executor)
        seconds = time.perf_counter() - started
        assert (report.bins, report.problems) == (PARTS, ()), report
        content = lake.sql(
            "SELECT part, count(*), sum(hash(t)) FROM bronze.t AS t GROUP BY part ORDER BY part"
        ).fetchall()
    return seconds, (report.files_after, *content)


if __name__ == "__main__":
    main()
