"""A Ray cluster on this machine; without Ray (`make test`) these tests are not collected."""

import importlib.util
from collections.abc import Iterator

import pytest

HAS_RAY = importlib.util.find_spec("ray") is not None
collect_ignore_glob = [] if HAS_RAY else ["test_*.py"]


@pytest.fixture(scope="session")
def cluster() -> Iterator[str]:
    """Start a cluster, and give the address at which others find it."""
    import ray  # noqa: PLC0415 - only where it is installed

    context = ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield str(context.address_info["address"])
    ray.shutdown()
