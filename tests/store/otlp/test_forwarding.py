"""Spans of applications forwarded: every field of OTLP, content by `[capture] otlp`, and rows that are no span."""

import base64
import json
from typing import Any

import msgspec
import pytest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from gateway.config.model import Capture
from gateway.store.otlp.forwarding import log_of, metric_of, row_in, row_of_store, span_of
from gateway.tracing.capture import CapturePolicy
from gateway.tracing.ingest.otlp.lines import encode, source_fields
from gateway.tracing.ingest.otlp.log_lines import log_line
from gateway.tracing.ingest.otlp.protocol import Source
from gateway.tracing.ingest.otlp.values import decode_attributes, encode_attributes, encode_value

FULL = Capture(otlp="full")
START_NS = 1_700_000_000_000_000_000
ROW: dict[str, Any] = {
    "trace_id": "0a" * 16,
    "span_id": "0b" * 8,
    "name": "n",
    "kind": "CLIENT",
    "start_ns": START_NS,
}


def test_a_row_without_more_is_a_span_without_more():
    """Absent fields have OTLP's defaults."""
    forwarded = span_of(ROW, FULL)
    assert forwarded.item == Span(
        trace_id=b"\x0a" * 16,
        span_id=b"\x0b" * 8,
        name="n",
        kind=Span.SPAN_KIND_CLIENT,
        start_time_unix_nano=START_NS,
        end_time_unix_nano=START_NS,
        status=Status(),
    )
    assert (forwarded.resource.attributes, forwarded.scope.name) == ([], "")
    assert (forwarded.resource_schema_url, forwarded.scope_schema_url) == ("", "")


def test_every_field_is_forwarded():
    """Those in columns, and those below `otlp`."""
    row = ROW | {
        "parent_span_id": "0c" * 8,
        "trace_state": "a=b",
        "duration_ns": 5,
        "status": "ERROR",
        "status_message": "why",
        "attributes": {"k": [1, {"otlp.bytes": "AAE="}]},
        "resource": {"service.name": "app"},
        "events": [{"name": "e", "time_ns": START_NS + 1, "attributes": {"n": 1}, "dropped": 6}],
        "links": [
            {"trace_id": "0d" * 16, "span_id": "0e" * 8, "trace_state": "c=d", "flags": 1, "attributes": {"l": True},
             "dropped": 7}
        ],
        "otlp": {
            "flags": 257,
            "dropped_attributes": 1,
            "dropped_events": 2,
            "dropped_links": 3,
            "resource_dropped": 4,
            "resource_schema_url": "https://r",
            "scope_schema_url": "https://s",
            "scope": {"name": "s", "version": "1", "attributes": {"x": 0.5}, "dropped": 5},
        },
    }  # fmt: skip
    span, resource, scope, of_resource, of_scope = span_of(row, FULL)
    assert (span.parent_span_id, span.trace_state, span.flags) == (b"\x0c" * 8, "a=b", 257)
    assert span.end_time_unix_nano == START_NS + 5
    assert (span.status.code, span.status.message) == (Status.STATUS_CODE_ERROR, "why")
    assert (span.dropped_attributes_count, span.dropped_events_count, span.dropped_links_count) == (1, 2, 3)
    assert decode_attributes(span.attributes) == row["attributes"]
    (event,), (link,) = span.events, span.links
    assert (event.name, event.time_unix_nano, event.dropped_attributes_count) == ("e", START_NS + 1, 6)
    assert decode_attributes(event.attributes) == {"n": 1}
    assert (link.trace_id, link.span_id) == (b"\x0d" * 16, b"\x0e" * 8)
    assert (link.trace_state, link.flags, link.dropped_attributes_count) == ("c=d", 1, 7)
    assert decode_attributes(link.attributes) == {"l": True}
    assert (decode_attributes(resource.attributes), resource.dropped_attributes_count) == ({"service.name": "app"}, 4)
    assert (scope.name, scope.version, scope.dropped_attributes_count) == ("s", "1", 5)
    assert decode_attributes(scope.attributes) == {"x": 0.5}
    assert (of_resource, of_scope) == ("https://r", "https://s")


@pytest.mark.parametrize("kind", ["INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"])
def test_kinds_are_otlps(kind):
    """By name."""
    assert span_of(ROW | {"kind": kind}, FULL).item.kind == Span.SpanKind.Value(f"SPAN_KIND_{kind}")


@pytest.mark.parametrize("status", ["UNSET", "OK", "ERROR"])
def test_statuses_are_otlps(status):
    """By name."""
    assert span_of(ROW | {"status": status}, FULL).item.status.code == Status.StatusCode.Value(f"STATUS_CODE_{status}")


TEXT = "x" * 100
MODES = {
    "full": (Capture(otlp="full", store_bytes=50, otlp_bytes=20), 50),
    "truncated": (Capture(otlp="truncated", store_bytes=50, otlp_bytes=20), 20),
    "metadata": (Capture(otlp="metadata"), None),
}


@pytest.mark.parametrize(("capture", "most"), MODES.values(), ids=MODES)
def test_content_is_captured_for_the_collector(capture, most):
    """Content of the span, of its events and of its links; other attributes go out in every mode."""
    attributes = {"gen_ai.prompt": TEXT, "other": TEXT}
    row = ROW | {
        "attributes": attributes,
        "events": [{"name": "e", "time_ns": 1, "attributes": attributes}],
        "links": [{"trace_id": "0d" * 16, "span_id": "0e" * 8, "attributes": attributes}],
    }
    span = span_of(row, capture).item
    for each in (span, span.events[0], span.links[0]):
        sent = decode_attributes(each.attributes)
        assert sent["other"] == TEXT
        if most is None:
            assert "gen_ai.prompt" not in sent
        else:
            assert sent["gen_ai.prompt"].startswith("x" * most + "…")


RECORD = LogRecord(
    time_unix_nano=5,
    observed_time_unix_nano=6,
    severity_number=9,
    severity_text="info",
    event_name="started",
    trace_id=b"\x0a" * 16,
    span_id=b"\x0b" * 8,
    flags=1,
    dropped_attributes_count=2,
    attributes=encode_attributes({"event.name": "n", "k": {"otlp.bytes": "AAE="}}),
)


@pytest.mark.parametrize("body", [None, "hello", 5, True, {"a": [1, None, {"otlp.double": "NaN"}]}, ""])
@pytest.mark.parametrize("record", [RECORD, LogRecord()], ids=["full", "empty"])
def test_a_log_record_is_forwarded_as_it_was_sent(record, body):
    """Every field; a name that is an attribute only stays one."""
    sent = LogRecord()
    sent.CopyFrom(record)
    if body is not None:
        sent.body.CopyFrom(encode_value(body))
    for changed in (sent, LogRecord(attributes=encode_attributes({"event.name": "n"}))):
        source = Source(Resource(), InstrumentationScope(name="s"), "https://r", "https://s")
        line = log_line(changed, source_fields(source, CapturePolicy()), CapturePolicy(), 7)
        forwarded = log_of(row_in(encode(line)), FULL)
        if body == "":
            changed.ClearField("body")  # an empty text is no text
        assert forwarded == (changed, Resource(), source.scope, "https://r", "https://s")


@pytest.mark.parametrize(("capture", "most"), MODES.values(), ids=MODES)
def test_content_of_log_records_and_metrics_is_captured_for_the_collector(capture, most):
    """The body, and attributes of content; others go out in every mode."""
    attributes = {"prompt": TEXT, "other": TEXT}
    metric = Metric(name="n")
    metric.sum.data_points.add(attributes=encode_attributes(attributes))
    encoded = base64.b64encode(metric.SerializeToString()).decode()
    record, sent = (
        log_of({"body": TEXT, "attributes": attributes}, capture).item,
        metric_of({"metric": encoded}, capture),
    )
    for each in (record, sent.item.sum.data_points[0]):
        decoded = decode_attributes(each.attributes)
        assert decoded["other"] == TEXT
        content = [decoded.get("prompt"), *([record.body.string_value or None] if each is record else [])]
        assert all(text is None if most is None else text.startswith("x" * most + "…") for text in content)


@pytest.mark.parametrize("name", ["trace_id", "span_id", "name", "kind", "start_ns"])
def test_a_row_that_lacks_a_field_is_an_error(name):
    """The exporter counts it as damaged."""
    with pytest.raises(KeyError):
        span_of({key: value for key, value in ROW.items() if key != name}, FULL)


@pytest.mark.parametrize(
    "wrong", [{"trace_id": "no hex"}, {"kind": "OTHER"}, {"status": "FINE"}, {"parent_span_id": "0"}, {"start_ns": -1}]
)
def test_a_row_with_a_wrong_value_is_an_error(wrong):
    """The exporter counts it as damaged."""
    with pytest.raises(ValueError):  # noqa: PT011  the message is protobuf's
        span_of(ROW | wrong, FULL)


JSON_COLUMNS = {
    "events": [{"name": "e", "time_ns": 1, "attributes": {}}],
    "links": [],
    "attributes": {"k": "é"},
    "resource": {"service.name": "app"},
    "otlp": {"flags": 1},
}


def test_a_row_of_the_store_is_that_of_the_journal():
    """JSON columns are text in the store, and absent columns NULL."""
    line = ROW | JSON_COLUMNS
    stored = ROW | {name: json.dumps(value) for name, value in JSON_COLUMNS.items()} | {"trace_state": None}
    assert row_of_store(stored) == row_in(json.dumps(line).encode()) == line


@pytest.mark.parametrize("name", JSON_COLUMNS)
def test_damaged_json_in_the_store_is_an_error(name):
    """The exporter counts the row as damaged."""
    with pytest.raises(msgspec.DecodeError):
        row_of_store(ROW | {name: "{"})


def test_a_damaged_line_is_an_error():
    """The exporter counts it."""
    with pytest.raises(msgspec.DecodeError):
        row_in(b'{"t":"received"')
