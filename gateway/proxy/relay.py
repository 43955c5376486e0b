"""Bytes to the client as they arrive, with a copy to the tee.

The span ends before the last byte leaves: whoever got a whole response finds it in the store. Last is the chunk that
carries the stream's own last event, the one that completes the body, or else the end of the body itself.
"""

import asyncio
import socket
import struct
from collections.abc import Sequence
from typing import cast

from aiohttp import HttpVersion11, web
from aiohttp.http_writer import StreamWriter
from multidict import CIMultiDict

from gateway.dialects.endpoint import ResponseRewriter, StreamFilter
from gateway.errors import ExchangeError, Kind
from gateway.providers.http.client import Response
from gateway.providers.http.connection import ends_with_the_connection
from gateway.providers.route import Route
from gateway.proxy.headers import hop_by_hop
from gateway.proxy.upstream import Body
from gateway.tracing.attempt import Attempt
from gateway.tracing.exchange import Exchange
from gateway.tracing.response_reader import ResponseReader

# aiohttp gives every response these; a provider that sent none keeps sending none.
_AIOHTTPS_OWN = ("Server", "Date", "Content-Type")
# Advice to those between us and the client; a provider's own goes before ours.
_ADVICE = frozenset({"X-Accel-Buffering", "Cache-Control"})
# What says how a body was written, and is not true of one that we have written instead.
_OF_THE_BODY = frozenset({b"content-type", b"content-length", b"content-encoding", b"etag", b"digest"})
_DROPPED_MOST = 40
_NO_LINGERING = struct.pack("ii", 1, 0)
# Seconds that a client has to read the last it is told: Node's fetch throws away what was not read when it breaks off.
_READING = 0.05
_CUT_OFF = "its connection ended before the stream's last event"


class Relayed(web.StreamResponse):
    """A response with exactly the headers it was given, written together with its first chunk."""

    _send_headers_immediately = False

    def __init__(
        self, response: Response, extra: dict[str, str], *, content_type: str | None = None, status: int | None = None
    ) -> None:
        """Take a provider's head. `content_type`: the body is another one, which we have written."""
        headers: CIMultiDict[str] = CIMultiDict()
        dropped = hop_by_hop(response.headers)
        if content_type is not None:
            dropped |= _OF_THE_BODY
            extra = {**extra, "Content-Type": content_type}
        for name, value in response.headers:
            if name.lower() not in dropped:
                headers.add(name.decode("latin-1"), value.decode("latin-1"))
        for ours, said in extra.items():
            if ours not in _ADVICE or ours not in headers:
                headers[ours] = said
        absent = [name for name in _AIOHTTPS_OWN if name not in headers]
        told = response.status if status is None else status
        reason = _reason(response.reason) if told == response.status else None
        super().__init__(status=told, reason=reason, headers=headers)
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


def dropped_header(names: Sequence[str]) -> dict[str, str]:
    """Return the header that names what a translation could not tell; none where it told all."""
    if not names:
        return {}
    words = ["".join(c if " " <= c <= "~" and c != "," else "?" for c in name) for name in names]
    kept = words[:_DROPPED_MOST]
    if len(words) > len(kept):
        kept.append(f"and {len(words) - len(kept)} more")
    return {"x-gateway-dropped": ", ".join(kept)}


def _head(upstream: Response, exchange: Exchange, tee: ResponseReader, reply: ResponseRewriter | None) -> Relayed:
    extra = extra_headers(exchange, streamed=tee.streamed)
    if reply is None:
        return Relayed(upstream, extra)
    return Relayed(upstream, extra | dropped_header(reply.dropped), content_type=reply.content_type)


def _tell_dropped(reply: ResponseRewriter, response: Relayed, attempt: Attempt) -> None:
    """Say what could not be told: on the span, and to a client that has not got the head yet."""
    attempt.dropped(reply.dropped)
    if not response.prepared:
        response.headers.update(dropped_header(reply.dropped))


async def relay(
    request: web.Request,
    body: Body,
    route: Route,
    exchange: Exchange,
    attempt: Attempt,
    stream_filter: StreamFilter | None,
    reply: ResponseRewriter | None,
) -> web.StreamResponse:
    """Pass a response on, from its head to its last byte, and end both spans before that byte.

    `reply`: the client is given what that makes of the response, instead of its bytes.
    Raises ExchangeError where the provider failed before anything was passed on; the attempt has not ended then.
    A failure later is told to the client as far as its dialect can, and breaks off its connection.
    """
    tee, upstream = attempt.tee, body.response
    change = reply or stream_filter
    response = _head(upstream, exchange, tee, reply)
    if change is not None:
        response.headers.popall("Content-Length", None)
    between_events = True
    try:
        await _send_head(request, response, tee, body)
        while True:
            data = await body.read()
            last = body.complete
            if data:
                tee.feed(data)
                if change is not None:
                    data = change.feed(data)
            if last and change is not None:
                data += change.flush()
            cut_off = False
            if last or tee.ended:
                if reply is not None:
                    _tell_dropped(reply, response, attempt)
                outcome = attempt.end(None)
                cut_off = last and outcome == Kind.CLOSED.value and _ends_anywhere(upstream, reply)
                exchange.end(outcome, upstream.status, _CUT_OFF if cut_off else None)
            if not (data or last):  # held back for now
                await _send_head(request, response, tee, body)
                continue
            if not response.prepared:
                await response.prepare(request)
            if cut_off:
                await _break_off(request, response, data if reply is None else data + reply.broken(_CUT_OFF))
                return response
            if last:
                await response.write_eof(data)
                return response
            await exchange.waiting(response.write(data))
            between_events = tee.between_events(data)
    except ExchangeError as failure:
        if not response.prepared:
            raise
        already_whole = attempt.ended
        attempt.end(failure.kind, failure.message)
        exchange.end(failure.kind.value, response.status, failure.message)
        told = b""
        if not already_whole:
            if reply is not None:
                told = reply.broken(exchange.scrub(failure.message))
            elif between_events and _takes_events(tee, response):
                told = route.endpoint.broken_stream(failure, exchange.trace_id)
        await _break_off(request, response, told)
        return response


async def _break_off(request: web.Request, response: Relayed, told: bytes) -> None:
    """End a client's connection before the response is whole, having told it why, as far as that can be said."""
    if told:
        await response.write(told)
        await asyncio.sleep(_READING)
    response.break_off(request)


def _ends_anywhere(upstream: Response, reply: ResponseRewriter | None) -> bool:
    """Whether the end of a body does not show that it is whole: such a one ends wherever its connection does.

    A translation that was not told of an end has none to tell.
    """
    return reply is not None or ends_with_the_connection(upstream.headers)


def _takes_events(tee: ResponseReader, response: Relayed) -> bool:
    """Whether an event of ours can be added to a stream: not into a coding or an array, nor to an announced length."""
    coded = response.headers.get("Content-Encoding", "identity") != "identity"
    array = response.headers.get("Content-Type", "").startswith("application/json")
    return tee.streamed and not coded and not array and "Content-Length" not in response.headers


async def _send_head(request: web.Request, response: Relayed, tee: ResponseReader, body: Body) -> None:
    """Send the head alone, where the next bytes are not there yet and a stream's client waits for it.

    Any other one waits for the body anyway, and while nothing was passed on a failure can still be mended.
    """
    if not tee.streamed or response.prepared or not body.waiting:
        return
    writer = await response.prepare(request)
    if writer is not None:
        writer.send_headers()
