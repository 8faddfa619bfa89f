"""The command init on a server: a bucket, users, and keys that are handed over once."""

import configparser
import stat
from pathlib import Path

import pytest

import lakehouse
from tests.cli.conftest import Run


@pytest.fixture
def place(server, monkeypatch: pytest.MonkeyPatch) -> str:
    """A lake that is not there yet, and the administrator's keys in the environment."""
    minio = server("minio")
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL_S3", "LAKEHOUSE_WRITER_SECRET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", minio.endpoint)
    monkeypatch.setenv("AWS_REGION", minio.region)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", minio.account)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", minio.secret)
    return f"{minio.bucket()}-new/lake"


def test_keys_go_to_a_file_of_ones_own(
    run: Run, place: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = run("init", place, "--users", "--keys", "keys.ini")
    assert (outcome.code, outcome.out) == (0, "")
    assert stat.S_IMODE((folder / "keys.ini").stat().st_mode) == 0o600
    profiles = configparser.RawConfigParser()
    profiles.read(folder / "keys.ini")
    secrets = [profiles[name]["aws_secret_access_key"] for name in profiles.sections()]
    assert profiles.sections() == ["lakehouse-writer", "lakehouse-reader"]
    assert not [secret for secret in secrets if secret in outcome.err]
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name)
    with lakehouse.connect(
        place,
        create=False,
        endpoint_url=profiles["lakehouse-writer"]["endpoint_url"],
        access_key_id=profiles["lakehouse-writer"]["aws_access_key_id"],
        secret_access_key=secrets[0],
        region=profiles["lakehouse-writer"]["region"],
    ) as lake:
        lake.declare_layer("extra")


def test_keys_are_told_once(run: Run, place: str) -> None:
    first, again = run("init", place, "--users"), run("init", place, "--users")
    assert first.out.startswith("[lakehouse-writer]\n")
    assert (again.code, again.out) == (0, "")


def test_json(run: Run, place: str) -> None:
    document = run("init", place, "--users", "--json").json
    server = document["server"]
    assert (document["uri"], document["created"], server["created"]) == (place, True, True)
    assert [(user["role"], len(user["secret"])) for user in server["users"]] == [
        ("writer", 40),
        ("reader", 40),
    ]
    again = run("init", place, "--json").json
    assert (again["created"], again["server"]["users"]) == (False, [])


def test_a_file_that_is_there_stays(run: Run, place: str, folder: Path) -> None:
    (folder / "keys.ini").write_text("mine")
    outcome = run("init", place, "--users", "--keys", "keys.ini")
    assert (outcome.code, (folder / "keys.ini").read_text()) == (2, "mine")
    assert run("ls", "--lake", place).code != 0  # nothing was made


@pytest.mark.parametrize("args", [["--users"], ["--keys", "keys.ini"]])
def test_users_need_a_server(run: Run, folder: Path, args: list[str]) -> None:
    assert run("init", "lake", *args).code == 2
    assert list(folder.iterdir()) == []
