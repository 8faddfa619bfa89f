"""Read ``MERGE INTO``."""

from __future__ import annotations

from typing import Literal

from lakehouse.lake.statements.changing import alias_of, assignments, finish, with_before
from lakehouse.lake.statements.kinds import Merge, When
from lakehouse.lake.statements.reader import Reader

Kind = Literal["matched", "not matched", "not matched by source"]
_FORM = (
    "Write MERGE INTO silver.t [AS t] USING other AS o ON t.id = o.id (or USING (id)) "
    "WHEN MATCHED [AND ...] THEN UPDATE SET a = o.a | UPDATE SET * | DELETE "
    "WHEN NOT MATCHED [AND ...] THEN INSERT * | INSERT (a, b) VALUES (o.a, 1) "
    "WHEN NOT MATCHED BY SOURCE [AND ...] THEN UPDATE SET ... | DELETE"
)


def merge(reader: Reader, before: str = "") -> Merge:
    """Read what follows MERGE; ``before`` is the WITH that stands before it.

    >>> merge(Reader("INTO gold.t USING new AS n USING (id) WHEN NOT MATCHED THEN INSERT *"))
    Merge(table='gold.t', source=Source(query='SELECT * FROM new AS n', alias='n'), on=('id',),
        clauses=(When(kind='not matched', verb='insert', condition=None, values=None),), alias=None)
    """
    reader.kind, reader.form = "MERGE", _FORM
    reader.words("into")
    table = reader.table()
    alias = alias_of(reader, "using")
    reader.words("using")
    source = with_before(reader.source(), before)
    on: str | tuple[str, ...]
    if reader.take("using"):
        on = reader.names()
    else:
        reader.words("on")
        on = reader.until("when")
    name = alias or table.rpartition(".")[2]
    clauses: list[When] = []
    idle: set[Kind] = set()
    while reader.take("when"):
        kind = _kind(reader)
        if kind in idle:
            raise reader.wrong(f"DO NOTHING for rows {kind} stands last")
        condition = reader.until("then") if reader.take("and") else None
        reader.words("then")
        if reader.take("do", "nothing"):
            idle.add(kind)
        else:
            clauses.append(_action(reader, kind, condition, name))
    finish(reader)
    if not clauses:
        raise reader.wrong("MERGE has nothing to do")
    return Merge(table=table, source=source, on=on, clauses=tuple(clauses), alias=alias)


def _kind(reader: Reader) -> Kind:
    if reader.take("matched"):
        return "matched"
    reader.words("not", "matched")
    if reader.take("by", "source"):
        return "not matched by source"
    reader.take("by", "target")
    return "not matched"


def _action(reader: Reader, kind: Kind, condition: str | None, name: str) -> When:
    if kind == "not matched":
        reader.words("insert")
        return When(kind=kind, verb="insert", condition=condition, values=_inserted(reader))
    if reader.take("delete"):
        return When(kind=kind, verb="delete", condition=condition)
    reader.words("update")
    values = None
    if reader.take("set") and not reader.take("*"):
        values = assignments(reader, (name, "when", "returning"))
    return When(kind=kind, verb="update", condition=condition, values=values)


def _inserted(reader: Reader) -> dict[str, str] | tuple[str, ...] | None:
    if reader.take("*") or reader.sees("when") or reader.is_at_end():
        return None
    names = reader.names() if reader.sees("(") else ()
    reader.words("values", "(")
    values = [reader.until(",")]
    while reader.take(","):
        values.append(reader.until(","))
    reader.words(")")
    if not names:
        return tuple(values)
    if len(names) != len(values):
        raise reader.wrong(f"INSERT names {len(names)} columns and has {len(values)} values")
    if len(set(names)) != len(names):
        raise reader.wrong("INSERT names a column twice")
    return dict(zip(names, values, strict=True))
