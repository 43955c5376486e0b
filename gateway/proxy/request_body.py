"""The body of a client's request, read up to a size limit and within an idle timeout.

The limit and the timeout are the configuration's `$.limits.body_bytes` (bytes) and `$.timeouts.idle` (seconds). The
proxy and the ingest endpoints both read here, so that both refuse a body that is too large or too slow alike.
"""

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import StreamReader, web

from gateway.errors import ExchangeError, Kind

Timer = Callable[[Awaitable[bytes]], Awaitable[bytes]]
"""Awaits a read and accounts for the time that it takes: `Exchange.waiting`."""


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
    idle: float,
    *,
    timer: Timer | None = None,
    too_large: Callable[[int], ExchangeError] = body_too_large,
) -> bytes:
    """Return the whole body, still in its content coding.

    Raises the error of `too_large` as soon as the body is known to exceed `limit` bytes, before reading it if its
    `Content-Length` says so, and an ExchangeError of status 408 if no byte arrives for `idle` seconds. A body that
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
        reading = _read_until(content, limit, idle)
        body = await (reading if timer is None else timer(reading))
    if len(body) > limit:
        raise too_large(limit)
    return body


async def _read_until(content: StreamReader, limit: int, idle: float) -> bytes:
    """Return a body that is still arriving; reading stops with the first chunk beyond `limit` bytes."""
    body = bytearray()
    try:
        while not content.at_eof() and len(body) <= limit:
            async with asyncio.timeout(idle):
                body += await content.readany()
    except TimeoutError:
        raise ExchangeError(
            Kind.TIMEOUT,
            f"No more of the request's body came within {idle:g} s (setting: $.timeouts.idle).",
            status=408,
            code="request_timeout",
        ) from None
    return bytes(body)
