"""Folders for the files that DuckDB spills: one an instance, which dies with it.

Whoever makes one holds a lock on a file in it. A process that is killed lets go of its lock, and
the next one that makes a folder beside it deletes what it left.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import weakref
from pathlib import Path

from catalog.errors import StorageError

_PREFIX = "lakehouse-"
_OWNER = "owner"


class SpillFolder:
    """Make a folder below ``parent`` (default: the system's for temporary files).

    Raises StorageError where that cannot be.
    """

    def __init__(self, parent: str | os.PathLike[str] | None = None) -> None:
        place = Path(tempfile.gettempdir() if parent is None else parent)
        try:
            place.mkdir(parents=True, exist_ok=True)
            sweep(place)
            self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
            self._lock = _locked(self.path)
        except OSError as error:
            raise StorageError(
                f"cannot make a folder for spill files in {place}: {error.strerror or error}",
                next_step="Pass another as spill_folder",
            ) from error
        self._delete = weakref.finalize(self, _delete, self.path, self._lock)

    def delete(self) -> None:
        """Delete the folder and what is in it."""
        self._delete()


def sweep(place: Path) -> None:
    """Delete the folders in ``place`` that processes left which are dead, and were this user's."""
    for folder in place.glob(f"{_PREFIX}*"):
        try:
            owner = os.open(folder / _OWNER, os.O_RDWR | os.O_NOFOLLOW)
        except OSError:
            continue  # not one of these, somebody else's, or gone
        try:
            if os.fstat(owner).st_uid == os.getuid():
                fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except BlockingIOError:
            pass  # it lives
        finally:
            os.close(owner)


def _locked(folder: Path) -> int:
    """Put a file that is locked into a folder: it has its name when it is."""
    young = folder / f"{_OWNER}.new"
    owner = os.open(young, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    fcntl.flock(owner, fcntl.LOCK_EX)
    young.rename(folder / _OWNER)
    return owner


def _delete(folder: Path, owner: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    os.close(owner)
