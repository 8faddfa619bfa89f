"""docker/compose.yaml as Compose would see it: variables put in, anchors resolved."""

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

FOLDER = Path(__file__).parents[2] / "docker"
FILE = FOLDER / "compose.yaml"
_VARIABLE = re.compile(r"\$\{(\w+)(?:(:-|:\?)([^}]*))?\}")


def new_environment(folder: Path) -> dict[str, str]:
    """Run docker/new-env.sh on a copy, and return what it wrote."""
    for name in ("new-env.sh", ".env.example"):
        (folder / name).write_bytes((FOLDER / name).read_bytes())
    subprocess.run(["sh", str(folder / "new-env.sh")], check=True, capture_output=True)
    lines = (folder / ".env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def load(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the document with these variables; a required one that is missing is a KeyError."""

    def value(match: re.Match[str]) -> str:
        name, how, rest = match.groups()
        found = environment.get(name, "")
        if not found and how == ":?":
            raise KeyError(name)
        return found or rest or ""

    return YAML(typ="safe", pure=True).load(_VARIABLE.sub(value, FILE.read_text()))
