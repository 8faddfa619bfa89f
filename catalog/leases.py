"""Leases: at most one of many processes does a thing, and whoever stops gives way to the next.

A lease is a folder of numbered, immutable documents, each written by put-if-absent; the newest one
counts. To acquire, to renew and to release is to write the next number, so that of two who try at
the same time exactly one succeeds. The number of the document that began a tenure is its *token*,
which grows from tenure to tenure: the fencing token.

Time decides only when others may try. A holder stops `ttl` after it last wrote, by whichever of its
two clocks (wall and monotonic) says so first; others wait for the allowance `skew` longer, by their
wall clock. Where clocks differ by more than that, or where a process sleeps between its last look and
its write, a holder may act late: what it does must then be refused by its token.

Old documents are deleted. A process that slept for long may so find a number free that was taken
before: who has written a document looks whether a newer one is there, and has lost if so.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from catalog.errors import ConflictError, InputError, LakehouseError
from catalog.journal import Backoff, Journal
from catalog.lease_record import LeaseRecord, decode, encode, is_held, token_of
from catalog.storage import Storage

FOLDER = "_leases"
TTL = timedelta(seconds=60)
SKEW = timedelta(seconds=10)
IDLE = timedelta(days=1)
_KEPT = 3  # documents behind the newest, for people who look
_PLAIN = re.compile(r"[a-z0-9][a-z0-9_-]{0,79}")


def _now() -> datetime:
    return datetime.now(UTC)


@dataclasses.dataclass(frozen=True, slots=True)
class Leases:
    """Hand out the leases of one lake. Safe for many threads and processes.

    ``skew`` is how far the clocks of two machines may be apart; all must be given the same.

    >>> from catalog.storage import open_storage
    >>> leases = Leases(open_storage("memory://"))
    >>> lease = leases.acquire("nightly")
    >>> lease.token, leases.acquire("nightly") is None
    (0, True)
    >>> lease.release(), leases.acquire("nightly").token
    (True, 2)
    """

    storage: Storage
    skew: timedelta = SKEW
    clock: Callable[[], datetime] = _now
    monotonic: Callable[[], float] = time.monotonic
    backoff: Backoff = dataclasses.field(default_factory=Backoff)

    def __post_init__(self) -> None:
        if self.skew < timedelta(0):
            raise InputError(f"skew is {self.skew}", next_step="Pass a positive timedelta")

    def newest(self, name: str) -> LeaseRecord | None:
        """Return the document that counts now, or None if nobody ever had the lease."""
        return self._newest(self._journal(name))

    def names(self) -> list[str]:
        """Return the leases that there are documents of; those with unusual names as hashes."""
        return sorted({item.path.partition("/")[0] for item in self.storage.list()})

    def forget(self, name: str, *, idle: timedelta = IDLE) -> bool:
        """Delete the documents of a lease that nobody has had for so long; tell whether it is gone.

        Its tokens begin anew after that: see `Lease.outgrow`.
        """
        journal = self._journal(name)
        newest = self._newest(journal)
        if newest is None or newest.expires + self.skew + idle > self.clock():
            return False
        versions = journal.list().versions
        journal.storage.delete([journal.path(v) for v in versions if v <= newest.number])
        return True

    def acquire(
        self, name: str, *, ttl: timedelta = TTL, holder: str | None = None
    ) -> Lease | None:
        """Return the lease, or None where somebody else has it.

        ``holder`` says who asks, for people; by default the machine and the process. Raise
        OutcomeUnknownError where storage did not say; the lease then ends by itself.
        """
        if ttl <= timedelta(0):
            raise InputError(f"ttl is {ttl}", next_step="Pass a positive timedelta")
        journal, who = self._journal(name), this_process() if holder is None else holder
        for _ in self.backoff.tries():
            before = self._newest(journal)
            if before is not None and is_held(before, now=self.clock(), skew=self.skew):
                return None
            number = 0 if before is None else before.number + 1
            began, now = self.monotonic(), self.clock()
            record = LeaseRecord(number, number, uuid.uuid4().hex, who, True, now, now + ttl)
            if _append(journal, record):
                taken_over = before is not None and before.held
                return Lease(self, journal, name, ttl, record, began, taken_over=taken_over)
        return None

    @contextlib.contextmanager
    def holding(
        self, name: str, *, ttl: timedelta = TTL, holder: str | None = None
    ) -> Iterator[Lease | None]:
        """Hold a lease for a block, renewed in the background; None where somebody else has it.

        It is released after the block, also by an error. What is lost meanwhile, `Lease.check`
        tells.
        """
        lease = self.acquire(name, ttl=ttl, holder=holder)
        if lease is None:
            yield None
            return
        done = threading.Event()
        beat = threading.Thread(target=_renew_until, args=(lease, done), daemon=True)
        beat.start()
        try:
            yield lease
        finally:
            done.set()
            beat.join()
            if not lease.kept:
                # What is not released ends by itself; the work is done, or has its own error.
                with contextlib.suppress(LakehouseError):
                    lease.release()

    def _journal(self, name: str) -> Journal:
        place = self.storage.child(folder_of(name))
        return Journal(place, self.backoff, token_of=token_of, hints=False)

    def _newest(self, journal: Journal) -> LeaseRecord | None:
        while True:
            number = journal.list().newest
            if number is None:
                return None
            data = journal.storage.read_or_none(journal.path(number))
            if data is not None:  # else a newer one made it old, and it was deleted
                return decode(data, where=journal.where(number), number=number)


class Lease:
    """A lease that was acquired; safe between threads."""

    def __init__(
        self,
        leases: Leases,
        journal: Journal,
        name: str,
        ttl: timedelta,
        record: LeaseRecord,
        began: float,
        *,
        taken_over: bool,
    ) -> None:
        self.name = name
        self.ttl = ttl
        self.taken_over = taken_over
        """Whether the holder before never released it: it may be asleep, and act when it wakes."""
        self.kept = False
        """Set this to leave the lease to its end after `Leases.holding`, not to release it."""
        self._leases = leases
        self._journal = journal
        self._record = record
        self._deadline = began + ttl.total_seconds()
        self._lost = False
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"Lease({self.name!r}, token={self.token})"

    @property
    def token(self) -> int:
        """Return the fencing token: no holder before had one as great."""
        return self._record.token

    @property
    def is_mine(self) -> bool:
        """Tell whether nobody else may have it yet, by both clocks here; asks nobody."""
        now = self._leases.clock()
        in_time = self._leases.monotonic() < self._deadline and now < self._record.expires
        return in_time and not self._lost

    def check(self) -> None:
        """Raise ConflictError where the lease is lost or has run out; asks nobody."""
        if not self.is_mine:
            raise _gone(self.name)

    def renew(self) -> None:
        """Begin its time anew; ConflictError where somebody else took it over.

        One that has run out comes back to life where nobody did.
        """
        with self._lock:
            began, now = self._leases.monotonic(), self._leases.clock()
            if self._write(held=True, at=now):
                self._deadline = began + self.ttl.total_seconds()
                return
            self._lost = True
            raise _gone(self.name)

    def outgrow(self, token: int) -> None:
        """Take a token above one that was seen, of a lease whose documents are gone, if need be.

        ConflictError where somebody else took the lease over.
        """
        with self._lock:
            known = self._record
            if known.token > token:
                return
            began, now, number = self._leases.monotonic(), self._leases.clock(), token + 1
            number = max(number, known.number + 1)
            record = dataclasses.replace(
                known, number=number, token=number, id=uuid.uuid4().hex, at=now,
                expires=now + self.ttl,
            )  # fmt: skip
            if self.is_mine and self._journal.append(number, encode(record), token=record.id):
                # Between the two numbers there is room for somebody else.
                versions = self._journal.list().versions
                if not any(version > known.number and version != number for version in versions):
                    self._record, self._deadline = record, began + self.ttl.total_seconds()
                    return
            self._lost = True
            raise _gone(self.name)

    def release(self) -> bool:
        """Give it back; tell whether it was still ours."""
        with self._lock:
            if self._lost:
                return False
            released = self._write(held=False, at=self._leases.clock())
            self._lost = True
            return released

    def _write(self, *, held: bool, at: datetime) -> bool:
        """Write the next document of this tenure; tell whether it is the one that counts."""
        for _ in range(2):
            expires = at + self.ttl if held else at
            known = self._record
            record = dataclasses.replace(
                known, number=known.number + 1, id=uuid.uuid4().hex, held=held, at=at,
                expires=expires,
            )  # fmt: skip
            if not self._lost and _append(self._journal, record):
                self._record = record
                return True
            # A renewal before may have landed although storage did not say so.
            newest = self._leases._newest(self._journal)
            if newest is None or newest.token != self.token or newest.number <= known.number:
                return False
            self._record = newest
        return False


def folder_of(name: str) -> str:
    """Return the folder of a lease: its name if that is plain, else a hash of it.

    >>> folder_of("table-5d1f"), folder_of("../x")[:8]
    ('table-5d1f', 'x-d6b96a')
    """
    plain = _PLAIN.fullmatch(name) is not None and not name.startswith("x-")
    return name if plain else f"x-{hashlib.sha256(name.encode(errors='replace')).hexdigest()[:40]}"


def _append(journal: Journal, record: LeaseRecord) -> bool:
    """Add a document; tell whether it is ours and none is newer. Deletes old ones."""
    if not journal.append(record.number, encode(record), token=record.id):
        return False
    versions = journal.list().versions
    old = [journal.path(version) for version in versions if version < record.number - _KEPT]
    if old:
        # They do no harm, and may not be ours to delete.
        with contextlib.suppress(LakehouseError):
            journal.storage.delete(old)
    return versions[-1:] == (record.number,)


def _renew_until(lease: Lease, done: threading.Event) -> None:
    pause = lease.ttl.total_seconds() / 4
    while not done.wait(pause):
        try:
            lease.renew()
        except ConflictError:
            return
        except LakehouseError:
            continue  # storage is away: it has until the lease runs out to come back


def this_process() -> str:
    """Return the name of this process, for people."""
    return f"{socket.gethostname()}:{os.getpid()}"


def _gone(name: str) -> ConflictError:
    return ConflictError(
        f"the lease {name} is lost: its time ran out, or another process took it over",
        next_step="Leave the work to whoever holds it now",
        lease=name,
    )
