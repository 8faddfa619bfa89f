"""The features of the Delta protocol, in one table: what uses them, and what we do with them.

Source: Delta protocol, "Table Features", "Valid Feature Names in Table Features", "Reader Version
Requirements", "Writer Version Requirements", and the section of each feature.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from lakehouse.delta.schema.fields import Array, Map, Primitive, Struct, Type, fields_of
from lakehouse.delta.schema.mapping import mode_of

INVARIANTS = "delta.invariants"
GENERATED = "delta.generationExpression"
DEFAULT = "CURRENT_DEFAULT"
CONSTRAINT = "delta.constraints."

Uses = Callable[[Mapping[str, str], Struct], bool]


@dataclasses.dataclass(frozen=True, slots=True)
class Feature:
    """Describe one feature.

    ``in_use`` tells from a table's properties and schema whether the table uses it. ``for_readers``
    says that readers must know it too. ``legacy`` are the reader and writer versions below table
    features that imply it. ``idle`` says that it asks nothing of a writer while it is not in use,
    so that a protocol that merely lists it is no obstacle. ``reads`` and ``writes`` say what this
    release does; ``needs`` are the features that have to stand beside it.
    """

    name: str
    in_use: Uses
    for_readers: bool = False
    legacy: tuple[int, int] | None = None
    idle: bool = False
    reads: bool = True
    writes: bool = False
    needs: tuple[str, ...] = ()


def is_on(configuration: Mapping[str, str], name: str) -> bool:
    """Tell whether a boolean property is set to true.

    >>> is_on({"delta.appendOnly": "TRUE"}, "delta.appendOnly")
    True
    """
    return configuration.get(name, "").strip().lower() == "true"


def required(schema: Struct, configuration: Mapping[str, str]) -> frozenset[str]:
    """Return the names of the features that a table of this schema and these properties needs."""
    names = {name for name, found in FEATURES.items() if found.in_use(configuration, schema)}
    return frozenset(names.union(*(FEATURES[name].needs for name in names)))


def _never(_: Mapping[str, str], __: Struct) -> bool:
    """Tell nothing: such a feature is on because the protocol lists it, not by a property."""
    return False


def _property(name: str) -> Uses:
    return lambda configuration, _: is_on(configuration, name)


def _metadata(*starts: str) -> Uses:
    return lambda _, schema: any(
        key.startswith(starts) for field in fields_of(schema) for key in field.metadata
    )


def _has_type(name: str) -> Uses:
    wanted = Primitive(name)

    def holds(type_: Type) -> bool:
        match type_:
            case Array(element):
                return holds(element)
            case Map(key, value):
                return holds(key) or holds(value)
            case _:
                return type_ == wanted

    return lambda _, schema: any(holds(field.type) for field in fields_of(schema))


def _either(*uses: Uses) -> Uses:
    return lambda configuration, schema: any(use(configuration, schema) for use in uses)


def _not_null(_: Mapping[str, str], schema: Struct) -> bool:
    return any(not field.nullable for field in fields_of(schema))


def _constrained(configuration: Mapping[str, str], _: Struct) -> bool:
    return any(name.startswith(CONSTRAINT) for name in configuration)


def _mapped(configuration: Mapping[str, str], _: Struct) -> bool:
    return mode_of(configuration) != "none"


def _v2_policy(configuration: Mapping[str, str], _: Struct) -> bool:
    return configuration.get("delta.checkpointPolicy", "classic").lower() == "v2"


def _table(*features: Feature) -> Mapping[str, Feature]:
    return MappingProxyType({feature.name: feature for feature in features})


_both: Mapping[str, Any] = MappingProxyType({"for_readers": True})
_refused: Mapping[str, Any] = MappingProxyType({"for_readers": True, "reads": False})
_DOMAINS = ("domainMetadata",)

FEATURES: Mapping[str, Feature] = _table(
    # What the old version numbers imply.
    Feature("appendOnly", _property("delta.appendOnly"), legacy=(1, 2), idle=True, writes=True),
    Feature("invariants", _either(_metadata(INVARIANTS), _not_null), legacy=(1, 2), idle=True, writes=True),
    Feature("checkConstraints", _constrained, legacy=(1, 3), idle=True, writes=True),
    Feature("changeDataFeed", _property("delta.enableChangeDataFeed"), legacy=(1, 4), idle=True, writes=True),
    Feature("generatedColumns", _metadata(GENERATED), legacy=(1, 4), idle=True, writes=True),
    Feature("columnMapping", _mapped, legacy=(2, 5), idle=True, writes=True, **_both),
    Feature("identityColumns", _metadata("delta.identity."), legacy=(1, 6), idle=True),
    # Readers and writers must know these.
    Feature("deletionVectors", _property("delta.enableDeletionVectors"), writes=True, **_both),
    Feature("timestampNtz", _has_type("timestamp_ntz"), writes=True, **_both),
    Feature("typeWidening", _either(_property("delta.enableTypeWidening"), _metadata("delta.typeChanges")), writes=True, **_both),
    Feature("typeWidening-preview", _never, writes=True, **_both),
    # Classic checkpoints of one file stay allowed beside it; parts do not, and we write none.
    Feature("v2Checkpoint", _v2_policy, writes=True, **_both),
    Feature("vacuumProtocolCheck", _never, writes=True, **_both),
    Feature("catalogManaged", _never, needs=("inCommitTimestamp",), **_refused),
    Feature("catalogOwned-preview", _never, **_refused),
    Feature("redirectReaderWriter-preview", _never, **_refused),
    # The type is refused where a schema has it; delta-rs lists the feature where none does.
    Feature("variantType", _has_type("variant"), writes=True, **_both),
    Feature("variantType-preview", _never, writes=True, **_both),
    Feature("variantShredding", _property("delta.enableVariantShredding"), **_refused),
    Feature("variantShredding-preview", _never, **_refused),
    # Only writers must know these: reading goes on whatever they do.
    Feature("domainMetadata", _never, writes=True),
    Feature("inCommitTimestamp", _property("delta.enableInCommitTimestamps"), writes=True),
    Feature("inCommitTimestamp-preview", _never),
    Feature("allowColumnDefaults", _metadata(DEFAULT), idle=True, writes=True),
    Feature("checkpointProtection", _never),
    Feature("clustering", _never, needs=_DOMAINS),
    Feature("collations", _never),
    Feature("collations-preview", _never),
    Feature("coordinatedCommits-preview", _never),
    Feature("icebergCompatV1", _property("delta.enableIcebergCompatV1"), idle=True, needs=("columnMapping",)),
    Feature("icebergCompatV2", _property("delta.enableIcebergCompatV2"), idle=True, needs=("columnMapping",)),
    Feature("icebergCompatV3", _property("delta.enableIcebergCompatV3"), needs=("columnMapping",)),
    Feature("icebergWriterCompatV1", _property("delta.enableIcebergWriterCompatV1")),
    Feature("icebergWriterCompatV3", _property("delta.enableIcebergWriterCompatV3")),
    Feature("materializePartitionColumns", _never),
    Feature("redirectWriterOnly-preview", _never),
    Feature("rowTracking", _property("delta.enableRowTracking"), needs=_DOMAINS),
)  # fmt: skip
