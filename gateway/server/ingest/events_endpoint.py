"""Take what clients tell of their runs: `POST /events`, answered once every event is in the journal, or none is.

No exchange: nothing of it goes upstream. Source of the paths, and of what is taken: the seed.
"""

import asyncio
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

import msgspec
from aiohttp import web

from gateway.errors import ExchangeError, Kind
from gateway.proxy.auth import Token
from gateway.proxy.routing.request_options import said_in
from gateway.proxy.routing.runtime import RuntimeConfig
from gateway.server.ingest.common import TURN, body_of, kept_of, let_in, secrets_of
from gateway.tracing.ingest.event_rows import BatchContext, Line, event_line
from gateway.tracing.ingest.event_schema import EventError, split_events
from gateway.tracing.journal import Journal
from gateway.tracing.metadata import metadata_of
from gateway.tracing.secrets import scrub_json

PATHS = frozenset({"/event", "/events", "/v1/event", "/v1/events"})

_encoder = msgspec.json.Encoder()


class Intake:
    """One worker's way in for events."""

    def __init__(
        self,
        setup: RuntimeConfig,
        journal: Journal,
        token: Token | None,
        service_name: str | None,
        clock: Callable[[], int],
    ) -> None:
        self._config, self._capture_policy = setup.config, setup.capture_policy
        self._journal = journal
        self._token = token
        self._service_name = service_name
        self._clock = clock

    def __repr__(self) -> str:
        return f"<Intake {self._journal!r}>"

    def use(self, setup: RuntimeConfig, token: Token | None) -> None:
        """Go on by another configuration."""
        self._config, self._capture_policy, self._token = setup.config, setup.capture_policy, token

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
        let_in(headers, self._token, config.auth.origins)
        metadata = metadata_of(said_in(headers))
        capture_policy = kept_of(headers, self._capture_policy)
        body = await body_of(request, config, "events")
        arrival = BatchContext(received_ns, self._service_name, metadata)
        secrets = secrets_of(request, self._token)
        lines, turn = [], perf_counter()
        for index, (path, raw) in enumerate(split_events(body)):
            line = event_line(raw, path, index, arrival, capture_policy)
            lines.append(_scrubbed(line, secrets) if secrets else line)
            if perf_counter() - turn > TURN:
                await asyncio.sleep(0)
                turn = perf_counter()
        reason = self._journal.append_events(lines) if lines else None
        if reason is not None:
            raise ExchangeError(
                Kind.SERVER,
                f"No event of this request was stored ({reason}); see the gateway's log, and send them again.",
                code="events_not_stored",
            )
        return len(lines)


def _scrubbed(line: Line, secrets: Sequence[str]) -> Line:
    """Return a line without the secrets of its request, which a client may have put into its events."""
    encoded = _encoder.encode(line)
    scrubbed = scrub_json(encoded, secrets)
    if scrubbed == encoded:
        return line
    decoded: Line = msgspec.json.decode(scrubbed)
    return decoded


def _refusal(status: int, kind: str, message: str, **details: Any) -> web.Response:
    """Return an error as the seed's clients read it: they show `details.body`."""
    told = {name: value for name, value in details.items() if value is not None}
    error = {"kind": kind, "message": message, "details": {"body": message, **told}}
    return web.json_response({"error": error}, status=status)
