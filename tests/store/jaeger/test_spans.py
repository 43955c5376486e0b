"""Rows of the store in Jaeger's words: its first API's traces, and the third one's OTLP."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.store.jaeger.otlp_json import resource_spans, summaries
from gateway.store.jaeger.spans import VALUE_BYTES, rows, short_id, traces

TRACE = "0c" * 16
START_NS = 1_700_000_000_123_456_789


def a_row(**columns: Any) -> dict[str, Any]:
    """Return a row as a query returns it: JSON columns are text."""
    plain = {
        "trace_id": TRACE,
        "span_id": "1" * 16,
        "parent_span_id": None,
        "name": "chat m",
        "kind": "CLIENT",
        "service_name": "gateway",
        "start_ns": START_NS,
        "duration_ns": 5_999,
        "withheld": False,
    }
    return plain | columns


def read(*each: dict[str, Any]) -> Any:
    """Return rows as they are turned into Jaeger's words."""
    names = list(dict.fromkeys(name for row in each for name in row))
    return rows(names, [[row.get(name) for name in names] for row in each])


def tags(row: dict[str, Any]) -> dict[str, tuple[str, Any]]:
    """Return the tags of a row's span, by key."""
    (trace,) = traces(read(row))
    return {tag["key"]: (tag["type"], tag["value"]) for tag in trace["spans"][0]["tags"]}


def test_a_span_has_its_fields_in_microseconds():
    """What is below one is cut off, as Jaeger does."""
    (trace,) = traces(read(a_row(parent_span_id="2" * 16)))
    (span,) = trace["spans"]
    assert {name: value for name, value in span.items() if name != "tags"} == {
        "traceID": TRACE,
        "spanID": "1" * 16,
        "operationName": "chat m",
        "references": [{"refType": "CHILD_OF", "traceID": TRACE, "spanID": "2" * 16}],
        "startTime": 1_700_000_000_123_456,
        "duration": 5,
        "logs": [],
        "processID": "p1",
        "warnings": None,
    }
    assert trace["processes"] == {"p1": {"serviceName": "gateway", "tags": []}}
    assert (trace["traceID"], trace["warnings"]) == (TRACE, None)


def test_traces_are_in_the_order_of_the_rows_with_a_process_for_each_service():
    """A trace is one, however its rows lie."""
    other = "0d" * 16
    made = traces(
        read(a_row(trace_id=other), a_row(span_id="2" * 16), a_row(span_id="3" * 16, service_name="app"), a_row())
    )
    assert [trace["traceID"] for trace in made] == [other, TRACE]
    assert [span["processID"] for span in made[1]["spans"]] == ["p1", "p2", "p1"]
    assert [made[1]["processes"][key]["serviceName"] for key in ("p1", "p2")] == ["gateway", "app"]


def test_tags_are_typed_and_sorted():
    """Attributes of columns and the rest of them alike; lists are JSON, in which whole numbers have no fraction."""
    row = a_row(
        request_model="m", http_status=200, stream=False, ttfc_s=1.0, finish_reasons=["stop"],
        chunk_times_ms=[0.5, 2.0],
        attributes='{"server.port": 443, "big": 9007199254740993, "small": -9007199254740993, "of": {"a": [1.0]}}',
    )  # fmt: skip
    said = tags(row)
    assert said["gen_ai.request.model"] == ("string", "m")
    assert said["http.response.status_code"] == ("int64", 200)
    assert said["gateway.stream"] == ("bool", False)
    assert said["gen_ai.response.time_to_first_chunk"] == ("float64", 1.0)
    assert said["gen_ai.response.finish_reasons"] == ("string", '["stop"]')
    assert said["gateway.attempt.chunk_times_ms"] == ("string", "[0.5,2]")
    assert said["server.port"] == ("int64", 443)
    assert said["big"] == ("int64", "9007199254740993")
    assert said["small"] == ("int64", "-9007199254740993")
    assert said["of"] == ("string", '{"a":[1]}')
    assert list(said) == sorted(said)


def test_tags_that_jaeger_makes_of_a_span():
    """Kind, status, scope and trace state, as if the span had come over OTLP."""
    said = tags(a_row(status="ERROR", status_message="server", trace_state="a=b"))
    assert said == {
        "error": ("bool", True),
        "otel.scope.name": ("string", "tracing-gateway"),
        "otel.status_code": ("string", "ERROR"),
        "otel.status_description": ("string", "server"),
        "span.kind": ("string", "client"),
        "w3c.tracestate": ("string", "a=b"),
    }
    assert tags(a_row(status="OK", kind="SERVER")) == {
        "otel.scope.name": ("string", "tracing-gateway"),
        "otel.status_code": ("string", "OK"),
        "span.kind": ("string", "server"),
    }
    assert "otel.status_code" not in tags(a_row(status="UNSET"))


def test_tags_have_the_names_that_consumers_know():
    """The same aliases that the export sends."""
    said = tags(a_row(cache_write_tokens=7, attributes='{"gen_ai.provider.name": "openai"}'))
    assert said["gen_ai.usage.cache_creation.input_tokens"] == ("int64", 7)
    assert said["gen_ai.system"] == ("string", "openai")


def test_content_is_cut_as_valid_json():
    """Short content is as it was stored; long content says that it was cut, and how to see it whole."""
    short = '[{"role":"user","parts":[{"type":"text","content":"é"}]}]'
    long = json.dumps([{"role": "user", "parts": [{"type": "text", "content": "x" * 2 * VALUE_BYTES}]}])
    said = tags(a_row(input_messages=short, output_messages=long))
    assert said["gen_ai.input.messages"] == ("string", short)
    cut = said["gen_ai.output.messages"][1]
    assert len(cut.encode()) <= VALUE_BYTES
    assert json.loads(cut)[0]["role"] == "user"
    assert said["gateway.content.truncated"] == ("bool", True)
    assert "1" * 16 in said["gateway.content.full"][1]


def test_other_long_texts_are_cut():
    """An application's own attributes too, and those of events."""
    text = json.dumps({"prompt": "y" * (VALUE_BYTES + 3)})
    row = a_row(attributes=text, events=json.dumps([{"name": "e", "time_ns": 1, "attributes": json.loads(text)}]))
    (trace,) = traces(read(row))
    (span,) = trace["spans"]
    for tag in (span["tags"][-2], span["logs"][0]["fields"][-1]):
        assert tag["key"] == "prompt"
        assert tag["value"] == "y" * VALUE_BYTES + "… [3 more characters]"


def test_content_that_was_left_out_is_pointed_to():
    """The span says that something is missing, and where it is."""
    said = tags(a_row(withheld=True))
    assert said["gateway.content.truncated"] == ("bool", True)
    assert said["gateway.content.full"][1].startswith("SELECT")


def test_events_are_logs():
    """Their name is a field, unless they have one of that name."""
    events = [
        {"name": "retry", "time_ns": 2_500, "attributes": {"n": 1}},
        {"name": "x", "time_ns": 3_000, "attributes": {"event": "own"}},
        {"name": "bare", "time_ns": 4_000, "attributes": None},
    ]
    (trace,) = traces(read(a_row(events=json.dumps(events))))
    assert trace["spans"][0]["logs"] == [
        {
            "timestamp": 2,
            "fields": [
                {"key": "event", "type": "string", "value": "retry"},
                {"key": "n", "type": "int64", "value": 1},
            ],
        },
        {"timestamp": 3, "fields": [{"key": "event", "type": "string", "value": "own"}]},
        {"timestamp": 4, "fields": [{"key": "event", "type": "string", "value": "bare"}]},
    ]


def test_an_interrupted_exchange_took_no_time_and_says_why():
    """How long it took is not known."""
    (trace,) = traces(read(a_row(duration_ns=None, name=None)))
    (span,) = trace["spans"]
    assert (span["duration"], span["operationName"]) == (0, "")
    assert "interrupted" in span["warnings"][0]


def test_a_span_of_no_time_has_no_warning():
    """Its duration is known: 0."""
    (trace,) = traces(read(a_row(duration_ns=0)))
    (span,) = trace["spans"]
    assert (span["duration"], span["warnings"]) == (0, None)


def test_an_answer_that_is_not_all_says_so():
    """On each trace, since any may be the one that lacks spans."""
    (trace,) = traces(read(a_row()), most=1)
    assert "1 spans" in trace["warnings"][0]


def test_a_trace_id_of_64_bits_is_shown_in_16_digits():
    """As Jaeger shows it, in references too."""
    assert short_id("0" * 16 + "a" * 16) == "a" * 16
    assert short_id("0" * 15 + "1" + "a" * 16) == "0" * 15 + "1" + "a" * 16
    (trace,) = traces(read(a_row(trace_id="0" * 16 + "a" * 16, parent_span_id="b" * 16)))
    assert trace["traceID"] == trace["spans"][0]["traceID"] == trace["spans"][0]["references"][0]["traceID"] == "a" * 16


def test_the_third_api_has_otlp():
    """Numbers of 64 bits as text, kinds and codes as numbers; a group for each trace and service."""
    row = a_row(
        parent_span_id="2" * 16, trace_state="a=b", status="ERROR", status_message="why", http_status=500,
        attributes='{"t": true, "f": 0.5, "l": [1, "a"], "o": {"k": null}, "s": ""}',
        events='[{"name": "e", "time_ns": 7, "attributes": {"n": 1}}]',
    )  # fmt: skip
    one, two = resource_spans(read(row, a_row(service_name="app", duration_ns=None)))
    assert one["resource"] == {"attributes": [{"key": "service.name", "value": {"stringValue": "gateway"}}]}
    (scope,) = one["scopeSpans"]
    assert scope["scope"] == {"name": "tracing-gateway"}
    assert scope["spans"] == [
        {
            "traceId": TRACE,
            "spanId": "1" * 16,
            "parentSpanId": "2" * 16,
            "traceState": "a=b",
            "name": "chat m",
            "kind": 3,
            "startTimeUnixNano": str(START_NS),
            "endTimeUnixNano": str(START_NS + 5_999),
            "attributes": [
                {"key": "f", "value": {"doubleValue": 0.5}},
                {"key": "http.response.status_code", "value": {"intValue": "500"}},
                {"key": "l", "value": {"arrayValue": {"values": [{"intValue": "1"}, {"stringValue": "a"}]}}},
                {"key": "o", "value": {"kvlistValue": {"values": [{"key": "k", "value": {}}]}}},
                {"key": "s", "value": {"stringValue": ""}},
                {"key": "t", "value": {"boolValue": True}},
            ],
            "events": [
                {"timeUnixNano": "7", "name": "e", "attributes": [{"key": "n", "value": {"intValue": "1"}}]},
            ],
            "status": {"message": "why", "code": 2},
        }
    ]
    (span,) = two["scopeSpans"][0]["spans"]
    assert (span["endTimeUnixNano"], span["status"]) == (str(START_NS), {})


def test_summaries_leave_out_what_is_empty():
    """As proto3's JSON does."""
    columns = ["trace_id", "root_service", "root_name", "first_ns", "last_ns", "spans", "errors", "orphans", "services"]
    values = [TRACE, None, "", 5, 9, 2, 0, 0, [{"name": "a", "spans": 2, "errors": 0}]]
    assert summaries(columns, [values]) == [
        {
            "traceId": TRACE,
            "minStartTimeUnixNano": "5",
            "maxEndTimeUnixNano": "9",
            "spanCount": 2,
            "services": [{"name": "a", "spanCount": 2}],
        }
    ]


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab.", max_size=3), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(st.dictionaries(st.text("abc.", max_size=4), _json, max_size=5))
def test_any_attributes_can_be_shown(attributes: dict[str, Any]):
    """Both APIs say something for each, of a type that Jaeger has."""
    row = a_row(attributes=json.dumps(attributes))
    said = tags(row)
    assert attributes.keys() <= said.keys()
    assert {kind for kind, _ in said.values()} <= {"string", "bool", "int64", "float64"}
    (group,) = resource_spans(read(row))
    (span,) = group["scopeSpans"][0]["spans"]
    assert {each["key"] for each in span.get("attributes", ())} == attributes.keys()
    json.dumps(group)
