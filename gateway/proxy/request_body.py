"""The body of a client's request, read up to a size limit, without a long pause and at a minimum rate.

The limit is the configuration's `$.limits.body_bytes`. The proxy, the ingest endpoints and the admin pages all read
here, so that all refuse a body that is too large or too slow alike.
"""

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import StreamReader, web
from msgspec import Struct

from gateway.config.model import Config
from gateway.errors import ExchangeError, Kind

Timer = Callable[[Awaitable[bytes]], Awaitable[bytes]]
"""Awaits a read and accounts for the time that it takes: `Exchange.waiting`."""


class Pace(Struct, frozen=True, kw_only=True):
    """The slowest body that is read.

    Attributes:
        idle: Seconds between two pieces of it.
        seconds: Seconds for all of it; each `rate` bytes that have come extend them by one. So an upload
            over a bad line is read, and a client that only holds a connection is not.

    """

    idle: float
    seconds: float
    rate: int


def pace_of(config: Config) -> Pace:
    """Return the pace that a configuration requires."""
    timeouts, limits = config.timeouts, config.limits
    return Pace(idle=timeouts.idle, seconds=timeouts.request_body, rate=limits.body_rate)


def body_too_large(limit: int) -> ExchangeError:
    """Return the error for a body of more than `limit` bytes: status 413."""
    return ExchangeError(
        Kind.TOO_LARGE,
        f"The body is larger than {limit} bytes (setting: $.limits.body_bytes).",
        code="body_too_large",
    )


async def read_body(
    request: web.Request,
    limit: int,
    pace: Pace,
    *,
    timer: Timer | None = None,
    too_large: Callable[[int], ExchangeError] = body_too_large,
) -> bytes:
    """Return the whole body, still in its content coding.

    Raises the error of `too_large` as soon as the body is known to exceed `limit` bytes, before reading it if its
    `Content-Length` says so, and an ExchangeError of status 408 if it comes more slowly than `pace`. A body that
    arrived together with its head is returned without waiting, and `timer` is not called.
    """
    if (request.content_length or 0) > limit:
        raise too_large(limit)
    if not request.body_exists:
        return b""
    content = request.content
    if content.is_eof():
        body = await content.readany()
    else:
        reading = _read_until(content, limit, pace)
        body = await (reading if timer is None else timer(reading))
    if len(body) > limit:
        raise too_large(limit)
    return body


async def _read_until(content: StreamReader, limit: int, pace: Pace) -> bytes:
    """Return a body that is still arriving; reading stops with the first chunk beyond `limit` bytes."""
    body, loop = bytearray(), asyncio.get_running_loop()
    began = loop.time()
    while not content.at_eof() and len(body) <= limit:
        due, idle_until = began + pace.seconds + len(body) / pace.rate, loop.time() + pace.idle
        try:
            async with asyncio.timeout_at(min(due, idle_until)):
                body += await content.readany()
        except TimeoutError:
            raise _too_slow(pace, idle=idle_until < due) from None
    return bytes(body)


def _too_slow(pace: Pace, *, idle: bool) -> ExchangeError:
    text = f"No more of the request's body came within {pace.idle:g} s (setting: $.timeouts.idle)."
    if not idle:
        text = (
            f"The request's body came more slowly than {pace.rate:g} bytes a second after "
            f"{pace.seconds:g} s (settings: $.limits.body_rate, $.timeouts.request_body)."
        )
    return ExchangeError(Kind.TIMEOUT, text, status=408, code="request_timeout")
