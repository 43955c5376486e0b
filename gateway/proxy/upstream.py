"""One request to a provider: signing, sending, deadlines, and network errors translated to `ExchangeError`."""

import asyncio
from time import monotonic
from typing import Protocol

from msgspec import Struct

from gateway.dialects.registry import TABLES
from gateway.errors import ExchangeError, Kind
from gateway.providers.http.client import (
    BadResponse,
    Client,
    ConnectFailed,
    ConnectionClosed,
    ConnectTimeout,
    FirstByteTimeout,
    IdleTimeout,
    Response,
    StaleConnection,
    WireError,
)
from gateway.providers.route import Route
from gateway.providers.table import KEY_HEADERS, Provider
from gateway.proxy.headers import Headers
from gateway.proxy.routing import urls

_KINDS: dict[type[WireError], Kind] = {
    ConnectFailed: Kind.SENDING,
    ConnectTimeout: Kind.SENDING,
    FirstByteTimeout: Kind.TIMEOUT,
    IdleTimeout: Kind.TIMEOUT,
    ConnectionClosed: Kind.CLOSED,
    StaleConnection: Kind.CLOSED,
    BadResponse: Kind.PARSING,
}


STALE_CONNECTION = "stale_connection"
"""The code of the error that a kept connection was closed when it was used again."""


class Request(Struct, frozen=True, kw_only=True):
    """A request to an upstream, the same for each attempt."""

    method: bytes
    target: bytes
    headers: Headers
    body: bytes


class Waits(Protocol):
    """A counter of the seconds spent waiting for I/O."""

    waited: float


class Deadlines(Struct, frozen=True, kw_only=True):
    """Seconds. `total` runs from the end of the request to the end of the response, and bounds the others.

    `total_setting`: the path of the setting of `total`, for people.
    """

    connect: float
    first_byte: float
    idle: float
    total: float
    total_setting: str

    def fired(self, error: WireError) -> tuple[float, str] | None:
        """Return the seconds and the setting of the deadline that an error is about; None for other errors."""
        match error:
            case ConnectTimeout():
                seconds, setting = self.connect, "$.timeouts.connect"
            case FirstByteTimeout():
                seconds, setting = self.first_byte, "$.timeouts.first_byte"
            case IdleTimeout():
                seconds, setting = self.idle, "$.timeouts.idle"
            case _:
                return None
        return (seconds, setting) if seconds < self.total else (self.total, self.total_setting)


class Signer(Protocol):
    """Signs requests when they are sent."""

    async def signed(self, provider: Provider, dialect: str | None, request: Request) -> Request:
        """Return the request with its authorization. Raises ExchangeError if there are no credentials."""

    def refused(self, request: Request, response: Response) -> None:
        """Handle the refusal of a signed request."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """The secrets in use, to be redacted from messages."""


async def open_response(
    client: Client, signer: Signer, route: Route, request: Request, deadlines: Deadlines
) -> Response:
    """Send a request and return the response once its head is read. Raises ExchangeError."""
    provider = route.provider
    signs = provider.signs(route.upstream_dialect) and not _has_key(request)
    if signs:
        request = await signer.signed(provider, route.upstream_dialect, request)
    try:
        response = await client.send(
            provider.origin,
            request.method,
            request.target,
            request.headers,
            request.body,
            connect_timeout=deadlines.connect,
            first_byte_timeout=deadlines.first_byte,
            way=provider.way,
        )
    except WireError as error:
        raise failed(error, provider, deadlines) from error
    except ValueError as error:
        raise ExchangeError(
            Kind.BAD_INPUT, f"The request cannot be sent on: {error}.", status=400, code="bad_header"
        ) from error
    if response.status == 101:
        response.abort()
        unasked = BadResponse(f"{provider.origin}: switched protocols without a request to")
        raise failed(unasked, provider, deadlines)
    if signs and response.status in {401, 403}:
        signer.refused(request, response)
    return response


def _has_key(request: Request) -> bool:
    query = request.target.decode("latin-1").partition("?")[2]
    in_query = urls.keys_in(query, TABLES.query_keys)
    return bool(in_query) or any(name.lower() in KEY_HEADERS for name, _ in request.headers)


class Body:
    """The body of one upstream response, read within the attempt's deadlines. Reads raise ExchangeError."""

    def __init__(self, response: Response, provider: Provider, deadlines: Deadlines, waits: Waits) -> None:
        self.response = response
        self._provider = provider
        self._deadlines = deadlines
        # A response may come before the end of the request.
        self._ends_at = (response.sent_at or monotonic()) + deadlines.total
        self._waits = waits
        self._read_back = b""
        self._reading: asyncio.Task[bytes] | None = None

    async def comes_within(self, seconds: float) -> bool:
        """Wait for more bytes, or the end, for `seconds` at most; `read` returns them."""
        if self._reading is None:
            self._reading = asyncio.get_running_loop().create_task(self._read())
            # An attempt that is dropped meanwhile leaves its error to nobody.
            self._reading.add_done_callback(lambda task: None if task.cancelled() else task.exception())
        try:
            return bool((await asyncio.wait({self._reading}, timeout=seconds))[0])
        except BaseException:
            self._reading.cancel()
            raise

    async def read(self) -> bytes:
        """Return the buffered bytes, waiting for one; b"" at the end."""
        if self._reading is not None:
            reading, self._reading = self._reading, None
            return await reading
        return await self._read()

    async def _read(self) -> bytes:
        if self._read_back:
            data, self._read_back = self._read_back, b""
            return data
        before = monotonic()
        left = self._ends_at - before
        deadlines = self._deadlines
        try:
            return await self.response.read(max(0.001, min(deadlines.idle, left)))
        except IdleTimeout as error:
            if left < deadlines.idle:
                raise ExchangeError(
                    Kind.TIMEOUT,
                    f"The provider {self._provider.name!r} ({self._provider.url}) did not finish within "
                    f"{deadlines.total:g} s (setting: {deadlines.total_setting}).",
                ) from error
            raise failed(error, self._provider, deadlines) from error
        except WireError as error:
            raise failed(error, self._provider, deadlines) from error
        finally:
            self._waits.waited += monotonic() - before

    async def whole(self, limit: int) -> bytes | None:
        """Return the whole body, or None if it has more than `limit` bytes: then `read` returns them."""
        data = bytearray()
        while not self.complete:
            data += await self.read()
            if len(data) > limit:
                self._read_back = bytes(data)
                return None
        return bytes(data)

    @property
    def complete(self) -> bool:
        """Whether the whole body has been read."""
        return self.response.complete and not self._read_back and self._reading is None

    @property
    def waiting(self) -> bool:
        """Whether the next read may have to wait."""
        if self._reading is not None:
            return not self._reading.done()
        return not (self.response.buffered or self.response.complete or self._read_back)


def failed(error: WireError, provider: Provider, deadlines: Deadlines) -> ExchangeError:
    """Return a network error as ExchangeError, naming the upstream and the setting."""
    text, setting = str(error), f"$.providers.{provider.name}.base_url"
    if (fired := deadlines.fired(error)) is not None:
        seconds, setting = fired
        if not isinstance(error, ConnectTimeout):  # whose text has the seconds
            text = f"{text} ({seconds:g} s)"
    kind, status = _KINDS.get(type(error), Kind.GENERIC), None
    if isinstance(error, ConnectFailed) and error.setting is not None:
        setting = error.setting
        kind, status = (Kind.PERMANENT, 502) if error.lasting else (kind, None)
    code = STALE_CONNECTION if isinstance(error, StaleConnection) else None
    text = f"The provider {provider.name!r} failed: {text} (setting: {setting})."
    return ExchangeError(kind, text, status=status, code=code)
