"""The Delta acceptance tables (DAT): every case, at every version, by our reader."""

import json

import duckdb
import pytest

import lakehouse
from lakehouse.delta import replay


def _rows(relation):
    """Return rows as text, sorted, with columns in order of their names."""
    columns = sorted(relation.columns)
    selected = relation.select(*[duckdb.ColumnExpression(name) for name in columns])
    return sorted(repr(row) for row in selected.fetchall())


@pytest.mark.parametrize("stored_from", [0, replay.STORED_FROM], ids=["stored", "held"])
def test_every_case_is_read_right_at_every_version(acceptance, tmp_path, monkeypatch, stored_from):
    monkeypatch.setattr(replay, "STORED_FROM", stored_from)
    checked, wrong = 0, []
    with lakehouse.connect(tmp_path / "lake") as lake:
        for case in sorted(path for path in acceptance.iterdir() if path.is_dir()):
            table = lake.register_table(f"bronze.{case.name}", case / "delta")
            for expected in sorted((case / "expected").iterdir()):
                facts = json.loads((expected / "table_version_metadata.json").read_text())
                files = str(expected / "table_content" / "*.parquet")
                with duckdb.connect() as plain:
                    plain.execute("SET TimeZone = 'UTC'")
                    truth = _rows(plain.read_parquet(files, hive_partitioning=False))
                ours = _rows(table.read(version=facts["version"]))
                checked += 1
                if ours != truth:
                    wrong.append((case.name, expected.name, ours[:2], truth[:2]))
    assert wrong == []
    assert checked == 29


def test_what_other_engines_logs_answer_is_what_their_files_hold(acceptance, tmp_path):
    answered = 0
    with lakehouse.connect(tmp_path / "lake") as lake:
        for case in sorted(path for path in acceptance.iterdir() if path.is_dir()):
            table = lake.register_table(f"bronze.{case.name}", case / "delta")
            for expected in sorted((case / "expected").iterdir()):
                facts = json.loads((expected / "table_version_metadata.json").read_text())
                version = facts["version"]
                rows = table.read(version=version)
                types = zip(rows.columns, map(str, rows.types), strict=True)
                names = [f'"{name}"' for name, type_ in types if type_ in _WITH_BOUNDS]
                asked = ["count(*)", *(f"{f}({name})" for name in names for f in ("min", "max"))]
                for selected in (asked[0], ", ".join(asked)):
                    query = f"SELECT {selected} FROM {table.name} AT (VERSION => {version})"
                    answered += lake.explain(query).tables[0].answered_from_log
                    assert lake.sql(query).fetchall() == rows.aggregate(selected).fetchall(), query
    assert answered > 29


_WITH_BOUNDS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "DATE", "DECIMAL(5,2)", "DECIMAL(10,5)")
