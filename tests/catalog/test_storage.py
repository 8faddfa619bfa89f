"""What every storage does alike."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from catalog.errors import InputError, StorageError
from catalog.storage import Options, Storage, open_storage

AWKWARD = ["a b", "ä", "日本", "p=1%2F2", "x:y", "q'uote\"", "100%", "#?&", "-dash", "a.b"]


def paths(storage: Storage, prefix: str = "", start_after: str | None = None) -> list[str]:
    return [item.path for item in storage.list(prefix, start_after=start_after)]


def test_put_replaces_and_read_returns(storage: Storage) -> None:
    storage.put("a/b/c", b"one")
    storage.put("a/b/c", b"two")
    assert storage.read("a/b/c") == b"two"
    assert storage.read_or_none("a/b/c") == b"two"


def test_put_if_absent_writes_once(storage: Storage) -> None:
    assert storage.put_if_absent("x/1.json", b"first") is True
    assert storage.put_if_absent("x/1.json", b"second") is False
    assert storage.read("x/1.json") == b"first"
    assert paths(storage) == ["x/1.json"]


def test_put_if_absent_has_one_winner_among_threads(storage: Storage) -> None:
    with ThreadPoolExecutor(8) as pool:
        for number in range(20):
            path = f"race/{number}"
            tries = [pool.submit(storage.put_if_absent, path, b"%d" % i) for i in range(8)]
            won = [i for i, attempt in enumerate(tries) if attempt.result()]
            assert len(won) == 1
            assert storage.read(path) == b"%d" % won[0]


def test_empty_and_large_files(storage: Storage) -> None:
    large = bytes(range(256)) * 40_000
    storage.put("empty", b"")
    storage.put("large", large)
    assert storage.read("empty") == b""
    assert storage.read("large") == large
    assert [item.size for item in storage.list()] == [0, len(large)]


def test_missing_file(storage: Storage) -> None:
    storage.put("here/file", b"")
    for path in ["gone", "here/gone", "no/such/folder", "here/file/below"]:
        assert storage.read_or_none(path) is None
        assert storage.head(path) is None
        with pytest.raises(StorageError, match="no such file") as caught:
            storage.read(path)
        assert caught.value.missing
        assert isinstance(caught.value.__cause__, OSError)
        assert caught.value.next_step


def test_head(storage: Storage) -> None:
    storage.put("a/file", b"12345")
    found = storage.head("a/file")
    assert found is not None
    assert (found.path, found.size) == ("a/file", 5)
    assert abs(datetime.now(UTC) - found.modified) < timedelta(minutes=1)
    assert storage.head("a") is None


def test_list_is_recursive_and_sorted_as_object_storage_sorts(storage: Storage) -> None:
    names = ["a/x", "a.b", "a-b", "a0", "B", "a/b/c", "é", "a/b.c", "_x", "z/1/2/3"]
    for name in names:
        storage.put(name, b"")
    assert paths(storage) == sorted(names)
    assert paths(storage, "a") == ["a/b.c", "a/b/c", "a/x"]
    assert paths(storage, "a/") == ["a/b.c", "a/b/c", "a/x"]
    assert paths(storage, "a/b") == ["a/b/c"]


def test_list_of_a_missing_folder_is_empty(storage: Storage) -> None:
    assert paths(storage) == []
    assert paths(storage, "never/was") == []


def test_list_starts_after(storage: Storage) -> None:
    names = ["a/1", "a/2", "a.3", "b/1", "b/2/x", "b/3", "c"]
    for name in names:
        storage.put(name, b"")
    for after in [*names, "a", "a/", "a/11", "b/2", "zz", ""]:
        assert paths(storage, start_after=after) == sorted(n for n in names if n > after)
    assert paths(storage, "b", start_after="b/1") == ["b/2/x", "b/3"]


def test_temporary_files_are_not_listed(storage: Storage) -> None:
    storage.put("a/.tmp-123", b"")
    storage.put("a/.other", b"")
    assert paths(storage) == ["a/.other"]


def test_delete(storage: Storage) -> None:
    for name in ["a/1", "a/2", "b"]:
        storage.put(name, b"")
    storage.delete(["a/1", "gone", "no/such", "b"])
    storage.delete([])
    assert paths(storage) == ["a/2"]


@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_names(storage: Storage, name: str) -> None:
    child = storage.child(name)
    assert child.put_if_absent(name, b"content")
    assert storage.read(f"{name}/{name}") == b"content"
    assert paths(storage) == [f"{name}/{name}"]
    assert pickle.loads(pickle.dumps(child)).read(name) == b"content"
    if "?" not in name or storage.is_local:
        assert open_storage(child.uri).read(name) == b"content"


def test_child_is_the_same_place(storage: Storage) -> None:
    child = storage.child("bronze/flights")
    assert storage.child("bronze").child("flights") == child
    assert storage.child("") == storage
    child.put("x", b"1")
    assert storage.read("bronze/flights/x") == b"1"
    assert paths(child) == ["x"]
    assert child.url("x") == storage.url("bronze/flights/x")


@pytest.mark.parametrize(
    "path",
    ["../x", "a/../../x", "/etc/passwd", "a//b", "./a", "a/.", "", "a\0b", "s3://b/x", "\ud800"],
)
def test_paths_that_escape_are_refused(storage: Storage, path: str) -> None:
    for call in (
        lambda: storage.read(path),
        lambda: storage.put(path, b""),
        lambda: storage.put_if_absent(path, b""),
        lambda: storage.head(path),
        lambda: storage.delete([path]),
        lambda: storage.sync([path]),
        lambda: storage.list(path) if path else storage.read(path),
        lambda: storage.child(path) if path else storage.read(path),
    ):
        with pytest.raises(InputError, match="relative path"):
            call()


def test_pickle_reopens_the_same_place(storage: Storage) -> None:
    child = storage.child("a b/c")
    child.put("x", b"1")
    again = pickle.loads(pickle.dumps(child))
    assert again == child
    assert again.read("x") == b"1"
    assert again.url() == child.url()


def test_sync_of_written_files(storage: Storage) -> None:
    storage.put("a/b/c", b"")
    storage.sync(["a/b/c"])
    assert storage.read("a/b/c") == b""


def test_local_paths_and_urls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    spellings: list[str | Path] = ["lake", "./lake/", tmp_path / "lake"]
    for spelling in [*spellings, f"file://{tmp_path}/lake"]:
        storage = open_storage(spelling)
        assert storage.is_local
        assert storage.local_path == tmp_path / "lake"
        assert storage.uri == (tmp_path / "lake").as_uri()
        assert storage.url("a b") == f"{tmp_path}/lake/a b"


def test_memory_is_shared_by_name_only() -> None:
    open_storage("memory://shared-by-name/x").put("a", b"1")
    assert open_storage("memory://shared-by-name").read("x/a") == b"1"
    assert open_storage("memory://").read_or_none("x/a") is None
    assert not open_storage("memory://").is_local


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("", "empty"),
        ("a\0b", "NUL"),
        ("ftp://host/x", "ftp"),
        ("s3://", "no bucket"),
        ("file://server/share", "local path"),
        ("s3://KEY:CANARY@bucket/x", "credentials"),
        ("s3://CANARY@bucket/x", "credentials"),
        ("az://container/x?sig=CANARY", "credentials"),
    ],
)
def test_bad_uris(uri: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        open_storage(uri)
    assert "CANARY" not in str(caught.value)
    assert caught.value.next_step


def test_options_of_another_store_are_refused() -> None:
    with pytest.raises(InputError, match="region"):
        open_storage("./lake", region="x")
    with pytest.raises(InputError, match="no options"):
        open_storage("memory://", region="x")
    with pytest.raises(InputError, match="nonsense"):
        open_storage("s3://bucket", nonsense="CANARY")


def test_options_show_their_names_only() -> None:
    options = Options({"secret_access_key": "CANARY"})
    assert "CANARY" not in f"{options} {options!r}"
    assert options["secret_access_key"] == "CANARY"
    assert dict(options) == {"secret_access_key": "CANARY"}


def test_temporary_files_are_listed_on_request_only(storage: Storage) -> None:
    storage.put("a/file", b"")
    storage.put("a/.tmp-1", b"")
    assert paths(storage) == ["a/file"]
    assert [item.path for item in storage.list(temporary=True)] == ["a/.tmp-1", "a/file"]


def test_now_is_the_time_that_files_get_and_leaves_nothing(storage: Storage) -> None:
    storage.put("before", b"")
    before = storage.head("before")
    now = storage.now()
    storage.put("after", b"")
    after = storage.head("after")
    assert before is not None
    assert after is not None
    assert before.modified <= now <= after.modified
    assert [item.path for item in storage.list(temporary=True)] == ["after", "before"]


def test_list_after_any_path_is_the_rest_of_the_list(storage: Storage) -> None:
    names = ["a", "a-b/x", "a.b", "a/b-c", "a/b.c", "a/b/c", "a0", "b/x", "b0/y/z"]
    for name in names[1:]:
        storage.put(name, b"")
    found = paths(storage)
    assert found == sorted(names[1:])
    for after in [*names, *(name + suffix for name in names for suffix in "-/0z"), "", "0", "zz"]:
        assert paths(storage, start_after=after) == [path for path in found if path > after]
