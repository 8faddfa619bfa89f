"""Stores that break one promise each: backends around an honest one."""

import time
from dataclasses import replace
from datetime import timedelta

from catalog.errors import OutcomeUnknownError, StorageError


class Deviant:
    """Pass everything on; folders below share what a store remembers."""

    def __init__(self, inner):
        self.inner = inner
        self.memory = {}

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def child(self, relative):
        below = type(self)(self.inner.child(relative))
        below.memory = self.memory
        return below


class IgnoresConditions(Deviant):
    def put_if_absent(self, path, data):
        self.inner.put(path, data)
        return True


class IgnoresLargeConditions(Deviant):
    def put_if_absent(self, path, data):
        if len(data) < 5 << 20:
            return self.inner.put_if_absent(path, data)
        self.inner.put(path, data)
        return True


class LooksBeforeItLeaps(Deviant):
    """Refuse a second writer, but not one who comes at the same time."""

    def put_if_absent(self, path, data):
        if self.inner.head(path) is not None:
            return False
        time.sleep(0.2)
        self.inner.put(path, data)
        return True


class KeepsTheLoser(Deviant):
    def put_if_absent(self, path, data):
        if self.inner.put_if_absent(path, data):
            return True
        self.inner.put(path, data)
        return False


class DeniesConditions(Deviant):
    def put_if_absent(self, path, data):
        raise StorageError("A header you provided implies functionality that is not implemented")


class ServesFirstContents(Deviant):
    def read(self, path, at_most):
        return self.memory.setdefault(self.inner.url(path), self.inner.read(path, at_most))


class RemembersAbsence(Deviant):
    def head(self, path):
        found = self.inner.head(path)
        if found is None:
            self.memory[self.inner.url(path)] = True
        return found

    def read(self, path, at_most):
        if self.inner.url(path) in self.memory:
            raise StorageError("no such file", missing=True)
        return self.inner.read(path, at_most)


class ListsLate(Deviant):
    def list(self, prefix, start_after, *, temporary=False):
        now = [*self.inner.list(prefix, start_after, temporary=temporary)]
        before = self.memory.get(prefix, ())
        self.memory[prefix] = now
        return iter(before)


class CutsLargeFiles(Deviant):
    def put(self, path, data):
        self.inner.put(path, data[: 8 << 20])


class DeniesDeletes(Deviant):
    def delete(self, paths):
        raise StorageError("permission denied")


class ForgetsToDelete(Deviant):
    def delete(self, paths):
        list(paths)


class RunsLate(Deviant):
    late = timedelta(minutes=7)

    def head(self, path):
        found = self.inner.head(path)
        return found and replace(found, modified=found.modified - self.late)


class DeniesWrites(Deviant):
    def put(self, path, data):
        self.memory[path] = data
        raise StorageError("permission denied")

    def put_if_absent(self, path, data):
        self.put(path, data)


class LosesAnswers(Deviant):
    """Lose answers: every other winner repeats its put, and some losers hear nothing."""

    def put_if_absent(self, path, data):
        if self.inner.put_if_absent(path, data):
            self.memory[self.inner.url(path)] = True
            return len(self.memory) % 2 == 0
        if data.startswith((b"C", b"D")):
            raise OutcomeUnknownError("no answer")
        return False


class LosesAllAnswers(Deviant):
    def put_if_absent(self, path, data):
        self.inner.put_if_absent(path, data)
        raise OutcomeUnknownError("no answer")


class IsUnreachable(Deviant):
    """Serve one put, and break down."""

    def __getattr__(self, name):
        if name in ("url", "streams"):
            return getattr(self.inner, name)
        raise StorageError("connection refused")

    def put(self, path, data):
        self.inner.put(path, data)
