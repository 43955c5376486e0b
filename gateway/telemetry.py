"""The OpenTelemetry SDK of a worker: ids that start with the time, and the processor that mirrors spans to the journal.

Nothing is exported from here. Encoding and sending in the process that proxies cost it 11-14 ms stalls, so the recorder
does both, from the journal. Every span is recorded: sampling is a matter of the export.
"""

import logging
import os
import random
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import msgspec
from opentelemetry import context as otel_context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import SpanKind, Tracer

from gateway.journal import Journal
from gateway.semconv import CONTENT_COLUMNS, promoted

log = logging.getLogger("gateway.telemetry")

SCOPE = "tracing-gateway"
_CONTENT = frozenset(CONTENT_COLUMNS)

try:
    VERSION = version(SCOPE)
except PackageNotFoundError:  # run from a source tree that is not installed
    VERSION = "0"


class TimeOrderedIds(IdGenerator):
    """Trace ids of 48 bits of Unix milliseconds and 80 random bits, so that zone maps find one fast."""

    def __init__(self, clock_ns: Callable[[], int], rng: random.Random) -> None:
        self._clock_ns = clock_ns
        self._rng = rng

    def generate_trace_id(self) -> int:
        """Return a new trace id."""
        milliseconds = self._clock_ns() // 1_000_000
        return ((milliseconds & 0xFFFF_FFFF_FFFF) << 80) | self._rng.getrandbits(80) | 1

    def generate_span_id(self) -> int:
        """Return a new span id."""
        return self._rng.getrandbits(64) or 1


def row_of(span: ReadableSpan) -> dict[str, Any]:
    """Return a span as a row of the relation `spans`: promoted attributes by column, the rest under `attributes`.

    Columns without a value are left out. Content is embedded as the JSON value it is, not as a string of it.
    """
    context, parent = span.context, span.parent
    start, end = span.start_time, span.end_time
    row: dict[str, Any] = {
        "trace_id": format(context.trace_id, "032x"),
        "span_id": format(context.span_id, "016x"),
        "name": span.name,
        "kind": span.kind.name,
        "service_name": span.resource.attributes.get("service.name"),
        "start_ns": start,
    }
    if parent is not None:
        row["parent_span_id"] = format(parent.span_id, "016x")
    if context.trace_state:
        row["trace_state"] = context.trace_state.to_header()
    if start is not None and end is not None:
        row["duration_ns"] = end - start
    if not span.status.is_unset:
        row["status"] = span.status.status_code.name
        if span.status.description:
            row["status_message"] = span.status.description
    if span.events:
        row["events"] = [
            {"name": event.name, "time_ns": event.timestamp, "attributes": dict(event.attributes or {})}
            for event in span.events
        ]
    columns, rest = promoted(row["kind"]), {}
    for key, value in (span.attributes or {}).items():
        column = columns.get(key)
        if column is None:
            rest[key] = value
        elif column in _CONTENT:
            row[column] = msgspec.Raw(value.encode()) if isinstance(value, str) else value
        else:
            row[column] = value
    if rest:
        row["attributes"] = rest
    return row


class JournalProcessor(SpanProcessor):
    """Appends each exchange's start, and each finished span, to the journal. What fails here is logged and counted."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.failures = 0

    def on_start(self, span: Span, parent_context: otel_context.Context | None = None) -> None:  # noqa: ARG002
        """Say that an exchange was accepted."""
        if span.kind is not SpanKind.SERVER:
            return
        try:
            self._journal.start(span.context.span_id, row_of(span))
        except Exception:
            self._failed()

    def on_end(self, span: ReadableSpan) -> None:
        """Append a finished span."""
        try:
            if span.kind is SpanKind.SERVER:
                self._journal.end(span.context.span_id, row_of(span))
            else:
                self._journal.attempt(span.parent.span_id if span.parent else 0, row_of(span))
        except Exception:
            self._failed()

    def _failed(self) -> None:
        self.failures += 1
        log.exception("a span could not be recorded")

    def shutdown(self) -> None:
        """Close the journal."""
        self._journal.close()

    def force_flush(self, timeout_millis: int = 30000) -> bool:  # noqa: ARG002
        """Nothing waits here: a line is written when its span ends."""
        return True


def resource(environ: Mapping[str, str]) -> Resource:
    """Return what all spans say of their source: OTEL_RESOURCE_ATTRIBUTES, and a service name."""
    name = environ.get("OTEL_SERVICE_NAME")
    base = Resource.create({"service.version": VERSION})
    if name is None and str(base.attributes.get("service.name", "")).startswith("unknown_service"):
        name = "gateway"
    return base.merge(Resource({"service.name": name})) if name else base


def tracer(journal: Journal, source: Resource, clock_ns: Callable[[], int], rng: random.Random) -> Tracer:
    """Return a tracer whose every span is mirrored to `journal`."""
    # The switch is for exporting; it must not silence the store.
    os.environ.pop("OTEL_SDK_DISABLED", None)
    unlimited = SpanLimits.UNSET
    limits = SpanLimits(
        max_span_attributes=unlimited,
        max_events=unlimited,
        max_links=unlimited,
        max_event_attributes=unlimited,
        max_attributes=unlimited,
        max_attribute_length=unlimited,
        max_span_attribute_length=unlimited,
    )
    provider = TracerProvider(
        sampler=ALWAYS_ON,
        resource=source,
        shutdown_on_exit=False,
        id_generator=TimeOrderedIds(clock_ns, rng),
        span_limits=limits,
    )
    provider.add_span_processor(JournalProcessor(journal))
    return provider.get_tracer(SCOPE, VERSION)
