"""What upkeep aims at: a frozen value, from defaults of the layer and a table's properties. Pure."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal, TypeVar

from catalog.errors import InputError
from compaction.window import Window, parse_windows
from lakehouse.delta.properties import interval, size
from lakehouse.table.clustering import Clustering, Curve

T = TypeVar("T")
_MIB, _GIB, _TIB = 1 << 20, 1 << 30, 1 << 40
# Bytes of a table, and the size that its files are to have. What was written to one size stays
# above half of the next, so that a table that grows is not rewritten for it.
_SIZES = ((10 * _GIB, 128 * _MIB), (2560 * _GIB, 256 * _MIB), (10 * _TIB, _GIB))
Source = Literal["property", "layer", "default"]


@dataclasses.dataclass(frozen=True, slots=True)
class Policy:
    """Say what a table's upkeep aims at; sizes in bytes, times in seconds.

    - ``target_bytes``: the size of files; None goes by the size of the table.
    - ``small_bytes``: files below it are small (at most, and by default, half the target); ``min_files`` of them, in
      one partition, are worth merging.
    - ``cool_down``: a partition whose newest file is younger is left alone.
    - ``cluster_by``, ``curve``: columns to sort by, and how. ``group_bytes``: the most that is
      sorted at once.
    - ``deleted_share``: the share of a file's rows that are deleted, from which it is rewritten.
    - ``checkpoint_lag``: commits after the newest checkpoint, from which another is written.
    - ``windows``: hours of the day (UTC) at which upkeep may run; none means always.
    - ``most_bytes``, ``most_seconds``: the budget of one run, read and written bytes together.
    - ``read_cost``, ``write_cost``: what a gigabyte costs, in any unit; they weigh the order.
    - ``priority``: tables with more come first.
    - ``enabled``: whether upkeep touches the table at all.
    """

    target_bytes: int | None = None
    small_bytes: int | None = None
    min_files: int = 2
    cool_down: float = 0.0
    cluster_by: tuple[str, ...] = ()
    curve: Curve = "zorder"
    group_bytes: int = 16 * _GIB
    deleted_share: float = 0.1
    checkpoint_lag: int = 100
    windows: tuple[Window, ...] = ()
    most_bytes: int | None = None
    most_seconds: float | None = None
    read_cost: float = 1.0
    write_cost: float = 1.0
    priority: int = 1
    enabled: bool = True

    def __post_init__(self) -> None:
        low = (self.target_bytes, self.small_bytes, self.most_bytes, self.most_seconds)
        if (
            any(value is not None and value < 1 for value in low)
            or self.min_files < 2
            or self.cool_down < 0
            or self.group_bytes < 1
            or self.checkpoint_lag < 1
            or not 0 < self.deleted_share <= 1
            or self.read_cost < 0
            or self.write_cost < 0
        ):
            raise InputError(f"{self} cannot be followed")

    @classmethod
    def of(cls, properties: Mapping[str, str], *, layer: str = "") -> Policy:
        """Return the policy of a table with these properties, in a layer.

        Raises InputError, with the property's name, for a value that makes no sense.

        >>> Policy.of({"delta.targetFileSize": "64mb"}, layer="gold").target_bytes
        67108864
        """
        return cls(**{name: value for name, (value, _) in explained(properties, layer).items()})

    @property
    def clustering(self) -> Clustering | None:
        """Return how rows are to be sorted; None where they are not."""
        return Clustering(self.cluster_by, self.curve) if self.cluster_by else None

    def target(self, table_bytes: int) -> int:
        """Return the size of files for a table of so many bytes.

        >>> [Policy().target(size) >> 20 for size in (0, 2560 << 30, 10 << 40, 99 << 40)]
        [128, 256, 1024, 1024]
        """
        if self.target_bytes is not None:
            return self.target_bytes
        low_at, low = 0, _SIZES[0][1]
        for high_at, high in _SIZES:
            if table_bytes < high_at:
                return low + (high - low) * (table_bytes - low_at) // (high_at - low_at)
            low_at, low = high_at, high
        return low

    def small(self, table_bytes: int) -> int:
        """Return the size below which a file is small: half the target at most.

        Of larger files two need not fit together, and what became of some would be small again.
        """
        half = self.target(table_bytes) // 2
        return half if self.small_bytes is None else min(self.small_bytes, half)

    def allows(self, now: dt.datetime) -> bool:
        """Tell whether upkeep may run at a time."""
        return self.enabled and (not self.windows or any(now in window for window in self.windows))

    def cost(self, *, read: int, written: int) -> float:
        """Return what it costs to read and write so many bytes."""
        return (read * self.read_cost + written * self.write_cost) / _GIB


def explained(properties: Mapping[str, str], layer: str = "") -> Mapping[str, tuple[Any, Source]]:
    """Return each of a policy's values, and where it comes from."""
    found: dict[str, tuple[Any, Source]] = {
        field.name: (field.default, "default") for field in dataclasses.fields(Policy)
    }
    found |= {name: (value, "layer") for name, value in LAYERS.get(layer.lower(), {}).items()}
    for name, (field, parse) in PROPERTIES.items():
        text = properties.get(name)
        if text is None:
            continue
        value = parse(text.strip())
        if value is None:
            raise InputError(
                f"property {name!r} cannot be {text!r}",
                next_step="See `lakehouse policy` for what it may be",
                property=name,
            )
        found[field] = (value, "property")
    return found


def _number(lowest: int) -> Callable[[str], int | None]:
    return lambda text: (
        int(text) if text.isascii() and text.isdigit() and int(text) >= lowest else None
    )


def _bytes(text: str) -> int | None:
    return size(text) or None


def _real(lowest: float, highest: float) -> Callable[[str], float | None]:
    def parse(text: str) -> float | None:
        try:
            value = float(text)
        except ValueError:
            return None
        return value if lowest <= value <= highest else None

    return parse


def _seconds(text: str) -> float | None:
    found = interval(text)
    return None if found is None else found / 1000


def _switch(text: str) -> bool | None:
    return {"true": True, "false": False}.get(text.lower())


def _columns(text: str) -> tuple[str, ...] | None:
    names = tuple(name.strip() for name in text.split(","))
    return names if all(names) and len(set(names)) == len(names) <= 4 else None


def _curve(text: str) -> Curve | None:
    match text.lower():
        case ("zorder" | "hilbert" | "linear") as curve:
            return curve
        case _:
            return None


_MOST = 1e12
PROPERTIES: Mapping[str, tuple[str, Callable[[str], Any]]] = MappingProxyType(
    {
        "delta.targetFileSize": ("target_bytes", _bytes),
        "lakehouse.smallFileSize": ("small_bytes", _bytes),
        "lakehouse.minFilesToCompact": ("min_files", _number(2)),
        "lakehouse.upkeepCoolDown": ("cool_down", _seconds),
        "lakehouse.clusterBy": ("cluster_by", _columns),
        "lakehouse.clusterCurve": ("curve", _curve),
        "lakehouse.clusterGroupSize": ("group_bytes", _bytes),
        "lakehouse.purgeDeletedShare": ("deleted_share", _real(1e-9, 1.0)),
        "lakehouse.checkpointLag": ("checkpoint_lag", _number(1)),
        "lakehouse.upkeepWindows": ("windows", parse_windows),
        "lakehouse.upkeepBytes": ("most_bytes", _bytes),
        "lakehouse.upkeepSeconds": ("most_seconds", _real(1.0, _MOST)),
        "lakehouse.readCost": ("read_cost", _real(0.0, _MOST)),
        "lakehouse.writeCost": ("write_cost", _real(0.0, _MOST)),
        "lakehouse.upkeepPriority": ("priority", _number(0)),
        "lakehouse.upkeep": ("enabled", _switch),
    }
)
"""The table properties that make a policy: each sets a field, read by a function."""

# What is read most is kept in the best shape; what is written most is rewritten least.
LAYERS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "bronze": MappingProxyType({"priority": 1, "deleted_share": 0.2}),
        "silver": MappingProxyType({"priority": 2}),
        "gold": MappingProxyType({"priority": 3, "deleted_share": 0.05}),
    }
)
"""What differs by layer, by the field's name."""
