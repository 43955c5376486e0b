"""Requests of OTLP are split into spans, whose lines give back what was sent; responses have the request's encoding."""

import json
from contextlib import suppress

import pytest
from google.rpc.status_pb2 import Status
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from gateway.config.model import Capture
from gateway.store.otlp import forwarding
from gateway.store.otlp.request import request_of, weight
from gateway.tracing.capture import CapturePolicy
from gateway.tracing.ingest.otlp.lines import encode, source_fields, span_line
from gateway.tracing.ingest.otlp.protocol import (
    TRACES,
    Malformed,
    UnreadableError,
    encoding_of,
    error_response,
    items_in,
    success_response,
)
from gateway.tracing.ingest.otlp.values import TooManyError
from tests.support.otlp_receiver import attributes_of
from tests.support.otlp_spans import as_json, otlp_attributes, requests, span, wrapped

FULL = Capture(otlp="full")
KEPT = CapturePolicy(FULL)


def lines_of(body, encoding="protobuf", capture_policy=KEPT):
    """Return the lines of a request's spans, and the errors of malformed ones."""
    made = []
    for source, each in items_in(body, TRACES, encoding):
        line = (
            each
            if isinstance(each, Malformed)
            else span_line(each, source_fields(source, capture_policy), capture_policy, 1)
        )
        made.append(line if isinstance(line, Malformed) else json.loads(encode(line)))
    return made


def sent_on(lines):
    """Return the request that a collector gets for lines."""
    return request_of([forwarding.span_of(forwarding.row_in(json.dumps(line).encode()), FULL) for line in lines])


@given(requests())
def test_a_span_is_passed_on_as_it_was_sent(body):
    """A span, its resource and its scope are the same once they are passed on."""
    assert sent_on(lines_of(body.SerializeToString())) == body


def test_spans_are_grouped_by_resource_and_scope():
    """A request repeats no resource and no scope, and is no larger than the sum of its spans' weights."""
    of = [(Resource(attributes=otlp_attributes({"service.name": name})), InstrumentationScope(name=scope))
          for name, scope in (("a", "x"), ("b", "x"), ("a", "y"))]  # fmt: skip
    bodies = [wrapped([span(number + 1)], *of[number % 10]) for number in (0, 1, 2, 10, 11, 12)]
    lines = [line for body in bodies for line in lines_of(body.SerializeToString())]
    made = sent_on(lines)
    assert [
        [(part.scope.name, [each.span_id[-1] for each in part.spans]) for part in group.scope_spans]
        for group in made.resource_spans
    ] == [[("x", [1, 11]), ("y", [3, 13])], [("x", [2, 12])]]
    assert sum(weight(forwarding.span_of(line, FULL)) for line in lines) >= made.ByteSize()


@given(requests())
def test_json_gives_the_same_lines_as_protobuf(body):
    """A request has the same lines in both encodings."""
    assert lines_of(json.dumps(as_json(body)).encode(), "json") == lines_of(body.SerializeToString())


@given(requests(), st.data())
def test_a_truncated_request_is_refused_or_lacks_its_end(body, data):
    """A cut raises nothing but UnreadableError, and adds no span."""
    whole = body.SerializeToString()
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    with suppress(UnreadableError):
        assert len(lines_of(cut)) <= len(lines_of(whole))


@given(st.binary(max_size=60))
def test_junk_is_refused(junk):
    """Random bytes raise nothing but UnreadableError."""
    for encoding in ("protobuf", "json"):
        with suppress(UnreadableError):
            lines_of(junk, encoding)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"trace_id": b"\1" * 15}, "its trace_id has 15 bytes, not 16"),
        ({"trace_id": bytes(16)}, "its trace_id is 0"),
        ({"span_id": b""}, "its span_id has 0 bytes, not 8"),
        ({"span_id": bytes(8)}, "its span_id is 0"),
        ({"parent_span_id": b"\1"}, "its parent_span_id has 1 bytes, not 8"),
        ({"start_time_unix_nano": 2**63}, "its times are beyond the year 2262"),
        ({"end_time_unix_nano": 2**64 - 1}, "its times are beyond the year 2262"),
        ({"kind": 9}, "there is no kind of span 9"),
    ],
)
def test_a_malformed_span_is_reported_and_the_others_are_stored(more, why):
    """An error in a span costs no other span of the request."""
    body = wrapped([span(1), span(2, **more), span(3)])
    first, second, third = lines_of(body.SerializeToString())
    assert (first["name"], third["name"]) == ("work 1", "work 3")
    assert second == Malformed(why)


def test_a_parent_of_zeros_is_none():
    """Some exporters write zeros for no parent."""
    (line,) = lines_of(wrapped([span(1, parent_span_id=bytes(8))]).SerializeToString())
    assert "parent_span_id" not in line


def test_a_malformed_span_in_json_is_reported():
    """Invalid ids and values of another type cost no other span."""
    body = as_json(wrapped([span(1), span(2), span(3), span(4)]))
    (part,) = body["resourceSpans"][0]["scopeSpans"]
    part["spans"][0]["traceId"] = "zz"
    part["spans"][1]["attributes"] = 7
    part["spans"][2]["startTimeUnixNano"] = "soon"
    *wrong, right = lines_of(json.dumps(body).encode(), "json")
    assert all(isinstance(each, Malformed) and each.reason.startswith("it cannot be read (") for each in wrong)
    assert right["name"] == "work 4"


def test_json_may_have_unknown_fields_and_other_forms():
    """Unknown fields are ignored, 64-bit numbers may be texts, and null is absence."""
    body = as_json(wrapped([span(1)]))
    (part,) = body["resourceSpans"][0]["scopeSpans"]
    part["spans"][0] |= {
        "new": {"a": 1},
        "startTimeUnixNano": 1_764_000_000_000_000_001,
        "links": None,
        "parentSpanId": "",
    }
    body["more"] = []
    (line,) = lines_of(json.dumps(body).encode(), "json")
    assert (line["start_ns"], "links" in line, "parent_span_id" in line) == (1_764_000_000_000_000_001, False, False)
    assert lines_of(b'{"resourceSpans": null}', "json") == []


def test_half_a_surrogate_pair_costs_no_span():
    """JavaScript may cut a text within a character; nothing but that character is lost."""
    body = json.dumps(as_json(wrapped([span(1, name="cut HERE"), span(2)]))).replace("HERE", "\\ud83d")
    first, second = lines_of(body.encode(), "json")
    assert (first["name"], second["name"]) == ("cut ?", "work 2")


TOO_MANY = {
    "spans": (wrapped([Span()] * 50_001).SerializeToString(), "protobuf"),
    "resources": (b"\x0a\x00" * 50_001, "protobuf"),
    "scopes": (b"\x0a\xa2\x8d\x06" + b"\x12\x00" * 50_001, "protobuf"),
    "unknown fields": (b"\x10\x01" * 50_001, "protobuf"),
    "spans in JSON": (b'{"resourceSpans":[{"scopeSpans":[{"spans":[%b{}]}]}]}' % (b"{}," * 50_000), "json"),
    "resources in JSON": (b'{"resourceSpans":[%b{}]}' % (b"{}," * 50_000), "json"),
    "scopes in JSON": (b'{"resourceSpans":[{"scopeSpans":[%b{}]}]}' % (b"{}," * 50_000), "json"),
    "objects in JSON": (b'{"more":[%b{}]}' % (b"{}," * 1_000_000), "json"),
}


@pytest.mark.parametrize(("body", "encoding"), TOO_MANY.values(), ids=TOO_MANY)
def test_too_many_parts_are_refused(body, encoding):
    """However small they are; the error asks for fewer."""
    with pytest.raises(TooManyError, match=r"more than (50000 spans, scopes and resources|600000 objects)"):
        lines_of(body, encoding)


def test_the_collectors_capture_mode_holds():
    """`[capture] otlp` applies to spans that are passed on, their events and links included."""
    spoken = otlp_attributes({"gen_ai.input.messages": "[]", "kept": "yes"})
    event = Span.Event(name="gen_ai.content.prompt", attributes=otlp_attributes({"gen_ai.prompt": "hello"}))
    (line,) = lines_of(wrapped([span(1, attributes=spoken, events=[event])]).SerializeToString())
    made = forwarding.span_of(line, Capture(otlp="metadata")).item
    assert attributes_of(made) == {"kept": "yes"}
    assert not made.events[0].attributes
    assert line["attributes"] == {"gen_ai.input.messages": "[]", "kept": "yes"}


def test_encodings_are_known_by_content_type():
    """Parameters of a Content-Type make no difference."""
    assert encoding_of("application/x-protobuf") == "protobuf"
    assert encoding_of("application/json; charset=utf-8") == "json"
    assert encoding_of("text/plain") is None
    assert encoding_of("") is None


def test_a_success_has_the_requests_encoding():
    """Nothing is in it unless spans were rejected; then it has their number and the reason."""
    for rejected, reason in ((0, ""), (3, "3 of them: its trace_id is 0")):
        response = ExportTraceServiceResponse.FromString(success_response(TRACES, "protobuf", rejected, reason))
        partial = response.partial_success
        assert (partial.rejected_spans, partial.error_message) == (rejected, reason)
    assert success_response(TRACES, "protobuf") == b""
    assert success_response(TRACES, "json") == b"{}"
    assert json.loads(success_response(TRACES, "json", 3, "no")) == {
        "partialSuccess": {"rejectedSpans": "3", "errorMessage": "no"}
    }


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, 3), (401, 16), (403, 7), (408, 4), (413, 8), (415, 3), (429, 8), (500, 13), (503, 14), (418, 2)],
)
def test_an_error_has_the_code_of_its_status(status, code):
    """Codes are those of google.rpc, UNKNOWN for any other HTTP status."""
    assert json.loads(error_response("json", status, "no")) == {"code": code, "message": "no"}
    assert Status.FromString(error_response("protobuf", status, "no")) == Status(code=code, message="no")
