"""Telemetry of applications, from a journal or the store, back to OTLP to be forwarded to a collector. Pure.

The inverse of `tracing.ingest.otlp`. Attributes keep the application's names, whatever `[otlp] vocabulary` is. Items
are built in protobuf: the SDK's have no place for all of OTLP.
"""

from typing import Any, NamedTuple

import msgspec
from google.protobuf.message import Message  # type: ignore[import-untyped]
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from gateway.config.model import Capture
from gateway.store.views import RECEIVED
from gateway.tracing.ingest.otlp.content import capture_attributes
from gateway.tracing.ingest.otlp.log_lines import BODY
from gateway.tracing.ingest.otlp.metric_lines import map_attributes, metric_in
from gateway.tracing.ingest.otlp.values import encode_attributes, encode_value

_JSON = frozenset(name for name, kind in RECEIVED.items() if kind == "JSON")

Row = dict[str, Any]


class Forwarded(NamedTuple):
    """A span, a log record or a metric, with its resource and scope."""

    item: Message
    resource: Resource
    scope: InstrumentationScope
    resource_schema_url: str
    scope_schema_url: str


def row_in(line: bytes) -> Row:
    """Return the row in a line of a journal. Raises msgspec.DecodeError."""
    row: Row = msgspec.json.decode(line)
    return row


def row_of_store(row: Row) -> Row:
    """Return a row of the store in the form of a journal's line, with JSON decoded. Raises msgspec.DecodeError."""
    return {
        name: msgspec.json.decode(value) if name in _JSON else value for name, value in row.items() if value is not None
    }


def span_of(row: Row, capture: Capture) -> Forwarded:
    """Return the span of a row, with content as `capture.otlp` allows. Raises KeyError or ValueError."""
    rest: dict[str, Any] = row.get("otlp") or {}
    start = row["start_ns"]
    span = Span(
        trace_id=bytes.fromhex(row["trace_id"]),
        span_id=bytes.fromhex(row["span_id"]),
        parent_span_id=bytes.fromhex(row.get("parent_span_id") or ""),
        trace_state=row.get("trace_state", ""),
        flags=rest.get("flags", 0),
        name=row["name"],
        kind=f"SPAN_KIND_{row['kind']}",  # type: ignore[arg-type]
        start_time_unix_nano=start,
        end_time_unix_nano=start + (row.get("duration_ns") or 0),
        attributes=_attributes(row, capture),
        dropped_attributes_count=rest.get("dropped_attributes", 0),
        dropped_events_count=rest.get("dropped_events", 0),
        dropped_links_count=rest.get("dropped_links", 0),
        events=[_event(each, capture) for each in row.get("events") or ()],
        links=[_link(each, capture) for each in row.get("links") or ()],
        status=Status(
            code=f"STATUS_CODE_{row.get('status') or 'UNSET'}",  # type: ignore[arg-type]
            message=row.get("status_message", ""),
        ),
    )
    return _sourced(span, row)


def log_of(row: Row, capture: Capture) -> Forwarded:
    """Return the log record of a row, with content as `capture.otlp` allows. Raises ValueError."""
    rest: dict[str, Any] = row.get("otlp") or {}
    record = LogRecord(
        time_unix_nano=row.get("time_ns") or 0,
        observed_time_unix_nano=row.get("observed_ns") or 0,
        severity_number=row.get("severity_number") or 0,  # type: ignore[arg-type]
        severity_text=row.get("severity_text") or "",
        event_name=rest.get("event_name", ""),
        trace_id=bytes.fromhex(row.get("trace_id") or ""),
        span_id=bytes.fromhex(row.get("span_id") or ""),
        flags=rest.get("flags", 0),
        attributes=_attributes(row, capture),
        dropped_attributes_count=rest.get("dropped_attributes", 0),
    )
    body = _captured({BODY: row.get(BODY)}, capture).get(BODY)
    if body is not None:
        record.body.CopyFrom(encode_value(body))
    return _sourced(record, row)


def metric_of(row: Row, capture: Capture) -> Forwarded:
    """Return the metric of a row, with attributes as `capture.otlp` allows. Raises KeyError or ValueError."""
    metric = metric_in(row)
    map_attributes(metric, lambda attributes: _captured(attributes, capture))
    return _sourced(metric, row)


def _sourced(item: Message, row: Row) -> Forwarded:
    rest: dict[str, Any] = row.get("otlp") or {}
    of_scope = rest.get("scope") or {}
    resource = Resource(
        attributes=encode_attributes(row.get("resource") or {}),
        dropped_attributes_count=rest.get("resource_dropped", 0),
    )
    scope = InstrumentationScope(
        name=of_scope.get("name", ""),
        version=of_scope.get("version", ""),
        attributes=encode_attributes(of_scope.get("attributes") or {}),
        dropped_attributes_count=of_scope.get("dropped", 0),
    )
    return Forwarded(item, resource, scope, rest.get("resource_schema_url", ""), rest.get("scope_schema_url", ""))


def _attributes(of: Row, capture: Capture) -> list[KeyValue]:
    """Return attributes, with content as the collector may have it."""
    return encode_attributes(_captured(of.get("attributes") or {}, capture))


def _captured(attributes: dict[str, Any], capture: Capture) -> dict[str, Any]:
    limit = capture.store_bytes if capture.otlp == "full" else capture.otlp_bytes
    return capture_attributes(attributes, capture.otlp, limit)


def _event(event: Row, capture: Capture) -> Span.Event:
    return Span.Event(
        name=event["name"],
        time_unix_nano=event["time_ns"],
        attributes=_attributes(event, capture),
        dropped_attributes_count=event.get("dropped", 0),
    )


def _link(link: Row, capture: Capture) -> Span.Link:
    return Span.Link(
        trace_id=bytes.fromhex(link["trace_id"]),
        span_id=bytes.fromhex(link["span_id"]),
        trace_state=link.get("trace_state", ""),
        flags=link.get("flags", 0),
        attributes=_attributes(link, capture),
        dropped_attributes_count=link.get("dropped", 0),
    )
