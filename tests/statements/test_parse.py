"""From a text to a statement: names and strings come out as they were meant, whatever they hold."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import lakehouse
from lakehouse.duck.sql import identifier, literal
from lakehouse.lake.statements.first import is_statement
from lakehouse.lake.statements.kinds import Comment, CreateTable, Insert, Update
from lakehouse.lake.statements.parse import parse
from lakehouse.lake.statements.qualified import unqualified

# Quotes, comments, ends of statements, brackets, keywords, and letters of other scripts.
PIECES = ("'", '"', "--", "/*", "*/", ";", "(", ")", "[", "$$", "$1", "?", "\\", "\n", ".", ",", " ",
          "select", "from", "end", "case", "a", "é", "名", "ß", "\u202e", "%", "=", "{", "}")  # fmt: skip
TEXTS = st.lists(st.sampled_from(PIECES), min_size=1, max_size=8).map("".join)
LAYOUTS = st.sampled_from(
    (" ", "\n", "\t", " /* it's; ( \" */ ", " -- no; 'end\n", "/* /* a */ b */")
)


@given(TEXTS, TEXTS, TEXTS, LAYOUTS)
def test_names_and_texts_come_out_as_they_were(table, column, text, gap):
    def said(*words: str) -> str:
        return gap.join(("", *words, ";"))

    name, field = f"gold.{identifier(table)}", identifier(column)
    query = f"SELECT {literal(text)} AS {field} FROM {name} WHERE {field} = {literal(text)}"
    assert parse(
        said("COMMENT", "ON", "COLUMN", f"{name}.{field}", "IS", literal(text))
    ) == Comment("column", f"gold.{table}", text, (column,))
    insert = parse(said("INSERT", "INTO", name, "(", field, ")", query))
    assert insert == Insert(table=f"gold.{table}", query=query, columns=(column,))
    update = parse(said("UPDATE", name, "SET", field, "=", literal(text), "WHERE", f"{field} = 1"))
    assert update == Update(
        table=f"gold.{table}", values={column: literal(text)}, where=f"{field} = 1"
    )
    create = parse(said("CREATE", "TABLE", name, "COMMENT", literal(text), "AS", query))
    assert create == CreateTable(name=f"gold.{table}", query=query, comment=text)


@given(st.sampled_from(("SELECT", "FROM", "VALUES", "(", "EXPLAIN", "PIVOT", "SUMMARIZE")), TEXTS)
@example("SELECT", "'INSERT INTO gold.t SELECT 1'")
def test_queries_are_none_of_ours(word, rest):
    assert not is_statement(f"{word} {rest}")


@pytest.mark.parametrize(
    ("sql", "ours"),
    [
        ("insert into gold.t select 1", True),
        (";; \n-- nightly\r\n/* all /* of */ it */ DROP TABLE gold.t", True),
        ("WITH a AS (SELECT 1) INSERT INTO gold.t FROM a", True),
        ("WITH insert AS (SELECT 1) FROM insert", False),
        ("WITH RECURSIVE update(n) AS (SELECT 1), b AS (SELECT 'delete') SELECT * FROM update", False),
        ("WITH a AS MATERIALIZED (SELECT ')' AS \"insert\") SELECT * FROM a", False),
        ("CREATE MACRO f(a) AS a + 1", False),
        ("CREATE SECRET s (TYPE s3)", False),
        ("DROP MACRO f", False),
        ("SHOW DATABASES", False),
        ("DESCRIBE SELECT 1", False),
        ("DESC names", False),
        ("", False),
    ],
)  # fmt: skip
def test_what_is_ours(sql, ours):
    found = parse(sql) if is_statement(sql) else None
    assert (found is not None) == ours


def test_a_comment_that_is_not_closed_is_an_error_and_not_a_query():
    with pytest.raises(lakehouse.InputError, match="not closed"):
        is_statement("/* INSERT INTO gold.t SELECT 1")


@pytest.mark.parametrize(
    ("sql", "after"),
    [
        ("t.a + gold.t.b", "a + b"),
        ("T . \"a\" = 't.a' -- t.a\n", "\"a\" = 't.a' -- t.a\n"),
        ("x.t.a + silver.t.a", "x.t.a + silver.t.a"),
        ("list_transform(t.l, t -> t.x)", "list_transform(l, t -> x)"),
        ("gold.t", "gold.t"),
        ("t.s.x", "s.x"),
    ],
)
def test_qualifiers_are_taken_away(sql, after):
    assert unqualified(sql, [("t",), ("gold", "t")]) == after
