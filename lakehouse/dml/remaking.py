"""Make data files anew one by one, each from one that is there, several at once.

What a maker finds not to be as expected is left to the copy of its values.
"""

from __future__ import annotations

import contextlib
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

from catalog.errors import StorageError
from catalog.storage import Storage
from lakehouse.delta.actions import AddFile
from lakehouse.delta.codec import encode_path
from lakehouse.delta.features import is_on
from lakehouse.delta.protocol import writer_features
from lakehouse.delta.snapshot import Snapshot
from lakehouse.duck.engine import Engine
from lakehouse.duck.errors import DuckError, Interruption, translated
from lakehouse.write.footer import END, MAGIC, Footer, Piece, footer_of, length_of

# What takes over less is copied by its values: many small files become a few.
LEAST = 1 << 20
_MOST = 8  # at once
_BLOCK, _RANGE = 256 << 10, 32 << 20


def worth_it(snapshot: Snapshot, adds: Iterable[AddFile]) -> list[AddFile]:
    """Return the files of which others can be made: large ones, of which all rows are there.

    None of a table that tracks rows: each row would have to bring its number along.
    """
    if "rowTracking" in writer_features(snapshot.protocol) or is_on(
        snapshot.properties, "delta.enableRowTracking"
    ):
        return []
    return [add for add in adds if add.size >= LEAST and add.deletion_vector is None]


class Remaking:
    """Make files of a table, in a folder of its own on local disk.

    ``make`` is given an action, its file, where the new one is to be, and a folder for whatever it
    needs; it returns the new file's statistics. ValueError says that the file is to be copied.
    """

    def __init__(
        self,
        storage: Storage,
        engine: Engine,
        folder: Path,
        make: Callable[[AddFile, Path, Path, Path], str],
    ) -> None:
        self._storage = storage
        self._folder = folder
        self._make = make
        self._written: list[str] = []
        # Files of object storage are mostly waited for.
        self.threads = threads_of(engine) if storage.is_local else _MOST
        self.stopped = False

    def all(self, adds: Sequence[AddFile]) -> list[tuple[AddFile, AddFile]]:
        """Return files and what came of them, durable; those that are left out are to be copied.

        After any error no file is left behind.
        """
        self._storage.require_inside(add.key[0] for add in adds)
        try:
            with translated("copy rows"):
                with ThreadPoolExecutor(self.threads) as pool:
                    try:
                        tried = list(pool.map(self._tried, adds))
                    except BaseException:
                        self.stopped = True
                        raise
                made = [(old, new) for old, new in zip(adds, tried, strict=True) if new is not None]
                self._storage.sync(new.key[0] for _, new in made)
                return made
        except BaseException:
            self._delete(self._written)
            raise

    def _tried(self, add: AddFile) -> AddFile | None:
        """Make a file; None where it is to be copied."""
        if self.stopped:
            return None
        path = f"part-{uuid.uuid4().hex[:16]}-{uuid.uuid4()}.parquet"
        if "/" in add.key[0]:
            path = f"{add.key[0].rpartition('/')[0]}/{path}"
        work = self._folder / uuid.uuid4().hex
        try:
            work.mkdir()
            return self._made(add, path, work)
        except Interruption:
            raise
        except (DuckError, OSError, StorageError):
            # The copy tells what is wrong, and it will be wrong with other files, too.
            self.stopped = True
        except ValueError:
            pass  # the file is not as expected
        finally:
            shutil.rmtree(work, ignore_errors=True)
        if path in self._written:
            self._delete([path])
        return None

    def _made(self, add: AddFile, path: str, work: Path) -> AddFile:
        root = self._storage.local_path
        if root is None:
            old, new = self._fetched(add, work), work / "new.parquet"
            stats = self._make(add, old, new, work)
            self._written.append(path)
            self._storage.upload(path, new)
        else:
            self._written.append(path)
            old, new = root / add.key[0], root / path
            stats = self._make(add, old, new, work)
        return AddFile(
            path=encode_path(path),
            partition_values=add.partition_values,
            size=new.stat().st_size,
            modification_time=time.time_ns() // 1_000_000,
            data_change=True,
            stats=stats,
        )

    def _fetched(self, add: AddFile, work: Path) -> Path:
        """Bring a file to local disk: its values are read as well as its bytes."""
        streams = self._storage.streams
        assert streams is not None
        file = work / "old.parquet"
        with file.open("wb") as out:
            for start in range(0, add.size, _RANGE):
                out.write(streams.read_range(add.key[0], start, min(_RANGE, add.size - start)))
        return file

    def _delete(self, paths: Iterable[str]) -> None:
        with contextlib.suppress(StorageError):
            self._storage.delete(paths)


def threads_of(engine: Engine) -> int:
    """Return how many files had better be worked on at once."""
    with engine.cursor() as cursor:
        (found,) = cursor.execute("SELECT current_setting('threads')").fetchall()
    return min(_MOST, int(found[0]))


def read_footer(file: BinaryIO) -> Footer:
    """Read a file's footer; ValueError where it is not one that can be relied on."""
    size = file.seek(0, 2)
    if size < 2 * END:
        raise ValueError("no Parquet file")
    file.seek(size - END)
    length = length_of(file.read(END))
    if length > size - END - len(MAGIC):
        raise ValueError("a footer larger than its file")
    file.seek(size - END - length)
    return footer_of(file.read(length), size)


def copy_piece(file: BinaryIO, piece: Piece, out: BinaryIO) -> None:
    """Write a piece of a file to another."""
    file.seek(piece.start)
    left = piece.length
    while left:
        data = file.read(min(left, _BLOCK))
        if not data:
            raise ValueError("a file that is cut off")
        out.write(data)
        left -= len(data)
