"""Clients that half-close, leave, or send a head slowly: their connections, over real sockets."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.config.model import parse
from tests.support.gateways import InProcess, to
from tests.support.raw_http import PATIENCE, Connection, connected, exchange, request
from tests.support.sdks import FOREVER
from tests.support.upstream import Asked, Step, Upstream, reply, stream

CHAT: dict[str, Any] = {"model": "gpt-5", "messages": [{"role": "user", "content": "hi"}]}
JSON = [("Content-Type", "application/json")]


def chat(**more: Any) -> bytes:
    """Return a chat request."""
    return request("POST", "/v1/chat/completions", JSON, json.dumps(CHAT | more).encode())


async def everything(connection: Connection) -> bytes:
    """Return all bytes until the gateway closes the connection."""
    async with asyncio.timeout(PATIENCE):
        return await connection.reader.read(-1)


EVENTS = [b'data: {"choices":[{"index":0,"delta":{"content":"h"}}]}\n\n', b"data: [DONE]\n\n"]


@pytest.mark.parametrize(
    "steps",
    [reply({"id": 1}), stream(EVENTS), stream([EVENTS[0], 0.7, EVENTS[1]]), [0.7, *reply({"id": 1})]],
    ids=["whole", "stream", "a stream with a pause", "late"],
)
async def test_a_client_that_has_finished_sending_gets_its_answer(
    steps: list[Step], upstream: Upstream, gateway: InProcess
):
    """A whole answer follows `shutdown(SHUT_WR)`, and then the end of the connection; it is a success."""
    upstream.answers(steps)
    sent = chat(stream=True)
    async with connected(gateway.url) as connection:
        await connection.send(sent)
        connection.writer.write_eof()
        answer = await connection.answer()
        assert (answer.status, answer.whole) == (200, True)
        assert answer.body in {b"".join(EVENTS), b'{"id": 1}'}
        assert await everything(connection) == b""
    assert gateway.exchange()["outcome"] == "ok"


@pytest.mark.parametrize("pause", [0.0, 0.7])
async def test_the_end_may_come_within_the_response(pause: float, upstream: Upstream, gateway: InProcess):
    """A client may finish sending when it has a part of the response; the rest follows, after a pause as well."""
    more = asyncio.Event()
    upstream.answers(stream([EVENTS[0], more, pause, EVENTS[1]]))
    async with connected(gateway.url) as connection:
        await connection.send(chat(stream=True))
        assert (await connection.head())[0] == 200
        assert await connection.piece() == EVENTS[0]
        connection.writer.write_eof()
        await asyncio.sleep(0.02)
        more.set()
        assert (await connection.rest(), connection.whole) == (EVENTS[1], True)
        assert await everything(connection) == b""
    assert gateway.exchange()["outcome"] == "ok"


async def test_requests_in_a_row_are_all_answered(upstream: Upstream, gateway: InProcess):
    """Pipelined requests that came whole before the end of the stream are answered in order."""
    upstream.answer = lambda asked: [0.05, *reply({"target": asked.target})]
    async with connected(gateway.url) as connection:
        await connection.send(b"".join(request("GET", f"/v1/models/{n}") for n in range(3)) + b"GET /v1/mod")
        connection.writer.write_eof()
        targets = [json.loads((await connection.answer()).body)["target"] for _ in range(3)]
        assert await everything(connection) == b""
    assert targets == [f"/v1/models/{n}" for n in range(3)]


@pytest.mark.parametrize("sent", [b"", b"POST /v1/chat", chat()[:-5]], ids=["nothing", "half a head", "half a body"])
async def test_half_a_request_has_no_answer(sent: bytes, upstream: Upstream, gateway: InProcess):
    """A client that ends its stream within a request has left: its connection is closed, and nothing is sent on."""
    async with connected(gateway.url) as connection:
        await connection.send(sent)
        await asyncio.sleep(0.02)
        connection.writer.write_eof()
        assert await everything(connection) == b""
    assert upstream.asked == []


@asynccontextmanager
async def thinking(upstream: Upstream, steps: list[Step]) -> AsyncIterator[asyncio.Event]:
    """Let the provider answer slowly; the event is set once it was asked."""
    asked = asyncio.Event()

    def answer(_: Asked) -> list[Step]:
        asked.set()
        return steps

    upstream.answer = answer
    yield asked


FILE = request("GET", "/v1/files/file-1/content")
PART = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: 100\r\n\r\nsome"


@pytest.mark.parametrize(
    "steps", [[FOREVER], stream([EVENTS[0], FOREVER]), [PART, FOREVER]], ids=["before", "chunks", "length"]
)
async def test_a_client_that_leaves_is_distinguished_from_one_that_waits(
    steps: list[Step], upstream: Upstream, gateway: InProcess
):
    """The provider is left soon after a client has closed its connection, before and within the response."""
    async with thinking(upstream, steps) as asked:
        async with connected(gateway.url) as connection:
            await connection.send(FILE if steps[0] == PART else chat(stream=True))
            await asked.wait()
            if len(steps) > 1:
                await connection.head()
                await connection.piece()
        await upstream.left()
    await gateway.ended()
    assert gateway.exchange()["outcome"] == "client_abort"


async def test_nothing_is_written_into_a_body_of_a_given_length(upstream: Upstream, gateway: InProcess):
    """A client that ends its stream there while the provider pauses is taken to have left; no byte is made up."""
    upstream.answers([PART, 0.7, b"x" * 96])
    async with connected(gateway.url) as connection:
        await connection.send(FILE)
        await connection.head()
        assert await connection.piece() == b"some"
        connection.writer.write_eof()
        assert (await connection.rest(), connection.whole) == (b"", False)


async def test_a_client_of_http_1_0_gets_no_interim_response(upstream: Upstream, gateway: InProcess):
    """Its answer is the first thing that it gets, however late."""
    upstream.answers([0.7, *reply({"id": 1})])
    async with connected(gateway.url) as connection:
        await connection.send(b"GET /v1/models HTTP/1.0\r\nHost: test\r\n\r\n")
        connection.writer.write_eof()
        assert (await everything(connection)).startswith(b"HTTP/1.0 200 OK\r\n")


@pytest.fixture(name="strict")
async def _strict(upstream: Upstream, tmp_path: Path) -> AsyncIterator[InProcess]:
    """Start a worker that waits for a head for a moment only."""
    toml = to(upstream.url, "[timeouts]\nrequest_head = 0.3\nrequest_body = 0.3\n[limits]\nbody_rate = 1000000\n")
    async with InProcess(tmp_path / "data", toml) as gateway:
        yield gateway


async def drip(connection: Connection, data: bytes) -> None:
    """Send a byte at a time, until the gateway closes the connection."""
    try:
        for byte in data:
            await connection.send(bytes([byte]))
            await asyncio.sleep(0.02)
    except ConnectionError:
        return


@pytest.mark.parametrize("before", [b"", request("GET", "/v1/models")], ids=["first", "second"])
async def test_a_head_that_drips_is_cut_off(before: bytes, upstream: Upstream, strict: InProcess):
    """The first head of a connection and a later one have a deadline: 408, and the connection is closed."""
    async with connected(strict.url) as connection:
        if before:
            await connection.send(before)
            assert (await connection.answer()).status == 200
        dripping = asyncio.ensure_future(drip(connection, b"GET /v1/models HTTP/1.1\r\nX-A: " + b"a" * 5000))
        answer = await connection.answer()
        assert (answer.status, answer.values(b"connection")) == (408, [b"close"])
        error = json.loads(answer.body)["error"]
        assert error["code"] == "request_timeout"
        assert "$.timeouts.request_head" in error["message"]
        assert await everything(connection) == b""
        await dripping
    assert len(upstream.asked) == bool(before)


async def test_a_connection_without_a_byte_is_closed_in_silence(strict: InProcess):
    """Browsers open connections ahead, and would take an answer for that to their next request."""
    async with connected(strict.url) as connection:
        assert await everything(connection) == b""


async def test_a_body_that_drips_is_cut_off(upstream: Upstream, strict: InProcess):
    """A body that comes too slowly is refused with 408, by the proxy, the ingest endpoints and the pages alike."""
    for path in ("/v1/chat/completions", "/v1/traces", "/events", "/-/sql"):
        headers = b"Host: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n"
        async with connected(strict.url) as connection:
            dripping = asyncio.ensure_future(drip(connection, b"{" * 5000))
            connection.writer.write(b"POST %b HTTP/1.1\r\n%b" % (path.encode(), headers))
            assert (await connection.answer()).status == 408, path
            dripping.cancel()
            await asyncio.wait([dripping])
    assert upstream.asked == []


async def test_idle_and_busy_connections_have_no_deadline(upstream: Upstream, strict: InProcess):
    """A kept connection may be idle, and a response late, for longer than a head may take; so a new setting applies."""
    upstream.answers(reply({}), [0.5, *reply({})], reply({}))
    async with connected(strict.url) as connection:
        for pause in (0.5, 0.0):
            await connection.send(request("GET", "/v1/models"))
            assert (await connection.answer()).status == 200
            await asyncio.sleep(pause)
        toml = to(upstream.url, "[timeouts]\nrequest_head = 60.0\n")
        await strict._worker.use(parse(toml, {}, "test.toml"), {}, None, required=True)
        await connection.send(b"GET ")
        await asyncio.sleep(0.5)
        await connection.send(request("GET", "/v1/models")[4:])
        assert (await connection.answer()).status == 200


async def test_a_reset_leaves_at_once(upstream: Upstream, gateway: InProcess):
    """A client that resets its connection is no client that half-closes."""
    async with thinking(upstream, [FOREVER]) as asked:
        async with connected(gateway.url) as connection:
            await connection.send(chat())
            await asked.wait()
            sock = connection.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        await upstream.left()
    await gateway.ended()
    assert gateway.exchange()["outcome"] == "client_abort"


async def test_an_answer_needs_no_probe(upstream: Upstream, gateway: InProcess):
    """An answer that comes in time is all that a client gets that half-closes."""
    upstream.answers(reply({"id": 1}))
    async with connected(gateway.url) as connection:
        await connection.send(chat())
        connection.writer.write_eof()
        assert (await everything(connection)).startswith(b"HTTP/1.1 200 OK\r\n")
    assert (await exchange(gateway.url, chat())).status == 200
