"""Profiles of the AWS tools: keys that stand in files, and those that the SDK has to fetch."""

import sys
import types
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from catalog.errors import InputError, StorageError
from catalog.storage.location import parse
from catalog.storage.profiles import read_profile
from catalog.storage.settings import settings_of

CREDENTIALS = """
[default]
aws_access_key_id = D
aws_secret_access_key = DS

[team]
aws_access_key_id = T
aws_secret_access_key = TS
aws_session_token = TT
"""
CONFIG = """
[default]
region = eu-west-1
[profile team]
region = eu-central-1
endpoint_url = http://minio:9000
ca_bundle = /ca.pem
[profile role]
role_arn = arn:aws:iam::1:role/x
source_profile = team
"""


def read(name, environ) -> Any:
    return read_profile(name, environ)


@pytest.fixture
def environ(tmp_path):
    folder = tmp_path / ".aws"
    folder.mkdir()
    (folder / "credentials").write_text(CREDENTIALS)
    (folder / "config").write_text(CONFIG)
    return {"HOME": str(tmp_path)}


def test_static_keys_and_what_belongs_to_them(environ):
    found = read("team", environ)
    assert dict(found.config) == {
        "access_key_id": "T", "secret_access_key": "TS", "session_token": "TT",
        "region": "eu-central-1", "endpoint": "http://minio:9000",
    }  # fmt: skip
    assert (found.ca_file, found.provider) == ("/ca.pem", None)
    assert "TS" not in repr(found)


def test_who_is_read_by_default(environ):
    assert read(None, environ).config["access_key_id"] == "D"
    assert read(None, {**environ, "AWS_PROFILE": "team"}).config["access_key_id"] == "T"
    assert read("default", {**environ, "AWS_PROFILE": "team"}).config["region"] == "eu-west-1"


def test_files_may_stand_elsewhere(environ, tmp_path):
    (tmp_path / "keys").write_text("[default]\naws_access_key_id=E\naws_secret_access_key=ES\n")
    environ["AWS_SHARED_CREDENTIALS_FILE"] = str(tmp_path / "keys")
    environ["AWS_CONFIG_FILE"] = str(tmp_path / "none")
    assert dict(read(None, environ).config) == {
        "access_key_id": "E", "secret_access_key": "ES",
    }  # fmt: skip


def test_no_files(tmp_path):
    assert read(None, {"HOME": str(tmp_path)}) is None
    with pytest.raises(InputError, match="there is no profile 'team'"):
        read("team", {"HOME": str(tmp_path)})
    with pytest.raises(InputError, match="there is no profile 'team'"):
        read(None, {"HOME": str(tmp_path), "AWS_PROFILE": "team"})


@pytest.mark.parametrize("text", ["c4n4ry", "[a]\nc4n4ry", "[a]\n[a]\n", b"\xff\xfe\x00c4n4ry"])
def test_broken_files_are_named_but_not_shown(environ, tmp_path, text):
    file = tmp_path / ".aws" / "credentials"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=r"cannot read .*credentials") as caught:
        read(None, environ)
    assert "c4n4ry" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_role_needs_the_sdk(environ, monkeypatch):
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(InputError, match=r"profile 'role' takes its keys from .*\[aws\]"):
        read("role", environ)


@dataclass
class Frozen:
    access_key: str = "R"
    secret_key: str = "RS"
    token: str | None = "RT"


def sdk(credentials):
    def session(profile_name):
        assert profile_name == "role"
        return types.SimpleNamespace(get_credentials=lambda: credentials)

    return types.SimpleNamespace(Session=session)


def test_a_role_asks_the_sdk_each_time(environ, monkeypatch):
    until = datetime(2030, 1, 1, tzinfo=UTC)
    refreshable = types.SimpleNamespace(get_frozen_credentials=Frozen, _expiry_time=until)
    monkeypatch.setitem(sys.modules, "boto3", sdk(refreshable))
    settings: Any = settings_of(
        parse("s3://b"), {"profile": "role"}, profile=lambda name: read(name, environ)
    )
    assert settings.credentials() == {
        "access_key_id": "R", "secret_access_key": "RS", "token": "RT", "expires_at": until,
    }  # fmt: skip
    assert settings.current() == {
        "access_key_id": "R", "secret_access_key": "RS", "session_token": "RT",
    }  # fmt: skip


def test_an_sdk_without_credentials(environ, monkeypatch):
    monkeypatch.setitem(sys.modules, "boto3", sdk(None))
    with pytest.raises(StorageError, match="gives no credentials"):
        read("role", environ).provider()
