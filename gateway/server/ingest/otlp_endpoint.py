"""`POST /v1/traces`, `/v1/logs` and `/v1/metrics`: an application's own telemetry, as OTLP in protobuf or JSON.

It is answered once it is in the journal. Malformed items are rejected by OTLP's partial success; of all others, every
one is stored, or none. No request to a path of OTLP is ever forwarded to a provider, whatever its method.
"""

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType

from aiohttp import web

from gateway.errors import ExchangeError, Kind
from gateway.server.ingest.request import IngestReader, offload
from gateway.tracing.ingest.otlp.batch import Ingest, lines_in
from gateway.tracing.ingest.otlp.protocol import (
    CONTENT_TYPES,
    LOGS,
    METRICS,
    TRACES,
    Encoding,
    Signal,
    UnreadableError,
    encoding_of,
    error_response,
    success_response,
)
from gateway.tracing.ingest.otlp.values import TooManyError
from gateway.tracing.journal import IngestCounts, Journal

PATHS = (TRACES.path, LOGS.path, METRICS.path)

# Seconds after which a client should send again if the disk is full, or cannot be written to.
_RETRY_AFTER_SECONDS = 10
# The counts of the journal that a signal's items are added to.
_COUNTS = {"traces": "received", "logs": "logs", "metrics": "metrics"}
# The number of distinct reasons for rejected items that a response names.
_REASONS_MAX = 3


class OtlpEndpoint:
    """Writes the items of one signal to one worker's journal.

    `instance`: this gateway's `service.instance.id`, which identifies telemetry that a collector sends back to it.
    `stored`: whether items are written at all; metrics without a collector are accepted and dropped.
    """

    def __init__(
        self, signal: Signal, reader: IngestReader, journal: Journal, instance: str, *, stored: bool = True
    ) -> None:
        self._signal = signal
        self._reader = reader
        self._journal = journal
        self._counts: IngestCounts = getattr(journal, _COUNTS[signal.name])
        self._instance = instance
        self._stored = stored

    def __repr__(self) -> str:
        return f"<OtlpEndpoint {self._signal.path} {self._journal!r}>"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer 200 once all valid items are stored, or 503 if the client should send them again, as OTLP defines."""
        encoding, noun = encoding_of(request.headers.get("Content-Type", "")), self._signal.noun
        try:
            if encoding is None:
                raise ExchangeError(
                    Kind.BAD_INPUT,
                    f"{self._signal.path} takes OTLP as {' or '.join(CONTENT_TYPES.values())} (header: Content-Type).",
                    status=415,
                )
            rejected = await self._ingest(request, encoding)
        except ExchangeError as error:
            return _refusal(encoding, error.status, error.message)
        except TooManyError as error:
            return _refusal(encoding, 413, f"{error}.")
        except UnreadableError as error:
            return _refusal(encoding, 400, f"{error}; none of the {noun} of this request were stored.")
        except web.RequestPayloadError:
            return _refusal(encoding, 400, f"The request's body broke off; none of its {noun} were stored.")
        body = success_response(self._signal, encoding, rejected.total(), _reasons(rejected))
        return web.Response(body=body, content_type=CONTENT_TYPES[encoding])

    async def _ingest(self, request: web.Request, encoding: Encoding) -> Counter[str]:
        """Write a request's items to the journal; count those rejected by reason. Raises the errors of `handle`."""
        ingest = await self._reader.read(request, self._signal.noun)
        own = Ingest(ingest.received_ns, ingest.body, ingest.capture_policy, ingest.secrets, self._instance)
        parsed = await offload(len(ingest.body), lambda: lines_in(own, self._signal, encoding))
        for why, count in parsed.dropped.items():
            self._counts.drop(count, why)
        lines = parsed.lines if self._stored else []
        reason = self._journal.append_received(self._counts, lines) if lines else None
        if reason is not None:
            raise ExchangeError(
                Kind.SERVER,
                f"None of the {self._signal.noun} of this request were stored ({reason}); see the gateway's log, and "
                "send them again.",
                status=503,
            )
        return parsed.rejected


async def wrong_method(_request: web.Request) -> web.StreamResponse:
    """Refuse any method but POST on a path of OTLP."""
    return _refusal(None, 405, "Only POST is defined for this path of OTLP.", {"Allow": "POST"})


async def no_such_signal(request: web.Request) -> web.StreamResponse:
    """Refuse a path of OTLP that is not taken here: telemetry is never forwarded to a provider."""
    message = f"The gateway takes no such telemetry; it takes OTLP over HTTP at {', '.join(PATHS)}."
    return _refusal(encoding_of(request.headers.get("Content-Type", "")), 404, message)


def _reasons(rejected: Counter[str]) -> str:
    """Return the most common reasons of rejected items, each with its count."""
    common = rejected.most_common(_REASONS_MAX)
    return "; ".join(f"{count} of them: {why}" for why, count in common)


def _refusal(
    encoding: Encoding | None, status: int, why: str, more: Mapping[str, str] = MappingProxyType({})
) -> web.Response:
    encoding = encoding or "json"
    headers = {"Retry-After": str(_RETRY_AFTER_SECONDS)} if status == 503 else {}
    return web.Response(
        body=error_response(encoding, status, why),
        status=status,
        headers={**headers, **more},
        content_type=CONTENT_TYPES[encoding],
    )
