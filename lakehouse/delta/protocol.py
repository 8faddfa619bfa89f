"""Say which tables we read and write: a gate by protocol version and feature name.

Source: Delta protocol, "Requirements for Readers", "Requirements for Writers", "Valid Feature
Names in Table Features". The gate is pure and runs before any work.
"""

from __future__ import annotations

from collections.abc import Mapping

from catalog.errors import UnsupportedError
from lakehouse.delta.actions import Protocol
from lakehouse.delta.schema import Array, Map, Primitive, Struct, Type

READ_FEATURES = frozenset(
    (
        "columnMapping",
        "deletionVectors",
        "timestampNtz",
        "v2Checkpoint",
        "vacuumProtocolCheck",
        "typeWidening",
        "typeWidening-preview",
    )
)
WRITE_FEATURES = frozenset(("appendOnly", "invariants", "timestampNtz", "vacuumProtocolCheck"))
# What writer versions 2 to 7 imply (protocol, "Writer Version Requirements").
_LEGACY_WRITER: tuple[tuple[int, str], ...] = (
    (2, "appendOnly"),
    (2, "invariants"),
    (3, "checkConstraints"),
    (4, "changeDataFeed"),
    (4, "generatedColumns"),
    (5, "columnMapping"),
    (6, "identityColumns"),
)


def reader_features(protocol: Protocol) -> frozenset[str]:
    """Return the features that a reader must know."""
    if protocol.min_reader >= 3:
        return protocol.reader_features or frozenset()
    return frozenset(("columnMapping",)) if protocol.min_reader == 2 else frozenset()


def writer_features(protocol: Protocol) -> frozenset[str]:
    """Return the features that a writer must know."""
    if protocol.min_writer >= 7:
        return protocol.writer_features or frozenset()
    return frozenset(name for version, name in _LEGACY_WRITER if protocol.min_writer >= version)


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

    Legacy writer versions imply features that a table may not use; only those that its
    properties or schema really use are refused.
    """
    check_readable(protocol)
    if protocol.min_writer > 7:
        raise UnsupportedError(
            f"the table needs Delta writer version {protocol.min_writer}; this release knows 7",
            next_step="Upgrade lakehouse-storage",
        )
    needed = writer_features(protocol) - WRITE_FEATURES
    used = _features_in_use(configuration, schema)
    legacy = frozenset(name for _, name in _LEGACY_WRITER)
    if protocol.min_writer < 7:
        needed = frozenset(name for name in needed if name in used)
    else:
        needed = frozenset(name for name in needed if name not in legacy or name in used)
    if "invariants" in used:
        needed |= {"invariants"}
    _refuse(needed, "write")


def protocol_for(schema: Struct, configuration: Mapping[str, str]) -> Protocol:
    """Return the lowest protocol that fits a new table."""
    if _uses_ntz(schema):
        return Protocol(
            3, 7, frozenset(("timestampNtz",)),
            frozenset(("timestampNtz",)) | ({"appendOnly"} if _append_only(configuration) else set()),
        )  # fmt: skip
    return Protocol(1, 2)


def upgraded(protocol: Protocol, schema: Struct, configuration: Mapping[str, str]) -> Protocol:
    """Return the lowest protocol that fits a table once it has this schema.

    Features that the old version numbers imply are listed by name, as the protocol wants it.
    """
    if not _uses_ntz(schema) or "timestampNtz" in writer_features(protocol):
        return protocol
    ntz = frozenset(("timestampNtz",))
    return Protocol(3, 7, reader_features(protocol) | ntz, writer_features(protocol) | ntz)


def _append_only(configuration: Mapping[str, str]) -> bool:
    return configuration.get("delta.appendOnly", "").lower() == "true"


def _features_in_use(configuration: Mapping[str, str], schema: Struct) -> frozenset[str]:
    used: set[str] = set()
    if any(key.startswith("delta.constraints.") for key in configuration):
        used.add("checkConstraints")
    if configuration.get("delta.enableChangeDataFeed", "").lower() == "true":
        used.add("changeDataFeed")
    if configuration.get("delta.columnMapping.mode", "none") != "none":
        used.add("columnMapping")
    for metadata in _all_metadata(schema):
        if "delta.invariants" in metadata:
            used.add("invariants")
        if "delta.generationExpression" in metadata:
            used.add("generatedColumns")
        if any(key.startswith("delta.identity.") for key in metadata):
            used.add("identityColumns")
    return frozenset(used)


def _all_metadata(type_: Type) -> list[Mapping[str, object]]:
    match type_:
        case Struct(fields):
            return [f.metadata for f in fields] + [m for f in fields for m in _all_metadata(f.type)]
        case Array(element):
            return _all_metadata(element)
        case Map(key, value):
            return _all_metadata(key) + _all_metadata(value)
        case _:
            return []


def _uses_ntz(type_: Type) -> bool:
    match type_:
        case Struct(fields):
            return any(_uses_ntz(field.type) for field in fields)
        case Array(element):
            return _uses_ntz(element)
        case Map(key, value):
            return _uses_ntz(key) or _uses_ntz(value)
        case _:
            return type_ == Primitive("timestamp_ntz")


def _refuse(features: frozenset[str], verb: str) -> None:
    if features:
        names = ", ".join(sorted(features))
        raise UnsupportedError(
            f"cannot {verb} this table: it uses {names}",
            next_step=f"{verb} it with an engine that supports {names}",
            features=tuple(sorted(features)),
        )
