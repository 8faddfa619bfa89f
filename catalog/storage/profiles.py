"""Read the profiles of the AWS tools: ``~/.aws/credentials`` and ``~/.aws/config``.

Keys that stand in the files are read here. Roles, single sign-on and processes are the AWS SDK's
business, which is asked where it is installed.
"""

import configparser
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from catalog.errors import InputError, StorageError

_KEYS = {
    "aws_access_key_id": "access_key_id",
    "aws_secret_access_key": "secret_access_key",
    "aws_session_token": "session_token",
    "region": "region",
    "endpoint_url": "endpoint",
}
_DYNAMIC = (
    "role_arn", "sso_session", "sso_start_url", "credential_process", "web_identity_token_file",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Profile:
    """Hold what a profile says: configuration by obstore's names, or who hands out keys."""

    config: Mapping[str, str] = field(repr=False)
    ca_file: str | None = None
    provider: Callable[[], Mapping[str, Any]] | None = field(default=None, repr=False)


def read_profile(name: str | None, environ: Mapping[str, str]) -> Profile | None:
    """Return a profile by its name, by default that of ``AWS_PROFILE`` or ``default``.

    Returns None where no name was given and there is no such profile. Raises InputError for a
    name that is not there, or that needs the AWS SDK where that is not installed.
    """
    home = Path(environ.get("HOME") or Path.home()) / ".aws"
    files = (
        Path(environ.get("AWS_CONFIG_FILE") or home / "config"),
        Path(environ.get("AWS_SHARED_CREDENTIALS_FILE") or home / "credentials"),
    )
    wanted = name or environ.get("AWS_PROFILE")
    values: dict[str, str] = {}
    profile = wanted or "default"
    for file, section in zip(files, (f"profile {profile}", profile), strict=True):
        parsed = _parse(file)
        for title in (section, profile):
            if parsed.has_section(title):
                values |= parsed.items(title)
                break
    if not values:
        if wanted is None:
            return None
        raise InputError(
            f"there is no profile {wanted!r} in {files[0]} or {files[1]}",
            next_step="Check the name, or pass access_key_id and secret_access_key",
        )
    config = {ours: values[theirs] for theirs, ours in _KEYS.items() if theirs in values}
    provider = None
    if "access_key_id" not in config and any(key in values for key in _DYNAMIC):
        provider = _from_sdk(profile)
    return Profile(config, values.get("ca_bundle"), provider)


def _parse(file: Path) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser()
    try:
        parser.read(file, encoding="utf-8")
    except (configparser.Error, OSError, UnicodeDecodeError) as error:
        # The error would show the line, which may hold a key.
        raise InputError(
            f"cannot read {file}: {type(error).__name__}", next_step="Mend or move the file"
        ) from None
    return parser


def _from_sdk(profile: str) -> Callable[[], Mapping[str, Any]]:
    try:
        boto3 = importlib.import_module("boto3")
    except ModuleNotFoundError as error:
        raise InputError(
            f"profile {profile!r} takes its keys from a role, a sign-on or a process",
            next_step="Install the AWS SDK: pip install lakehouse-storage[aws]",
        ) from error
    session = boto3.Session(profile_name=profile)

    def keys() -> Mapping[str, Any]:
        found = session.get_credentials()
        if found is None:
            raise StorageError(
                f"profile {profile!r} gives no credentials", next_step="Sign in again"
            )
        frozen = found.get_frozen_credentials()
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": getattr(found, "_expiry_time", None),
        }

    return keys
