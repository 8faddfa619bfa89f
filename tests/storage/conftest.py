"""A MinIO behind a proxy that fails on purpose, and lakes in it."""

import pytest

import lakehouse
from lakehouse.testing import FaultProxy


@pytest.fixture(scope="session")
def minio(server):
    return server("minio")


@pytest.fixture(scope="module")
def fault_proxy(minio):
    with FaultProxy(minio.endpoint) as proxy:
        yield proxy


@pytest.fixture
def proxy(fault_proxy):
    yield fault_proxy
    fault_proxy.set_faults()
    fault_proxy.forget()


@pytest.fixture
def place(minio, proxy):
    """Return a bucket's URI, and options that lead through the proxy."""
    return minio.bucket(), {**minio.options(), "endpoint_url": proxy.url, "retries": 1}


@pytest.fixture
def connected(place):
    """Open lakes in one bucket, through the proxy; other options may be given."""
    uri, options = place
    opened = []

    def connect(**more):
        found = {name: value for name, value in {**options, **more}.items() if value is not None}
        lake = lakehouse.connect(uri, **found)
        opened.append(lake)
        return lake

    yield connect
    for lake in opened:
        lake.close()
