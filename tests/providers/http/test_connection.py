import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Self

import pytest

from gateway.providers.http.connection import MAX_FRAMING, MAX_UNREAD, PIECE, Connection, ends_with_the_connection
from gateway.providers.http.response import BadResponse, FirstByteTimeout, Response

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Opened:
    """One connection to a scripted server, and what it reported to its pool."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.freed = 0
        self.gone = 0

    def _on_free(self, _connection: Connection) -> None:
        self.freed += 1

    def _on_gone(self, _connection: Connection) -> None:
        self.gone += 1

    async def _play(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await self._script(reader, writer)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._playing = asyncio.ensure_future(self._play(reader, writer))

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.connection = Connection("peer", 30.0, self._on_free, self._on_gone)
        await self.connection.loop.create_connection(lambda: self.connection, "127.0.0.1", port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.connection.drop()
        self._server.close()
        await asyncio.sleep(0)
        await self._playing

    async def get(
        self, head: bytes = GET, body: bytes = b"", *, head_only: bool = False, seconds: float = 5
    ) -> Response:
        """Send a request and return its response."""
        response = Response(self.connection, reused=False, connect_seconds=0.0)
        await self.connection.exchange(response, head, body, head_only, seconds)
        return response


def answering(*answers: bytes) -> Script:
    """Return a script that reads a head and answers, once for each answer."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
        await reader.read()

    return script


async def test_a_connection_carries_one_exchange_after_another() -> None:
    """It is free once a body has been read, and its repr shows its state."""
    async with Opened(answering(OK, OK)) as opened:
        assert repr(opened.connection) == "<Connection peer idle, 0 exchanges>"
        for number in (1, 2):
            response = await opened.get()
            assert opened.freed == number - 1
            assert await response.read(5) == b"ok"
            assert (opened.freed, opened.gone) == (number, 0)
        assert repr(opened.connection) == "<Connection peer idle, 2 exchanges>"
        opened.connection.drop()
        await asyncio.sleep(0)
        assert (opened.connection.usable, opened.gone > 0) == (False, True)
        assert repr(opened.connection) == "<Connection peer closed, 2 exchanges>"


async def test_a_response_to_head_leaves_the_connection_usable() -> None:
    """A HEAD's response has a length and no body; the next response is read as usual."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"
    async with Opened(answering(head, OK)) as opened:
        response = await opened.get(b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n", head_only=True)
        assert await response.read(5) == b""
        assert await (await opened.get()).read(5) == b"ok"


@pytest.mark.parametrize("size", [MAX_FRAMING - 100, MAX_FRAMING + 1])
async def test_the_size_of_a_head_is_limited(size: int) -> None:
    """A head below the limit is read, one above it is a bad response."""
    answer = OK.replace(b"Content", b"X: " + b"x" * size + b"\r\nContent", 1)
    async with Opened(answering(answer)) as opened:
        if size < MAX_FRAMING:
            assert await (await opened.get()).read(5) == b"ok"
            return
        with pytest.raises(BadResponse, match=f"peer: more than {MAX_FRAMING} bytes of head"):
            await opened.get()
        assert opened.gone


async def test_an_unread_body_pauses_reading() -> None:
    """Not much more than the limit is buffered; all of it comes once it is read."""
    total = 40 * MAX_UNREAD
    async with Opened(answering(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total + bytes(total))) as opened:
        response = await opened.get()
        await asyncio.sleep(0.2)
        assert MAX_UNREAD < response.buffered < 4 * MAX_UNREAD
        length = 0
        while data := await response.read(5):
            length += len(data)
        assert length == total


@pytest.mark.parametrize("size", [0, 1, PIECE, PIECE + 1, 5 * PIECE + 7])
async def test_a_body_is_sent_whole(size: int) -> None:
    """In one write or in slices, the bytes are the same."""
    received: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        received.append(await reader.readexactly(size))
        writer.write(OK)
        await reader.read()

    body = bytes(range(256)) * (size // 256 + 1)
    async with Opened(script) as opened:
        response = await opened.get(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % size, body[:size])
        assert await response.read(5) == b"ok"
        assert received == [body[:size]]
        assert response.sent_at <= response.first_byte_at <= response.head_at


async def test_no_head_in_time_closes_the_connection() -> None:
    """The deadline of the first byte ends the exchange."""
    async with Opened(answering()) as opened:
        with pytest.raises(FirstByteTimeout, match="peer: no response head came in time"):
            await opened.get(seconds=0.05)
        assert (opened.freed, opened.gone > 0) == (0, True)


@pytest.mark.parametrize(
    ("headers", "ends"),
    [
        ((), True),
        (((b"Content-Length", b"0"),), False),
        (((b"content-length", b"5"),), False),
        (((b"Transfer-Encoding", b"chunked"),), False),
        (((b"Transfer-Encoding", b"gzip, Chunked "),), False),
        (((b"Transfer-Encoding", b"gzip"),), True),
        (((b"Transfer-Encoding", b"gzip"), (b"Content-Length", b"5")), True),
    ],
)
def test_some_bodies_end_with_the_connection(headers: tuple[tuple[bytes, bytes], ...], ends: bool) -> None:
    """Those without a length and without a final chunk."""
    assert ends_with_the_connection(headers) is ends
