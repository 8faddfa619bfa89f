"""Say which tables we read and write, and which protocol a table needs: a gate by feature name.

Source: Delta protocol, "Requirements for Readers", "Requirements for Writers", "Table Features for
New and Existing Tables". The gate is pure and runs before any work; what each feature is stands in
`lakehouse.delta.features`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from catalog.errors import UnsupportedError
from lakehouse.delta.actions import Protocol
from lakehouse.delta.features import FEATURES, required
from lakehouse.delta.schema.fields import Struct

READ_FEATURES = frozenset(name for name, feature in FEATURES.items() if feature.reads)
WRITE_FEATURES = frozenset(name for name, feature in FEATURES.items() if feature.writes)
_READERS = frozenset(name for name, feature in FEATURES.items() if feature.for_readers)
_LEGACY = {name: feature.legacy for name, feature in FEATURES.items() if feature.legacy}
_FLOOR = Protocol(1, 2)  # what Spark and delta-rs give a plain table, too


def reader_features(protocol: Protocol) -> frozenset[str]:
    """Return the features that a reader must know."""
    if protocol.min_reader >= 3:
        return protocol.reader_features or frozenset()
    return frozenset(
        name for name in _LEGACY.keys() & _READERS if protocol.min_reader >= _LEGACY[name][0]
    )


def writer_features(protocol: Protocol) -> frozenset[str]:
    """Return the features that a writer must know."""
    if protocol.min_writer >= 7:
        return protocol.writer_features or frozenset()
    return frozenset(name for name, (_, writer) in _LEGACY.items() if protocol.min_writer >= writer)


def check_readable(protocol: Protocol) -> None:
    """Raise UnsupportedError, by feature name, for a table that we must not read."""
    if protocol.min_reader > 3:
        raise UnsupportedError(
            f"the table needs Delta reader version {protocol.min_reader}; this release knows 3",
            next_step="Upgrade lakehouse-storage",
        )
    _refuse(reader_features(protocol) - READ_FEATURES, "read")


def check_writable(protocol: Protocol, configuration: Mapping[str, str], schema: Struct) -> None:
    """Raise UnsupportedError, by feature name, for a table that we must not write.

    Legacy writer versions imply features that a table may not use, and a protocol may list some
    that ask nothing while they are not in use; of these, only those in use are refused.
    """
    check_readable(protocol)
    if protocol.min_writer > 7:
        raise UnsupportedError(
            f"the table needs Delta writer version {protocol.min_writer}; this release knows 7",
            next_step="Upgrade lakehouse-storage",
        )
    used = required(schema, configuration)
    refused = {
        name
        for name in writer_features(protocol) - WRITE_FEATURES
        if name in used or name not in FEATURES or not FEATURES[name].idle
    }
    _refuse(refused, "write")


def protocol_for(schema: Struct, configuration: Mapping[str, str]) -> Protocol:
    """Return the lowest protocol that fits a new table."""
    found = upgraded(Protocol(1, 1), schema, configuration)
    return _FLOOR if found == Protocol(1, 1) else found


def upgraded(protocol: Protocol, schema: Struct, configuration: Mapping[str, str]) -> Protocol:
    """Return the lowest protocol at or above a table's that fits this schema and these properties.

    No feature is ever dropped. On the way to table features, those that the old version numbers
    imply are listed by name: older versions of the table may have used them.
    """
    needed = required(schema, configuration)
    writers, readers = writer_features(protocol), reader_features(protocol)
    if "typeWidening-preview" in writers:
        needed -= {"typeWidening"}
    if needed <= writers and needed & _READERS <= readers:
        return protocol
    writers, readers = writers | needed, readers | ((writers | needed) & _READERS)
    reader = max([protocol.min_reader, *(_LEGACY[name][0] for name in readers & _LEGACY.keys())])
    if protocol.min_writer < 7 and writers <= _LEGACY.keys():
        return Protocol(reader, max(protocol.min_writer, *(_LEGACY[name][1] for name in needed)))
    if reader >= 3 or not readers <= _LEGACY.keys():
        return Protocol(3, 7, readers, writers)
    return Protocol(reader, 7, None, writers)


def _refuse(features: Iterable[str], verb: str) -> None:
    if features := tuple(sorted(features)):
        names = ", ".join(features)
        raise UnsupportedError(
            f"cannot {verb} this table: it uses {names}",
            next_step=f"{verb} it with an engine that supports {names}",
            features=features,
        )
