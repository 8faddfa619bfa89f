"""Local disk, where what was acknowledged survives a power cut.

A file is written under a temporary name, synced, given its name in one step, and its folder is
synced. `os.link` refuses a name that exists, which makes it the put-if-absent of a file system;
`os.replace` is the plain put. A crash leaves at most a `.tmp-*` file, which is never listed.
"""

import contextlib
import errno
import os
import shutil
import stat
import uuid
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

from catalog.errors import CorruptionError, LakehouseError, OutcomeUnknownError, StorageError
from catalog.storage.backend import EPOCH, TEMPORARY_PREFIX, StoredObject, too_large
from catalog.storage.location import join

_NO_HARD_LINKS = frozenset(
    {errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}
)
_SYNCS = 8  # at once
_ABSENT = (FileNotFoundError, NotADirectoryError)
_NEXT_STEPS = {
    errno.EACCES: ("permission denied", "Check the owner and the mode of the folder"),
    errno.EPERM: ("operation not permitted", "Check the owner and the mode of the folder"),
    errno.EROFS: ("read-only file system", "Remount it for writing, or use another folder"),
    errno.ENOSPC: ("disk full", "Free some space and repeat"),
    errno.EDQUOT: ("disk quota exceeded", "Free some space and repeat"),
    errno.EMFILE: ("too many open files", "Raise the limit (ulimit -n) and repeat"),
    errno.ENFILE: ("too many open files", "Raise the system's limit and repeat"),
    errno.ENAMETOOLONG: ("file name too long", "Use a shorter name"),
    errno.ENOTDIR: ("not a folder", "Move away the file that is in the place of a folder"),
    errno.EISDIR: ("is a folder", "Name a file"),
    errno.EIO: ("input/output error", "Check the disk and the kernel's log"),
}


@dataclass(frozen=True, slots=True)
class LocalBackend:
    """Store files in a folder; `anchor` is the folder that was opened, `root` may lie below."""

    root: str
    anchor: str
    durable: bool = True
    # Roots that are known to be on disk, name and all: what is above need not be synced again.
    placed: set[tuple[str, int]] = field(default_factory=set, repr=False, compare=False)

    def url(self, path: str) -> str:
        return join(self.root, path)

    def read(self, path: str, at_most: int | None) -> bytes:
        self.require_inside([path])
        try:
            with open(self.url(path), "rb") as file:
                status = os.fstat(file.fileno())
                if at_most is not None and status.st_size > at_most:
                    raise too_large(self.url(path), status.st_size, at_most)
                return file.read()
        except OSError as error:
            raise _translate(error, "read", self.url(path)) from error

    def put(self, path: str, data: bytes) -> None:
        self._replace(path, data)

    def put_if_absent(self, path: str, data: bytes) -> bool:
        target = self.url(path)
        if os.path.lexists(target):  # a race lost by far: spare the disk
            return False
        temporary = self._write_temporary(target, data)
        try:
            os.link(temporary, target)
        except OSError as error:
            # Over NFS a repeated request answers "exists" for the link it made itself.
            if not _same_file(temporary, target):
                if isinstance(error, FileExistsError):
                    return False
                if error.errno not in _NO_HARD_LINKS:
                    raise _judge(error, target) from error
                if not self._create(target, data):
                    return False
        finally:
            _discard(temporary)
        self._acknowledge(target)
        return True

    def upload(self, path: str, source: Path) -> None:
        self._replace(path, source)

    def copy(self, path: str, to: str) -> None:
        self.require_inside([path, to])
        source, target = self.url(path), self.url(to)
        temporary = os.path.join(os.path.dirname(target), f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}")
        try:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            try:
                os.link(source, temporary, follow_symlinks=False)
            except OSError as error:
                if error.errno not in _NO_HARD_LINKS:
                    raise
                shutil.copyfile(source, temporary)
            os.replace(temporary, target)
        except OSError as error:
            raise _translate(error, "copy", source) from error
        finally:
            _discard(temporary)
        self._acknowledge(target)

    def list(
        self, prefix: str, start_after: str | None, *, temporary: bool = False
    ) -> Iterator[StoredObject]:
        return self._walk(prefix, start_after, temporary=temporary)

    def list_at_once(self, prefix: str) -> Sequence[StoredObject] | None:  # noqa: ARG002
        return None

    def head(self, path: str) -> StoredObject | None:
        try:
            status = os.stat(self.url(path))
        except _ABSENT:
            return None
        except OSError as error:
            raise _translate(error, "look at", self.url(path)) from error
        return None if stat.S_ISDIR(status.st_mode) else _describe(path, status)

    def delete(self, paths: Iterable[str]) -> None:
        found = list(paths)
        # The files themselves may be links: it is the link that goes.
        self.require_inside({os.path.dirname(path) for path in found} - {""})
        for path in found:
            try:
                os.unlink(self.url(path))
            except _ABSENT:
                continue
            except OSError as error:
                raise _translate(error, "delete", self.url(path)) from error

    def sync(self, paths: Iterable[str]) -> None:
        if not self.durable:
            return
        files = [self.url(path) for path in paths]
        folders: dict[str, None] = {}
        for file in files:
            folder = os.path.dirname(file)
            folders[folder] = None
            # Up to the opened folder: another library may have made any of those in between.
            while len(folder) > len(self.anchor) and not self._is_placed(folder):
                folder = os.path.dirname(folder)
                folders[folder] = None
        targets = [*files, *folders]
        # At once and in any order: the disk then writes for several of them together.
        with ThreadPoolExecutor(min(len(targets), _SYNCS) or 1) as pool:
            for _ in pool.map(_sync_or_raise, targets):
                pass
        if files:
            self.placed.add(_identity(self.root))

    def require_inside(self, paths: Iterable[str]) -> None:
        checked = {""}
        for path in paths:
            part = path
            while part not in checked:
                try:
                    mode = os.lstat(self.url(part)).st_mode
                except (OSError, ValueError):
                    mode = stat.S_IFREG  # whatever is wrong with it, it leads nowhere
                if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                    self._follow(part, path, mode)
                if part is not path:
                    checked.add(part)
                part = part[: max(0, part.rfind("/"))]

    def _follow(self, part: str, path: str, mode: int) -> None:
        real, root = os.path.realpath(self.url(part)), os.path.realpath(self.root)
        inside = real == root or real.startswith(root.rstrip("/") + "/")
        plain = os.path.isfile(real) or os.path.isdir(real) or not os.path.lexists(real)
        if stat.S_ISLNK(mode) and inside and plain:
            return
        problem = "leads to a device or a pipe, which is not to be read"
        if not inside:
            problem = f"leads out of {self.root} by a symbolic link"
        raise CorruptionError(
            f"{self.url(path)} {problem}",
            next_step="Do not trust these files; put plain copies in the place of the links",
            path=self.url(path),
        )

    def child(self, relative: str) -> "LocalBackend":
        return replace(self, root=join(self.root, relative))

    def streams(self) -> None:
        return None

    def _replace(self, path: str, content: bytes | Path) -> None:
        target = self.url(path)
        temporary = self._write_temporary(target, content)
        try:
            os.replace(temporary, target)
        except OSError as error:
            raise _judge(error, target) from error
        finally:
            _discard(temporary)
        self._acknowledge(target)

    def _is_placed(self, folder: str) -> bool:
        return folder == self.root and _identity(folder) in self.placed

    def _write_temporary(self, target: str, data: bytes | Path) -> str:
        folder = os.path.dirname(target)
        temporary = os.path.join(folder, f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}")
        try:
            try:
                self._write_new(temporary, data)
            except FileNotFoundError:
                self._make_folder(folder)
                self._write_new(temporary, data)
        except OSError as error:
            _discard(temporary)
            raise _translate(error, "write", target) from error
        except BaseException:
            _discard(temporary)
            raise
        return temporary

    def _write_new(self, path: str, data: bytes | Path) -> None:
        self._fill(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), data)

    def _fill(self, descriptor: int, data: bytes | Path) -> None:
        with open(descriptor, "wb") as file:
            if isinstance(data, bytes):
                file.write(data)
            else:
                with data.open("rb") as source:
                    shutil.copyfileobj(source, file, 1 << 20)
            file.flush()
            if self.durable:
                os.fsync(descriptor)

    def _create(self, target: str, data: bytes) -> bool:
        """Write in place, for file systems without hard links.

        Still exclusive, but a reader may see the file half written, and a crash leaves it so.
        """
        try:
            descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            return False
        except OSError as error:
            raise _judge(error, target) from error
        try:
            self._fill(descriptor, data)
        except OSError as error:
            # Only here is the name known to be ours, so that it may be taken back.
            _discard(target)
            if os.path.lexists(target):
                raise _unknown(error, target) from error
            raise _translate(error, "write", target) from error
        return True

    def _make_folder(self, folder: str) -> None:
        missing = []
        while not os.path.isdir(folder):
            missing.append(folder)
            folder = os.path.dirname(folder)
        for path in reversed(missing):
            with contextlib.suppress(FileExistsError):
                os.mkdir(path)
            if self.durable:
                _sync(os.path.dirname(path))

    def _acknowledge(self, target: str) -> None:
        if not self.durable:
            return
        try:
            _sync(os.path.dirname(target))
        except OSError as error:
            raise _unknown(error, target) from error

    def _walk(
        self, folder: str, start_after: str | None, *, temporary: bool
    ) -> Iterator[StoredObject]:
        inside = folder.rstrip("/") + "/" if folder else ""
        # Names below this come before `start_after`, and so does all in folders of such a name:
        # "0" is the character after "/". A long log is mostly names below.
        below = ""
        if start_after is not None and start_after.startswith(inside):
            below = start_after.removeprefix(inside)
        try:
            with os.scandir(self.url(folder)) as entries:
                found = [
                    (entry, is_folder)
                    for entry in entries
                    if entry.name + "0" > below
                    and (temporary or not entry.name.startswith(TEMPORARY_PREFIX))
                    and (
                        (is_folder := entry.is_dir(follow_symlinks=False))
                        or start_after is None
                        or join(folder, entry.name) > start_after
                    )
                ]
        except _ABSENT:
            return
        except OSError as error:
            raise _translate(error, "list", self.url(folder)) from error
        # A folder sorts as "name/", so that the whole walk is in the order of object storage.
        found.sort(key=lambda item: item[0].name + "/" if item[1] else item[0].name)
        for entry, is_folder in found:
            path = join(folder, entry.name)
            if is_folder:
                inside = path + "/"
                if not start_after or start_after < inside or start_after.startswith(inside):
                    yield from self._walk(path, start_after, temporary=temporary)
            else:
                try:
                    # Links to folders are not followed: they may lead out, or in a circle.
                    if not entry.is_dir():
                        yield _describe(path, entry.stat())
                except FileNotFoundError:
                    continue
                except OSError as error:
                    raise _translate(error, "look at", self.url(path)) from error


def _describe(path: str, status: os.stat_result) -> StoredObject:
    # Not from st_mtime: a float may round up to the next millisecond, and Spark rounds down.
    modified = EPOCH + timedelta(microseconds=status.st_mtime_ns // 1000)
    return StoredObject(path, status.st_size, modified)


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_or_raise(path: str) -> None:
    try:
        _sync(path)
    except OSError as error:
        raise _translate(error, "sync", path) from error


def _identity(folder: str) -> tuple[str, int]:
    try:
        return folder, os.stat(folder).st_ino
    except OSError as error:
        raise _translate(error, "look at", folder) from error


def _discard(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


def _same_file(one: str, other: str) -> bool:
    try:
        return os.path.samestat(os.stat(one), os.stat(other, follow_symlinks=False))
    except OSError:
        return False


def _judge(error: OSError, target: str) -> LakehouseError:
    """Tell a refusal, which proves that nothing was written, from a failure, which does not."""
    if error.errno in _NEXT_STEPS and error.errno != errno.EIO:
        return _translate(error, "write", target)
    return _unknown(error, target)


def _unknown(error: OSError, target: str) -> OutcomeUnknownError:
    return OutcomeUnknownError(
        f"cannot tell whether {target} was written: {error.strerror}",
        next_step="Check the disk, then look whether the file is there",
        path=target,
    )


def _translate(error: OSError, action: str, target: str) -> StorageError:
    # A file in the place of a folder hides nothing from a reader: the path leads nowhere.
    if isinstance(error, FileNotFoundError) or (
        isinstance(error, NotADirectoryError) and action == "read"
    ):
        return StorageError(
            f"cannot {action} {target}: no such file",
            next_step="Check the path, or whether the table was vacuumed or dropped meanwhile",
            missing=True,
            errno=error.errno,
            path=target,
        )
    problem, next_step = _NEXT_STEPS.get(
        error.errno or 0, (error.strerror or type(error).__name__, "Check the disk and repeat")
    )
    return StorageError(
        f"cannot {action} {target}: {problem}",
        next_step=next_step,
        errno=error.errno,
        path=target,
    )
