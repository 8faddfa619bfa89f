"""Tokens are cut as DuckDB cuts them."""

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lakehouse
from lakehouse.scan.tokens import tokens

PIECES = st.sampled_from(
    ["silver", "t1", "_x$y", "SELECT", '"a b"', '"a""b"', '"--"', "'it''s'", "'/*'", "'\\'", "''",
     "e'it\\'s'", "E'\\\\'", "$$ 'x $$", "$a$ $$ $a$", "1", "1.5", "17e3", "1e-5", "x'ab'"]
)  # fmt: skip
GAPS = st.sampled_from(
    [" ", "\n", "\t\r\n", " -- it's\n", " /* x */ ", "/* /* 'y */ \" */", " --\n--/*\n "]
)


@given(st.lists(st.tuples(GAPS, PIECES), max_size=6))
def test_tokens_start_where_duckdb_says(parts):
    # With commas between, as texts on two lines are one text.
    sql = "".join(f"{gap}{piece}," for gap, piece in parts)
    found = tokens(sql)
    assert [sql[token.start : token.end] for token in found[::2]] == [piece for _, piece in parts]
    judged = duckdb.tokenize(sql)
    assert [token.start for token in found] == [
        start for start, kind in judged if kind != duckdb.token_type.comment
    ]


@pytest.mark.parametrize(
    ("sql", "kinds"),
    [
        ("a.\"b\"", ["word", "mark", "quoted"]),
        ("a=>?", ["word", "mark", "parameter"]),
        ("$1+$name", ["parameter", "mark", "parameter"]),
        ("é😀.ß", ["word", "mark", "word"]),
        ("'a'.b", ["text", "mark", "word"]),
        ("1.5.b", ["number", "mark", "word"]),
        ("the'x'", ["word", "text"]),
    ],
)  # fmt: skip
def test_kinds(sql, kinds):
    assert [token.kind for token in tokens(sql)] == kinds


def test_names_and_texts_lose_their_quotes():
    assert [token.text for token in tokens("\"a\"\"b\" 'it''s'")] == ['a"b', "it's"]


@pytest.mark.parametrize("sql", ["'x", '"x', "/* x", "/* /* */", "'it''"])
def test_what_is_not_closed_is_refused(sql):
    with pytest.raises(lakehouse.InputError, match="is not closed"):
        tokens(f"SELECT {sql}")


@given(st.text())
def test_any_text_is_cut_or_refused(sql):
    try:
        found = tokens(sql)
    except lakehouse.InputError:
        return
    ends = [0, *(token.end for token in found)]
    assert all(end <= token.start < token.end for end, token in zip(ends, found, strict=False))
