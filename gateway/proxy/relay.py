"""Relay a provider's response to the client as its bytes arrive, with a copy to the reader that records it.

The spans end before the last bytes leave: the chunk that has the stream's own last event, or the one that completes the
body, or else the end of the body itself.
"""

from aiohttp import web

from gateway.dialects.endpoint import ResponseRewriter, StreamFilter
from gateway.errors import ExchangeError, Kind
from gateway.providers.http.client import Response
from gateway.providers.http.connection import ends_with_the_connection
from gateway.providers.route import Route
from gateway.proxy.answer import Answer, Relayed, dropped_header, extra_headers
from gateway.proxy.upstream import Body
from gateway.tracing.attempt import Attempt
from gateway.tracing.exchange import Exchange
from gateway.tracing.outcome import CLIENT_LEFT, UNREAD, Outcome
from gateway.tracing.response_reader import ResponseReader

BYTES_MAX = 64 * 1024 * 1024
"""Bytes of a response that are read without a client: more than any model writes in one."""

_CUT_OFF = "its connection ended before the stream's last event"


async def relay(
    request: web.Request,
    body: Body,
    route: Route,
    exchange: Exchange,
    attempt: Attempt,
    stream_filter: StreamFilter | None,
    reply: ResponseRewriter | None,
    *,
    begun: bytes = b"",
) -> Answer:
    """Relay a response from its head up to its last bytes, and set the attempt's outcome.

    `reply` writes what the client gets instead of the provider's bytes. `begun`: bytes that have been read before, and
    fed to the reader. Raises ExchangeError if the provider failed
    before anything was relayed; a later failure is reported to the client as far as its dialect can, and its connection
    is broken off.
    """
    reader, upstream = attempt.reader, body.response
    change = reply or stream_filter
    response = _head(upstream, exchange, reader, reply)
    if change is not None or (reader.streamed and reader.reads and not reader.ended):  # it may get an event of ours
        response.headers.popall("Content-Length", None)
    between_events, unsent = True, 0
    try:
        if not begun:
            await _send_head(request, response, exchange, reader, body)
        while True:
            data, begun = (begun, b"") if begun else (await _read(body, reader), b"")
            last = body.complete
            if exchange.abandoned:
                unsent += len(data)
            if data and change is not None:
                data = change.feed(data)
            if last and change is not None:
                data += change.flush()
            if last or reader.ended or unsent > BYTES_MAX:
                break
            if not data:  # held back for now
                await _send_head(request, response, exchange, reader, body)
                continue
            await _send(request, response, exchange, data)
            between_events = reader.between_events(data)
    except ExchangeError as failure:
        if exchange.abandoned:
            return _unsent(response, attempt)
        if not response.prepared:
            raise
        attempt.outcome = Outcome(failure.kind.value, None, failure.message)
        event = b""
        if reply is not None:
            event = reply.broken(exchange.scrub(failure.message))
        elif between_events and _takes_events(reader, response):
            event = route.endpoint.broken_stream(failure, exchange.trace_id)
        outcome = Outcome(failure.kind.value, response.status, failure.message)
        return Answer(outcome=outcome, response=response, last=event, broken=True)
    if exchange.abandoned:
        return _unsent(response, attempt)
    if reply is not None:
        _report_dropped(reply, response, attempt)
    concluded = attempt.conclude()
    if last and data:
        between_events = reader.between_events(data)
    if last and _is_cut_off(concluded, reader, reply):
        ends_with = ends_with_the_connection(upstream.headers)
        event, broken = _cut_off(
            concluded, route, exchange, reader, response, reply, between_events=between_events, by_connection=ends_with
        )
        if event or broken:
            outcome = Outcome(concluded.kind, upstream.status, concluded.message or _CUT_OFF)
            return Answer(outcome=outcome, response=response, last=data + event, broken=broken)
    rest = None if last else body
    outcome = Outcome(concluded.kind, upstream.status, None, concluded.error_type)
    return Answer(outcome=outcome, response=response, last=data, rest=rest, reader=reader, change=change)


def _head(upstream: Response, exchange: Exchange, reader: ResponseReader, reply: ResponseRewriter | None) -> Relayed:
    extra = extra_headers(exchange, streamed=reader.streamed)
    if reply is None:
        return Relayed(upstream, extra)
    return Relayed(upstream, extra | dropped_header(reply.dropped), content_type=reply.content_type)


def _report_dropped(reply: ResponseRewriter, response: Relayed, attempt: Attempt) -> None:
    """Name the fields that were dropped: on the span, and to a client that has not got the head yet."""
    attempt.dropped(reply.dropped)
    if not response.prepared:
        response.headers.update(dropped_header(reply.dropped))


def _is_cut_off(concluded: Outcome, reader: ResponseReader, reply: ResponseRewriter | None) -> bool:
    """Whether a stream came to its end without its last event, or a translated one without one that could be read."""
    unread = concluded.kind == UNREAD and reply is not None and reader.streamed
    return concluded.kind == Kind.CLOSED.value or unread


def _cut_off(
    concluded: Outcome,
    route: Route,
    exchange: Exchange,
    reader: ResponseReader,
    response: Relayed,
    reply: ResponseRewriter | None,
    *,
    between_events: bool,
    by_connection: bool,
) -> tuple[bytes, bool]:
    """Return the event that reports a stream without its last event, and whether the connection is broken off as well.

    It is where no event can be added, or where the end of the provider's connection was the end of its body. A stream
    that has not shown that it ends with an event of its own is relayed as it is.
    """
    if reply is not None:
        return reply.broken(_CUT_OFF), True
    if not reader.expects_end:
        return b"", by_connection
    if not (between_events and _takes_events(reader, response)):
        return b"", True
    message = f"The provider {route.provider.name!r} failed: {concluded.message}."
    return route.endpoint.broken_stream(ExchangeError(Kind.CLOSED, message), exchange.trace_id), by_connection


async def _read(body: Body, reader: ResponseReader) -> bytes:
    data = await body.read()
    if data:
        reader.feed(data)
    if body.complete:
        reader.finish()
    return data


def _takes_events(reader: ResponseReader, response: Relayed) -> bool:
    """Whether an event of ours can be added to a stream: not into a coding or an array, nor to an announced length."""
    coded = response.headers.get("Content-Encoding", "identity") != "identity"
    array = response.headers.get("Content-Type", "").startswith("application/json")
    return reader.streamed and not coded and not array and "Content-Length" not in response.headers


async def _send_head(
    request: web.Request, response: Relayed, exchange: Exchange, reader: ResponseReader, body: Body
) -> None:
    """Send the head alone, if the next bytes are not there yet and a stream's client waits for it.

    Any other client waits for the body anyway, and while nothing was relayed another attempt can still be made.
    """
    if reader.streamed and not response.prepared and body.waiting:
        await _send(request, response, exchange, b"")


async def _send(request: web.Request, response: Relayed, exchange: Exchange, data: bytes) -> None:
    """Send the head, if it has not left yet, and bytes of the body; nothing if the attempt is read on without a client.

    Raises ConnectionError if the client has left.
    """
    if exchange.abandoned:
        return
    try:
        if not response.prepared:
            writer = await response.prepare(request)
            if not data and writer is not None:
                writer.send_headers()
        if data:
            await exchange.waiting(response.write(data))
    except ConnectionError:
        if not exchange.abandon():
            raise


def _unsent(response: Relayed, attempt: Attempt) -> Answer:
    """Return the answer to a client that had left, once the response has been read for its usage."""
    attempt.conclude()
    attempt.outcome = CLIENT_LEFT
    return Answer(outcome=CLIENT_LEFT, response=response)
