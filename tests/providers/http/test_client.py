"""The upstream client against scripted servers: exact bytes, in the order and the splits chosen here."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import ssl
import subprocess
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from gateway.providers.http import client as wire
from gateway.providers.http import connection
from tests.support.examples import examples

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def run(new_loop: Callable[[], asyncio.AbstractEventLoop], test: Coroutine[Any, Any, None]) -> None:
    """Run a test on a loop and let unclosed transports complain, which is an error here."""
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(test)
    gc.collect(1)


def on_both_loops(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Make a test of a coroutine function that runs on asyncio's loop and on uvloop's."""

    @pytest.mark.parametrize("new_loop", LOOPS.values(), ids=LOOPS.keys())
    def on_loop(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
        run(new_loop, test())

    on_loop.__name__, on_loop.__doc__ = test.__name__, test.__doc__
    return on_loop


@asynccontextmanager
async def serving(
    script: Script, tls: ssl.SSLContext | None = None, **client_options: Any
) -> AsyncIterator[tuple[wire.Client, wire.Origin]]:
    """Run a script for each connection of a server, and give a client and where to send."""
    running: set[asyncio.Task[None]] = set()

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await script(reader, writer)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        running.add(asyncio.ensure_future(play(reader, writer)))

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    client = wire.Client(**client_options)
    try:
        port = server.sockets[0].getsockname()[1]
        yield client, wire.Origin("https" if tls else "http", "127.0.0.1", port)
    finally:
        await client.close()
        server.close()
        for task in running:
            task.cancel()
        for ended in await asyncio.gather(*running, return_exceptions=True):
            assert ended is None or isinstance(ended, asyncio.CancelledError), ended


def request_of(
    client: wire.Client,
    origin: wire.Origin,
    method: bytes = b"POST",
    target: bytes = b"/v1/x",
    headers: Sequence[tuple[bytes, bytes]] = (),
    body: bytes = b"",
    *,
    connect_timeout: float = 5,
    first_byte_timeout: float = 5,
) -> Coroutine[Any, Any, wire.Response]:
    """Call send with what a test does not care about filled in."""
    return client.send(
        origin,
        method,
        target,
        headers,
        body,
        connect_timeout=connect_timeout,
        first_byte_timeout=first_byte_timeout,
    )


async def rest_of(response: wire.Response, timeout: float = 5) -> bytes:  # noqa: ASYNC109
    """Read a body to its end."""
    parts = []
    while not response.complete:
        parts.append(await response.read(timeout))
    assert await response.read(timeout) == b""
    return b"".join(parts)


async def read_request(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Read one request as its head and its body."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line[:15] == b"content-length:"), 0)
    return head, await reader.readexactly(length)


def answering(*answers: bytes, then_close: bool = False) -> Script:
    """Answer the requests of every connection with these bytes in turn, the last one for ever."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for n in range(1_000_000):
            await read_request(reader)
            writer.write(answers[min(n, len(answers) - 1)])
            await writer.drain()
            if then_close and n == len(answers) - 1:
                return

    return script


async def until(condition: Callable[[], bool]) -> None:
    """Wait, briefly, for something that another socket brings about."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


# what comes back


@on_both_loops
async def test_a_response_comes_back_as_it_was_written() -> None:
    """Status, reason, header order, case and duplicates, and the body are the server's."""
    answer = b"HTTP/1.1 201 Very Made\r\nX-A: 1\r\nset-cookie: a\r\nx-a: \xff 2\r\nContent-Length: 5\r\n\r\nhello"
    async with serving(answering(answer)) as (client, origin):
        response = await request_of(client, origin)
        assert (response.status, response.reason) == (201, b"Very Made")
        assert response.headers == (
            (b"X-A", b"1"),
            (b"set-cookie", b"a"),
            (b"x-a", b"\xff 2"),
            (b"Content-Length", b"5"),
        )
        assert await response.read(5) == b"hello"
        assert response.complete
        assert await response.read(5) == b""
        assert not response.reused
        assert response.connect_seconds > 0
        assert response.sent_at <= response.first_byte_at <= response.head_at
        assert repr(response) == "<Response 201 complete, 0 bytes unread>"


CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n"
    b"5;name=value\r\nhello\r\n1\r\n,\r\n06\r\n world\r\n0\r\nX-T: late\r\n\r\n"
)
RESPONSES = {
    "length": (b"HTTP/1.1 200 OK\r\nA: 1\r\nContent-Length: 12\r\n\r\nhello, world", 200, b"hello, world"),
    "chunked": (CHUNKED, 200, b"hello, world"),
    "chunked in capitals": (CHUNKED.replace(b"chunked", b"Chunked"), 200, b"hello, world"),
    "to the end": (b"HTTP/1.1 200 OK\r\nA: 1\r\n\r\nhello, world", 200, b"hello, world"),
    "http/1.0": (b"HTTP/1.0 200 OK\r\n\r\nhello, world", 200, b"hello, world"),
    "interim": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: a\r\n\r\n" + CHUNKED,
        200,
        b"hello, world",
    ),
    "no reason": (b"HTTP/1.1 429 \r\nContent-Length: 4\r\n\r\nslow", 429, b"slow"),
    "no body": (b"HTTP/1.1 204 No Content\r\nA: 1\r\n\r\n", 204, b""),
    "not modified": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n", 304, b""),
    "empty": (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, b""),
    "switching": (b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", 101, b""),
}


async def comes_back(raw: bytes, cuts: Sequence[int], status: int, body: bytes) -> None:
    """Send a response cut at these places and compare what the client makes of it."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        for start, end in pairwise([0, *cuts, len(raw)]):
            writer.write(raw[start:end])
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    async with serving(script) as (client, origin):
        response = await request_of(client, origin)
        assert response.status == status
        assert await rest_of(response) == body
        final = raw[raw.rindex(b"HTTP/1.") :].split(b"\r\n\r\n")[0].split(b"\r\n")
        assert final[0].split(b" ", 2)[2] == response.reason
        assert [b"%b: %b" % header for header in response.headers] == final[1:]


@pytest.mark.parametrize("name", RESPONSES)
@pytest.mark.parametrize("new_loop", LOOPS.values(), ids=LOOPS.keys())
def test_byte_by_byte(name: str, new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """Every framing is understood when each byte comes alone."""
    raw, status, body = RESPONSES[name]
    run(new_loop, comes_back(raw, range(1, len(raw)), status, body))


@given(name=st.sampled_from(sorted(RESPONSES)), places=st.sets(st.floats(0, 1), max_size=6))
@examples(60, deadline=None)
def test_any_split(name: str, places: set[float]) -> None:
    """The same bytes are read from a response however the network splits it."""
    raw, status, body = RESPONSES[name]
    cuts = sorted({round(place * len(raw)) for place in places})
    run(uvloop.new_event_loop, comes_back(raw, cuts, status, body))


@on_both_loops
async def test_the_last_bytes_are_known_to_be_the_last() -> None:
    """A read that returns the end of the body says so, as soon as the end is known from the bytes."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        await asyncio.sleep(0.02)
        writer.write(b"1\r\nb\r\n0\r\n\r\n")
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        await asyncio.sleep(0.02)
        writer.write(b"0\r\n\r\n")
        await read_request(reader)

    async with serving(script) as (client, origin):
        together = await request_of(client, origin)
        assert [(await together.read(5), together.complete) for _ in "ab"] == [(b"a", False), (b"b", True)]
        apart = await request_of(client, origin)
        assert [(await apart.read(5), apart.complete) for _ in "ab"] == [(b"a", False), (b"", True)]
        assert apart.reused


@on_both_loops
async def test_head_has_no_body() -> None:
    """A response to HEAD ends with its head, whatever its Content-Length, and the connection serves on."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n"
    async with serving(answering(head, OK, head, head, OK)) as (client, origin):
        for method in (b"HEAD", b"GET", b"HEAD", b"HEAD", b"GET"):
            response = await request_of(client, origin, method)
            assert response.complete == (method == b"HEAD")
            assert await rest_of(response) == (b"" if method == b"HEAD" else b"ok")
        assert response.reused
        assert repr(client) == "<Client 1 connections, 1 idle>"


BROKEN: dict[str, tuple[bytes, type[wire.WireError]]] = {
    "nothing": (b"", wire.ConnectionClosed),
    "half a head": (b"HTTP/1.1 200 OK\r\nContent-Le", wire.ConnectionClosed),
    "interim only": (b"HTTP/1.1 100 Continue\r\n\r\n", wire.ConnectionClosed),
    "too little body": (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", wire.ConnectionClosed),
    "no last chunk": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        wire.ConnectionClosed,
    ),
    "garbage": (b"SSH-2.0-OpenSSH_9.6\r\n", wire.BadResponse),
    "another version": (b"HTTP/7.7 200 OK\r\n\r\n", wire.BadResponse),
    "not a status": (b"HTTP/1.1 abc OK\r\n\r\n", wire.BadResponse),
    "not a length": (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", wire.BadResponse),
    "two lengths": (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", wire.BadResponse),
    "not a chunk": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n",
        wire.BadResponse,
    ),
    "one vast header": (
        b"HTTP/1.1 200 OK\r\nA: " + b"a" * 70_000 + b"\r\nContent-Length: 2\r\n\r\nok",
        wire.BadResponse,
    ),
    "a head without end": (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 20_000, wire.BadResponse),
    "interim without end": (b"HTTP/1.1 100 Continue\r\n\r\n" * 4_000, wire.BadResponse),
    "trailers without end": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n" + b"A: b\r\n" * 400_000,
        wire.BadResponse,
    ),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("new_loop", LOOPS.values(), ids=LOOPS.keys())
def test_a_broken_response_is_an_error(name: str, new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """An incomplete or invalid response raises an error with the peer's name, after the bytes before it were read."""
    raw, error = BROKEN[name]

    async def test() -> None:
        connections = 0

        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal connections
            connections += 1
            await answering(raw, then_close=True)(reader, writer)

        async with serving(script) as (client, origin):
            body = b""

            async def read_all() -> None:
                nonlocal body
                response = await request_of(client, origin)
                while True:
                    body += await response.read(5)
                    assert not response.complete

            with pytest.raises(error, match=rf"^127\.0\.0\.1:{origin.port}: "):
                await read_all()
            assert body == (b"hello" if b"hello" in raw else b"")
            assert connections == 1
            assert repr(client) == "<Client 0 connections, 0 idle>"

    run(new_loop, test())


# kept connections


@on_both_loops
async def test_a_connection_is_free_only_after_its_body_was_read() -> None:
    """A response that has arrived whole but was not read keeps its connection from the next request."""
    seen: list[object] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head, _ = await read_request(reader)
            seen.append(writer)
            name = head.split(b" ")[1]
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(name), name))

    async with serving(script) as (client, origin):
        first = await request_of(client, origin, target=b"/first")
        await until(lambda: first.ended)
        second = await request_of(client, origin, target=b"/second")
        assert (await second.read(5), await first.read(5)) == (b"/second", b"/first")
        assert len(set(seen)) == 2
        third = await request_of(client, origin, target=b"/third")
        assert (await third.read(5), third.reused, third.connect_seconds) == (b"/third", True, 0.0)
        assert seen[2] is seen[0], "the connection freed last is used first"


@on_both_loops
async def test_bodies_never_cross() -> None:
    """Many callers over few connections, some of them giving up, each get their own body."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head, body = await read_request(reader)
            half = len(body) // 2
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (half, body[:half]))
            await asyncio.sleep(0)
            writer.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body) - half, body[half:]))
            if b"-7" in head:
                return

    async def caller(client: wire.Client, origin: wire.Origin, name: int) -> None:
        for n in range(20):
            body = b"%d-%d;" % (name, n) * (50 + name * n)
            response = await request_of(client, origin, target=b"/%d-%d" % (name, n), body=body)
            if (name + n) % 5 == 0:
                response.abort()
            else:
                assert await rest_of(response) == body

    async with serving(script) as (client, origin):
        await asyncio.gather(*(caller(client, origin, name) for name in range(16)))


@on_both_loops
async def test_a_connection_closed_while_idle_is_not_used() -> None:
    """The upstream's end of an idle connection removes it, and the next request makes a new one."""
    async with serving(answering(OK, then_close=True)) as (client, origin):
        assert await rest_of(await request_of(client, origin)) == b"ok"
        await until(lambda: repr(client) == "<Client 0 connections, 0 idle>")
        assert not (await request_of(client, origin)).reused


def closing_on_the_second(last_words: bytes, after: float, requests: list[bytes]) -> Script:
    """Answer the first request of a connection, and end it on the second."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append((await read_request(reader))[1])
        writer.write(OK)
        requests.append((await read_request(reader))[1])
        await asyncio.sleep(after)
        writer.write(last_words)

    return script


@on_both_loops
async def test_a_request_on_a_stale_connection_is_sent_once() -> None:
    """A kept connection that ends without a byte on its next request is an error of its own; a new one follows it."""
    requests: list[bytes] = []
    async with serving(closing_on_the_second(b"", 0, requests)) as (client, origin):
        first, second = await asyncio.gather(*(request_of(client, origin, body=b"a") for _ in range(2)))
        assert (await rest_of(first), await rest_of(second)) == (b"ok", b"ok")
        assert client.connections == (2, 2)
        with pytest.raises(wire.StaleConnection, match="before the end of any response on a kept connection"):
            await request_of(client, origin, body=b"b")
        assert client.connections == (0, 0)
        assert not (await request_of(client, origin, body=b"c")).reused
        assert requests == [b"a", b"a", b"b", b"c"]


@on_both_loops
async def test_a_connection_whose_end_has_arrived_is_not_written_to() -> None:
    """An end that the loop has not read yet is seen before a request is written."""
    requests: list[bytes] = []
    ends: list[asyncio.StreamWriter] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append((await read_request(reader))[1])
        ends.append(writer)
        writer.write(OK)
        await reader.read()

    async with serving(script) as (client, origin):
        await rest_of(await request_of(client, origin, body=b"a"))
        sock = ends[0].get_extra_info("socket")
        with socket.socket(fileno=os.dup(sock.fileno())) as same:
            same.shutdown(socket.SHUT_WR)  # at once: no loop runs in between
        assert not (await request_of(client, origin, body=b"b")).reused
        assert requests == [b"a", b"b"]


@on_both_loops
async def test_the_kernel_probes_the_upstream() -> None:
    """A peer that is gone without a word is found in seconds; one that does not read a large body is given longer."""
    kept: list[connection.Connection] = []

    class Kept(connection.Connection):
        def keep_alive(self) -> None:
            super().keep_alive()
            kept.append(self)

    def option(name: str, default: int) -> int:
        sock = kept[0]._transport.get_extra_info("socket")
        return sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) if hasattr(socket, name) else default

    async with serving(answering(OK)) as (client, origin):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(wire, "Connection", Kept)
            for body, silence in ((b"x", 10_000), (b"x" * 100_000, 30_000), (b"", 10_000)):
                await rest_of(await request_of(client, origin, body=body))
                assert option("TCP_USER_TIMEOUT", silence) == silence
        assert len(kept) == 1
        assert kept[0]._transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        for name, value in {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 2}.items():
            assert option(name, value) == value


@pytest.mark.parametrize(("last_words", "after"), [(b"H", 0), (b"HTTP/1.1 100 Continue\r\n\r\n", 0), (b"", 0.1)])
def test_a_request_that_was_taken_is_never_sent_again(
    last_words: bytes, after: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After one byte of an answer, or when it comes late, the end of a kept connection is an error."""
    monkeypatch.setattr(wire, "STALE_SECONDS", 0.05)

    async def test() -> None:
        requests: list[bytes] = []
        async with serving(closing_on_the_second(last_words, after, requests)) as (client, origin):
            await rest_of(await request_of(client, origin, body=b"a"))
            with pytest.raises(wire.ConnectionClosed, match="closed before the end of"):
                await request_of(client, origin, body=b"b")
            assert requests == [b"a", b"b"]

    run(uvloop.new_event_loop, test())


UNREUSABLE = {
    "close": OK.replace(b"Content", b"Connection: close\r\nContent"),
    "http/1.0": OK.replace(b"1.1", b"1.0"),
    "surplus body": OK + b"surplus",
    "a second response": OK + OK,
    "half a second response": OK + b"HTTP/1.1 20",
    "switching to nothing": b"HTTP/1.1 101 Switching\r\n\r\n",
    "switching": b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n\x00\x01",
}


@pytest.mark.parametrize("name", UNREUSABLE)
@pytest.mark.parametrize("new_loop", LOOPS.values(), ids=LOOPS.keys())
def test_a_doubtful_connection_is_not_kept(name: str, new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """The body has the declared length; a connection with more bytes, or with `Connection: close`, is dropped."""

    async def test() -> None:
        async with serving(answering(UNREUSABLE[name])) as (client, origin):
            for _ in range(2):
                response = await request_of(client, origin)
                assert await rest_of(response) == (b"" if "switching" in name else b"ok")
                assert not response.reused
                assert repr(client) == "<Client 0 connections, 0 idle>"

    run(new_loop, test())


@on_both_loops
async def test_bytes_on_an_idle_connection_end_it() -> None:
    """An unsolicited response does not become that of the next request."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(OK)
        await asyncio.sleep(0.02)
        writer.write(OK.replace(b"ok", b"no"))
        await read_request(reader)

    async with serving(script) as (client, origin):
        assert await rest_of(await request_of(client, origin)) == b"ok"
        assert repr(client) == "<Client 1 connections, 1 idle>"
        await until(lambda: repr(client) == "<Client 0 connections, 0 idle>")


@on_both_loops
async def test_idle_connections_are_bounded_in_number_and_time() -> None:
    """Idle connections are limited in number and in time."""
    async with serving(answering(OK), max_idle_per_origin=2, idle_seconds=0.1) as (client, origin):
        responses = await asyncio.gather(*(request_of(client, origin) for _ in range(5)))
        assert repr(client) == "<Client 5 connections, 0 idle>"
        for response in responses:
            await rest_of(response)
        assert repr(client) == "<Client 2 connections, 2 idle>"
        await until(lambda: repr(client) == "<Client 0 connections, 0 idle>")
        assert not (await request_of(client, origin)).reused


@on_both_loops
async def test_the_longest_idle_connection_is_dropped_first() -> None:
    """Beyond the limit the connection that was used longest ago is closed, and the one just used stays."""
    numbers = iter(range(3))

    async def numbered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = next(numbers)
        while True:
            await read_request(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % number)

    async with serving(numbered, max_idle_per_origin=2) as (client, origin):
        responses = await asyncio.gather(*(request_of(client, origin) for _ in range(3)))
        used = [await rest_of(response) for response in responses]
        again = await asyncio.gather(*(request_of(client, origin) for _ in range(2)))
        assert all(response.reused for response in again)
        assert {await rest_of(response) for response in again} == set(used[1:])


# bounded both ways


@on_both_loops
async def test_an_unread_body_stays_with_the_upstream() -> None:
    """A consumer that does not read holds the socket back instead of filling memory, and misses nothing."""
    body = bytes(range(256)) * (32 * 1024)

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        await read_request(reader)

    async with serving(script) as (client, origin):
        response = await request_of(client, origin)
        await until(lambda: response.buffered > connection.MAX_UNREAD)
        await asyncio.sleep(0.05)
        assert response.buffered <= connection.MAX_UNREAD + 256 * 1024
        assert await rest_of(response) == body
        assert repr(client) == "<Client 1 connections, 1 idle>"


@on_both_loops
async def test_a_large_upload_waits_for_the_upstream() -> None:
    """A body that the upstream does not read yet is not copied into the transport, and arrives whole."""
    body = bytes(range(256)) * (64 * 1024)
    go, arrived = asyncio.Event(), bytearray()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go.wait()
        arrived.extend((await read_request(reader))[1])
        writer.write(OK)
        await read_request(reader)

    async with serving(script) as (client, origin):
        sending = asyncio.ensure_future(request_of(client, origin, body=body))
        await asyncio.sleep(0.05)
        [used] = client._connections
        assert used._unsent is not None
        assert used._transport is not None
        assert used._transport.get_write_buffer_size() <= 2 * connection.PIECE
        go.set()
        response = await sending
        assert arrived == body
        assert await rest_of(response) == b"ok"
        assert 0 < response.sent_at <= response.head_at
        assert repr(client) == "<Client 1 connections, 1 idle>"


@on_both_loops
async def test_an_answer_before_the_end_of_the_upload_is_read() -> None:
    """An upstream that refuses a body while it is being sent, and hangs up, is still heard."""
    refusal = b"HTTP/1.1 413 Too Large\r\nContent-Length: 7\r\n\r\ntoo big"

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"/end" in head:
            await asyncio.sleep(0.02)  # until the socket takes no more
            writer.write(refusal.replace(b"Content-Length: 7\r\n", b""))
            writer.write_eof()
        else:
            writer.write(refusal)
        if b"/hang-up" not in head:
            await asyncio.sleep(5)

    async with serving(script) as (client, origin):
        for target in (b"/hang-up", b"/end", b"/stay") * 10:
            response = await request_of(client, origin, target=target, body=bytes(32 * 1024 * 1024))
            assert response.status == 413
            assert await rest_of(response) == b"too big"
            assert repr(client) == "<Client 0 connections, 0 idle>"


@on_both_loops
async def test_a_refusal_is_read_before_the_reset_that_follows_it() -> None:
    """A reset at any moment of an upload does not lose the answer that was sent before it."""
    refusal = b"HTTP/1.1 413 Too Large\r\nContent-Length: 7\r\n\r\ntoo big"

    def refuse(listening: socket.socket) -> None:
        for n in range(40):
            with listening.accept()[0] as accepted:
                accepted.recv(1000)
                time.sleep(n / 20_000)
                accepted.sendall(refusal)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(5)
        upstream = asyncio.get_running_loop().run_in_executor(None, refuse, listening)
        client, origin = wire.Client(), wire.Origin("http", "127.0.0.1", listening.getsockname()[1])
        for _ in range(40):
            response = await request_of(client, origin, body=bytes(32 * 1024 * 1024))
            assert (response.status, await rest_of(response)) == (413, b"too big")
        await upstream
        await client.close()


# time, and leaving early


@on_both_loops
async def test_no_head_in_time() -> None:
    """The first-byte timeout holds for the whole head: a head that drips does not extend it."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        for byte in b"HTTP/1.1 200 OK\r\n":
            writer.write(bytes([byte]))
            await asyncio.sleep(0.03)

    async with serving(script) as (client, origin):
        with pytest.raises(wire.FirstByteTimeout, match="no response head came in time"):
            await request_of(client, origin, first_byte_timeout=0.1)
        assert repr(client) == "<Client 0 connections, 0 idle>"


@on_both_loops
async def test_a_body_that_stops() -> None:
    """The idle timeout is per read, shorter or longer than the one before, and spares what comes in time."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
        for pause in (0.05, 0.05, 0.4, 0.05):
            await asyncio.sleep(pause)
            writer.write(b"x")
        await asyncio.sleep(5)

    async with serving(script) as (client, origin):
        response = await request_of(client, origin)
        got = [await response.read(timeout) for timeout in (5, 0.3, None, 0.3)]
        assert b"".join(got) == b"xxxx"
        with pytest.raises(wire.IdleTimeout):
            await response.read(0.1)
        with pytest.raises(wire.IdleTimeout):
            await response.read(0.1)
        assert not response.complete
        assert repr(client) == "<Client 0 connections, 0 idle>"


@on_both_loops
async def test_a_slow_upload_is_not_a_slow_answer() -> None:
    """While the upstream takes the body, however slowly, the first-byte timeout does not run."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        await reader.readuntil(b"\r\n\r\n")
        for _ in range(64):
            await reader.readexactly(256 * 1024)
            await asyncio.sleep(0.01)
        writer.write(OK)

    async with serving(script) as (client, origin):
        body = bytes(16 * 1024 * 1024)
        response = await request_of(client, origin, body=body, first_byte_timeout=0.4)
        assert await rest_of(response) == b"ok"


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:  # noqa: ARG001
    """Take everything and say nothing until the client leaves."""
    await reader.read()


@on_both_loops
async def test_no_connection_in_time() -> None:
    """A peer that takes the connection and never shakes hands runs into the connect timeout."""
    async with serving(silent) as (client, origin):
        with pytest.raises(wire.ConnectTimeout, match=r"no connection within 0\.1 s"):
            await request_of(client, origin._replace(scheme="https"), connect_timeout=0.1)
        assert repr(client) == "<Client 0 connections, 0 idle>"


@on_both_loops
async def test_a_cancelled_call_leaves_nothing() -> None:
    """A task cancelled while it connects, waits for the head or reads drops its connection at once."""
    left = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal left
        head, _ = await read_request(reader)
        if b"/read" in head:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello")
        assert await reader.read() == b""
        left += 1

    async def call(client: wire.Client, origin: wire.Origin, target: bytes) -> None:
        await rest_of(await request_of(client, origin, target=target))

    async with serving(script) as (client, origin):
        for expected, target in ((1, b"/head"), (2, b"/read")):
            task = asyncio.ensure_future(call(client, origin, target))
            await asyncio.sleep(0.05)
            assert repr(client) == "<Client 1 connections, 0 idle>"
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert repr(client) == "<Client 0 connections, 0 idle>"
            await until(lambda expected=expected: left == expected)  # type: ignore[misc]
        task = asyncio.ensure_future(call(client, origin._replace(scheme="https"), b"/"))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert repr(client) == "<Client 0 connections, 0 idle>"


@on_both_loops
async def test_abort_drops_the_connection() -> None:
    """After abort the upstream sees the end, reading raises, and a second abort does nothing."""
    gone = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello")
        assert await reader.read() == b""
        gone.set()

    async with serving(script) as (client, origin):
        response = await request_of(client, origin)
        response.abort()
        response.abort()
        await asyncio.wait_for(gone.wait(), 5)
        with pytest.raises(wire.ConnectionClosed, match="dropped before the response was whole"):
            await response.read(5)
        assert repr(client) == "<Client 0 connections, 0 idle>"


@on_both_loops
async def test_abort_after_the_end_does_nothing() -> None:
    """A complete response no longer owns its connection, which another request may be using."""
    async with serving(answering(OK)) as (client, origin):
        first = await request_of(client, origin)
        await rest_of(first)
        second = await request_of(client, origin)
        first.abort()
        assert (await rest_of(second), second.reused) == (b"ok", True)


@on_both_loops
async def test_a_closed_client_drops_what_is_in_use() -> None:
    """Closing ends waiting calls with an error, closes every socket and takes no further call."""
    async with serving(silent) as (client, origin):
        call = asyncio.ensure_future(request_of(client, origin))
        await until(lambda: repr(client) == "<Client 1 connections, 0 idle>")
        [used] = client._connections
        assert used._transport is not None
        sock = used._transport.get_extra_info("socket")
        await client.close()
        assert sock.fileno() == -1 or isinstance(asyncio.get_running_loop(), uvloop.Loop)
        with pytest.raises(wire.ConnectionClosed, match="the client was closed"):
            await call
        with pytest.raises(RuntimeError, match="closed"):
            await request_of(client, origin)


@on_both_loops
async def test_closing_the_client_is_not_taken_for_a_stale_connection() -> None:
    """A call on a kept connection and one that still connects end with the client, too."""
    async with serving(answering(OK, b"")) as (client, origin):
        await rest_of(await request_of(client, origin))
        calls = [asyncio.ensure_future(request_of(client, origin)) for _ in "ab"]
        await asyncio.sleep(0)
        assert repr(client) == "<Client 1 connections, 0 idle>"
        await client.close()
        for call in calls:
            with pytest.raises(wire.ConnectionClosed, match="the client was closed"):
                await call
        assert repr(client) == "<Client 0 connections, 0 idle>"


# what goes out


@on_both_loops
async def test_a_request_goes_out_as_it_was_given() -> None:
    """Order, case and duplicates of headers are kept; only Host and Content-Length are added."""
    heads: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            heads.append((await read_request(reader))[0])
            writer.write(OK)

    async with serving(script) as (client, origin):
        host = b"Host: 127.0.0.1:%d\r\n" % origin.port
        given = [(b"X-B", b"1"), (b"x-a", b" \xff "), (b"X-B", b"2")]
        lines = b"X-B: 1\r\nx-a:  \xff \r\nX-B: 2\r\nContent-Length: 2\r\n\r\n"
        await rest_of(await request_of(client, origin, b"POST", b"/a?b=%20c", given, b"hi"))
        assert heads.pop() == b"POST /a?b=%20c HTTP/1.1\r\n" + host + lines
        await rest_of(await request_of(client, origin, b"GET", b"/"))
        assert heads.pop() == b"GET / HTTP/1.1\r\n" + host + b"\r\n"
        await rest_of(await request_of(client, origin, b"POST", b"/"))
        assert heads.pop() == b"POST / HTTP/1.1\r\n" + host + b"Content-Length: 0\r\n\r\n"
        own = [(b"content-length", b"2"), (b"HOST", b"example.org")]
        await rest_of(await request_of(client, origin, headers=own, body=b"hi"))
        assert heads.pop() == b"POST /v1/x HTTP/1.1\r\ncontent-length: 2\r\nHOST: example.org\r\n\r\n"
        [used] = client._connections
        assert used._transport is not None
        sock = used._transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize(
    ("method", "target", "headers"),
    [
        *((b"GET" + bad, b"/", []) for bad in (b"\r", b"\n", b"\0", b" ", b"\r\nA: b")),
        *((b"GET", b"/" + bad, []) for bad in (b"\r", b"\n", b"\0", b" x", b"\t", b" HTTP/1.1\r\nA: b")),
        *((b"GET", b"/", [(b"A" + bad, b"b")]) for bad in (b"\r", b"\n", b"\0", b" ", b":", b"\xff")),
        *((b"GET", b"/", [(b"A", b"b" + bad)]) for bad in (b"\r", b"\n", b"\0", b"\r\nB: c")),
        (b"", b"/", []),
        (b"GET", b"", []),
        (b"GET", b"/", [(b"", b"b")]),
        (b"GET", b"/", [(b"Transfer-Encoding", b"chunked")]),
        (b"GET", b"/", [(b"Content-Length", b"5")]),
        (b"GET", b"/", [(b"Content-Length", b"0"), (b"content-length", b"0")]),
    ],
)
def test_nothing_can_be_smuggled_into_a_head(method: bytes, target: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    """A part that would end its line, or frame the body otherwise, is refused before a connection is made."""

    async def test() -> None:
        client = wire.Client()
        with pytest.raises(ValueError, match=r"."):
            await request_of(client, wire.Origin("http", "127.0.0.1", 1), method, target, headers)
        await client.close()

    run(asyncio.new_event_loop, test())


@pytest.mark.parametrize(
    ("url", "origin", "path", "authority"),
    [
        ("http://127.0.0.1:9000/v1", ("http", "127.0.0.1", 9000), "/v1", b"127.0.0.1:9000"),
        ("https://API.example.org/", ("https", "api.example.org", 443), "", b"api.example.org"),
        ("http://example.org", ("http", "example.org", 80), "", b"example.org"),
        ("https://example.org:80/a/b/", ("https", "example.org", 80), "/a/b", b"example.org:80"),
        ("http://[::1]:81/x", ("http", "::1", 81), "/x", b"[::1]:81"),
        ("http://[::1]", ("http", "::1", 80), "", b"[::1]"),
        (
            "https://b\u00fccher.example",
            ("https", "xn--bcher-kva.example", 443),
            "",
            b"xn--bcher-kva.example",
        ),
    ],
)
def test_origin_of_a_url(url: str, origin: tuple[str, str, int], path: str, authority: bytes) -> None:
    """A base URL gives where to connect, its path without the last slash, and the Host to send."""
    got, base_path = wire.Origin.from_url(url)
    assert (got, base_path) == (origin, path)
    assert b"\r\nHost: " + authority + b"\r\n" in wire.request_head(got, b"GET", b"/", [], 0)


@pytest.mark.parametrize(
    "url",
    ["ftp://a", "a", "http://", "http://u:p@a", "http://a?b=c", "http://a#b", "http://a:x", "http://a:99999"],
)
def test_not_a_base_url(url: str) -> None:
    """An invalid base URL is refused, and a password in it is not repeated."""
    with pytest.raises(ValueError, match=r".") as refused:
        wire.Origin.from_url(url)
    assert "u:p" not in str(refused.value)


# no connection


@pytest.mark.parametrize(("host", "reason"), [("127.0.0.1", "refused"), ("a..b", "dns"), ("x" * 70 + ".a", "dns")])
@pytest.mark.parametrize("new_loop", LOOPS.values(), ids=LOOPS.keys())
def test_nobody_there(host: str, reason: str, new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """A closed port and an impossible name have different reasons, and the error names the peer."""

    async def test() -> None:
        client = wire.Client()
        with pytest.raises(wire.ConnectFailed, match=f"^{host}:1: ") as failed:
            await request_of(client, wire.Origin("http", host, 1))
        assert failed.value.reason == reason
        assert repr(client) == "<Client 0 connections, 0 idle>"

    run(new_loop, test())


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a key and a certificate for 127.0.0.1 that signs itself, in one file."""
    folder: Path = tmp_path_factory.mktemp("tls")
    pem = folder / "server.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test"
    subprocess.run(
        [*command.split(), "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", folder / "key", "-out", pem],
        check=True,
        capture_output=True,
    )
    pem.write_bytes(pem.read_bytes() + (folder / "key").read_bytes())
    return pem


@pytest.mark.parametrize("new_loop", LOOPS.values(), ids=LOOPS.keys())
def test_tls(certificate: Path, new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """Over TLS to an address, bodies of every size go both ways and connections are kept."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            _, body = await read_request(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            await writer.drain()

    async def test() -> None:
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(certificate)
        trusting = ssl.create_default_context(cafile=certificate)
        async with serving(script, server, ssl_context=trusting) as (client, origin):
            for n, size in enumerate((0, 10, 8 * 1024 * 1024, 10)):
                body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
                response = await request_of(client, origin, body=body)
                assert await rest_of(response) == body
                assert response.reused == (n > 0)
            cancelled = asyncio.ensure_future(request_of(client, origin, body=bytes(8 * 1024 * 1024)))
            await asyncio.sleep(0.002)
            cancelled.cancel()
            with suppress(asyncio.CancelledError):
                (await cancelled).abort()
            assert repr(client) == "<Client 0 connections, 0 idle>"

    run(new_loop, test())


@pytest.mark.parametrize("new_loop", LOOPS.values(), ids=LOOPS.keys())
def test_a_certificate_that_is_not_trusted(
    certificate: Path, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """The certificate must be trusted and be for the host; a peer without TLS is a TLS error too."""

    async def test() -> None:
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(certificate)
        async with serving(answering(OK), server) as (client, origin):
            with pytest.raises(wire.ConnectFailed, match="CERTIFICATE_VERIFY_FAILED") as failed:
                await request_of(client, origin)
            assert failed.value.reason == "tls"

        trusting = ssl.create_default_context(cafile=certificate)
        async with serving(answering(OK), server, ssl_context=trusting) as (client, origin):
            with pytest.raises(wire.ConnectFailed, match=r"CERTIFICATE_VERIFY_FAILED.*localhost") as failed:
                await request_of(client, origin._replace(host="localhost"))
            assert failed.value.reason == "tls"

        async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        async with serving(plain) as (client, origin):
            with pytest.raises(wire.ConnectFailed) as failed:
                await request_of(client, origin._replace(scheme="https"))
            assert failed.value.reason == "tls"

    run(new_loop, test())
