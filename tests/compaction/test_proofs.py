"""The proofs of upkeep in their short form; `make prove-upkeep prove-worker` run the long ones."""

import re

from compaction.testing import __main__, beside_writers, workers
from lakehouse.testing import Place


def test_keepers_beside_writers_change_no_row(tmp_path) -> None:
    report = beside_writers(turns=4, seed=1, place=Place(str(tmp_path)))
    assert report.findings == []
    assert report.stress.work.appended
    assert report.checked == report.compactions > 0


def test_keepers_beside_writers_on_minio(server) -> None:
    store = server("minio")
    report = beside_writers(turns=1, seed=1, place=Place(store.bucket(), store.options()))
    assert report.findings == []
    assert report.compactions


def test_workers_share_a_lake_and_one_is_killed(tmp_path) -> None:
    report = workers(3, every=1, seed=1, place=Place(str(tmp_path)))
    assert report.findings == []
    assert report.runs >= 3


def test_a_keeper_that_is_killed_harms_nothing_and_gives_way(capsys) -> None:
    assert __main__.main(["kills", "--count", "3", "--seed", "3"]) == 0
    said = capsys.readouterr().out
    assert "nothing wrong" in said
    assert re.search(r"kills +3\n", said)
    assert not re.search(r"compactions committed +0\n", said)
