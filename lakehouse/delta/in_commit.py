"""In-commit timestamps: commits that carry their own time, which only ever grows.

Source: Delta protocol, "In-Commit Timestamps". Pure: the clock and the commit before are arguments.
"""

from __future__ import annotations

import bisect
import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

from lakehouse.delta import actions as act
from lakehouse.delta.features import is_on

ENABLED = "delta.enableInCommitTimestamps"
ENABLED_VERSION = "delta.inCommitTimestampEnablementVersion"
ENABLED_TIME = "delta.inCommitTimestampEnablementTimestamp"
_SINCE = (ENABLED_VERSION, ENABLED_TIME)


@dataclasses.dataclass(frozen=True, slots=True)
class Table:
    """Hold what decides whether the next commit has a timestamp: the table before it."""

    metadata: act.Metadata | None = None
    protocol: act.Protocol | None = None

    @property
    def is_enabled(self) -> bool:
        """Tell whether commits carry their time: by the property, which the feature must back."""
        if self.metadata is None or self.protocol is None:
            return False
        features = self.protocol.writer_features or frozenset()
        return is_on(self.metadata.configuration, ENABLED) and "inCommitTimestamp" in features

    def after(self, actions: Iterable[act.Action]) -> Table:
        """Return the table after a commit."""
        found = self
        for action in actions:
            if isinstance(action, act.Metadata):
                found = dataclasses.replace(found, metadata=action)
            elif isinstance(action, act.Protocol):
                found = dataclasses.replace(found, protocol=action)
        return found


def time_of(actions: Iterable[act.Action]) -> int | None:
    """Return a commit's own time in milliseconds, where it carries one."""
    for action in actions:
        if isinstance(action, act.CommitInfo):
            value = action.values.get("inCommitTimestamp")
            return value if isinstance(value, int) and not isinstance(value, bool) else None
    return None


def stamped(
    before: Table,
    actions: tuple[act.Action, ...],
    *,
    version: int,
    previous: int | None,
    now: int,
) -> tuple[int | None, tuple[act.Action, ...]]:
    """Return a commit's time, or None where it carries none, and its actions.

    ``previous`` is the time of the commit before: its own, or that of its file. The commit that
    enables the times on a table with history says so in the table's properties.
    """
    after = before.after(actions)
    if not after.is_enabled:
        return None, actions
    time = now if previous is None else max(now, previous + 1)
    since: Mapping[str, str] = {}
    if before.is_enabled and before.metadata is not None:
        configuration = before.metadata.configuration
        since = {name: configuration[name] for name in _SINCE if name in configuration}
    elif version > 0:
        since = {ENABLED_VERSION: str(version), ENABLED_TIME: str(time)}
    return time, tuple(
        _with(action, since) if isinstance(action, act.Metadata) else action for action in actions
    )


def kept(before: Mapping[str, str], configuration: Mapping[str, str]) -> Mapping[str, str]:
    """Return other properties for a table, with its commit times going on as they are.

    They belong to the log and not to a version: bringing an old version back must not end them.
    """
    others = {name: value for name, value in configuration.items() if name not in _OWN}
    return MappingProxyType({**others, **{n: before[n] for n in _OWN if n in before}})


def newest_at(
    moment: float,
    versions: Sequence[int],
    *,
    configuration: Mapping[str, str],
    files: Callable[[Sequence[int]], Sequence[int]],
    own: Callable[[int], int],
) -> int | None:
    """Return the newest version at a moment (milliseconds), or None where all are later.

    ``versions`` are those of the log, in order. ``files`` gives the file times of versions, each
    later than the one before; ``own`` a version's own time, and is asked a few times only.
    """
    if not is_on(configuration, ENABLED):
        return _newest(moment, versions, files(versions))
    first = _number(configuration.get(ENABLED_VERSION))
    since = _number(configuration.get(ENABLED_TIME))
    if first is not None and since is not None:
        split = bisect.bisect_left(versions, first)
        if moment < since:
            return _newest(moment, versions[:split], files(versions[:split]))
        versions = versions[split:]
    # The own times grow with the version, so that a search reads few commits.
    found = bisect.bisect_right(versions, moment, key=own)
    return versions[found - 1] if found else None


_OWN = (ENABLED, *_SINCE)


def _newest(moment: float, versions: Sequence[int], times: Sequence[int]) -> int | None:
    found = bisect.bisect_right(times, moment)
    return versions[found - 1] if found else None


def _with(metadata: act.Metadata, since: Mapping[str, str]) -> act.Metadata:
    others = {n: v for n, v in metadata.configuration.items() if n not in _SINCE}
    configuration = MappingProxyType({**others, **since})
    if configuration == metadata.configuration:
        return metadata
    return dataclasses.replace(metadata, configuration=configuration)


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None
