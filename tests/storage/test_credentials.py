"""Keys that expire: said in time, asked for anew where somebody can be asked, nothing lost."""

import contextlib
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import pytest
from minio.credentials.providers import AssumeRoleProvider

from catalog import OutcomeUnknownError, StorageError
from lakehouse.testing import FaultRule

AFTERWARDS: Any = ("expired", "refused")
NO_KEYS = {"access_key_id": None, "secret_access_key": None}


class Keys:
    """Hand out keys, and count how often."""

    def __init__(self, server, *, valid=timedelta(hours=1), wrong=()):
        self.asked = 0
        self._wrong = wrong
        self._valid = valid
        self._server = server

    def __call__(self):
        self.asked += 1
        name = "NOBODY" if self.asked in self._wrong else self._server.account
        until = datetime.now(UTC) + self._valid
        return {
            "access_key_id": name,
            "secret_access_key": self._server.secret,
            "expires_at": until,
        }


def numbers(lake):
    return [row[0] for row in lake.sql("SELECT n FROM bronze.t ORDER BY n").fetchall()]


def test_temporary_keys_of_a_real_sts(minio, connected):
    role = AssumeRoleProvider(
        sts_endpoint=minio.endpoint,
        access_key=minio.account,
        secret_key=minio.secret,
        duration_seconds=900,
    )

    def keys():
        found: Any = role.retrieve()
        return {
            "access_key_id": found.access_key,
            "secret_access_key": found.secret_key,
            "session_token": found.session_token,
            "expires_at": found.expiration.replace(tzinfo=UTC),
        }

    lake = connected(**NO_KEYS, credentials=keys)
    table = lake.create_table("bronze.t", {"n": "BIGINT"})
    table.append([{"n": 1}])
    table.append([{"n": 2}])
    assert numbers(lake) == [1, 2]
    assert table.to_deltalake().version() == table.version


def test_keys_are_asked_for_once_while_they_are_valid(minio, connected):
    keys = Keys(minio)
    lake = connected(**NO_KEYS, credentials=keys)
    lake.create_table("bronze.t", {"n": "BIGINT"}).append([{"n": 1}])
    assert numbers(lake) == [1]
    assert keys.asked == 1


def test_keys_that_are_no_longer_valid_are_asked_for_again(minio, connected):
    keys = Keys(minio, valid=timedelta(hours=-1))
    lake = connected(**NO_KEYS, credentials=keys)
    before = keys.asked
    lake.create_table("bronze.t", {"n": "BIGINT"})
    assert keys.asked > before


def test_keys_that_the_store_does_not_know_any_more_are_asked_for_again(minio, connected):
    keys = Keys(minio, wrong={1, 3})
    lake = connected(**NO_KEYS, credentials=keys)
    assert keys.asked == 2
    table = lake.create_table("bronze.t", {"n": "BIGINT"})
    table.append([{"n": 1}])
    assert (numbers(lake), keys.asked) == ([1], 2)


def test_the_next_keys_are_refused_too(minio, connected):
    keys = Keys(minio, wrong=range(1, 100))
    with pytest.raises(StorageError, match="access key or session token is not known") as caught:
        connected(**NO_KEYS, credentials=keys)
    assert not caught.value.missing
    # Each request asks for new keys once, and not for ever.
    assert keys.asked <= 6


@pytest.mark.parametrize("calls", ["put", "put_if_absent", "read", "list", "head"])
def test_expired_keys_of_a_function_are_replaced_in_the_middle_of_a_write(
    minio, connected, proxy, calls
):
    keys = Keys(minio)
    lake = connected(**NO_KEYS, credentials=keys)
    table = lake.create_table("bronze.t", {"n": "BIGINT"})
    table.append([{"n": 0}])
    done, problems, asked = [0], [], keys.asked
    for number in range(1, 4):
        proxy.set_faults(rules=[FaultRule("expired", calls=calls, after=number - 1, times=1)])
        for _ in range(2):
            try:
                table.append([{"n": number}])
            except StorageError as error:
                # A file that is sent while it is made cannot be sent again by storage alone.
                problems.append(str(error))
            else:
                done.append(number)
                break
    proxy.set_faults()
    assert numbers(lake) == done == [0, 1, 2, 3]
    assert [text for text in problems if "have expired" not in text] == []
    assert keys.asked <= asked + 3


@pytest.mark.parametrize("paths", ["*.parquet", "*/_delta_log/*"])
def test_expired_keys_in_the_middle_of_a_write_lose_nothing(connected, proxy, paths):
    lake = connected()
    table = lake.create_table("bronze.t", {"n": "BIGINT"})
    table.append([{"n": 1}])
    proxy.set_faults(rules=[FaultRule("expired", calls="put*", paths=paths)])
    with pytest.raises(StorageError, match="the credentials have expired") as caught:
        table.append([{"n": 2}])
    assert "credentials=" in str(caught.value)
    proxy.set_faults()
    assert numbers(lake) == [1]
    table.append([{"n": 3}])
    assert numbers(lake) == [1, 3]


def test_keys_that_expire_after_a_lost_answer_do_not_hide_a_commit(connected, proxy):
    """The commit arrives, its answer is lost, and the next try is refused: it stands."""
    lake = connected()
    table = lake.create_table("bronze.t", {"n": "BIGINT"})
    commit = "*/_delta_log/*.json"
    for number, fault in enumerate(AFTERWARDS):
        proxy.set_faults(
            rules=[
                FaultRule("error_after", calls="put_if_absent", paths=commit, times=1),
                FaultRule(fault, calls="put_if_absent", paths=commit, after=1, times=1),
            ]
        )
        with contextlib.suppress(OutcomeUnknownError):
            table.append([{"n": number}])
        proxy.set_faults()
        assert numbers(lake) == [*range(number + 1)]


def test_new_keys_that_are_refused_do_not_hide_a_commit_either(minio, connected, proxy):
    lake = connected(**NO_KEYS, credentials=Keys(minio))
    table = lake.create_table("bronze.t", {"n": "BIGINT"})
    commit: Any = {"calls": "put_if_absent", "paths": "*/_delta_log/*.json", "times": 1}
    faults: Any = ("error_after", "expired", "refused")
    proxy.set_faults(
        rules=[FaultRule(fault, after=number, **commit) for number, fault in enumerate(faults)]
    )
    table.append([{"n": 1}])
    assert [request.fault for request in proxy.requests if request.fault] == [*faults]
    proxy.set_faults()
    assert numbers(lake) == [1]


def test_expired_keys_of_a_query_are_named_by_the_query(minio, connected, proxy):
    lake = connected()
    lake.create_table("bronze.t", {"n": "BIGINT"}).append([{"n": 1}])
    reader = connected()
    proxy.set_faults(rules=[FaultRule("expired", paths="*.parquet")])
    # A relation is lazy: what it meets when it is read comes by way of DuckDB.
    with pytest.raises(duckdb.Error, match="the credentials have expired"):
        numbers(reader)
    proxy.set_faults()
    assert numbers(reader) == [1]


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        (lambda: {"y": 1}["x"], "the credentials function failed: KeyError"),
        (lambda: 7, "returned no dict"),
        (lambda: {"access_key_id": "a"}, "secret_access_key"),
        (lambda: {"expires_at": datetime.now()}, "no time with a time zone"),  # noqa: DTZ005
    ],
)
def test_a_function_that_fails_is_told(connected, keys, problem):
    with pytest.raises(StorageError, match=problem):
        connected(**NO_KEYS, credentials=keys)


def test_the_environment_is_not_mixed_with_explicit_keys(connected, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "somebody-elses")
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    monkeypatch.setenv("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    lake = connected(path_style=True)
    table = lake.create_table("bronze.t", {"n": "BIGINT"})
    table.append([{"n": 1}])
    assert numbers(lake) == [1]
    assert table.to_deltalake().version() == 1


def test_the_environment_alone_is_enough(minio, place, connected, monkeypatch):
    options = place[1]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", options["access_key_id"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", options["secret_access_key"])
    monkeypatch.setenv("AWS_ENDPOINT_URL", options["endpoint_url"])
    monkeypatch.setenv("AWS_REGION", options["region"])
    lake = connected(**dict.fromkeys(minio.options()))
    lake.create_table("bronze.t", {"n": "BIGINT"}).append([{"n": 1}])
    assert numbers(lake) == [1]
