"""Judge whether an object store keeps what a lake relies on, from what was seen of it.

Pure: `catalog.storage.probing` makes the requests. A store that answers badly for a moment must
not be refused, and a store that lets one writer replace another's commit must be; so every check
passes, fails, or stays open (None) where lost answers leave both possible.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Literal

from catalog.errors import UnsupportedError

VERSION = 1
# What a writer was told: "unknown" is no answer, "denied" is an error that proves no write.
Answer = Literal["written", "exists", "unknown", "denied"]
Verdict = Literal["fit", "unfit", "unknown"]
MUCH_SKEW = timedelta(minutes=5)

IF_ABSENT = "put-if-absent"
LARGE_IF_ABSENT = "put-if-absent over 5 MiB"
READ = "read-after-write"
LIST = "list-after-write"
PIECES = "upload in pieces"
DELETE = "delete"
CLOCK = "clock"
_ADVISED = (DELETE, CLOCK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Race:
    """Hold what writers of one name were told, and whose content stood there in the end.

    ``stored`` is an index of ``answers``; None if it was nobody's.
    """

    answers: tuple[Answer, ...]
    stored: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observations:
    """Hold what was seen of a store; None is what could not be seen, for a reason in ``problems``.

    ``skew`` is how far the store's clock is ahead of ours.
    """

    races: tuple[Race, ...] = ()
    large_races: tuple[Race, ...] = ()
    reads: bool | None = None
    lists: bool | None = None
    pieces: bool | None = None
    deletes: bool | None = None
    skew: timedelta | None = None
    problems: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Say whether a store keeps one promise; ``passed`` is None where that stayed open.

    A lake cannot stand on a store that breaks a ``required`` one.
    """

    name: str
    passed: bool | None
    detail: str

    @property
    def required(self) -> bool:
        """Tell whether a lake cannot do without."""
        return self.name not in _ADVISED


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """Say what a probe found out about a store, and when (UTC)."""

    endpoint: str
    at: datetime
    checks: tuple[Check, ...]

    @property
    def verdict(self) -> Verdict:
        """Return whether a lake may stand here."""
        required = [check.passed for check in self.checks if check.required]
        if False in required:
            return "unfit"
        return "unknown" if None in required or not required else "fit"

    @property
    def warnings(self) -> tuple[str, ...]:
        """Return what is wrong, but does not forbid a lake."""
        return tuple(c.detail for c in self.checks if c.passed is False and not c.required)

    def refusal(self, uri: str) -> UnsupportedError:
        """Return the error for a lake at ``uri``, where the verdict is "unfit"."""
        broken = [check for check in self.checks if check.required and check.passed is False]
        reasons = "; ".join(f"{check.name}: {check.detail}" for check in broken)
        return UnsupportedError(
            f"no lake can stand at {uri}: the store at {self.endpoint} does not keep what commits"
            f" rely on ({reasons})",
            next_step="Use a store that honours If-None-Match, such as AWS S3, MinIO, SeaweedFS,"
            " Azure Blob Storage or Google Cloud Storage, or local disk; probe='never' opens a"
            " lake that is there without looking, to copy it away",
            features=tuple(check.name for check in broken),
        )


def judge(seen: Observations, *, endpoint: str, at: datetime) -> ProbeResult:
    """Return what observations prove.

    >>> race = Race(answers=("written", "written"), stored=1)
    >>> from datetime import UTC
    >>> found = judge(Observations(races=(race,)), endpoint="http://host", at=datetime.now(UTC))
    >>> found.verdict, found.checks[0].detail
    ('unfit', 'of 2 that created one file, 2 were told that they had')
    """

    def plain(name: str, good: str, bad: str, *, passed: bool | None) -> Check:
        detail = good if passed else bad if passed is False else _open(seen, name)
        return Check(name=name, passed=passed, detail=detail)

    checks = (
        _judge_races(seen, IF_ABSENT, seen.races),
        _judge_races(seen, LARGE_IF_ABSENT, seen.large_races),
        plain(READ, "a read returns the last write", "a read was stale", passed=seen.reads),
        plain(LIST, "a list shows every write", "a list was stale", passed=seen.lists),
        plain(PIECES, "a file arrives whole", "a file arrived damaged", passed=seen.pieces),
        plain(DELETE, "files can be deleted", _undeleted(seen), passed=seen.deletes),
        _judge_clock(seen),
    )
    return ProbeResult(endpoint=endpoint, at=at, checks=checks)


def judge_race(race: Race) -> bool | None:
    """Tell whether one writer won, its content stood, and another was refused; None if open.

    A client repeats a put whose answer was lost, and is told "exists" because of itself: a race
    without a winner proves nothing.
    """
    written = [at for at, answer in enumerate(race.answers) if answer == "written"]
    if len(written) > 1 or (written and race.stored != written[0]):
        return False
    return True if written and "exists" in race.answers else None


def encode(result: ProbeResult) -> bytes:
    """Return a result as a document."""
    checks = [{"name": c.name, "passed": c.passed, "detail": c.detail} for c in result.checks]
    document = {
        "version": VERSION,
        "endpoint": result.endpoint,
        "at": result.at.isoformat(),
        "verdict": result.verdict,
        "checks": checks,
    }
    return json.dumps(document, indent=1).encode()


def decode(data: bytes) -> ProbeResult | None:
    """Return the result in a document, or None if it is no such document."""
    try:
        document: Any = json.loads(data)
        checks = tuple(
            Check(name=str(c["name"]), passed=c["passed"], detail=str(c["detail"]))
            for c in document["checks"]
        )
        at = datetime.fromisoformat(document["at"])
        return ProbeResult(endpoint=str(document["endpoint"]), at=at, checks=checks)
    except (ValueError, KeyError, TypeError):
        return None


def _judge_races(seen: Observations, name: str, races: Iterable[Race]) -> Check:
    races = tuple(races)
    found = [judge_race(race) for race in races]
    if False in found:
        detail = _broken(races[found.index(False)])
        return Check(name=name, passed=False, detail=detail)
    answers = {answer for race in races for answer in race.answers}
    # Other writes succeed, so that it is the condition that is denied, not the writing.
    if answers == {"denied"} and seen.reads and seen.pieces:
        detail = f"conditional puts are denied: {seen.problems.get(name, 'no reason given')}"
        return Check(name=name, passed=False, detail=detail)
    if True not in found:
        return Check(name=name, passed=None, detail=_open(seen, name))
    clear = found.count(True)
    detail = f"one winner in each of {clear} races" if clear > 1 else "one winner in a race"
    return Check(name=name, passed=True, detail=detail)


def _broken(race: Race) -> str:
    written = race.answers.count("written")
    if written > 1:
        return f"of {len(race.answers)} that created one file, {written} were told that they had"
    return "the content is not that of the one who was told that it created the file"


def _judge_clock(seen: Observations) -> Check:
    if seen.skew is None:
        return Check(name=CLOCK, passed=None, detail=_open(seen, CLOCK))
    seconds = abs(seen.skew.total_seconds())
    side = "ahead of" if seen.skew > timedelta() else "behind"
    if abs(seen.skew) <= MUCH_SKEW:
        detail = f"the store's clock agrees with this machine's within {seconds + 1:.0f} s"
        return Check(name=CLOCK, passed=True, detail=detail)
    detail = (
        f"the store's clock is {seconds / 60:.0f} minutes {side} this machine's;"
        " S3 denies requests that are 15 minutes off"
    )
    return Check(name=CLOCK, passed=False, detail=detail)


def _undeleted(seen: Observations) -> str:
    reason = seen.problems.get(DELETE, "they are still there")
    return f"files cannot be deleted, and so no upkeep frees space: {reason}"


def _open(seen: Observations, name: str) -> str:
    return seen.problems.get(name) or seen.problems.get("") or "the answers do not tell"
