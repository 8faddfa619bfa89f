"""Table properties: known ones are checked, unknown ones of engines are slips, others are free."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lakehouse
from lakehouse.delta.properties import checked, interval


@pytest.mark.parametrize(
    ("name", "value", "stored"),
    [
        ("delta.appendOnly", True, "true"),
        ("delta.appendOnly", "TRUE", "true"),
        ("delta.checkpointInterval", 5, "5"),
        ("delta.checkpointInterval", "007", "7"),
        ("delta.dataSkippingNumIndexedCols", -1, "-1"),
        ("delta.logRetentionDuration", "30 days", "interval 30 days"),
        ("delta.logRetentionDuration", "interval 1 week", "interval 1 week"),
        ("delta.targetFileSize", "128mb", str(128 << 20)),
        ("delta.isolationLevel", "serializable", "Serializable"),
        ("delta.columnMapping.mode", "none", "none"),
        ("owner.team", "data", "data"),
        ("retries", 3, "3"),
    ],
)
def test_what_is_stored(name, value, stored):
    assert checked({name: value}) == {name: stored}


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("delta.appendOnly", "yes", "true or false"),
        ("delta.checkpointInterval", 0, "1 or more"),
        ("delta.checkpointInterval", "often", "1 or more"),
        ("delta.dataSkippingNumIndexedCols", -2, "-1 for all"),
        ("delta.logRetentionDuration", "1 month", "interval"),
        ("delta.logRetentionDuration", "5", "interval"),
        ("delta.targetFileSize", "big", "128mb"),
        ("delta.columnMapping.mode", "position", "name"),
        ("delta.appendonly", "true", "Did you mean 'delta.appendOnly'"),
        ("delta.enableChangeDataFead", "true", "Did you mean 'delta.enableChangeDataFeed'"),
        ("delta.qqq", "1", "Names of your own"),
        ("lakehouse.qqqqqqqqqqqqqqqq", "1", "Names of your own"),
        ("delta.minReaderVersion", "3", "lowest protocol"),
        ("delta.feature.deletionVectors", "supported", "lowest protocol"),
        ("delta.constraints.c", "a > 0", "add_constraint"),
        ("delta.columnMapping.maxColumnId", "9", "writers keep"),
        ("owner", None, "text, a number or a boolean"),
        ("", "x", "name"),
    ],
)
def test_what_is_refused(name, value, words):
    with pytest.raises(lakehouse.InputError, match=words):
        checked({name: value})


@given(st.dictionaries(st.text(min_size=1).filter(lambda n: not n.startswith(("delta.", "lakehouse."))), st.text()))  # fmt: skip
def test_names_of_the_user_s_own_are_free(properties):
    assert checked(properties) == properties


@given(st.lists(st.tuples(st.integers(0, 99), st.sampled_from([("week", 604800), ("days", 86400), ("Hours", 3600), ("second", 1)])), min_size=1))  # fmt: skip
def test_intervals_add_up(parts):
    text = " ".join(f"{count} {unit}" for count, (unit, _) in parts)
    total = sum(count * seconds for count, (_, seconds) in parts) * 1000
    assert interval(text) == interval(f"INTERVAL {text}") == total


@pytest.mark.parametrize(
    ("properties", "versions", "features"),
    [
        ({}, (1, 2), {"appendOnly", "invariants"}),
        ({"delta.enableChangeDataFeed": True}, (1, 4), {"changeDataFeed"}),
        ({"delta.enableDeletionVectors": True}, (3, 7), {"deletionVectors"}),
        ({"delta.enableTypeWidening": True}, (3, 7), {"typeWidening"}),
        ({"delta.appendOnly": True, "delta.checkpointPolicy": "v2"}, (3, 7), {"appendOnly", "v2Checkpoint"}),
    ],
)  # fmt: skip
def test_a_table_s_protocol_follows_its_properties(tmp_path, properties, versions, features):
    with lakehouse.connect(tmp_path, durable=False) as lake:
        table = lake.create_table("bronze.t", {"n": "BIGINT"}, properties=properties)
        table.append([{"n": 1}])
        table.append([{"n": 2}])
        table.checkpoint()
        if "delta.appendOnly" not in properties:
            table.rewrite([file["path"] for file in table.files().to_pylist()])
            table.overwrite([{"n": 3}, {"n": 4}])
        detail = table.detail()
        assert (detail.min_reader, detail.min_writer) == versions
        assert features <= set(detail.features)
        fresh = lakehouse.connect(tmp_path).table("bronze.t")
        assert len(fresh.read().fetchall()) == 2
