"""Say where something lives: parse URIs, check relative paths, tell whether places overlap.

Everything here is text to text, except `Location.resolved`, which follows symbolic links.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from catalog.errors import InputError

_ALIASES = {"s3a": "s3", "s3n": "s3", "azure": "az", "adl": "az", "abfs": "abfss", "gcs": "gs"}
# What nothing is wrong with, told at once: a table's files are asked about by the thousand.
_PLAIN = re.compile(r"(?:[\w=%-][\w=%.-]*/)*[\w=%-][\w=%.-]*", re.ASCII)
_SCHEMES = frozenset({"s3", "az", "abfss", "gs", "memory", "file"})


@dataclass(frozen=True, slots=True)
class Location:
    """Name a place by scheme, host (the bucket or container) and normalised path.

    `path` starts with a slash on local disk; elsewhere it is the key without one. Keys are
    taken literally: `s3://bucket/a%20b` is the key `a%20b`, as DuckDB and the AWS tools see it.
    """

    scheme: str
    host: str
    path: str

    @property
    def uri(self) -> str:
        """Return the canonical URI, without a trailing slash.

        >>> parse("s3a://bucket/lake/x/../").uri
        's3://bucket/lake'
        """
        if self.scheme == "file":
            return Path(self.path).as_uri()
        return f"{self.scheme}://{self.host}/{self.path}".rstrip("/")

    @property
    def resolved(self) -> "Location":
        """Return the place behind the symbolic links of a local path."""
        if self.scheme != "file":
            return self
        return replace(self, path=os.path.realpath(self.path))

    def child(self, relative: str) -> "Location":
        """Return the place at a checked path below this one."""
        return replace(self, path=join(self.path, relative)) if relative else self

    def lineage(self) -> Iterator[tuple[str, ...]]:
        """Yield the keys of every place that contains this one, outermost first, itself last."""
        parts = [part for part in self.path.split("/") if part]
        for depth in range(len(parts) + 1):
            yield (self.scheme, self.host, *parts[:depth])


def parse(uri: str | os.PathLike[str]) -> Location:
    """Parse a path or URI into its normalised location.

    Accept `./lake`, `/lake`, `~/lake`, `file:///lake`, `s3://`, `az://`, `abfss://`, `gs://`
    and `memory://name`. Raise InputError for anything else, without repeating what may be a
    secret.

    >>> parse("file:///data/a%20lake/").path
    '/data/a lake'
    """
    text = os.fspath(uri)
    if not text or "\0" in text:
        raise InputError(
            "a lake's URI must not be empty or hold NUL characters",
            next_step="Pass a folder such as ./lake, or a URI such as s3://bucket/lake",
        )
    if "://" not in text:
        return Location("file", "", _one_root(os.path.abspath(os.path.expanduser(text))))
    scheme, _, rest = text.partition("://")
    scheme = _ALIASES.get(scheme.lower(), scheme.lower())
    if scheme not in _SCHEMES:
        raise InputError(
            f"no storage is known for {scheme}:// URIs",
            next_step=f"Use a folder or one of {', '.join(sorted(_SCHEMES))}",
        )
    if scheme == "file":
        return _parse_file(text)
    host, _, path = rest.partition("/")
    account, at, _ = host.rpartition("@")
    if "?" in rest or "#" in rest or ":" in account or (at and scheme != "abfss"):
        raise InputError(
            f"the {scheme}:// URI holds credentials, a query or a fragment",
            next_step="Pass credentials as options, for example access_key_id=..., not in the URI",
        )
    if not host and scheme != "memory":
        raise InputError(
            f"the {scheme}:// URI names no bucket", next_step=f"{scheme}://bucket/lake"
        )
    return Location(scheme, host, _normalise_key(path))


def check_relative(path: str, *, allow_empty: bool = False) -> str:
    """Return `path` without a trailing slash; raise InputError if it is not plain and relative.

    >>> check_relative("bronze/flights/")
    'bronze/flights'
    >>> check_relative("../secrets")
    Traceback (most recent call last):
    catalog.errors.InputError: path '../secrets' leaves its folder. Use a plain relative path
    """
    if _PLAIN.fullmatch(path):
        return path
    trimmed = path.removesuffix("/")
    if not trimmed and allow_empty and path == trimmed:
        return ""
    if "\0" in trimmed or not _encodable(trimmed):
        problem = "holds a NUL or half a surrogate pair"
    elif trimmed.startswith("/"):
        problem = "is absolute"
    elif "://" in trimmed:
        problem = "is a URI"
    else:
        parts = trimmed.split("/")
        if ".." in parts:
            problem = "leaves its folder"
        elif "" in parts or "." in parts:
            problem = "has an empty or '.' part"
        else:
            return trimmed
    raise InputError(f"path {path!r} {problem}", next_step="Use a plain relative path")


def join(folder: str, relative: str) -> str:
    """Join two parts by one slash; either may be empty.

    >>> join("", "a"), join("a", "b"), join("a", ""), join("/", "a")
    ('a', 'a/b', 'a', '/a')
    """
    if not folder or not relative:
        return folder or relative
    return f"{folder}{relative}" if folder.endswith("/") else f"{folder}/{relative}"


def _encodable(text: str) -> bool:
    try:
        # Names on disk that are not UTF-8 arrive as surrogate escapes, and may be deleted.
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def _parse_file(text: str) -> Location:
    parts = urlsplit(text)
    path = unquote(parts.path, errors="surrogateescape")
    if parts.netloc not in ("", "localhost") or not path.startswith("/") or "\0" in path:
        raise InputError(
            f"{text!r} does not name an absolute local path",
            next_step="Write file:///folder, with three slashes",
        )
    if parts.query or parts.fragment:
        raise InputError(
            f"{text!r} holds a query or a fragment",
            next_step="Write ? as %3F and # as %23, or pass a plain path",
        )
    return Location("file", "", _one_root(os.path.normpath(path)))


def _one_root(path: str) -> str:
    # POSIX lets "//" be another root than "/", and Python keeps it; no system we run on does.
    return "/" + path.lstrip("/") if path.startswith("//") else path


def _normalise_key(path: str) -> str:
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)
