"""Policies: what properties and layers make of them, and the command that shows and sets them."""

import datetime as dt
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import lakehouse
from compaction import Policy, schedule
from compaction.policy import LAYERS, PROPERTIES, explained
from compaction.policy_command import app
from compaction.window import Window, parse_windows
from lakehouse.delta.properties import checked

VALUES = {
    "delta.targetFileSize": ("64mb", 64 << 20),
    "lakehouse.smallFileSize": ("1mb", 1 << 20),
    "lakehouse.minFilesToCompact": ("4", 4),
    "lakehouse.upkeepCoolDown": ("interval 10 minutes", 600.0),
    "lakehouse.clusterBy": ("a, b", ("a", "b")),
    "lakehouse.clusterCurve": ("hilbert", "hilbert"),
    "lakehouse.clusterGroupSize": ("1gb", 1 << 30),
    "lakehouse.purgeDeletedShare": ("0.3", 0.3),
    "lakehouse.checkpointLag": ("7", 7),
    "lakehouse.upkeepWindows": ("22:00-06:00", (Window(dt.time(22), dt.time(6)),)),
    "lakehouse.upkeepBytes": ("10gb", 10 << 30),
    "lakehouse.upkeepSeconds": ("60", 60.0),
    "lakehouse.readCost": ("0.5", 0.5),
    "lakehouse.writeCost": ("2", 2.0),
    "lakehouse.upkeepPriority": ("9", 9),
    "lakehouse.upkeep": ("false", False),
}


@pytest.mark.parametrize("name", PROPERTIES)
def test_each_property_sets_its_field(name: str) -> None:
    text, value = VALUES[name]
    stored = checked({name: text})
    assert getattr(Policy.of(stored, layer="gold"), PROPERTIES[name][0]) == value
    assert explained(stored)[PROPERTIES[name][0]] == (value, "property")


@pytest.mark.parametrize("name", PROPERTIES)
def test_what_makes_no_sense_is_refused_by_name_in_both_places(name: str) -> None:
    for text in ("a,a", "") if name == "lakehouse.clusterBy" else ("!", "-1"):
        with pytest.raises(lakehouse.InputError, match=name):
            Policy.of({name: text})
        with pytest.raises(lakehouse.InputError, match=name):
            checked({name: text})


def test_layers_differ_and_tables_have_the_last_word() -> None:
    assert [Policy.of({}, layer=layer).priority for layer in LAYERS] == [1, 2, 3]
    assert Policy.of({"lakehouse.upkeepPriority": "0"}, layer="gold").priority == 0
    assert Policy.of({}, layer="other") == Policy()


@given(st.integers(0, 1 << 50), st.integers(0, 1 << 50))
def test_the_target_grows_with_the_table_and_rewrites_nothing(one: int, other: int) -> None:
    small, large = sorted((one, other))
    assert Policy().target(small) <= Policy().target(large)
    if large < 2 * small:
        assert Policy().small(large) <= Policy().target(small)


@given(st.times(), st.times(), st.datetimes(timezones=st.just(dt.UTC)))
def test_a_window_and_its_rest_make_the_day(start: dt.time, end: dt.time, now) -> None:
    if start == end:
        assert now in Window(start, end)
    else:
        assert (now in Window(start, end)) != (now in Window(end, start))
    assert Policy(windows=(Window(start, end),)).allows(now) == (now in Window(start, end))


def test_windows_are_read_back() -> None:
    assert parse_windows("22:00-06:00,12:30-13:00") is not None
    assert parse_windows("25:00-26:00") is None


class TestCommand:
    @pytest.fixture
    def place(self, tmp_path: Path) -> str:
        with lakehouse.connect(tmp_path / "lake", durable=False) as lake:
            for name in ("silver.a", "silver.b"):
                lake.create_table(name, {"n": "BIGINT", "m": "VARCHAR"})
        return str(tmp_path / "lake")

    def run(self, place: str, *args: str):
        return CliRunner().invoke(app, [*args, "--lake", place])

    def settings(self, place: str, name: str) -> dict[str, dict[str, dict]]:
        result = self.run(place, name, "--json")
        assert result.exit_code == 0, result.output
        return {
            policy["table"]: {s["property"]: s for s in policy["settings"]}
            for policy in json.loads(result.stdout)["policies"]
        }

    def test_it_shows_sets_and_takes_back(self, place: str) -> None:
        before = self.settings(place, "silver.a")["silver.a"]
        assert set(before) == {*PROPERTIES, *schedule.PROPERTIES}
        assert before["lakehouse.upkeepPriority"] == {
            "property": "lakehouse.upkeepPriority", "value": "2", "source": "layer",
        }  # fmt: skip
        self.run(place, "silver", "--set", "clusterBy=N,m", "--set", "targetFileSize=64mb")
        found = self.settings(place, "silver")
        assert {name: policy["lakehouse.clusterBy"]["value"] for name, policy in found.items()} == {
            "silver.a": "N,m",
            "silver.b": "N,m",
        }
        self.run(place, "silver.a", "--unset", "clusterBy")
        found = self.settings(place, "silver")
        assert found["silver.a"]["lakehouse.clusterBy"]["source"] == "default"
        assert found["silver.b"]["lakehouse.clusterBy"]["source"] == "property"

    def test_words(self, place: str) -> None:
        result = self.run(place, "silver.a", "--set", "upkeepWindows=22:00-06:00")
        assert "silver.a: set in version 1" in result.stderr
        assert "22:00-06:00" in result.stdout
        assert "auto: 134.2 MB" in result.stdout

    @pytest.mark.parametrize(
        ("setting", "message"),
        [
            ("clusterBy=n,x", "cannot be clustered by 'x'"),
            ("nonsense=1", "no part of a policy"),
            ("upkeepBytes=much", "cannot be 'much'"),
        ],
    )
    def test_nothing_is_set_where_something_is_wrong(
        self, place: str, setting: str, message: str
    ) -> None:
        result = self.run(place, "silver", "--set", "minFilesToCompact=3", "--set", setting)
        assert message in str(result.exception)
        assert (
            self.settings(place, "silver.a")["silver.a"]["lakehouse.minFilesToCompact"]["source"]
            == "default"
        )
