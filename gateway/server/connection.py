"""Connections of clients: aiohttp's, with a deadline for a request's head, and an answer for clients that half-close.

The end of a client's stream has two meanings: it has closed the connection, and its request is to be cancelled, or it
has only finished sending (`shutdown(SHUT_WR)`), and waits. aiohttp takes both for the first.
"""

import asyncio
import select
from collections.abc import Awaitable, Callable
from typing import Any, cast

from aiohttp import HttpVersion11, web
from aiohttp.http_writer import StreamWriter
from aiohttp.web_request import BaseRequest

from gateway.dialects.registry import TABLES
from gateway.errors import ExchangeError, Kind

# Seconds after a client's end of stream until it is probed, unless it has been answered by then.
_PROBE_SECONDS = 0.5
# A peer that has closed its socket answers the probe by a reset: seconds after which that is looked for, one by one.
_RESET_SECONDS = (0.02, 0.1, 0.5, 2.0)
# RFC 9110, section 15.2: clients read over interim responses, whether they expect one or not.
_PROBE = b"HTTP/1.1 100 Continue\r\n\r\n"
# RFC 9112, section 7.1: the size of the next chunk may begin with zeros, that of the last one too.
_WITHIN_CHUNKS = b"0"
_RESET = select.POLLERR | select.POLLHUP


class ClientServer(web.Server):
    """Makes the connections. `head_seconds`: the time for the head of a request; it may be changed at any time."""

    def __init__(self, made: web.Server, head_seconds: float) -> None:
        """Take the place of a server that aiohttp has made for an application."""
        super().__init__(
            made.request_handler,
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            loop=made._loop,  # noqa: SLF001
            **made._kwargs,  # noqa: SLF001
        )
        self.head_seconds = head_seconds

    def __call__(self) -> web.RequestHandler:
        """Return the protocol of a new connection."""
        return ClientConnection(self, loop=self._loop, **self._kwargs)


class ClientRunner(web.AppRunner):
    """Runs an application on a `ClientServer`. `head_seconds` is its attribute, and may be changed at any time."""

    __slots__ = ("_head_seconds",)

    def __init__(self, app: web.Application, *, head_seconds: float, **options: Any) -> None:
        super().__init__(app, **options)
        self._head_seconds = head_seconds

    def set_head_seconds(self, seconds: float) -> None:
        """Set the time for the heads of requests from now on."""
        self._head_seconds = seconds
        if isinstance(self.server, ClientServer):
            self.server.head_seconds = seconds

    async def _make_server(self) -> web.Server:
        return ClientServer(await super()._make_server(), self._head_seconds)


class ClientConnection(web.RequestHandler):
    """aiohttp's protocol of one connection."""

    __slots__ = ("_answered", "_begun", "_ended", "_server", "_timer")

    def __init__(self, server: ClientServer, **options: Any) -> None:
        super().__init__(server, **options)
        self._server = server
        self._answered = 0
        self._begun = False  # a byte of the head has come
        self._ended = False  # the client sends no more
        self._timer: asyncio.TimerHandle | None = None

    # deadline of the head

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first head from now on."""
        super().connection_made(transport)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        """Parse bytes. Those that complete no head, while no request is answered, begin one."""
        before = self._request_count
        super().data_received(data)
        if self._request_count != before:
            self._cancel_timer()
        elif self._request_count == self._answered:
            self._begun = True
            if self._timer is None:
                self._expect_head()

    def _expect_head(self) -> None:
        self._timer = self._loop.call_later(self._server.head_seconds, self._head_is_late)

    def _head_is_late(self) -> None:
        """Refuse a head that drips, and close a connection without a byte, such as a browser's spare one."""
        self._timer = None
        if self._waiter is None:  # an answered request whose body still comes is dropped by aiohttp
            return
        if self._begun and self.transport is not None:
            self.transport.write(_late(self._server.head_seconds))
        self.force_close()

    def _cancel_timer(self) -> None:
        self._begun = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def connection_lost(self, exc: BaseException | None) -> None:
        """Cancel the request in flight."""
        self._cancel_timer()
        super().connection_lost(exc)

    # the end of the client's stream

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Keep the connection open for the responses to requests that came whole."""
        if self._request_count == self._answered or not self._is_whole():
            return None
        self._ended = True
        self._cancel_timer()
        self._timer = self._loop.call_later(_PROBE_SECONDS, self._probe, self._sent)
        return True

    def _is_whole(self) -> bool:
        """Whether the body of the last request has come to its end."""
        request = self._current_request
        if self._messages:
            return self._messages[-1][1].is_eof()
        return request is None or request.content.is_eof()

    @property
    def _sent(self) -> int:
        """The number of bytes of the present response that have been written."""
        request = self._current_request
        return 0 if request is None else request.writer.output_size

    def _probe(self, sent: int) -> None:
        """Send what a client that waits reads over. `sent`: of the response, at the end of the client's stream."""
        self._timer = None
        request, transport = self._current_request, self.transport
        if request is None or transport is None:
            return
        writer = cast("StreamWriter", request.writer)
        if self._sent == sent and not self.writing_paused:  # else the response's own bytes are a probe
            if sent and not writer.chunked:
                transport.abort()  # nothing can be sent in between, and a client that leaves is by far more likely
                return
            if sent or request.version >= HttpVersion11:
                transport.write(_WITHIN_CHUNKS if sent else _PROBE)
        self._look_for_reset(_RESET_SECONDS)

    def _look_for_reset(self, delays: tuple[float, ...]) -> None:
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        poll = select.poll()
        poll.register(transport.get_extra_info("socket").fileno(), 0)
        if any(events & _RESET for _, events in poll.poll(0)):
            transport.abort()
        elif delays:
            self._timer = self._loop.call_later(delays[0], self._look_for_reset, delays[1:])

    async def _handle_request(
        self,
        request: BaseRequest,
        start_time: float | None,
        request_handler: Callable[[BaseRequest], Awaitable[web.StreamResponse]],
    ) -> tuple[web.StreamResponse, bool]:
        """Answer a request; the last one of a client that sends no more closes the connection."""
        response, reset = await super()._handle_request(request, start_time, request_handler)
        self._answered += 1
        if self._ended and self._answered == self._request_count:
            response.force_close()
        return response, reset


def _late(seconds: float) -> bytes:
    """Return the response to a head that is not whole in time."""
    error = ExchangeError(
        Kind.TIMEOUT,
        f"The request's head was not complete within {seconds:g} s (setting: $.timeouts.request_head).",
        status=408,
        code="request_timeout",
    )
    body = TABLES.default.error_body(error, "")
    head = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Type: application/json\r\n"
    return head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
