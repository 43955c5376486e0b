"""A minimal HTTP/1.1 client: it sends the bytes it is given, and returns responses unchanged."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import NamedTuple
from urllib.parse import urlsplit

Headers = list[tuple[bytes, bytes]]

# Generous: only there so that a test that would hang fails.
PATIENCE = 20.0


class Answer(NamedTuple):
    """One response as it came. `whole`: its framing said that nothing is missing."""

    status: int
    reason: bytes
    headers: Headers
    body: bytes
    whole: bool

    def values(self, name: bytes) -> list[bytes]:
        """Return all values of a header, in any case of its name."""
        return [value for key, value in self.headers if key.lower() == name.lower()]


class Connection:
    """One connection. Send bytes; read a head, then pieces of a body."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.headers: Headers = []
        self._left: int | None = None
        self._chunked = False
        self.whole = False

    async def send(self, data: bytes) -> None:
        """Write bytes, and wait until most of them are out of our hands."""
        self.writer.write(data)
        await self.writer.drain()

    async def head(self, method: str = "GET") -> tuple[int, bytes]:
        """Read the final head and return its status and reason; ConnectionError where there is none."""
        try:
            async with asyncio.timeout(PATIENCE):
                head = await self.reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            raise ConnectionResetError(f"no head, but {error.partial!r}") from None
        first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
        _version, status, reason = first.split(b" ", 2)
        if status.startswith(b"1"):
            return await self.head(method)
        self.headers = [(name, value.removeprefix(b" ")) for name, _, value in (line.partition(b":") for line in lines)]
        framing = {name.lower(): value for name, value in self.headers}
        self._chunked = framing.get(b"transfer-encoding") == b"chunked"
        length = framing.get(b"content-length")
        self._left = None if length is None else int(length)
        if method == "HEAD" or status in {b"204", b"304"}:
            self._chunked, self._left = False, 0
        self.whole = self._left == 0
        return int(status), reason

    async def piece(self) -> bytes:
        """Return the next piece of the body, a whole chunk where it is chunked; b"" at its end or where it breaks."""
        async with asyncio.timeout(PATIENCE):
            try:
                return await (self._chunk() if self._chunked else self._some())
            except (ConnectionError, asyncio.IncompleteReadError):
                self._left = 0
                self._chunked = False
                return b""

    async def _chunk(self) -> bytes:
        if self.whole:
            return b""
        size = int((await self.reader.readuntil(b"\r\n")).partition(b";")[0], 16)
        data = await self.reader.readexactly(size + 2)
        self.whole = size == 0
        return data[:-2]

    async def _some(self) -> bytes:
        if self._left == 0:
            return b""
        data = await self.reader.read(65536 if self._left is None else min(self._left, 65536))
        if self._left is not None:
            self._left -= len(data)
            self.whole = self._left == 0
        elif not data:
            self.whole = True
        return data

    async def rest(self) -> bytes:
        """Return what is left of the body, as far as it comes."""
        pieces = []
        while piece := await self.piece():
            pieces.append(piece)
        return b"".join(pieces)

    async def answer(self, method: str = "GET") -> Answer:
        """Read one whole response."""
        status, reason = await self.head(method)
        body = await self.rest()
        return Answer(status, reason, self.headers, body, self.whole)


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Connection]:
    """Open a connection, and drop it at the end."""
    where = urlsplit(url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port, limit=2**20)
    try:
        yield Connection(reader, writer)
    finally:
        writer.transport.abort()


def request(
    method: str, target: str | bytes, headers: Iterable[tuple[str | bytes, str | bytes]] = (), body: bytes = b""
) -> bytes:
    """Return a request's bytes: a Host, the headers as they are, and a Content-Length where there is a body."""
    lines = [b"%b %b HTTP/1.1" % (method.encode(), _bytes(target)), b"Host: test"]
    lines += [_bytes(name) + b": " + _bytes(value) for name, value in headers]
    if body:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


async def exchange(url: str, data: bytes) -> Answer:
    """Send bytes on a connection of their own, and read one response to them."""
    async with connected(url) as connection:
        connection.writer.write(data)  # an answer may come before all of it is out
        return await connection.answer(data.partition(b" ")[0].decode("latin-1"))


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode()
