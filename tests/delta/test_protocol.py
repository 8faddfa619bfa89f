"""The protocol gate: the lowest that fits, upgraded when the table needs more, never lowered."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lakehouse
from lakehouse.delta import protocol as rules
from lakehouse.delta.actions import Protocol
from lakehouse.delta.features import FEATURES, required
from lakehouse.delta.schema.fields import Array, Field, Map, Primitive, Struct

NTZ = Struct((Field("a", Array(Primitive("timestamp_ntz"))),))
PLAIN = Struct((Field("a", Primitive("long")),))
READERS = frozenset(name for name, feature in FEATURES.items() if feature.for_readers)
half = settings(max_examples=settings().max_examples // 2)
LEGACY = [(1, 1), (1, 2), (1, 3), (1, 4), (1, 5), (2, 5), (1, 6), (2, 6)]
names = st.frozensets(st.sampled_from([*FEATURES, "unheard"]))
types = st.recursive(
    st.sampled_from([Primitive("long"), Primitive("string"), Primitive("timestamp_ntz")]),
    lambda inner: st.one_of(
        inner.map(Array),
        inner.map(lambda t: Map(t, t)),
        inner.map(lambda t: Struct((Field("f", t),))),
    ),
    max_leaves=2,
)
EXPRESSION = json.dumps({"expression": {"expression": "a > 3"}})
metadata = st.sampled_from(
    [
        {},
        {},
        {"comment": "x"},
        {"delta.invariants": EXPRESSION},
        {"delta.generationExpression": "1"},
        {"delta.typeChanges": []},
        {"delta.identity.start": 1},
        {"CURRENT_DEFAULT": "1"},
    ]
)
schemas = st.lists(st.builds(Field, st.just("a"), types, st.booleans(), metadata), min_size=1, max_size=3).map(
    lambda fields: Struct(tuple(fields))
)  # fmt: skip
properties = st.dictionaries(
    st.sampled_from(
        [
            "delta.appendOnly",
            "delta.constraints.c",
            "delta.enableChangeDataFeed",
            "delta.enableDeletionVectors",
            "delta.enableInCommitTimestamps",
            "delta.enableTypeWidening",
            "delta.enableRowTracking",
            "delta.enableIcebergCompatV2",
            "owner",
        ]
    ),
    st.sampled_from(["true", "false", "TRUE"]),
    max_size=4,
).flatmap(
    lambda found: st.sampled_from(["none", "name", "id"]).map(
        lambda mode: {**found, "delta.columnMapping.mode": mode}
    )
)
protocols = st.one_of(
    st.sampled_from(LEGACY).map(lambda versions: Protocol(*versions)),
    names.map(lambda found: Protocol(3, 7, found & READERS, found)),
    names.map(lambda found: Protocol(1, 7, None, found - READERS)),
    names.map(lambda found: Protocol(2, 7, None, found - READERS | {"columnMapping"})),
)


def is_writable(protocol, configuration, schema):
    try:
        rules.check_writable(protocol, configuration, schema)
    except lakehouse.UnsupportedError:
        return False
    return True


def is_legal(protocol):
    """Protocol, "Table Features for New and Existing Tables" and "Supported Features"."""
    readers, writers = protocol.reader_features, protocol.writer_features
    if (readers is not None) != (protocol.min_reader == 3):
        return False
    if (writers is not None) != (protocol.min_writer == 7):
        return False
    return protocol.min_reader < 3 or (protocol.min_writer == 7 and readers <= writers)


@given(readers=names)
def test_a_reader_is_stopped_by_exactly_the_features_that_it_does_not_know(readers):
    protocol = Protocol(3, 7, readers, readers)
    unknown = readers - rules.READ_FEATURES
    if unknown:
        with pytest.raises(lakehouse.UnsupportedError) as caught:
            rules.check_readable(protocol)
        assert caught.value.features == tuple(sorted(unknown))
        assert all(name in str(caught.value) for name in unknown)
    else:
        rules.check_readable(protocol)


@given(writers=names)
def test_features_for_writers_only_stop_no_reader(writers):
    rules.check_readable(Protocol(1, 7, None, writers - READERS))


@half
@given(writers=names, configuration=properties, schema=schemas)
def test_a_writer_is_stopped_by_what_it_does_not_write(writers, configuration, schema):
    protocol = Protocol(3, 7, writers & READERS & rules.READ_FEATURES, writers - READERS)
    used = required(schema, configuration)
    stopping = {
        name
        for name in writers - READERS - rules.WRITE_FEATURES
        if name not in FEATURES or not FEATURES[name].idle or name in used
    }
    if stopping:
        assert not is_writable(protocol, configuration, schema)


@half
@given(before=protocols, configuration=properties, schema=schemas)
def test_an_upgrade_fits_keeps_everything_and_happens_once(before, configuration, schema):
    after = rules.upgraded(before, schema, configuration)
    assert is_legal(after)
    assert after.min_reader >= before.min_reader
    assert after.min_writer >= before.min_writer
    assert rules.reader_features(before) <= rules.reader_features(after)
    assert rules.writer_features(before) <= rules.writer_features(after)
    needed = required(schema, configuration)
    if "typeWidening-preview" in rules.writer_features(before):
        needed -= {"typeWidening"}  # the same under its older name
    assert needed <= rules.writer_features(after)
    assert needed & READERS <= rules.reader_features(after)
    assert rules.upgraded(after, schema, configuration) == after
    # What we may write, and may write the new features of, we may write afterwards.
    new = needed - rules.writer_features(before)
    assert is_writable(after, configuration, schema) == (
        is_writable(before, configuration, schema) and new <= rules.WRITE_FEATURES
    )


@half
@given(before=protocols, first=properties, second=properties, schema=schemas, other=schemas)
def test_upgrades_are_monotone(before, first, second, schema, other):
    once = rules.upgraded(before, schema, first)
    twice = rules.upgraded(once, other, second)
    assert rules.writer_features(once) <= rules.writer_features(twice)
    assert rules.reader_features(once) <= rules.reader_features(twice)


@half
@given(configuration=properties, schema=schemas)
def test_a_new_table_has_the_lowest_protocol_that_fits(configuration, schema):
    made = rules.protocol_for(schema, configuration)
    needed = required(schema, configuration)
    assert is_legal(made)
    assert rules.upgraded(made, schema, configuration) == made
    if made.min_writer == 7:
        assert made.writer_features == needed
        assert rules.reader_features(made) == needed & READERS
    else:
        # No lower version implies all that is needed.
        for versions in LEGACY:
            if versions[0] <= made.min_reader and 2 <= versions[1] < made.min_writer:
                assert not needed <= rules.writer_features(Protocol(*versions))


@pytest.mark.parametrize(
    ("configuration", "schema", "expected"),
    [
        ({}, PLAIN, Protocol(1, 2)),
        ({"delta.appendOnly": "true"}, PLAIN, Protocol(1, 2)),
        ({"delta.constraints.c": "a > 0"}, PLAIN, Protocol(1, 3)),
        ({"delta.enableChangeDataFeed": "true"}, PLAIN, Protocol(1, 4)),
        ({"delta.columnMapping.mode": "name"}, PLAIN, Protocol(2, 5)),
        ({"delta.enableInCommitTimestamps": "true"}, PLAIN, Protocol(1, 7, None, frozenset({"inCommitTimestamp"}))),
        ({}, NTZ, Protocol(3, 7, frozenset({"timestampNtz"}), frozenset({"timestampNtz"}))),
        (
            {"delta.columnMapping.mode": "id", "delta.enableInCommitTimestamps": "true"},
            PLAIN,
            Protocol(2, 7, None, frozenset({"columnMapping", "inCommitTimestamp"})),
        ),
    ],
)  # fmt: skip
def test_new_tables(configuration, schema, expected):
    assert rules.protocol_for(schema, configuration) == expected


def test_what_version_4_implies_is_listed_by_name():
    after = rules.upgraded(Protocol(1, 4), NTZ, {})
    assert rules.reader_features(after) == frozenset(("timestampNtz",))
    assert rules.writer_features(after) == frozenset((
        "appendOnly", "invariants", "checkConstraints", "changeDataFeed", "generatedColumns",
        "timestampNtz",
    ))  # fmt: skip


def test_a_legacy_writer_version_is_refused_only_for_what_the_table_uses():
    identity = Struct((Field("a", Primitive("long"), True, {"delta.identity.start": 1}),))
    rules.check_writable(Protocol(1, 6), {}, PLAIN)
    with pytest.raises(lakehouse.UnsupportedError, match="identityColumns"):
        rules.check_writable(Protocol(1, 6), {}, identity)


def test_adding_a_column_without_time_zone_upgrades_the_table(tmp_path):
    with lakehouse.connect(tmp_path, durable=False) as lake:
        table = lake.create_table("bronze.t", {"n": "BIGINT"})
        table.append([{"n": 1}])
        rows = lake.sql("SELECT 2::BIGINT AS n, TIMESTAMP '2024-01-01' AS t")
        table.append(rows, schema_mode="add")
        detail = table.detail()
        assert (detail.min_reader, detail.min_writer) == (3, 7)
        assert {"timestampNtz", "appendOnly", "invariants"} <= set(detail.features)
        assert table.to_deltalake().version() == table.version
        assert [row[0] for row in table.read(where="t IS NULL").fetchall()] == [1]
