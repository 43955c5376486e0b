"""`POST /events`: events of runs and steps, all of which are in the journal when the request is answered, or none.

Paths and payloads are those of chronicle, the Rust LLM proxy whose API is supported.
"""

import asyncio
from collections.abc import Sequence
from time import perf_counter
from typing import Any

import msgspec
from aiohttp import web

from gateway.errors import ExchangeError, Kind
from gateway.proxy.routing.request_options import option_headers
from gateway.server.ingest.request import YIELD_SECONDS, IngestReader
from gateway.tracing.ingest.event_rows import BatchContext, Line, event_line
from gateway.tracing.ingest.event_schema import EventError, split_events
from gateway.tracing.journal import Journal
from gateway.tracing.metadata import metadata_of
from gateway.tracing.secrets import scrub_json

_encoder = msgspec.json.Encoder()


class EventsEndpoint:
    """Writes a request's events to one worker's journal."""

    def __init__(self, reader: IngestReader, journal: Journal, service_name: str | None) -> None:
        self._reader = reader
        self._journal = journal
        self._service_name = service_name

    def __repr__(self) -> str:
        return f"<EventsEndpoint {self._journal!r}>"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer 202 with the number of accepted events, or an error, after which none was accepted."""
        try:
            count = await self._ingest(request)
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

    async def _ingest(self, request: web.Request) -> int:
        """Write a request's events to the journal; return their number. Raises EventError, ExchangeError."""
        ingest = await self._reader.read(request, "events")
        metadata = metadata_of(option_headers(request.raw_headers))
        context = BatchContext(ingest.received_ns, self._service_name, metadata)
        lines, started = [], perf_counter()
        for index, (path, raw) in enumerate(split_events(ingest.body)):
            line = event_line(raw, path, index, context, ingest.capture_policy)
            lines.append(_scrubbed(line, ingest.secrets) if ingest.secrets else line)
            if perf_counter() - started > YIELD_SECONDS:
                await asyncio.sleep(0)
                started = perf_counter()
        reason = self._journal.append_events(lines) if lines else None
        if reason is not None:
            raise ExchangeError(
                Kind.SERVER,
                f"No event of this request was stored ({reason}); see the gateway's log, and send them again.",
                code="events_not_stored",
            )
        return len(lines)


def _scrubbed(line: Line, secrets: Sequence[str]) -> Line:
    """Return a line without the request's own secrets."""
    encoded = _encoder.encode(line)
    scrubbed = scrub_json(encoded, secrets)
    if scrubbed == encoded:
        return line
    decoded: Line = msgspec.json.decode(scrubbed)
    return decoded


def _refusal(status: int, kind: str, message: str, **details: Any) -> web.Response:
    """Return an error in chronicle's form: its clients show `details.body`."""
    known = {name: value for name, value in details.items() if value is not None}
    error = {"kind": kind, "message": message, "details": {"body": message, **known}}
    return web.json_response({"error": error}, status=status)
