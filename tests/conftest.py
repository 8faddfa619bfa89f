"""Choose how hard the property tests try, and share real object stores between all workers."""

import contextlib
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from lakehouse.testing.servers import NotInstalledError, Server, start

# No deadline: how long an example takes on a busy machine says nothing about its correctness.
settings.register_profile(
    "default", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("nightly", settings.get_profile("default"), max_examples=2_000)
# HYPOTHESIS_PROFILE=default (CI too) or nightly
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

# Those that a lake may stand on: they put an object only where there is none, if asked to.
OBJECT_STORES = ("minio", "seaweedfs", "moto", "azurite")
# Those that take no notice of that, and so must be refused.
UNFIT_STORES = ("s3rver", "rclone")

_ACCEPTANCE = Path(__file__).parent / "data" / "deltalake-dat-v0.0.3.tar.gz"


@pytest.fixture(scope="session")
def acceptance(tmp_path_factory) -> Path:
    """Unpack the Delta acceptance tables (DAT), and return their folder."""
    folder = tmp_path_factory.mktemp("dat")
    with tarfile.open(_ACCEPTANCE) as archive:
        # Python before 3.11.4 has none.
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(folder)
    return folder / "out" / "reader_tests" / "generated"


@pytest.fixture(scope="session")
def server(tmp_path_factory) -> Iterator[Callable[[str], Server]]:
    """Give any server by its name. It is started once for all workers, when one first asks."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    with contextlib.ExitStack() as stack:
        running: dict[str, Server] = {}

        def get(name: str) -> Server:
            if name not in running:
                try:
                    running[name] = stack.enter_context(start(name, shared=shared / "servers"))
                except NotInstalledError as error:
                    # CI installs them all: there a skip would hide that a promise went untested.
                    end = pytest.fail if "CI" in os.environ else pytest.skip
                    end(str(error))
            return running[name]

        yield get


@pytest.fixture(params=OBJECT_STORES)
def object_store(request, server) -> Server:
    """Give each store that a lake may stand on: `connect(store.bucket(), **store.options())`."""
    return server(request.param)


@pytest.fixture(params=UNFIT_STORES)
def unfit_store(request, server) -> Server:
    """Give each store that does not keep writers from replacing each other's commits."""
    return server(request.param)
