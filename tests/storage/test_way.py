"""Who fetches data files for DuckDB: its extension, or we."""

import itertools

import duckdb
import pytest

from catalog.errors import InputError
from catalog.storage.location import parse
from catalog.storage.settings import settings_of
from lakehouse.duck.reach import way

KEYS = {
    "s3": {"access_key_id": "a", "secret_access_key": "b"},
    "az": {"account_name": "a", "account_key": "b"},
    "gs": {"service_account_key": "{}"},
}
READERS = ("duckdb", "obstore")
WHO = ("keys", "anonymous", "function", "nobody", "password")


def asked(family, reader, who):
    options = {"reader": reader}
    if who in ("keys", "password"):
        options |= KEYS[family]
    if who == "anonymous":
        options["anonymous"] = True
    if who == "function":
        options["credentials"] = dict
    if who == "password":
        options["proxy_url"] = "http://me:c4n4ry@proxy:1"
    return settings_of(parse(f"{family}://lake"), options)


@pytest.mark.parametrize(
    ("family", "reader", "who", "installed"),
    [*itertools.product(KEYS, READERS, WHO, (True, False))],
)
def test_every_combination(family, reader, who, installed):
    settings = asked(family, reader, who)
    possible = family != "gs" and installed and who in ("keys", "anonymous")
    if reader == "duckdb" and not possible:
        with pytest.raises(InputError, match="reader='duckdb' is not possible") as caught:
            way(settings, has_extension=installed)
        assert "c4n4ry" not in str(caught.value)
        return
    assert way(settings, has_extension=installed) == reader


def test_the_missing_extension_is_named_with_the_right_version():
    with pytest.raises(InputError, match=f"duckdb-extension-httpfs=={duckdb.__version__}"):
        way(asked("s3", "duckdb", "keys"), has_extension=False)
