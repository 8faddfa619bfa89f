"""Object storage and memory, through obstore: the only module that imports it.

A store is opened at its bucket and shared by every folder in it. `mode="create"` is the
conditional put (`If-None-Match: *`) that makes commits exclusive.
"""

import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import obstore
from obstore import exceptions
from obstore.store import MemoryStore, ObjectStore, from_url

from catalog.backend import TEMPORARY_PREFIX, StoredObject, too_large
from catalog.errors import InputError, LakehouseError, OutcomeUnknownError, StorageError
from catalog.location import Location, join

_FOREIGN = (exceptions.BaseError, OSError, ValueError)
_REFUSED = (
    exceptions.PermissionDeniedError,
    exceptions.UnauthenticatedError,
    exceptions.NotSupportedError,
    exceptions.InvalidPathError,
    exceptions.UnknownConfigurationKeyError,
    FileNotFoundError,
    ValueError,
)
# Whatever is not known to be harmless is taken for a secret and kept out of messages.
_HARMLESS = ("region", "endpoint", "bucket", "container_name", "account_name", "allow_http")
_memory: dict[str, MemoryStore] = {}
_memory_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class RemoteBackend:
    """Store files under a prefix of one bucket or container."""

    store: ObjectStore
    location: Location
    secrets: tuple[str, ...] = ()

    def url(self, path: str) -> str:
        return join(self.location.uri, path)

    def read(self, path: str, at_most: int | None) -> bytes:
        try:
            found = obstore.get(self.store, self._key(path))
            if at_most is not None and found.meta["size"] > at_most:
                raise too_large(self.url(path), found.meta["size"], at_most)
            return found.bytes().to_bytes()
        except _FOREIGN as error:
            raise self._translate(error, "read", path) from self._cleaned(error)

    def put(self, path: str, data: bytes) -> None:
        try:
            obstore.put(self.store, self._key(path), data)
        except _FOREIGN as error:
            raise self._judge(error, path) from self._cleaned(error)

    def put_if_absent(self, path: str, data: bytes) -> bool:
        try:
            obstore.put(self.store, self._key(path), data, mode="create")
        except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
            return False
        except _FOREIGN as error:
            raise self._judge(error, path) from self._cleaned(error)
        return True

    def list(
        self, prefix: str, start_after: str | None, *, temporary: bool = False
    ) -> Iterator[StoredObject]:
        skip = len(self.location.path) + 1 if self.location.path else 0
        offset = self._key(start_after) if start_after else None
        found = []
        try:
            pages = obstore.list(
                self.store, self._key(prefix) or None, offset=offset, chunk_size=1000
            )
            for page in pages:
                for item in page:
                    path = item["path"][skip:]
                    name = path.rpartition("/")[2]
                    # Some servers ignore the offset: filter again.
                    hidden = name.startswith(TEMPORARY_PREFIX) and not temporary
                    if not hidden and path > (start_after or ""):
                        found.append(StoredObject(path, item["size"], item["last_modified"]))
        except _FOREIGN as error:
            raise self._translate(error, "list", prefix) from self._cleaned(error)
        # Not every store lists in order (S3 directory buckets do not).
        return iter(sorted(found, key=lambda item: item.path))

    def head(self, path: str) -> StoredObject | None:
        try:
            item = obstore.head(self.store, self._key(path))
        except FileNotFoundError:
            return None
        except _FOREIGN as error:
            raise self._translate(error, "look at", path) from self._cleaned(error)
        return StoredObject(path, item["size"], item["last_modified"])

    def delete(self, paths: Iterable[str]) -> None:
        keys = [self._key(path) for path in paths]
        try:
            if keys:
                obstore.delete(self.store, keys)
        except FileNotFoundError:
            # Stores without bulk deletes stop at the first missing file.
            for key in keys:
                self._delete_one(key)
        except _FOREIGN as error:
            raise self._translate(error, "delete", "") from self._cleaned(error)

    def sync(self, paths: Iterable[str]) -> None:
        """Do nothing: object storage acknowledges only what is durable."""

    def require_inside(self, paths: Iterable[str]) -> None:
        """Do nothing: object storage has no links."""

    def child(self, relative: str) -> "RemoteBackend":
        return replace(self, location=self.location.child(relative))

    def _key(self, path: str) -> str:
        return join(self.location.path, path)

    def _delete_one(self, key: str) -> None:
        try:
            obstore.delete(self.store, key)
        except FileNotFoundError:
            return
        except _FOREIGN as error:
            raise self._translate(error, "delete", key) from self._cleaned(error)

    def _judge(self, error: Exception, path: str) -> LakehouseError:
        """Tell a refusal, which proves that nothing was written, from a failure."""
        if isinstance(error, _REFUSED) or _never_sent(str(error)):
            return self._translate(error, "write", path)
        return OutcomeUnknownError(
            f"cannot tell whether {self.url(path)} was written: {self._summary(error)}",
            next_step="Look whether the file is there before writing it again",
            path=self.url(path),
        )

    def _translate(self, error: Exception, action: str, path: str) -> LakehouseError:
        where = f"cannot {action} {self.url(path)}"
        # Lists and bulk deletes report a refusal as an error of no kind, with the status in it.
        status = _status(str(error))
        if isinstance(error, FileNotFoundError) or status == 404:
            return StorageError(
                f"{where}: no such file or bucket",
                next_step="Check the URI, or whether the table was vacuumed or dropped meanwhile",
                missing=True,
                path=self.url(path),
            )
        if isinstance(error, exceptions.PermissionDeniedError) or status == 403:
            problem, next_step = "permission denied", "Check the policy of these credentials"
        elif isinstance(error, exceptions.UnauthenticatedError) or status == 401:
            problem, next_step = "credentials were refused", "Check the credentials and the clock"
        elif isinstance(error, exceptions.InvalidPathError | ValueError):
            return InputError(f"{where}: {self._summary(error)}", next_step="Use another name")
        else:
            problem = self._summary(error)
            next_step = "Check the endpoint, the region and the credentials"
        return StorageError(f"{where}: {problem}", next_step=next_step, path=self.url(path))

    def _summary(self, error: Exception) -> str:
        return summarise(error, secrets=self.secrets)

    def _cleaned(self, error: Exception) -> Exception:
        # A traceback shows its cause in full, and a signed URL in there is a credential.
        kind = ValueError if isinstance(error, UnicodeError) else type(error)
        return kind(self._summary(error))


def open_remote(location: Location, options: Mapping[str, Any]) -> RemoteBackend:
    """Open the bucket of a location; raise InputError for options that its store rejects."""
    secrets = tuple(_secrets(options))
    if location.scheme == "memory":
        if options:
            raise InputError("memory:// takes no options", next_step="Leave them out")
        with _memory_lock:
            store: ObjectStore = _memory.setdefault(location.host, MemoryStore())
        return RemoteBackend(store, location)
    try:
        store = from_url(f"{location.scheme}://{location.host}", **options)
    except _FOREIGN as error:
        summary = summarise(error, secrets=secrets)
        raise InputError(
            f"cannot open {location.uri}: {summary}",
            next_step="Check the URI and the names and values of the options",
        ) from ValueError(summary)
    except TypeError as error:
        raise InputError(
            f"cannot open {location.uri}: an option has a value of the wrong type",
            next_step="Options are text, numbers or booleans; see obstore's store configuration",
        ) from error
    return RemoteBackend(store, location, secrets)


def summarise(error: Exception, *, secrets: Iterable[str] = ()) -> str:
    """Return the first line of a foreign error, without queries and without any secret.

    >>> summarise(ValueError("GET http://host/x?sig=abc failed for KEY"), secrets=["KEY"])
    'GET http://host/x?... failed for ***'
    """
    text = str(error).partition("\n")[0]
    for secret in secrets:
        if len(secret) > 2:
            text = text.replace(secret, "***")
    return re.sub(r"\?[^\s)\"']+", "?...", text).rstrip(". ")


def _secrets(options: Mapping[str, Any]) -> Iterator[str]:
    for name, value in options.items():
        if isinstance(value, Mapping):
            yield from _secrets(value)
        elif isinstance(value, str) and ("@" in value or not name.lower().endswith(_HARMLESS)):
            yield value


def _status(details: str) -> int | None:
    found = re.search(r"(?:non-2xx status code|\bstatus): (\d{3})\b", details)
    return int(found[1]) if found else None


def _never_sent(details: str) -> bool:
    """Tell from obstore's details that no attempt can have reached the store's disks.

    Only the last attempt is described, so an earlier one must not have been made.
    """
    if "169.254.169.254" in details:  # No credentials were found, not even on the instance.
        return True
    status = _status(details) or 0
    refused = "kind: Connect" in details or status == 501 or (400 <= status < 500 and status != 408)
    return "retries: 0," in details and refused
