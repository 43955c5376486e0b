"""Bytes to the client as they arrive, with a copy to the tee.

The span ends before the last byte leaves: whoever got a whole response finds it in the store. Last is the chunk that
carries the stream's own last event, the one that completes the body, or else the end of the body itself.
"""

import socket
import struct
from time import perf_counter
from typing import Protocol, cast

from aiohttp import HttpVersion11, web
from aiohttp.http_writer import StreamWriter
from multidict import CIMultiDict

from gateway import error_bodies
from gateway.connection import ends_with_the_connection
from gateway.errors import ExchangeError, Kind
from gateway.recording import Attempt, Exchange
from gateway.routing import Route
from gateway.tee import Tee
from gateway.upstream import Body, hop_by_hop
from gateway.wire import Response

# aiohttp gives every response these; a provider that sent none keeps sending none.
_AIOHTTPS_OWN = ("Server", "Date", "Content-Type")
# Advice to those between us and the client; a provider's own goes before ours.
_ADVICE = frozenset({"X-Accel-Buffering", "Cache-Control"})
_NO_LINGERING = struct.pack("ii", 1, 0)
_CUT_OFF = "its connection ended before the stream's last event"


class Filter(Protocol):
    """Takes something out of a stream on its way to the client."""

    def feed(self, data: bytes) -> bytes:
        """Return what of `data`, and of what was held back, may go on."""

    def flush(self) -> bytes:
        """Return what is still held back at the end."""


class Relayed(web.StreamResponse):
    """A response with exactly the headers it was given, written together with its first chunk."""

    _send_headers_immediately = False

    def __init__(self, response: Response, extra: dict[str, str]) -> None:
        headers: CIMultiDict[str] = CIMultiDict()
        dropped = hop_by_hop(response.headers)
        for name, value in response.headers:
            if name.lower() not in dropped:
                headers.add(name.decode("latin-1"), value.decode("latin-1"))
        absent = [name for name in _AIOHTTPS_OWN if name not in headers]
        for ours, said in extra.items():
            if ours not in _ADVICE or ours not in headers:
                headers[ours] = said
        super().__init__(status=response.status, reason=_reason(response.reason), headers=headers)
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

    def break_off(self, request: web.Request) -> None:
        """End the client's connection so that the response cannot look whole."""
        transport = request.transport
        if transport is None:
            return
        if request.version >= HttpVersion11 or "Content-Length" in self.headers:
            transport.close()
            return
        # Where only the connection's end ends a body, an end in good order would.
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGERING)
        transport.abort()


def _reason(raw: bytes) -> str:
    """Return a reason phrase without what aiohttp refuses to write."""
    return "".join(c for c in raw.decode("latin-1") if c >= " " and c != "\x7f")


def extra_headers(exchange: Exchange, *, streamed: bool) -> dict[str, str]:
    """Return what we add to a response: how to find its trace, and that nobody between may buffer a stream."""
    extra = {"x-gateway-trace-id": exchange.trace_id, "traceresponse": exchange.traceresponse}
    if streamed:
        extra["X-Accel-Buffering"] = "no"
        extra["Cache-Control"] = "no-cache"
    return extra


async def relay(
    request: web.Request,
    body: Body,
    route: Route,
    exchange: Exchange,
    attempt: Attempt,
    stream_filter: Filter | None,
) -> web.StreamResponse:
    """Pass a response on, from its head to its last byte, and end both spans before that byte.

    Raises ExchangeError where the provider failed before anything was passed on; the attempt has not ended then.
    A failure later is told to the client as far as its dialect can, and breaks off its connection.
    """
    tee, upstream = attempt.tee, body.response
    response = Relayed(upstream, extra_headers(exchange, streamed=tee.streamed))
    if stream_filter is not None:
        response.headers.popall("Content-Length", None)
    between_events = True
    try:
        # A stream's client waits for the head; any other one waits for the body anyway, and while nothing was
        # passed on a failure can still be mended.
        if tee.streamed and body.waiting:
            await _send_head(request, response)
        while True:
            data = await body.read()
            last = body.complete
            if data:
                tee.feed(data)
                if stream_filter is not None:
                    data = stream_filter.feed(data)
            if last and stream_filter is not None:
                data += stream_filter.flush()
            cut_off = False
            if last or tee.ended:
                outcome = attempt.end(None)
                # Such a body ends wherever the provider's connection does; here that was amid what it said.
                cut_off = last and outcome == Kind.CLOSED.value and ends_with_the_connection(upstream.headers)
                exchange.end(outcome, upstream.status, _CUT_OFF if cut_off else None)
            if not response.prepared:
                await response.prepare(request)
            if cut_off:
                await response.write(data)
                response.break_off(request)
                return response
            if last:
                await response.write_eof(data)
                return response
            if data:
                before = perf_counter()
                await response.write(data)
                exchange.waited += perf_counter() - before
                between_events = data.endswith((b"\n\n", b"\r\n\r\n"))
    except ExchangeError as failure:
        if not response.prepared:
            raise
        already_whole = attempt.ended
        attempt.end(failure.kind, failure.message)
        exchange.end(failure.kind.value, response.status, failure.message)
        if between_events and not already_whole and _takes_events(tee, response):
            await response.write(error_bodies.event(failure, route.family, exchange.trace_id))
        response.break_off(request)
        return response


def _takes_events(tee: Tee, response: Relayed) -> bool:
    """Whether an event of ours can be added to a stream: not into a coding, nor to make up an announced length."""
    coded = response.headers.get("Content-Encoding", "identity") != "identity"
    return tee.streamed and not coded and "Content-Length" not in response.headers


async def _send_head(request: web.Request, response: Relayed) -> None:
    writer = await response.prepare(request)
    if writer is not None:
        writer.send_headers()
