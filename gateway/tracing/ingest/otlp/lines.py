"""Journal lines of applications' spans, without loss: `store.otlp.forwarding` restores each span from its line.

    {"t": "received", trace_id, span_id, name, kind, start_ns, duration_ns, ..., "otlp": {scope, ...}}

The columns are those of `store.views.RECEIVED`; empty values are omitted.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from gateway.tracing.capture import CapturePolicy
from gateway.tracing.ingest.otlp.content import capture_attributes
from gateway.tracing.ingest.otlp.protocol import Malformed, Source
from gateway.tracing.ingest.otlp.values import decode_attributes, spend

_KINDS = ("INTERNAL", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
_STATUS = (None, "OK", "ERROR")
LATEST = 2**63 - 1
"""The latest time, in Unix nanoseconds: they are unsigned in OTLP and a signed BIGINT in DuckDB."""

# Names of a session and a user: OpenTelemetry's, Codex's, the GenAI conventions', Langfuse's, Claude Code's.
_IDENTITIES = {
    "session_id": dict.fromkeys(
        ("session.id", "conversation.id", "gen_ai.conversation.id", "langfuse.session.id", "thread.id")
    ),
    "user_id": dict.fromkeys(("user.id", "enduser.id", "langfuse.user.id", "user.account_uuid", "user.account_id")),
}

_encoder = msgspec.json.Encoder()

Line = dict[str, Any]
# The work of an event or a link, as that of so many values.
_PART_VALUES = 5


def source_fields(source: Source, capture_policy: CapturePolicy) -> Line:
    """Return the part of a line that all items of a source share."""
    resource = captured(decode_attributes(source.resource.attributes), capture_policy)
    name = resource.get("service.name")
    urls = {"resource_schema_url": source.resource_schema_url, "scope_schema_url": source.scope_schema_url}
    return {
        "service_name": name if isinstance(name, str) else None,
        "resource": resource,
        "identities": identities(resource),
        "otlp": {
            "scope": _scope(source.scope, capture_policy),
            **{key: url for key, url in urls.items() if url},
            **counted(resource_dropped=source.resource.dropped_attributes_count),
        },
    }


def span_line(span: Span, shared: Line, capture_policy: CapturePolicy, received_ns: int) -> Line | Malformed:
    """Return a span's line, or the error in it. `shared`: the `source_fields` of its source."""
    if reason := _error(span):
        return Malformed(reason)
    start, end = span.start_time_unix_nano, span.end_time_unix_nano
    attributes = captured(decode_attributes(span.attributes), capture_policy)
    line: Line = {
        "t": "received",
        "trace_id": span.trace_id.hex(),
        "span_id": span.span_id.hex(),
        # Some exporters write zeros for no parent.
        "parent_span_id": span.parent_span_id.hex() if any(span.parent_span_id) else "",
        "trace_state": span.trace_state,
        "name": capture_policy.redaction.text(span.name),
        "kind": _KINDS[span.kind],
        "service_name": shared["service_name"],
        "start_ns": start,
        "status": _STATUS[span.status.code],
        "status_message": capture_policy.redaction.text(span.status.message),
        "events": [_event(event, capture_policy) for event in span.events],
        "links": [_link(link, capture_policy) for link in span.links],
        **shared["identities"],
        **identities(attributes),
        "attributes": attributes,
        "resource": shared["resource"],
        "otlp": shared["otlp"] | _rest(span),
        "received_ns": received_ns,
    }
    line = {key: value for key, value in line.items() if value not in ("", None) and value not in ([], {})}
    line.setdefault("name", "")
    line["duration_ns"] = max(0, end - start)
    return line


def encode(line: Line) -> bytes:
    """Return a line's JSON, without a line end."""
    return _encoder.encode(line)


def identities(attributes: Mapping[str, Any]) -> Line:
    """Return the columns `session_id` and `user_id`, without those of which no attribute is known."""
    found = {
        column: first_text(attributes, names)
        for column, names in _IDENTITIES.items()
        if not names.keys().isdisjoint(attributes)
    }
    return {column: value for column, value in found.items() if value is not None}


def first_text(attributes: Mapping[str, Any], names: Iterable[str]) -> str | None:
    """Return the first of some attributes that is a text."""
    for name in names:
        value = attributes.get(name)
        if isinstance(value, str) and value:
            return value
    return None


def _error(span: Span) -> str | None:
    for name, given, length in (("trace_id", span.trace_id, 16), ("span_id", span.span_id, 8)):
        if len(given) != length:
            return f"its {name} has {len(given)} bytes, not {length}"
        if not any(given):
            return f"its {name} is 0"
    if len(span.parent_span_id) not in {0, 8}:
        return f"its parent_span_id has {len(span.parent_span_id)} bytes, not 8"
    if max(span.start_time_unix_nano, span.end_time_unix_nano) > LATEST:
        return "its times are beyond the year 2262"
    if not 0 <= span.kind < len(_KINDS):
        return f"there is no kind of span {span.kind}"
    if not 0 <= span.status.code < len(_STATUS):
        return f"there is no status {span.status.code}"
    return None


def _event(event: Span.Event, capture_policy: CapturePolicy) -> Line:
    spend(_PART_VALUES)
    return {
        "name": capture_policy.redaction.text(event.name),
        "time_ns": min(event.time_unix_nano, LATEST),
        "attributes": captured(decode_attributes(event.attributes), capture_policy),
    } | counted(dropped=event.dropped_attributes_count)


def _link(link: Span.Link, capture_policy: CapturePolicy) -> Line:
    spend(_PART_VALUES)
    line = {
        "trace_id": link.trace_id.hex(),
        "span_id": link.span_id.hex(),
        "attributes": captured(decode_attributes(link.attributes), capture_policy),
    }
    if link.trace_state:
        line["trace_state"] = link.trace_state
    return line | counted(flags=link.flags, dropped=link.dropped_attributes_count)


def _rest(span: Span) -> Line:
    """Return the fields of a span that have no column."""
    return counted(
        flags=span.flags,
        dropped_attributes=span.dropped_attributes_count,
        dropped_events=span.dropped_events_count,
        dropped_links=span.dropped_links_count,
    )


def captured(attributes: Line, capture_policy: CapturePolicy) -> Line:
    """Return attributes as they are stored: redacted first, since truncation could leave half a secret."""
    return capture_attributes(
        capture_policy.redaction.value(attributes), capture_policy.capture.store, capture_policy.limit
    )


def _scope(scope: InstrumentationScope, capture_policy: CapturePolicy) -> Line:
    attributes = captured(decode_attributes(scope.attributes), capture_policy)
    fields = {"name": scope.name, "version": scope.version, "attributes": attributes}
    return {name: value for name, value in fields.items() if value} | counted(dropped=scope.dropped_attributes_count)


def counted(**counts: int) -> Line:
    """Return the counts that are not 0."""
    return {name: count for name, count in counts.items() if count}
