"""The OpenTelemetry SDK of a worker: time-ordered trace ids, and a span processor that writes to the journal.

Nothing is exported from a worker: encoding and sending stalled its event loop for 11 to 14 ms, so the recorder does
both, from the journal. Every span is recorded; sampling is up to the export.
"""

import logging
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from socket import gethostname
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import msgspec
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.util._decorator import _agnosticcontextmanager
from opentelemetry.util.types import Attributes, AttributeValue

from gateway.redaction import NOTHING
from gateway.semconv import CONTENT_COLUMNS, promoted
from gateway.tracing.journal import Journal

log = logging.getLogger("gateway.tracing")

SCOPE = "tracing-gateway"
INSTANCE = "service.instance.id"
_CONTENT = frozenset(CONTENT_COLUMNS)
# Columns that the gateway alone writes, whose values no redaction may change.
_UNREDACTED = frozenset({"trace_id", "span_id", "parent_span_id", "kind", "status", "service_name"})
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)

try:
    VERSION = version(SCOPE)
except PackageNotFoundError:  # run from a source tree that is not installed
    VERSION = "0"


class TimeOrderedIds(IdGenerator):
    """Trace ids of 48 bits of Unix milliseconds and 80 random bits, so that zone maps narrow down a lookup."""

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
    """Return a span as a row of the relation `spans`: promoted attributes by column, all others under `attributes`.

    Columns without a value are omitted. Content is embedded as a JSON value, not as a string.
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
    """Appends each exchange's start, and each finished span, to the journal. Failures are logged and counted."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.redaction = NOTHING
        self.failures = 0

    def started(self, span: ReadableSpan) -> None:
        """Append the start of an accepted exchange."""
        try:
            self._journal.start(span.context.span_id, self._row(span))
        except Exception:
            self.failures += 1
            log.exception("an exchange's start could not be recorded")

    def on_end(self, span: ReadableSpan) -> None:
        """Append a finished span."""
        try:
            if span.kind is SpanKind.SERVER:
                self._journal.end(span.context.span_id, self._row(span))
            else:
                self._journal.attempt(span.parent.span_id if span.parent else 0, self._row(span))
        except Exception:
            self.failures += 1
            log.exception("a span could not be recorded")

    def _row(self, span: ReadableSpan) -> dict[str, Any]:
        """Return a span's row, redacted; its content has been redacted before truncation."""
        row = row_of(span)
        if not self.redaction:
            return row
        columns = [name for name in row if name not in _UNREDACTED]
        values = [row[name] for name in columns]
        redacted = self.redaction.value(values)
        return row if redacted is values else row | dict(zip(columns, redacted, strict=True))


class _Span(trace.Span):
    """A span of the API that becomes a span of the SDK only once it ends.

    The SDK's own span takes a lock and validates each value for every attribute, 50 us per span. Processors and
    exporters read its finished form only, which is built in one step in a tenth of the time.
    """

    def __init__(
        self,
        tracer: "JournalTracer",
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        kind: SpanKind,
        attributes: Attributes,
        start_time: int,
    ) -> None:
        self._tracer = tracer
        self._name = name
        self._context = context
        self._parent = parent
        self._kind = kind
        self._attributes: dict[str, AttributeValue] = dict(attributes or {})
        self._status = Status()
        self._events: list[Event] = []
        self._start_time = start_time
        self._end_time: int | None = None

    def readable(self) -> ReadableSpan:
        """Return the span in its present state, as the SDK's readable span."""
        return ReadableSpan(
            name=self._name,
            context=self._context,
            parent=self._parent,
            resource=self._tracer.resource,
            attributes=self._attributes,
            events=self._events,
            kind=self._kind,
            status=self._status,
            start_time=self._start_time,
            end_time=self._end_time,
            instrumentation_scope=self._tracer.scope,
        )

    def get_span_context(self) -> SpanContext:
        return self._context

    def move(self, parent: SpanContext) -> None:
        """Become a child of another span, in its trace."""
        own = self._context
        self._context = SpanContext(parent.trace_id, own.span_id, own.is_remote, own.trace_flags, parent.trace_state)
        self._parent = parent

    def is_recording(self) -> bool:
        return self._end_time is None

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        self._attributes[key] = value

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        self._attributes.update(attributes)

    def add_event(self, name: str, attributes: Attributes = None, timestamp: int | None = None) -> None:
        self._events.append(Event(name, attributes, timestamp))

    def update_name(self, name: str) -> None:
        self._name = name

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        self._status = status if isinstance(status, Status) else Status(status, description)

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,  # noqa: ARG002
    ) -> None:
        fields = {"exception.type": type(exception).__name__, "exception.message": str(exception)}
        self.add_event("exception", fields | dict(attributes or {}), timestamp)

    def end(self, end_time: int | None = None) -> None:
        if self._end_time is None:
            self._end_time = end_time or self._tracer.now()
            self._tracer.ended(self.readable())
            self._attributes = {}  # its content is as large as the bodies


class JournalTracer(trace.Tracer):
    """Starts spans, and passes each finished one to its processors: the journal first, then any others."""

    def __init__(
        self, journal: Journal, source: Resource, clock_ns: Callable[[], int], rng: random.Random, *more: SpanProcessor
    ) -> None:
        self.journaled = JournalProcessor(journal)
        self._processors = (self.journaled, *more)
        self._ids = TimeOrderedIds(clock_ns, rng)
        self.now = clock_ns
        self.resource = source
        self.scope = InstrumentationScope(SCOPE, VERSION)

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,  # noqa: ARG002
        start_time: int | None = None,
        record_exception: bool = True,  # noqa: ARG002
        set_status_on_exception: bool = True,  # noqa: ARG002
    ) -> trace.Span:
        """Start a span, a child of the context's if it has one. Every span is recorded."""
        parent: SpanContext | None = trace.get_current_span(context).get_span_context()
        if parent is None or not parent.is_valid:
            parent = None
        span_context = SpanContext(
            trace_id=self._ids.generate_trace_id() if parent is None else parent.trace_id,
            span_id=self._ids.generate_span_id(),
            is_remote=False,
            trace_flags=_SAMPLED,
            trace_state=None if parent is None else parent.trace_state,
        )
        span = _Span(self, name, span_context, parent, kind, attributes, start_time or self.now())
        if kind is SpanKind.SERVER:
            self.journaled.started(span.readable())
        return span

    def move(self, span: trace.Span, parent: SpanContext) -> None:
        """Make a span that has no children yet a child of another one, in its trace. Its span id stays."""
        if isinstance(span, _Span):
            span.move(parent)

    @_agnosticcontextmanager
    def start_as_current_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        end_on_exit: bool = True,
    ) -> Iterator[trace.Span]:
        """Start a span and make it the current one."""
        span = self.start_span(name, context, kind, attributes, links, start_time)
        with trace.use_span(span, end_on_exit, record_exception, set_status_on_exception) as current:
            yield current

    def ended(self, span: ReadableSpan) -> None:
        """Pass a finished span to the processors."""
        for processor in self._processors:
            processor.on_end(span)


def resource(environ: Mapping[str, str], data: Path) -> Resource:
    """Return the resource of all spans: OTEL_RESOURCE_ATTRIBUTES, a service name, and the gateway's instance id.

    The instance id is the same for all processes that ever write to the directory `data`.
    """
    name = environ.get("OTEL_SERVICE_NAME")
    base = Resource.create({"service.version": VERSION})
    # The SDK's own detector gives every process another random id.
    if INSTANCE not in OTELResourceDetector().detect().attributes:
        own = uuid5(NAMESPACE_URL, f"{SCOPE}://{gethostname()}{data.absolute()}")
        base = base.merge(Resource({INSTANCE: str(own)}))
    if name is None and str(base.attributes.get("service.name", "")).startswith("unknown_service"):
        name = "gateway"
    return base.merge(Resource({"service.name": name})) if name else base
