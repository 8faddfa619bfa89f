"""The protocol gate: the lowest that fits, upgraded when a column needs it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lakehouse
from lakehouse.delta import protocol as rules
from lakehouse.delta.actions import Protocol
from lakehouse.delta.schema import Array, Field, Primitive, Struct

NTZ = Struct((Field("a", Array(Primitive("timestamp_ntz"))),))
PLAIN = Struct((Field("a", Primitive("long")),))
names = st.frozensets(st.sampled_from(sorted(rules.READ_FEATURES | {"rowTracking", "unheard"})))


@given(readers=names, writers=names)
def test_a_reader_is_stopped_by_exactly_the_features_that_it_does_not_know(readers, writers):
    protocol = Protocol(3, 7, readers, readers | writers)
    unknown = readers - rules.READ_FEATURES
    if unknown:
        with pytest.raises(lakehouse.UnsupportedError) as caught:
            rules.check_readable(protocol)
        assert all(name in str(caught.value) for name in unknown)
    else:
        rules.check_readable(protocol)


@given(
    version=st.sampled_from([(1, 1), (1, 2), (1, 4), (2, 5)]), schema=st.sampled_from([NTZ, PLAIN])
)
def test_an_upgrade_keeps_what_the_old_version_implied(version, schema):
    before = Protocol(*version)
    after = rules.upgraded(before, schema)
    assert rules.writer_features(before) <= rules.writer_features(after)
    assert rules.reader_features(before) <= rules.reader_features(after)
    assert ("timestampNtz" in rules.writer_features(after)) == (schema is NTZ)
    assert rules.upgraded(after, schema) == after


def test_a_new_table_has_the_lowest_protocol_that_fits():
    assert rules.protocol_for(PLAIN, {}) == Protocol(1, 2)
    assert rules.protocol_for(NTZ, {}).reader_features == frozenset(("timestampNtz",))


def test_a_legacy_writer_version_is_refused_only_for_what_the_table_uses():
    rules.check_writable(Protocol(1, 4), {}, PLAIN)
    with pytest.raises(lakehouse.UnsupportedError, match="changeDataFeed"):
        rules.check_writable(Protocol(1, 4), {"delta.enableChangeDataFeed": "true"}, PLAIN)


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
