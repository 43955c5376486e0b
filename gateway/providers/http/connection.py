# ruff: noqa: D102 - the callbacks are documented by asyncio.Protocol and httptools
"""One HTTP/1.1 connection to an upstream: bytes out, a response in, with back pressure both ways.

`client` chooses the connection, this module speaks on it and fills the `Response` that the caller reads: one exchange
at a time. It uses raw transports and a C parser because it runs for every call and every chunk (the figures are in
`client`); bodies are not parsed.
"""

from __future__ import annotations

import asyncio
import os
import select
import time
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING, Final, cast

import httptools

from gateway.providers.http.connect import SILENT_SECONDS, STALLED_SECONDS, bound_silence, probe
from gateway.providers.http.response import (
    BadResponse,
    ConnectionClosed,
    FirstByteTimeout,
    Headers,
    IdleTimeout,
    Response,
    WireError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_FRAMING: Final = 64 * 1024
"""The most bytes of a response head, or of trailers and chunk extensions between body bytes."""
MAX_UNREAD: Final = 256 * 1024
"""Body bytes buffered for a consumer that does not read, before reading from the socket pauses."""
PIECE: Final = 64 * 1024
"""Head and a body up to this size are written at once; a larger body in slices of this size."""
_HANG_UP: Final = getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR
_TOO_MUCH_FRAMING: Final = f"more than {MAX_FRAMING} bytes of head, trailers or chunk extensions"


class Connection(asyncio.Protocol):
    """The asyncio protocol and the parser's callbacks for one socket.

    `on_free` is called with the connection when it can carry the next exchange, `on_gone` when it is closed.
    """

    def __init__(
        self,
        peer: str,
        idle_seconds: float,
        on_free: Callable[[Connection], None],
        on_gone: Callable[[Connection], None],
    ) -> None:
        self.peer = peer
        self.loop = asyncio.get_running_loop()
        self.exchanges = 0
        self._idle_seconds = idle_seconds
        self._on_free = on_free
        self._on_gone = on_gone
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._response: Response | None = None
        self._headers: list[tuple[bytes, bytes]] = []
        self._reason = b""
        self._framing = 0
        self._head_only = False
        self._interim = False
        self._keep_alive = True
        self._read_paused = False
        self._write_paused = False
        self._unsent: memoryview | None = None
        self._silence = 0
        self._first_byte_seconds = 0.0
        self._deadline = inf
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = inf

    @property
    def usable(self) -> bool:
        """Whether a request may be written now."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def hung_up(self) -> bool:
        """Whether the peer's end of an idle connection has arrived, though the loop has not read it yet."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return True
        poll = select.poll()
        poll.register(transport.get_extra_info("socket").fileno(), _HANG_UP)
        return bool(poll.poll(0))

    def keep_alive(self) -> None:
        """Let the kernel probe the peer, and end the connection if it does not answer."""
        probe(cast("asyncio.Transport", self._transport))
        self._bound_silence(SILENT_SECONDS)

    def _bound_silence(self, seconds: int) -> None:
        if seconds != self._silence:
            self._silence = seconds
            bound_silence(cast("asyncio.Transport", self._transport), seconds)

    # the caller's side

    async def exchange(self, response: Response, head: bytes, body: bytes, head_only: bool, seconds: float) -> None:
        """Send one request and return once the head of its response is in `response`. Raises WireError."""
        self._response = response
        self.exchanges += 1
        self._headers = []
        self._reason = b""
        self._framing = 0
        self._first_byte_seconds = seconds
        if self._head_only:
            # After a HEAD the parser still waits for a body: use a new one.
            self._parser = httptools.HttpResponseParser(self)
        self._head_only = head_only
        transport = self._transport
        if transport is None or transport.is_closing():
            self.fail(ConnectionClosed, "closed before the request was sent")
        elif len(body) <= PIECE:
            self._bound_silence(SILENT_SECONDS)
            transport.write(head + body if body else head)
            response.sent_at = time.monotonic()
        else:
            self._bound_silence(STALLED_SECONDS)
            transport.write(head)
            self._unsent = memoryview(body)
            self._send_more()
        if response.error is None:
            await response.wait(self, seconds)
        if not response.head_at and response.error is not None:
            raise response.error

    def taken(self, response: Response) -> None:
        """Continue after the consumer emptied the buffer: resume reading, or free the connection after the end."""
        if self._read_paused and self.usable:
            self._read_paused = False
            cast("asyncio.Transport", self._transport).resume_reading()
        if response.ended:
            self._release(response)

    def fail(self, kind: type[WireError], reason: str) -> None:
        """End an unfinished exchange with an error, and close the connection."""
        response, self._response = self._response, None
        if response is not None:
            response.connection = None
            if not response.ended:
                response.error = kind(f"{self.peer}: {reason}")
            response.wake()
        self.drop()

    def drop(self) -> None:
        """Close the socket without waiting."""
        self._unsent = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._transport is not None:
            self._transport.abort()
        self._on_gone(self)

    def arm(self, seconds: float | None) -> None:
        """Set the deadline of the current wait.

        A timer is created only if none fires before it: one serves thousands of waits, at the cost of an assignment.
        """
        if seconds is None:
            self._deadline = inf
            return
        self._deadline = deadline = time.monotonic() + seconds
        if self._timer is None or deadline < self._timer_at:
            self._set_timer(deadline, seconds)

    def _set_timer(self, at: float, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = self.loop.call_later(seconds, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        response = self._response
        if self._deadline == inf or (response is not None and response.waiter is None):
            return  # no wait; the next one creates a timer
        left = self._deadline - time.monotonic()
        if left > 0.001:  # event loops round to milliseconds
            self._set_timer(self._deadline, left)
        elif response is None:
            self.drop()
        elif response.head_at:
            self.fail(IdleTimeout, "no more of the body came in time")
        else:
            self.fail(FirstByteTimeout, "no response head came in time")

    def _release(self, response: Response) -> None:
        response.connection = None
        self._response = None
        # After an early response to an unfinished upload the stream is in the middle of a request.
        if self._keep_alive and self._unsent is None and not self._write_paused and self.usable:
            self.arm(self._idle_seconds)
            self._on_free(self)
        else:
            self.drop()

    # the transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        response = self._response
        if response is None:
            self.drop()  # an unsolicited response must not become that of the next request
            return
        if not response.first_byte_at:
            response.first_byte_at = time.monotonic()
        self._framing += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._keep_alive = False
        except httptools.HttpParserError as error:
            self._keep_alive = False
            if not response.ended:
                self.fail(BadResponse, f"not a valid HTTP response: {error}")
                return
        if response.chunks or response.ended:
            response.wake()
            if response.ended and not response.chunks:
                self._release(response)
            elif response.buffered > MAX_UNREAD and not self._read_paused and self.usable:
                self._read_paused = True
                cast("asyncio.Transport", self._transport).pause_reading()
        if self._framing > MAX_FRAMING and not response.ended:
            self.fail(BadResponse, _TOO_MUCH_FRAMING)

    def eof_received(self) -> None:
        self._input_ended(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None and self._response is not None:
            self._read_the_rest()
        self._input_ended(exc)

    def _read_the_rest(self) -> None:
        # An upstream that refuses an upload responds and resets. If a write meets the reset first, the loop closes the
        # transport with the response unread; until this callback returns the socket is still open. (With TLS the bytes
        # can no longer be decrypted; there only reading before writing helps.)
        transport = cast("asyncio.Transport", self._transport)
        if transport.get_extra_info("ssl_object") is None:
            with suppress(OSError):
                while self._response is not None and (
                    data := os.read(transport.get_extra_info("socket").fileno(), MAX_UNREAD)
                ):
                    self.data_received(data)

    def _input_ended(self, exc: Exception | None) -> None:
        response = self._response
        if response is None or response.ended:
            self._keep_alive = False
            if response is None:
                self.drop()
        elif response.head_at and exc is None and ends_with_the_connection(response.headers):
            self._keep_alive = False
            response.ended = True
            response.wake()
            if not response.chunks:
                self._release(response)
        else:
            part = "the body" if response.head_at else "the head" if response.first_byte_at else "any response"
            self.fail(ConnectionClosed, f"closed before the end of {part}" + (f" ({exc})" if exc else ""))

    def pause_writing(self) -> None:
        self._write_paused = True

    def resume_writing(self) -> None:
        self._write_paused = False
        if self._unsent is not None:
            response = self._response
            if response is not None and not response.head_at:
                self.arm(self._first_byte_seconds)  # the upload progresses: no response is due yet
            self._send_more()

    def _send_more(self) -> None:
        unsent, transport = self._unsent, self._transport
        if unsent is None or transport is None or self._write_paused or transport.is_closing():
            return
        transport.write(unsent[:PIECE])
        self._unsent = unsent = unsent[PIECE:] or None
        if unsent is not None:
            # One slice per turn of the loop: an early response is read between two of them.
            self.loop.call_soon(self._send_more)
        elif self._response is not None:
            self._response.sent_at = time.monotonic()

    # the parser's side

    def on_message_begin(self) -> None:
        if self._response is None or self._response.ended:
            self._keep_alive = False

    def on_status(self, reason: bytes) -> None:
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        response = self._response
        if response is None or response.ended:
            return
        if self._framing > MAX_FRAMING and sum(len(n) + len(v) + 4 for n, v in self._headers) > MAX_FRAMING:
            self.fail(BadResponse, _TOO_MUCH_FRAMING)
            return
        status = self._parser.get_status_code()
        if status < 200 and status != 101:
            self._interim = True
            return
        response.status = status
        response.reason = self._reason
        response.headers = tuple(self._headers)
        response.head_at = time.monotonic()
        self._framing = 0
        if self._head_only:
            self._keep_alive = self._parser.should_keep_alive()
            response.ended = True
        response.wake()

    def on_body(self, data: bytes) -> None:
        response = self._response
        if response is None or response.ended or self._interim:
            self._keep_alive = False
            return
        response.chunks.append(data)
        response.buffered += len(data)
        self._framing = 0

    def on_message_complete(self) -> None:
        response = self._response
        if self._interim:
            self._interim = False
            self._headers = []
            self._reason = b""
        elif response is not None and not response.ended:
            response.ended = True
            self._keep_alive = self._parser.should_keep_alive()

    def __repr__(self) -> str:
        state = "closed" if not self.usable else "idle" if self._response is None else "busy"
        return f"<Connection {self.peer} {state}, {self.exchanges} exchanges>"


def ends_with_the_connection(headers: Headers) -> bool:
    """Whether a body with these headers ends with the connection (RFC 9112, section 6.3)."""
    framing = {name.lower(): value.lower() for name, value in headers}
    codings = framing.get(b"transfer-encoding")
    if codings is not None:
        return not codings.rstrip().endswith(b"chunked")
    return b"content-length" not in framing
