"""The numbered documents in `_catalog/`: find the newest one, add the next one, exactly once.

Nothing here knows what a document means beyond its token. Documents are never changed, so the
number of the newest one is all that a reader needs to learn, by one listing.
"""

import random as random_module
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from catalog.document import decode_change
from catalog.errors import CorruptionError, OutcomeUnknownError, StorageError
from catalog.storage import Storage, StoredObject

HINT = "_latest"
HINT_EVERY = 100
_NAME = re.compile(r"(\d{20})\.json")


@dataclass(frozen=True, slots=True)
class Backoff:
    """Say how often to try and how long to wait in between: exponential, with full jitter.

    `attempts` counts tries, `first` and `longest` are seconds.
    """

    attempts: int = 60
    first: float = 0.01
    longest: float = 0.5
    sleep: Callable[[float], None] = time.sleep
    random: Callable[[], float] = random_module.random

    def tries(self) -> Iterator[int]:
        """Yield the number of each try, having slept before every one but the first."""
        for attempt in range(self.attempts):
            if attempt:
                longest = min(self.longest, self.first * 2 ** min(attempt - 1, 30))
                self.sleep(longest * self.random())
            yield attempt


@dataclass(frozen=True, slots=True)
class Found:
    """Hold what one listing found: the documents' versions in order, and what else is there."""

    versions: tuple[int, ...]
    others: frozenset[str]

    @property
    def newest(self) -> int | None:
        """Return the newest version, or None if there is no document."""
        return self.versions[-1] if self.versions else None


def _token_of_change(data: bytes, where: str) -> str:
    return decode_change(data, where=where)[1]


@dataclass(frozen=True, slots=True)
class Journal:
    """Keep numbered documents in one folder; ``token_of`` reads a document's token."""

    storage: Storage
    backoff: Backoff
    token_of: Callable[[bytes, str], str] = _token_of_change
    hints: bool = True  # of use where documents are many

    def path(self, version: int) -> str:
        """Return a document's name, which sorts by version."""
        return f"{version:020d}.json"

    def where(self, version: int) -> str:
        """Return what names a document in errors."""
        return self.storage.url(self.path(version))

    def read(self, version: int) -> bytes:
        """Return a document's content."""
        return self.storage.read(self.path(version))

    def list(self, *, start: int = 0) -> Found:
        """List the versions from `start` on: one request for each thousand.

        Names of other files begin with `_`, which comes after the digits: all of them are found.
        """
        after = self.path(start - 1) if start > 0 else None
        return _found(self.storage.list(start_after=after))

    def look(self, *, known: int | None = None) -> Found:
        """List what tells the newest version.

        `known` is a version that was seen before. Without it a hint in `_latest` saves listing
        a long history; it may be stale, wrong or missing without harm.
        """
        if known is None and (listed := self.storage.list_at_once()) is not None:
            return _found(listed)
        start = self._hint() if known is None else known
        # From `start` itself on: if even that is gone, it tells nothing about the others.
        found = self.list(start=start)
        return found if found.versions or not start else self.list()

    def append(self, version: int, data: bytes, *, token: str) -> bool:
        """Add a document; tell whether it is the one with our token that has this version.

        Raise OutcomeUnknownError if storage never says.
        """
        unknown: OutcomeUnknownError | None = None
        for _ in self.backoff.tries():
            try:
                if self.storage.put_if_absent(self.path(version), data):
                    self._leave_hint(version)
                    return True
            except OutcomeUnknownError as error:
                unknown = error
            except StorageError:
                # A refusal proves nothing about the put before it.
                if unknown is None:
                    raise
            # "It exists" may be about our own put, repeated after its answer was lost.
            written = self._read_back(version)
            if written is not None:
                return self._is_ours(written, version, token)
            # Not there yet, but a put in flight may still land. Sending the same document for
            # the same version again is safe, going on to anything else is not.
        raise OutcomeUnknownError(
            f"cannot tell whether the change became version {version} of {self.storage.url()}:"
            f" storage gave no answer in {self.backoff.attempts} tries",
            next_step="Look at what is there before repeating it",
            version=version,
            token=token,
        ) from unknown

    def _read_back(self, version: int) -> bytes | None:
        try:
            return self.storage.read_or_none(self.path(version))
        except StorageError:
            return None

    def _is_ours(self, written: bytes, version: int, token: str) -> bool:
        try:
            return self.token_of(written, self.where(version)) == token
        except CorruptionError:
            return False

    def _hint(self) -> int:
        try:
            text = self.storage.read_or_none(HINT) or b""
        except StorageError:
            return 0
        return int(text) if re.fullmatch(rb"\d{1,20}", text) else 0

    def _leave_hint(self, version: int) -> None:
        # One listing reaches a thousand documents further, so that a rare hint is as good.
        if self.hints and version and version % HINT_EVERY == 0:
            try:
                self.storage.put(HINT, str(version).encode())
            except (StorageError, OutcomeUnknownError):
                return


def _found(listed: Iterable[StoredObject]) -> Found:
    names = [item.path for item in listed]
    matches = map(_NAME.fullmatch, names)
    versions = tuple(int(match[1]) for match in matches if match)
    return Found(versions, frozenset(name for name in names if name.startswith("_")))
