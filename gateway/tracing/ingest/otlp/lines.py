"""A span that an application sent -> a line of a journal; nothing of it is lost that `otlp.passing` could give back.

    {"t": "received", trace_id, span_id, name, kind, start_ns, duration_ns, ..., "otlp": {scope, ...}}

The columns are those of `views.RECEIVED`; what is empty is left out.
"""

from typing import Any

import msgspec
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from gateway.tracing.capture import CapturePolicy
from gateway.tracing.ingest.otlp.content import captured
from gateway.tracing.ingest.otlp.reading import Malformed, Source
from gateway.tracing.ingest.otlp.values import attributes_in

_KINDS = ("INTERNAL", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
_STATUS = (None, "OK", "ERROR")
# Of 64 bits that are unsigned in OTLP and are not in DuckDB.
_LATEST = 2**63 - 1

_encoder = msgspec.json.Encoder()

Line = dict[str, Any]


def whose(source: Source, capture_policy: CapturePolicy) -> Line:
    """Return the part of a line that all spans of a source have."""
    resource = _kept(attributes_in(source.resource.attributes), capture_policy)
    name = resource.get("service.name")
    urls = {"resource_schema_url": source.resource_schema_url, "scope_schema_url": source.scope_schema_url}
    return {
        "service_name": name if isinstance(name, str) else None,
        "resource": resource,
        "otlp": {
            "scope": _scope(source.scope, capture_policy),
            **{key: url for key, url in urls.items() if url},
            **_counted(resource_dropped=source.resource.dropped_attributes_count),
        },
    }


def line_of(span: Span, of: Line, capture_policy: CapturePolicy, received_ns: int) -> Line | Malformed:
    """Return a span as a line, what is wrong with it where it is none. `of`: what `whose` says of its source."""
    if why := _wrong(span):
        return Malformed(why)
    start, end = span.start_time_unix_nano, span.end_time_unix_nano
    line: Line = {
        "t": "received",
        "trace_id": span.trace_id.hex(),
        "span_id": span.span_id.hex(),
        # Some write a parent that there is not as zeroes.
        "parent_span_id": span.parent_span_id.hex() if any(span.parent_span_id) else "",
        "trace_state": span.trace_state,
        "name": capture_policy.redaction.text(span.name),
        "kind": _KINDS[span.kind],
        "service_name": of["service_name"],
        "start_ns": start,
        "status": _STATUS[span.status.code],
        "status_message": capture_policy.redaction.text(span.status.message),
        "events": [_event(event, capture_policy) for event in span.events],
        "links": [_link(link, capture_policy) for link in span.links],
        "attributes": _kept(attributes_in(span.attributes), capture_policy),
        "resource": of["resource"],
        "otlp": of["otlp"] | _rest(span),
        "received_ns": received_ns,
    }
    line = {key: value for key, value in line.items() if value not in ("", None) and value not in ([], {})}
    line.setdefault("name", "")
    line["duration_ns"] = max(0, end - start)
    return line


def encoded(line: Line) -> bytes:
    """Return a line's bytes, without its end."""
    return _encoder.encode(line)


def _wrong(span: Span) -> str | None:
    for name, given, length in (("trace_id", span.trace_id, 16), ("span_id", span.span_id, 8)):
        if len(given) != length:
            return f"its {name} has {len(given)} bytes, not {length}"
        if not any(given):
            return f"its {name} is 0"
    if len(span.parent_span_id) not in {0, 8}:
        return f"its parent_span_id has {len(span.parent_span_id)} bytes, not 8"
    if max(span.start_time_unix_nano, span.end_time_unix_nano) > _LATEST:
        return "its times are beyond the year 2262"
    if not 0 <= span.kind < len(_KINDS):
        return f"there is no kind of span {span.kind}"
    if not 0 <= span.status.code < len(_STATUS):
        return f"there is no status {span.status.code}"
    return None


def _event(event: Span.Event, capture_policy: CapturePolicy) -> Line:
    return {
        "name": capture_policy.redaction.text(event.name),
        "time_ns": min(event.time_unix_nano, _LATEST),
        "attributes": _kept(attributes_in(event.attributes), capture_policy),
    } | _counted(dropped=event.dropped_attributes_count)


def _link(link: Span.Link, capture_policy: CapturePolicy) -> Line:
    line = {
        "trace_id": link.trace_id.hex(),
        "span_id": link.span_id.hex(),
        "attributes": _kept(attributes_in(link.attributes), capture_policy),
    }
    if link.trace_state:
        line["trace_state"] = link.trace_state
    return line | _counted(flags=link.flags, dropped=link.dropped_attributes_count)


def _rest(span: Span) -> Line:
    """Return what has no column of its own."""
    return _counted(
        flags=span.flags,
        dropped_attributes=span.dropped_attributes_count,
        dropped_events=span.dropped_events_count,
        dropped_links=span.dropped_links_count,
    )


def _kept(attributes: Line, capture_policy: CapturePolicy) -> Line:
    """Return attributes as they are kept; what is to be taken out goes before they are cut."""
    return captured(capture_policy.redaction.value(attributes), capture_policy.capture.store, capture_policy.limit)


def _scope(scope: InstrumentationScope, capture_policy: CapturePolicy) -> Line:
    attributes = _kept(attributes_in(scope.attributes), capture_policy)
    said = {"name": scope.name, "version": scope.version, "attributes": attributes}
    return {name: value for name, value in said.items() if value} | _counted(dropped=scope.dropped_attributes_count)


def _counted(**counts: int) -> Line:
    return {name: count for name, count in counts.items() if count}
