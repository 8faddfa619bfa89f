"""Which names complete what is typed: pure rules, and those of a real lake."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

import lakehouse
from lakehouse.cli.shell.commands import complete
from lakehouse.cli.shell.completion import Column, Kind, candidates
from lakehouse.cli.shell.names import LakeNames

COLUMNS = {
    "silver.flights": ["carrier", "delay", "tail number"],
    "gold.days": ["day", "delays"],
    "gold.late": ["day"],
}


class Known:
    def relations(self) -> Mapping[str, Kind]:
        return {"silver.flights": "table", "gold.days": "table", "gold.late": "view"}

    def columns(self, table: str) -> Sequence[Column]:
        return [Column(name, "VARCHAR") for name in COLUMNS.get(table, ())]

    def functions(self) -> Sequence[str]:
        return ["date_diff", "date_trunc", "sum"]

    def keywords(self) -> Sequence[str]:
        return ["select", "from", "delete", "desc"]


def at(text: str) -> list[str]:
    """What may stand at the | in a text."""
    before, _, after = text.partition("|")
    return [found.text for found in complete(before, after, Known())]


def test_tables() -> None:
    every = ["silver.flights", "gold.days", "gold.late"]
    assert at("select * from |") == every
    assert at("select * from gold.days, |") == every
    assert at("select * from s|") == ["silver.flights"]
    assert at("select * from a JOIN fl|") == ["silver.flights"]
    assert at("from gold.|") == ["days", "late"]
    assert at("insert into gold.d|") == ["days"]
    assert at("from gold.days where day in (select day from gold.l|") == ["late"]


def test_columns() -> None:
    assert at("select | from silver.flights") == ["carrier", "delay", '"tail number"']
    assert at("select d| from silver.flights")[0] == "delay"
    assert at("from silver.flights f join gold.days as d on f.|") == [
        "carrier",
        "delay",
        '"tail number"',
    ]
    assert at("from silver.flights f join gold.days as d on d.d|") == ["day", "delays"]
    assert at("from silver.flights where silver.flights.c|") == ["carrier"]
    assert at("from silver.flights where flights.c|") == ["carrier"]
    assert at('from "gold"."days" where day|')[0] == "day"
    assert at("from silver.flights where x.|") == []
    assert at("from gold.late where d|")[0] == "day"


def test_functions_and_keywords() -> None:
    assert at("select date_|") == ["date_diff(", "date_trunc("]
    assert at("sel|") == ["select"]
    assert at("SEL|") == ["SELECT"]
    assert at("select 'sel|") == []
    assert at("select /* sel|") == []
    assert at("select 1 where |") == []


def test_commands() -> None:
    assert at(".t|") == ["tables", "timer"]
    assert at(".schema sil|") == ["silver.flights"]
    assert at(".mode p|") == ["parquet"]
    assert at(".timer o|") == ["on", "off"]
    assert at(".explain from gold.d|") == ["days"]
    assert at(".quit |") == []
    assert at(".nope |") == []


@given(st.text("sfrom.,' \"(dayAS\n-;"), st.text("from gold.days d ;'", max_size=20))
def test_what_is_found_continues_what_is_typed(before: str, after: str) -> None:
    for found in candidates(before, after, Known()):
        typed = before[len(before) - found.typed :].lower()
        name = found.text.lower().replace('"', "")
        assert name.startswith(typed) or name.partition(".")[2].startswith(typed)


def test_names_of_a_lake(lake: Path) -> None:
    with lakehouse.connect(lake) as opened:
        names = LakeNames(opened)
        assert names.relations() == {"silver.flights": "table"}
        assert names.columns("silver.flights") == [
            Column("carrier", "VARCHAR"),
            Column("delay", "INTEGER"),
        ]
        assert names.columns("silver.nope") == []
        assert {"date_trunc", "count"} <= set(names.functions())
        assert names.keywords().index("select") < names.keywords().index("abort")
        opened.create_table("gold.days", {"day": "DATE"})
        assert list(names.relations()) == ["silver.flights"]
        names.forget()
        assert list(names.relations()) == ["gold.days", "silver.flights"]
    names.forget()
    assert names.columns("silver.flights") == []  # a closed lake cannot be asked: no error
    assert "count" in names.functions()
