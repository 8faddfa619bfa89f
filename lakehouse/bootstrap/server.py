"""Make the bucket and the users on a server, through the MinIO SDK.

The bucket is made on any server that speaks S3; users and policies through MinIO's own
interface, which others lack. All of it may be done again: what is there stays.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import urllib3
from minio import Minio, MinioAdmin
from minio.credentials.providers import StaticProvider
from minio.error import MinioAdminException, MinioException, S3Error
from urllib3.exceptions import HTTPError

from catalog.errors import InputError, StorageError, UnsupportedError
from catalog.storage import parse
from lakehouse.bootstrap.policy import Role, policy, policy_name
from lakehouse.bootstrap.users import Account, Keys

_PAUSE: Final = 0.5  # seconds between two looks whether the server is up
_TIMEOUT: Final = 10.0  # seconds for one request
_THERE: Final = ("BucketAlreadyOwnedByYou", "BucketAlreadyExists")
_NOT_UP: Final = ("ServerNotInitialized", "ServiceUnavailable", "SlowDown", "InternalError")
_REFUSED: Final = ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Name a server that speaks S3, and its administrator."""

    endpoint: str
    admin: Keys
    region: str = "us-east-1"

    @classmethod
    def of(
        cls, endpoint: str, *, region: str | None = None, environment: Mapping[str, str]
    ) -> Server:
        """Return the server at a URL, with the administrator that the environment names.

        >>> environment = {"AWS_ACCESS_KEY_ID": "root", "AWS_SECRET_ACCESS_KEY": "hunter22"}
        >>> Server.of("http://127.0.0.1:9000/", environment=environment)
        Server(endpoint='http://127.0.0.1:9000', admin=Keys(key='root'), region='us-east-1')
        """
        parts = urlsplit(endpoint)
        if parts.scheme not in ("http", "https") or not parts.netloc or "@" in parts.netloc:
            raise InputError(
                "the endpoint is no URL such as http://127.0.0.1:9000",
                next_step="Pass --endpoint-url with scheme and host, and no password in it",
            )
        key = environment.get("AWS_ACCESS_KEY_ID", "")
        secret = environment.get("AWS_SECRET_ACCESS_KEY", "")
        if not key or not secret:
            raise InputError(
                "no credentials for setting up the server",
                next_step="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to its administrator's",
            )
        chosen = region or environment.get("AWS_REGION") or "us-east-1"
        return cls(
            endpoint=f"{parts.scheme}://{parts.netloc}", admin=Keys(key, secret), region=chosen
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Report a user; ``secret`` is None where it is the caller's, or an earlier call's."""

    role: Role
    key: str
    created: bool
    secret: str | None = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Bootstrapped:
    """Report what was set up; ``versioned`` says that deleted objects stay and take space."""

    bucket: str
    created: bool
    versioned: bool
    users: tuple[User, ...]


def bootstrap(
    uri: str,
    server: Server,
    *,
    accounts: Sequence[Account] = (),
    wait: float = 0.0,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Bootstrapped:
    """Make the bucket of ``uri`` and the users if they are missing, and set their policies.

    Looks for ``wait`` seconds whether the server is up. A secret that the caller chose is set
    anew each time, so that it can be changed.
    """
    place = parse(uri)
    if place.scheme != "s3":
        raise InputError(f"{place.uri} is not in a bucket", next_step="Pass s3://bucket/prefix")
    if len({account.keys.key for account in accounts}) < len(accounts):
        raise InputError("two users have one key", next_step="Give each a key of its own")
    address = urlsplit(server.endpoint)
    shared: dict[str, Any] = {
        "endpoint": address.netloc,
        "credentials": StaticProvider(server.admin.key, server.admin.secret),
        "region": server.region,
        "secure": address.scheme == "https",
        # The SDK's own would try for minutes; we wait as long as we are told.
        "http_client": urllib3.PoolManager(timeout=_TIMEOUT, retries=False),
    }
    with _translated(server):
        client = Minio(**shared)
        there = _wait(client, place.host, until=clock() + wait, sleep=sleep, clock=clock)
        created = not there and _make(client, place.host)
        versioned = client.get_bucket_versioning(place.host).status == "Enabled"
        users = _users(shared, accounts, bucket=place.host, prefix=place.path) if accounts else ()
    return Bootstrapped(bucket=place.host, created=created, versioned=versioned, users=users)


def _wait(
    client: Minio,
    bucket: str,
    *,
    until: float,
    sleep: Callable[[float], None],
    clock: Callable[[], float],
) -> bool:
    """Tell whether the bucket exists, as soon as the server can."""
    while True:
        try:
            return client.bucket_exists(bucket)
        except (HTTPError, MinioException) as error:
            up = isinstance(error, S3Error) and not str(error.code).endswith(_NOT_UP)
            if up or clock() >= until:
                raise
        sleep(_PAUSE)


def _make(client: Minio, bucket: str) -> bool:
    try:
        client.make_bucket(bucket)
    except S3Error as error:
        if error.code not in _THERE:
            raise
        return False
    return True


def _users(
    shared: Mapping[str, Any], accounts: Sequence[Account], *, bucket: str, prefix: str
) -> tuple[User, ...]:
    admin = MinioAdmin(**shared)
    # Reading first: to another server, what MinIO takes for "add a policy" is "put an object".
    try:
        policies = json.loads(admin.policy_list())
    except (MinioAdminException, ValueError) as error:
        if isinstance(error, MinioAdminException) and _details(error)[0].endswith(_REFUSED):
            raise
        policies = None
    if not isinstance(policies, dict) or "readwrite" not in policies:
        raise UnsupportedError(
            "this server does not have MinIO's interface for users",
            next_step="Make users by its own means, with the policies of docs/minio.md",
        )
    existing = json.loads(admin.user_list() or "{}")
    done = []
    for account in accounts:
        key, name = account.keys.key, policy_name(account.role, bucket=bucket, prefix=prefix)
        new = key not in existing
        admin.policy_add(name, policy=policy(account.role, bucket=bucket, prefix=prefix))
        if new or account.given:
            admin.user_add(key, account.keys.secret)
        _attach(admin, name, key)
        shown = account.keys.secret if new and not account.given else None
        done.append(User(role=account.role, key=key, created=new, secret=shown))
    return tuple(done)


def _attach(admin: MinioAdmin, name: str, key: str) -> None:
    try:
        admin.attach_policy([name], user=key)
    except MinioAdminException as error:
        if not _details(error)[0].endswith("PolicyChangeAlreadyApplied"):
            raise


@contextlib.contextmanager
def _translated(server: Server) -> Iterator[None]:
    try:
        yield
    except ValueError as error:  # the SDK's own checks of names
        raise InputError(str(error), next_step="Choose another name") from error
    except HTTPError as error:
        raise StorageError(
            f"cannot reach {server.endpoint}: {type(error).__name__}",
            next_step="Check the endpoint, and whether the server is up",
        ) from error
    except (MinioException, MinioAdminException) as error:
        code, message = _details(error)
        if code.endswith(_REFUSED):
            raise StorageError(
                f"{server.endpoint} refuses {server.admin.key}: {message}",
                next_step="Use the keys of the server's administrator",
            ) from error
        raise StorageError(
            f"{server.endpoint} answers {code}: {message}",
            next_step="See the server's log",
        ) from error


def _details(error: Exception) -> tuple[str, str]:
    """Return a server's code and its words."""
    if isinstance(error, S3Error):
        return str(error.code), str(error.message)
    if isinstance(error, MinioAdminException):
        try:
            body = json.loads(error.args[0].partition("Body: ")[2])
            return str(body["Code"]), str(body["Message"])
        except (ValueError, KeyError, TypeError):
            return "an error", "without details"
    return type(error).__name__, str(error).partition("\n")[0]
