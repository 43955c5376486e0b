"""One upstream response as its reader sees it, and the errors that can end it.

The lowest third of the upstream client: `connection` fills a `Response` from the socket, the caller of `wire`
reads it. Nothing here touches a socket.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    import asyncio

Headers = tuple[tuple[bytes, bytes], ...]


class WireError(Exception):
    """The upstream could not be reached or did not answer in whole; says the peer and what happened.

    WireError
    ├── ConnectFailed       nobody there: reason is dns, refused, tls or network
    ├── ConnectTimeout
    ├── FirstByteTimeout    the request went out, the response head did not come
    ├── IdleTimeout         the body stopped coming
    ├── ConnectionClosed    closed or reset before the response was whole
    └── BadResponse         not HTTP, or not framed as it said
    """


class ConnectFailed(WireError):  # noqa: N818 - read as outcomes, and all of one tree
    """No connection: the name, the port, the certificate or the network is wrong."""

    def __init__(self, message: str, reason: Literal["dns", "refused", "tls", "network"]) -> None:
        super().__init__(message)
        self.reason = reason


class ConnectTimeout(WireError):  # noqa: N818
    """No connection within the time given, TLS included."""


class FirstByteTimeout(WireError):  # noqa: N818
    """No response head within the time given after the last request byte that could be sent."""


class IdleTimeout(WireError):  # noqa: N818
    """No body byte within the time given."""


class ConnectionClosed(WireError):  # noqa: N818
    """The connection ended before the response was whole."""


class BadResponse(WireError):  # noqa: N818
    """What came back is not an HTTP/1.1 response."""


class Source(Protocol):
    """What a response needs of the connection under it."""

    loop: asyncio.AbstractEventLoop

    def arm(self, seconds: float | None) -> None:
        """Set the deadline of the present wait."""

    def taken(self, response: Response) -> None:
        """Go on after the reader emptied the buffer."""

    def fail(self, kind: type[WireError], what: str) -> None:
        """End the exchange with an error and drop the connection."""


class Response:
    """One upstream response: the head at once, the body as it arrives.

    Read it until `complete`, or `abort` it: until one of the two it holds its connection. Times are
    `time.monotonic()`: the clock of `loop.time()`, which uvloop rounds to milliseconds; 0.0 is "not yet".
    From `connection` on the attributes are the connection's side of the body, not the reader's.
    """

    def __init__(self, connection: Source, *, reused: bool, connect_seconds: float) -> None:
        self.status = 0
        self.reason = b""
        self.headers: Headers = ()
        self.reused = reused
        self.connect_seconds = connect_seconds
        self.sent_at = 0.0
        self.first_byte_at = 0.0
        self.head_at = 0.0
        self.connection: Source | None = connection
        self.chunks: list[bytes] = []
        self.buffered = 0
        self.ended = False
        self.error: WireError | None = None
        self.waiter: asyncio.Future[None] | None = None

    @property
    def complete(self) -> bool:
        """Whether the whole body has come and been handed out, so that nothing is left to read."""
        return self.ended and not self.chunks

    async def read(self, timeout: float | None) -> bytes:  # noqa: ASYNC109 - asyncio.timeout costs more than the read
        """Return everything that has arrived, waiting for a byte when there is none; b"" at the end."""
        if not self.chunks and not self.ended and self.connection is not None:
            await self.wait(self.connection, timeout)
        chunks = self.chunks
        if not chunks:
            if self.error is not None:
                raise self.error
            return b""
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        self.chunks = []
        self.buffered = 0
        if self.connection is not None:
            self.connection.taken(self)
        return data

    def abort(self) -> None:
        """Drop the connection now, and what was not read; nothing happens when the response is complete."""
        if self.connection is not None:
            self.chunks = []
            self.connection.fail(ConnectionClosed, "dropped before the response was whole")

    async def wait(self, connection: Source, seconds: float | None) -> None:
        """Sleep until the connection has news for this response; a cancelled sleeper drops the connection."""
        waiter = self.waiter = connection.loop.create_future()
        connection.arm(seconds)
        try:
            await waiter
        except BaseException:
            self.waiter = None
            self.abort()
            raise

    def wake(self) -> None:
        """Tell whoever waits that there is news."""
        waiter, self.waiter = self.waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def __repr__(self) -> str:
        state = "complete" if self.complete else self.error or "open"
        return f"<Response {self.status} {state}, {self.buffered} bytes unread>"
