"""A state machine over tables: at every version we, delta-rs and Polars read what the model holds.

Several handles take turns, some of which race with stale knowledge; delta-rs appends as well.
"""

from __future__ import annotations

import collections
import os
import tempfile
import time
from pathlib import Path
from typing import ClassVar

import deltalake
import pyarrow as pa
from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from catalog.errors import ConflictError, InputError, UnsupportedError
from catalog.storage import open_storage
from lakehouse.duck.engine import Engine
from lakehouse.duck.rows import register
from lakehouse.lake.lake import Lake, connect
from lakehouse.lint.log import lint
from lakehouse.table.handle import Table
from lakehouse.testing import changes, meaning, steps
from lakehouse.testing.ambush import Ambush
from lakehouse.testing.comparison import canonical_rows
from lakehouse.testing.judges import verdicts
from lakehouse.testing.model import Model, Refused, State, difference
from lakehouse.testing.predicates import predicates
from lakehouse.testing.reading import observed
from lakehouse.testing.rows import rows
from lakehouse.testing.steps import Step
from lakehouse.testing.tables import Opener

_NAME = "bronze.t"
_JUDGE_EVERY = 6
_SETTLING = ("checkpoint", "reopen", "log expiry", "vacuum")
_FOR_PEER = (pa.int64(), pa.int32(), pa.string(), pa.bool_(), pa.date32(), pa.float64())


class TableMachine(RuleBasedStateMachine):
    """Run operations on a table and on its model; ``done`` counts them by kind."""

    done: ClassVar[collections.Counter[str]] = collections.Counter()

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory(prefix="lakehouse-machine-")
        self._lakes = [self._connected(), self._connected()]
        self._check = Engine({"threads": 1})
        self._opener = Opener.of(self._check)
        self._steps = 0
        self._oldest = 0

    @initialize(state=steps.new_tables())
    def create(self, state: State) -> None:
        """Create the table."""
        self._model = Model((state,))
        self._lakes[0].create_table(_NAME, state.schema, partition_by=state.partition_by)
        self._uri = self._table(0).uri
        self.done["runs"] += 1

    @rule(data=st.data(), handle=st.integers(0, 1))
    def write(self, data: st.DataObject, handle: int) -> None:
        """Append or overwrite."""
        self._do(data.draw(steps.writes(self._model)), handle)

    @rule(data=st.data(), handle=st.integers(0, 1))
    def change(self, data: st.DataObject, handle: int) -> None:
        """Delete, restore or rewrite."""
        self._do(data.draw(changes.changes(self._model, self._check, oldest=self._oldest)), handle)

    @rule(data=st.data(), handle=st.integers(0, 1))
    def alter(self, data: st.DataObject, handle: int) -> None:
        """Change columns or properties."""
        self._do(data.draw(changes.alterations(self._model.latest)), handle)

    @rule(data=st.data())
    def race(self, data: st.DataObject) -> None:
        """Let one handle commit just before another, which has planned already, does."""
        steps_ = changes.any_step(self._model, self._check, oldest=self._oldest)
        first = data.draw(steps_, label="first")
        second = data.draw(steps_, label="second")
        self._race(first, second)

    @rule(handle=st.integers(0, 1), kind=st.sampled_from(_SETTLING))
    def settle(self, handle: int, kind: str) -> None:
        """Write a checkpoint, open a lake again, let the log expire, or vacuum."""
        match kind:
            case "checkpoint":
                self._table(handle).checkpoint()
            case "reopen":
                self._lakes[handle].close()
                self._lakes[handle] = self._connected()
            case "vacuum":
                kind = self._vacuum(self._table(handle))
            case _:
                kind = self._expire(self._table(handle))
        self._count(kind)

    @rule(data=st.data(), handle=st.integers(0, 1))
    def query(self, data: st.DataObject, handle: int) -> None:
        """Read rows by a predicate, now and of the past, as a table's reader and by SQL."""
        version = data.draw(st.integers(self._oldest, len(self._model.versions) - 1))
        state = self._model.versions[version]
        self._same(state, version)
        table = changes.as_arrow(state)
        where = data.draw(predicates(table))
        with self._check.work("check a predicate") as cursor:
            source = register(cursor, table).name
            wanted = cursor.sql(f"SELECT * FROM {source} WHERE {where}").to_arrow_table()
        query = f"SELECT * FROM {_NAME} AT (VERSION => {version}) WHERE {where}"
        found = {
            "sql": self._lakes[handle].sql(query).to_arrow_table(),
            "read": self._table(handle).read(where=where, version=version).to_arrow_table(),
        }
        for name, rows_ in found.items():
            assert canonical_rows(rows_) == canonical_rows(wanted), (name, version, where)
        self._count("query")

    @precondition(lambda self: _is_plain(self._model.latest))
    @rule(data=st.data())
    def append_by_delta_rs(self, data: st.DataObject) -> None:
        """Let delta-rs append, unless the table has features that it does not write."""
        given = data.draw(rows(self._model.latest.schema, min_rows=1, max_rows=4))
        try:
            deltalake.write_deltalake(self._uri, given, mode="append")
        except deltalake.exceptions.CommitFailedError as error:
            if "Unsupported table features" not in str(error):
                raise
            self._count("append by delta-rs, refused")
            return
        self._model = self._model.then(meaning.append(self._model.latest, given))
        self._count("append by delta-rs")

    @invariant()
    def reads_as_the_model(self) -> None:
        """Compare our reader, and now and then the judges, with the model."""
        if not hasattr(self, "_model"):
            return
        newest = len(self._model.versions) - 1
        self._same(self._model.latest, newest)
        self._steps += 1
        if self._steps % _JUDGE_EVERY == 0:
            self._judge(newest)

    def teardown(self) -> None:
        """Compare every version with the model, and some by the judges."""
        try:
            if hasattr(self, "_model"):
                newest = len(self._model.versions) - 1
                for version in range(self._oldest, newest + 1):
                    self._same(self._model.versions[version], version)
                found = [str(finding) for finding in lint(self._uri) if not finding.note]
                assert found == [], found
                for version in {newest, (self._oldest + newest) // 2}:
                    self._judge(version)
        finally:
            for lake in self._lakes:
                lake.close()
            self._check.close()
            self._folder.cleanup()

    def _do(self, step: Step, handle: int) -> None:
        table = self._table(handle)
        try:
            after = step.meaning(self._model)
        except Refused as reason:
            note(f"the model refuses {step.name}: {reason}")
            _expect_refusal(step, table)
            self._count(f"{step.name}, refused")
            return
        try:
            step.perform(table)
        except UnsupportedError as error:
            note(f"{step.name}: {error}")
            self._count(f"{step.name}, unsupported")
            return
        self._adopt(after)
        self._count(step.name)

    def _adopt(self, after: State) -> None:
        """Take a state for the newest version, if there is a new one."""
        version = self._table(0).version
        known = len(self._model.versions) - 1
        assert version in (known, known + 1), f"version {version} after {known}"
        if version == known:
            wrong = difference(after, self._model.latest)
            assert wrong is None, f"nothing was committed: {wrong}"
        else:
            self._model = self._model.then(after)

    def _vacuum(self, table: Table) -> str:
        """Delete what nothing needs, as if two months had passed since the last commit."""
        self._age()
        report = table.vacuum()
        note(f"vacuum: {report}")
        self._oldest = max(self._oldest, report.oldest_version)
        return "vacuum" if report.files else "vacuum, nothing"

    def _age(self) -> None:
        for lake in self._lakes:
            lake.settle()  # what is still to be written would be young, or not, by chance
        past = time.time() - 60 * 24 * 3600
        for number, file in enumerate(sorted(Path(self._uri).rglob("*"))):
            if file.is_file():
                os.utime(file, (past + number, past + number))

    def _expire(self, table: Table) -> str:
        """Let log entries expire, as if two months had passed since the last commit."""
        self._age()
        table.checkpoint()
        report = table.expire_log()
        note(f"log expiry: {report}")
        self._oldest = max(self._oldest, report.oldest_version or 0)
        return "log expiry" if report.files else "log expiry, nothing"

    def _race(self, first: Step, second: Step) -> None:
        before = self._model
        storage = open_storage(Path(self._uri), durable=False)
        ambush = Ambush(lambda: self._do(first, 0))
        stale = self._opener.open(storage.wrapped(ambush.around))
        failed: Exception | None = None
        try:
            second.perform(stale)
        except (InputError, ConflictError, UnsupportedError) as error:
            failed = error
        met = ambush.sprung
        ambush.spring()  # it wrote nothing into the log: the two did not meet
        note(f"race: {first.name}, then stale {second.name}: {failed or 'no error'}")
        between = self._model
        committed = self._table(1).version >= len(between.versions)
        if failed is not None:
            assert not committed, f"{second.name} failed, and committed: {failed}"
            seen = between if met else before
            assert _after(second, seen) is None or not isinstance(failed, InputError), failed
            self._count("race, refused")
            return
        found = observed(self._table(1))
        orders = [_after(second, between)]
        swapped = _after(second, before)
        if swapped is not None and between is not before:
            orders.append(_after(first, before.then(swapped)))
        wrongs = [difference(state, found) for state in orders if state is not None]
        assert None in wrongs, f"{first.name}, then stale {second.name}: {wrongs}"
        if committed:
            self._model = between.then(
                next(s for s in orders if s is not None and difference(s, found) is None)
            )
        self._count("race")

    def _same(self, state: State, version: int) -> None:
        wrong = difference(state, observed(self._table(version % 2), version=version))
        assert wrong is None, f"version {version}: {wrong}"

    def _judge(self, version: int) -> None:
        state = self._model.versions[version]
        wanted = canonical_rows(changes.as_arrow(state))
        for name, found in verdicts(self._uri, version):
            ordered = canonical_rows(found.select(state.schema.names))
            assert ordered == wanted, f"{name} at version {version}"
            self._count(f"judged by {name}")

    def _connected(self) -> Lake:
        return connect(self._folder.name, durable=False, duckdb_config={"threads": 1})

    def _table(self, handle: int) -> Table:
        return self._lakes[handle].table(_NAME)

    def _count(self, name: str) -> None:
        self.done[name] += 1


def _after(step: Step, table: Model) -> State | None:
    try:
        return step.meaning(table)
    except Refused:
        return None


def _expect_refusal(step: Step, table: Table) -> None:
    try:
        step.perform(table)
    except (InputError, UnsupportedError) as error:
        note(f"refused: {error}")
    else:
        raise AssertionError(f"{step.name} should have been refused")


def _is_plain(state: State) -> bool:
    return not state.partition_by and all(field.type in _FOR_PEER for field in state.schema)
