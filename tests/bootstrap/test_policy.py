"""Policies and keys: no more than a role needs, and nothing of another lake."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse import InputError
from lakehouse.bootstrap import ROLES, Keys, accounts, policy, policy_name

PREFIXES = st.one_of(st.just(""), st.from_regex(r"[a-z-]{1,3}(/[a-z-]{1,3}){0,2}", fullmatch=True))
PLACES = st.tuples(st.from_regex(r"[a-z][a-z-]{1,4}[a-z]", fullmatch=True), PREFIXES)


@given(PLACES)
def test_a_policy_stays_below_the_prefix(place: tuple[str, str]) -> None:
    bucket, prefix = place
    for role in ROLES:
        objects, listing, location = policy(role, bucket=bucket, prefix=prefix)["Statement"]
        below = f"{bucket}/{prefix}/*" if prefix else f"{bucket}/*"
        assert objects["Resource"] == [f"arn:aws:s3:::{below}"]
        assert listing["Action"] == ["s3:ListBucket"]
        assert ("Condition" in listing) == bool(prefix)
        assert location["Action"] == ["s3:GetBucketLocation"]


def test_roles_differ_by_what_changes_objects() -> None:
    def actions(role) -> set[str]:
        statements = policy(role, bucket="bucket", prefix="lake")["Statement"]
        return {action for statement in statements for action in statement["Action"]}

    assert actions("reader") == {"s3:GetObject", "s3:ListBucket", "s3:GetBucketLocation"}
    assert actions("writer") - actions("reader") == {
        "s3:AbortMultipartUpload",
        "s3:DeleteObject",
        "s3:ListMultipartUploadParts",
        "s3:PutObject",
    }


@given(PLACES, PLACES)
def test_no_two_lakes_share_a_policy(one: tuple[str, str], other: tuple[str, str]) -> None:
    names = {policy_name("writer", bucket=b, prefix=p) for b, p in (one, other)}
    assert len(names) == len({one, other})


def test_secrets_are_new_each_time_and_in_no_repr() -> None:
    found = [accounts({}, bucket="bucket", prefix="lake") for _ in range(2)]
    secrets = {account.keys.secret for pair in found for account in pair}
    assert len(secrets) == 4
    assert not [secret for secret in secrets if secret in repr(found)]
    assert "hunter2" not in repr(Keys("key", "hunter2"))


def test_a_short_secret_is_refused_and_not_repeated() -> None:
    with pytest.raises(InputError, match="LAKEHOUSE_READER_SECRET has 7") as caught:
        accounts({"LAKEHOUSE_READER_SECRET": "hunter2"}, bucket="bucket", prefix="lake")
    assert "hunter2" not in str(caught.value)
