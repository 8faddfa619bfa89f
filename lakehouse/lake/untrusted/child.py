"""The process that runs untrusted SQL: one fork a query, with hard limits and no secrets.

It is started with an empty environment and told nothing but tables' definitions and the files
to read. A query in it is judged, planned and run; bytes of remote files are asked of the lake.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import queue
import resource
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from catalog.errors import LakehouseError
from lakehouse.duck import sandbox
from lakehouse.duck.engine import VERSION, Connection
from lakehouse.duck.errors import DuckError, NameErrors, OutOfMemoryError, translate
from lakehouse.duck.sql import identifier
from lakehouse.lake.untrusted import wire
from lakehouse.lake.untrusted.guard import check, refused
from lakehouse.lake.untrusted.job import Job, Planned
from lakehouse.lake.untrusted.lent import Requests, file_system
from lakehouse.lake.untrusted.limits import Limits, exceeded
from lakehouse.scan.plan import reaches

_GRACE = 2.0  # seconds that the lake, which stops a query first, is given
_OVERHEAD = 160_000_000  # bytes: DuckDB's instances and threads, Arrow's buffers
_ROWS = 8_192  # in a piece of the result
_MOST = 1 << 40  # bytes of a message from the lake, which is believed


def main(descriptor: int) -> None:
    """Fork for each connection that arrives, until the lake goes away."""
    control = socket.socket(fileno=descriptor)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the lake's: it ends this
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that end
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # no file can be written
    control.send(b"+")
    while True:
        data, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not data:
            return
        if os.fork() == 0:
            control.close()
            _serve(socket.socket(fileno=descriptors[0]))
        os.close(descriptors[0])


def _serve(connection: socket.socket) -> None:
    line = wire.Line(connection)
    try:
        connection.send(b"+")
        kind, payload = line.receive(most=_MOST)
        assert kind == wire.JOB
        job: Job = pickle.loads(payload)
        _bound(job)
        _answer(job, line)
    except (EOFError, OSError):
        pass  # the lake has gone on
    except MemoryError:
        _report(line, "memory_limit", "MemoryError")
    finally:
        os._exit(0)


def _bound(job: Job) -> None:
    """Set the limits that the kernel keeps, whatever runs here."""
    signal.setitimer(signal.ITIMER_REAL, job.limits.timeout + _GRACE)  # its signal kills
    most = _data_bytes() + _OVERHEAD + job.limits.memory
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def _data_bytes() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmData:")[2].split()[0]) * 1024


def _answer(job: Job, line: wire.Line) -> None:
    requests = Requests(line)
    planned: queue.SimpleQueue[Planned] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(line, requests, planned), daemon=True).start()
    try:
        reached = _planned(job)
        line.send(wire.REACHED, json.dumps(reached).encode())
        _run(job, planned.get(), line, requests)
    except DuckError as error:
        if isinstance(error, OutOfMemoryError):
            _report(line, "memory_limit", str(error).split("\n")[0])
            return
        found = translate(error, "run the query")
        _send_error(line, found, text=str(error) if isinstance(error, NameErrors) else None)
    except LakehouseError as error:
        name = getattr(error, "name", None)
        _send_error(line, error, text=name and f"Table with name {name} does not exist")
    except (pa.ArrowException, OSError) as error:
        # On its way through Arrow a DuckDB error loses its class; the text keeps it.
        text = str(error).split("\n\n")[0].strip()
        if "Out of Memory" in text:
            _report(line, "memory_limit", text.split("\n")[0])
        else:
            _send_error(line, LakehouseError(f"cannot run the query: {text}"))


def _listen(line: wire.Line, requests: Requests, planned: queue.SimpleQueue[Planned]) -> None:
    try:
        while True:
            kind, payload = line.receive(most=_MOST)
            if kind == wire.PLANNED:
                planned.put(pickle.loads(payload))
            else:
                requests.answered(payload)
    except (EOFError, OSError):
        os._exit(0)  # the lake has gone on


def _planned(job: Job) -> dict[str, Any]:
    """Judge a query, and return the filters and columns that reach each view, by its key."""
    connection = sandbox.isolated(job.meaning, memory_limit=job.limits.memory, threads=1)
    for place in job.places:
        view = place.view
        connection.execute(f"CREATE TABLE t{view.key} ({', '.join(view.columns)})")
        _create(
            connection, place.schema, place.name, f"{view.stand_in_view}memory.main.t{view.key}"
        )
    _create_queries(connection, job)
    # An empty stand-in must not be folded away.
    connection.execute("SET disabled_optimizers = 'statistics_propagation,late_materialization'")
    sandbox.lock(connection)
    statements = connection.extract_statements(job.sql)
    if len(statements) != 1 or statements[0].type.name != "SELECT":
        raise refused("this statement", "a single query is")
    named = [(place.schema, place.name) for place in job.places]
    named += [(query.schema, query.name) for query in job.queries]
    tables = frozenset((schema.lower(), name.lower()) for schema, name in named)
    check(sandbox.parsed(connection, job.sql), tables)
    plan = connection.execute(f"EXPLAIN (FORMAT json) {job.sql}", job.params).fetchall()[0][1]
    found = reaches(plan)
    connection.close()
    return {
        place.view.key: [
            {"filters": scan.filters, "columns": sorted(scan.columns)}
            for scan in found.get(f"t{place.view.key}", ())
        ]
        for place in job.places
    }


def _run(job: Job, planned: Planned, line: wire.Line, requests: Requests) -> None:
    connection = sandbox.isolated(
        job.meaning,
        memory_limit=job.limits.memory,
        threads=job.limits.threads,
        allowed=planned.allowed,
        file_system=file_system(planned.remote, requests) if planned.remote else None,
    )
    sandbox.lock(connection)
    for key, stream in planned.kept.items():
        with _registered(connection, stream) as name:
            connection.execute(f"SET VARIABLE files_{key} = (SELECT files FROM {name})")
            connection.execute(f"SET VARIABLE kept_{key} = (SELECT kept FROM {name})")
    for key, stream in planned.vectors.items():
        with _registered(connection, stream) as name:
            connection.execute(f"CREATE TEMP TABLE dv_{key} AS FROM {name}")
    for place in job.places:
        _create(connection, place.schema, place.name, place.view.view)
    _create_queries(connection, job)
    if planned.explain:
        rows = connection.execute(f"EXPLAIN {job.sql}", job.params).fetchall()
        line.send(wire.TEXT, rows[-1][1].encode())
        line.send(wire.END)
        return
    answer: Any
    if job.params and VERSION < (2, 0):
        # As a relation, DuckDB 1.5 would run it under Python's lock, which its threads need to
        # ask for remote files.
        answer = connection.execute(job.sql, job.params)
        columns = [column[0] for column in answer.description]
        reader = answer.fetch_record_batch(_ROWS)
    else:
        answer = connection.sql(job.sql, params=job.params)
        columns, reader = answer.columns, answer.to_arrow_reader(_ROWS)
    _send_rows(columns, reader, job.limits, line)


def _send_rows(columns: list[str], reader: Any, limits: Limits, line: wire.Line) -> None:
    line.send(wire.COLUMNS, json.dumps(columns).encode())
    sink = _Pieces(line, limits.bytes)
    count = 0
    with pa.ipc.new_stream(pa.PythonFile(sink, mode="w"), reader.schema) as writer:
        for batch in reader:
            count += batch.num_rows
            if count > limits.max_rows:
                raise exceeded("max_rows", f"max_rows={limits.max_rows:,}")
            writer.write_batch(batch)
    line.send(wire.END)


class _Pieces:
    """Send what is written to it; raise where that is more than a result may have."""

    closed = False

    def __init__(self, line: wire.Line, most: int) -> None:
        self._line = line
        self._left = most

    def write(self, data: Any) -> int:
        view = memoryview(data)
        self._left -= view.nbytes
        if self._left < 0:
            raise exceeded("max_bytes", "max_bytes")
        self._line.send(wire.PIECE, view)
        return view.nbytes

    def flush(self) -> None:
        """Do nothing: all is sent at once."""


def _create(connection: Connection, schema: str, name: str, body: str) -> None:
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS memory.{identifier(schema)}")
    connection.execute(f"CREATE VIEW memory.{identifier(schema)}.{identifier(name)} AS {body}")


def _create_queries(connection: Connection, job: Job) -> None:
    """Make the views of the lake's that a query reads: their authors are trusted."""
    for query in job.queries:
        _create(connection, query.schema, query.name, query.sql)


@contextlib.contextmanager
def _registered(connection: Connection, stream: bytes) -> Iterator[str]:
    connection.register("received", pa.ipc.open_stream(stream).read_all())
    yield "received"
    connection.unregister("received")


def _report(line: wire.Line, bound: str, detail: str) -> None:
    line.send(wire.ERROR, json.dumps({"bound": bound, "message": detail}).encode())


def _send_error(line: wire.Line, error: LakehouseError, *, text: str | None = None) -> None:
    """Send an error; ``text`` is DuckDB's own where a name is at fault."""
    bound = getattr(error, "bound", None)
    if bound is not None:
        _report(line, bound, "")
        return
    told = {
        "kind": type(error).__name__,
        "message": error.message,
        "next_step": error.next_step,
        "name_error": text,
    }
    line.send(wire.ERROR, json.dumps(told).encode())
