"""Translate Java's regular expressions, which Spark takes, to RE2's, which DuckDB takes."""

from __future__ import annotations

import re

from lakehouse.write.kinds import Untranslatable

# What both call a line's end differs: RE2 knows the line feed only.
_ENDS = r"\n\r\x{85}\x{2028}\x{2029}"
_LAST = rf"(?:\r\n|[{_ENDS}])?\z"
_PLAIN = r"A-Za-z0-9 _@%,:;=!#<>~\"'/-"
_TOKEN = re.compile(
    rf"""(?P<plain>[{_PLAIN}])
    |(?P<any>\.)
    |(?P<set>\[\^?[A-Za-z0-9\ _@%,:;=!\#<>~"'/.+*?(){{}}$|-]+\])
    |(?P<group>\((?!\?)|\)|\|)
    |(?P<times>[*+?](?![*+])|\{{\d{{1,3}}(?:,(?:\d{{1,3}})?)?\}}(?![*+]))
    |(?P<start>\A\^)
    |(?P<end>\$\Z)""",
    re.VERBOSE,
)


def to_re2(pattern: str) -> str:
    """Return a pattern that RE2 finds where Java's `find` does.

    Raises Untranslatable for what RE2 lacks or reads in another way.

    >>> to_re2("^[a-z]+@x$")[:11]
    '^[a-z]+@x(?'
    """
    made, at = [], 0
    while at < len(pattern):
        found = _TOKEN.match(pattern, at)
        if found is None:
            raise Untranslatable(f"pattern {pattern!r} is not read alike by every engine")
        kinds = {"any": f"[^{_ENDS}]", "end": _LAST}
        made.append(kinds.get(str(found.lastgroup), found[0]))
        at = found.end()
    return "".join(made)
