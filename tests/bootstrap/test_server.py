"""Setting up real servers: what is made, what its users may do, and what goes wrong."""

import itertools

import obstore
import pytest
from obstore.exceptions import BaseError
from obstore.store import S3Store

from lakehouse import InputError, StorageError, UnsupportedError
from lakehouse.bootstrap import Bootstrapped, Keys, Server, accounts, bootstrap

SECRETS = {
    "LAKEHOUSE_WRITER_SECRET": "writers-canary-1",
    "LAKEHOUSE_READER_SECRET": "readers-canary-1",
}


@pytest.fixture
def minio(server) -> Server:
    return admin_of(server("minio"))


def admin_of(running) -> Server:
    return Server(
        endpoint=running.endpoint,
        admin=Keys(running.account, running.secret),
        region=running.region,
    )


_buckets = itertools.count()


@pytest.fixture
def bucket(request) -> str:
    return f"{request.node.name.replace('_', '-')[:40]}-{next(_buckets)}-x".strip("-").lower()


def set_up(minio: Server, bucket: str, prefix: str = "team/lake", **secrets) -> Bootstrapped:
    wanted = accounts({**SECRETS, **secrets}, bucket=bucket, prefix=prefix)
    return bootstrap(f"s3://{bucket}/{prefix}", minio, accounts=wanted)


def open_as(minio: Server, bucket: str, done: Bootstrapped, role: str, secret: str) -> S3Store:
    (key,) = (user.key for user in done.users if user.role == role)
    return S3Store(
        bucket,
        endpoint=minio.endpoint,
        region=minio.region,
        access_key_id=key,
        secret_access_key=secret,
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
    )


def listed(store: S3Store, prefix: str) -> list[str]:
    return [item["path"] for page in obstore.list(store, prefix) for item in page]


def test_twice_is_as_good_as_once(minio: Server, bucket: str) -> None:
    first, again = set_up(minio, bucket), set_up(minio, bucket)
    assert (first.created, again.created, first.versioned) == (True, False, False)
    assert [(user.role, user.created) for user in first.users] == [
        ("writer", True),
        ("reader", True),
    ]
    assert [user.created for user in again.users] == [False, False]
    assert {user.secret for user in (*first.users, *again.users)} == {None}  # they were chosen


def test_a_new_secret_is_told_once(minio: Server, bucket: str) -> None:
    none = dict.fromkeys(SECRETS, "")
    first, again = set_up(minio, bucket, **none), set_up(minio, bucket, **none)
    assert all(user.secret for user in first.users)
    assert [user.secret for user in again.users] == [None, None]
    assert not [user for user in first.users if str(user.secret) in repr(first)]
    store = open_as(minio, bucket, first, "writer", str(first.users[0].secret))
    obstore.put(store, "team/lake/a", b"1")


def test_the_writer_writes_below_its_prefix_only(minio: Server, bucket: str) -> None:
    done = set_up(minio, bucket)
    root = S3Store(
        bucket,
        endpoint=minio.endpoint,
        region=minio.region,
        access_key_id=minio.admin.key,
        secret_access_key=minio.admin.secret,
        client_options={"allow_http": True},
    )
    for path in ("team/other/a", "team/lakeside/a", "a"):
        obstore.put(root, path, b"1")
    writer = open_as(minio, bucket, done, "writer", SECRETS["LAKEHOUSE_WRITER_SECRET"])
    obstore.put(writer, "team/lake/small", b"1", mode="create")
    obstore.put(writer, "team/lake/parts", b"1" * (11 << 20), use_multipart=True)
    assert listed(writer, "team/lake") == ["team/lake/parts", "team/lake/small"]
    obstore.delete(writer, ["team/lake/parts"])
    assert listed(writer, "team/lake") == ["team/lake/small"]
    for path in ("team/other/a", "team/lakeside/a", "a"):
        for attempt in (
            lambda path=path: obstore.get(writer, path),
            lambda path=path: obstore.put(writer, path, b"2"),
            lambda path=path: listed(writer, path.rpartition("/")[0]),
        ):
            with pytest.raises(BaseError):
                attempt()
        with pytest.raises(BaseError):
            obstore.delete(writer, path)
        assert obstore.get(root, path).bytes() == b"1"


def test_the_reader_reads(minio: Server, bucket: str) -> None:
    done = set_up(minio, bucket)
    writer = open_as(minio, bucket, done, "writer", SECRETS["LAKEHOUSE_WRITER_SECRET"])
    obstore.put(writer, "team/lake/a", b"1")
    reader = open_as(minio, bucket, done, "reader", SECRETS["LAKEHOUSE_READER_SECRET"])
    assert obstore.get(reader, "team/lake/a").bytes() == b"1"
    assert listed(reader, "team/lake") == ["team/lake/a"]
    # A log that ends is a file that is missing, not one that is forbidden.
    with pytest.raises(FileNotFoundError):
        obstore.get(reader, "team/lake/b")
    with pytest.raises(BaseError):
        obstore.put(reader, "team/lake/b", b"2")
    with pytest.raises(BaseError):
        obstore.delete(reader, "team/lake/a")
    assert listed(reader, "team/lake") == ["team/lake/a"]


def test_a_changed_secret_replaces_the_old_one(minio: Server, bucket: str) -> None:
    set_up(minio, bucket)
    done = set_up(minio, bucket, LAKEHOUSE_WRITER_SECRET="writers-canary-2")
    obstore.put(open_as(minio, bucket, done, "writer", "writers-canary-2"), "team/lake/a", b"1")
    with pytest.raises(BaseError):
        listed(open_as(minio, bucket, done, "writer", "writers-canary-1"), "team/lake")


def test_one_key_for_both_is_refused(minio: Server, bucket: str) -> None:
    same = {"LAKEHOUSE_WRITER_KEY": "same", "LAKEHOUSE_READER_KEY": "same"}
    with pytest.raises(InputError, match="one key"):
        set_up(minio, bucket, **same)


@pytest.mark.parametrize("admin", [Keys("{admin}", "wrong-canary"), Keys("nobody", "wrong-canary")])
def test_wrong_keys_are_told_without_their_secret(minio: Server, bucket: str, admin: Keys) -> None:
    keys = Keys(admin.key.format(admin=minio.admin.key), admin.secret)
    other = Server(endpoint=minio.endpoint, admin=keys)
    with pytest.raises(StorageError, match=f"refuses {keys.key}") as caught:
        set_up(other, bucket)
    assert "canary" not in repr(caught.value) + str(caught.value.__cause__)


def test_waiting_ends(bucket: str) -> None:
    server = Server(endpoint="http://127.0.0.1:9", admin=Keys("key", "canary"))
    now = itertools.count()
    slept: list[float] = []
    with pytest.raises(StorageError, match="cannot reach") as caught:
        bootstrap(
            f"s3://{bucket}/lake",
            server,
            wait=5,
            sleep=slept.append,
            clock=lambda: float(next(now)),
        )
    assert len(slept) == 4
    assert "canary" not in repr(caught.value) + str(caught.value.__cause__)


def test_another_server_gets_its_bucket_but_no_users(server, bucket: str) -> None:
    running = server("seaweedfs")
    weed = admin_of(running)
    assert bootstrap(f"s3://{bucket}/lake", weed, wait=30).created
    with pytest.raises(UnsupportedError, match="MinIO's interface"):
        set_up(weed, bucket)


@pytest.mark.parametrize("endpoint", ["127.0.0.1:9000", "http://me:canary@host", "s3://bucket", ""])
def test_endpoints_are_urls_without_passwords(endpoint: str) -> None:
    with pytest.raises(InputError, match="is no URL") as caught:
        Server.of(endpoint, environment={})
    assert "canary" not in str(caught.value)


def test_the_administrator_must_be_named() -> None:
    with pytest.raises(InputError, match="AWS_ACCESS_KEY_ID"):
        Server.of("http://127.0.0.1:9000", environment={"AWS_ACCESS_KEY_ID": "root"})


def test_only_buckets_are_set_up(minio: Server) -> None:
    with pytest.raises(InputError, match="s3://bucket/prefix"):
        bootstrap("./lake", minio)
