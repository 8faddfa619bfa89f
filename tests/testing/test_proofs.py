"""The proofs in their short form; `make prove` runs the long one."""

from collections import Counter
from pathlib import Path

import pytest

import lakehouse
from lakehouse.duck.engine import Engine
from lakehouse.testing import Faults, Place, __main__, disagreements, kills, lost_answers, stress
from lakehouse.testing.crowd import Appended, Deleted, Work
from lakehouse.testing.stress import expected_rows


def test_processes_beside_each_other_lose_nothing(tmp_path):
    report = stress(turns=6, seed=1, place=Place(str(tmp_path)))
    assert report.findings == []
    assert report.work.appended
    assert report.work.deleted


def test_processes_on_a_store_that_fails_lose_nothing(tmp_path):
    report = stress(
        turns=6, seed=2, appenders=2, faults=Faults.bad_day(), place=Place(str(tmp_path))
    )
    assert report.findings == []
    assert report.work.faults


def test_a_killed_writer_leaves_what_it_acknowledged(tmp_path):
    report = kills(6, seed=1, place=Place(str(tmp_path)))
    assert report.findings == []
    assert report.kills == report.hits.total() == 6
    assert report.acknowledged


def test_a_lost_answer_is_no_lost_write_and_no_conflict(tmp_path):
    report = lost_answers(21, seed=1, place=Place(str(tmp_path)))
    assert report.findings == []
    assert set(report.lost) == {"dropped", "error_after", "repeated"}
    assert report.verbs["restore"]


@pytest.fixture
def bucket(server):
    store = server("minio")
    return Place(store.bucket(), store.options())


def test_processes_on_minio_lose_nothing(bucket):
    report = stress(turns=4, seed=1, appenders=2, place=bucket)
    assert report.findings == []
    assert report.work.appended
    assert report.work.deleted


def test_a_writer_that_is_killed_on_minio_leaves_what_it_acknowledged(bucket):
    report = kills(5, seed=1, place=bucket)
    assert report.findings == []
    assert report.acknowledged


def test_an_answer_lost_on_the_wire_to_minio_is_no_lost_write(bucket):
    report = lost_answers(21, seed=1, place=bucket)
    assert report.findings == []
    assert set(report.lost) == {"dropped", "error_after", "repeated"}


def test_stress_counts_what_versions_say():
    work = Work(
        [Appended(1, 0, 0), Appended(4, 0, 5)],
        [Deleted(3, 0, 5, 0, 99), Deleted(2, 1, 0, 0, 99), Deleted(4, 0, 0, 0, 6)],
    )
    # The delete at version 3 took none of the rows that came at version 4.
    assert set(expected_rows(work)) == {(0, n) for n in range(1, 10)}
    work.deleted.append(Deleted(4, 0, 5, 0, 99))
    assert set(expected_rows(work)) == {(0, n) for n in range(1, 10) if n != 5}


def test_the_program_prints_figures_and_its_exit_code_tells(tmp_path, capsys):
    assert __main__.main(["lost-answers", "--count", "6", "--seed", "3"]) == 0
    assert "nothing wrong" in capsys.readouterr().out
    with lakehouse.connect(tmp_path / "lake", durable=False) as lake:
        table = lake.create_table("bronze.t", {"n": "BIGINT"})
        table.append([{"n": 1}])
        assert __main__.main(["lint", table.uri]) == 0
        next(Path(table.uri).rglob("*.parquet")).unlink()
        assert __main__.main(["lint", table.uri]) == 1
    assert "is missing (files)" in capsys.readouterr().out
    assert __main__.main(["nothing"]) == 2


def test_rows_that_are_not_what_they_should_be_are_found(tmp_path):
    with lakehouse.connect(tmp_path / "lake", durable=False) as lake, Engine() as engine:
        table = lake.create_table("bronze.t", {"n": "BIGINT"})
        table.append([{"n": 1}, {"n": 2}])

        def wrong(*expected):
            return disagreements(table, expected, columns=("n",), engine=engine)

        both, one, twice = Counter([(1,), (2,)]), Counter([(1,)]), Counter([(1,), (2,), (2,)])
        assert wrong(both) == wrong(one, both) == []
        assert "1 too many, such as (2,)" in wrong(one)[0]
        assert "1 missing, such as (2,)" in wrong(twice)[0]
        next(Path(table.uri).rglob("*.parquet")).unlink()
        assert "cannot be read" in wrong(both)[0]
