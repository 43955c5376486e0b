"""What is sent to the gateway itself and goes no further: who may send it, its body, what it may not leave behind."""

import asyncio
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from aiohttp import web

from gateway.config.model import Config
from gateway.dialects.wire.content_coding import MAX_DECODED, TooLargeError, decode_whole
from gateway.errors import ExchangeError, Kind
from gateway.proxy.auth import Token, authorize, refuse_foreign_page
from gateway.proxy.headers import Headers
from gateway.proxy.request_body import read_body
from gateway.proxy.routing.request_options import capture_of, said_in
from gateway.tracing.capture import CapturePolicy
from gateway.tracing.secrets import opaque, request_secrets

TURN = 0.005
"""Others have their turn after so many seconds of reading what came."""

_FEW_BYTES = 64 * 1024
_ASIDE = ThreadPoolExecutor(1, "arriving")

Made = TypeVar("Made")


def let_in(headers: Headers, token: Token | None, origins: Collection[str]) -> None:
    """Raise ExchangeError for who has no token where one is needed, and for somebody else's page."""
    if not authorize(headers, None, token).token_valid:
        refuse_foreign_page(headers, origins)


def kept_of(headers: Headers, capture_policy: CapturePolicy) -> CapturePolicy:
    """Return what is kept of what comes with these headers. Raises ExchangeError that names the header."""
    header, value = said_in(headers).get("capture", ("", ""))
    if not header:
        return capture_policy
    capture_of(header, value)
    return capture_policy.within_all(value)


async def body_of(request: web.Request, config: Config, what: str) -> bytes:
    """Return a request's body, decoded. `what`: what is sent, for messages. Raises ExchangeError."""
    limit = min(config.limits.body_bytes, MAX_DECODED)
    too_large = partial(_too_large, what)
    body = await read_body(request, limit, config.timeouts.idle, too_large=too_large)
    coding = request.headers.get("Content-Encoding", "")
    try:
        # A few bytes that are coded may be many.
        return await offload(limit if coding else len(body), lambda: decode_whole(body, coding, limit))
    except TooLargeError:
        raise too_large(limit) from None
    except ValueError as error:
        raise ExchangeError(
            Kind.BAD_INPUT,
            f"The body cannot be read as Content-Encoding {coding!r} ({error}); "
            "send it plain, or as gzip, deflate or zstd.",
            status=415,
            code="unreadable_coding",
        ) from None


def _too_large(what: str, limit: int) -> ExchangeError:
    return ExchangeError(
        Kind.TOO_LARGE,
        f"The body is larger than {limit} bytes (setting: $.limits.body_bytes, at most {MAX_DECODED} for "
        f"{what}); send fewer {what} at once.",
        code="body_too_large",
    )


async def offload(size: int, made: Callable[[], Made]) -> Made:
    """Return what is made of so many bytes: of few at once, of many in a thread, where it holds up nobody else.

    A thread of Python lets others have their turn every 5 ms, whatever it is busy with; two would keep them waiting
    twice as long.
    """
    return made() if size <= _FEW_BYTES else await asyncio.get_running_loop().run_in_executor(_ASIDE, made)


def secrets_of(request: web.Request, token: Token | None) -> list[str]:
    """Return the secrets a request is authorized with, as far as each can be told from a word."""
    own = [] if token is None else [token.value]
    return opaque([*request_secrets(request.headers, request.raw_path), *own])
