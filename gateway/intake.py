"""Take what clients tell of their runs: `POST /events`, answered once every event is in the journal, or none is.

No exchange: nothing of it goes upstream. Source of the paths, and of what is taken: the seed.
"""

import asyncio
from collections.abc import Callable, Iterable
from time import perf_counter
from typing import Any

import msgspec
from aiohttp import web

from gateway.admission import Token, admitted, refuse_foreign_page
from gateway.attributes import OPAQUE, REDACTED, secrets_in
from gateway.codings import MAX_DECODED, decode
from gateway.config import Config
from gateway.errors import ExchangeError, Kind
from gateway.journal import Journal
from gateway.options import metadata_of, said_in
from gateway.workflow_events import EventError, events_in
from gateway.workflows import Arrival, Line, line_of

PATHS = frozenset({"/event", "/events", "/v1/event", "/v1/events"})

# Others have their turn after so many seconds of reading events.
_TURN = 0.005

_encoder = msgspec.json.Encoder()


class Intake:
    """One worker's way in for events."""

    def __init__(
        self, config: Config, journal: Journal, token: Token | None, service_name: str | None, clock: Callable[[], int]
    ) -> None:
        self._config = config
        self._journal = journal
        self._token = token
        self._service_name = service_name
        self._clock = clock

    def __repr__(self) -> str:
        return f"<Intake {self._journal!r}>"

    def use(self, config: Config, token: Token | None) -> None:
        """Go on by another configuration."""
        self._config, self._token = config, token

    @staticmethod
    def takes(request: web.Request) -> bool:
        """Whether a request tells of runs."""
        return request.method == "POST" and request.raw_path.partition("?")[0] in PATHS

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer 202 and how many events were accepted, or say what is wrong; then none was."""
        try:
            count = await self._take(request)
        except EventError as error:
            return _refusal(
                error.status, "invalid_event_payload", f"{error}; no event of this request was stored",
                path=error.path, index=error.index,
            )  # fmt: skip
        except ExchangeError as error:
            return _refusal(error.status, error.code, error.message)
        except web.RequestPayloadError:
            return _refusal(400, Kind.BAD_INPUT.value, "The request's body broke off; no event of it was stored.")
        return web.json_response({"accepted": count}, status=202)

    async def _take(self, request: web.Request) -> int:
        """Write a request's events to the journal; return how many. Raises EventError, ExchangeError."""
        received_ns, config = self._clock(), self._config
        headers = request.raw_headers
        proven = admitted(headers, None, self._token).proven
        if not proven:
            refuse_foreign_page(headers, config.auth.origins)
        metadata = metadata_of(said_in(headers))
        body = await self._read(request, config)
        arrival = Arrival(received_ns, self._service_name, metadata)
        secrets = self._secrets(request)
        lines, turn = [], perf_counter()
        for index, (path, raw) in enumerate(events_in(body)):
            line = line_of(raw, path, index, arrival, config.capture)
            lines.append(_without(line, secrets) if secrets else line)
            if perf_counter() - turn > _TURN:
                await asyncio.sleep(0)
                turn = perf_counter()
        reason = self._journal.events(lines) if lines else None
        if reason is not None:
            raise ExchangeError(
                Kind.SERVER,
                f"No event of this request was stored ({reason}); see the gateway's log, and send them again.",
                code="events_not_stored",
            )
        return len(lines)

    async def _read(self, request: web.Request, config: Config) -> bytes:
        """Return a request's body, decoded. Raises ExchangeError."""
        limit = min(config.limits.body_bytes, MAX_DECODED)
        body = bytearray()
        try:
            while not request.content.at_eof() and len(body) <= limit:
                async with asyncio.timeout(config.timeouts.idle):
                    body += await request.content.readany()
        except TimeoutError:
            raise ExchangeError(
                Kind.TIMEOUT,
                f"No more of the request's body came within {config.timeouts.idle:g} s (setting: $.timeouts.idle).",
                status=408,
                code="request_timeout",
            ) from None
        coding = request.headers.get("Content-Encoding", "")
        decoded = decode(bytes(body), coding, limit) if len(body) <= limit else None
        if decoded is not None and len(decoded) <= limit:
            return decoded
        if len(body) > limit:
            raise ExchangeError(
                Kind.TOO_LARGE,
                f"The body is larger than {limit} bytes (setting: $.limits.body_bytes, at most {MAX_DECODED} for "
                "events); send fewer events at once.",
                code="body_too_large",
            )
        raise ExchangeError(
            Kind.BAD_INPUT,
            f"The body cannot be read as Content-Encoding {coding!r} within {limit} bytes; "
            "send it plain, or as gzip, deflate or zstd.",
            status=415,
            code="unreadable_coding",
        )

    def _secrets(self, request: web.Request) -> list[str]:
        """Return what the request is let in with, as far as it can be told from a word."""
        given: Iterable[str] = secrets_in(request.headers, request.raw_path)
        ours = [self._token.value] if self._token is not None else []
        return [each for each in {*given, *ours} if len(each) >= OPAQUE and " " not in each]


def _without(line: Line, secrets: list[str]) -> Line:
    """Return a line without secrets, whatever a client let into its events."""
    encoded = before = _encoder.encode(line)
    for secret in secrets:
        encoded = encoded.replace(_encoder.encode(secret)[1:-1], REDACTED.encode())
    if encoded == before:
        return line
    kept: dict[str, Any] = msgspec.json.decode(encoded)
    return kept


def _refusal(status: int, kind: str, message: str, **details: Any) -> web.Response:
    """Return an error as the seed's clients read it: they show `details.body`."""
    told = {name: value for name, value in details.items() if value is not None}
    error = {"kind": kind, "message": message, "details": {"body": message, **told}}
    return web.json_response({"error": error}, status=status)
