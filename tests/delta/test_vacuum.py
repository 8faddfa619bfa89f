"""Which versions are kept, and which files go: pure rules."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from catalog.storage import StoredObject
from lakehouse.delta.leftovers import fold
from lakehouse.delta.vacuum import Ages, oldest_kept, retention_of, unneeded

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
NAMES = st.sampled_from(
    ("a.parquet", "p=1/b.parquet", "c.parquet", "_change_data/d.parquet", "x.bin", "notes.txt",
     "deletion_vector_12345678-1234-1234-1234-123456789abc.bin", "_delta_log/0.json",
     "_trash/20260101T000000-0/a.parquet", ".hidden/e.parquet", "_delta_log/f.parquet")
)  # fmt: skip
GOES = ("a.parquet", "b.parquet", "c.parquet", "d.parquet", ".bin")


@given(st.lists(st.integers(0, 50), max_size=20), st.integers(0, 60))
def test_every_version_that_was_current_since_the_cutoff_is_kept(times, cutoff) -> None:
    versions = list(enumerate(times))
    kept = oldest_kept(versions, cutoff)
    if kept is None:
        assert not times
        return
    assert all(time <= cutoff for version, time in versions if 0 < version <= kept)
    # The next one is later: whoever looks back to the cutoff sees this one, or one after it.
    assert kept + 1 == len(times) or times[kept + 1] > cutoff


@given(
    st.dictionaries(NAMES, st.floats(-1, 20), max_size=11),
    st.sets(NAMES),
    st.sets(NAMES),
    st.integers(0, 10),
    st.integers(0, 3),
)
def test_nothing_needed_young_or_foreign_goes(ages, needed, removed, retention, in_flight) -> None:
    objects = [StoredObject(name, 7, NOW - timedelta(days=days)) for name, days in ages.items()]
    limits = Ages(NOW, timedelta(days=retention), timedelta(days=in_flight))
    gone = unneeded(
        objects,
        needed={fold(name) for name in needed},
        removed={fold(name) for name in removed},
        ages=limits,
    )
    paths = {item.path for item in gone}
    for name, days in ages.items():
        own = name.rpartition("/")[2]
        plain = any(own == good for good in GOES[:4]) or own.startswith("deletion_vector")
        hidden = name.startswith(("_delta_log", "_trash", ".hidden"))
        least = retention if name in removed else max(retention, in_flight)
        assert (name in paths) == (
            plain
            and not hidden
            and name not in needed
            and timedelta(days=days) > timedelta(days=least)
        )


def test_what_a_table_says_of_its_retention() -> None:
    assert retention_of({}) == timedelta(days=7)
    key = "delta.deletedFileRetentionDuration"
    assert retention_of({key: "interval 12 hours"}) == timedelta(hours=12)
    assert retention_of({key: "interval 1 month"}) is None
