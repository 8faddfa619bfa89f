"""The first connect to real stores: fit ones are remembered, unfit ones refused."""

import json
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from urllib.parse import urlsplit

import pytest
from minio import Minio

import lakehouse
from catalog.errors import NotFoundError, StorageError, UnsupportedError
from catalog.storage import open_storage
from lakehouse.testing import FaultProxy
from tests.cli.conftest import run  # noqa: F401 - a fixture


def connected(place, options):
    with lakehouse.connect(place, **options) as lake:
        return lake.uri, lake.catalog.state.version


def in_catalog(place, options):
    return [item.path for item in open_storage(place, **options).child("_catalog").list()]


@pytest.mark.parametrize("name", ["minio", "seaweedfs", "azurite"])
def test_a_fit_store_passes_and_is_remembered(server, name):
    object_store = server(name)
    place, options = f"{object_store.bucket()}/lake", object_store.options()
    with lakehouse.connect(place, **options) as lake:
        result = lake.catalog.probed()
        assert result is not None
        assert (result.verdict, result.endpoint) == ("fit", object_store.endpoint)
        assert [check.name for check in result.checks if not check.passed] == []
        assert object_store.secret not in repr(result)
    document, remembered = in_catalog(place, options)
    assert document == "00000000000000000000.json"
    assert remembered.startswith("_store-1-")


def test_moto_keeps_all_but_the_race(server):
    """moto looks for the object and then puts it, without a lock: now and then two writers win."""
    moto = server("moto")
    place = f"{moto.bucket()}/lake"
    with lakehouse.connect(place, probe="never", **moto.options()) as lake:
        result = lake.catalog.probe()
    broken = {check.name for check in result.checks if not check.passed}
    assert broken <= {"put-if-absent", "put-if-absent over 5 MiB"}
    assert (result.verdict == "fit") == (not broken)


def test_an_unfit_store_is_refused_with_the_reason(unfit_store):
    place, options = f"{unfit_store.bucket()}/lake", unfit_store.options()
    with pytest.raises(UnsupportedError) as refused:
        lakehouse.connect(place, **options)
    told = str(refused.value)
    assert unfit_store.endpoint in told
    assert "of 9 that created one file, 9 were told that they had" in told
    assert "MinIO" in told
    assert unfit_store.secret not in told or unfit_store.secret == "S3RVER"
    # rclone may list a file for ever that eight have written at once, whoever deletes it.
    assert [name for name in in_catalog(place, options) if not name.startswith("_probe/")] == []
    with pytest.raises(NotFoundError):
        lakehouse.connect(place, create=False, **options)


def test_a_lake_that_is_on_an_unfit_store_is_refused_as_well(server):
    unfit = server("rclone")
    place, options = f"{unfit.bucket()}/lake", unfit.options()
    connected(place, {**options, "probe": "never"})
    for _ in range(2):
        with pytest.raises(UnsupportedError):
            connected(place, {**options, "create": False})


def test_a_second_connect_costs_no_request_more(server):
    minio = server("minio")
    place = f"{minio.bucket()}/lake"
    with FaultProxy(minio.endpoint) as proxy:
        options = {**minio.options(), "endpoint_url": proxy.url}
        counts: list[Counter[str]] = []
        for probe in ("once", "once", "never"):
            proxy.forget()
            connected(place, {**options, "probe": probe})
            counts.append(proxy.counted())
        assert counts[1] == counts[2]
        assert sum(counts[1].values()) == 3
        assert 50 < sum(counts[0].values()) < 100
        # By another address it may be another store.
        connected(place, minio.options())
    assert len([name for name in in_catalog(place, minio.options()) if "_store" in name]) == 2


def test_many_may_be_the_first(server):
    minio = server("minio")
    place, options = f"{minio.bucket()}/lake", minio.options()
    with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as pool:
        found = list(pool.map(connected, [place] * 3, [options] * 3))
    assert {version for _, version in found} == {0}
    assert len(in_catalog(place, options)) == 2


def test_who_may_only_read_opens_a_lake(server):
    minio = server("minio")
    bucket = minio.bucket()
    place, options = f"{bucket}/lake", minio.options()
    with lakehouse.connect(place, probe="never", **options) as lake:
        lake.create_table("bronze.numbers", {"n": "BIGINT"}).append([{"n": 1}])
    name = bucket.partition("://")[2]
    reading = {
        "Effect": "Allow",
        "Principal": {"AWS": ["*"]},
        "Action": ["s3:GetObject", "s3:ListBucket"],
        "Resource": [f"arn:aws:s3:::{name}", f"arn:aws:s3:::{name}/*"],
    }
    address = urlsplit(minio.endpoint).netloc
    owner = Minio(address, access_key=minio.account, secret_key=minio.secret, secure=False)
    owner.set_bucket_policy(name, json.dumps({"Version": "2012-10-17", "Statement": [reading]}))
    anonymous = {"endpoint_url": minio.endpoint, "region": "us-east-1", "skip_signature": True}
    for probe in ("once", "again"):
        with lakehouse.connect(place, create=False, probe=probe, **anonymous) as lake:
            assert lake.catalog.probe().verdict == "unknown"
            assert lake.catalog.probed() is None
            assert lake.sql("SELECT n FROM bronze.numbers").fetchall() == [(1,)]
    with pytest.raises(StorageError, match="permission denied"):
        lakehouse.connect(f"{bucket}/other", **anonymous)
    assert in_catalog(place, options)[0] == "00000000000000000000.json"


@pytest.fixture
def in_environment(monkeypatch):
    def put(store):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", store.account)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", store.secret)
        monkeypatch.setenv("AWS_ENDPOINT_URL", store.endpoint)
        monkeypatch.setenv("AWS_REGION", store.region)
        return f"{store.bucket()}/lake"

    return put


def test_doctor_tells_why_a_lake_is_refused(server, run, in_environment):  # noqa: F811
    place = in_environment(server("rclone"))
    assert run("init", place).code == 7
    connected(place, {"probe": "never"})
    outcome = run("doctor", "--lake", place)
    assert outcome.code == 1
    assert "put-if-absent" in outcome.out


def test_doctor_shows_what_was_proven(server, run, in_environment):  # noqa: F811
    minio = server("minio")
    place = in_environment(minio)
    connected(place, {"probe": "never"})
    for arguments in ((), ("--probe",)):
        outcome = run("doctor", "--lake", place, "--json", *arguments)
        assert outcome.code == 0
        found = {finding["about"]: finding["text"] for finding in outcome.json["findings"]}
        assert found["store"].startswith(minio.endpoint)
        assert found["put-if-absent"] == "one winner in each of 3 races"
        assert "fetched by" in found["data files"]
        assert minio.secret not in outcome.out
