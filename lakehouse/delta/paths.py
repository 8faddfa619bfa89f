"""Check the paths that a log names, before anything is read, carried on or deleted by them.

A log is written by whoever can write to the table's folder. What it names must stay inside of
that folder, and one file must have one name, so that it is never counted twice. Pure: symbolic
links are `Storage.require_inside`'s part. Source: Delta protocol, "Add File and Remove File"
(``path`` is a URI reference of RFC 2396), "Deletion Vectors", "Sidecar File Information".
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any
from urllib.parse import unquote

from catalog import lazy
from catalog.errors import CorruptionError

pa: Any = lazy.module("pyarrow")
pc: Any = lazy.module("pyarrow.compute")

# Longer than Linux opens and than any object store takes as a key.
LONGEST = 4096
_RESERVED = frozenset(("_delta_log", "_catalog"))
_MALFORMED = re.compile("%(?![0-9A-Fa-f]{2})")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_CONTROL = re.compile("[\x00-\x1f\x7f]")
_SIDECAR = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,250}")
# What needs no closer look: parts that start with an ASCII letter, digit or harmless sign, and
# escapes of what means nothing in a path. Whoever edits this runs its property test.
_SAFE = r"A-Za-z0-9=@!$&'()*+,;~\-"
_NEXT = r"(?i:%[89AB][0-9A-F])"
_UTF8 = rf"(?i:%C[2-9A-F]|%D[0-9A-F]|%E(?:0%[AB][0-9A-F]|[1-9A-CEF]{_NEXT})){_NEXT}"
_FIRST = rf"(?:[{_SAFE}]|(?i:%2[0-9A-D]|%3[DF]))"
_REST = rf"(?:[{_SAFE}._\x{{80}}-\x{{10FFFF}}]|(?i:%2[0-9A-D]|%3[A-F]|%[46][0-9A-F]|%5[0-9ABDEF])|{_UTF8})"
# Only after one of these is a colon in the first part no scheme's.
_MARK = rf"(?:[=@!$&'()*,;~_\x{{80}}-\x{{10FFFF}}]|(?i:%2[0-9AC]|%3[DF])|{_UTF8})"
_START = rf"{_FIRST}[{_SAFE}._\x{{80}}-\x{{10FFFF}}]*"
_PLAIN = rf"^{_START}(?:{_MARK}{_REST}*)?(?:/{_FIRST}{_REST}*)*$"


def decode_path(path: str) -> str:
    """Return what a URI-encoded path of the log stands for; it is decoded once, never twice.

    Raises ValueError for what is no URI reference: a ``%`` without two digits, bytes that are
    not UTF-8. Either would make two names of one file, or one name of two.

    >>> decode_path("day=a%20b%252F/x.parquet")
    'day=a b%2F/x.parquet'
    """
    if "%" not in path:
        decoded = path
    elif _MALFORMED.search(path):
        raise ValueError(f"path {path!r} has a % that is not followed by two hexadecimal digits")
    else:
        try:
            decoded = unquote(path, errors="strict")
        except UnicodeDecodeError:
            raise ValueError(f"path {path!r} is not UTF-8 once it is decoded") from None
    try:
        size = len(decoded.encode())
    except UnicodeEncodeError:
        raise ValueError(f"path {path!r} holds half a surrogate pair") from None
    if size > LONGEST:
        raise ValueError(f"path {path[:80]!r}... is longer than {LONGEST} bytes")
    return decoded


def check_file_path(path: str) -> str:
    """Return the decoded path of a data file, relative to the table's root.

    Raises CorruptionError, naming path and problem, for one that is absolute, has a scheme or a
    drive, leaves the folder, is not normalised, lies in ``_delta_log`` or ``_catalog``, or holds
    what no two systems read alike (backslashes, control characters). Percent-encoded forms of
    all these are the same to it.

    >>> check_file_path("day=2024-01-31/part-0.parquet")
    'day=2024-01-31/part-0.parquet'
    >>> check_file_path("a/%2e%2e/%2e%2e/secrets")
    Traceback (most recent call last):
    catalog.errors.CorruptionError: the log names data file 'a/%2e%2e/%2e%2e/secrets', ...
    """
    try:
        decoded = decode_path(path)
    except ValueError as error:
        raise _refusal(path, f"which cannot be used: {error}") from None
    problem = _problem(path, decoded)
    if problem:
        raise _refusal(path, problem)
    return decoded


def check_file_paths(paths: pa.ChunkedArray) -> None:
    """Check many paths as `check_file_path` does; raise its error for the first that fails.

    Almost all paths pass one regular expression over the Arrow array; the others are looked at
    one by one. ``paths`` are text as it stands in the log.
    """
    if paths.null_count:
        raise CorruptionError("the log names a data file without a path")
    plain = pc.match_substring_regex(paths, _PLAIN)
    if (pc.max(pc.binary_length(paths)).as_py() or 0) > LONGEST:
        plain = pc.and_(plain, pc.less_equal(pc.binary_length(paths), LONGEST))
    for path in paths.filter(pc.invert(plain)).to_pylist():
        check_file_path(path)


def check_vector_prefix(prefix: str) -> str:
    """Return the folder prefix of a deletion vector's file: ASCII letters and digits only."""
    if prefix and not (prefix.isascii() and prefix.isalnum() and len(prefix) <= 255):
        raise CorruptionError(f"deletion vector prefix {prefix[:80]!r} is not valid")
    return prefix


def check_sidecar(path: object) -> str:
    """Return the name of a checkpoint's sidecar, which lies in ``_delta_log/_sidecars``.

    Names are those that writers make (``<uuid>.parquet``): nothing that a reader could take for
    a folder, a pattern or an option.
    """
    if isinstance(path, str) and _SIDECAR.fullmatch(path):
        return path
    raise CorruptionError(
        f"sidecar path {path!r} points outside the log's _sidecars folder, or is no plain name"
    )


def _problem(path: str, decoded: str) -> str | None:
    if not decoded:
        return "which is empty"
    if decoded.startswith("/") or _SCHEME.match(path) or _SCHEME.match(decoded):
        return "which is not inside the table's folder: it is absolute or a URI of its own"
    if "\\" in decoded:
        return "which holds a backslash"
    if _CONTROL.search(decoded):
        return "which holds a control character"
    parts = decoded.split("/")
    if ".." in parts:
        return "which is not inside the table's folder"
    if "" in parts or "." in parts:
        return "which is not normalised"
    if any(_folded(part) in _RESERVED for part in parts):
        return "which lies in a folder that holds no data"
    return None


def _folded(part: str) -> str:
    # Some file systems ignore case and characters without width.
    if not part.isascii():
        normal = unicodedata.normalize("NFKC", part)
        part = "".join(char for char in normal if unicodedata.category(char) != "Cf")
    return part.casefold()


def _refusal(path: str, problem: str) -> CorruptionError:
    shown = path if len(path) <= 200 else f"{path[:200]}..."
    return CorruptionError(
        f"the log names data file {shown!r}, {problem}",
        next_step="Do not trust this log; tables with shallow clones are not supported",
        file=shown,
    )
