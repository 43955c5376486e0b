"""OTLP in JSON for Jaeger's third API: kinds, statuses, values, scopes, links and summaries."""

from typing import Any

import pytest

from gateway.store.jaeger.otlp_json import resource_spans, summaries

TRACE = "0c" * 16
START_NS = 1_700_000_000_123_456_789


def a_row(**columns: Any) -> dict[str, Any]:
    """Return a row as `spans.rows` yields it."""
    plain = {
        "trace_id": TRACE,
        "span_id": "1" * 16,
        "kind": "CLIENT",
        "service_name": "gateway",
        "start_ns": START_NS,
        "attributes": {},
        "events": [],
    }
    return plain | columns


def only(row: dict[str, Any]) -> dict[str, Any]:
    """Return the OTLP span of a row."""
    (group,) = resource_spans([row])
    (scope,) = group["scopeSpans"]
    (span,) = scope["spans"]
    return span


@pytest.mark.parametrize(
    ("kind", "number"), [("INTERNAL", 1), ("SERVER", 2), ("CLIENT", 3), ("PRODUCER", 4), ("CONSUMER", 5)]
)
def test_kinds_are_numbers(kind, number):
    """The numbers are those of OTLP's SpanKind."""
    assert only(a_row(kind=kind))["kind"] == number


@pytest.mark.parametrize(("status", "code"), [("OK", {"code": 1}), ("ERROR", {"code": 2}), ("UNSET", {})])
def test_status_codes_are_numbers(status, code):
    """An unset status is an empty object."""
    assert only(a_row(status=status))["status"] == code


VALUES: dict[str, tuple[Any, dict[str, Any]]] = {
    "null": (None, {}),
    "boolean": (False, {"boolValue": False}),
    "integer": (2**63 - 1, {"intValue": "9223372036854775807"}),
    "double": (0.5, {"doubleValue": 0.5}),
    "string": ("é", {"stringValue": "é"}),
    "bytes": ({"otlp.bytes": "AAE="}, {"bytesValue": "AAE="}),
    "not a number": ({"otlp.double": "NaN"}, {"doubleValue": "NaN"}),
    "list": ([1, "a"], {"arrayValue": {"values": [{"intValue": "1"}, {"stringValue": "a"}]}}),
    "object": (
        {"b": 1, "a": None},
        {"kvlistValue": {"values": [{"key": "a", "value": {}}, {"key": "b", "value": {"intValue": "1"}}]}},
    ),
    "repeated keys": (
        {"otlp.entries": [["k", 1], ["k", True]]},
        {
            "kvlistValue": {
                "values": [{"key": "k", "value": {"intValue": "1"}}, {"key": "k", "value": {"boolValue": True}}]
            }
        },
    ),
}


@pytest.mark.parametrize(("value", "encoded"), VALUES.values(), ids=VALUES)
def test_values_are_typed(value, encoded):
    """Each type of attribute has its field of AnyValue; 64-bit integers are text."""
    assert only(a_row(attributes={"k": value}))["attributes"] == [{"key": "k", "value": encoded}]


def test_spans_are_grouped_by_trace_resource_and_scope():
    """Rows that differ in one of the three are in groups of their own, in the order of the first row of each."""
    app = {"resource": {"service.name": "app"}, "otlp": {"scope": {"name": "s", "version": "1"}}}
    other_scope = app | {"otlp": {"scope": {"name": "t", "attributes": {"k": 1}}}}
    rows = [
        a_row(span_id="1" * 16, **app),
        a_row(span_id="2" * 16),
        a_row(span_id="3" * 16, **app),
        a_row(span_id="4" * 16, trace_id="0d" * 16, **app),
        a_row(span_id="5" * 16, **other_scope),
    ]
    groups = [
        (
            group["resource"]["attributes"][0]["value"]["stringValue"],
            group["scopeSpans"][0]["scope"],
            [span["spanId"][0] for span in group["scopeSpans"][0]["spans"]],
        )
        for group in resource_spans(rows)
    ]
    assert groups == [
        ("app", {"name": "s", "version": "1"}, ["1", "3"]),
        ("gateway", {"name": "tracing-gateway"}, ["2"]),
        ("app", {"name": "s", "version": "1"}, ["4"]),
        ("app", {"name": "t", "attributes": [{"key": "k", "value": {"intValue": "1"}}]}, ["5"]),
    ]


def test_times_are_nanoseconds_as_text():
    """The end is start plus duration; of a span without a duration, its start."""
    timed = only(a_row(duration_ns=5_999))
    assert (timed["startTimeUnixNano"], timed["endTimeUnixNano"]) == (str(START_NS), str(START_NS + 5_999))
    assert only(a_row())["endTimeUnixNano"] == str(START_NS)


def test_events_and_links_have_their_attributes():
    """Absent fields are left out; an event without a time is at 0."""
    span = only(
        a_row(
            events=[{"name": "e", "time_ns": 7, "attributes": {"n": 1}}, {"attributes": {}}],
            links=[
                {"trace_id": "0d" * 16, "span_id": "2" * 16, "trace_state": "a=b", "attributes": {"l": "x"}},
                {"trace_id": "0e" * 16, "span_id": "3" * 16, "attributes": {}},
            ],
        )
    )
    assert span["events"] == [
        {"timeUnixNano": "7", "name": "e", "attributes": [{"key": "n", "value": {"intValue": "1"}}]},
        {"timeUnixNano": "0"},
    ]
    assert span["links"] == [
        {
            "traceId": "0d" * 16,
            "spanId": "2" * 16,
            "traceState": "a=b",
            "attributes": [{"key": "l", "value": {"stringValue": "x"}}],
        },
        {"traceId": "0e" * 16, "spanId": "3" * 16},
    ]


def test_a_summary_has_counts_by_service():
    """Times are text, counts are numbers, and a count of 0 is left out."""
    columns = ["trace_id", "root_service", "root_name", "first_ns", "last_ns", "spans", "errors", "orphans", "services"]
    services = [{"name": "a", "spans": 2, "errors": 1}, {"name": "b", "spans": 1, "errors": 0}]
    assert summaries(columns, [[TRACE, "a", "root", 5, 9, 3, 1, 2, services]]) == [
        {
            "traceId": TRACE,
            "rootServiceName": "a",
            "rootOperationName": "root",
            "minStartTimeUnixNano": "5",
            "maxEndTimeUnixNano": "9",
            "spanCount": 3,
            "errorSpanCount": 1,
            "orphanSpanCount": 2,
            "services": [{"name": "a", "spanCount": 2, "errorSpanCount": 1}, {"name": "b", "spanCount": 1}],
        }
    ]
