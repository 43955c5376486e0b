"""A span that an application sent, as a line or the store has it -> the span that it was, for a collector. Pure.

The inverse of `received.lines`. Its names are the application's own, whatever `[otlp] vocabulary` says of ours. Of its
flags, that its parent is remote is passed on; that it was sampled is clear.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from gateway.config import Capture
from gateway.received.content import captured
from gateway.received.values import attributes_of
from gateway.views import RECEIVED

_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
# OTLP's flags of a span: whether its parent is remote is known, and is so.
_REMOTE = 0x200
_JSON = frozenset(name for name, kind in RECEIVED.items() if kind == "JSON")

Row = dict[str, Any]


class Passed(ReadableSpan):
    """A span that says how much its application dropped of it."""

    def __init__(self, counts: dict[str, int], **said: Any) -> None:
        super().__init__(**said)
        self._counts = counts

    @property
    def dropped_attributes(self) -> int:
        """How many attributes the application dropped."""
        return self._counts.get("dropped_attributes", 0)

    @property
    def dropped_events(self) -> int:
        """How many events the application dropped."""
        return self._counts.get("dropped_events", 0)

    @property
    def dropped_links(self) -> int:
        """How many links the application dropped."""
        return self._counts.get("dropped_links", 0)


def row_in(line: bytes) -> Row:
    """Return the row in a line of a journal. Raises msgspec.DecodeError."""
    row: Row = msgspec.json.decode(line)
    return row


def row_of_store(row: Row) -> Row:
    """Return a row as a line has it, of one that the store gave, where JSON is text. Raises msgspec.DecodeError."""
    return {
        name: msgspec.json.decode(value) if name in _JSON else value for name, value in row.items() if value is not None
    }


def span_of(row: Row, capture: Capture) -> ReadableSpan:
    """Return the span of a row; its content as `capture.otlp` says. Raises KeyError or ValueError."""
    rest: dict[str, Any] = row.get("otlp") or {}
    said, parent = rest.get("scope") or {}, row.get("parent_span_id")
    trace_id, start = int(row["trace_id"], 16), row["start_ns"]
    return Passed(
        rest,
        name=row["name"],
        context=SpanContext(
            trace_id, int(row["span_id"], 16), is_remote=False, trace_flags=_SAMPLED, trace_state=_state(row)
        ),
        parent=SpanContext(trace_id, int(parent, 16), is_remote=bool(rest.get("flags", 0) & _REMOTE))
        if parent
        else None,
        resource=Resource(attributes_of(row.get("resource") or {}), rest.get("resource_schema_url")),
        attributes=_attributes(row, capture),
        events=[Event(each["name"], _attributes(each, capture), each["time_ns"]) for each in row.get("events") or ()],
        links=_links(row.get("links") or (), capture),
        kind=SpanKind[row["kind"]],
        status=Status(StatusCode[row.get("status") or "UNSET"], row.get("status_message")),
        start_time=start,
        end_time=start + (row.get("duration_ns") or 0),
        instrumentation_scope=InstrumentationScope(
            said.get("name", ""),
            said.get("version"),
            rest.get("scope_schema_url"),
            attributes_of(said.get("attributes") or {}),
        ),
    )


def _attributes(of: Row, capture: Capture) -> Row:
    """Return attributes as the collector may have them, in the SDK's form."""
    values = of.get("attributes") or {}
    limit = capture.store_bytes if capture.otlp == "full" else capture.otlp_bytes
    return attributes_of(captured(values, capture.otlp, limit))


def _links(links: Sequence[Row], capture: Capture) -> Sequence[Link]:
    return [
        Link(
            SpanContext(
                int(each["trace_id"] or "0", 16),
                int(each["span_id"] or "0", 16),
                is_remote=bool(each.get("flags", 0) & _REMOTE),
                trace_state=_state(each),
            ),
            _attributes(each, capture),
        )
        for each in links
    ]


def _state(of: Row) -> TraceState | None:
    state = of.get("trace_state")
    return TraceState.from_header([state]) if state else None
