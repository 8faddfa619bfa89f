"""Take a table's name away from before its columns, where only one table is meant."""

from __future__ import annotations

from collections.abc import Collection

from lakehouse.scan.tokens import tokens

_NAMES = ("word", "quoted")


def unqualified(sql: str, qualifiers: Collection[tuple[str, ...]]) -> str:
    """Return an expression without the qualifiers, in any case, before its names.

    >>> unqualified("T.a = 1 AND silver.t.b < 't.c' AND s.t = 2", [("t",), ("silver", "t")])
    "a = 1 AND b < 't.c' AND s.t = 2"
    """
    found = tokens(sql)
    wanted = {tuple(part.lower() for part in path) for path in qualifiers}
    lengths = sorted({len(path) for path in wanted}, reverse=True)
    out, end, index = [], 0, 0
    while index < len(found):
        after_dot = index > 0 and found[index - 1].text == "."
        length = 0
        if not after_dot:
            for length in lengths:
                here = found[index : index + 2 * length + 1]
                dots = all(t.kind == "mark" and t.text == "." for t in here[1::2])
                names = [t for t in here[0::2] if t.kind in _NAMES]
                path = tuple(t.text.lower() for t in names[:length])
                if len(names) == length + 1 and dots and path in wanted:
                    break
            else:
                length = 0
        if length:
            out.append(sql[end : found[index].start])
            end = found[index + 2 * length].start
        index += 2 * length + 1
    return "".join((*out, sql[end:]))
