"""Lines of spans have the columns of the store, and no empty values."""

import json

import pytest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from gateway.config.model import Capture
from gateway.redaction import Redaction
from gateway.tracing.capture import CapturePolicy
from gateway.tracing.ingest.otlp.lines import encode, source_fields, span_line
from gateway.tracing.ingest.otlp.protocol import Malformed, Source
from tests.support.otlp_spans import otlp_attributes, span

EMPTY = Source(Resource(), InstrumentationScope())


def line_of(sent: Span, source: Source = EMPTY, policy: CapturePolicy | None = None) -> dict:
    """Return a span's line as it is stored."""
    policy = policy or CapturePolicy()
    line = span_line(sent, source_fields(source, policy), policy, 7)
    assert not isinstance(line, Malformed)
    return json.loads(encode(line))


def test_empty_values_are_omitted():
    """A line has the ids, the name and the times of a span even if they are empty."""
    sent = Span(trace_id=b"\1" * 16, span_id=b"\2" * 8, start_time_unix_nano=5, end_time_unix_nano=3)
    assert line_of(sent) == {
        "t": "received",
        "trace_id": "01" * 16,
        "span_id": "02" * 8,
        "name": "",
        "kind": "INTERNAL",
        "start_ns": 5,
        "duration_ns": 0,
        "otlp": {"scope": {}},
        "received_ns": 7,
    }


@pytest.mark.parametrize("kind", Span.SpanKind.values())
def test_every_kind_has_its_name(kind):
    """An unspecified kind is INTERNAL, as OTLP defines it."""
    name = Span.SpanKind.Name(kind).removeprefix("SPAN_KIND_")
    assert line_of(span(1, kind=kind))["kind"] == {"UNSPECIFIED": "INTERNAL"}.get(name, name)


@pytest.mark.parametrize(("code", "status"), [(0, None), (1, "OK"), (2, "ERROR")])
def test_every_status_has_its_name(code, status):
    """An unset status is absent."""
    line = line_of(span(1, status=Status(code=code, message="why")))
    assert (line.get("status"), line["status_message"]) == (status, "why")


def test_a_line_has_the_resource_and_the_scope():
    """The service's name is a column, and schema URLs are stored beside the scope."""
    source = Source(
        Resource(attributes=otlp_attributes({"service.name": "shop", "a": "1"}), dropped_attributes_count=2),
        InstrumentationScope(name="lib", version="1"),
        "https://schema/r",
        "https://schema/s",
    )
    line = line_of(span(1), source)
    assert (line["service_name"], line["resource"]) == ("shop", {"service.name": "shop", "a": "1"})
    assert line["otlp"]["scope"] == {"name": "lib", "version": "1"}
    assert line["otlp"]["resource_schema_url"] == "https://schema/r"
    assert line["otlp"]["scope_schema_url"] == "https://schema/s"
    assert line["otlp"]["resource_dropped"] == 2


def test_every_text_of_a_span_is_redacted():
    """Names, the status message, attributes, events, links, the resource and the scope are searched."""
    secret = "eve@example.com"
    attributes = otlp_attributes({"a": secret})
    source = Source(Resource(attributes=attributes), InstrumentationScope(name="lib", attributes=attributes))
    sent = span(
        1,
        name=secret,
        status=Status(code=2, message=secret),
        attributes=attributes,
        events=[Span.Event(name=secret, attributes=attributes)],
        links=[Span.Link(trace_id=b"\1" * 16, span_id=b"\2" * 8, attributes=attributes)],
    )
    policy = CapturePolicy(Capture(store="full"), Redaction(["emails"]))
    line = json.dumps(line_of(sent, source, policy))
    assert secret not in line
    assert line.count("[redacted: email]") == 8
