import asyncio
import json
import time
from base64 import b64encode
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from google.auth import identity_pool, impersonated_credentials, jwt
from google.auth.external_account_authorized_user import Credentials as FederatedUser
from google.auth.transport.requests import Request
from google.oauth2.credentials import Credentials as User
from google.oauth2.service_account import Credentials as ServiceAccount
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.errors import Kind
from gateway.providers.auth import google_files
from gateway.providers.auth.google import Token, _token
from gateway.providers.auth.refresh import CredentialError
from gateway.providers.http.client import Client
from tests.support.google import (
    NOW,
    SCOPE,
    Json,
    Made,
    account,
    external,
    failure,
    federated,
    form,
    granted,
    key,
    maker,
    user,
)
from tests.support.upstream import Asked, Step, Upstream, reply

ACT = "/v1/projects/-/serviceAccounts/other@p.iam.gserviceaccount.com:generateAccessToken"


@pytest.fixture(name="made")
async def _made(tmp_path: Path) -> AsyncIterator[Made]:
    """Make chains that look for files in a folder of the test's."""
    client = Client()
    yield maker(client, tmp_path)
    await client.close()


def to_act() -> list[Step]:
    """Return a token of an impersonated account, which expires in an hour by the real clock."""
    ends = datetime.now(UTC) + timedelta(hours=1)
    return reply({"accessToken": "hidden.other", "expireTime": ends.strftime("%Y-%m-%dT%H:%M:%SZ")})


def claims(assertion: str) -> Json:
    """Return the claims of an assertion, after verifying its signature."""
    header, claimed, signed, mark = jwt._unverified_decode(assertion)
    key().public_key().verify(mark, signed, PKCS1v15(), SHA256())
    assert header == {"alg": "RS256", "typ": "JWT", "kid": "k1"}
    assert claimed.pop("exp") - claimed.pop("iat") == 3600
    return claimed


def heard(asked: Asked) -> Any:
    """Return the method, target, form and authorization of a request."""
    if asked.header("Content-Type") == "application/json":
        sent = {name: value for name, value in asked.json.items() if value is not None}
    else:
        sent = form(asked) if asked.method == "POST" else {}
    if "assertion" in sent:
        sent["assertion"] = claims(sent["assertion"])
    return asked.method, asked.target, sent, asked.header("Authorization")


async def test_a_users_refresh_token_is_traded(made: Made, upstream: Upstream) -> None:
    """The file of gcloud's login gives a token, by the request of google-auth alone."""
    upstream.answers(granted())
    info = user(f"{upstream.url}/token?a=b")
    assert await made(gcloud=info).get(NOW) == "hidden.1"
    theirs = User.from_authorized_user_info(info).with_token_uri(info["token_uri"])
    await asyncio.to_thread(theirs.refresh, Request())
    ours, others = map(heard, upstream.asked)
    assert ours == others
    assert ours[2]["refresh_token"] == "1//hidden-refresh"


async def test_a_service_accounts_key_signs(made: Made, upstream: Upstream) -> None:
    """A key file gives a token for a signed assertion, by the request of google-auth alone."""
    upstream.answers(granted())
    info = account(f"{upstream.url}/token")
    assert await made(named=info).get(NOW) == "hidden.1"
    theirs = ServiceAccount.from_service_account_info(info, scopes=[SCOPE])
    await asyncio.to_thread(theirs.refresh, Request())
    ours, others = map(heard, upstream.asked)
    assert ours == others
    assert ours[2]["assertion"] == {
        "iss": "robot@p.iam.gserviceaccount.com",
        "aud": "https://oauth2.googleapis.com/token",
        "scope": SCOPE,
    }
    issued = jwt._unverified_decode(form(upstream.asked[0])["assertion"])[1]["iat"]
    assert abs(issued - time.time()) < 60


@pytest.mark.parametrize("more", [{}, {"client_id": "c", "client_secret": "hidden"}, {"workforce": "9"}])
@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("acting", [False, True])
async def test_another_platforms_token_is_traded(
    made: Made, upstream: Upstream, tmp_path: Path, more: Json, as_json: bool, acting: bool
) -> None:
    """A token in a file is exchanged for Google's, or for that of an impersonated account, as by google-auth alone."""
    upstream.answers(granted(), *([to_act(), granted(), to_act()] if acting else []))
    token = tmp_path / "token"
    token.write_text(json.dumps({"t": "hidden.subject"}) if as_json else "hidden.subject")
    source: Json = {"file": str(token)}
    source |= {"format": {"type": "json", "subject_token_field_name": "t"}} if as_json else {}
    info = external(f"{upstream.url}/v1/token", source, **{k: v for k, v in more.items() if k != "workforce"})
    if "workforce" in more:
        info |= {
            "audience": "//iam.googleapis.com/locations/global/workforcePools/w/providers/i",
            "workforce_pool_user_project": "9",
        }
    if acting:
        info["service_account_impersonation_url"] = upstream.url + ACT
        info["service_account_impersonation"] = {"token_lifetime_seconds": 900}
    assert await made(named=info).get(NOW) == ("hidden.other" if acting else "hidden.1")
    theirs = identity_pool.Credentials.from_info(info).with_scopes([SCOPE])
    await asyncio.to_thread(theirs.refresh, Request())
    ours, others = upstream.asked[: len(upstream.asked) // 2], upstream.asked[len(upstream.asked) // 2 :]
    first, real = heard(ours[0]), heard(others[0])
    assert first == real
    assert first[2]["subject_token"] == "hidden.subject"
    assert list(map(heard, ours[1:])) == list(map(heard, others[1:]))
    if acting:
        assert heard(ours[1])[2:] == ({"scope": [SCOPE], "lifetime": "900s"}, "Bearer hidden.1")


async def test_another_platforms_service_is_asked(made: Made, upstream: Upstream) -> None:
    """A token may come from a service, requested anew for each refresh with the headers of the file."""
    upstream.answers(reply({"value": "hidden.a"}), granted("1", 60), reply({"value": "hidden.b"}), granted("2"))
    source = {
        "url": f"{upstream.url}/identity?audience=x",
        "headers": {"Authorization": "bearer hidden", "Metadata": "true"},
        "format": {"type": "json", "subject_token_field_name": "value"},
    }
    chain = made(named=external(upstream.url, source))
    assert [await chain.get(NOW + s) for s in (0, 59)] == ["hidden.1", "hidden.2"]
    asked, first, _, second = upstream.asked
    assert (asked.method, asked.target) == ("GET", "/identity?audience=x")
    assert (asked.header("Authorization"), asked.header("Metadata")) == ("bearer hidden", "true")
    assert (form(first)["subject_token"], form(second)["subject_token"]) == ("hidden.a", "hidden.b")


async def test_a_federated_users_refresh_token_is_traded(made: Made, upstream: Upstream) -> None:
    """The file of gcloud's login by another identity provider gives a token, by the request of google-auth alone."""
    upstream.answers(granted())
    info = federated(f"{upstream.url}/v1/oauthtoken")
    assert await made(gcloud=info).get(NOW) == "hidden.1"
    await asyncio.to_thread(FederatedUser.from_info(info).refresh, Request())
    ours, others = map(heard, upstream.asked)
    assert ours == others
    assert ours[3] == "Basic " + b64encode(b"c:hidden").decode()


@pytest.mark.parametrize("delegates", [None, ["between@p.iam.gserviceaccount.com"]])
async def test_an_account_is_acted_for(made: Made, upstream: Upstream, delegates: list[str] | None) -> None:
    """A file with source credentials gives a token of the impersonated account, as by google-auth alone."""
    upstream.answers(granted(), to_act(), granted(), to_act())
    info: Json = {
        "type": "impersonated_service_account",
        "source_credentials": account(f"{upstream.url}/token"),
        "service_account_impersonation_url": upstream.url + ACT,
        "delegates": delegates,
    }
    chain = made(named=info)
    assert await chain.get(NOW) == "hidden.other"
    theirs = impersonated_credentials.Credentials.from_impersonated_service_account_info(info, scopes=[SCOPE])
    theirs._iam_endpoint_override = upstream.url + ACT  # it asks Google where only the file says otherwise
    await asyncio.to_thread(theirs.refresh, Request())
    ours, others = upstream.asked[:2], upstream.asked[2:]
    assert heard(ours[1]) == heard(others[1])
    assert heard(ours[1])[2] == {"scope": [SCOPE], "lifetime": "3600s"} | (
        {"delegates": delegates} if delegates else {}
    )
    upstream.answers(granted("2"), to_act())
    assert await chain.get(NOW + 3600 - 225 - 60) == "hidden.other"  # less the real time that this test takes
    assert len(upstream.asked) == 4
    assert await chain.get(NOW + 3600 - 225) == "hidden.other"
    assert len(upstream.asked) == 6


FILE = {"file": "/no/such/token"}
OTHER = "https://example.com/x"


@pytest.mark.parametrize(
    ("info", "reason"),
    [
        ([], "holds no JSON object"),
        ("{hidden", "holds no JSON object"),
        ("[" * 100_000, "holds no JSON object"),
        ({}, "it lacks type"),
        ({"type": ["hidden"]}, "it lacks type"),
        (
            {"type": ["hidden"]} and {"type": "gdch_service_account"},
            "its type is 'gdch_service_account', and the supported types are",
        ),
        (user(OTHER, refresh_token="", client_secret=3), "it lacks client_secret, refresh_token"),
        (user("http://example.com/x"), "is neither https:// nor on this machine, and would get secrets"),
        (user("http://127.0.0.1.example.com/x"), "is neither https:// nor on this machine, and would get secrets"),
        (user("http://169.254.169.254/x"), "is neither https:// nor on this machine, and would get secrets"),
        (user("file:///etc/passwd"), "the URL of the token service is not valid"),
        (user("https://u:hidden@example.com/"), "the URL of the token service is not valid"),
        (user(["hidden"]), "or the response of its token service, is malformed (TypeError)"),  # type: ignore[arg-type]
        (user("http://127.0.0.1:9/", refresh_token="\ud800"), "one of its texts cannot be sent"),
        (user("http://127.0.0.1:9/a b"), "the settings for 127.0.0.1 make no valid request"),
        (account(OTHER, private_key="hidden"), "Unable to load PEM file"),
        (account(OTHER, private_key=None, client_email=None), "it lacks client_email, private_key"),
        (account("http://example.com/x"), "example.com is neither https:// nor on this machine"),
        (external(OTHER, FILE), "File '/no/such/token' was not found"),
        (external(OTHER, {"file": "/"}), "/ cannot be read: Is a directory"),
        (external(OTHER, {}), "it lacks credential_source"),
        (external(OTHER, {"x": 1}), "A 'file', 'url', or 'certificate' must be provided"),
        (external(OTHER, []), "it lacks credential_source"),  # type: ignore[arg-type]
        (external(OTHER, {"environment_id": "aws1"}), "credential_source field 'environment_id'"),
        (external(OTHER, {"executable": {"command": "hidden"}}), "Executables need to be explicitly allowed"),
        (external(OTHER, {"url": "http://example.com/"}), "example.com is neither https:// nor on this machine"),
        (external(OTHER, {"url": OTHER, "headers": ["hidden"]}), "is malformed (AttributeError)"),
        (external(OTHER, {"url": "http://[::1]:9/", "headers": {"a": "b\r\nhidden"}}), "make no valid request"),
        (external("http://example.com/x", {"file": __file__}), "example.com is neither https:// nor on this machine"),
        (external(OTHER, FILE, audience=None), "it lacks audience"),
        ({"type": "impersonated_service_account"}, "it lacks service_account_impersonation_url, source_credentials"),
        (
            {
                "type": "impersonated_service_account",
                "service_account_impersonation_url": OTHER,
                "source_credentials": {"type": "impersonated_service_account"},
            },
            "source credential of type impersonated_service_account is not supported",
        ),
        (
            {
                "type": "impersonated_service_account",
                "service_account_impersonation_url": OTHER,
                "source_credentials": user("https://example.com"),
            },
            "Cannot extract target principal",
        ),
    ],
)
async def test_what_cannot_work_is_named(made: Made, tmp_path: Path, info: Any, reason: str) -> None:
    """The error names the file and its fault, nothing is sent, and no secret is in it."""
    error = await failure(made(named=info))
    assert reason in error.message
    assert f"{tmp_path}/key.json" in error.message
    assert (error.kind, error.status) == (Kind.AUTH, 401)


@pytest.mark.parametrize(
    ("answer", "reason", "kind"),
    [
        (
            reply({"error": "invalid_grant", "error_description": "Token has been\n revoked."}, "400 Bad Request"),
            "answered 400, invalid_grant: Token has been revoked; run `gcloud auth application-default login`. Looked",
            Kind.AUTH,
        ),
        (
            reply({"error": {"code": 403, "status": "PERMISSION_DENIED", "message": "not you"}}, "403 Forbidden"),
            "answered 403, PERMISSION_DENIED: not you; run",
            Kind.AUTH,
        ),
        (
            reply(
                {"error": "x", "error_description": "1//hidden-refresh 1%2F%2Fhidden-refresh hidden/secret\x1b"},
                "400 B",
            ),
            "answered 400, x: [redacted] [redacted] [redacted]; run",
            Kind.AUTH,
        ),
        (reply({"error": ["hidden"], "error_description": 3}, "401 No"), "127.0.0.1 answered 401; run", Kind.AUTH),
        (reply(b"<hidden>", "404 Not Found"), "127.0.0.1 answered 404; run", Kind.AUTH),
        (reply({"error": "internal_failure"}, "400 B"), "answered 400, internal_failure. Looked", Kind.SENDING),
        (reply(b"", "503 Busy"), "answered 503. Looked", Kind.SENDING),
        (reply({"error": "slow_down"}, "429 Slow"), "answered 429, slow_down. Looked", Kind.SENDING),
        (reply(b"hidden"), "the response of its token service, is malformed", Kind.AUTH),
        (reply(b"[" * 100_000), "is malformed (RecursionError)", Kind.AUTH),
        (reply({"access_token": ["hidden"]}), "gave no access token", Kind.AUTH),
        (reply({"access_token": "hidden\r\nx: y"}), "gave no access token", Kind.AUTH),
        (granted(seconds="soon"), "invalid literal for int()", Kind.AUTH),
        (granted(seconds=0), "gave a token that has expired", Kind.AUTH),
        (granted(seconds=float("nan")), "cannot convert float NaN", Kind.AUTH),
        (reply(bytes(1024 * 1024 + 1)), "127.0.0.1 answered with more than 1048576 bytes", Kind.AUTH),
        (
            [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi", "reset"],
            "gave no answer (ConnectionClosed)",
            Kind.SENDING,
        ),
    ],
)
async def test_a_refusal_is_reported(made: Made, upstream: Upstream, answer: Any, reason: str, kind: Kind) -> None:
    """The service's own reason is in the error, without the secrets it was sent; its kind says if a retry may help."""
    upstream.answers(answer)
    error = await failure(made(gcloud=user(upstream.url)))
    assert reason in error.message
    assert error.kind is kind


@pytest.mark.parametrize("of", [user, account, federated, external])
async def test_secrets_that_were_sent_are_in_no_error(made: Made, upstream: Upstream, tmp_path: Path, of: Any) -> None:
    """If a token service echoes the whole request in its error, no secret of it is in ours."""

    def said_back(asked: Asked) -> list[Step]:
        words = [*form(asked).values(), asked.body.decode(), *(value for _, value in asked.headers)]
        return reply({"error": "e", "error_description": " ".join(sorted(words, key=len))}, "400 Bad Request")

    (tmp_path / "token").write_text("hidden.subject")
    source = {"file": str(tmp_path / "token")}
    info = of(upstream.url, source, client_id="c", client_secret="hidden") if of is external else of(upstream.url)
    upstream.answer = said_back
    told = (await failure(made(named=info))).message
    assert "answered 400, e: " in told
    (asked,) = upstream.asked
    secrets = [form(asked).get("assertion"), (asked.header("Authorization") or "").removeprefix("Basic ")]
    assert not any(secret[:30] in told for secret in secrets if secret)


@pytest.mark.parametrize(
    ("answers", "reason", "kind"),
    [
        ([reply(b"hidden", "404 Not Found")], "127.0.0.1 answered 404", Kind.AUTH),
        ([reply(b"hidden", "500 Broken")], "127.0.0.1 answered 500", Kind.SENDING),
        ([reply({"x": "hidden"})], "Unable to parse subject_token", Kind.AUTH),
        (
            [reply({"t": "hidden+t"}), reply({"error": "e", "error_description": "hidden+t"}, "400 B")],
            "127.0.0.1 answered 400, e: [redacted]",
            Kind.AUTH,
        ),
        (
            [reply({"t": "t"}), granted(), reply({"error": {"message": "hidden.1 may not"}}, "403 F")],
            "127.0.0.1 answered 403, [redacted] may not",
            Kind.AUTH,
        ),
        (
            [reply({"t": "t"}), granted(), reply({"accessToken": "hidden"})],
            "No access token or invalid expiration in response",
            Kind.AUTH,
        ),
        (
            [reply({"t": "t"}), granted(), reply({"accessToken": "hidden", "expireTime": "x"})],
            "No access token or invalid expiration in response",
            Kind.AUTH,
        ),
        (
            [reply({"t": "t"}), granted(), reply({"accessToken": "hidden", "expireTime": "2020-01-01T00:00:00Z"})],
            "gave a token that has expired",
            Kind.AUTH,
        ),
        ([reply({"t": "t"}), granted(), reply({"expireTime": "2096-10-02T07:06:40Z"})], "No access token", Kind.AUTH),
    ],
)
async def test_each_step_of_an_exchange_may_be_refused(
    made: Made, upstream: Upstream, answers: list[Any], reason: str, kind: Kind
) -> None:
    """The step that failed is named, without the token of an earlier one."""
    upstream.answers(*answers)
    source = {"url": upstream.url, "format": {"type": "json", "subject_token_field_name": "t"}}
    acting = {"service_account_impersonation_url": upstream.url + ACT}
    error = await failure(made(named=external(upstream.url, source, **acting)))
    assert reason in error.message
    assert error.kind is kind
    assert len(upstream.asked) == len(answers)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)


# How long an example takes is the machine's affair.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@unhurried
@given(given_=st.dictionaries(st.sampled_from(["access_token", "expires_in", "x"]), JSON))
def test_whatever_is_granted_is_a_good_token_or_refused(given_: Json) -> None:
    """Any response gives a token that can be sent and has not expired, or a CredentialError."""
    try:
        token = _token(given_.get("access_token"), given_.get("expires_in"), "x", NOW)
    except CredentialError:
        return
    assert token.access_token.encode("ascii").isalnum() or token.access_token.isprintable()
    assert token.expires is None or token.expires >= NOW
    assert repr(token) == "<Token>"


SETTINGS = {
    **user("http://localhost:9/"),
    **account("http://localhost:9/", private_key="x"),
    **external("http://localhost:9/", FILE),
    "service_account_impersonation_url": "http://localhost:9/",
    "source_credentials": user("ftp://x"),
}


@unhurried
@given(data=st.data())
def test_whatever_a_file_holds_is_refused_in_words(data: st.DataObject) -> None:
    """A file of any type with any values in it raises CredentialError and nothing else."""
    types = ["authorized_user", "service_account", "external_account", "impersonated_service_account"]
    info = {name: data.draw(st.just(value) | JSON | st.just("\ud800")) for name, value in SETTINGS.items()}
    info["type"] = data.draw(st.sampled_from([*types, "external_account_authorized_user"]))

    async def refused() -> None:
        client = Client()
        with pytest.raises(CredentialError):
            await asyncio.to_thread(google_files.exchange, info, client, asyncio.get_running_loop())
        await client.close()

    asyncio.run(refused())


def test_a_token_is_not_shown() -> None:
    """The repr of a token does not contain it."""
    assert repr(Token(access_token="hidden")) == "<Token>"
