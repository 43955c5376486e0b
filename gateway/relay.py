"""Bytes to the client as they arrive, with a copy to the tee.

The span ends before the last byte leaves: whoever got a whole response finds it in the store. Last is the chunk that
carries the stream's own last event, the one that completes the body, or else the end of the body itself.
"""

from time import perf_counter
from typing import Protocol

from aiohttp import web
from multidict import CIMultiDict

from gateway import error_bodies
from gateway.errors import ExchangeError
from gateway.recording import Attempt, Exchange
from gateway.routing import Route
from gateway.upstream import HOP_BY_HOP, Body
from gateway.wire import Response

# aiohttp gives every response these; a provider that sent none keeps sending none.
_AIOHTTPS_OWN = ("Server", "Date", "Content-Type")


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
        for name, value in response.headers:
            if name.lower() not in HOP_BY_HOP:
                headers.add(_text(name), _text(value))
        absent = [name for name in _AIOHTTPS_OWN if name not in headers]
        for ours, said in extra.items():
            headers.setdefault(ours, said)
        super().__init__(status=response.status, reason=_text(response.reason), headers=headers)
        self._absent = absent

    async def _prepare_headers(self) -> None:
        await super()._prepare_headers()
        for name in self._absent:
            self.headers.popall(name, None)


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


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
            if last or tee.ended:
                exchange.end(attempt.end(None), upstream.status)
            if not response.prepared:
                await response.prepare(request)
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
        if tee.streamed and between_events and not already_whole:
            await response.write(error_bodies.event(failure, route.family, exchange.trace_id))
        # Without the end of its body the response can never look whole.
        if request.transport is not None:
            request.transport.close()
        return response


async def _send_head(request: web.Request, response: Relayed) -> None:
    writer = await response.prepare(request)
    if writer is not None:
        writer.send_headers()
