"""The path of an exchange over real sockets: authorization, its body, the request sent upstream, and its one end."""

import asyncio
import gzip
import json
import random
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from gateway.dialects.openai_chat.stream_usage import UsageFilter
from gateway.dialects.wire.content_coding import READ_MAX_OF_FEW, STRINGS_MAX, zstd
from tests.support.gateway_errors import gateway_error
from tests.support.gateways import InProcess, to
from tests.support.raw_http import connected, exchange, request
from tests.support.upstream import Upstream, reply, stream

PATHS = {"openai": "/v1/chat/completions", "anthropic": "/v1/messages"}
JSON = ("Content-Type", "application/json")
CHAT = b'{"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "hi"}]}'
TOKEN = "the-gateways-token"


def post(body: bytes = CHAT, *headers: tuple[str, str | bytes], path: str = PATHS["openai"]) -> bytes:
    """Return a request's bytes."""
    return request("POST", path, [JSON, *headers], body)


# Authorization.

ADMITTED: dict[str, tuple[list[tuple[str, str]], list[tuple[str, str]]]] = {
    "beside a key of its own": (
        [("x-gateway-token", TOKEN), ("Authorization", "Bearer sk-client")], [("Authorization", "Bearer sk-client")],
    ),
    "in the place of a key": ([("Authorization", f"Bearer {TOKEN}")], []),
    "in the place of Anthropic's key": ([("x-api-key", TOKEN)], []),
    "in one place, a key in the other": (
        [("authorization", f"Bearer {TOKEN}"), ("X-Api-Key", "sk-client")], [("X-Api-Key", "sk-client")],
    ),
}  # fmt: skip
REFUSED: dict[str, list[tuple[str, str | bytes]]] = {
    "nothing": [],
    "a key": [("Authorization", "Bearer sk-client")],
    "another token": [("x-gateway-token", TOKEN[:-1])],
    "an empty one": [("x-gateway-token", "")],
    "the token as another header": [("Cookie", TOKEN)],
    "bytes": [("x-gateway-token", b"\xe9\xff")],
}


@pytest.mark.parametrize("name", ADMITTED)
async def test_the_token_admits_and_stays_here(name: str, upstream: Upstream, tmp_path: Path):
    """Our token lets a client in, in each place it may be given, and is not sent on; the client's own key is."""
    headers, sent = ADMITTED[name]
    async with InProcess(tmp_path / "data", to(upstream.url), token=TOKEN) as gateway:
        assert (await exchange(gateway.url, post(CHAT, *headers))).status == 200
        keys = {"authorization", "x-api-key", "x-gateway-token"}
        assert [header for header in upstream.asked[0].headers if header[0].lower() in keys] == sent
        assert TOKEN not in str(upstream.asked)
        assert TOKEN not in json.dumps(gateway.rows())


@pytest.mark.parametrize("family", PATHS)
@pytest.mark.parametrize("name", REFUSED)
async def test_without_the_token_nothing_is_sent(name: str, family: str, upstream: Upstream, tmp_path: Path):
    """A client without our token gets 401 in its dialect, and its exchange is recorded."""
    async with InProcess(tmp_path / "data", to(upstream.url), token=TOKEN) as gateway:
        answer = await exchange(gateway.url, post(CHAT, *REFUSED[name], path=PATHS[family]))
        assert answer.status == 401
        error = gateway_error(answer, family)
        assert error["type"] == "authentication_error"
        assert "$.auth.token" in error["message"]
        assert TOKEN not in error["message"]
        assert upstream.asked == []
        assert gateway.exchange()["outcome"] == "auth"


# Upgrades.

UPGRADE = [
    ("Connection", "Upgrade"),
    ("Upgrade", "WebSocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
]


@pytest.mark.parametrize(
    "path", ["/v1/responses", "/responses", "/openai/v1/responses", "/v1/realtime?model=gpt-realtime"]
)
async def test_a_websocket_is_refused_at_once(path: str, upstream: Upstream, gateway: InProcess):
    """A client that tries WebSocket first gets 426, and may go on by HTTP on the same connection."""
    async with connected(gateway.url) as connection:
        await connection.send(request("GET", path, UPGRADE))
        answer = await connection.answer()
        assert (answer.status, answer.values(b"upgrade")) == (426, [b"HTTP/1.1"])
        assert gateway_error(answer, "openai", traced=False)["code"] == "websocket_unsupported"
        assert upstream.asked == []
        assert gateway.rows() == []
        await connection.send(post(path="/v1/chat/completions"))
        assert (await connection.answer()).status == 200
    assert len(upstream.asked) == 1


STRAYS = [
    ("GET", "/favicon.ico"),
    ("GET", "/robots.txt"),
    ("HEAD", "/"),
    ("GET", "/inference-profiles?type=SYSTEM_DEFINED"),
    ("GET", "/.env"),
    ("POST", "/wp-login.php"),
    ("POST", "/v1/newest"),
    ("POST", "/v1/profiles"),
    ("POST", "/openai/v1/profiles"),
    ("POST", "/openai/v1development/profiles"),
]


async def test_strays_are_no_exchanges(upstream: Upstream, tmp_path: Path):
    """Browsers', scanners' and exporters' paths are sent to no provider and leave no row, with a token or not."""
    ours = {"OPENAI_API_KEY": "of-the-environment-0001"}
    for token in (None, TOKEN):
        async with InProcess(tmp_path / str(token), to(upstream.url), ours, token=token) as gateway:
            for method, path in STRAYS:
                answer = await exchange(gateway.url, request(method, path, [JSON], b"{}" if method == "POST" else b""))
                assert answer.status == (200 if method == "HEAD" else 401 if token else 404)
            own = [("Authorization", "Bearer sk-proj-0123456789abcdef")]
            sent = await exchange(gateway.url, request("POST", "/v1/newest", [JSON, *own], b"{}"))
            assert sent.status == (401 if token else 200)
            assert len(gateway.rows("SERVER")) == (0 if token else 1)
    assert [asked.target for asked in upstream.asked] == ["/v1/newest"]
    assert upstream.asked[0].header("authorization") == "Bearer sk-proj-0123456789abcdef"


async def test_a_refusal_of_a_stray_repeats_no_key(upstream: Upstream, gateway: InProcess):
    """A key that the request came with, and that is in its path too, is redacted from the error."""
    key = "own-0123456789-0123456789"
    answer = await exchange(gateway.url, request("GET", f"/v1/newest/{key}", [("Authorization", f"Bearer {key}")]))
    assert answer.status == 404
    assert key.encode() not in answer.body
    assert upstream.asked == []


async def test_a_client_that_waits_for_leave_to_send(upstream: Upstream, gateway: InProcess):
    """A client that expects 100 Continue gets it before it sends its body."""
    async with connected(gateway.url) as connection:
        head, _, body = post(CHAT, ("Expect", "100-continue")).partition(b"\r\n\r\n")
        await connection.send(head + b"\r\n\r\n")
        assert await connection.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await connection.send(body)
        assert (await connection.answer()).status == 200
    assert upstream.asked[0].body == CHAT
    assert upstream.asked[0].header("Expect") is None


# The body that is read, and the one that is sent.

LARGE = {
    "bytes": b'{"model": "m", "messages": [{"role": "user", "content": "%b"}]}' % (b"a" * READ_MAX_OF_FEW),
    "strings": b'{"model": "m", "messages": [%b {}]}' % (b'{"role": "user"},' * (STRINGS_MAX // 2)),
}


@pytest.mark.parametrize("coding", [None, "zstd"])
@pytest.mark.parametrize("name", LARGE)
async def test_a_body_too_large_for_the_loop_is_relayed_unread(
    name: str, coding: str, upstream: Upstream, gateway: InProcess
):
    """What would hold up others is sent on untouched; the span says that it was not read, and still its model."""
    body = LARGE[name] if coding is None else zstd.compress(LARGE[name])
    assert (await exchange(gateway.url, post(body, *([("Content-Encoding", coding)] if coding else [])))).status == 200
    assert upstream.asked[0].body == body
    assert gateway.exchange()["attributes"]["gateway.request.unread"] == "too large"
    assert gateway.exchange()["request_model"] == gateway.attempt()["request_model"] == "m"
    assert "input_messages" not in gateway.attempt()


async def test_what_is_read_is_not_said_to_be_unread(gateway: InProcess):
    """A body of usual size is read, and nothing is said of it."""
    await exchange(gateway.url, post())
    assert "gateway.request.unread" not in gateway.exchange().get("attributes", {})
    assert gateway.attempt()["input_messages"]


SPACED = b'\n{ "messages":[ ] , "n": 1.0,"model" :\t"%b", "model_": "openai/x", "\xc3\xa9": 1e3 }\n'


@pytest.mark.parametrize("coding", [None, "gzip", "zstd"])
async def test_a_prefix_changes_one_value(coding: str | None, upstream: Upstream, gateway: InProcess):
    """A provider's prefix is taken off the model, and no other byte is changed; a coding is given up for it."""
    body, sent = SPACED % b"openai/gpt-5", SPACED % b"gpt-5"
    coded = {None: bytes, "gzip": gzip.compress, "zstd": zstd.compress}[coding](body)
    headers = [("Content-Encoding", coding)] if coding else []
    assert (await exchange(gateway.url, post(coded, *headers))).status == 200
    (asked,) = upstream.asked
    assert asked.body == sent
    assert asked.header("Content-Encoding") is None
    assert asked.header("Content-Length") == str(len(sent))
    assert gateway.attempt()["request_model"] == "gpt-5"
    assert gateway.exchange()["request_model"] == "openai/gpt-5"


@pytest.mark.parametrize(
    "more", [b'"stream_options": null', b'"stream_options": {"include_usage": false}', b'"stream": false']
)
async def test_usage_is_not_asked_for_where_the_client_spoke_of_it(more: bytes, upstream: Upstream, gateway: InProcess):
    """Whatever the client says of stream_options, and what is no stream, stays as it is."""
    body = b'{"model": "m", "messages": [], "stream": true, %b}' % more
    await exchange(gateway.url, post(body))
    assert upstream.asked[0].body == body


async def test_usage_is_not_asked_for_where_that_is_turned_off(upstream: Upstream, tmp_path: Path):
    """With `[usage] ask = false` a stream's request goes up as it is."""
    body = b'{"model": "m", "messages": [], "stream": true}'
    async with InProcess(tmp_path / "data", to(upstream.url, "[usage]\nask = false\n")) as gateway:
        await exchange(gateway.url, post(body))
    assert upstream.asked[0].body == body


# The end of an exchange.


async def test_a_stop_ends_what_is_in_flight(upstream: Upstream, tmp_path: Path):
    """A stream that does not end within the drain time is broken off and recorded as stopped, not as left."""
    event = b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
    upstream.answers(stream([event, 30.0]))
    gateway = InProcess(tmp_path / "data", to(upstream.url, "[limits]\ndrain_seconds = 0.1\n"))
    running = AsyncExitStack()
    await running.enter_async_context(gateway)
    async with connected(gateway.url) as connection:
        await connection.send(post(b'{"model": "m", "stream": true, "stream_options": {}}'))
        await connection.head()
        assert await connection.piece() == event
        stopping = asyncio.get_running_loop().create_task(running.aclose())
        assert await connection.rest() == b""
        assert not connection.whole
        await stopping
    await upstream.left()
    assert (gateway.attempt()["outcome"], gateway.exchange()["outcome"]) == ("shutdown", "shutdown")


class _Broken(random.Random):
    """A random generator that fails when a wait needs its jitter."""

    def random(self) -> float:
        raise ZeroDivisionError


@pytest.mark.parametrize("family", PATHS)
async def test_a_bug_of_ours_ends_the_exchange(family: str, upstream: Upstream, gateway: InProcess):
    """If the gateway itself fails, the client gets an error in its dialect, and the exchange is recorded as failed."""
    upstream.answers(reply({}, "500 No"))
    gateway._worker._proxy._rng = _Broken()
    answer = await exchange(gateway.url, post(path=PATHS[family]))
    assert answer.status == 500
    assert "log" in gateway_error(answer, family)["message"]
    assert "ZeroDivisionError" not in answer.body.decode()
    assert [row["outcome"] for row in gateway.rows()] == ["server", "generic"]
    assert gateway.journal.in_flight == 0


async def test_a_fault_within_a_body_breaks_it_off(
    upstream: Upstream, gateway: InProcess, monkeypatch: pytest.MonkeyPatch
):
    """A failure of the gateway after the first byte cuts the body off: no second head and no error object in it."""
    event = b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
    passed, gate = UsageFilter.feed, asyncio.Event()

    def feed(self: UsageFilter, data: bytes) -> bytes:
        if gate.is_set():
            raise ZeroDivisionError
        return passed(self, data)

    monkeypatch.setattr(UsageFilter, "feed", feed)
    upstream.answers(stream([event, gate, event, 30.0]))
    async with connected(gateway.url) as connection:
        await connection.send(post(b'{"model": "m", "stream": true, "messages": []}'))
        assert (await connection.head())[0] == 200
        assert await connection.piece() == event
        gate.set()
        assert await connection.rest() == b""
        assert not connection.whole
    assert [row["outcome"] for row in gateway.rows()] == ["generic", "generic"]
    assert gateway.journal.in_flight == 0


async def test_exchanges_side_by_side_keep_to_themselves(upstream: Upstream, gateway: InProcess):
    """Many requests at once each get their own answer, and each is one exchange with one attempt."""
    upstream.answer = lambda asked: reply(asked.body)
    bodies = [b'{"model": "m-%d", "messages": ["%b"]}' % (n, b"x" * (n * 997 % 50_000)) for n in range(100)]
    answers = await asyncio.gather(*(exchange(gateway.url, post(body)) for body in bodies))
    assert [answer.body for answer in answers] == bodies
    rows = gateway.rows()
    assert sorted(row["request_model"] for row in rows if row["kind"] == "SERVER") == sorted(
        f"m-{n}" for n in range(100)
    )
    assert len({row["trace_id"] for row in rows}) == 100
    assert len(rows) == 200
    assert gateway.journal.in_flight == 0
