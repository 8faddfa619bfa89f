"""Storage of every kind that needs no server, and storage that fails on purpose."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from catalog.storage import Storage, StoredObject, open_storage
from catalog.storage.backend import Backend, Streams


@pytest.fixture(params=["local", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return open_storage(tmp_path / "my lake" if request.param == "local" else "memory:///lake")


@dataclass
class Script:
    """Say what happens around each put, in order; then everything works."""

    before: list[Exception | None] = field(default_factory=list)
    after: list[Exception | None] = field(default_factory=list)
    puts: list[str] = field(default_factory=list)
    sent: list[bytes] = field(default_factory=list)
    on_put: Callable[[str], None] = lambda path: None


@dataclass(frozen=True)
class FaultyBackend:
    inner: Backend
    script: Script

    def put_if_absent(self, path: str, data: bytes) -> bool:
        self.script.puts.append(path)
        self.script.sent.append(data)
        self.script.on_put(path)
        if self.script.before and (error := self.script.before.pop(0)):
            raise error
        written = self.inner.put_if_absent(path, data)
        if self.script.after and (error := self.script.after.pop(0)):
            raise error
        return written

    def child(self, relative: str) -> "FaultyBackend":
        return replace(self, inner=self.inner.child(relative))

    def url(self, path: str) -> str:
        return self.inner.url(path)

    def read(self, path: str, at_most: int | None) -> bytes:
        return self.inner.read(path, at_most)

    def put(self, path: str, data: bytes) -> None:
        self.inner.put(path, data)

    def copy(self, path: str, to: str) -> None:
        self.inner.copy(path, to)

    def list(
        self, prefix: str, start_after: str | None, *, temporary: bool = False
    ) -> Iterator[StoredObject]:
        return self.inner.list(prefix, start_after, temporary=temporary)

    def list_at_once(self, prefix: str) -> Sequence[StoredObject] | None:
        return self.inner.list_at_once(prefix)

    def head(self, path: str) -> StoredObject | None:
        return self.inner.head(path)

    def delete(self, paths: Iterable[str]) -> None:
        self.inner.delete(paths)

    def sync(self, paths: Iterable[str]) -> None:
        self.inner.sync(paths)

    def require_inside(self, paths: Iterable[str]) -> None:
        self.inner.require_inside(paths)

    def upload(self, path: str, source: Path) -> None:
        self.inner.upload(path, source)

    def streams(self) -> Streams | None:
        return self.inner.streams()


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def faulty(storage: Storage, script: Script) -> Storage:
    return replace(storage, _backend=FaultyBackend(storage._backend, script))
