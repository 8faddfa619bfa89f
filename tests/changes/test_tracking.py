"""What changed elsewhere arrives right, in any order, again and again: against brute force."""

import datetime as dt
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

import lakehouse
from tests.types.engines import effort, new_table

FEED = {"delta.enableChangeDataFeed": True}
VECTORS = {"delta.enableDeletionVectors": True}
PROPERTIES = st.sampled_from([{}, {**FEED, **VECTORS}, {"delta.columnMapping.mode": "name"}])
ACCOUNTS = {"id": "BIGINT", "part": "VARCHAR", "name": "VARCHAR", "lsn": "BIGINT"}

Event = dict[str, Any]


@st.composite
def feeds(draw) -> list[list[Event]]:
    """Draw events of few keys, each with a sequence of its own, in batches in any order."""
    events = [
        {"op": op, "id": key, "part": "ab"[key % 2], "name": name, "lsn": lsn}
        for lsn, (key, op, name) in enumerate(
            draw(
                st.lists(
                    st.tuples(
                        st.integers(0, 3), st.sampled_from("cud"), st.sampled_from(["x", "y", None])
                    ),
                    min_size=1,
                    max_size=10,
                )
            )
        )
    ]
    shuffled = draw(st.permutations(events + draw(st.lists(st.sampled_from(events), max_size=3))))
    batches: list[list[Event]] = [[]]
    for one in shuffled:
        if batches[-1] and draw(st.booleans()):
            batches.append([])
        batches[-1].append(one)
    return batches


def newest(events) -> dict[int, Event]:
    found: dict[int, Event] = {}
    for one in events:
        if one["id"] not in found or found[one["id"]]["lsn"] < one["lsn"]:
            found[one["id"]] = one
    return found


@effort(0.1)
@given(batches=feeds(), properties=PROPERTIES, partition_by=st.sampled_from([(), ("part",)]))
def test_the_newest_event_of_each_key_holds_in_whatever_order(
    lake, batches, properties, partition_by
):
    table = new_table(lake, ACCOUNTS, properties=properties, partition_by=partition_by)
    seen: list[Event] = []
    for batch in batches:
        table.apply_changes(batch, key="id", sequence="lsn", deletes="op = 'd'")
        seen += batch
        rows = {row["id"]: row for row in table.read().to_arrow_table().to_pylist()}
        expected = newest(seen)
        assert rows.keys() == expected.keys()
        for key, one in expected.items():
            gone = one["op"] == "d"
            event(f"deleted: {gone}")
            name = None if gone else one["name"]
            kept = rows[key]["lsn"], rows[key]["name"], rows[key]["_deleted"]
            assert kept == (one["lsn"], name, gone)
    version = table.version
    table.apply_changes(seen, key="id", sequence="lsn", deletes="op = 'd'")
    assert table.version == version


@effort(0.05)
@given(batches=feeds())
def test_without_tombstones_events_in_order_are_right(lake, batches):
    table = new_table(lake, ACCOUNTS)
    seen: list[Event] = []
    for one in sorted((e for batch in batches for e in batch), key=lambda e: e["lsn"]):
        table.apply_changes([one], key="id", sequence="lsn", deletes="op = 'd'", tombstone=None)
        seen.append(one)
    expected = {(e["id"], e["name"]) for e in newest(seen).values() if e["op"] != "d"}
    assert set(table.read(columns=["id", "name"]).fetchall()) == expected
    assert table.schema.names == list(ACCOUNTS)


def test_events_that_cannot_be_applied(lake):
    table = new_table(lake, ACCOUNTS)
    table.alter().set_not_null("part")
    good = {"op": "c", "id": 1, "part": "a", "name": "x", "lsn": 1}

    def apply(*events, **options):
        options = {"key": "id", "sequence": "lsn", "deletes": "op = 'd'", **options}
        return table.apply_changes(list(events), **options)

    apply(good)
    version = table.version
    for wrong, says in [
        ({**good, "lsn": None}, "lsn"), ({**good, "id": None}, "NULL"),
        ({**good, "extra": 1, "lsn": 2}, "extra"), ({**good, "part": None, "lsn": 2}, "part"),
    ]:  # fmt: skip
        with pytest.raises(lakehouse.DataError, match=says):
            apply(good, wrong)
    with pytest.raises(lakehouse.DataError, match="several rows"):
        apply({**good, "lsn": 5}, {**good, "lsn": 5, "name": "y"})
    for options, says in [
        ({"key": "no"}, "no"), ({"sequence": "no"}, "no"), ({"deletes": "no = 1"}, "no"),
        ({"deletes": "random() < 1"}, "random"), ({"tombstone": "name"}, "name"),
    ]:  # fmt: skip
        with pytest.raises(lakehouse.InputError, match=says):
            apply(good, **options)
    with pytest.raises(lakehouse.DataError, match="lsn"):
        table.apply_changes([{"id": 1}], key="id", sequence="lsn")
    assert table.version == version
    assert apply({**good, "lsn": 2, "op": "d"}).rows_updated == 1
    assert table.read().fetchall() == [(1, "a", None, 2, True)]  # what must not be NULL stays


def test_jobs_that_apply_one_feed_at_once(tmp_path):
    events = [
        {"op": "d" if n % 7 == 3 else "u", "id": n % 5, "part": "a", "name": f"{n}", "lsn": n}
        for n in range(60)
    ]
    with lakehouse.connect(tmp_path, durable=False) as lake:
        table = lake.create_table("silver.t", {**ACCOUNTS, "_deleted": "BOOLEAN"})

        def apply(start):
            table.apply_changes(events[start::6], key="id", sequence="lsn", deletes="op = 'd'")

        with ThreadPoolExecutor(3) as pool:
            list(pool.map(apply, range(6)))
        rows = {row["id"]: row["lsn"] for row in table.read().to_arrow_table().to_pylist()}
        assert rows == {key: one["lsn"] for key, one in newest(events).items()}
        assert table.detail().rows == 5


HISTORY = {
    "id": "BIGINT", "city": "VARCHAR", "note": "VARCHAR", "valid_from": "INTEGER",
    "valid_to": "INTEGER", "current": "BOOLEAN",
}  # fmt: skip
Points = dict[int, tuple[str | None, str | None]]


def put(points: Points, rows: list[tuple[int, str | None, str | None]]) -> Points:
    """Put rows (time, city, note) into a history of which the city is tracked."""
    made = dict(points)
    for time, city, note in sorted(rows, key=lambda row: row[0]):
        before = [at for at in made if at <= time]
        if not before or made[max(before)][0] != city:
            made[time] = city, note
    kept: Points = {}
    last: Any = object()
    for at in sorted(made):
        if made[at][0] != last:
            kept[at] = made[at]
        last = made[at][0]
    return kept


def periods(history: dict[int, Points]) -> Counter:
    found: Counter = Counter()
    for key, points in history.items():
        times = sorted(points)
        for at, end in zip(times, [*times[1:], None], strict=True):
            found[key, *points[at], at, end, end is None] += 1
    return found


moves = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.integers(0, 6),
        st.sampled_from(["Bonn", "Trier", None]),
        st.sampled_from("pq"),
    ),
    max_size=5,
    unique_by=lambda row: row[:2],
)


@effort(0.12)
@given(batches=st.lists(moves, min_size=1, max_size=4), properties=PROPERTIES)
def test_histories_against_brute_force(lake, batches, properties):
    table = new_table(lake, HISTORY, properties=properties)
    history: dict[int, Points] = {}
    for batch in batches:
        given_ = [{"id": i, "since": t, "city": c, "note": n} for i, t, c, n in batch]
        if not given_:
            continue
        table.scd2(given_, key="id", track="city", effective="since")
        for key in {row[0] for row in batch}:
            own = [row[1:] for row in batch if row[0] == key]
            history[key] = put(history.get(key, {}), own)
        assert Counter(table.read().fetchall()) == periods(history)
        version = table.version
        table.scd2(given_, key="id", track="city", effective="since")
        assert table.version == version
    if FEED.items() <= properties.items() and table.version:
        kinds = table.changes(since=1).select("_change_type").fetchall()
        event(f"feed: {len(kinds) > 0}")


def test_a_late_row_splits_a_period_and_a_correction_replaces_one(lake):
    table = new_table(lake, HISTORY)

    def put_in(time, city):
        return table.scd2(
            [{"id": 1, "city": city, "valid_from": time, "note": None}],
            key="id",
            track=["city"],
            effective="valid_from",
        )

    def cities():
        return sorted(
            row[1:]
            for row in table.read(
                columns=["id", "city", "valid_from", "valid_to", "current"]
            ).fetchall()
        )

    put_in(10, "Bonn")
    put_in(30, "Trier")
    report = put_in(20, "Ulm")
    assert (report.rows_inserted, report.rows_updated) == (1, 1)
    assert cities() == [("Bonn", 10, 20, False), ("Trier", 30, None, True), ("Ulm", 20, 30, False)]
    report = put_in(20, "Trier")  # corrected: and so Trier began earlier
    assert cities() == [("Bonn", 10, 20, False), ("Trier", 20, None, True)]
    put_in(5, "Trier")
    assert cities() == [("Bonn", 10, 20, False), ("Trier", 5, 10, False), ("Trier", 20, None, True)]


def test_types_and_rows_that_do_not_fit_a_history(lake):
    schema = {**HISTORY, "valid_from": "TIMESTAMPTZ", "valid_to": "TIMESTAMPTZ"}
    table = new_table(lake, schema, properties={"delta.columnMapping.mode": "name"})
    table.alter().rename_column("city", "town")
    start = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    row = {"id": 1, "town": "Bonn", "note": "n", "at": start}
    put_in: dict[str, Any] = {"key": ["id"], "effective": "at"}
    table.scd2([row], **put_in)
    table.scd2([{**row, "note": "m", "at": start + dt.timedelta(1)}], **put_in)
    assert sorted(table.read().select("note, valid_from, valid_to").fetchall()) == [
        ("m", start + dt.timedelta(1), None), ("n", start, start + dt.timedelta(1)),
    ]  # fmt: skip
    version = table.version
    for rows, says in [
        ([{**row, "id": None}], "NULL"), ([{**row, "at": None}], "NULL"),
        ([row, {**row, "note": "z"}], "different things"), ([{"id": 1, "at": start}], "town"),
        ([{k: v for k, v in row.items() if k != "at"}], "at"), ([{**row, "id": 1.5}], "id"),
        ([{**row, "extra": 1}], "extra"),
    ]:  # fmt: skip
        with pytest.raises(lakehouse.DataError, match=says):
            table.scd2(rows, **put_in)
    refused: list[tuple[dict[str, Any], str]] = [
        ({"key": "no"}, "no"), ({"track": "no"}, "no"), ({"current": "note"}, "BOOLEAN"),
        ({"valid_to": "valid_from"}, "twice"), ({"track": ["id"]}, "twice"),
    ]  # fmt: skip
    for options, says in refused:
        with pytest.raises(lakehouse.InputError, match=says):
            table.scd2([row], **{**put_in, **options})
    assert table.version == version


def test_histories_that_are_kept_by_two_jobs_at_once(tmp_path):
    with lakehouse.connect(tmp_path, durable=False) as lake:
        table = lake.create_table("gold.t", HISTORY)

        def put_in(time):
            row = {"id": 1, "city": f"{time}", "note": None, "since": time}
            return table.scd2([row], key="id", track="city", effective="since")

        with ThreadPoolExecutor(3) as pool:
            list(pool.map(put_in, range(6)))
        expected = [(time, time + 1 if time < 5 else None, time == 5) for time in range(6)]
        found = table.read(columns=["valid_from", "valid_to", "current"]).order("valid_from")
        assert found.fetchall() == expected
