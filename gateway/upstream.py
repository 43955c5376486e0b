"""Open one upstream response: the only place that talks to a provider, and where network errors become ours."""

from collections.abc import Callable, Iterable, Mapping
from time import monotonic
from typing import Protocol

from msgspec import Struct

from gateway.errors import ExchangeError, Kind
from gateway.providers.entry import KeySent
from gateway.providers.table import KEY_HEADERS, Provider
from gateway.routing import Route
from gateway.wire import (
    BadResponse,
    Client,
    ConnectFailed,
    ConnectionClosed,
    ConnectTimeout,
    FirstByteTimeout,
    IdleTimeout,
    Response,
    WireError,
)

Headers = tuple[tuple[bytes, bytes], ...]

# RFC 9110, section 7.6.1: what speaks of one connection, and is not passed on.
HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
# Written anew for each request: the body's framing, the host, and what the server side has answered already.
_REWRITTEN = frozenset({b"host", b"content-length", b"expect"})

# What says how the client wrote its body, and how it wants the answer: nothing of a body that we write.
_OF_THE_BODY = frozenset({b"content-type", b"content-encoding", b"accept", b"accept-encoding"})
# Headers that belong to one provider's API, or its SDKs.
_OF_A_DIALECT = (b"anthropic-", b"openai-", b"x-stainless-", b"x-goog-api-client", b"x-goog-user", b"x-amz-", b"amz-")
# What a provider's API wants beside the body.
_OF_DIALECT = {"anthropic-messages": [(b"anthropic-version", b"2023-06-01")]}
# What a client may prove itself by; none of it goes to a provider that is sent a key of ours.
_SECRETS = KEY_HEADERS | {b"cookie"}

# How a key is shown. A Bedrock key and a Google token are bearers too; without one, `signing` has the last word.
_KEY: dict[KeySent, Callable[[bytes], tuple[bytes, bytes]]] = {
    "x-api-key": lambda key: (b"x-api-key", key),
    "api-key": lambda key: (b"api-key", key),
    "x-goog-api-key": lambda key: (b"x-goog-api-key", key),
} | {bearer: lambda key: (b"authorization", b"Bearer " + key) for bearer in ("bearer", "sigv4", "google")}

_KINDS: dict[type[WireError], Kind] = {
    ConnectFailed: Kind.SENDING,
    ConnectTimeout: Kind.SENDING,
    FirstByteTimeout: Kind.TIMEOUT,
    IdleTimeout: Kind.TIMEOUT,
    ConnectionClosed: Kind.CLOSED,
    BadResponse: Kind.PARSING,
}


class Request(Struct, frozen=True, kw_only=True):
    """What is sent upstream; the same for each attempt."""

    method: bytes
    target: bytes
    headers: Headers
    body: bytes


class Waits(Protocol):
    """Adds up the seconds spent waiting for others."""

    waited: float


class Deadlines(Struct, frozen=True, kw_only=True):
    """Seconds. `total` runs from the moment the request is out to the response's last byte, and bounds the others.

    `total_setting`: where `total` is set, for people.
    """

    connect: float
    first_byte: float
    idle: float
    total: float
    total_setting: str

    def fired(self, error: WireError) -> tuple[float, str] | None:
        """Return the seconds that ran out and the setting they come from; None where it was not the time."""
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


def hop_by_hop(headers: Iterable[tuple[bytes, bytes]]) -> set[bytes]:
    """Return the lower-case names of what is not passed on: the known ones, and those that `Connection` names."""
    names = set(HOP_BY_HOP)
    for name, value in headers:
        if name.lower() == b"connection":
            names.update(token.strip().lower() for token in value.split(b","))
    return names


def forwarded(raw_headers: Headers, route: Route, *, decoded: bool, identity: bool = False) -> Headers:
    """Return the headers to send: the client's own, less what speaks of its connection and of us, with the right key.

    `decoded`: the body had to be changed and is no longer in the coding the client sent it in. `identity`: the response
    must come in no coding.
    """
    dropped = hop_by_hop(raw_headers) | _REWRITTEN
    if decoded:
        dropped.add(b"content-encoding")
    if identity:
        dropped.add(b"accept-encoding")
    kept = [(name, value) for name, value in raw_headers if name.lower() not in dropped]
    if identity:
        kept.append((b"Accept-Encoding", b"identity"))
    return _with_key(kept, route, in_place=True)


def translated(raw_headers: Headers, route: Route) -> Headers:
    """Return the headers of a request that was written anew: less all that speaks of the client's own dialect."""
    dropped = hop_by_hop(raw_headers) | _REWRITTEN | _OF_THE_BODY
    kept = [
        (name, value)
        for name, value in raw_headers
        if (lowered := name.lower()) not in dropped and not lowered.startswith(_OF_A_DIALECT)
    ]
    kept += [(b"Content-Type", b"application/json"), (b"Accept-Encoding", b"identity")]
    if route.sent is not None:
        kept += _OF_DIALECT.get(route.sent.name, [])
    return _with_key(kept, route, in_place=False)


def _with_key(headers: list[tuple[bytes, bytes]], route: Route, *, in_place: bool) -> Headers:
    """Put the right key into headers: the configured one; else the client's own; else the environment's.

    A client that reached the provider by a model's name has most likely brought another one's key: the environment's
    goes before it then. `in_place`: the client's key stays where it stands, since it speaks the provider's dialect.
    """
    provider = route.provider
    key = provider.key or (None if route.addressed else provider.environment_key)
    clients = next((value for name, value in headers if name.lower() in KEY_HEADERS), None)
    shown = provider.shown(route.understood)
    if key is None and (clients is None or shown == "sigv4"):
        key = provider.environment_key
    dropped = {name.lower().encode("latin-1") for name, _ in provider.headers}
    if key is not None or not provider.takes_client_keys or shown == "sigv4":
        dropped |= _SECRETS
    elif not in_place and clients is not None:
        key = clients.removeprefix(b"Bearer ").removeprefix(b"bearer ").decode("latin-1")
        dropped |= KEY_HEADERS
    kept = [
        (name, value)
        for name, value in headers
        if (lowered := name.lower()) not in dropped and not lowered.startswith(b"x-gateway-")
    ]
    kept += [(name.encode("latin-1"), value.encode("latin-1")) for name, value in provider.headers]
    if key is not None:
        kept.append(_KEY[shown](key.encode("latin-1")))
    return tuple(kept)


def secrets_in(provider: Provider) -> tuple[str, ...]:
    """Return the secrets that are sent to a provider for the client, so that no text of ours repeats them."""
    found = {provider.key, provider.environment_key, *(value for _, value in provider.headers)}
    return tuple(each for each in found if each)


class Signer(Protocol):
    """Signs requests to providers that want it, at the moment they are sent."""

    async def signed(self, provider: Provider, dialect: str | None, request: Request) -> Request:
        """Return the request with what shows who asks. Raises ExchangeError where nothing does."""


async def open_response(
    client: Client, signer: Signer, route: Route, request: Request, deadlines: Deadlines
) -> Response:
    """Send the request and return the response once its head is here. Raises ExchangeError."""
    provider = route.provider
    if provider.signs(route.understood):
        request = await signer.signed(provider, route.understood, request)
    try:
        response = await client.send(
            provider.origin,
            request.method,
            request.target,
            request.headers,
            request.body,
            connect_timeout=deadlines.connect,
            first_byte_timeout=deadlines.first_byte,
        )
    except WireError as error:
        raise failed(error, provider, deadlines) from error
    except ValueError as error:
        raise ExchangeError(
            Kind.BAD_INPUT, f"The request cannot be sent on: {error}.", status=400, code="bad_header"
        ) from error
    if response.status == 101:
        response.abort()
        unasked = BadResponse(f"{provider.origin}: switched protocols, which it was not asked to")
        raise failed(unasked, provider, deadlines)
    return response


class Body:
    """The body of one upstream response, read within the attempt's deadlines. Every read raises ExchangeError."""

    def __init__(self, response: Response, provider: Provider, deadlines: Deadlines, waits: Waits) -> None:
        self.response = response
        self._provider = provider
        self._deadlines = deadlines
        # An answer may come before the whole request is out.
        self._ends_at = (response.sent_at or monotonic()) + deadlines.total
        self._waits = waits
        self._read_back = b""

    async def read(self) -> bytes:
        """Return what has arrived, waiting for a byte; b"" at the end."""
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
        """Return the whole body, or None where it has more than `limit` bytes: then it is still there to be read."""
        data = bytearray()
        while not self.complete:
            data += await self.read()
            if len(data) > limit:
                self._read_back = bytes(data)
                return None
        return bytes(data)

    @property
    def complete(self) -> bool:
        """Whether the whole body has been handed out."""
        return self.response.complete and not self._read_back

    @property
    def waiting(self) -> bool:
        """Whether the next read may have to wait."""
        return not (self.response.buffered or self.response.complete or self._read_back)


def failed(error: WireError, provider: Provider, deadlines: Deadlines) -> ExchangeError:
    """Return what an error of the wire is in our taxonomy, naming the upstream and the setting."""
    said, setting = str(error), f"$.providers.{provider.name}.base_url"
    if (fired := deadlines.fired(error)) is not None:
        seconds, setting = fired
        if not isinstance(error, ConnectTimeout):  # which says it itself
            said = f"{said} ({seconds:g} s)"
    kind = _KINDS.get(type(error), Kind.GENERIC)
    return ExchangeError(kind, f"The provider {provider.name!r} failed: {said} (setting: {setting}).")


def lower(headers: Headers) -> Mapping[str, str]:
    """Return response headers by lower-case name; of several of a name, the first."""
    found: dict[str, str] = {}
    for name, value in headers:
        found.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
    return found
