"""Cron and due-ness: pure rules, against a clock that looks at every minute."""

import dataclasses
import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from catalog import InputError
from compaction.cron import parse_cron
from compaction.schedule import Schedule, next_due, parse_interval, parse_zone
from compaction.window import Window

UTC = dt.UTC
MINUTE, DAY = dt.timedelta(minutes=1), dt.timedelta(days=1)
BERLIN = ZoneInfo("Europe/Berlin")
# Clocks change at 2, at 2 with half an hour, at midnight, and never.
ZONES = ("Europe/Berlin", "Australia/Lord_Howe", "America/Sao_Paulo", "Asia/Kolkata", "UTC")
CHANGES = [
    dt.datetime.fromisoformat(f"{day}T00:00+00:00")
    for day in ("2026-03-29", "2026-10-25", "2018-11-04", "2018-02-18", "2026-04-05", "2026-10-04")
]


def field(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    ranges = st.tuples(number, number).map(sorted).map(lambda pair: f"{pair[0]}-{pair[1]}")
    steps = st.integers(1, high).map(lambda n: f"*/{n}")
    part = st.one_of(number.map(str), ranges, steps)
    return st.one_of(st.just("*"), part, st.lists(part, min_size=2, max_size=3).map(",".join))


crons = st.tuples(field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 7)).map(" ".join)
moments = st.builds(
    lambda day, minutes: day + dt.timedelta(minutes=minutes),
    st.sampled_from(CHANGES),
    st.integers(-2 * 1440, 2 * 1440),
)


def matches(cron, wall: dt.datetime) -> bool:
    of_month, of_week = wall.day in cron.days, wall.isoweekday() % 7 in cron.weekdays
    days = (of_month or of_week) if cron.either_day else (of_month and of_week)
    return (
        days
        and wall.month in cron.months
        and wall.hour in cron.hours
        and wall.minute in cron.minutes
    )


def is_time(cron, moment: dt.datetime, zone: ZoneInfo) -> bool:
    """Tell by the wall clock alone: of a minute told twice, by rule; of a missing one, later."""
    wall = moment.astimezone(zone)
    if matches(cron, wall.replace(tzinfo=None)) and (cron.each_hour or not wall.fold):
        return True
    for jump in (30, 60):  # what was missed so long ago comes now
        missing = wall.replace(tzinfo=None) - jump * MINUTE
        back = missing.replace(tzinfo=zone).astimezone(UTC).astimezone(zone)
        if back.replace(tzinfo=None) - missing == jump * MINUTE and matches(cron, missing):
            return True
    return False


@given(crons, moments, st.sampled_from(ZONES))
def test_cron_agrees_with_the_clock_on_the_wall(text, moment, zone) -> None:
    try:
        cron = parse_cron(text)
    except InputError:
        reject()  # such as 30 February
    zone = ZoneInfo(zone)
    found = cron.after(moment, zone)
    assert found > moment
    minute = moment.replace(second=0, microsecond=0) + MINUTE
    until = min(found, moment + 2 * DAY)
    while minute < until:
        assert not is_time(cron, minute, zone)
        minute += MINUTE
    assert is_time(cron, found, zone)


def fires(text: str, first: dt.datetime, count: int) -> list[str]:
    cron, out = parse_cron(text), []
    for _ in range(count):
        first = cron.after(first, BERLIN)
        out.append(first.astimezone(BERLIN).strftime("%d %H:%M%z"))
    return out


def test_when_clocks_change() -> None:
    spring, autumn = dt.datetime(2026, 3, 28, 12, tzinfo=UTC), dt.datetime(2026, 10, 24, 12, tzinfo=UTC)  # fmt: skip
    assert fires("30 2 * * *", spring, 2) == ["29 03:30+0200", "30 02:30+0200"]
    assert fires("30 2 * * *", autumn, 2) == ["25 02:30+0200", "26 02:30+0100"]
    hourly = fires("0 * * * *", autumn + dt.timedelta(hours=11), 4)
    assert hourly == ["25 02:00+0200", "25 02:00+0100", "25 03:00+0100", "25 04:00+0100"]
    other = fires("15 */2 * * *", spring + dt.timedelta(hours=10), 4)
    assert other == ["29 00:15+0100", "29 03:15+0200", "29 04:15+0200", "29 06:15+0200"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 0 * * 7", "2026-02-01"),  # Sunday has two numbers
        ("0 0 * * sun", "2026-02-01"),
        ("0 0 13 * fri", "2026-01-30"),  # either day suffices
        ("0 0 29 2 *", "2028-02-29"),
        ("@monthly", "2026-02-01"),
        ("0 0 */2 * 1", "2026-02-09"),  # a star does not restrict, with a step neither
    ],
)
def test_days(text: str, expected: str) -> None:
    found = parse_cron(text).after(dt.datetime(2026, 1, 27, 12, tzinfo=UTC), ZoneInfo("UTC"))
    assert found.date().isoformat() == expected


@pytest.mark.parametrize(
    "text",
    ["", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "5-1 * * * *",
     "*/0 * * * *", "*/99 * * * *", "a * * * *", "1,,2 * * * *", "0 0 30 2 *", "-1 * * * *", "@often",
     "٣ * * * *", "* * * * *\n0", "0 0 1 1 9", "9" * 99 + " * * * *"],
)  # fmt: skip
def test_what_is_no_cron_expression_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_cron(text)


schedules = st.builds(
    Schedule,
    every=st.integers(1, 3 * 1440).map(lambda n: n * MINUTE),
    cron=st.one_of(st.none(), st.sampled_from(["*/7 * * * *", "0 3 * * *", "30 2 * * 0"]).map(parse_cron)),
    zone=st.sampled_from(ZONES).map(ZoneInfo),
    jitter=st.integers(0, 120).map(lambda n: n * MINUTE),
    misfire=st.sampled_from(["run", "skip"]),
    windows=st.lists(
        st.builds(Window, st.times(), st.times()).filter(lambda w: w.start != w.end), max_size=2
    ).map(tuple),
)  # fmt: skip


@given(schedules, moments, st.integers(0, 10_000), st.integers(0, 10_000), st.text(max_size=3))
def test_due_ness(schedule, since, ran_after, looked_after, seed) -> None:
    last = since + ran_after * MINUTE
    now = last + looked_after * MINUTE

    def at(now: dt.datetime) -> dt.datetime:
        return next_due(schedule, last=last, since=since, now=now, seed=seed)

    due = at(now)
    # Everybody who looks sees the same, and waiting makes it no earlier.
    assert due == at(now)
    later = now + 13 * MINUTE
    assert at(later) >= due or due <= later
    # A run is due after the one before, and by and by it is due.
    assert due > last
    if due <= now:
        assert not schedule.windows or any(now in window for window in schedule.windows)
    else:
        assert not schedule.windows or any(due in window for window in schedule.windows)
        if schedule.misfire == "run":
            assert at(due) <= due
    plain = dataclasses.replace(schedule, windows=())
    if schedule.misfire == "skip":
        bare = next_due(plain, last=last, since=since, now=now, seed=seed)
        assert bare >= now - schedule.grace - schedule.jitter
    # What ran when it was due is not due again at once.
    assert next_due(plain, last=now, since=since, now=now, seed=seed) > now


@given(schedules, moments, st.integers(0, 5000))
def test_what_never_ran_is_due_at_once_or_by_the_clock(schedule, since, later) -> None:
    plain = dataclasses.replace(schedule, windows=(), jitter=dt.timedelta(0), misfire="run")
    due = next_due(plain, last=None, since=since, now=since + later * MINUTE, seed="")
    expected = since if plain.cron is None else plain.cron.after(since, plain.zone)
    assert due == expected


def test_jitter_spreads_tables_and_stays() -> None:
    at = dt.datetime(2026, 1, 31, 12, tzinfo=UTC)
    schedule = Schedule(jitter=dt.timedelta(minutes=30))
    times = [next_due(schedule, last=at, since=at, now=at, seed=f"{n}") for n in range(50)]
    assert min(times) >= at + dt.timedelta(hours=1)
    assert max(times) < at + dt.timedelta(minutes=90)
    assert max(times) - min(times) > dt.timedelta(minutes=20)


def test_missed_times() -> None:
    last, now = dt.datetime(2026, 1, 30, 3, tzinfo=UTC), dt.datetime(2026, 2, 3, 8, tzinfo=UTC)
    daily = Schedule().at("0 3 * * *")

    def due(schedule):
        return next_due(schedule, last=last, since=last, now=now, seed="")

    assert due(daily) == last + DAY  # missed four times, due once
    assert due(dataclasses.replace(daily, misfire="skip")) == last + 5 * DAY
    every = Schedule(every=DAY, misfire="skip")
    assert due(every) == last + 5 * DAY
    assert due(dataclasses.replace(every, grace=dt.timedelta(hours=6))) == last + 4 * DAY


def test_properties() -> None:
    schedule = Schedule().with_properties(
        {
            "lakehouse.upkeepSchedule": "30 2 * * *",
            "lakehouse.upkeepTimezone": "Europe/Berlin",
            "lakehouse.upkeepJitter": "5 minutes",
            "lakehouse.upkeepMisfire": "Skip",
            "delta.appendOnly": "true",
        }
    )
    assert str(schedule) == "30 2 * * * (Europe/Berlin)"
    assert (schedule.jitter, schedule.misfire) == (5 * MINUTE, "skip")
    assert schedule.with_properties({"lakehouse.upkeepSchedule": "2 days"}).every == 2 * DAY


@pytest.mark.parametrize("name", ["Schedule", "Timezone", "Jitter", "Misfire"])
@pytest.mark.parametrize("text", ["", "../etc/passwd", "often", "0x5", "\0", "'; DROP", "1e9 days"])
def test_a_property_that_makes_no_sense_is_named(name: str, text: str) -> None:
    with pytest.raises(InputError, match=f"lakehouse.upkeep{name}"):
        Schedule().with_properties({f"lakehouse.upkeep{name}": text})


def test_lengths_and_zones() -> None:
    assert parse_interval("interval 2 weeks") == 14 * DAY
    assert parse_zone(" Asia/Kolkata ").key == "Asia/Kolkata"
    assert parse_interval("999999999999 weeks") > 3000 * DAY
    with pytest.raises(InputError, match="positive"):
        Schedule().at("0 minutes")
