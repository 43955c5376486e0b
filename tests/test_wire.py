"""The upstream client against scripted servers: exact bytes, in the order and the splits chosen here."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from gateway import wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(script: Script) -> AsyncIterator[wire.Origin]:
    """Run a script for each connection of a plain TCP server."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await script(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with server:
        yield wire.Origin("http", "127.0.0.1", server.sockets[0].getsockname()[1])


async def test_a_response_is_relayed_as_it_was_written() -> None:
    """Status, reason, header order, case and duplicates, and the body come back as the server wrote them."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 201 Made\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 5\r\n\r\nhello")
        await writer.drain()

    client = wire.Client()
    async with serving(script) as origin:
        response = await client.send(origin, b"GET", b"/", [], b"", connect_timeout=5, first_byte_timeout=5)
        assert (response.status, response.reason) == (201, b"Made")
        assert response.headers == ((b"X-A", b"1"), (b"x-a", b"2"), (b"Content-Length", b"5"))
        assert await response.read(5) == b"hello"
        assert response.complete
        await client.close()


async def test_refused() -> None:
    """A port where nobody listens is refused, and the error names it."""
    client = wire.Client()
    with pytest.raises(wire.ConnectFailed, match=r"127\.0\.0\.1:1: .*") as failed:
        await client.send(
            wire.Origin("http", "127.0.0.1", 1),
            b"GET",
            b"/",
            [],
            b"",
            connect_timeout=5,
            first_byte_timeout=5,
        )
    assert failed.value.reason == "refused"
    await client.close()
