"""What the user says wins over the environment, which wins over a profile."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.errors import InputError
from catalog.storage.location import parse
from catalog.storage.network import Network
from catalog.storage.profiles import Profile
from catalog.storage.settings import settings_of

S3, AZ, GS = parse("s3://lake/x"), parse("az://lake/x"), parse("gs://lake/x")
texts = st.text("abcXYZ0123456789+/", min_size=1, max_size=12)
pairs = st.fixed_dictionaries({"access_key_id": texts, "secret_access_key": texts})
tokens = st.fixed_dictionaries({}, optional={"session_token": texts})
places = st.fixed_dictionaries(
    {}, optional={"region": texts, "endpoint": texts.map("https://{}.example".format)}
)
whole = st.builds(lambda *parts: {k: v for p in parts for k, v in p.items()}, pairs, tokens, places)
VARIABLES = {
    "access_key_id": ["AWS_ACCESS_KEY_ID"],
    "secret_access_key": ["AWS_SECRET_ACCESS_KEY"],
    "session_token": ["AWS_SESSION_TOKEN"],
    "region": ["AWS_REGION", "AWS_DEFAULT_REGION"],
    "endpoint": ["AWS_ENDPOINT_URL"],
}
WHO = {"access_key_id", "secret_access_key", "session_token"}


def variables(values):
    return {name: values[key] for key in values for name in VARIABLES[key]}


def keys(values):
    return {name: value for name, value in values.items() if name in WHO}


@given(
    explicit=st.one_of(places, whole),
    around=st.one_of(places, whole),
    said=st.one_of(places, whole),
)
def test_the_first_who_knows_wins_and_keys_are_never_mixed(explicit, around, said):
    found = settings_of(
        S3, explicit, environ=variables(around), profile=lambda _: Profile(said)
    ).config
    sources = [explicit, around, said]
    owner: dict = next((source for source in sources if "access_key_id" in source), {})
    assert keys(found) == keys(owner)
    # The profile is not even opened where keys are known.
    asked = [explicit, around] if keys(explicit) or keys(around) else sources
    for name in ("region", "endpoint"):
        assert found.get(name) == next((s[name] for s in asked if name in s), None)


@given(explicit=places, around=whole, said=whole)
def test_a_named_profile_wins_over_keys_around(explicit, around, said):
    asked = []

    def profile(name):
        asked.append(name)
        return Profile(said)

    environ = variables(around)
    found = settings_of(S3, {**explicit, "profile": "team"}, environ=environ, profile=profile)
    assert asked == ["team"]
    assert keys(found.config) == keys(said)


@given(token=texts, said=whole)
def test_a_lone_session_token_is_not_mixed_with_a_profiles_keys(token, said):
    environ = {"AWS_SESSION_TOKEN": token}
    found = settings_of(S3, {}, environ=environ, profile=lambda _: Profile(said))
    assert keys(found.config) == keys(said)


SAME = {
    "endpoint": ["endpoint", "endpoint_url", "aws_endpoint", "AWS_ENDPOINT_URL", "endpoint_url_s3"],
    "region": ["region", "region_name", "aws_region", "AWS_DEFAULT_REGION"],
    "session_token": ["session_token", "token", "aws_session_token"],
    "access_key_id": ["access_key_id", "key_id", "AWS_ACCESS_KEY_ID"],
    "secret_access_key": ["secret_access_key", "secret", "aws_secret_access_key"],
}
names = st.fixed_dictionaries({ours: st.sampled_from(theirs) for ours, theirs in SAME.items()})


@given(names=names, values=st.fixed_dictionaries(dict.fromkeys(SAME, texts)))
def test_options_have_many_names(names, values):
    found = settings_of(S3, {names[name]: values[name] for name in SAME})
    assert dict(found.config) == values


@given(data=st.data(), name=st.sampled_from([*SAME]))
def test_an_option_given_twice_is_refused(data, name):
    one, other = data.draw(
        st.lists(st.sampled_from(SAME[name]), min_size=2, max_size=2, unique=True)
    )
    with pytest.raises(InputError, match=f"{name} is given twice") as caught:
        settings_of(S3, {one: "c4n4ry", other: "c4n4ry"})
    assert "c4n4ry" not in str(caught.value)


@pytest.mark.parametrize("half", ["access_key_id", "secret_access_key"])
@pytest.mark.parametrize("where", ["option", "environment"])
def test_half_a_pair_of_keys_is_refused(half, where):
    options, environ = {half: "x"}, variables({half: "x"})
    with pytest.raises(InputError, match=f"{half} is given without"):
        settings_of(
            S3, options if where == "option" else {}, environ=environ if where != "option" else {}
        )


def test_path_style_is_the_opposite_of_virtual_hosts():
    for said in (True, False):
        found = settings_of(S3, {"path_style": said}).config
        assert found["virtual_hosted_style_request"] is not said


def test_an_endpoint_that_the_library_would_ignore_is_refused():
    environ = {"AWS_ENDPOINT_URL_S3": "http://a:1/"}
    assert settings_of(S3, {"endpoint_url": "http://a:1"}, environ=environ).network.allow_http
    assert settings_of(S3, {}, environ=environ).config["endpoint"] == "http://a:1/"
    with pytest.raises(InputError, match="AWS_ENDPOINT_URL_S3 in the environment"):
        settings_of(S3, {"endpoint_url": "http://b:1"}, environ=environ)


def test_an_endpoint_holds_no_password():
    with pytest.raises(InputError, match="the endpoint holds a user") as caught:
        settings_of(S3, {"endpoint_url": "https://me:c4n4ry@host"})
    assert "c4n4ry" not in str(caught.value)


def test_credentials_that_are_asked_for_keep_other_keys_out():
    environ = variables({"access_key_id": "a", "secret_access_key": "b", "region": "r"})
    found = settings_of(
        S3,
        {"credentials": lambda: {"access_key_id": "c", "secret_access_key": "d", "token": "e"}},
        environ=environ,
        profile=lambda _: pytest.fail("the profile was read"),
    )
    assert dict(found.config) == {"region": "r"}
    assert keys(found.current()) == {
        "access_key_id": "c", "secret_access_key": "d", "session_token": "e",
    }  # fmt: skip


parts = st.fixed_dictionaries({"AccountName": texts, "AccountKey": texts})


@given(
    said=parts, around=parts, noise=st.sampled_from(["", ";", " ;DefaultEndpointsProtocol=https;"])
)
def test_a_connection_string_is_taken_apart_and_wins_over_the_environment(said, around, noise):
    def told(values):
        return ";".join(f"{k}={v}" for k, v in values.items())

    environ = {
        "AZURE_STORAGE_CONNECTION_STRING": told(around),
        "AZURE_STORAGE_ACCOUNT_NAME": around["AccountName"] + "x",
    }
    found = settings_of(AZ, {"connection_string": told(said) + noise}, environ=environ).config
    assert found["account_name"] == said["AccountName"]
    assert found["account_key"] == said["AccountKey"]
    found = settings_of(AZ, {}, environ=environ).config
    assert found["account_key"] == around["AccountKey"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("UseDevelopmentStorage=true", {"use_emulator": True}),
        (
            "AccountName=a;AccountKey=k==;EndpointSuffix=core.chinacloudapi.cn",
            {
                "account_name": "a",
                "account_key": "k==",
                "endpoint": "https://a.blob.core.chinacloudapi.cn",
            },
        ),
        (
            "BlobEndpoint=https://a.example/;SharedAccessSignature=sv=1&sig=s%3D",
            {"endpoint": "https://a.example/", "sas_key": "sv=1&sig=s%3D"},
        ),
    ],
)
def test_connection_strings(text, expected):
    assert dict(settings_of(AZ, {"connection_string": text}).config) == expected


def test_a_connection_string_of_nothing_is_refused():
    with pytest.raises(InputError, match="names neither") as caught:
        settings_of(AZ, {"connection_string": "c4n4ry"})
    assert "c4n4ry" not in str(caught.value)


def test_azure_keys_around_do_not_join_explicit_ones():
    environ = {"AZURE_STORAGE_ACCOUNT_KEY": "k", "AZURE_STORAGE_ACCOUNT_NAME": "a"}
    assert dict(settings_of(AZ, {"sas_token": "s"}, environ=environ).config) == {
        "account_name": "a", "sas_key": "s",
    }  # fmt: skip


def test_google():
    found = settings_of(
        GS, {"endpoint_url": "http://h:1"}, environ={"GOOGLE_APPLICATION_CREDENTIALS": "/f.json"}
    )
    assert dict(found.config) == {"base_url": "http://h:1", "application_credentials": "/f.json"}
    assert found.network.allow_http


@pytest.mark.parametrize(
    "wrong",
    [{"timeout": 0}, {"requests": 0}, {"retries": -1}, {"retry_seconds": 0}, {"timeout": "soon"}],
)
def test_wrong_network_settings(wrong):
    with pytest.raises(InputError, match=r"must be positive|wrong type"):
        settings_of(S3, wrong)


def test_network_settings_reach_obstore():
    options: Any = {
        "timeout": 3,
        "connect_timeout": 2,
        "retries": 1,
        "retry_seconds": 9,
        "requests": 5,
    }
    network = settings_of(S3, {**options, "proxy_url": "http://u:c4n4ry@p"}).network
    assert network == Network(**options, proxy_url="http://u:c4n4ry@p")
    assert network.client_options()["timeout"].total_seconds() == 3
    assert network.retry_config()["max_retries"] == 1
    assert network.retry_config()["retry_timeout"].total_seconds() == 9


def test_wrong_reader():
    with pytest.raises(InputError, match="reader 'me' is not known"):
        settings_of(S3, {"reader": "me"})


@given(values=whole)
def test_no_repr_shows_a_value(values):
    marked = {name: f"c4n4ry{value}" for name, value in keys(values).items()}
    found = settings_of(S3, {**marked, "proxy_url": "http://u:c4n4ry%2F@p"})
    assert "c4n4ry" not in repr(found)
    assert {*marked.values(), "c4n4ry%2F", "c4n4ry/"} <= found.secrets()
