"""Where statements end: whatever stands between quotes or in comments is no end."""

from hypothesis import given
from hypothesis import strategies as st

from lakehouse.cli.shell.statements import split

# Pieces of SQL in which a ; or a dot at the start of a line ends nothing.
PIECES = st.sampled_from(
    ["select", "'a;b'", "'it''s;'", '"x;\n.y"', "$$;\n.quit\n$$", "e'\\';'", "/* ; /* ; */ */",
     "-- ;\n", "\n", "1.5", ".5", "t.x", "$1", "é", "'\n.tables\n'"]
)  # fmt: skip
STATEMENTS = st.lists(PIECES, min_size=1, max_size=6).map(lambda parts: "select " + " ".join(parts))
COMMANDS = st.sampled_from([".tables", ".explain select 'it''s", '.output "a', ".mode csv x;"])


@given(st.lists(st.one_of(STATEMENTS, COMMANDS), max_size=6), st.booleans())
def test_statements_come_out_as_they_went_in(texts: list[str], ended: bool) -> None:
    whole = "\n".join(text if text.startswith(".") else text + "\n;" for text in texts)
    if texts and not ended and not texts[-1].startswith("."):
        whole = whole[:-1]
    found = split(whole)
    assert [bare(s.text) for s in found.every] == [bare(text) for text in texts]
    assert (found.rest is None) == (not whole or whole.endswith(";") or texts[-1].startswith("."))
    for statement in found.every:
        line = whole.split("\n")[statement.line - 1].strip()
        assert line.startswith(statement.text.split("\n")[0].split(" ")[0])


def bare(text: str) -> str:
    """A text without the comments and spaces at its ends, which come and go."""
    while text.rstrip().endswith(("-- ;", "*/")):
        text = text.rstrip().removesuffix("-- ;").removesuffix("/* ; /* ; */ */")
    return text.strip()


@given(st.text("'\"$/*-;.\n ax1\\"))
def test_any_text_can_be_split(text: str) -> None:
    found = split(text)
    assert all(statement.text.strip() == statement.text != "" for statement in found.complete)
    assert [s.line for s in found.every] == sorted(s.line for s in found.every)


def test_what_is_unfinished() -> None:
    assert split("select 'a").rest is not None
    assert split("select 1 /* a").rest is not None
    assert split("select 1").rest is not None
    for done in ("", " \n", "-- nothing", ";;", "select 1;", "select 1; -- so", ".tables"):
        assert split(done).rest is None
