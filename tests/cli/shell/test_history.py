"""What is written into the history, and what is not."""

import stat
from pathlib import Path

import pytest

from lakehouse.cli.shell import history


@pytest.mark.parametrize(
    "text",
    [
        " select 'my own business'",
        "CREATE SECRET s (TYPE s3, KEY_ID 'k', SECRET 's')",
        "create or replace\npersistent secret (provider credential_chain)",
        "select * from users where password = 'hunter2'",
        "select * from users where \"api_key\" LIKE 'x' or api_key in ('abc')",
        "select * from postgres_scan('host=h password=hunter2', 'public', 't')",
        "attach 'postgres://ada:hunter2@host/db'",
        "from 'https://x.blob.core.windows.net/c/a.parquet?sv=2024&sig=abc%3D'",
        "from 's3://b/a.parquet?s3_secret_access_key=abc'",
        "from 'https://b.s3.amazonaws.com/a?X-Amz-Signature=abc'",
        "select 'AKIAIOSFODNN7EXAMPLE'",
        "select {'token': 'abc'}",
        "set s3_secret_access_key = 'abc'",
        "select f(access_key_id => 'abc')",
        "set s3_session_token=$$abc$$",
    ],
)
def test_secrets_are_not_kept(text: str) -> None:
    assert history.is_private(text)


@pytest.mark.parametrize(
    "text",
    [
        "select token, password_changed from silver.users where id = 7",
        "select * from silver.flights where carrier = 'AA'",
        "select count(*) from silver.visits where key > 3",
        "from 's3://bucket/a.parquet'",
        ".output report.csv",
    ],
)
def test_other_statements_are_kept(text: str) -> None:
    assert not history.is_private(text)


def test_the_file_is_the_users_own(tmp_path: Path) -> None:
    path = history.history_file({"XDG_STATE_HOME": str(tmp_path / "state")})
    assert history.prepare(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    relative = history.history_file({"XDG_STATE_HOME": "state"})
    assert relative == Path.home() / ".local" / "state" / "lakehouse" / "sql_history"


def test_no_place_for_it_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert not history.prepare(tmp_path / "file" / "lakehouse" / "sql_history")
