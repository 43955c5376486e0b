"""A worker's spans have time-ordered ids, are built in one step, and become rows from which they can be restored."""

import random
import subprocess
import sys
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
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode

from gateway.config.model import Capture
from gateway.redaction import Redaction
from gateway.semconv import ATTEMPT_PROMOTED, COLUMNS, CONTENT_COLUMNS, EXCHANGE_PROMOTED
from gateway.store.otlp.rows import row_in, span_of
from gateway.tracing.journal import Journal
from gateway.tracing.tracer import INSTANCE, JournalProcessor, JournalTracer, TimeOrderedIds, resource, row_of

START = 1_700_000_000_123_456_789


class Seen(SpanProcessor):
    """Collects finished spans."""

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
    """Return the journal's lines after its header."""
    (path,) = tmp_path.glob("*.jsonl")
    return [msgspec.json.decode(line) for line in path.read_bytes().splitlines()][1:]


def test_trace_ids_begin_with_the_time():
    """Ids sort by time in milliseconds; 80 bits are random, and no id is invalid."""
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
    """Its start has a line of its own; its attempts come before its end, and each has the id of its parent."""
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


def test_a_tracer_implements_the_api(tracer, seen):
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
def test_a_span_can_be_restored_from_its_row(tracer, seen, tmp_path, kind):
    """Promoted attributes have columns and the others a place in JSON; an exporter gets the span as recorded."""
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


def test_a_row_is_that_of_the_sdks_own_span(tracer, tmp_path):
    """A span built in one step is the same as the SDK's own after the same calls."""
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


def test_a_failure_to_record_is_counted_and_not_raised(tracer, journal, caplog):
    """A span that cannot become a row is logged, and its exchange goes on."""
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
    """It is `gateway` unless the standard variables set another; other resource attributes stay."""
    for key, value in environ.items():
        monkeypatch.setenv(key, value)
    made = resource(environ, Path("data"))
    assert made.attributes["service.name"] == name
    assert made.attributes["service.version"]
    if "deployment" in environ.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        assert made.attributes["deployment.environment"] == "dev"


def test_a_row_is_redacted_except_its_ids(tracer, tmp_path):
    """Every text is redacted, also in an exchange's start; ids and the names of columns are not."""
    tracer.journaled.redaction = Redaction([], {"any": "[a-zA-Z0-9]{4,}"})
    span = tracer.start_span("POST /eve", Context(), SpanKind.SERVER, {"url.path": "/eveonline", "x": ["long word"]})
    span.set_status(Status(StatusCode.ERROR, "some error"))
    span.end(START + 7)
    start, end = lines(tmp_path)
    for line in (start, end):
        assert line["path"] == "/[redacted: any]"
        assert line["name"] == "[redacted: any] /eve"
        assert line["attributes"] == {"x": ["[redacted: any] [redacted: any]"]}
        assert (line["kind"], line["service_name"]) == ("SERVER", "gateway")
        assert int(line["trace_id"], 16)
        assert int(line["span_id"], 16)
    assert (end["status"], end["status_message"]) == ("ERROR", "[redacted: any] [redacted: any]")


def test_a_moved_span_is_in_the_other_ones_trace(tracer, seen):
    """A request of a run becomes a child of the run's span once its body is read, and its span id stays."""
    span = tracer.start_span("root", Context(), SpanKind.SERVER)
    own = span.get_span_context().span_id
    parent = SpanContext(7, 8, is_remote=True)
    tracer.move(span, parent)
    span.end()
    (ended,) = seen.spans
    assert (ended.context.trace_id, ended.context.span_id, ended.parent) == (7, own, parent)


def test_an_instance_is_known_by_its_directory(tmp_path, monkeypatch):
    """Processes that write to one directory have one instance id, which the standard variables may set."""
    own = resource({}, tmp_path).attributes[INSTANCE]
    code = (
        "import sys; from pathlib import Path; from gateway.tracing.tracer import INSTANCE, resource\n"
        "print(resource({}, Path(sys.argv[1])).attributes[INSTANCE])"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    assert subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip() == own
    assert resource({}, tmp_path / "other").attributes[INSTANCE] != own
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", f"{INSTANCE}=set")
    assert resource({}, tmp_path).attributes[INSTANCE] == "set"
