"""The probe: what it concludes from what it sees, and stores that break one promise each."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.catalog import Catalog
from catalog.errors import UnsupportedError
from catalog.journal import Backoff, Journal
from catalog.storage import open_storage
from catalog.storage.location import parse
from catalog.storage.probe import (
    Check,
    Observations,
    ProbeResult,
    Race,
    decode,
    encode,
    judge,
    judge_race,
)
from catalog.storage.probing import probe
from catalog.storage.settings import settings_of
from tests.catalog import deviants

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ANSWERS = ("written", "exists", "unknown", "denied")


def clock():
    return datetime.now(UTC)


def failed(result):
    return {check.name for check in result.checks if check.passed is False}


def around(deviant):
    return open_storage("memory://").wrapped(deviant)


@st.composite
def honest_races(draw):
    """What writers are told by a store that keeps its promise, over a network that does not."""
    writers = draw(st.integers(1, 9))
    arrived = draw(st.lists(st.booleans(), min_size=writers, max_size=writers))
    turns = [at for at in draw(st.permutations(range(writers))) if arrived[at]]
    winner = turns[0] if turns else None
    answers = []
    for at in range(writers):
        told = ("written",) if at == winner else ()
        lost = ("exists", "unknown") if arrived[at] else ("unknown", "denied")
        answers.append(draw(st.sampled_from((*told, *lost))))
    return Race(answers=tuple(answers), stored=winner)


@given(honest_races())
def test_an_honest_store_is_never_refused_for_lost_answers(race):
    assert judge_race(race) is not False


@given(st.lists(st.sampled_from(ANSWERS), min_size=1, max_size=9), st.none() | st.integers(0, 8))
def test_a_race_passes_only_with_one_winner_whose_content_stands(answers, stored):
    verdict = judge_race(Race(answers=tuple(answers), stored=stored))
    winners = [at for at, answer in enumerate(answers) if answer == "written"]
    assert (verdict is False) == (len(winners) > 1 or (len(winners) == 1 and stored != winners[0]))
    if verdict:
        assert winners == [stored]
        assert "exists" in answers


RACES = st.lists(
    st.builds(
        Race,
        answers=st.lists(st.sampled_from(ANSWERS), min_size=1, max_size=4).map(tuple),
        stored=st.none() | st.integers(0, 3),
    ),
    max_size=3,
).map(tuple)
MAYBE = st.none() | st.booleans()
SEEN = st.builds(
    Observations,
    races=RACES,
    large_races=RACES,
    reads=MAYBE,
    lists=MAYBE,
    pieces=MAYBE,
    deletes=MAYBE,
    skew=st.none() | st.timedeltas(timedelta(days=-9), timedelta(days=9)),
)


@given(SEEN)
def test_a_verdict_needs_proof(seen):
    result = judge(seen, endpoint="http://host", at=NOW)
    required = (seen.reads, seen.lists, seen.pieces)
    races = [judge_race(race) for race in (*seen.races, *seen.large_races)]
    if False in required or False in races:
        assert result.verdict == "unfit"
    if result.verdict == "fit":
        assert required == (True, True, True)
        assert any(judge_race(race) for race in seen.races)
        assert any(judge_race(race) for race in seen.large_races)
    if result.verdict == "unfit":
        error = result.refusal("s3://bucket/lake")
        assert set(error.features) <= failed(result)
        assert "http://host" in str(error)
    assert decode(encode(result)) == result


@given(st.timedeltas(timedelta(days=-9), timedelta(days=9)))
def test_a_clock_warns_and_never_refuses(skew):
    result = judge(Observations(skew=skew), endpoint="e", at=NOW)
    assert bool(result.warnings) == (abs(skew) > timedelta(minutes=5))
    assert result.verdict == "unknown"


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"checks": [1]}', b"\xff"])
def test_what_is_no_result_is_none(data):
    assert decode(data) is None


@pytest.mark.parametrize(
    ("deviant", "broken", "verdict"),
    [
        (deviants.Deviant, set(), "fit"),
        (
            deviants.IgnoresConditions,
            {"put-if-absent", "put-if-absent over 5 MiB"},
            "unfit",
        ),
        (deviants.IgnoresLargeConditions, {"put-if-absent over 5 MiB"}, "unfit"),
        (
            deviants.LooksBeforeItLeaps,
            {"put-if-absent", "put-if-absent over 5 MiB"},
            "unfit",
        ),
        (deviants.KeepsTheLoser, {"put-if-absent", "put-if-absent over 5 MiB"}, "unfit"),
        (deviants.DeniesConditions, {"put-if-absent", "put-if-absent over 5 MiB"}, "unfit"),
        (deviants.ServesFirstContents, {"read-after-write"}, "unfit"),
        (deviants.RemembersAbsence, {"read-after-write"}, "unfit"),
        (deviants.ListsLate, {"list-after-write", "delete"}, "unfit"),
        (deviants.CutsLargeFiles, {"upload in pieces"}, "unfit"),
        (deviants.DeniesDeletes, {"delete"}, "fit"),
        (deviants.ForgetsToDelete, {"delete"}, "fit"),
        (deviants.RunsLate, {"clock"}, "fit"),
        (deviants.DeniesWrites, set(), "unknown"),
        (deviants.LosesAnswers, set(), "fit"),
        (deviants.LosesAllAnswers, set(), "unknown"),
    ],
)
def test_a_store_that_breaks_a_promise_is_found_out(deviant, broken, verdict):
    result = probe(around(deviant), clock=clock)
    assert (failed(result), result.verdict) == (broken, verdict)
    assert len(result.warnings) == len(broken & {"delete", "clock"})


def test_reasons_are_told():
    def details(deviant):
        return {c.name: c.detail for c in probe(around(deviant), clock=clock).checks}

    assert "not implemented" in details(deviants.DeniesConditions)["put-if-absent"]
    assert "permission denied" in details(deviants.DeniesDeletes)["delete"]
    assert "7 minutes behind" in details(deviants.RunsLate)["clock"]
    assert set(details(deviants.DeniesWrites).values()) == {"permission denied"}


def test_who_may_not_write_is_asked_once():
    deviant = deviants.DeniesWrites(open_storage("memory://")._backend)
    probe(around(lambda _: deviant), clock=clock)
    assert list(deviant.memory) == ["clock"]


def test_a_probe_leaves_nothing_and_clears_up_after_a_dead_one():
    class Aged(deviants.RunsLate):
        late = timedelta(days=2)

        def list(self, prefix, start_after, *, temporary=False):
            for item in self.inner.list(prefix, start_after, temporary=temporary):
                old = "/dead/" in item.path
                yield replace(item, modified=item.modified - self.late * old)

    storage = around(Aged)
    storage.put("_probe/dead/1", b"")
    storage.put("_probe/living/1", b"")
    storage.put("00000000000000000000.json", b"")
    probe(storage, clock=clock)
    left = [item.path for item in storage.list()]
    assert left == ["00000000000000000000.json", "_probe/living/1"]


def test_an_unfit_store_gets_no_lake():
    storage = around(deviants.IgnoresConditions)
    with pytest.raises(UnsupportedError, match=r"put-if-absent.*SeaweedFS.*local disk") as refused:
        Catalog.open(storage, probe="again")
    assert "put-if-absent" in refused.value.features
    assert list(storage.list()) == []


def test_a_store_that_turned_unfit_is_forgotten():
    storage = open_storage("memory://")
    catalog = Catalog.open(storage, probe="again")
    remembered = catalog.probed()
    assert remembered is not None
    assert remembered.verdict == "fit"
    unfit = storage.wrapped(deviants.IgnoresConditions)
    with pytest.raises(UnsupportedError):
        Catalog.open(unfit, probe="again")
    assert catalog.probed() is None
    assert Catalog.open(unfit, probe="never").layers() == ["bronze", "silver", "gold"]


@pytest.mark.parametrize("deviant", [deviants.DeniesWrites, deviants.IsUnreachable])
def test_what_cannot_be_probed_is_open_and_not_remembered(deviant):
    storage = open_storage("memory://")
    Catalog.open(storage)
    result = probe(storage.wrapped(deviant), clock=clock)
    assert result.verdict == "unknown"
    catalog = Catalog.open(storage.wrapped(deviants.DeniesWrites), create=False, probe="again")
    assert catalog.probed() is None
    assert catalog.layers() == ["bronze", "silver", "gold"]


def test_a_long_history_shows_what_is_remembered(tmp_path):
    storage = open_storage(tmp_path, durable=False)  # where a hint leads past old documents
    catalog = Catalog.open(storage, probe="again")
    for number in range(101):
        catalog.declare_layer("bronze", str(number))
    folder = storage.child("_catalog")
    found = Journal(folder, Backoff()).look()
    assert found.newest == 101
    assert len(found.versions) < 10
    assert found.others == {item.path for item in folder.list() if item.path.startswith("_")}
    assert len(found.others) == 2


def test_an_endpoint_shows_no_key():
    def endpoint(uri, **options):
        return settings_of(parse(uri), options).endpoint

    assert endpoint("s3://b", endpoint_url="http://host:9000/?sig=key") == "http://host:9000"
    assert endpoint("az://b", endpoint_url="https://host/account") == "https://host/account"
    assert endpoint("s3://b") == "AWS S3"
    assert endpoint("gs://b") == "Google Cloud Storage"


def test_no_check_is_no_verdict():
    assert ProbeResult(endpoint="e", at=NOW, checks=()).verdict == "unknown"
    clock_only = Check(name="clock", passed=True, detail="")
    assert ProbeResult(endpoint="e", at=NOW, checks=(clock_only,)).verdict == "unknown"
