"""Check table properties: which there are, which values they take, and which are not for users.

Source: Delta protocol, "Table Properties", and the table property reference of Delta Lake. Names
that begin with ``delta.`` or ``lakehouse.`` mean something to engines, so that a wrong one is an
error; all others are the user's own, and free.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from catalog.errors import InputError
from catalog.names import near_misses

Check = Callable[[str], str | None]
_RESERVED = ("delta.", "lakehouse.")
_UNITS = {
    "week": 604_800_000.0, "day": 86_400_000.0, "hour": 3_600_000.0, "minute": 60_000.0,
    "second": 1000.0, "millisecond": 1.0, "microsecond": 0.001,
}  # fmt: skip
_BYTES = {"": 0, "b": 0, "k": 10, "kb": 10, "m": 20, "mb": 20, "g": 30, "gb": 30}
_SIZE = re.compile(r"(\d+)\s*([a-z]*)")


def checked(properties: Mapping[Any, Any]) -> Mapping[str, str]:
    """Return properties as a table stores them: text, in the protocol's form.

    Numbers and booleans become text. Raises InputError for a value that its property cannot have,
    for a ``delta.`` or ``lakehouse.`` name that is not known (with near misses), and for those that
    follow from other things, and are not set: protocol versions, features, constraints, bookkeeping.
    """
    return MappingProxyType({name: _checked(name, value) for name, value in properties.items()})


def check_name(name: str) -> None:
    """Raise InputError for a property that no user sets or unsets."""
    for start, why in _NOT_SET.items():
        if name == start or (start.endswith(".") and name.startswith(start)):
            raise InputError(f"property {name!r} cannot be set", next_step=why)
    if name.startswith(_RESERVED) and name not in _KNOWN:
        near = near_misses(name, _KNOWN)
        raise InputError(
            f"there is no table property {name!r}",
            next_step=f"Did you mean {near[0]!r}?"
            if near
            else "Names of your own begin with neither delta. nor lakehouse.",
            near=near,
        )


def interval(text: str) -> int | None:
    """Return an interval in milliseconds; None where it is none, or has months or years.

    >>> interval("interval 1 week 2 days"), interval("36 hours"), interval("a month")
    (777600000, 129600000, None)
    """
    words = text.strip().lower().removeprefix("interval").split()
    total = 0.0
    for count, unit in zip(words[::2], words[1::2], strict=False):
        size = _UNITS.get(unit.removesuffix("s"))
        if size is None or not count.isdecimal():
            return None
        total += int(count) * size
    return int(total) if words and len(words) % 2 == 0 else None


def size(text: str) -> int | None:
    """Return a number of bytes; None where it is none.

    >>> size("128mb"), size("1048576"), size("much")
    (134217728, 1048576, None)
    """
    match = _SIZE.fullmatch(text.strip().lower())
    shift = _BYTES.get(match[2]) if match else None
    return None if match is None or shift is None else int(match[1]) << shift


def _checked(name: Any, value: Any) -> str:
    if not isinstance(name, str) or not name:
        raise InputError(f"a property's name must be text, not {name!r}")
    if not isinstance(value, str | int | float | bool):
        raise InputError(f"property {name!r} must be text, a number or a boolean")
    check_name(name)
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if name not in _KNOWN:
        return text
    check, expected = _KNOWN[name]
    stored = check(text.strip())
    if stored is None:
        raise InputError(
            f"property {name!r} cannot be {text!r}", next_step=f"It is {expected}", property=name
        )
    return stored


def _boolean(text: str) -> str | None:
    return text.lower() if text.lower() in ("true", "false") else None


def _interval(text: str) -> str | None:
    if interval(text) is None:
        return None
    return text if text.lower().startswith("interval") else f"interval {text}"


def _integer(lowest: int) -> Check:
    def check(text: str) -> str | None:
        if re.fullmatch(r"-?\d{1,18}", text) is None or int(text) < lowest:
            return None
        return str(int(text))

    return check


def _bytes(text: str) -> str | None:
    found = size(text)
    return str(found) if found else None


def _real(text: str) -> str | None:
    return text if re.fullmatch(r"\d{1,12}(\.\d{1,9})?", text) else None


def _share(text: str) -> str | None:
    return text if _real(text) and 0 < float(text) <= 1 else None


def _columns(text: str) -> str | None:
    names = [name.strip() for name in text.split(",")]
    return ",".join(names) if all(names) and len(set(names)) == len(names) <= 4 else None


def _choice(*names: str) -> tuple[Check, str]:
    canonical = {name.lower(): name for name in names}
    return lambda text: canonical.get(text.lower()), f"one of {', '.join(names)}"


def _matching(pattern: str) -> Check:
    return lambda text: text if re.fullmatch(pattern, text) else None


_SWITCH = (_boolean, "true or false")
_TIME = (_interval, "an interval of weeks, days, hours, minutes or seconds: interval 7 days")
_HOURS = r"([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d"
_TEXT: tuple[Check, str] = (lambda text: text, "text")

_KNOWN: Mapping[str, tuple[Check, str]] = MappingProxyType(
    {
        **dict.fromkeys(
            (
                "delta.appendOnly",
                "delta.autoOptimize.optimizeWrite",
                "delta.checkpoint.writeStatsAsJson",
                "delta.checkpoint.writeStatsAsStruct",
                "delta.compatibility.symlinkFormatManifest.enabled",
                "delta.enableChangeDataFeed",
                "delta.enableDeletionVectors",
                "delta.enableExpiredLogCleanup",
                "delta.enableIcebergCompatV1",
                "delta.enableIcebergCompatV2",
                "delta.enableInCommitTimestamps",
                "delta.enableRowTracking",
                "delta.enableTypeWidening",
                "delta.enableVariantShredding",
                "delta.randomizeFilePrefixes",
                "delta.tuneFileSizesForRewrites",
            ),
            _SWITCH,
        ),
        **dict.fromkeys(
            (
                "delta.checkpointRetentionDuration",
                "delta.deletedFileRetentionDuration",
                "delta.logRetentionDuration",
                "delta.setTransactionRetentionDuration",
            ),
            _TIME,
        ),
        "delta.autoOptimize.autoCompact": _choice("true", "false", "auto", "legacy"),
        "delta.checkpointInterval": (_integer(1), "a number of commits, 1 or more"),
        "delta.checkpointPolicy": _choice("classic", "v2"),
        "delta.columnMapping.mode": _choice("none", "name", "id"),
        "delta.dataSkippingNumIndexedCols": (_integer(-1), "a number of columns, or -1 for all"),
        "delta.dataSkippingStatsColumns": _TEXT,
        "delta.isolationLevel": _choice("Serializable", "WriteSerializable", "SnapshotIsolation"),
        "delta.parquet.compression.codec": _choice(
            "uncompressed", "none", "snappy", "gzip", "lz4", "lz4_raw", "zstd"
        ),
        "delta.parquet.format.version": (_matching(r"1\.0\.0|2\.\d+\.\d+"), "1.0.0 or 2.x.y"),
        "delta.randomPrefixLength": (_integer(1), "a number of characters, 1 or more"),
        "delta.targetFileSize": (_bytes, "a number of bytes such as 134217728 or 128mb"),
        "delta.universalFormat.enabledFormats": _TEXT,
        "lakehouse.checkpointLag": (_integer(1), "a number of commits, 1 or more"),
        "lakehouse.clusterBy": (_columns, "one to four columns, separated by commas"),
        "lakehouse.clusterCurve": _choice("zorder", "hilbert", "linear"),
        "lakehouse.clusterGroupSize": (_bytes, "a number of bytes such as 16gb"),
        "lakehouse.demo": _TEXT,
        "lakehouse.minFilesToCompact": (_integer(2), "a number of files, 2 or more"),
        "lakehouse.purgeDeletedShare": (_share, "a share above 0 and up to 1, such as 0.1"),
        "lakehouse.readCost": (_real, "a number, 0 or more"),
        "lakehouse.schemaMode": _choice("strict", "add", "widen"),
        "lakehouse.smallFileSize": (_bytes, "a number of bytes such as 67108864 or 64mb"),
        "lakehouse.upkeep": _SWITCH,
        "lakehouse.upkeepBytes": (_bytes, "a number of bytes such as 10gb"),
        "lakehouse.upkeepCoolDown": _TIME,
        "lakehouse.upkeepJitter": _TIME,
        "lakehouse.upkeepMisfire": _choice("run", "skip"),
        "lakehouse.upkeepPriority": (_integer(0), "a number, 0 or more"),
        "lakehouse.upkeepSeconds": (_integer(1), "a number of seconds, 1 or more"),
        "lakehouse.upkeepSchedule": (
            _matching(r"(interval\s+)?(\d+\s+[A-Za-z]+\s*)+|@[A-Za-z]+|\S+(\s+\S+){4}"),
            "an interval such as 15 minutes, or a cron expression such as 0 3 * * *",
        ),
        "lakehouse.upkeepTimezone": (_matching(r"[A-Za-z0-9_+/-]+"), "such as Europe/Berlin"),
        "lakehouse.upkeepWindows": (
            _matching(rf"{_HOURS}(\s*,\s*{_HOURS})*"),
            "hours of the day in UTC: 22:00-06:00",
        ),
        "lakehouse.writeCost": (_real, "a number, 0 or more"),
    }
)
_PROTOCOL = "Leave it out: a table has the lowest protocol that fits what it uses"
_KEPT = "Leave it out: writers keep it themselves"
_NOT_SET: Mapping[str, str] = MappingProxyType(
    {
        "delta.minReaderVersion": _PROTOCOL,
        "delta.minWriterVersion": _PROTOCOL,
        "delta.ignoreProtocolDefaults": _PROTOCOL,
        "delta.feature.": _PROTOCOL,
        "delta.constraints.": "Add a constraint with table.alter().add_constraint",
        "delta.columnMapping.maxColumnId": _KEPT,
        "delta.inCommitTimestampEnablementVersion": _KEPT,
        "delta.inCommitTimestampEnablementTimestamp": _KEPT,
        "delta.rowTracking.": _KEPT,
        "delta.rowTrackingSuspended": _KEPT,
        "delta.requireCheckpointProtectionBeforeVersion": _KEPT,
        "delta.clusteringColumns": _KEPT,
    }
)
