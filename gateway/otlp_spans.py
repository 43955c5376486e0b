"""A stored row back to the span it came from, as a collector gets it: content bounded, older names beside new. Pure."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from gateway.config import Capture
from gateway.content import bounded
from gateway.semconv import CONTENT_COLUMNS, promoted

_SCOPE = InstrumentationScope("tracing-gateway")
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_CONTENT = frozenset(CONTENT_COLUMNS)
# Names that consumers still read, beside today's. Source: Phoenix, Jaeger's and SigNoz's LLM views.
_ALIASES = {
    "gen_ai.usage.cache_write.input_tokens": "gen_ai.usage.cache_creation.input_tokens",
    "gen_ai.provider.name": "gen_ai.system",
}


def span_of(row: dict[str, Any], resource: dict[str, Any], capture: Capture) -> ReadableSpan:
    """Return the span of a row of `spans`. One that was interrupted has no known end: it ends where it started."""
    trace_id = int(row["trace_id"], 16)
    state = TraceState.from_header([row["trace_state"]]) if row.get("trace_state") else None
    parent = row.get("parent_span_id")
    status = StatusCode[row.get("status") or "UNSET"]
    start = row["start_ns"]
    return ReadableSpan(
        name=row["name"],
        context=SpanContext(trace_id, int(row["span_id"], 16), False, _SAMPLED, state),
        parent=SpanContext(trace_id, int(parent, 16), row["kind"] == "SERVER", _SAMPLED) if parent else None,
        resource=_resource(msgspec.json.encode(resource)),
        attributes=attributes_of(row, capture),
        events=[Event(e["name"], e.get("attributes"), e.get("time_ns")) for e in row.get("events") or ()],
        kind=SpanKind[row["kind"]],
        status=Status(status, row.get("status_message") if status is StatusCode.ERROR else None),
        start_time=start,
        end_time=start + (row.get("duration_ns") or 0),
        instrumentation_scope=_SCOPE,
    )


def attributes_of(row: dict[str, Any], capture: Capture) -> dict[str, Any]:
    """Put the columns back under their attributes' names, with as much content as the setting allows."""
    attributes: dict[str, Any] = dict(row.get("attributes") or {})
    for attribute, column in promoted(row["kind"]).items():
        value = row.get(column)
        if value is None:
            continue
        if column not in _CONTENT:
            attributes[attribute] = value
        elif capture.otlp in {"full", "truncated"}:
            encoded = msgspec.json.encode(value)
            if capture.otlp == "truncated" and len(encoded) > capture.otlp_bytes:
                # The whole of it is in the store, under this span's id.
                attributes["gateway.content.truncated"] = True
                attributes[attribute] = bounded(encoded, capture.otlp_bytes)
            else:
                attributes[attribute] = encoded.decode()
    for today, older in _ALIASES.items():
        if today in attributes:
            attributes[older] = attributes[today]
    first = attributes.get("gen_ai.response.time_to_first_chunk")
    if first is not None:
        began = datetime.fromtimestamp(row["start_ns"] / 1e9 + first, UTC)
        attributes["langfuse.observation.completion_start_time"] = began.isoformat()
    return attributes


@lru_cache(maxsize=64)
def _resource(encoded: bytes) -> Resource:
    return Resource(msgspec.json.decode(encoded))
