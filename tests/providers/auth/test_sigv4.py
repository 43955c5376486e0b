import string
from urllib.parse import quote

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials
from hypothesis import given
from hypothesis import strategies as st

from gateway.providers.auth.sigv4 import Credentials, sign
from tests.support.aws import seconds

NOW = 1_788_888_888.9
KEY = Credentials(access_key="AKIDEXAMPLE", secret_key="wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
MODELS = [
    "anthropic.claude-3-haiku-20240307-v1:0",
    "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
    "arn:aws:bedrock:us-east-1:123456789012:inference-profile/eu.amazon.nova-pro-v1:0",
    "arn:aws:sagemaker:us-west-2:123456789012:endpoint/My-Endpoint",
    "a b/ü~%2F",
]
PATHS = st.one_of(
    st.sampled_from(MODELS).map(lambda model: f"/model/{quote(model, safe='')}/converse-stream"),
    st.sampled_from(MODELS).map(lambda model: f"/model/{quote(model, safe='-._~:')}/converse"),
    st.text("abc/.~%:+ä=@!$,;-_'()*", max_size=30).map(lambda path: "/" + path),
)
QUERIES = st.lists(st.text("abc=%20+-~:/", max_size=10), max_size=5).map("&".join)
VALUES = st.text("abc XYZ\t09,;=/+ä世", max_size=30)
NAMES = st.sampled_from(
    (
        "Content-Type content-type Accept X-Amzn-Bedrock-Trace x-amz-meta-a X-B Host Expect User-Agent X-Amzn-Trace-Id "
        "Transfer-Encoding Authorization X-Amz-Date"
    ).split()
)
HEADERS = st.lists(st.tuples(NAMES, VALUES), max_size=8)
SECRETS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=50)


def botocores(
    method: str, url: str, headers: list[tuple[str, str]], body: bytes, credentials: Credentials, region: str
) -> AWSRequest:
    """Sign by botocore, at the present time."""
    request = AWSRequest(method, url, data=body)
    for name, value in headers:
        request.headers.add_header(name, value)
    key = BotocoreCredentials(credentials.access_key, credentials.secret_key, credentials.token)
    SigV4Auth(key, "bedrock", region).add_auth(request)
    return request


@given(
    method=st.sampled_from(["POST", "GET", "put"]),
    host=st.sampled_from(["bedrock-runtime.us-east-1.amazonaws.com", "127.0.0.1:9000", "[::1]:9000"]),
    path=PATHS,
    query=QUERIES,
    headers=HEADERS,
    body=st.binary(max_size=100),
    region=st.sampled_from(["us-east-1", "eu-central-2", "cn-north-1"]),
    token=st.none() | st.text(string.printable, max_size=50),
    secret=SECRETS,
)
def test_a_signature_is_botocores(
    method: str,
    host: str,
    path: str,
    query: str,
    headers: list[tuple[str, str]],
    body: bytes,
    region: str,
    token: str | None,
    secret: str,
) -> None:
    """Paths with escapes, queries, headers, bodies and tokens are signed as botocore signs them, byte for byte."""
    url = f"https://{host}{path}" + (f"?{query}" if query else "")
    credentials = Credentials(access_key="AKIDEXAMPLE", secret_key=secret, token=token)
    theirs = botocores(method, url, headers, body, credentials, region)
    ours = sign(
        method,
        host,
        path,
        query,
        [(name.encode(), value.encode()) for name, value in headers],
        body,
        credentials,
        region=region,
        service="bedrock",
        now=seconds(theirs.headers["X-Amz-Date"]) + 0.9,
    )
    assert ours[-1] == (b"Authorization", theirs.headers["Authorization"].encode())
    named = {name.lower(): value for name, value in ours}
    assert named[b"x-amz-date"].decode() == theirs.headers["X-Amz-Date"]
    assert named.get(b"x-amz-security-token", b"").decode() == (theirs.headers["X-Amz-Security-Token"] or "")


def test_an_earlier_signature_is_replaced() -> None:
    """A signed request has one date, one token and one signature, and all other headers unchanged."""
    replaced = [b"authorization", b"X-AMZ-DATE", b"date", b"x-amz-security-token", b"X-Amz-Content-Sha256"]
    old = [(name, b"old") for name in replaced]
    kept = [(b"Content-Type", b"application/json"), (b"X-B", b"1"), (b"X-B", b"2")]
    sent = sign("POST", "h", "/", "", [*old, *kept], b"{}", KEY, region="r", service="s", now=NOW)
    assert sent[:3] == kept
    assert [name for name, _ in sent[3:]] == [b"X-Amz-Date", b"Authorization"]
    assert sent[3][1] == b"20260908T173448Z"
    assert sent == sign("POST", "h", "/", "", sent, b"{}", KEY, region="r", service="s", now=NOW)


@pytest.mark.parametrize("changed", ["method", "host", "path", "query", "headers", "body", "region", "service", "now"])
def test_all_of_a_request_is_signed(changed: str) -> None:
    """A request that differs in any part has another signature."""
    request = {"method": "POST", "host": "h", "path": "/a", "query": "b=1", "headers": [(b"c", b"2")], "body": b"d"}
    request |= {"credentials": KEY, "region": "r", "service": "s", "now": NOW}
    other = {"method": "PUT", "host": "i", "path": "/b", "query": "b=2", "headers": [(b"c", b"3")], "body": b"e"}
    other |= {"region": "q", "service": "t", "now": NOW + 1}
    assert sign(**request)[-1] != sign(**request | {changed: other[changed]})[-1]


def test_a_secret_is_not_shown() -> None:
    """Credentials name the key's id, and neither the secret nor the token."""
    shown = repr(Credentials(access_key="AKID", secret_key="hidden", token="hidden too"))
    assert shown == "<Credentials AKID>"
