"""An answer to the client, whose last bytes are sent once the spans have ended.

So a client with a whole response finds its spans in the store.
"""

import asyncio
import socket
import struct
from collections.abc import Sequence
from typing import cast

from aiohttp import HttpVersion11, web
from aiohttp.http_writer import StreamWriter
from msgspec import Struct
from multidict import CIMultiDict

from gateway.dialects.endpoint import StreamFilter
from gateway.errors import ExchangeError
from gateway.providers.http.client import Response
from gateway.proxy.headers import hop_by_hop
from gateway.proxy.upstream import Body
from gateway.tracing.exchange import Exchange
from gateway.tracing.outcome import Outcome
from gateway.tracing.response_reader import ResponseReader

# aiohttp adds these to every response; a provider's response without them is relayed without them.
_AIOHTTPS_OWN = ("Server", "Date", "Content-Type")
# Headers of ours that a provider's own replace: its word on retries, its trace, its advice to intermediaries.
_ITS_OWN_FIRST = frozenset({"x-should-retry", "Retry-After", "traceresponse", "X-Accel-Buffering", "Cache-Control"})
# Headers that describe a body, and are wrong for one that the gateway has written instead.
_OF_THE_BODY = frozenset({b"content-type", b"content-length", b"content-encoding", b"etag", b"digest"})
_DROPPED_MOST = 40
_NO_LINGERING = struct.pack("ii", 1, 0)
# Seconds for a client to read the error event: Node's fetch discards unread data when the connection is reset.
_READING = 0.05


class Relayed(web.StreamResponse):
    """A response with exactly the headers it was given, written together with its first chunk."""

    _send_headers_immediately = False

    def __init__(
        self, response: Response, extra: dict[str, str], *, content_type: str | None = None, status: int | None = None
    ) -> None:
        """Take a provider's head. `content_type`: of a body that the gateway writes instead of the provider's."""
        headers: CIMultiDict[str] = CIMultiDict()
        dropped = hop_by_hop(response.headers)
        if content_type is not None:
            dropped |= _OF_THE_BODY
            extra = {**extra, "Content-Type": content_type}
        for raw_name, raw_value in response.headers:
            if raw_name.lower() not in dropped:
                headers.add(raw_name.decode("latin-1"), raw_value.decode("latin-1"))
        for name, value in extra.items():
            if name not in _ITS_OWN_FIRST or name not in headers:
                headers[name] = value
        absent = [name for name in _AIOHTTPS_OWN if name not in headers]
        status = response.status if status is None else status
        reason = _reason(response.reason) if status == response.status else None
        super().__init__(status=status, reason=reason, headers=headers)
        self._absent = absent

    async def _prepare_headers(self) -> None:
        await super()._prepare_headers()
        for name in self._absent:
            self.headers.popall(name, None)

    async def _write_headers(self) -> None:
        await super()._write_headers()
        # aiohttp writes text as UTF-8; here each character stands for one byte as the provider sent it.
        writer = cast("StreamWriter", self._payload_writer)
        head = writer._headers_buf  # noqa: SLF001
        if head is not None and not head.isascii():
            writer._headers_buf = head.decode().encode("latin-1")  # noqa: SLF001


class Answer(Struct, frozen=True, kw_only=True):
    """A response up to its last bytes, and the exchange's outcome.

    Attributes:
        last: The last bytes; with `rest`, those that have the stream's own last event.
        rest: A provider's body that goes on after that event.
        reader: The reader of that rest.
        change: The filter of that rest.
        broken: Whether the client's connection is broken off after `last`, so that the response cannot look whole.

    """

    outcome: Outcome
    response: web.StreamResponse
    last: bytes = b""
    rest: Body | None = None
    reader: ResponseReader | None = None
    change: StreamFilter | None = None
    broken: bool = False

    async def finish(self, request: web.Request) -> web.StreamResponse:
        """Send the last bytes. The spans have ended."""
        response, rest = self.response, self.rest
        try:
            if not response.prepared and (self.last or rest is None):
                await response.prepare(request)
            if self.broken:
                await self._break_off(request)
            elif rest is None:
                await response.write_eof(self.last)
            else:
                if self.last:
                    await response.write(self.last)
                await self._relay_rest(request, rest)
        finally:
            if rest is not None:
                rest.response.abort()
        return response

    async def _relay_rest(self, request: web.Request, rest: Body) -> None:
        """Relay what follows a stream's own last event: comments, blank lines, the end of its coding."""
        response = self.response
        try:
            while True:
                data = await rest.read()
                if data and self.reader is not None:
                    self.reader.feed(data)
                if self.change is not None:
                    data = self.change.feed(data) + (self.change.flush() if rest.complete else b"")
                if not response.prepared and (data or rest.complete):
                    await response.prepare(request)
                if rest.complete:
                    await response.write_eof(data)
                    return
                if data:
                    await response.write(data)
        except ExchangeError:
            break_off(request, response)

    async def _break_off(self, request: web.Request) -> None:
        if self.last:
            await self.response.write(self.last)
            await asyncio.sleep(_READING)
        break_off(request, self.response)


def break_off(request: web.Request, response: web.StreamResponse) -> None:
    """End the client's connection so that the response cannot look whole."""
    transport = request.transport
    if transport is None:
        return
    if request.version >= HttpVersion11 or "Content-Length" in response.headers:
        transport.close()
        return
    # If only the connection's end ends a body, an orderly end would look like success.
    connection = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGERING)
    transport.abort()


def _reason(raw: bytes) -> str:
    """Return a reason phrase without the characters that aiohttp refuses to write."""
    return "".join(c for c in raw.decode("latin-1") if c >= " " and c != "\x7f")


def extra_headers(exchange: Exchange, *, streamed: bool) -> dict[str, str]:
    """Return the headers we add to a response: the ids of its trace, and for a stream that no proxy may buffer it."""
    extra = {"x-gateway-trace-id": exchange.trace_id, "traceresponse": exchange.traceresponse}
    if streamed:
        extra["X-Accel-Buffering"] = "no"
        extra["Cache-Control"] = "no-cache"
    return extra


def dropped_header(names: Sequence[str]) -> dict[str, str]:
    """Return the header that names the fields a translation dropped; none if it dropped none."""
    if not names:
        return {}
    words = ["".join(c if " " <= c <= "~" and c != "," else "?" for c in name) for name in names]
    shown = words[:_DROPPED_MOST]
    if len(words) > len(shown):
        shown.append(f"and {len(words) - len(shown)} more")
    return {"x-gateway-dropped": ", ".join(shown)}
