"""The OpenTelemetry side of a worker: ids, spans made in one step, and rows that give the span back."""

import random
from pathlib import Path
from typing import Any

import msgspec
import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanKind, Status, StatusCode

from gateway.config.model import Capture
from gateway.semconv import ATTEMPT_PROMOTED, COLUMNS, CONTENT_COLUMNS, EXCHANGE_PROMOTED
from gateway.store.otlp.rows import row_in, span_of
from gateway.tracing.journal import Journal
from gateway.tracing.tracer import JournalProcessor, JournalTracer, TimeOrderedIds, resource, row_of

START = 1_700_000_000_123_456_789


class Seen(SpanProcessor):
    """Keeps what has ended."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)


@pytest.fixture(name="journal")
def _journal(tmp_path):
    journal = Journal(tmp_path, "w0", {}, rotate_bytes=10**9, rotate_seconds=10**9)
    yield journal
    journal.close()


@pytest.fixture(name="seen")
def _seen():
    return Seen()


@pytest.fixture(name="tracer")
def _tracer(journal, seen):
    return JournalTracer(journal, Resource({"service.name": "gateway"}), lambda: START, random.Random(1), seen)


def lines(tmp_path) -> list[dict[str, Any]]:
    """Return the journal's lines, but for its header."""
    (path,) = tmp_path.glob("*.jsonl")
    return [msgspec.json.decode(line) for line in path.read_bytes().splitlines()][1:]


def test_trace_ids_begin_with_the_time():
    """48 bits of milliseconds, so that ids sort as they were made; the rest is random; none is invalid."""
    now = [START]
    ids = TimeOrderedIds(lambda: now[0], random.Random(1))
    made = []
    for _ in range(200):
        now[0] += 1_000_000
        made.append(ids.generate_trace_id())
    assert made == sorted(made)
    assert [each >> 80 for each in made] == [(START // 1_000_000) + n for n in range(1, 201)]
    assert len({each & (2**80 - 1) for each in made}) == 200
    assert all(0 < ids.generate_span_id() < 2**64 for _ in range(1000))


def test_a_span_ends_once(tracer, seen, journal):
    """A second end changes nothing, and adds no line."""
    span = tracer.start_span("root", Context(), SpanKind.SERVER)
    assert span.is_recording()
    span.end(START + 5)
    span.end(START + 9)
    assert not span.is_recording()
    assert [(each.name, each.end_time) for each in seen.spans] == [("root", START + 5)]
    assert (journal.accepted, journal.stored, journal.in_flight) == (1, 1, 0)


def test_an_exchange_is_in_the_journal_from_its_start(tracer, tmp_path):
    """Its start is a line of its own, its attempts come before its end, and each names its parent."""
    root = tracer.start_span("root", Context(), SpanKind.SERVER, {"url.path": "/x"})
    child = tracer.start_span("chat m", trace.set_span_in_context(root, Context()), SpanKind.CLIENT)
    assert [line["t"] for line in lines(tmp_path)] == ["start"]
    child.end()
    root.end()
    start, attempt, end = lines(tmp_path)
    assert [line["t"] for line in (start, attempt, end)] == ["start", "span", "span"]
    assert start["span_id"] == end["span_id"] == attempt["parent_span_id"]
    assert start["path"] == end["path"] == "/x"
    assert "duration_ns" not in start


def test_it_is_a_tracer_of_the_api(tracer, seen):
    """Exceptions, events, names and states are recorded as by the SDK's own spans."""

    def call() -> None:
        with tracer.start_as_current_span("one", Context()) as span:
            span.update_name("two")
            span.set_attribute("a", 1)
            span.set_attributes({"b": ["x"]})
            span.add_event("happened", {"c": True})
            assert trace.get_current_span() is span
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        call()
    (ended,) = seen.spans
    assert (ended.name, dict(ended.attributes)) == ("two", {"a": 1, "b": ["x"]})
    assert [event.name for event in ended.events] == ["happened", "exception"]
    assert ended.events[1].attributes["exception.message"] == "no"
    assert ended.status.status_code is StatusCode.ERROR


ATTRIBUTES: dict[str, dict[str, Any]] = {
    "SERVER": {name: 1 if "tokens" in name else name for name in EXCHANGE_PROMOTED},
    "CLIENT": {
        name: '[{"type":"function","name":"f"}]' if column in CONTENT_COLUMNS else 1.5 if column == "ttfc_s" else name
        for name, column in ATTEMPT_PROMOTED.items()
    },
}


@pytest.mark.parametrize("kind", ["SERVER", "CLIENT"])
def test_a_row_gives_its_span_back(tracer, seen, tmp_path, kind):
    """Every promoted attribute has its column and every other one its place; an exporter sees what was recorded."""
    parent = Context()
    if kind == "CLIENT":
        parent = trace.set_span_in_context(tracer.start_span("root", parent, SpanKind.SERVER), parent)
    more = {"some.other": "x", "a.list": [1.5, 2.5], "a.truth": False}
    span = tracer.start_span("name", parent, SpanKind[kind], ATTRIBUTES[kind] | more)
    span.set_status(Status(StatusCode.ERROR, "why"))
    span.add_event("happened", {"n": 1}, START)
    span.end(START + 1000)
    row = lines(tmp_path)[-1]
    assert set(row) <= {column.name for column in COLUMNS} | {"t"}
    assert row["attributes"] == more
    (ended,) = seen.spans
    back = span_of(row_in(msgspec.json.encode(row)), ended.resource, InstrumentationScope("s"), Capture(otlp="full"))
    assert dict(back.attributes).items() >= dict(ended.attributes).items()
    assert (back.name, back.kind, back.start_time, back.end_time) == ("name", SpanKind[kind], START, START + 1000)
    assert (back.context.trace_id, back.context.span_id) == (ended.context.trace_id, ended.context.span_id)
    assert (back.status.status_code, back.status.description) == (StatusCode.ERROR, "why")
    assert [(event.name, event.timestamp) for event in back.events] == [("happened", START)]


def test_a_row_is_the_same_as_of_the_sdks_own_span(tracer, tmp_path):
    """What we make in one step reads as the stock tracer's span of the same calls."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource({"service.name": "gateway"}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    for each in (tracer, provider.get_tracer("s")):
        span = each.start_span("chat m", Context(), SpanKind.CLIENT, {"gen_ai.request.model": "m"}, start_time=START)
        span.set_attributes({"gen_ai.response.finish_reasons": ["stop"], "gateway.outcome": "ok", "x": 1})
        span.set_status(StatusCode.ERROR, "server")
        span.end(START + 7)
    provider.shutdown()
    (stock,) = exporter.get_finished_spans()
    ours, theirs = lines(tmp_path)[-1], row_of(stock)
    theirs["finish_reasons"] = list(theirs["finish_reasons"])
    ids = {"trace_id", "span_id", "t"}
    assert {k: v for k, v in ours.items() if k not in ids} == {k: v for k, v in theirs.items() if k not in ids}


def test_what_fails_in_recording_is_counted_and_not_raised(tracer, journal, caplog):
    """A span that cannot become a row is logged; the call that it is of goes on."""
    processor = JournalProcessor(journal)
    processor.started(None)
    processor.on_end(None)
    assert processor.failures == 2
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    span = tracer.start_span("root", Context(), SpanKind.SERVER)
    span.set_attribute("x", object())
    span.end()
    assert journal.dropped == {"encoding": 1}


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({}, "gateway"),
        ({"OTEL_SERVICE_NAME": "mine"}, "mine"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=theirs,deployment.environment=dev"}, "theirs"),
        ({"OTEL_SERVICE_NAME": "mine", "OTEL_RESOURCE_ATTRIBUTES": "service.name=theirs"}, "mine"),
    ],
)
def test_the_service_has_a_name(monkeypatch, environ, name):
    """`gateway`, unless the standard variables say another; other resource attributes are kept."""
    for key, value in environ.items():
        monkeypatch.setenv(key, value)
    made = resource(environ, Path("data"))
    assert made.attributes["service.name"] == name
    assert made.attributes["service.version"]
    if "deployment" in environ.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        assert made.attributes["deployment.environment"] == "dev"
