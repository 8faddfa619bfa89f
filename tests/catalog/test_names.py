"""Names: what is valid, and that an error shows a valid form."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.errors import InputError
from catalog.names import RESERVED, fold, near_misses, validate_layer, validate_table_name


@pytest.mark.parametrize(
    "name",
    ["silver.flights", "_a._1", "a.b2", "zürich.flüge", "航空.便", "हिंदी.उड़ान", "x." + "y" * 128],
)
def test_valid_names(name: str) -> None:
    assert ".".join(validate_table_name(name)) == name


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("flights", "layer.table"),
        ("a.b.c", "layer.table"),
        ("", "layer.table"),
        (None, "layer.table"),
        ("silver.", "is empty"),
        (".flights", "is empty"),
        ("silver.1st", "does not start with"),
        ("silver.flight data", "holds ' '.*'flight_data'"),
        ("silver.my-table", "holds '-'.*'my_table'"),
        ("silver.a;drop", "holds ';'"),
        ("silver.a\0", "holds"),
        ('silver."x"', "holds"),
        ("silver../x", "layer.table"),
        ("silver.💥", "holds"),
        ("silver.²", "holds"),
        ("silver." + "x" * 129, "129 characters"),
        ("system.x", "reserved"),
        ("MAIN.x", "reserved"),
        ("_catalog.x", "reserved"),
    ],
)
def test_invalid_names(name: object, problem: str) -> None:
    with pytest.raises(InputError, match=problem) as caught:
        validate_table_name(name)
    assert caught.value.next_step


def test_every_reserved_layer_is_refused() -> None:
    assert {"main", "temp", "system", "memory", "information_schema", "pg_catalog"} < RESERVED
    for name in RESERVED:
        with pytest.raises(InputError, match="reserved"):
            validate_layer(name)


@given(st.text(min_size=1))
def test_the_suggestion_is_valid(text: str) -> None:
    try:
        layer = validate_layer(text)
    except InputError as error:
        suggestion = (error.next_step or "").rpartition(" ")[2].strip("'")
        assert validate_layer(suggestion) == suggestion
    else:
        assert validate_layer(layer) == layer
        assert fold(layer.upper()) == fold(layer.lower()) or not layer.isascii()


def test_equal_after_normalisation() -> None:
    assert validate_layer("e\u0301te\u0301") == "été"
    assert fold("SILVER.ÉTÉ") == fold("silver.e\u0301te\u0301")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("silver.flight", "silver.flights"),
        ("silver.fligths", "silver.flights"),
        ("Silver.Flight", "silver.flights"),
        ("flights", "silver.flights"),
        ("gold.flights", "silver.flights"),
        ("silver.weathr", "bronze.weather"),
    ],
)
def test_near_misses(name: str, expected: str) -> None:
    names = ["silver.flights", "bronze.weather", "gold.delays", "gold.carriers"]
    assert near_misses(name, names)[0] == expected


def test_nothing_is_near() -> None:
    assert near_misses("silver.zzz", ["gold.delays"]) == ()
    assert near_misses("x", []) == ()
    assert len(near_misses("a.table_1", [f"a.table_{i}" for i in range(2, 9)])) == 3
