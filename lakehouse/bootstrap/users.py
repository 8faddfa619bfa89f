"""The users of a lake: their keys, where these come from, and how they are handed over."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Iterable, Mapping
from typing import Final

from catalog.errors import InputError
from lakehouse.bootstrap.policy import ROLES, Role, policy_name

_SHORTEST_SECRET: Final = 8  # the server's rule


@dataclasses.dataclass(frozen=True, slots=True)
class Keys:
    """Hold an access key and its secret; the secret is not in the repr.

    >>> Keys("admin", "hunter2hunter2")
    Keys(key='admin')
    """

    key: str
    secret: str = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Describe a user to be made: ``given`` says that the caller chose the secret."""

    role: Role
    keys: Keys
    given: bool


def accounts(environment: Mapping[str, str], *, bucket: str, prefix: str) -> tuple[Account, ...]:
    """Return a writer and a reader, with keys from the environment or new ones.

    ``LAKEHOUSE_WRITER_KEY``, ``LAKEHOUSE_WRITER_SECRET`` and the same for the reader choose them.

    >>> writer, reader = accounts({"LAKEHOUSE_WRITER_KEY": "etl"}, bucket="b", prefix="lake")
    >>> writer.keys.key, writer.given, len(reader.keys.secret)
    ('etl', False, 40)
    """
    return tuple(_account(role, environment, bucket, prefix) for role in ROLES)


def profiles(users: Iterable[tuple[Role, Keys]], *, endpoint: str, region: str) -> str:
    """Return users as profiles in the format of ``~/.aws/credentials``.

    >>> print(profiles([("reader", Keys("r", "s3cret"))], endpoint="http://host", region="here"))
    [lakehouse-reader]
    aws_access_key_id = r
    aws_secret_access_key = s3cret
    endpoint_url = http://host
    region = here
    <BLANKLINE>
    """
    return "\n".join(
        f"[lakehouse-{role}]\naws_access_key_id = {keys.key}\n"
        f"aws_secret_access_key = {keys.secret}\nendpoint_url = {endpoint}\nregion = {region}\n"
        for role, keys in users
    )


def _account(role: Role, environment: Mapping[str, str], bucket: str, prefix: str) -> Account:
    name = f"LAKEHOUSE_{role.upper()}"
    key = environment.get(f"{name}_KEY") or policy_name(role, bucket=bucket, prefix=prefix)
    secret = environment.get(f"{name}_SECRET", "")
    if 0 < len(secret) < _SHORTEST_SECRET:
        raise InputError(
            f"{name}_SECRET has {len(secret)} characters",
            next_step=f"Choose one of {_SHORTEST_SECRET} characters or more, or leave it out",
        )
    return Account(role=role, keys=Keys(key, secret or secrets.token_hex(20)), given=bool(secret))
