"""One upstream response, and the errors that can end it.

`connection` fills a `Response` from the socket, the caller of `client` reads it. No I/O.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    import asyncio

Headers = tuple[tuple[bytes, bytes], ...]


class WireError(Exception):
    """The upstream could not be reached or its response is incomplete; the text names the peer and the cause.

    WireError
    ├── ConnectFailed       no connection: reason is dns, refused, tls, network or proxy
    ├── ConnectTimeout
    ├── FirstByteTimeout    the request was sent, no response head came
    ├── IdleTimeout         no more of the body came
    ├── ConnectionClosed    closed or reset before the end of the response
    │   └── StaleConnection an idle connection that closed without a byte when it was used again
    └── BadResponse         not HTTP, or with invalid framing
    """


class ConnectFailed(WireError):  # noqa: N818 - named for outcomes
    """No connection: `reason` is about the name, the port, the certificate, the network or the proxy.

    `setting`: of the proxy. `lasting`: another try fails likewise, since the proxy refuses.
    """

    def __init__(
        self,
        message: str,
        reason: Literal["dns", "refused", "tls", "network", "proxy"],
        *,
        setting: str | None = None,
        lasting: bool = False,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.setting = setting
        self.lasting = lasting


class ConnectTimeout(WireError):  # noqa: N818
    """No connection in time, including TLS."""


class FirstByteTimeout(WireError):  # noqa: N818
    """No response head in time after the last request byte that could be sent."""


class IdleTimeout(WireError):  # noqa: N818
    """No body byte in time."""


class ConnectionClosed(WireError):  # noqa: N818
    """The connection ended before the response did."""


class StaleConnection(ConnectionClosed):
    """An idle connection was closed without a byte when a request was written to it.

    Most likely the upstream closed it before, and never read the request; that cannot be known.
    """


class BadResponse(WireError):  # noqa: N818
    """The upstream sent something other than an HTTP/1.1 response."""


class Source(Protocol):
    """The part of a connection that a response uses."""

    loop: asyncio.AbstractEventLoop

    def arm(self, seconds: float | None) -> None:
        """Set the deadline of the current wait."""

    def taken(self, response: Response) -> None:
        """Continue after the reader emptied the buffer."""

    def fail(self, kind: type[WireError], reason: str) -> None:
        """End the exchange with an error and drop the connection."""


class Response:
    """One upstream response: the head at once, the body as it arrives.

    Read it until `complete`, or `abort` it: until then it holds its connection. Times are `time.monotonic()` (the clock
    of `loop.time()`, which uvloop rounds to milliseconds), 0.0 for "not yet". The attributes from `connection` on are
    the connection's, not the reader's.
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
        """Whether the whole body has been read."""
        return self.ended and not self.chunks

    async def read(self, timeout: float | None) -> bytes:  # noqa: ASYNC109 - asyncio.timeout costs more than the read
        """Return all buffered bytes, waiting for one if there is none; b"" at the end. Raises WireError."""
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
        """Drop the connection and all unread bytes; a complete response is left as it is."""
        if self.connection is not None:
            self.chunks = []
            self.connection.fail(ConnectionClosed, "dropped before the response was whole")

    async def wait(self, connection: Source, seconds: float | None) -> None:
        """Wait until the connection wakes this response; a cancelled wait drops the connection."""
        waiter = self.waiter = connection.loop.create_future()
        connection.arm(seconds)
        try:
            await waiter
        except BaseException:
            self.waiter = None
            self.abort()
            raise

    def wake(self) -> None:
        """Wake the reader."""
        waiter, self.waiter = self.waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def __repr__(self) -> str:
        state = "complete" if self.complete else self.error or "open"
        return f"<Response {self.status} {state}, {self.buffered} bytes unread>"
