"""A small table whose log and files tests damage, and what may come of it."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import duckdb

import lakehouse

ROWS = [(1, "x"), (2, "x"), (3, "y")]
INLINE = "^Bg9^0rr910000000000iXQKl0rr91000005c8Xg00000"  # row 0
STATS = '{"numRecords":2,"minValues":{"n":1},"maxValues":{"n":2},"nullCount":{"n":0}}'


def build(root: Path) -> None:
    """Write a table: version 0 is empty, 1 adds n = 1 and 2 in p = x, 2 adds n = 3 in p = y."""
    (root / "_delta_log").mkdir(parents=True)
    for folder, rows in (("x", "1, 2"), ("y", "3")):
        (root / f"p={folder}").mkdir()
        file = root / f"p={folder}/a.parquet"
        duckdb.execute(f"COPY (SELECT unnest([{rows}])::BIGINT AS n) TO '{file}'")
    log = Log(root)
    log.write(0, {"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}}, metadata())
    log.write(1, {"commitInfo": {"operation": "WRITE"}}, add("x", stats=STATS))
    log.write(2, {"commitInfo": {"operation": "WRITE"}}, add("y"))


def metadata(**fields):
    """Return the metadata action; fields replace, and ... leaves out."""
    value = {
        "id": "f8e6ef4c-3f3b-4a3e-9d5e-1f2a3b4c5d6e",
        "format": {"provider": "parquet", "options": {}},
        "schemaString": schema(column("n", "long"), column("p", "string")),
        "partitionColumns": ["p"],
        "configuration": {},
        "createdTime": 1_700_000_000_000,
    }
    return {"metaData": _without({**value, **fields})}


def schema(*columns):
    return json.dumps({"type": "struct", "fields": columns})


def column(name, type_, **metadata):
    return {"name": name, "type": type_, "nullable": True, "metadata": metadata}


def add(folder, **fields):
    """Return the add of a folder's file."""
    value = {
        "path": f"p={folder}/a.parquet",
        "partitionValues": {"p": folder},
        "size": 500,
        "modificationTime": 1_700_000_000_000,
        "dataChange": True,
    }
    return {"add": _without({**value, **fields})}


def remove(folder, **fields):
    """Return the remove of a folder's file."""
    value = {"path": f"p={folder}/a.parquet", "deletionTimestamp": 1, "dataChange": True}
    return {"remove": _without({**value, **fields})}


def vector(**fields):
    """Return the descriptor of an inline vector that deletes row 0."""
    value = {"storageType": "i", "pathOrInlineDv": INLINE, "sizeInBytes": 34, "cardinality": 1}
    return _without({**value, **fields})


def _without(value):
    return {name: inner for name, inner in value.items() if inner is not ...}


@dataclass(frozen=True)
class Log:
    """Damage the table in a folder."""

    root: Path

    def file(self, name: int | str) -> Path:
        """Return a file of the log, by version or by name."""
        known = f"{name:020d}.json" if isinstance(name, int) else name
        return self.root / "_delta_log" / known

    def write(self, name: int | str, *lines: dict | str | bytes) -> None:
        """Write a file of the log, line by line."""
        texts = [json.dumps(line) if isinstance(line, dict) else line for line in lines]
        parts = [text.encode() if isinstance(text, str) else text for text in texts]
        self.file(name).write_bytes(b"".join(part + b"\n" for part in parts))

    def checkpoint(self, sql: str = "SELECT * FROM whole", *, keep_json: bool = False) -> None:
        """Write the checkpoint of version 2, as SQL makes it of a sound one, in place of it all."""
        with lakehouse.connect(self.root.parent / f"{self.root.name}-lake", durable=False) as lake:
            lake.register_table("bronze.t", self.root).checkpoint()
        target = self.file(f"{2:020d}.checkpoint.parquet")
        sound = target.rename(target.with_name("sound"))
        with duckdb.connect() as plain:
            plain.execute(f"CREATE VIEW whole AS FROM read_parquet('{sound}')")
            plain.execute(f"COPY ({sql}) TO '{target}' (FORMAT parquet)")
        sound.unlink()
        if not keep_json:
            for version in range(3):
                self.file(version).unlink()

    def link_out(self, name: str) -> None:
        """Move a file or folder out of the table, and leave a link to it."""
        outside = self.root.parent / f"outside-{self.root.name}"
        outside.mkdir(exist_ok=True)
        target = outside / Path(name).name
        shutil.move(self.root / name, target)
        (self.root / name).symlink_to(target)
