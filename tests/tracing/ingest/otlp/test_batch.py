"""A request of OTLP as lines of a journal: valid items once, and the reasons of the others."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from gateway.tracing.capture import CapturePolicy
from gateway.tracing.ingest.otlp.batch import Ingest, lines_in
from gateway.tracing.ingest.otlp.metric_lines import metric_in
from gateway.tracing.ingest.otlp.protocol import LOGS, METRICS, TRACES
from gateway.tracing.ingest.otlp.values import TooManyError, encode_attributes
from gateway.tracing.tracer import INSTANCE, SCOPE
from tests.support.otlp_spans import otlp_attributes, span, wrapped

RESOURCE = Resource(attributes=otlp_attributes({"service.name": "app", INSTANCE: "me"}))


def request_of(*items: Any, scope: str = "app") -> Any:
    """Return a request with log records or metrics."""
    logs = isinstance(items[0], LogRecord)
    request = ExportLogsServiceRequest() if logs else ExportMetricsServiceRequest()
    of_resource = (request.resource_logs if logs else request.resource_metrics).add(resource=RESOURCE)
    parts = of_resource.scope_logs if logs else of_resource.scope_metrics
    of_scope = parts.add(scope=InstrumentationScope(name=scope))
    (of_scope.log_records if logs else of_scope.metrics).extend(items)
    return request


def parsed(request: Any, signal: Any, received_ns: int = 1, secrets: tuple[str, ...] = ()) -> Any:
    """Return a request's lines."""
    ingest = Ingest(received_ns, request.SerializeToString(), CapturePolicy(), secrets, "me")
    return lines_in(ingest, signal, "protobuf")


def log(text: str) -> LogRecord:
    """Return a log record."""
    return LogRecord(time_unix_nano=5, body=AnyValue(string_value=text))


def count(value: int) -> Metric:
    """Return a metric with one data point."""
    metric = Metric(name="n")
    metric.sum.data_points.add(as_int=value)
    return metric


ITEMS = {"log_id": (LOGS, log("a"), log("b")), "metric_id": (METRICS, count(1), count(2))}


@pytest.mark.parametrize(("name", "signal", "a", "b"), [(name, *items) for name, items in ITEMS.items()])
def test_an_item_sent_again_has_the_same_id(name, signal, a, b):
    """Equal items of one request are two; the same in a later request are those two again."""
    first, again = (
        [json.loads(line)[name] for line in parsed(request_of(a, b, a), signal, received_ns).lines]
        for received_ns in (1, 2)
    )
    assert first == again
    assert len(set(first)) == 3


def test_equal_records_without_a_time_are_different_events():
    """Nothing else tells a second one from the same one sent again, and none may be lost."""
    record = LogRecord(body=AnyValue(string_value="a"))
    first, second = (json.loads(parsed(request_of(record), LOGS, now).lines[0])["log_id"] for now in (1, 2))
    assert first != second


@pytest.mark.parametrize(("signal", "item"), [(LOGS, log("a")), (METRICS, count(1)), (TRACES, None)])
def test_the_gateways_own_telemetry_is_rejected(signal, item):
    """If a collector sends it back, it would go round for ever."""
    ours = InstrumentationScope(name=SCOPE)
    request = wrapped([span(1)], RESOURCE, ours) if item is None else request_of(item, scope=SCOPE)
    made = parsed(request, signal)
    assert (made.lines, made.dropped) == ([], {"own": 1})


def test_secrets_of_the_request_are_removed():
    """From log records, and from metrics, whose lines are encoded."""
    secret = "key-of-the-request-0123456789"
    record = log(f"it is {secret}")
    record.attributes.extend(otlp_attributes({"session.id": secret}))
    (line,) = parsed(request_of(record), LOGS, secrets=(secret,)).lines
    assert (secret.encode() in line, json.loads(line)["session_id"]) == (False, "[redacted]")
    metric = count(1)
    metric.description = secret
    metric.sum.data_points[0].attributes.extend(otlp_attributes({"a": secret}))
    (line,) = parsed(request_of(metric), METRICS, secrets=(secret,)).lines
    stored = metric_in(json.loads(line))
    assert stored.description == stored.sum.data_points[0].attributes[0].value.string_value == "[redacted]"


def test_items_that_are_too_large_are_rejected():
    """One item by its attributes, a request of metrics by its data points."""
    record = log("a")
    record.attributes.extend(otlp_attributes({str(number): "" for number in range(50_001)}))
    made = parsed(request_of(record, log("b")), LOGS)
    assert (len(made.lines), made.rejected) == (
        1,
        {"it has 50001 attributes, events and links, more than 50000": 1},
    )
    metrics = [count(1), count(2)]
    for metric in metrics:
        metric.sum.data_points.extend([metric.sum.data_points[0]] * 50_000)
    with pytest.raises(TooManyError, match="more than 100000 data points"):
        parsed(request_of(*metrics), METRICS)


def test_lines_begin_with_their_kind():
    """Readers of a journal know them by that."""
    assert parsed(request_of(log("a")), LOGS).lines[0].startswith(b'{"t":"log",')
    assert parsed(request_of(count(1)), METRICS).lines[0].startswith(b'{"t":"metric",')


def test_secrets_are_not_in_the_repr():
    """Nor is the body."""
    assert "secret" not in repr(Ingest(1, b"secret", CapturePolicy(), ("secret",), "me"))


def field(number: int, value: bytes) -> bytes:
    """Return a length-delimited field of protobuf."""
    size, length = len(value), b""
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + value


def many(count: int = 1, **fields: Any) -> bytes:
    """Return a request with spans that are alike."""
    return wrapped([span(n, **fields) for n in range(1, count + 1)]).SerializeToString()


def json_spans(*spans: Any) -> bytes:
    """Return a request in JSON."""
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}).encode()


IDS = {"traceId": "61" * 16, "spanId": "62" * 8}
EMPTY = b"\x12\0" * 400_000
TEXT, NUMBER = {"key": "a", "value": {"stringValue": "v"}}, {"key": "a", "value": {"doubleValue": 1}}
BOMBS: dict[str, Callable[[], bytes]] = {
    "empty resources": lambda: b"\n\0" * 400_000,
    "empty scopes": lambda: field(1, EMPTY),
    "empty items": lambda: field(1, field(2, EMPTY)),
    "unknown fields": lambda: b"\x10\0" * 400_000,
    "attributes": lambda: many(30, attributes=otlp_attributes({"k": "v"}) * 20_000),
    "events": lambda: many(20, events=[Span.Event(name="e")] * 20_000),
    "links": lambda: many(20, links=[Span.Link(trace_state="e")] * 20_000),
    "an array": lambda: many(attributes=encode_attributes({"a": [1] * 600_000})),
    "JSON resources": lambda: b'{"resourceSpans":[' + b"{}," * 400_000 + b"{}]}",
    "JSON attributes": lambda: json_spans({**IDS, "attributes": [TEXT] * 320_000}),
    "JSON numbers": lambda: json_spans({**IDS, "attributes": [NUMBER] * 100_000}),
    "JSON events": lambda: json_spans({**IDS, "events": [{"name": "e"}] * 100_000}),
    "JSON spans": lambda: json_spans(*[IDS] * 100_000),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_request_of_too_many_parts(name):
    """A body of up to 16 MB that would take many seconds to read is refused after a bounded number of its parts."""
    encoding = "json" if name.startswith("JSON") else "protobuf"
    with pytest.raises(TooManyError, match="send fewer"):
        lines_in(Ingest(1, BOMBS[name](), CapturePolicy(), (), "me"), TRACES, encoding)


def test_a_large_batch_of_a_collector_is_within_the_limit():
    """8,192 spans with 20 attributes each are stored, and braces in texts are no objects of JSON."""
    attributes = otlp_attributes({f"key.{n}": "value" for n in range(20)})
    body = wrapped([span(n, attributes=attributes) for n in range(1, 8193)])
    parsed = lines_in(Ingest(1, body.SerializeToString(), CapturePolicy(), (), "me"), TRACES, "protobuf")
    assert len(parsed.lines) == 8192
    text = '{"a": "\\"{' * 100_000
    body = json_spans({**IDS, "attributes": [{"key": "a", "value": {"stringValue": text}}]})
    assert len(lines_in(Ingest(1, body, CapturePolicy(), (), "me"), TRACES, "json").lines) == 1
