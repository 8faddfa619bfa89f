"""Write copies on a Ray cluster that is there already (extra ``ray``).

The cluster's machines need this package and access to the lake's storage. Plans travel with the
storage settings, so treat the cluster as one that may write to the lake; only the caller commits.
Source: Ray documentation, "Ray Core", "Starting Ray".
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from compaction.executors import Outcome, Setting, Write, in_pool, write_elsewhere
from lakehouse import UnsupportedError
from lakehouse.table.copying import Copy


@dataclasses.dataclass(frozen=True, slots=True)
class OnRay:
    """Write copies in tasks of a Ray cluster.

    ``address`` is that of the cluster (``auto``, ``10.0.0.1:6379``, ``ray://head:10001``); a
    connection that the program has already is used as it is. ``count`` tasks run at once, each on
    ``cpus`` cores, in a DuckDB of its own with the settings ``duckdb_config``.
    """

    address: str = "auto"
    count: int = 8
    cpus: float = 1.0
    duckdb_config: Mapping[str, Setting] = dataclasses.field(default_factory=dict)

    def run(self, copies: Iterable[Copy], write: Write) -> Iterator[tuple[int, Outcome]]:  # noqa: ARG002
        """Write the copies."""
        ray = _ray()
        if not ray.is_initialized():
            ray.init(address=self.address, log_to_driver=False)
        task = ray.remote(num_cpus=self.cpus, max_retries=0)(write_elsewhere)
        config = dict(self.duckdb_config)
        yield from in_pool(
            copies,
            self.count,
            lambda copy: task.remote(copy, config).future(),
            deaths=(ray.exceptions.RayError,),
        )


def _ray() -> Any:
    """Return Ray; UnsupportedError where it is not installed."""
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise UnsupportedError(
            "this needs Ray", next_step="Install it: pip install lakehouse-storage[ray]"
        ) from error
