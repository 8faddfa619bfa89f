"""Where things are: one place has one normalised form."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.errors import InputError
from catalog.storage.location import check_relative, join, parse

KEYS = st.lists(
    st.text(st.characters(exclude_characters="/?#\0", exclude_categories=["Cs"]), min_size=1),
    min_size=1,
).map("/".join)


@pytest.mark.parametrize(
    ("spelling", "normal"),
    [
        ("/data/lake/", "file:///data/lake"),
        ("/data//lake/./x/..", "file:///data/lake"),
        ("//data/lake", "file:///data/lake"),
        ("file:///data/a%20lake", "file:///data/a%20lake"),
        ("/data/a lake", "file:///data/a%20lake"),
        ("file://localhost/data/../lake/", "file:///lake"),
        ("FILE:///lake", "file:///lake"),
        ("s3://bucket", "s3://bucket"),
        ("s3://bucket/", "s3://bucket"),
        ("S3A://bucket//a/./b/../c/", "s3://bucket/a/c"),
        ("s3://bucket/../../a", "s3://bucket/a"),
        ("s3://bucket/a%20b", "s3://bucket/a%20b"),
        ("gcs://bucket/x", "gs://bucket/x"),
        ("abfs://c@account.dfs.core.windows.net/x/", "abfss://c@account.dfs.core.windows.net/x"),
    ],
)
def test_spellings_of_one_place(spelling: str, normal: str) -> None:
    assert parse(spelling).uri == normal
    assert parse(normal) == parse(spelling)


@given(KEYS)
def test_parsing_what_was_printed_changes_nothing(key: str) -> None:
    for place in (parse("s3://bucket").child(key), parse("/lake").child(key)):
        assert parse(parse(place.uri).uri) == parse(place.uri)


@given(KEYS)
def test_checked_paths_stay_below(key: str) -> None:
    for root in (parse("s3://bucket/lake"), parse("/lake")):
        try:
            child = root.child(check_relative(key))
        except InputError:
            assert {"", ".", ".."} & set(key.split("/")) or "://" in key
            continue
        assert list(root.lineage())[-1] in list(child.lineage())
        assert parse(child.uri) == child


def test_links_are_resolved_on_request(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert parse(tmp_path / "link/x").resolved == parse(tmp_path.resolve() / "real/x")
    assert parse("s3://bucket/link").resolved == parse("s3://bucket/link")


def test_join() -> None:
    assert join("/", "a") == "/a"
    assert join("a", "b/c") == "a/b/c"
