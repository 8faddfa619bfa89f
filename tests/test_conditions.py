"""Filters are cut where an AND joins their conditions, and nowhere else."""

from hypothesis import given
from hypothesis import strategies as st

from lakehouse.lake.conditions import parts

CONDITIONS = st.sampled_from(
    ["a = 1", "(b OR c)", "d BETWEEN 1 AND 2", "e = 'x AND (y'", '"AND" > 3', "f(g AND h)"]
)


@given(st.lists(CONDITIONS, min_size=1, max_size=5), st.booleans(), st.booleans())
def test_parts_are_what_was_joined(texts: list[str], around: bool, each: bool) -> None:
    joined = " AND ".join(f"({text})" if each else text for text in texts)
    found = parts(f"(({joined}))" if around else joined)
    assert [part.strip("()") for part in found] == [text.strip("()") for text in texts]
