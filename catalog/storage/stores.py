"""Open stores with obstore, from settings; with `remote`, the only module that imports it."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from obstore import exceptions
from obstore.store import MemoryStore, ObjectStore, from_url

from catalog.errors import InputError, LakehouseError
from catalog.storage.answers import summarise
from catalog.storage.settings import UNSAID, Provider, Settings

FOREIGN = (exceptions.BaseError, OSError, ValueError)
_memory: dict[str, MemoryStore] = {}
_memory_lock = threading.Lock()
_MEMORY_REQUESTS = 64
# Keys by our name and by that of obstore's credentials.
_KEYS = {
    "access_key_id": "access_key_id",
    "secret_access_key": "secret_access_key",
    "session_token": "token",
    "account_key": "access_key",
    "sas_key": "sas_token",
}


@dataclass(slots=True, eq=False)
class Bucket:
    """Hold an open bucket or container, shared by all that is stored in it.

    ``secrets`` are the values that no message may hold; keys that a provider hands out are added.
    ``turns`` lets only so many requests run at once. ``reopen`` asks the provider for new keys.
    """

    store: ObjectStore
    settings: Settings | None = None
    secrets: set[str] = field(default_factory=set, repr=False)
    turns: threading.BoundedSemaphore = field(
        default_factory=lambda: threading.BoundedSemaphore(_MEMORY_REQUESTS), repr=False
    )
    reopen: Callable[[], ObjectStore] | None = field(default=None, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def renewed(self, used: ObjectStore) -> ObjectStore | None:
        """Return a store that asks for keys anew, or None where there is nobody to ask.

        ``used`` is the one whose keys have expired: of many callers, one opens its successor.
        """
        if self.reopen is None:
            return None
        with self._lock:
            if self.store is used:
                self.store = self.reopen()
            return self.store

    def cleaned(self, error: Exception) -> Exception:
        """Return a foreign error that may be shown as a cause.

        A traceback shows its cause in full, and a signed URL in there is a credential.
        """
        kind = ValueError if isinstance(error, UnicodeError) else type(error)
        return kind(self.summary(error))

    def summary(self, error: Exception) -> str:
        """Return the first line of a foreign error without secrets."""
        return summarise(error, secrets=tuple(self.secrets))


def open_memory(name: str) -> Bucket:
    """Open what is kept in this process under a name."""
    with _memory_lock:
        return Bucket(_memory.setdefault(name, MemoryStore()))


def open_bucket(settings: Settings) -> Bucket:
    """Open a bucket or container; raise InputError for options that its store rejects."""
    location, network = settings.location, settings.network
    secrets = {*settings.secrets(), *_texts(settings.client)}
    client = {**network.client_options(), **settings.client}
    retry = {**network.retry_config(), **settings.retry}
    options: dict[str, Any] = {**UNSAID[settings.family], **settings.config}

    def open_store() -> ObjectStore:
        provider = _provider(settings, secrets)
        who = {"credential_provider": provider} if provider else {}
        found: ObjectStore = from_url(  # type: ignore[call-overload]
            f"{location.scheme}://{location.host}",
            client_options=client,
            retry_config=retry,
            **{name: value for name, value in options.items() if not (who and name in _KEYS)},
            **who,
        )
        return found

    if network.ca_file is not None:
        client["root_certificate"] = _certificates(network.ca_file)
    try:
        store = open_store()
    except FOREIGN as error:
        summary = summarise(error, secrets=tuple(secrets))
        raise InputError(
            f"cannot open {location.uri}: {summary}",
            next_step="Check the URI and the names and values of the options",
        ) from ValueError(summary)
    except TypeError as error:
        raise InputError(
            f"cannot open {location.uri}: an option has a value of the wrong type",
            next_step="Options are text, numbers or booleans; see obstore's store configuration",
        ) from error
    turns = threading.BoundedSemaphore(network.requests)
    reopen = open_store if settings.credentials is not None else None
    return Bucket(store, settings, secrets, turns, reopen)


def _provider(settings: Settings, secrets: set[str]) -> Callable[[], dict[str, Any]] | None:
    """Return what obstore calls for keys: whenever the last ones have run out.

    Keys that never change are handed out in the same way: only so does obstore not mix them with
    others that stand in the environment, such as somebody else's session token.
    """
    ask = settings.credentials
    if ask is not None:
        return lambda: _handed_out(ask, secrets)
    known = {_KEYS[name]: settings.config[name] for name in _KEYS if settings.config.get(name)}
    if settings.family == "az" and len(known) > 1:
        known.pop("sas_token", None)
    if not all(isinstance(value, str) for value in known.values()):
        raise TypeError("keys are text")
    if known.keys() & {"access_key_id", "access_key", "sas_token"}:
        return lambda: {"token": None, **known, "expires_at": None}
    return None


def _handed_out(ask: Provider, secrets: set[str]) -> dict[str, Any]:
    """Ask the user's function for keys, and return them under obstore's names."""
    problem = "the credentials function "
    try:
        given = ask()
    except LakehouseError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever the user's function raises
        raise RuntimeError(f"{problem}failed: {type(error).__name__}") from None
    if not isinstance(given, Mapping):
        raise RuntimeError(f"{problem}returned no dict") from None
    found = {_KEYS.get(name, name): value for name, value in given.items()}
    secrets.update(value for value in found.values() if isinstance(value, str))
    until = found.setdefault("expires_at", None)
    if until is not None and (not isinstance(until, datetime) or until.tzinfo is None):
        raise RuntimeError(f"{problem}returned an expires_at that is no time with a time zone")
    return found


def _certificates(path: str) -> bytes:
    try:
        found = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"cannot read ca_file {path}: {error.strerror}") from error
    if b"BEGIN CERTIFICATE" not in found:
        raise InputError(f"ca_file {path} holds no certificate", next_step="Pass a PEM file")
    return found


def _texts(values: Mapping[str, Any]) -> set[str]:
    """Return all texts in options that are passed on as they are."""
    found: set[str] = set()
    for value in values.values():
        if isinstance(value, Mapping):
            found |= _texts(value)
        elif isinstance(value, str):
            found.add(value)
    return found
