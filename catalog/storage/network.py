"""How patient to be with a store, how greedy, and how to get there."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from catalog.errors import InputError


@dataclass(frozen=True, slots=True)
class Network:
    """Say how patient and how greedy to be; times in seconds.

    A request waits ``connect_timeout`` for a connection and ``timeout`` for its answer, and is
    repeated up to ``retries`` times within ``retry_seconds``. ``requests`` run at once.
    ``ca_file`` is a PEM file that is trusted beside the system's own, ``proxy_url`` an HTTP proxy.
    """

    ca_file: str | None = None
    proxy_url: str | None = field(default=None, repr=False)
    timeout: float = 30
    connect_timeout: float = 5
    retries: int = 8
    retry_seconds: float = 60
    requests: int = 64
    allow_http: bool = False

    def __post_init__(self) -> None:
        positive = (self.timeout, self.connect_timeout, self.retry_seconds, self.requests)
        if min(positive) <= 0 or self.retries < 0:
            raise InputError(
                "times and the number of requests must be positive",
                next_step="Leave them out for the defaults",
            )

    def client_options(self) -> dict[str, Any]:
        """Return obstore's client options."""
        found: dict[str, Any] = {
            "timeout": timedelta(seconds=self.timeout),
            "connect_timeout": timedelta(seconds=self.connect_timeout),
        }
        if self.allow_http:
            found["allow_http"] = True
        if self.proxy_url:
            found["proxy_url"] = self.proxy_url
        return found

    def retry_config(self) -> dict[str, Any]:
        """Return obstore's retry configuration: exponential, with jitter."""
        return {
            "max_retries": self.retries,
            "retry_timeout": timedelta(seconds=self.retry_seconds),
            "backoff": {
                "init_backoff": timedelta(seconds=0.1),
                "max_backoff": timedelta(seconds=5),
                "base": 2,
            },
        }


def network_of(values: dict[str, Any]) -> Network:
    """Return settings by their names; InputError for a value of the wrong type."""
    try:
        return Network(**values)
    except TypeError as error:
        raise InputError(
            f"one of {', '.join(values)} has a value of the wrong type",
            next_step="Times are numbers of seconds, requests and retries whole numbers",
        ) from error
