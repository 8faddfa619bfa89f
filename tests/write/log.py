"""Read what a table's log says, without our own reader."""

import json
from pathlib import Path


def adds(table) -> list[dict]:
    """Return the add actions of all commits, with their statistics parsed."""
    found = []
    for path in sorted(Path(table.uri, "_delta_log").glob("*.json")):
        for line in path.read_bytes().splitlines():
            action = json.loads(line, parse_float=str)
            if "add" in action:
                add = action["add"]
                add["stats"] = json.loads(add["stats"], parse_float=str)
                found.append(add)
    return found


def on_disk(table) -> list[str]:
    """Return every file below a table's folder, with its size."""
    files = (path for path in Path(table.uri).rglob("*") if path.is_file())
    return sorted(f"{path} {path.stat().st_size}" for path in files)
