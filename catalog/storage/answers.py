"""Say what went wrong between us and an object store, from the words of the library in between.

Pure: texts in, values out. obstore tells of a request that failed by a kind of error, a first line,
and details with the number of tries, the status, and the store's own answer, of which nothing is
shown but the code: the rest may name keys.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Means = Literal["expired", "refused", "missing", "busy", "unreachable", "other"]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Hold what is wrong and what to do; ``means`` is for programs."""

    means: Means
    problem: str
    next_step: str


_POLICY = "Check the policy of these credentials"
_RENEW = "Get new ones, or pass credentials=, a function that is asked for them"
_KEYS = "Check the credentials, and that they belong to this endpoint"
_CLOCK = "Set this machine's clock"
_REGION = "Pass the bucket's own region="
_PLACE = "Check the URI, or whether the table was vacuumed or dropped meanwhile"
_LESS = "Pass a lower requests=, or more retries= and retry_seconds="
_REFUSED = "credentials were refused"

_EXPIRED = Diagnosis("expired", "the credentials have expired", _RENEW)
_UNKNOWN_KEY = Diagnosis("expired", "the access key or session token is not known there", _KEYS)
_BUSY = Diagnosis("busy", "the store asks for fewer requests", _LESS)
_WRONG_REGION = Diagnosis("other", "the bucket is in another region", _REGION)
_NO_BUCKET = Diagnosis("missing", "no such file or bucket", "Create the bucket, or check the URI")
_DENIED = Diagnosis("refused", "permission denied", _POLICY)

# Keys that somebody replaced are named like keys that never were: asking for new ones may help.
_CODES = {
    "ExpiredToken": _EXPIRED,
    "TokenRefreshRequired": _EXPIRED,
    "ExpiredAuthenticationToken": _EXPIRED,
    "InvalidAccessKeyId": _UNKNOWN_KEY,
    "InvalidToken": _UNKNOWN_KEY,
    "InvalidTokenId": _UNKNOWN_KEY,
    "SignatureDoesNotMatch": Diagnosis(
        "refused", "the secret key does not fit the access key", _KEYS
    ),
    "RequestTimeTooSkewed": Diagnosis("refused", "this machine's clock is wrong", _CLOCK),
    "RequestExpired": Diagnosis("refused", "this machine's clock is wrong", _CLOCK),
    "AccessDenied": _DENIED,
    "AllAccessDisabled": _DENIED,
    "NoSuchBucket": _NO_BUCKET,
    "SlowDown": _BUSY,
    "PermanentRedirect": _WRONG_REGION,
    "AuthorizationHeaderMalformed": _WRONG_REGION,
    "IllegalLocationConstraintException": _WRONG_REGION,
    # Azure says the same of a wrong key, an expired token and a wrong clock.
    "AuthenticationFailed": Diagnosis(
        "expired", _REFUSED, "Check the key or token, how long it is valid, and the clock"
    ),
    "AuthorizationFailure": _DENIED,
    "AuthorizationPermissionMismatch": _DENIED,
    "ContainerNotFound": _NO_BUCKET,
    "ServerBusy": _BUSY,
}
NOT_THERE = Diagnosis("missing", "no such file or bucket", _PLACE)
_STATUSES = {
    401: Diagnosis("expired", _REFUSED, "Check the credentials and the clock"),
    403: _DENIED,
    404: NOT_THERE,
    429: _BUSY,
    503: _BUSY,
}
# An answer to HEAD has no body, and so no code.
_NO_REASON = Diagnosis(
    "expired", "the store refuses the request", "Check whether the credentials have expired"
)
# What stands in the details of a connection that was not made, and what it says of the endpoint.
_CONNECTIONS = (
    ("kind: ConnectionRefused", "nothing answers at {}", "Check the endpoint, and that it runs"),
    ("dns error", "there is no host {}", "Check the endpoint and the network"),
    ("InvalidContentType", "{} does not speak TLS", "Check the endpoint: http:// or https://"),
    (
        "InvalidCertificate",
        "the certificate of {} is not trusted",
        "Pass ca_file=, the PEM file of the authority that signed it",
    ),
    ("kind: Timeout,", "{} did not answer in time", "Check the endpoint, or raise timeout="),
    ("kind: TimedOut", "{} did not answer in time", "Check the endpoint, or raise connect_timeout="),
    ("kind: Connect,", "there is no connection to {}", "Check the endpoint and the network"),
    ("kind: ConnectionReset", "{} broke the connection", "Check the endpoint, and try again"),
)  # fmt: skip


def diagnose(details: str) -> Diagnosis | None:
    """Return what an error's whole text says of the cause, or None where that is nothing known.

    >>> diagnose("status: 400, <Error><Code>ExpiredToken</Code>...").problem
    'the credentials have expired (ExpiredToken)'
    """
    asked = re.search(r"credential provider: (?:RuntimeError: )?([^\n]*)", details)
    if asked:
        problem = f"there are no credentials: {asked[1].rstrip('. ')}"
        return Diagnosis("refused", problem, "Look at the function that credentials= names")
    code = re.search(r"<Code>(\w+)</Code>|\(code: (\w+)\)", details)
    name = code and (code[1] or code[2])
    if name in _CODES:
        return _told(_CODES[name], f" ({name})")
    status = status_of(details)
    if status == 400 and "method: HEAD" in details:
        return _told(_NO_REASON, " (400)")
    if status in _STATUSES:
        return _STATUSES[status]
    if status is not None and status >= 500:
        return Diagnosis("busy", f"the store fails ({status})", "Try again, or look at the store")
    if "configured region" in details:  # A redirect, which obstore explains in its own words.
        return _WRONG_REGION
    if "inner: Http(" not in details:
        return None
    host = re.search(r"\bhttps?://[^/\s,?]+", details)
    where = host[0] if host else "the endpoint"
    for words, problem, next_step in _CONNECTIONS:
        if words in details:
            return Diagnosis("unreachable", problem.format(where), next_step)
    return None


def summarise(error: Exception, *, secrets: Iterable[str] = ()) -> str:
    """Return the first line of a foreign error, without queries and without any secret.

    >>> summarise(ValueError("GET http://host/x?sig=abc failed for KEY"), secrets=["KEY"])
    'GET http://host/x?... failed for ***'
    """
    text = str(error).partition("\n")[0]
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) > 2:
            text = text.replace(secret, "***")
    return re.sub(r"\?[^\s)\"']+", "?...", text).rstrip(". ")


def status_of(details: str) -> int | None:
    """Return the HTTP status that an error's text names."""
    found = re.search(r"(?:non-2xx status code|\bstatus): (\d{3})\b", details)
    return int(found[1]) if found else None


def tries_of(details: str) -> int:
    """Return how often a request was sent, as far as an error's text tells."""
    found = re.search(r"\bretries: (\d+),|after (\d+) retries", details)
    return int(found[1] or found[2]) + 1 if found else 1


def was_refused(details: str) -> bool:
    """Tell from an error's text whether no try can have changed anything in the store.

    Only the last try is described, so an earlier one must not have been made: one that was
    carried out, and whose answer was lost, may be followed by any refusal.
    """
    if "169.254.169.254" in details:  # No credentials were found, not even on the instance.
        return True
    status = status_of(details) or 0
    refused = (
        "kind: Connect," in details or status == 501 or (400 <= status < 500 and status != 408)
    )
    return "retries: 0," in details and refused


def _told(diagnosis: Diagnosis, more: str) -> Diagnosis:
    return Diagnosis(diagnosis.means, diagnosis.problem + more, diagnosis.next_step)
