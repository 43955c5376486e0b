"""Lines of log records have the columns of the view `logs`, and no empty values."""

import json

import pytest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from gateway.config.model import Capture
from gateway.redaction import Redaction
from gateway.tracing.capture import CapturePolicy
from gateway.tracing.ingest.otlp.lines import encode, source_fields
from gateway.tracing.ingest.otlp.log_lines import log_line
from gateway.tracing.ingest.otlp.protocol import Malformed, Source
from tests.support.otlp_spans import otlp_attributes

EMPTY = Source(Resource(), InstrumentationScope())


def line_of(record: LogRecord, source: Source = EMPTY, policy: CapturePolicy | None = None) -> dict:
    """Return a record's line as it is stored."""
    policy = policy or CapturePolicy()
    line = log_line(record, source_fields(source, policy), policy, 7)
    assert not isinstance(line, Malformed)
    return json.loads(encode(line))


def test_empty_values_are_omitted():
    """A record without fields has the time of its arrival."""
    assert line_of(LogRecord()) == {"t": "log", "otlp": {"scope": {}}, "received_ns": 7}


def test_every_field_has_its_place():
    """The rest, without a column, is below `otlp`."""
    record = LogRecord(
        time_unix_nano=5,
        observed_time_unix_nano=6,
        severity_number=9,
        severity_text="info",
        event_name="started",
        body=AnyValue(string_value="hello"),
        trace_id=b"\1" * 16,
        span_id=b"\2" * 8,
        flags=1,
        dropped_attributes_count=2,
        attributes=otlp_attributes({"session.id": "s1", "user.id": "u1", "n": "1"}),
    )
    source = Source(Resource(attributes=otlp_attributes({"service.name": "app"})), InstrumentationScope(name="x"))
    assert line_of(record, source) == {
        "t": "log",
        "time_ns": 5,
        "observed_ns": 6,
        "severity_text": "info",
        "severity_number": 9,
        "event_name": "started",
        "body": "hello",
        "trace_id": "01" * 16,
        "span_id": "02" * 8,
        "session_id": "s1",
        "user_id": "u1",
        "service_name": "app",
        "attributes": {"session.id": "s1", "user.id": "u1", "n": "1"},
        "resource": {"service.name": "app"},
        "otlp": {"scope": {"name": "x"}, "flags": 1, "dropped_attributes": 2, "event_name": "started"},
        "received_ns": 7,
    }


def test_the_name_of_an_event_may_be_an_attribute():
    """As older SDKs and coding agents have it; Codex has a line of its source code in the field."""
    record = LogRecord(attributes=otlp_attributes({"event.name": "api_request"}), event_name="event client.rs:330")
    assert line_of(record)["event_name"] == "api_request"


@pytest.mark.parametrize(
    "name", ["session.id", "conversation.id", "gen_ai.conversation.id", "langfuse.session.id", "thread.id"]
)
def test_a_session_has_several_names(name):
    """Of the record before those of its resource."""
    of_record = LogRecord(attributes=otlp_attributes({name: "mine"}))
    of_resource = Source(Resource(attributes=otlp_attributes({name: "its"})), InstrumentationScope())
    assert line_of(of_record, of_resource)["session_id"] == "mine"
    assert line_of(LogRecord(), of_resource)["session_id"] == "its"


@pytest.mark.parametrize("name", ["user.id", "enduser.id", "langfuse.user.id", "user.account_uuid", "user.account_id"])
def test_a_user_has_several_names(name):
    """Anything but a text is none."""
    assert line_of(LogRecord(attributes=otlp_attributes({name: "me"})))["user_id"] == "me"
    record = LogRecord()
    record.attributes.add(key=name, value=AnyValue(int_value=5))
    assert "user_id" not in line_of(record)


@pytest.mark.parametrize("wrong", [b"\1", bytes(16), b"\1" * 17])
def test_an_invalid_id_is_none(wrong):
    """OTLP takes such a record for one without a trace."""
    line = line_of(LogRecord(trace_id=wrong, span_id=wrong))
    assert ("trace_id" in line, "span_id" in line) == (False, False)


def test_a_time_that_no_column_can_hold_is_malformed():
    """As for spans."""
    source = source_fields(EMPTY, CapturePolicy())
    for name in ("time_unix_nano", "observed_time_unix_nano"):
        assert isinstance(log_line(LogRecord(**{name: 2**63}), source, CapturePolicy(), 7), Malformed)


SPOKEN = LogRecord(
    body=AnyValue(string_value="x" * 100),
    event_name="api_request",
    attributes=otlp_attributes({"prompt": "x" * 100, "cost_usd": "0.1"}),
)


@pytest.mark.parametrize("mode", ["metadata", "off"])
def test_content_is_captured_as_configured(mode):
    """The body and the agents' attributes of content are left out; others and the event's name are stored."""
    line = line_of(SPOKEN, policy=CapturePolicy(Capture(store=mode)))
    assert ("body" in line, line["attributes"], line["event_name"]) == (False, {"cost_usd": "0.1"}, "api_request")


def test_long_content_is_truncated():
    """To the limit of the mode, a structured body as well."""
    policy = CapturePolicy(Capture(store="truncated", otlp_bytes=64))
    assert line_of(SPOKEN, policy=policy)["body"] == "x" * 64 + "… [36 more bytes]"
    structured = LogRecord()
    structured.body.kvlist_value.values.add(key="content", value=AnyValue(string_value="x" * 1000))
    assert len(json.dumps(line_of(structured, policy=policy)["body"])) < 120


def test_all_texts_are_redacted():
    """Body, attributes, severity and the event's name."""
    policy = CapturePolicy(redaction=Redaction(("emails",)))
    record = LogRecord(
        body=AnyValue(string_value="me@example.com"),
        severity_text="me@example.com",
        event_name="me@example.com",
        attributes=otlp_attributes({"user.email": "me@example.com", "session.id": "me@example.com"}),
    )
    record.attributes.add(key="nested").value.kvlist_value.values.add(
        key="k", value=AnyValue(string_value="me@example.com")
    )
    assert "me@example.com" not in json.dumps(line_of(record, policy=policy))
