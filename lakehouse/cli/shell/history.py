"""Where what was typed is kept, and what is not: secrets.

A statement is kept for the session only, and never written, where it starts with a space or may
hold a secret. One too many is better than one too few.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

_NAMES = (
    r"secret|password|passwd|pwd|token|credential|signature|api_?key|access_?key|account_?key"
    r"|key_?id|private_?key|connection_?string|\bsas\b|\bsig\b"
)
_PRIVATE = re.compile(
    rf"\bcreate\b.*\bsecret\b"
    # A name of this kind with a value: password 'x', "key_id" = 'x', token => x, 'secret': 'x'
    rf"|({_NAMES})\w*[\"'\]]*\s*(:?=|[:,]?\s*(\w+\s*\(\s*)?[eE]?['$])"
    # Credentials within a URL, and in what signs one.
    rf"|://[^/\s'@]+@"
    rf"|[?&][\w-]*({_NAMES}|key)[\w-]*="
    # Key ids as Amazon makes them.
    rf"|\b(AKIA|ASIA)[A-Z0-9]{{12,}}\b",
    re.IGNORECASE | re.DOTALL,
)


def is_private(text: str) -> bool:
    """Tell whether a statement must not be written to disk.

    >>> is_private("SELECT token FROM silver.visits"), is_private(" SELECT 1")
    (False, True)
    >>> is_private("CREATE SECRET (TYPE s3, KEY_ID 'k', SECRET 's')")
    True
    """
    return text.startswith(" ") or _PRIVATE.search(text) is not None


def history_file(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the file of this user's history, by the XDG rules.

    >>> history_file({"XDG_STATE_HOME": "/home/ada/state"}).as_posix()
    '/home/ada/state/lakehouse/sql_history'
    """
    state = environment.get("XDG_STATE_HOME", "")
    # The rules say to ignore a relative path.
    base = Path(state) if Path(state).is_absolute() else Path.home() / ".local" / "state"
    return base / "lakehouse" / "sql_history"


def prepare(path: Path) -> bool:
    """Make the file, for this user only; False where that cannot be, so that nothing is kept."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600))
        return True
    except OSError:
        return False
