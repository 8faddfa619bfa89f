"""What an object store's answer means, and whether it proves that nothing was written."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.storage.answers import diagnose, summarise, was_refused

TOLD = """Generic S3 error: Error performing {method} http://host:9000/lake/x?sig=c4n4ry in 1ms, \
after {retries} retries - {line}

Debug source:
Generic {{
    source: RetryError(
        RetryErrorImpl {{
            method: {method},
            uri: Some(http://host:9000/lake/x?sig=c4n4ry,),
            retries: {retries},
            inner: {inner},
        }},
    ),
}}"""


def answered(status, code=None, *, method="PUT", retries=0):
    body = f"<Error><Code>{code}</Code><Key>c4n4ry</Key></Error>" if code else ""
    line = f"Server returned non-2xx status code: {status} X: {body}"
    return TOLD.format(
        method=method, retries=retries, line=line, inner=f"Status {{ status: {status}, }}"
    )


def broken(*kinds, retries=0):
    inner = f"Http(HttpError {{ {' '.join(kinds)} }})"
    return TOLD.format(method="PUT", retries=retries, line="HTTP error", inner=inner)


@pytest.mark.parametrize(
    ("details", "means", "problem"),
    [
        (answered(400, "ExpiredToken"), "expired", "credentials have expired (ExpiredToken)"),
        (answered(400, method="HEAD"), "expired", "refuses the request (400)"),
        (answered(403, "InvalidAccessKeyId"), "expired", "access key or session token"),
        (answered(403, "SignatureDoesNotMatch"), "refused", "secret key does not fit"),
        (answered(403, "RequestTimeTooSkewed"), "refused", "clock is wrong"),
        (answered(403, "AccessDenied"), "refused", "permission denied (AccessDenied)"),
        (answered(403), "refused", "permission denied"),
        (answered(401), "expired", "credentials were refused"),
        (answered(404, "NoSuchBucket"), "missing", "no such file or bucket (NoSuchBucket)"),
        (answered(404, "NoSuchKey"), "missing", "no such file or bucket"),
        (answered(404, "ContainerNotFound"), "missing", "no such file or bucket"),
        (answered(503, "SlowDown"), "busy", "fewer requests (SlowDown)"),
        (answered(503), "busy", "fewer requests"),
        (answered(500, "InternalError"), "busy", "the store fails (500)"),
        (answered(301, "PermanentRedirect"), "other", "in another region"),
        (answered(400, "AuthorizationHeaderMalformed"), "other", "in another region"),
        (answered(403, "AuthenticationFailed"), "expired", "credentials were refused"),
        ("DeleteObjects failed: no (code: InvalidTokenId)", "expired", "session token"),
        (broken("kind: Connect,", "kind: ConnectionRefused,"), "unreachable", "nothing answers at"),
        (broken("kind: Connect,", '"dns error"'), "unreachable", "there is no host"),
        (broken("kind: Connect,", "InvalidContentType"), "unreachable", "does not speak TLS"),
        (broken("kind: Connect,", "InvalidCertificate"), "unreachable", "is not trusted"),
        (broken("kind: Timeout,"), "unreachable", "did not answer in time"),
        (broken("kind: Interrupted,", "kind: ConnectionReset,"), "unreachable", "broke the conn"),
    ],
)
def test_diagnoses(details, means, problem):
    found: Any = diagnose(details)
    assert (found.means, problem in found.problem) == (means, True)
    assert found.next_step
    assert "c4n4ry" not in f"{found}"
    if means == "unreachable":
        assert "http://host:9000" in found.problem


def test_what_is_not_known_stays_as_it_is():
    assert diagnose("Generic error: something else") is None
    assert diagnose(answered(418, "Teapot")) is None


@given(status=st.integers(400, 499), retries=st.integers(1, 20))
def test_a_refusal_after_a_lost_answer_proves_nothing(status, retries):
    assert not was_refused(answered(status, "AccessDenied", retries=retries))
    assert was_refused(answered(status, "AccessDenied")) is (status != 408)


@pytest.mark.parametrize(
    ("kinds", "refused"),
    [
        (("kind: Connect,", "kind: ConnectionRefused,"), True),
        (("kind: Interrupted,", "kind: ConnectionReset,"), False),
        (("kind: Request,", "kind: ConnectionAborted,"), False),
        (("kind: Timeout,",), False),
    ],
)
def test_only_a_connection_that_was_never_made_proves_that_nothing_was_sent(kinds, refused):
    assert was_refused(broken(*kinds)) is refused
    assert not was_refused(broken(*kinds, retries=1))


@given(st.text("abc/?=&", min_size=3, max_size=9), st.text(max_size=20), st.text(max_size=20))
def test_no_summary_holds_a_secret(secret, before, after):
    before, after = before.replace("\n", " "), after.replace("\n", " ")
    assert secret not in summarise(ValueError(f"{before}{secret}{after}"), secrets=[secret])
