"""`POST /v1/traces`: an application's own spans, as OTLP in protobuf or JSON, answered once they are in the journal.

Malformed spans are rejected by OTLP's partial success; of all others, every one is stored, or none.
"""

from collections import Counter
from typing import NamedTuple

from aiohttp import web

from gateway.errors import ExchangeError, Kind
from gateway.server.ingest.request import IngestReader, IngestRequest, offload
from gateway.tracing.ingest.otlp.lines import Line, encode, source_fields, span_line
from gateway.tracing.ingest.otlp.protocol import (
    CONTENT_TYPES,
    Encoding,
    Malformed,
    Source,
    TooManyError,
    UnreadableError,
    encoding_of,
    error_response,
    spans_in_json,
    spans_in_protobuf,
    success_response,
)
from gateway.tracing.journal import LINE_BYTES, Journal
from gateway.tracing.secrets import scrub_json
from gateway.tracing.tracer import INSTANCE, SCOPE

PATH = "/v1/traces"

# Seconds after which a client should send again if the disk is full, or cannot be written to.
_RETRY_AFTER_SECONDS = 10
# The number of distinct reasons for rejected spans that a response names.
_REASONS_MAX = 3


class TracesEndpoint:
    """Writes a request's spans to one worker's journal.

    `instance`: this gateway's `service.instance.id`, which identifies spans that a collector sends back to it.
    """

    def __init__(self, reader: IngestReader, journal: Journal, instance: str) -> None:
        self._reader = reader
        self._journal = journal
        self._instance = instance

    def __repr__(self) -> str:
        return f"<TracesEndpoint {self._journal!r}>"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer 200 once all valid spans are stored, or 503 if the client should send them again, as OTLP defines."""
        encoding = encoding_of(request.headers.get("Content-Type", ""))
        try:
            if encoding is None:
                raise ExchangeError(
                    Kind.BAD_INPUT,
                    f"{PATH} takes OTLP as {' or '.join(CONTENT_TYPES.values())} (header: Content-Type).",
                    status=415,
                )
            rejected = await self._ingest(request, encoding)
        except ExchangeError as error:
            return _refusal(encoding, error.status, error.message)
        except TooManyError as error:
            return _refusal(encoding, 413, f"{error}.")
        except UnreadableError as error:
            return _refusal(encoding, 400, f"{error}; no span of this request was stored.")
        except web.RequestPayloadError:
            return _refusal(encoding, 400, "The request's body broke off; no span of it was stored.")
        body = success_response(encoding, rejected.total(), _reasons(rejected))
        return web.Response(body=body, content_type=CONTENT_TYPES[encoding])

    async def _ingest(self, request: web.Request, encoding: Encoding) -> Counter[str]:
        """Write a request's spans to the journal; count those rejected by reason. Raises the errors of `handle`."""
        ingest = await self._reader.read(request, "spans")
        parsed = await offload(len(ingest.body), lambda: _parse(ingest, encoding, self._instance))
        for why, count in parsed.dropped.items():
            self._journal.received.drop(count, why)
        reason = self._journal.append_spans(parsed.lines) if parsed.lines else None
        if reason is not None:
            raise ExchangeError(
                Kind.SERVER,
                f"No span of this request was stored ({reason}); see the gateway's log, and send them again.",
                status=503,
            )
        return parsed.rejected


class _Parsed(NamedTuple):
    """Journal lines, and the spans without one: counted by reason for the client (`rejected`), and for metrics."""

    lines: list[bytes]
    rejected: Counter[str]
    dropped: Counter[str]


def _parse(ingest: IngestRequest, encoding: Encoding, instance: str) -> _Parsed:
    """Return a request's spans as journal lines. Pure, may run in a thread. Raises UnreadableError, TooManyError."""
    parsed = _Parsed([], Counter(), Counter())
    last: Source | None = None
    resource: Line = {}
    is_own = False
    ids: set[tuple[str, str]] = set()
    policy = ingest.capture_policy
    for source, span in (spans_in_json if encoding == "json" else spans_in_protobuf)(ingest.body):
        if source is not last:
            last, resource = source, source_fields(source, policy)
            is_own = _is_own(source, instance)
        line = span if isinstance(span, Malformed) else span_line(span, resource, policy, ingest.received_ns)
        reason = "malformed"
        if not isinstance(line, Malformed):
            span_id, data = (line["trace_id"], line["span_id"]), scrub_json(encode(line), ingest.secrets)
            if is_own:
                reason, line = "own", Malformed("it is this gateway's own, which a collector has sent back")
            elif span_id in ids:
                reason, line = "twice", Malformed("it is there twice")
            elif len(data) >= LINE_BYTES:
                reason, line = "too_long", Malformed(f"it has {len(data)} bytes, more than {LINE_BYTES}")
            else:
                ids.add(span_id)
                parsed.lines.append(data)
                continue
        parsed.rejected[line.reason] += 1
        parsed.dropped[reason] += 1
    return parsed


def _is_own(source: Source, instance: str) -> bool:
    attributes = {pair.key: pair.value.string_value for pair in source.resource.attributes}
    return source.scope.name == SCOPE and attributes.get(INSTANCE) == instance


def _reasons(rejected: Counter[str]) -> str:
    """Return the most common reasons of rejected spans, each with its count."""
    common = rejected.most_common(_REASONS_MAX)
    return "; ".join(f"{count} of them: {why}" for why, count in common)


def _refusal(encoding: Encoding | None, status: int, why: str) -> web.Response:
    encoding = encoding or "json"
    headers = {"Retry-After": str(_RETRY_AFTER_SECONDS)} if status == 503 else {}
    return web.Response(
        body=error_response(encoding, status, why),
        status=status,
        headers=headers,
        content_type=CONTENT_TYPES[encoding],
    )
