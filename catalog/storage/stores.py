"""Open stores with obstore, from settings; with `remote`, the only module that imports it."""

import re
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from obstore import exceptions
from obstore.store import MemoryStore, ObjectStore, from_url

from catalog.errors import InputError, LakehouseError
from catalog.storage.settings import Settings

FOREIGN = (exceptions.BaseError, OSError, ValueError)
_memory: dict[str, MemoryStore] = {}
_memory_lock = threading.Lock()
_MEMORY_REQUESTS = 64


@dataclass(frozen=True, slots=True)
class Bucket:
    """Hold an open bucket or container, shared by all that is stored in it.

    ``secrets`` are the values that no message may hold; keys that a provider hands out are added.
    ``turns`` lets only so many requests run at once.
    """

    store: ObjectStore
    settings: Settings | None = None
    secrets: set[str] = field(default_factory=set, repr=False)
    turns: threading.BoundedSemaphore = field(
        default_factory=lambda: threading.BoundedSemaphore(_MEMORY_REQUESTS), repr=False
    )

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
    options: dict[str, Any] = dict(settings.config)
    try:
        if network.ca_file is not None:
            client["root_certificate"] = Path(network.ca_file).read_bytes()
        if settings.credentials is not None:
            options["credential_provider"] = _provider(settings, secrets)
        store: ObjectStore = from_url(  # type: ignore[call-overload]
            f"{location.scheme}://{location.host}",
            client_options=client,
            retry_config={**network.retry_config(), **settings.retry},
            **options,
        )
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
    return Bucket(store, settings, secrets, threading.BoundedSemaphore(network.requests))


def summarise(error: Exception, *, secrets: Iterable[str] = ()) -> str:
    """Return the first line of a foreign error, without queries and without any secret.

    >>> summarise(ValueError("GET http://host/x?sig=abc failed for KEY"), secrets=["KEY"])
    'GET http://host/x?... failed for ***'
    """
    text = str(error).partition("\n")[0]
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) > 2:
            text = text.replace(secret, "***")
    return re.sub(r"\?[^\s)\"']+", "?...", text).rstrip(". ")


def _provider(settings: Settings, secrets: set[str]) -> Any:
    """Return what obstore calls for keys: whenever the last ones have run out."""
    ask = settings.credentials
    assert ask is not None
    names = {"session_token": "token", "account_key": "access_key"}

    def keys() -> dict[str, Any]:
        try:
            given = ask()
        except LakehouseError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever the user's function raises
            raise RuntimeError(f"the credentials function failed: {type(error).__name__}") from None
        found = {names.get(name, name): value for name, value in given.items()}
        found.setdefault("expires_at", None)
        until = found["expires_at"]
        if isinstance(until, datetime) and until.tzinfo is None:
            raise RuntimeError("expires_at of the credentials has no time zone")
        secrets.update(value for value in found.values() if isinstance(value, str))
        return found

    return keys


def _texts(values: Mapping[str, Any]) -> set[str]:
    """Return all texts in options that are passed on as they are."""
    found: set[str] = set()
    for value in values.values():
        if isinstance(value, Mapping):
            found |= _texts(value)
        elif isinstance(value, str):
            found.add(value)
    return found
