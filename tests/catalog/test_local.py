"""Local disk: what is acknowledged is durable, what fails leaves nothing behind."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from catalog.errors import (
    CorruptionError,
    InputError,
    LakehouseError,
    OutcomeUnknownError,
    StorageError,
)
from catalog.storage import Storage, open_storage

Write = Callable[[Storage, str, bytes], object]
WRITES = [Storage.put, Storage.put_if_absent]


@pytest.fixture
def lake(tmp_path: Path) -> Storage:
    return open_storage(tmp_path / "lake")


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record what is fsynced, as inode numbers: names change, and that is the point."""
    calls: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        status = os.fstat(descriptor)
        kind = "folder" if stat.S_ISDIR(status.st_mode) else "file"
        calls.append(f"{kind} {status.st_ino}")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    return calls


def inode(path: Path) -> str:
    return f"{'folder' if path.is_dir() else 'file'} {path.stat().st_ino}"


def leftovers(folder: Path) -> list[Path]:
    return list(folder.rglob(".tmp-*"))


def failing(monkeypatch: pytest.MonkeyPatch, name: str, number: int, *, at: int = 0) -> None:
    """Let one call of a function in `os` fail, by default the first."""
    real = getattr(os, name)
    calls = [0]

    def call(*args: object, **options: object) -> object:
        calls[0] += 1
        if calls[0] == at + 1:
            raise OSError(number, os.strerror(number))
        return real(*args, **options)

    monkeypatch.setattr(os, name, call)


@pytest.mark.parametrize("write", WRITES)
def test_write_syncs_file_folder_and_new_parents(
    lake: Storage, tmp_path: Path, synced: list[str], write: Write
) -> None:
    write(lake, "a/b/c.json", b"{}")
    root = tmp_path / "lake"
    assert inode(root / "a/b/c.json") in synced
    assert synced[-1] == inode(root / "a/b")
    # Each new folder is an entry of its parent.
    assert {inode(tmp_path), inode(root), inode(root / "a")} <= set(synced)
    synced.clear()
    write(lake, "a/b/d.json", b"{}")
    assert synced == [inode(root / "a/b/d.json"), inode(root / "a/b")]


@pytest.mark.parametrize("write", WRITES)
def test_sync_can_be_turned_off(tmp_path: Path, synced: list[str], write: Write) -> None:
    fast = open_storage(tmp_path / "fast", durable=False)
    write(fast, "a/b", b"1")
    fast.sync(["a/b"])
    assert fast.read("a/b") == b"1"
    assert synced == []


def test_sync_covers_files_and_every_folder_up_to_the_lake(
    lake: Storage, tmp_path: Path, synced: list[str]
) -> None:
    folder = tmp_path / "lake/bronze/t/p=1"
    folder.mkdir(parents=True)
    (folder / "x.parquet").write_bytes(b"x")
    (folder / "y.parquet").write_bytes(b"y")
    table = lake.child("bronze/t")
    table.sync(["p=1/x.parquet", "p=1/y.parquet"])
    files = [folder / "x.parquet", folder / "y.parquet"]
    assert sorted(synced) == sorted(map(inode, [*files, folder, *list(folder.parents)[:3]]))
    # What is above the table's folder stays as it is; below, folders come and go.
    synced.clear()
    lake.child("bronze/t").sync(["p=1/x.parquet"])
    assert sorted(synced) == sorted(map(inode, [files[0], folder, folder.parent]))
    with pytest.raises(StorageError, match="no such file"):
        lake.sync(["gone.parquet"])


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize(
    ("call", "number", "message"),
    [
        ("open", errno.EACCES, "permission denied"),
        ("open", errno.EMFILE, "too many open files"),
        ("fsync", errno.ENOSPC, "disk full"),
        ("fsync", errno.EIO, "input/output"),
        ("mkdir", errno.EROFS, "read-only"),
    ],
)
def test_failed_write_leaves_nothing(
    lake: Storage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    write: Write,
    call: str,
    number: int,
    message: str,
) -> None:
    with monkeypatch.context() as patch:
        failing(patch, call, number)
        with pytest.raises(StorageError, match=message) as caught:
            write(lake, "a/file", b"new")
    assert caught.value.errno == number
    assert caught.value.next_step
    assert isinstance(caught.value.__cause__, OSError)
    assert lake.read_or_none("a/file") is None
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.EACCES, StorageError), (errno.EIO, OutcomeUnknownError)]
)
@pytest.mark.parametrize(("write", "call"), [(WRITES[0], "replace"), (WRITES[1], "link")])
def test_naming_fails(
    lake: Storage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    write: Write,
    call: str,
    number: int,
    kind: type[LakehouseError],
) -> None:
    with monkeypatch.context() as patch:
        failing(patch, call, number)
        with pytest.raises(kind):
            write(lake, "a/file", b"new")
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("write", WRITES)
def test_folder_cannot_be_synced_after_naming(
    lake: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Write
) -> None:
    lake.put("a/other", b"")
    with monkeypatch.context() as patch:
        failing(patch, "fsync", errno.EIO, at=1)
        with pytest.raises(OutcomeUnknownError, match="cannot tell"):
            write(lake, "a/file", b"new")
    assert leftovers(tmp_path) == []


def test_interrupted_write_leaves_nothing(
    lake: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    (tmp_path / "lake").mkdir()
    with pytest.raises(KeyboardInterrupt):
        lake.put_if_absent("file", b"x")
    assert list((tmp_path / "lake").iterdir()) == []


@pytest.mark.parametrize("number", [errno.EPERM, errno.EXDEV, errno.EOPNOTSUPP, errno.ENOSYS])
def test_file_systems_without_hard_links(
    lake: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def link(source: str, target: str) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", link)
    assert lake.put_if_absent("a/file", b"first") is True
    assert lake.put_if_absent("a/file", b"second") is False
    assert lake.read("a/file") == b"first"
    with monkeypatch.context() as patch:
        failing(patch, "fsync", errno.ENOSPC, at=1)
        with pytest.raises(StorageError, match="disk full"):
            lake.put_if_absent("a/torn", b"x")
    assert lake.read_or_none("a/torn") is None
    with monkeypatch.context() as patch:
        # Out of file descriptors: the name may be somebody else's and must stay.
        patch.setattr(os.path, "lexists", lambda path: False)
        failing(patch, "open", errno.EMFILE, at=1)
        with pytest.raises(StorageError, match="too many"):
            lake.put_if_absent("a/file", b"third")
    assert lake.read("a/file") == b"first"
    assert leftovers(tmp_path) == []


def test_link_that_was_made_and_reported_as_existing(
    lake: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.link

    def link(source: str, target: str) -> None:
        real(source, target)
        raise FileExistsError(errno.EEXIST, "a repeated request over NFS")

    monkeypatch.setattr(os, "link", link)
    assert lake.put_if_absent("file", b"x") is True
    assert lake.put_if_absent("file", b"y") is False
    assert lake.read("file") == b"x"


def test_file_in_the_place_of_a_folder(lake: Storage) -> None:
    lake.put("a", b"")
    with pytest.raises(StorageError, match="not a folder"):
        lake.put("a/b", b"")
    lake.put("folder/x", b"")
    with pytest.raises(StorageError, match="is a folder"):
        lake.read("folder")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may do everything")
def test_permission_denied(lake: Storage, tmp_path: Path) -> None:
    lake.put("a/b", b"")
    (tmp_path / "lake/a").chmod(0)
    try:
        for call in (
            lambda: lake.read("a/b"),
            lambda: lake.put("a/c", b""),
            lambda: list(lake.list()),
            lambda: lake.head("a/b"),
            lambda: lake.delete(["a/b"]),
        ):
            with pytest.raises(StorageError, match=r"permission denied.*Check the owner"):
                call()
    finally:
        (tmp_path / "lake/a").chmod(0o700)


def test_links_to_folders_are_not_followed(lake: Storage, tmp_path: Path) -> None:
    lake.put("a/x", b"")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"")
    (tmp_path / "lake/a/out").symlink_to(outside)
    (tmp_path / "lake/a/loop").symlink_to(tmp_path / "lake/a")
    (tmp_path / "lake/a/dangling").symlink_to(tmp_path / "nowhere")
    assert [item.path for item in lake.list()] == ["a/x"]


def test_files_keep_the_usual_mode(lake: Storage, tmp_path: Path) -> None:
    lake.put_if_absent("x", b"")
    (tmp_path / "usual").touch()
    assert (tmp_path / "lake/x").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_storage("~/lake").local_path == tmp_path / "lake"
    with pytest.raises(InputError):
        open_storage("file:///lake?x=1")


@pytest.fixture
def linked(tmp_path):
    """A folder, opened by a link to it, with links inside and out; and what lies outside."""
    root, outside = tmp_path / "lake", tmp_path / "outside"
    for folder in (root / "a", outside / "deep"):
        folder.mkdir(parents=True)
    (root / "a/x").write_bytes(b"in")
    (outside / "x").write_bytes(b"secret")
    (outside / "deep/x").write_bytes(b"secret")
    (root / "inside").symlink_to("a")
    (root / "inside-file").symlink_to(root / "a/x")
    (root / "self").symlink_to(".")
    (root / "out").symlink_to(outside)
    (root / "out-file").symlink_to("../outside/x")
    (root / "a/deep-out").symlink_to("../out/deep")
    (root / "nowhere").symlink_to(tmp_path / "not here")
    (root / "device").symlink_to("/dev/zero")
    os.mkfifo(root / "pipe")
    (tmp_path / "link").symlink_to("lake")
    return open_storage(tmp_path / "link"), outside


@pytest.mark.parametrize("path", ["a/x", "inside/x", "inside-file", "self/a/x", "self/inside/x"])
def test_links_that_stay_inside_are_followed(linked, path):
    storage, _ = linked
    storage.require_inside([path])
    assert storage.read(path) == b"in"


@pytest.mark.parametrize(
    "path",
    ["out/x", "out-file", "out/deep/x", "a/deep-out/x", "inside/deep-out/x", "nowhere", "device",
     "pipe", "out/missing"],
)  # fmt: skip
def test_links_that_lead_out_are_refused(linked, path):
    storage, outside = linked
    for call in (lambda: storage.require_inside(["a/x", path]), lambda: storage.read(path)):
        with pytest.raises(CorruptionError, match=path):
            call()
    assert (outside / "x").read_bytes() == b"secret"


def test_nothing_is_deleted_through_a_link(linked):
    storage, outside = linked
    for path in ("out/x", "a/deep-out/x"):
        with pytest.raises(CorruptionError, match="out"):
            storage.delete(["a/x", path])
    assert storage.read("a/x") == b"in"
    storage.delete(["out-file", "nowhere", "missing"])
    assert (outside / "x").read_bytes() == (outside / "deep/x").read_bytes() == b"secret"
    assert storage.head("out-file") is None


def test_what_is_too_large_is_not_read(storage):
    storage.put("a", b"12345")
    assert storage.read("a", at_most=5) == b"12345"
    with pytest.raises(CorruptionError, match="5 bytes, and no more than 4 "):
        storage.read("a", at_most=4)


def test_times_of_files_are_cut_to_milliseconds_not_rounded(tmp_path):
    file = tmp_path / "a"
    file.write_bytes(b"")
    nanoseconds = 1_795_941_428_893_999_999  # as a float of seconds, this is ...428.894
    os.utime(file, ns=(nanoseconds, nanoseconds))
    found = open_storage(tmp_path).head("a")
    assert found is not None
    assert found.millis == nanoseconds // 1_000_000
