"""A process that looks after a table stays within the memory that it was given."""

import re
import subprocess
import sys
from pathlib import Path

from lakehouse.duck.engine import VERSION
from lakehouse.duck.sizes import size_of

LIMIT = "600MB"
_ROWS, _TEXTS, _LENGTH = 1_100_000, 4, 128  # in memory together more than the limit
_MADE = f"""
import sys, lakehouse
with lakehouse.connect(sys.argv[1], durable=False, memory_limit="{LIMIT}") as lake:
    names = [f"c{{n}}" for n in range({_TEXTS})]
    table = lake.create_table("silver.t", {{"a": "BIGINT", **dict.fromkeys(names, "VARCHAR")}})
    text = "repeat(md5((range % {{}})::VARCHAR), {_LENGTH // 32}) AS {{}}"
    texts = ", ".join(text.format(100 + n, name) for n, name in enumerate(names))
    for seed in range(2):
        key = f"(hash(range, {{seed}}) % 1000000)::BIGINT AS a"
        table.append(lake.sql(f"SELECT {{key}}, {{texts}} FROM range({_ROWS // 2})"))
"""
_CLUSTERED = f"""
import sys, compaction, lakehouse
with lakehouse.connect(sys.argv[1], durable=False, memory_limit="{LIMIT}", threads=2) as lake:
    (report,) = compaction.run(lake, policy=compaction.Policy(cluster_by=("a",)))
    print(report.rows_rewritten, *report.problems)
    print(open("/proc/self/status").read())
"""


def test_clustering_more_than_fits_keeps_the_process_below_its_limit(tmp_path: Path) -> None:
    _run(_MADE, tmp_path / "lake")
    done, *status = _run(_CLUSTERED, tmp_path / "lake").splitlines()
    assert done == str(_ROWS)
    # Not `getrusage`, whose peak is that of the process which started this one, if that is higher.
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", "\n".join(status))
    limit = size_of(LIMIT, name="memory_limit")
    # A text takes sixteen bytes beside its own.
    assert limit < (16 + _LENGTH) * _TEXTS * _ROWS
    # DuckDB 1.5 does not count all that it holds of long rows: 500 to 710 MB, from run to run.
    assert int(peak) * 1024 < (limit if VERSION >= (2, 0) else limit * 1.4)


def _run(code: str, place: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, str(place)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
