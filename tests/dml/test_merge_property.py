"""Random merges and updates on random tables equal a plain Python model of the same clauses."""

import dataclasses
from collections import Counter
from collections.abc import Callable

import pyarrow as pa
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

import lakehouse
from lakehouse.dml import hits, remaking, thinning
from lakehouse.testing.judges import verdicts

SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("n", pa.int32()),
        ("s", pa.struct([("a", pa.int32()), ("b", pa.string())])),
        ("p", pa.string()),
    ]
)
PROPERTIES = {
    "plain": {},
    "vectors": {"delta.enableDeletionVectors": "true"},
    "feed": {"delta.enableChangeDataFeed": "true"},
    "all": {
        "delta.enableDeletionVectors": "true",
        "delta.enableChangeDataFeed": "true",
        "delta.columnMapping.mode": "name",
    },
}
_IDS = st.one_of(st.none(), st.integers(0, 6))
_STRUCTS = st.one_of(
    st.none(), st.fixed_dictionaries({"a": st.integers(0, 2), "b": st.sampled_from(["x", None])})
)
_PARTS = st.sampled_from(["a b", "c=d/e", None])


@dataclasses.dataclass(frozen=True)
class Expr:
    """SQL, and what it means for a target row and a source row."""

    sql: str
    of: Callable

    def __repr__(self):
        return self.sql


def _plus(a, b):
    return None if a is None or b is None else a + b


def _above(a, b):
    return None if a is None or b is None else a > b


TARGET_CONDITIONS = [
    Expr("t.n > 3", lambda t, s: _above(t["n"], 3)),
    Expr("t.p = 'a b'", lambda t, s: None if t["p"] is None else t["p"] == "a b"),
    Expr("t.s.a IS NULL", lambda t, s: t["s"] is None or t["s"]["a"] is None),
]
SOURCE_CONDITIONS = [
    Expr("s.n > 3", lambda t, s: _above(s["n"], 3)),
    Expr("s.id IS NOT NULL", lambda t, s: s["id"] is not None),
]
BOTH_CONDITIONS = [
    *TARGET_CONDITIONS,
    *SOURCE_CONDITIONS,
    Expr("s.n > t.n", lambda t, s: _above(s["n"], t["n"])),
]
TARGET_VALUES = {
    "n": [Expr("t.n + 1", lambda t, s: _plus(t["n"], 1)), Expr("NULL", lambda t, s: None)],
    "p": [Expr("'a b'", lambda t, s: "a b"), Expr("NULL", lambda t, s: None)],
    "s": [Expr("{'a': 9, 'b': t.p}", lambda t, s: {"a": 9, "b": t["p"]})],
    "id": [Expr("t.id + 1", lambda t, s: _plus(t["id"], 1))],
}
SOURCE_VALUES = {
    "n": [Expr("s.n", lambda t, s: s["n"]), Expr("s.n * 2", lambda t, s: _plus(s["n"], s["n"]))],
    "p": [Expr("s.p", lambda t, s: s["p"])],
    "s": [Expr("s.s", lambda t, s: s["s"])],
    "id": [Expr("s.id + 3", lambda t, s: _plus(s["id"], 3))],
}
BOTH_VALUES = {
    "n": [
        *SOURCE_VALUES["n"],
        *TARGET_VALUES["n"],
        Expr("t.n + s.n", lambda t, s: _plus(t["n"], s["n"])),
    ],
    "p": [*SOURCE_VALUES["p"], *TARGET_VALUES["p"]],
    "s": [*SOURCE_VALUES["s"], *TARGET_VALUES["s"]],
}
ONS = [
    ("id", False, lambda t, s: t["id"] is not None and t["id"] == s["id"]),
    (["id"], True, lambda t, s: t["id"] == s["id"]),
    (
        ["id", "p"],
        False,
        lambda t, s: None not in (t["id"], t["p"]) and (t["id"], t["p"]) == (s["id"], s["p"]),
    ),
    (
        "t.id = s.id AND t.p = 'a b'",
        False,
        lambda t, s: t["id"] is not None and t["id"] == s["id"] and t["p"] == "a b",
    ),
    (
        "s.id + 1 = t.id AND (t.n > 2 OR t.n IS NULL)",
        False,
        lambda t, s: (
            None not in (t["id"], s["id"])
            and s["id"] + 1 == t["id"]
            and (t["n"] is None or t["n"] > 2)
        ),
    ),
    (
        "t.p IS NOT DISTINCT FROM s.p AND t.id > s.id",
        False,
        lambda t, s: t["p"] == s["p"] and None not in (t["id"], s["id"]) and t["id"] > s["id"],
    ),
]


def rows_of(max_size, columns=("id", "n", "s", "p")):
    values = {"id": _IDS, "n": st.one_of(st.none(), st.integers(0, 9)), "s": _STRUCTS, "p": _PARTS}
    row = st.fixed_dictionaries({name: values[name] for name in columns})
    return st.lists(row, max_size=max_size)


@dataclasses.dataclass(frozen=True)
class Case:
    kind: str
    partitioned: bool
    files: list
    source: list
    on: tuple
    clauses: tuple


@st.composite
def clauses(draw):
    def conditions(pool):
        return draw(st.one_of(st.none(), st.sampled_from(pool)))

    def values(pool):
        names = draw(st.lists(st.sampled_from(sorted(pool)), min_size=1, unique=True))
        return {name: draw(st.sampled_from(pool[name])) for name in names}

    found = []
    for kind in ("matched", "new", "orphan"):
        for _ in range(draw(st.integers(0, 2))):
            pool = {
                "matched": BOTH_CONDITIONS,
                "new": SOURCE_CONDITIONS,
                "orphan": TARGET_CONDITIONS,
            }
            condition = conditions(pool[kind])
            if kind == "new":
                what = draw(st.sampled_from([None, values(SOURCE_VALUES)]))
            elif draw(st.booleans()):
                what = "delete"
            elif kind == "orphan":
                what = values({k: v for k, v in TARGET_VALUES.items() if k != "id"})
            else:
                what = draw(st.sampled_from([None, values(BOTH_VALUES)]))
            found.append((kind, condition, what))
            if condition is None:
                break
    return tuple(found or [("matched", None, None)])


@st.composite
def cases(draw):
    return Case(
        kind=draw(st.sampled_from(sorted(PROPERTIES))),
        partitioned=draw(st.booleans()),
        files=draw(st.lists(rows_of(6), min_size=1, max_size=3)),
        source=draw(rows_of(5)),
        on=draw(st.sampled_from(ONS)),
        clauses=draw(clauses()),
    )


class AmbiguousError(Exception):
    pass


def model(case):
    """Return the rows after the merge, and how many were updated, inserted and deleted."""
    _, _, on = case.on
    target = [row for rows in case.files for row in rows]
    met: set[int] = set()
    after: list[dict] = []
    counts: Counter[str] = Counter()

    def first(kind, t, s):
        for number, (its, condition, what) in enumerate(case.clauses):
            if its == kind and (condition is None or condition.of(t, s) is True):
                return number, what
        return None

    def made(t, s, what, base):
        if what is None:
            return {**base, **s}
        return {**base, **{name: expr.of(t, s) for name, expr in what.items()}}

    for t in target:
        matches = [(i, s) for i, s in enumerate(case.source) if on(t, s)]
        met.update(i for i, _ in matches)
        acting = [(s, found) for _, s in matches if (found := first("matched", t, s))]
        if not matches and (found := first("orphan", t, None)):
            acting = [(None, found)]
        if len(acting) > 1 and any(found[1] != "delete" for _, found in acting):
            raise AmbiguousError
        if not acting:
            after.append(t)
        elif acting[0][1][1] == "delete":
            counts["deleted"] += 1
        else:
            s, (_, what) = acting[0]
            counts["updated"] += 1
            after.append(made(t, s, what, t))
    empty = dict.fromkeys(SCHEMA.names)
    for i, s in enumerate(case.source):
        if i not in met and (found := first("new", None, s)):
            counts["inserted"] += 1
            after.append(made(None, s, found[1], empty))
    return after, counts


def frozen(rows):
    def key(value):
        return tuple(sorted(value.items())) if isinstance(value, dict) else value

    return Counter(tuple(key(row[name]) for name in SCHEMA.names) for row in rows)


def run(table, case, **options):
    on, null_safe, _ = case.on
    source = pa.Table.from_pylist(case.source, schema=SCHEMA)
    builder = table.merge(source, on=on, null_safe=null_safe, **options)
    for kind, condition, what in case.clauses:
        where = None if condition is None else condition.sql
        values = {k: v.sql for k, v in what.items()} if isinstance(what, dict) else None
        if kind == "new":
            builder = builder.when_not_matched_insert(values, condition=where)
        elif kind == "matched" and what == "delete":
            builder = builder.when_matched_delete(condition=where)
        elif kind == "matched":
            builder = builder.when_matched_update(values, condition=where)
        elif what == "delete":
            builder = builder.when_not_matched_by_source_delete(condition=where)
        else:
            builder = builder.when_not_matched_by_source_update(values, condition=where)
    return builder.run()


def written(lake, case, name):
    table = lake.create_table(
        name, SCHEMA, partition_by="p" if case.partitioned else (), properties=PROPERTIES[case.kind]
    )
    for rows in case.files:
        if rows:
            table.append(pa.Table.from_pylist(rows, schema=SCHEMA))
    return table


def told(table, version):
    """Return the rows that went and came in a version, as its change feed tells it."""
    feed = pa.table(table.to_deltalake().load_cdf(starting_version=version).read_all()).to_pylist()
    gone = [row for row in feed if row["_change_type"] in ("delete", "update_preimage")]
    return frozen(gone), frozen(row for row in feed if row not in gone)


_numbers = iter(range(1_000_000))


@given(case=cases(), thins=st.booleans())
@settings(max_examples=settings().max_examples // 4)
def test_a_merge_equals_the_model(lake, case, thins):
    """Files that lose a row or two are copied, or thinned as large ones are."""
    note(repr(case))
    with pytest.MonkeyPatch.context() as patch:
        if thins:
            patch.setattr(remaking, "LEAST", 1)
            patch.setattr(thinning, "FEW", 2)
        check_merge(lake, case)


def check_merge(lake, case):
    table = written(lake, case, f"silver.merged{next(_numbers)}")
    before = table.version
    try:
        expected, counts = model(case)
    except AmbiguousError:
        with pytest.raises(lakehouse.DataError, match="several rows of the source"):
            run(table, case)
        assert table.version == before
        return
    foreseen = run(table, case, dry_run=True)
    assert table.version == before
    report = run(table, case)
    figures = (report.rows_updated, report.rows_inserted, report.rows_deleted)
    assert figures == (counts["updated"], counts["inserted"], counts["deleted"])
    assert figures == (foreseen.rows_updated, foreseen.rows_inserted, foreseen.rows_deleted)
    assert (report.files_removed, report.files_marked, report.rows_copied) == (
        foreseen.files_removed,
        foreseen.files_marked,
        foreseen.rows_copied,
    )
    assert report.version == before + (1 if any(figures) else 0)
    found = table.read().to_arrow_table().to_pylist()
    assert frozen(found) == frozen(expected)
    if case.kind == "plain":
        for _, rows in verdicts(table.uri):
            assert frozen(rows.to_pylist()) == frozen(expected)
    if case.kind == "feed" and any(figures) and not case.partitioned:
        # As delta-rs reads the feed (not where paths have to be decoded): what it tells is the
        # difference of both versions.
        before_, after = frozen(row for rows in case.files for row in rows), frozen(expected)
        gone, came = told(table, report.version)
        assert after - before_ == came - gone
        assert before_ - after == gone - came
        assert (gone.total(), came.total()) == (figures[0] + figures[2], figures[0] + figures[1])
    lake.drop_table(table.name, purge=True)


@given(
    kind=st.sampled_from(sorted(PROPERTIES)),
    partitioned=st.booleans(),
    files=st.lists(rows_of(6), min_size=1, max_size=3),
    condition=st.one_of(st.none(), st.sampled_from(TARGET_CONDITIONS)),
    values=st.dictionaries(st.sampled_from(sorted(TARGET_VALUES)), st.integers(0, 1), min_size=1),
    again=st.booleans(),
    most=st.sampled_from((0, 1, 2, 10**6)),
)
@settings(max_examples=settings().max_examples // 5)
def test_an_update_equals_the_model(lake, kind, partitioned, files, condition, values, again, most):
    """The second of two updates finds deletion vectors, or what was copied.

    Where rows are marked, those that change are kept by the pass that finds them, up to ``most``.
    """
    case = Case(kind, partitioned, files, [], ONS[0], ())
    table = written(lake, case, f"silver.updated{next(_numbers)}")
    chosen = {k: TARGET_VALUES[k][i % len(TARGET_VALUES[k])] for k, i in values.items()}
    expected = [row for rows in files for row in rows]
    where = None if condition is None else condition.sql
    for _ in range(2 if again else 1):
        hit = [condition is None or condition.of(row, None) is True for row in expected]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(hits, "MOST_KEPT", most)
            report = table.update({k: v.sql for k, v in chosen.items()}, where=where)
        assert report.rows_updated == sum(hit)
        expected = [
            {**row, **{k: v.of(row, None) for k, v in chosen.items()}} if h else row
            for row, h in zip(expected, hit, strict=True)
        ]
        assert frozen(table.read().to_arrow_table().to_pylist()) == frozen(expected)
    lake.drop_table(table.name, purge=True)
