"""Reading a request's body: its limit of bytes, its idle timeout, and the time that is accounted for."""

import asyncio
import selectors
from collections.abc import AsyncIterator, Awaitable
from typing import NamedTuple

import pytest
from aiohttp import StreamReader, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.test_utils import make_mocked_request

from gateway.config.model import parse
from gateway.errors import ExchangeError, Kind
from gateway.proxy.request_body import Pace, body_too_large, pace_of, read_body
from tests.support.raw_http import Answer, Connection, connected

LIMIT, IDLE = 1000, 0.1


class Server(NamedTuple):
    """A server that answers with the length of each body that it read, or with the error's code."""

    url: str
    timed: list[bytes]


@pytest.fixture(name="server")
async def _server() -> AsyncIterator[Server]:
    timed: list[bytes] = []

    async def timer(reading: Awaitable[bytes]) -> bytes:
        body = await reading
        timed.append(body)
        return body

    async def handle(request: web.Request) -> web.Response:
        try:
            body = await read_body(request, LIMIT, Pace(idle=IDLE, seconds=60.0, rate=1), timer=timer)
        except ExchangeError as error:
            return web.Response(status=error.status, text=error.code)
        return web.Response(body=body)

    runner = web.AppRunner(app := web.Application(), auto_decompress=False)
    app.router.add_route("*", "/", handle)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield Server(f"http://127.0.0.1:{runner.addresses[0][1]}", timed)
    await runner.cleanup()


async def sent(connection: Connection, *pieces: bytes) -> Answer:
    """Send pieces one after the other, with a pause in which the server can read, and return the answer."""
    for index, piece in enumerate(pieces):
        if index:
            await asyncio.sleep(0.02)
        await connection.send(piece)
    return await connection.answer()


def head(*headers: bytes) -> bytes:
    """Return the head of a POST."""
    return b"\r\n".join([b"POST / HTTP/1.1", b"Host: test", *headers]) + b"\r\n\r\n"


def length(count: int) -> bytes:
    """Return a Content-Length."""
    return b"Content-Length: %d" % count


CHUNKED = b"Transfer-Encoding: chunked"


async def test_a_request_without_a_body_is_empty(server: Server):
    """A request without a body reads as no bytes, at once."""
    async with connected(server.url) as connection:
        answer = await sent(connection, head())
    assert (answer.status, answer.body, server.timed) == (200, b"", [])


async def test_a_body_that_arrives_with_its_head_takes_no_time(server: Server):
    """A body in the same segment as its head is returned whole without calling the timer."""
    async with connected(server.url) as connection:
        answer = await sent(connection, head(length(5)) + b"whole")
    assert (answer.status, answer.body, server.timed) == (200, b"whole", [])


async def test_a_body_in_pieces_is_joined_and_timed(server: Server):
    """A body that arrives in pieces is joined in order, and the timer awaits the read."""
    async with connected(server.url) as connection:
        answer = await sent(connection, head(length(9)), b"one", b"two", b"six")
    assert (answer.status, answer.body, server.timed) == (200, b"onetwosix", [b"onetwosix"])


@pytest.mark.parametrize("size", [LIMIT, LIMIT + 1])
@pytest.mark.parametrize("framing", ["length at once", "length later", "chunked"])
async def test_the_limit_is_the_last_size_that_is_read(size: int, framing: str, server: Server):
    """A body of exactly the limit is read and one byte more is refused, whatever its framing."""
    body = b"x" * size
    pieces = {
        "length at once": [head(length(size)) + body],
        "length later": [head(length(size)), body],
        "chunked": [head(CHUNKED), b"%x\r\n%b\r\n0\r\n\r\n" % (size, body)],
    }[framing]
    async with connected(server.url) as connection:
        answer = await sent(connection, *pieces)
    expected = (200, body) if size == LIMIT else (413, b"body_too_large")
    assert (answer.status, answer.body) == expected


async def test_a_length_beyond_the_limit_is_refused_unread(server: Server):
    """A Content-Length beyond the limit is refused before any byte of the body has arrived."""
    async with connected(server.url) as connection:
        answer = await sent(connection, head(length(LIMIT + 1)))
    assert (answer.status, answer.body, server.timed) == (413, b"body_too_large", [])


async def test_reading_stops_soon_after_the_limit(server: Server):
    """A chunked body without end is refused while it is still being sent."""
    async with connected(server.url) as connection:
        answer = await sent(connection, head(CHUNKED), b"%x\r\n%b\r\n" % (2 * LIMIT, b"x" * 2 * LIMIT))
    assert (answer.status, answer.body) == (413, b"body_too_large")


async def test_a_body_that_stops_arriving_is_refused(server: Server):
    """A body of which nothing more arrives within the idle timeout is refused with 408."""
    async with connected(server.url) as connection:
        answer = await sent(connection, head(length(9)), b"one")
    assert (answer.status, answer.body) == (408, b"request_timeout")


async def test_the_timeout_is_for_each_piece(server: Server):
    """A body that takes longer than the idle timeout is read, if no pause in it does."""
    async with connected(server.url) as connection:
        await connection.send(head(length(8)))
        for piece in (b"aa", b"bb", b"cc", b"dd"):
            await asyncio.sleep(IDLE * 0.5)
            await connection.send(piece)
        answer = await connection.answer()
    assert (answer.status, answer.body) == (200, b"aabbccdd")


class _Waits(selectors.DefaultSelector):
    """A selector that returns at once, and advances its clock by the time for which an event loop would wait."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.now += timeout or 0.0
        return super().select(0)


@pytest.mark.parametrize("idle", [0.5, 300.0])
def test_the_timeout_is_the_configured_one(idle: float):
    """A body that stops arriving is refused after exactly the idle timeout, by the event loop's clock."""
    selector = _Waits()
    loop = asyncio.SelectorEventLoop(selector)
    loop.time = lambda: selector.now  # type: ignore[method-assign]

    async def stalled() -> float:
        protocol = BaseProtocol(loop)
        protocol.connection_made(asyncio.Transport())
        payload = StreamReader(protocol, 2**16, loop=loop)
        payload.feed_data(b"one")
        request = make_mocked_request("POST", "/", {"Content-Length": "9"}, payload=payload)
        with pytest.raises(ExchangeError, match=f"within {idle:g} s"):
            await read_body(request, LIMIT, Pace(idle=idle, seconds=400.0, rate=1))
        return loop.time()

    try:
        assert loop.run_until_complete(stalled()) == pytest.approx(idle, abs=0.01)
    finally:
        loop.close()


@pytest.mark.parametrize(("every", "read"), [(0.9, True), (1.1, False), (4.0, False)])
def test_a_body_that_drips_is_cut_off(every: float, read: bool):
    """A byte now and then is too slow below the rate, however short the pauses are; at the rate it is read."""
    selector = _Waits()
    loop = asyncio.SelectorEventLoop(selector)
    loop.time = lambda: selector.now  # type: ignore[method-assign]

    async def dripping() -> bytes:
        protocol = BaseProtocol(loop)
        protocol.connection_made(asyncio.Transport())
        payload = StreamReader(protocol, 2**16, loop=loop)
        payload.feed_data(b"x")

        async def drip() -> None:
            for _ in range(LIMIT - 1):
                await asyncio.sleep(every)
                payload.feed_data(b"x")
            payload.feed_eof()

        request = make_mocked_request("POST", "/", {"Content-Length": str(LIMIT)}, payload=payload)
        dripping = loop.create_task(drip())
        try:
            return await read_body(request, LIMIT, Pace(idle=5.0, seconds=10.0, rate=1))
        finally:
            dripping.cancel()

    try:
        if read:
            assert loop.run_until_complete(dripping()) == b"x" * LIMIT
            return
        with pytest.raises(ExchangeError, match=r"more slowly than 1 bytes a second .*\$\.limits\.body_rate") as caught:
            loop.run_until_complete(dripping())
        assert (caught.value.status, caught.value.code) == (408, "request_timeout")
        assert loop.time() > 10.0
    finally:
        loop.close()


def test_the_pace_is_the_configurations():
    """By default bodies have a minute, and a second more for each 500 bytes."""
    assert pace_of(parse("", {}, "test.toml")) == Pace(idle=300.0, seconds=60.0, rate=500)
    toml = "[timeouts]\nidle = 1.0\nrequest_body = 2.0\n[limits]\nbody_rate = 3\n"
    assert pace_of(parse(toml, {}, "test.toml")) == Pace(idle=1.0, seconds=2.0, rate=3)


def test_the_error_names_the_setting():
    """The error for a large body has the limit, its setting, and status 413."""
    error = body_too_large(7)
    assert (error.kind, error.status, error.code) == (Kind.TOO_LARGE, 413, "body_too_large")
    assert error.message == "The body is larger than 7 bytes (setting: $.limits.body_bytes)."
