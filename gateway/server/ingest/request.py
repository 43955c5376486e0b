"""An ingest request, authorized and read: its decoded body, its capture policy, and the secrets to redact from it.

It is not forwarded, and has no exchange. Both endpoints read theirs here, under the active configuration.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import msgspec
from aiohttp import web

from gateway.config.model import Config
from gateway.dialects.wire.content_coding import MAX_DECODED, TooLargeError, decode_whole
from gateway.errors import ExchangeError, Kind
from gateway.proxy.auth import Token, authorize, refuse_foreign_page
from gateway.proxy.headers import Headers
from gateway.proxy.request_body import pace_of, read_body
from gateway.proxy.routing.context import RuntimeConfig
from gateway.proxy.routing.request_options import capture_of, option_headers
from gateway.tracing.capture import CapturePolicy
from gateway.tracing.secrets import opaque, request_secrets

YIELD_SECONDS = 0.005
"""Parsing on the event loop yields to other requests after this long."""

# Bytes whose parsing blocks the event loop for less time than a switch to a thread takes.
_INLINE_BYTES = 64 * 1024
# One thread: CPython switches threads every 5 ms, and two of them would stall the event loop for twice as long.
_PARSER = ThreadPoolExecutor(1, "ingest")

T = TypeVar("T")


class IngestRequest(msgspec.Struct, frozen=True):
    """The parts of a request that an endpoint uses.

    Attributes:
        received_ns: Its arrival, in Unix nanoseconds.
        body: Its body without content coding.
        capture_policy: The configured policy, narrowed by the request's capture header.
        secrets: The gateway's token, and the credentials in the request's headers and URL.

    """

    received_ns: int
    body: bytes
    capture_policy: CapturePolicy
    secrets: list[str]

    def __repr__(self) -> str:
        """Keep the secrets out."""
        return f"<IngestRequest {len(self.body)} bytes>"


class IngestReader:
    """Reads requests for a worker's ingest endpoints under its active configuration. `clock`: Unix nanoseconds."""

    def __init__(self, runtime: RuntimeConfig, token: Token | None, clock: Callable[[], int]) -> None:
        self._clock = clock
        self.use(runtime, token)

    def use(self, runtime: RuntimeConfig, token: Token | None) -> None:
        """Apply another configuration to later requests."""
        self._config, self._capture_policy, self._token = runtime.config, runtime.capture_policy, token

    async def read(self, request: web.Request, noun: str) -> IngestRequest:
        """Authorize a request and read it. `noun`: the plural of its items, for messages. Raises ExchangeError."""
        received_ns, config, token = self._clock(), self._config, self._token
        headers = request.raw_headers
        if not authorize(headers, None, token).token_valid:
            refuse_foreign_page(headers, config.auth.origins)
        policy = _narrowed(headers, self._capture_policy)
        body = await _decoded_body(request, config, noun)
        return IngestRequest(received_ns, body, policy, _secrets(request, token))


def _narrowed(headers: Headers, policy: CapturePolicy) -> CapturePolicy:
    """Return a capture policy narrowed by the request's header. Raises ExchangeError that names the header."""
    header, value = option_headers(headers).get("capture", ("", ""))
    if not header:
        return policy
    capture_of(header, value)
    return policy.within_all(value)


async def _decoded_body(request: web.Request, config: Config, noun: str) -> bytes:
    limit = min(config.limits.body_bytes, MAX_DECODED)
    too_large = partial(_too_large, noun)
    body = await read_body(request, limit, pace_of(config), too_large=too_large)
    coding = request.headers.get("Content-Encoding", "")
    try:
        # A compressed body may decode to the limit, however small it is.
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


def _too_large(noun: str, limit: int) -> ExchangeError:
    return ExchangeError(
        Kind.TOO_LARGE,
        f"The body is larger than {limit} bytes (setting: $.limits.body_bytes, at most {MAX_DECODED} for "
        f"{noun}); send fewer {noun} at once.",
        code="body_too_large",
    )


async def offload(size: int, parse: Callable[[], T]) -> T:
    """Return `parse()`, run in a thread unless it parses few bytes. `size`: the number of bytes."""
    return parse() if size <= _INLINE_BYTES else await asyncio.get_running_loop().run_in_executor(_PARSER, parse)


def _secrets(request: web.Request, token: Token | None) -> list[str]:
    """Return the credentials of a request that are long and opaque enough to be searched for in text."""
    own = [] if token is None else [token.value]
    return opaque([*request_secrets(request.headers, request.raw_path), *own])
