import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.providers.auth.refresh import CredentialError
from gateway.providers.auth.token_request import TokenResponse, json_object, request, split_url
from gateway.providers.http.client import Client, ConnectFailed
from tests.support.upstream import CLOSE, Upstream, reply


@pytest.fixture(name="client")
async def _client() -> AsyncIterator[Client]:
    client = Client()
    yield client
    await client.close()


async def test_a_whole_response_is_returned(client: Client, upstream: Upstream) -> None:
    """Method, target, headers and body are sent as given; header names come back in lower case."""
    upstream.answers(reply(b"hidden", "201 Created", [("X-Answer", "a")]))
    response = await request(client, "POST", f"{upstream.url}/t?a=b", [("X-Ask", "b")], b"body")
    assert (response.status, response.data, response.headers["x-answer"]) == (201, b"hidden", "a")
    assert repr(response) == "<TokenResponse 201>"
    (asked,) = upstream.asked
    assert (asked.method, asked.target, asked.header("X-Ask"), asked.body) == ("POST", "/t?a=b", "b", b"body")


@pytest.mark.parametrize(
    ("url", "origin", "target"),
    [
        ("http://h", "h:80", "/"),
        ("https://h/p?q=1", "h:443", "/p?q=1"),
        ("http://[::1]:9/", "[::1]:9", "/"),
    ],
)
def test_a_url_is_split(url: str, origin: str, target: str) -> None:
    """An origin and a target with its query."""
    found, path = split_url(url)
    assert (str(found), path) == (origin, target)


@pytest.mark.parametrize("url", ["", "ftp://h/", "http://", "http://u:hidden@h/", "http://[::1/", "http://h:x/"])
def test_what_is_no_url_is_refused(url: str) -> None:
    """The error does not repeat the URL, which may have a password."""
    with pytest.raises(CredentialError, match="the URL of the token service is not valid") as raised:
        split_url(url)
    assert not raised.value.retryable


async def test_the_network_s_errors_may_be_retried(client: Client) -> None:
    """The error names the host; its cause is the client's own error."""
    with pytest.raises(CredentialError, match=r"^127.0.0.1 gave no answer \(ConnectFailed\)$") as raised:
        await request(client, "GET", "http://127.0.0.1:9/")
    assert raised.value.retryable
    assert isinstance(raised.value.__cause__, ConnectFailed)


async def test_a_request_on_a_stale_connection_is_sent_once_more(client: Client, upstream: Upstream) -> None:
    """A kept connection that was closed costs no error: a token may be requested twice."""
    upstream.answers(reply({"a": 1}), [CLOSE], reply({"a": 2}))
    for number in (1, 2):
        assert json_object((await request(client, "POST", f"{upstream.url}/token")).data) == {"a": number}
    assert len(upstream.asked) == 3


async def test_the_whole_request_has_a_time_limit(client: Client, upstream: Upstream) -> None:
    """A service that sends a byte now and then is given up after `seconds`."""
    upstream.answers([b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", *([b"x", 0.1] * 8), asyncio.Event()])
    with pytest.raises(CredentialError, match="TimeoutError") as raised:
        await request(client, "GET", upstream.url, seconds=0.3)
    assert raised.value.retryable


async def test_a_large_response_is_not_collected(client: Client, upstream: Upstream) -> None:
    """More than 1 MiB is refused."""
    upstream.answers(reply(bytes(1024 * 1024)), reply(bytes(1024 * 1024 + 1)))
    assert len((await request(client, "GET", upstream.url)).data) == 1024 * 1024
    with pytest.raises(CredentialError, match="answered with more than 1048576 bytes"):
        await request(client, "GET", upstream.url)


async def test_a_header_that_cannot_be_sent_is_refused(client: Client, upstream: Upstream) -> None:
    """Nothing is sent, and the value is not repeated."""
    with pytest.raises(CredentialError, match=r"^the settings for 127.0.0.1 make no valid request$"):
        await request(client, "GET", upstream.url, [("a", "b\r\nhidden: x")])
    assert upstream.asked == []


@pytest.mark.parametrize(
    ("status", "retryable"),
    [(200, False), (400, False), (403, False), (408, True), (429, True), (499, False), (500, True), (503, True)],
)
def test_some_statuses_may_be_retried(status: int, retryable: bool) -> None:
    """Failures of the service, its time-outs and its rate limits."""
    assert TokenResponse(status, {}, b"").retryable is retryable


@pytest.mark.parametrize(
    ("data", "value"), [(b'{"a": 1}', {"a": 1}), (b"[1]", {}), (b"{", {}), (b"[" * 100_000, {}), (b"\xff", {})]
)
def test_what_is_no_object_is_an_empty_one(data: bytes, value: dict[str, int]) -> None:
    """Only a JSON object is one."""
    assert json_object(data) == value
