"""Spans of applications: from a request's bytes to a journal's line, and back to what was sent."""

import json
import math
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue, KeyValueList
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from gateway.config.model import Capture
from gateway.redaction import REDACTED
from gateway.store.otlp import passing
from gateway.store.otlp.encoding import request_of, weight
from gateway.tracing.capture import CapturePolicy
from gateway.tracing.ingest.otlp.content import capture_attributes, is_content
from gateway.tracing.ingest.otlp.lines import encode, source_fields, span_line
from gateway.tracing.ingest.otlp.protocol import (
    Malformed,
    TooManyError,
    UnreadableError,
    encoding_of,
    spans_in_json,
    spans_in_protobuf,
)
from gateway.tracing.ingest.otlp.values import decode_value, encode_value
from tests.support.receiver import attributes_of
from tests.support.sent import as_json, pairs, requests, said, span, values, wrapped

FULL = Capture(otlp="full")
KEPT = CapturePolicy(FULL)


def lines_of(body, read=spans_in_protobuf, capture_policy=KEPT):
    """Return what becomes of a request's spans: lines, and what is wrong with others."""
    made = []
    for source, each in read(body):
        line = (
            each
            if isinstance(each, Malformed)
            else span_line(each, source_fields(source, capture_policy), capture_policy, 1)
        )
        made.append(line if isinstance(line, Malformed) else json.loads(encode(line)))
    return made


def sent_on(lines):
    """Return the request in which lines are passed on."""
    return request_of([passing.span_of(passing.row_in(json.dumps(line).encode()), FULL) for line in lines])


@given(requests())
def test_what_comes_in_goes_out(body):
    """Whatever a span, its resource and its scope say is the same when it is passed on."""
    assert sent_on(lines_of(body.SerializeToString())) == body


def test_what_is_passed_on_is_grouped_by_whose_it_is():
    """A resource and a scope stand in a request once, however many spans are of them; a span's weight is enough."""
    of = [(Resource(attributes=said({"service.name": name})), InstrumentationScope(name=scope))
          for name, scope in (("a", "x"), ("b", "x"), ("a", "y"))]  # fmt: skip
    bodies = [wrapped([span(number + 1)], *of[number % 10]) for number in (0, 1, 2, 10, 11, 12)]
    lines = [line for body in bodies for line in lines_of(body.SerializeToString())]
    made = sent_on(lines)
    assert [
        [(part.scope.name, [each.span_id[-1] for each in part.spans]) for part in group.scope_spans]
        for group in made.resource_spans
    ] == [[("x", [1, 11]), ("y", [3, 13])], [("x", [2, 12])]]
    assert sum(weight(passing.span_of(line, FULL)) for line in lines) >= made.ByteSize()


@given(requests())
def test_json_says_the_same_as_protobuf(body):
    """Both encodings of a request come to the same lines."""
    assert lines_of(json.dumps(as_json(body)).encode(), spans_in_json) == lines_of(body.SerializeToString())


@given(values)
def test_a_value_can_be_undone(value):
    """Any value of OTLP is JSON, and comes back out of it."""
    assert encode_value(json.loads(json.dumps(decode_value(value), allow_nan=False))) == value


def test_what_json_has_no_form_for():
    """Bytes, numbers that are none, a key that comes twice or looks like ours, and a value that says nothing."""
    nan = encode_value(decode_value(AnyValue(double_value=math.nan)))
    assert math.isnan(nan.double_value)
    assert decode_value(AnyValue(bytes_value=b"\0\1")) == {"otlp.bytes": "AAE="}
    assert decode_value(AnyValue()) is None
    twice = AnyValue(kvlist_value=KeyValueList(values=[KeyValue(key="a", value=AnyValue(int_value=n)) for n in (1, 2)]))
    assert decode_value(twice) == {"otlp.entries": [["a", 1], ["a", 2]]}
    ours = AnyValue(kvlist_value=pairs({"otlp.bytes": AnyValue(string_value="AAE=")}))
    for value in (twice, ours):
        assert encode_value(decode_value(value)) == value


@given(requests(), st.data())
def test_a_request_that_is_cut_off_is_refused_or_lacks_its_end(body, data):
    """No cut makes it raise anything else, and what can be read of it is what was sent."""
    whole = body.SerializeToString()
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    with suppress(UnreadableError):
        assert len(lines_of(cut)) <= len(lines_of(whole))


@given(st.binary(max_size=60))
def test_junk_is_refused_in_words(junk):
    """Bytes of any kind are no request, or one without spans that are any."""
    for read in (spans_in_protobuf, spans_in_json):
        with suppress(UnreadableError):
            lines_of(junk, read)


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
def test_a_span_that_is_none_says_why_and_the_others_are_taken(more, why):
    """What is wrong with one does not concern those beside it."""
    body = wrapped([span(1), span(2, **more), span(3)])
    first, second, third = lines_of(body.SerializeToString())
    assert (first["name"], third["name"]) == ("work 1", "work 3")
    assert second == Malformed(why)


def test_a_parent_of_zeroes_is_none():
    """A root is one however its parent is written."""
    (line,) = lines_of(wrapped([span(1, parent_span_id=bytes(8))]).SerializeToString())
    assert "parent_span_id" not in line


def test_a_span_of_json_that_is_none_says_why():
    """Ids that are no hexadecimal, values of another type: the others are taken."""
    body = as_json(wrapped([span(1), span(2), span(3), span(4)]))
    (part,) = body["resourceSpans"][0]["scopeSpans"]
    part["spans"][0]["traceId"] = "zz"
    part["spans"][1]["attributes"] = 7
    part["spans"][2]["startTimeUnixNano"] = "soon"
    *wrong, right = lines_of(json.dumps(body).encode(), spans_in_json)
    assert all(isinstance(each, Malformed) and each.reason.startswith("it cannot be read (") for each in wrong)
    assert right["name"] == "work 4"


def test_json_may_have_more_and_other_forms():
    """Unknown fields cost nothing; 64-bit numbers are text or not; what is null is not said."""
    body = as_json(wrapped([span(1)]))
    (part,) = body["resourceSpans"][0]["scopeSpans"]
    part["spans"][0] |= {
        "new": {"a": 1},
        "startTimeUnixNano": 1_764_000_000_000_000_001,
        "links": None,
        "parentSpanId": "",
    }
    body["more"] = []
    (line,) = lines_of(json.dumps(body).encode(), spans_in_json)
    assert (line["start_ns"], "links" in line, "parent_span_id" in line) == (1_764_000_000_000_000_001, False, False)
    assert lines_of(b'{"resourceSpans": null}', spans_in_json) == []


def test_half_a_character_of_javascript_costs_nobody_a_span():
    """A text that was cut within a character comes as half a pair of JSON; that half is lost, and nothing else."""
    body = json.dumps(as_json(wrapped([span(1, name="cut HERE"), span(2)]))).replace("HERE", "\\ud83d")
    first, second = lines_of(body.encode(), spans_in_json)
    assert (first["name"], second["name"]) == ("cut ?", "work 2")


def test_too_many_spans_are_too_many():
    """To know where each is takes memory; who sends them is told to send fewer."""
    body = wrapped([Span()] * 100_001).SerializeToString()
    with pytest.raises(TooManyError, match="more than 100000 spans"):
        lines_of(body)


@pytest.mark.parametrize(
    "name",
    [
        "gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.system_instructions", "gen_ai.tool.definitions",
        "gen_ai.tool.call.arguments", "gen_ai.tool.call.result", "gen_ai.prompt.0.content", "gen_ai.completion.1.role",
        "gen_ai.prompt", "input.value", "output.value", "llm.input_messages.0.message.content",
        "llm.output_messages.3.message.tool_calls.0.tool_call.function.arguments", "llm.prompts",
        "traceloop.entity.input", "langfuse.observation.output", "retrieval.documents.0.document.content",
        "tool.parameters",
    ],
)  # fmt: skip
def test_content_is_known_by_the_names_of_many(name):
    """The conventions' names of today and before, OpenInference's, Traceloop's, Langfuse's."""
    said = {name: "what was said", "gen_ai.usage.input_tokens": 3, "gen_ai.request.model": "m"}
    assert is_content(name)
    for mode in ("metadata", "off"):
        assert capture_attributes(said, mode, 100) == {"gen_ai.usage.input_tokens": 3, "gen_ai.request.model": "m"}
    assert capture_attributes(said, "full", 100) == said


@pytest.mark.parametrize(
    "name", ["gen_ai.usage.input_tokens", "input.mime_type", "llm.model_name", "db.query.text", "http.route"]
)
def test_other_names_are_kept(name):
    """What is not known to be content is the application's own business."""
    assert not is_content(name)
    assert capture_attributes({name: "x" * 500}, "off", 10) == {name: "x" * 500}


def test_content_that_is_too_long_is_cut():
    """JSON stays JSON; other text says how much is missing."""
    messages = json.dumps([{"role": "user", "parts": [{"type": "text", "content": "x" * 5000}]}])
    made = capture_attributes({"gen_ai.input.messages": messages, "input.value": "é" * 5000}, "truncated", 300)
    assert len(made["gen_ai.input.messages"]) <= 300
    (message,) = json.loads(made["gen_ai.input.messages"])
    assert message["parts"][0]["content"].endswith("more characters]")
    assert made["input.value"] == "é" * 150 + "… [9700 more bytes]"
    assert capture_attributes({"input.value": "[" + "x" * 500}, "truncated", 100)["input.value"].startswith("[xxx")


def test_keys_by_name_are_never_kept():
    """What an instrumentation of HTTP records of headers may have somebody's key."""
    names = (
        "http.request.header.authorization",
        "http.request.header.x-api-key",
        "http.response.header.set-cookie",
        "api_key",
    )
    made = capture_attributes(
        {name: ["Bearer sk-1"] for name in names} | {"http.request.header.accept": ["x"]}, "full", 100
    )
    assert made == dict.fromkeys(names, REDACTED) | {"http.request.header.accept": ["x"]}


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://x.example/v1?key=AIzaX&alt=sse#a", "https://x.example/v1?key=[redacted]&alt=sse#a"),
        ("/v1/a?q=keys&x-api-key=k1&access_token=t2", "/v1/a?q=keys&x-api-key=[redacted]&access_token=[redacted]"),
        ("key=1&X-Amz-Signature=ab", "key=[redacted]&X-Amz-Signature=[redacted]"),
        ("https://x.example/key=1/monkey=2?donkey=3", "https://x.example/key=1/monkey=2?donkey=3"),
    ],
)
def test_keys_in_a_url_are_never_kept(url, kept):
    """By the names of its parameters; all else of it stays."""
    assert capture_attributes({"url.full": url, "http.target": url, "note": url}, "full", 100) == {
        "url.full": kept, "http.target": kept, "note": url,
    }  # fmt: skip


def test_the_collector_gets_no_content_where_it_is_to_get_none():
    """`[capture] otlp` holds for what is passed on as well, events and links included."""
    spoken = said({"gen_ai.input.messages": "[]", "kept": "yes"})
    event = Span.Event(name="gen_ai.content.prompt", attributes=said({"gen_ai.prompt": "hello"}))
    (line,) = lines_of(wrapped([span(1, attributes=spoken, events=[event])]).SerializeToString())
    made = passing.span_of(line, Capture(otlp="metadata")).span
    assert attributes_of(made) == {"kept": "yes"}
    assert not made.events[0].attributes
    assert line["attributes"] == {"gen_ai.input.messages": "[]", "kept": "yes"}


def test_encodings_are_those_of_otlp():
    """By Content-Type, whatever parameters it has."""
    assert encoding_of("application/x-protobuf") == "protobuf"
    assert encoding_of("application/json; charset=utf-8") == "json"
    assert encoding_of("text/plain") is None
    assert encoding_of("") is None
