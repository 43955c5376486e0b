"""Journal lines of applications' log records, without loss: `store.otlp.forwarding` restores each record from its line.

    {"t": "log", "log_id": "...", time_ns, severity_number, event_name, body, session_id, ..., "otlp": {scope, ...}}

The columns are those of `store.views.LOGS`; empty values are omitted. Coding agents send cost, tools and decisions as
log records: their events have a name, and the id of the session is an attribute.
"""

from typing import Any

from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from gateway.tracing.capture import CapturePolicy
from gateway.tracing.ingest.otlp.content import capture_attributes
from gateway.tracing.ingest.otlp.lines import LATEST, Line, captured, counted, first_text, identities
from gateway.tracing.ingest.otlp.protocol import Malformed
from gateway.tracing.ingest.otlp.values import decode_attributes, decode_value

BODY = "body"
"""Name under which `[capture]` knows a record's body: it is content."""

_EVENT_NAME = ("event.name",)


def log_line(record: LogRecord, shared: Line, capture_policy: CapturePolicy, received_ns: int) -> Line | Malformed:
    """Return a record's line, or the error in it. `shared`: the `source_fields` of its source.

    Times that a record lacks are those of its arrival, and an invalid id is none, as OTLP defines.
    """
    if max(record.time_unix_nano, record.observed_time_unix_nano) > LATEST:
        return Malformed("its times are beyond the year 2262")
    redaction = capture_policy.redaction
    # Codex's field has a line of its source code, and the attribute the name.
    event_name = redaction.text(record.event_name)
    attributes = captured(decode_attributes(record.attributes), capture_policy)
    line: Line = {
        "t": "log",
        "time_ns": record.time_unix_nano or None,
        "observed_ns": record.observed_time_unix_nano or None,
        "severity_text": redaction.text(record.severity_text),
        "severity_number": int(record.severity_number) or None,
        "event_name": first_text(attributes, _EVENT_NAME) or event_name,
        "body": _body(record, capture_policy),
        "trace_id": _id(record.trace_id, 16),
        "span_id": _id(record.span_id, 8),
        **shared["identities"],
        **identities(attributes),
        "service_name": shared["service_name"],
        "attributes": attributes,
        "resource": shared["resource"],
        "otlp": shared["otlp"]
        | counted(
            flags=record.flags,
            dropped_attributes=record.dropped_attributes_count,
        )
        | ({"event_name": event_name} if event_name else {}),
    }
    line = {key: value for key, value in line.items() if value not in ("", None) and value not in ([], {})}
    line["received_ns"] = received_ns
    return line


def _body(record: LogRecord, capture_policy: CapturePolicy) -> Any:
    if not record.HasField("body"):
        return None
    body = capture_policy.redaction.value(decode_value(record.body))
    return capture_attributes({BODY: body}, capture_policy.capture.store, capture_policy.limit).get(BODY)


def _id(given: bytes, length: int) -> str | None:
    return given.hex() if len(given) == length and any(given) else None
