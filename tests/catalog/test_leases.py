"""Leases: at most one holder, tokens that grow, and no harm by sleep, death or clocks."""

import dataclasses
import itertools
import multiprocessing
import os
import signal
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from catalog import (
    Backoff,
    ConflictError,
    CorruptionError,
    InputError,
    Lease,
    Leases,
    OutcomeUnknownError,
    UnsupportedError,
    open_storage,
)
from catalog.lease_record import LeaseRecord, decode, encode, is_held
from catalog.leases import folder_of
from lakehouse.testing.watched import Watched
from tests.catalog.holders import NONE, die, hand_over, race

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
TTL, SKEW = timedelta(seconds=60), timedelta(seconds=10)
seconds = st.integers(-100_000, 100_000).map(lambda n: timedelta(seconds=n / 10))


class Clock:
    """The time of one machine, which is `off` from the true one."""

    def __init__(self, true: list[float], off: float = 0.0) -> None:
        self.true, self.off = true, off

    def wall(self) -> datetime:
        return EPOCH + timedelta(seconds=self.true[0] + self.off)

    def monotonic(self) -> float:
        return self.true[0]


def leases_of(storage, true: list[float], off: float = 0.0) -> Leases:
    clock = Clock(true, off)
    return Leases(storage, skew=SKEW, clock=clock.wall, monotonic=clock.monotonic)


def acquired(leases: Leases) -> Lease:
    lease = leases.acquire("one", ttl=TTL)
    assert lease is not None
    return lease


def newest(leases: Leases) -> LeaseRecord:
    record = leases.newest("one")
    assert record is not None
    return record


@given(st.integers(0, 5), st.booleans(), seconds, seconds)
def test_others_keep_away_until_the_allowance_is_over(token, held, lasts, later) -> None:
    record = LeaseRecord(5, token, "id", "a", held, EPOCH, EPOCH + lasts)
    assert is_held(record, now=EPOCH + later, skew=SKEW) == (held and later <= lasts + SKEW)
    assert decode(encode(record), where="here", number=5) == record


class Machines(RuleBasedStateMachine):
    """Three machines whose clocks differ by what is allowed, and that sleep as they like."""

    def __init__(self) -> None:
        super().__init__()
        self.true = [0.0]
        storage = open_storage("memory://")
        self.storage = storage
        half = SKEW.total_seconds() / 2
        self.leases = [leases_of(storage, self.true, off) for off in (-half, 0.0, half)]
        self.held: list[Lease | None] = [None] * 3
        self.tokens: list[int] = []

    @rule(by=st.floats(0, 90))
    def time_goes(self, by) -> None:
        self.true[0] += by

    @rule(who=st.integers(0, 2))
    def acquire(self, who) -> None:
        free = not any(lease is not None and lease.is_mine for lease in self.held)
        before = self.leases[who].newest("one")
        lease = self.leases[who].acquire("one", ttl=TTL)
        if lease is None:
            assert before is not None
            assert before.held
            return
        assert free
        assert lease.taken_over == (before is not None and before.held)
        self.tokens.append(lease.token)
        self.held[who] = lease

    @rule(who=st.integers(0, 2))
    def renew(self, who) -> None:
        lease = self.held[who]
        if lease is None:
            return
        try:
            lease.renew()
        except ConflictError:
            assert lease.token < self.tokens[-1]
            self.held[who] = None
        else:
            assert lease.token == self.tokens[-1]

    @rule(who=st.integers(0, 2))
    def release(self, who) -> None:
        lease, self.held[who] = self.held[who], None
        if lease is not None:
            assert lease.release() == (lease.token == self.tokens[-1])
            assert not lease.is_mine
            with pytest.raises(ConflictError):
                lease.check()

    @precondition(lambda self: self.tokens)
    @rule()
    def all_of_them_die(self) -> None:
        self.held = [None] * 3
        self.true[0] += (TTL + 2 * SKEW).total_seconds() + 1
        lease = self.leases[0].acquire("one")
        assert lease is not None
        self.tokens.append(lease.token)
        self.held[0] = lease

    @invariant()
    def one_holder_at_most(self) -> None:
        assert sum(lease is not None and lease.is_mine for lease in self.held) <= 1

    @invariant()
    def tokens_grow_and_documents_do_not(self) -> None:
        assert self.tokens == sorted(set(self.tokens))
        assert len(list(self.storage.list())) <= 4


TestMachines = Machines.TestCase
TestMachines.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


def test_a_sleeper_finds_a_number_free_that_was_taken() -> None:
    true = [0.0]
    plain = open_storage("memory://")
    others = leases_of(plain, true)
    awake = True
    taken: list[Lease] = []

    def around(call, path, make):
        nonlocal awake
        if call == "put_if_absent" and awake:  # it falls asleep here, and others go on
            awake = False
            for _ in range(6):
                taken.append(acquired(others))
                if len(taken) < 6:
                    taken[-1].release()
        return make()

    lease = leases_of(plain.wrapped(lambda inner: Watched(inner, around)), true).acquire("one")
    assert not awake
    assert lease is None
    taken[-1].renew()
    assert newest(others).token == taken[-1].token


def test_a_renewal_that_landed_unheard_is_ours() -> None:
    true, mute = [0.0], False

    def around(call, path, make):
        result = make()
        if call == "put_if_absent" and mute:
            raise OutcomeUnknownError("no answer")
        if call == "read" and mute:
            raise OutcomeUnknownError("no answer")
        return result

    plain = open_storage("memory://").wrapped(lambda inner: Watched(inner, around))
    clock = Clock(true)
    leases = Leases(plain, SKEW, clock.wall, clock.monotonic, Backoff(3, first=0))
    lease = acquired(leases)
    mute = True
    with pytest.raises(OutcomeUnknownError):
        lease.renew()
    assert lease.is_mine  # by its own clock
    mute = False
    lease.renew()
    assert (lease.release(), acquired(leases).token) == (True, 4)


def test_a_clock_that_is_set_back_gives_no_time() -> None:
    true, off = [0.0], 0.0
    storage = open_storage("memory://")
    leases = Leases(
        storage, SKEW, lambda: EPOCH + timedelta(seconds=true[0] + off), lambda: true[0]
    )
    lease = acquired(leases)
    true[0], off = 61.0, -3_600.0
    assert not lease.is_mine


def test_holding_renews_and_gives_back(tmp_path) -> None:
    leases = Leases(open_storage(tmp_path, durable=False), skew=NONE)
    with leases.holding("one", ttl=timedelta(seconds=4)):
        first = newest(leases).number
        while newest(leases).number == first:
            time.sleep(0.05)
        with leases.holding("one") as other:
            assert other is None
    assert not newest(leases).held
    with pytest.raises(KeyError), leases.holding("one"):
        raise KeyError
    assert not newest(leases).held
    with leases.holding("one") as lease:
        assert lease is not None
        lease.kept = True
    assert newest(leases).held


@pytest.mark.parametrize(
    "name", ["../../etc", "a/b", "", ".", "A", "x-1", "Ä", "\udcff", "a" * 300, "a\n", "_delta_log"]
)
def test_no_name_leads_elsewhere(tmp_path, name: str) -> None:
    assert Leases(open_storage(tmp_path, durable=False)).acquire(name)
    (folder,) = tmp_path.iterdir()
    assert folder.name == folder_of(name)
    assert len(folder.name) == 42


def test_damage_is_named(tmp_path) -> None:
    leases = Leases(open_storage(tmp_path, durable=False))
    leases.acquire("one")
    (path,) = tmp_path.rglob("*.json")
    whole = path.read_bytes()
    for damage in (b"", b"[]", b"{", whole[:-9], whole.replace(b'"number": 0', b'"number": 1'),
                   whole.replace(b'"held": true', b'"held": 1'),
                   whole.replace(b'"token": 0', b'"token": 2'),
                   whole.replace(b"+00:00", b"")):  # fmt: skip
        path.write_bytes(damage)
        with pytest.raises(CorruptionError, match=path.name):
            leases.acquire("one")
    path.write_bytes(whole.replace(b'"format": 1', b'"format": 2'))
    with pytest.raises(UnsupportedError, match="Upgrade"):
        leases.acquire("one")


def test_no_time_is_no_lease() -> None:
    leases = Leases(open_storage("memory://"))
    with pytest.raises(InputError, match="ttl"):
        leases.acquire("one", ttl=NONE)
    with pytest.raises(InputError, match="skew"):
        Leases(leases.storage, skew=-SKEW)


@pytest.fixture(params=["disk", "minio", "azurite"])
def place(request, tmp_path) -> tuple[str, dict]:
    if request.param == "disk":
        return str(tmp_path), {}
    store = request.getfixturevalue("server")(request.param)
    return store.bucket(), store.options()


def test_of_many_processes_one_wins(place) -> None:
    uri, options = place
    # A fork would copy the threads' locks of whatever ran in this process before.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([race.__module__])
    rounds, rivals = 12, 4
    with context.Manager() as manager, ProcessPoolExecutor(rivals, mp_context=context) as pool:
        barrier = manager.Barrier(rivals)
        jobs = [pool.submit(race, uri, options, barrier, rounds) for _ in range(rivals)]
        won = [number for job in jobs for number in job.result(timeout=60)]
        assert sorted(won) == list(range(rounds))
        until = time.time() + 0.5
        turns = [pool.submit(hand_over, uri, options, until) for _ in range(rivals)]
        held = sorted(turn for job in turns for turn in job.result(timeout=60))
    assert held
    assert len({token for token, _, _ in held}) == len(held)
    for (_, _, last), (_, first, _) in itertools.pairwise(held):
        assert last <= first


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
def test_the_lease_of_the_killed_is_free_when_its_time_is_over(place) -> None:
    uri, options = place
    leases = Leases(open_storage(uri, durable=False, **options), skew=NONE)
    context = multiprocessing.get_context("forkserver")
    process = context.Process(target=die, args=(uri, options, "one"))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    dead = newest(leases)
    lease = None
    while lease is None:
        lease = leases.acquire("one")
    assert lease.taken_over
    assert lease.token > dead.token
    assert leases.clock() > dead.expires


def test_a_lease_outgrows_tokens_of_before_it_was_forgotten() -> None:
    true = [0.0]
    leases = leases_of(open_storage("memory://"), true)
    assert acquired(leases).release()
    assert not leases.forget("one")
    true[0] = 100_000.0
    assert (leases.names(), leases.forget("one"), leases.names()) == (["one"], True, [])
    lease = acquired(leases)
    assert lease.token == 0
    lease.outgrow(7)
    assert (lease.token, lease.is_mine) == (8, True)
    lease.outgrow(3)
    assert lease.token == 8
    lease.renew()
    assert leases.acquire("one") is None
    assert lease.release()
    assert acquired(leases).token > 8


def test_who_was_overtaken_outgrows_nothing() -> None:
    true = [0.0]
    storage = open_storage("memory://")
    sleeper = acquired(leases_of(storage, true))
    true[0] = 75.0
    second = acquired(leases_of(storage, true))
    # A clock that stood still: only what is stored can tell it.
    sleeper._deadline, sleeper._record = (
        1e9,
        dataclasses.replace(sleeper._record, expires=EPOCH + timedelta(days=9)),
    )
    with pytest.raises(ConflictError):
        sleeper.outgrow(40)
    assert not sleeper.is_mine
    with pytest.raises(ConflictError):
        second.renew()
