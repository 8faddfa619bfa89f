"""The file system for DuckDB and for other libraries: it reads what is there, and asks seldom."""

import functools
import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.errors import InputError, StorageError
from catalog.storage import ends, open_storage
from catalog.storage.filesystem import StorageFileSystem
from catalog.storage.marked import original, raising

ONCE = "part-00000-0f8fad5b-d9cb-469f-a165-70867728950e-c000.parquet"


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class Counted:
    """Count the requests that reach a backend's streams."""

    inner: Any
    asked: Counter = field(default_factory=Counter)

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def streams(self):
        return self

    def open_end(self, path, length, *, size=None):
        self.asked["end"] += 1
        return self.inner.open_end(path, length, size=size)

    def read_range(self, path, start, length, *, etag=None):
        self.asked["range"] += 1
        return self.inner.read_range(path, start, length, etag=etag)


@pytest.fixture
def place():
    return open_storage("memory://").wrapped(Counted)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def files(place, clock):
    found = StorageFileSystem(open_storage, clock=clock)
    found.mount(place)
    yield found
    found.close()


def asked(place):
    return place._backend.asked


CONTENT = random.Random(7).randbytes(300_000)


@given(
    size=st.sampled_from([0, 1, 999, 300_000]),
    reads=st.lists(st.tuples(st.integers(0, 310_000), st.integers(-1, 310_000)), max_size=8),
)
def test_random_reads_equal_the_file(size, reads):
    place = open_storage("memory://")
    content = CONTENT[:size]
    place.put("a/x", content)
    files = StorageFileSystem(open_storage)
    files.mount(place)
    # Small limits, so that ends, ranges and several pieces are all met.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ends, "_WHOLE", 1000)
        patch.setattr(ends, "_END", 300)
        files.read_ahead([(place.url("a/x"), size)])
        with files.open(place.url("a/x")) as file:
            for start, length in reads:
                assert file.seek(start) == start
                wanted = content[start:] if length < 0 else content[start : start + length]
                assert file.read(length) == wanted
                assert file.tell() == start + len(wanted)
    files.close()


def test_a_small_file_takes_one_request(place, files):
    place.put("a.csv", b"a\n1\n")
    for _ in range(3):
        assert files.cat_file(place.url("a.csv")) == b"a\n1\n"
        assert files.info(place.url("a.csv"))["size"] == 4
    assert asked(place) == {"end": 1}


@pytest.mark.parametrize("name", ["a.csv", "_delta_log/0.json", f"_delta_log/{ONCE}"])
def test_a_rewritten_file_is_seen_in_time(place, files, clock, name):
    url = place.url(name)
    place.put(name, b"old")
    assert files.cat_file(url) == b"old"
    place.put(name, b"newer")
    clock.now += 2.0
    assert files.cat_file(url) == b"newer"
    assert files.info(url)["size"] == 5


def test_what_we_write_ourselves_is_seen_at_once(place, files):
    url = place.url("a.csv")
    for content in (b"old", b"newer"):
        with files.open(url, "wb") as file:
            file.write(content)
        assert files.cat_file(url) == content
    files.rm(url)
    with pytest.raises(FileNotFoundError):
        files.cat_file(url)


def test_data_files_are_asked_for_once(place, files, clock):
    place.put(ONCE, b"data")
    for _ in range(3):
        assert files.cat_file(place.url(ONCE)) == b"data"
        clock.now += 1e6
    assert asked(place) == {"end": 1}


def test_a_file_replaced_under_a_reader_is_refused(place, files, monkeypatch):
    monkeypatch.setattr(ends, "_WHOLE", 10)
    monkeypatch.setattr(ends, "_END", 10)
    place.put("x", b"a" * 100)
    with files.open(place.url("x")) as file:
        assert file.read(5) == b"aaaaa"
        place.put("x", b"b" * 100)
        with pytest.raises(OSError, match="was replaced while it was read") as caught:
            file.read(5)
    error = original(str(caught.value))
    assert isinstance(error, StorageError)
    assert error.next_step == "Repeat the query"


def test_deleting_a_folder_deletes_what_is_in_it(place, files):
    for path in ("a/1.csv", "a/b/2.csv", "ab/3.csv"):
        place.put(path, b"x")
        assert files.info(place.url(path))["size"] == 1
    files.rm(place.url("a"))
    assert files.exists(place.url("a/1.csv"))
    files.rm(place.url("a"), recursive=True)
    assert [item.path for item in place.list()] == ["ab/3.csv"]
    with pytest.raises(FileNotFoundError):
        files.cat_file(place.url("a/b/2.csv"))


@pytest.mark.parametrize("kept", [1 << 20, 10])
def test_a_reader_goes_on_with_the_version_that_it_began_with(
    place, files, clock, monkeypatch, kept
):
    monkeypatch.setattr(ends, "_WHOLE", kept)
    monkeypatch.setattr(ends, "_END", kept)
    place.put("x", b"a" * 100)
    with files.open(place.url("x")) as file:
        assert file.read(5) == b"aaaaa"
        clock.now += 10.0
        place.put("x", b"b" * 200)
        assert files.cat_file(place.url("x")) == b"b" * 200
        with pytest.raises(OSError, match="was replaced while it was read"):
            file.read(5)
        assert file.size == 100


def test_a_kept_file_is_read_to_its_end_without_requests(place, files, clock):
    place.put("x", b"a" * 100)
    with files.open(place.url("x")) as file:
        assert file.read(5) == b"aaaaa"
        clock.now += 10.0
        assert file.read() == b"a" * 95
    assert asked(place) == {"end": 1}


def test_who_waits_for_a_file_that_was_to_come_is_told_when_all_is_closed(place, monkeypatch):
    monkeypatch.setattr(ends, "_AHEAD", 1)
    began, go_on = threading.Event(), threading.Event()
    files = StorageFileSystem(open_storage)

    class Slow(Counted):
        def open_end(self, path, length, *, size=None):
            began.set()
            assert go_on.wait(10)
            return super().open_end(path, length, size=size)

    slow = open_storage("memory://").wrapped(Slow)
    files.mount(slow)
    files.read_ahead([(slow.url("a"), 1), (slow.url("b"), 1)])
    assert began.wait(10)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(files.info, slow.url("b"))
        files.close()
        go_on.set()
        with pytest.raises(OSError, match="was closed"):
            waiting.result()
    files.read_ahead([(slow.url("c"), 1)])


def test_reading_ahead_is_bounded(place, files, monkeypatch):
    monkeypatch.setattr(ends, "_KEPT_BYTES", 1000)
    monkeypatch.setattr(ends, "_WHOLE", 200)
    for number in range(20):
        place.put(f"{number}.csv", b"x" * 100)
    files.read_ahead([(place.url(f"{number}.csv"), 100) for number in range(20)])
    # Half of what may be kept: five files of a hundred bytes.
    for number in range(20):
        assert files.cat_file(place.url(f"{number}.csv")) == b"x" * 100
    assert asked(place)["end"] == 20
    assert files._ends.bytes == 1000
    assert len(files._ends._full) == 10


def test_folders_and_patterns(place, files):
    for path in ("t/a.csv", "t/b.csv", "t/deep/c.csv", "t/d.txt", "t/[x].csv"):
        place.put(path, b"1")
    root = place.url()
    names = {entry["name"]: entry["type"] for entry in files.ls(f"{root}/t")}
    assert names == {
        f"{root}/t/a.csv": "file", f"{root}/t/b.csv": "file", f"{root}/t/d.txt": "file",
        f"{root}/t/[x].csv": "file", f"{root}/t/deep": "directory",
    }  # fmt: skip
    assert files.glob(f"{root}/t/?.csv") == [f"{root}/t/a.csv", f"{root}/t/b.csv"]
    assert len(files.glob(f"{root}/t/**/*.csv")) == 4
    assert files.glob(f"{root}/t/[[]x].csv") == [f"{root}/t/[x].csv"]
    assert sorted(files.find(f"{root}/t")) == sorted(
        place.url(item.path) for item in place.list("t")
    )
    assert files.info(f"{root}/t")["type"] == "directory"
    assert files.exists(f"{root}/t/a.csv")
    assert not files.exists(f"{root}/t/none.csv")
    with pytest.raises(FileNotFoundError):
        files.info(f"{root}/none")


def test_modes(files, place):
    with pytest.raises(InputError, match="mode 'ab'"):
        files.open(place.url("x"), "ab")


@given(st.lists(st.text(max_size=5), min_size=1, max_size=5, unique=True))
def test_errors_are_found_again_by_their_text(messages):
    def fail(message):
        raise StorageError(message, next_step="Wait", path=message)

    for message in messages:
        with pytest.raises(OSError, match="error") as caught:
            raising(functools.partial(fail, message))
        found: Any = original(f"IO Error: {caught.value} in a query")
        assert (found.message, found.next_step, found.path) == (message, "Wait", message)
        assert original(str(caught.value)) is None


def test_a_missing_file_stays_a_missing_file():
    def fail():
        raise StorageError("gone", missing=True)

    with pytest.raises(FileNotFoundError):
        raising(fail)
