"""Requests of OTLP: own spans and forwarded ones together, each resource and scope once, and weights."""

from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope as ForwardedScope
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from gateway.config.model import Capture
from gateway.store.otlp import forwarding, rows
from gateway.store.otlp.forwarding import Forwarded
from gateway.store.otlp.request import Outgoing, request_of, weight
from gateway.tracing.ingest.otlp.values import decode_attributes

FULL = Capture(otlp="full")
OWN_RESOURCE, OWN_SCOPE = Resource({"service.name": "gateway"}), InstrumentationScope("tracing-gateway")


def columns(name: str, **more: Any) -> dict[str, Any]:
    """Return the columns that a span of either kind needs."""
    row = {"trace_id": "0a" * 16, "span_id": "0b" * 8, "name": name, "kind": "CLIENT", "start_ns": 5, "duration_ns": 1}
    return row | more


def own(name: str, **more: Any) -> Outgoing:
    """Return a span of the gateway."""
    return rows.span_of(columns(name, **more), OWN_RESOURCE, OWN_SCOPE, FULL)


def forwarded(
    name: str, service: str = "app", scope: str = "s", resource_url: str = "", scope_url: str = ""
) -> Forwarded:
    """Return a span of an application."""
    otlp = {"scope": {"name": scope}, "resource_schema_url": resource_url, "scope_schema_url": scope_url}
    return forwarding.span_of(columns(name, resource={"service.name": service}, otlp=otlp), FULL)


def shape(*spans: Outgoing) -> list[tuple[str, str, list[tuple[str, str, list[str]]]]]:
    """Return the request's resources with their scopes with the names of their spans."""

    def scopes(of: ResourceSpans) -> list[tuple[str, str, list[str]]]:
        return [(each.scope.name, each.schema_url, [span.name for span in each.spans]) for each in of.scope_spans]

    return [
        (decode_attributes(each.resource.attributes)["service.name"], each.schema_url, scopes(each))
        for each in request_of(spans).resource_spans
    ]


def test_no_spans_are_an_empty_request():
    """Without a resource."""
    assert shape() == []


def test_own_and_forwarded_spans_are_in_one_request():
    """Own spans come first, each below its own resource and scope."""
    assert shape(forwarded("a"), own("b"), forwarded("c"), own("d")) == [
        ("gateway", "", [("tracing-gateway", "", ["b", "d"])]),
        ("app", "", [("s", "", ["a", "c"])]),
    ]


def test_resources_and_scopes_are_once_each():
    """Two scopes of one resource are below it; the same scope of another resource is another."""
    assert shape(forwarded("a"), forwarded("b", scope="t"), forwarded("c", service="other"), forwarded("d")) == [
        ("app", "", [("s", "", ["a", "d"]), ("t", "", ["b"])]),
        ("other", "", [("s", "", ["c"])]),
    ]


def test_schema_urls_distinguish_resources_and_scopes():
    """The same attributes under another schema are another resource or scope."""
    assert shape(forwarded("a"), forwarded("b", resource_url="https://r"), forwarded("c", scope_url="https://s")) == [
        ("app", "", [("s", "", ["a"]), ("s", "https://s", ["c"])]),
        ("app", "https://r", [("s", "", ["b"])]),
    ]


def test_the_weight_of_a_forwarded_span_is_an_upper_estimate():
    """It counts the span, its resource and its scope, which may be in the request for it alone."""
    small = forwarded("a")
    assert weight(small) >= request_of([small]).ByteSize()
    for large in (
        forwarded("n" * 9_000),
        forwarded("a", service="v" * 9_000),
        forwarded("a")._replace(scope=ForwardedScope(name="s" * 9_000)),
    ):
        assert weight(large) >= max(weight(small) + 8_990, request_of([large]).ByteSize())


def test_the_weight_of_an_own_span_grows_with_its_content():
    """Messages are most of it."""
    messages = b'[{"role":"user","parts":[{"type":"text","content":"%s"}]}]' % (b"x" * 9_000)
    large = own("b", input_messages=messages)
    assert weight(large) >= max(weight(own("b")) + 9_000, request_of([large]).ByteSize())
