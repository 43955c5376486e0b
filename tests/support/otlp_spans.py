"""OTLP spans of applications: Hypothesis strategies, small examples, and requests that carry them."""

import gzip
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import (
    AnyValue,
    ArrayValue,
    InstrumentationScope,
    KeyValue,
    KeyValueList,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from gateway.tracing.ingest.otlp.content import capture_attributes
from tests.support.raw_http import Answer, exchange, request

TRACE, APP_SPAN = bytes.fromhex("0199f0000000000000000000000000aa"), bytes.fromhex("00000000000000a1")
PROTOBUF = ("Content-Type", "application/x-protobuf")
JSON = ("Content-Type", "application/json")

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
# What `[capture]` looks at has tests of its own.
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
    lambda name: capture_attributes({name: 1}, "off", 1) == {name: 1}
)
plain = st.one_of(
    st.just(AnyValue()),
    texts.map(lambda value: AnyValue(string_value=value)),
    st.booleans().map(lambda value: AnyValue(bool_value=value)),
    st.integers(-(2**63), 2**63 - 1).map(lambda value: AnyValue(int_value=value)),
    st.floats(allow_nan=False).map(lambda value: AnyValue(double_value=value)),
    st.binary(max_size=8).map(lambda value: AnyValue(bytes_value=value)),
)
values = st.recursive(
    plain,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda many: AnyValue(array_value=ArrayValue(values=many))),
        st.dictionaries(names, inner, max_size=3).map(lambda many: AnyValue(kvlist_value=pairs(many))),
    ),
    max_leaves=5,
)
ids = st.binary(min_size=8, max_size=8).filter(any)
traces = st.binary(min_size=16, max_size=16).filter(any)
times = st.integers(0, 2**62)
counts = st.integers(0, 3)
flags = st.integers(0, 2**32 - 1)
states = st.sampled_from(["", "a=1", "vendor=x,other=y"])


def pairs(many: dict[str, AnyValue]) -> KeyValueList:
    """Return a mapping as OTLP has it."""
    return KeyValueList(values=[KeyValue(key=key, value=value) for key, value in many.items()])


def attributes(of: st.SearchStrategy[AnyValue] = values) -> st.SearchStrategy[list[KeyValue]]:
    """Give attributes, each name once."""
    return st.dictionaries(names, of, max_size=4).map(lambda many: list(pairs(many).values))


@st.composite
def spans(draw: st.DrawFn) -> Span:
    """Give any span that is one."""
    start = draw(times)
    parent = draw(st.one_of(st.just(b""), ids))
    return Span(
        trace_id=draw(traces),
        span_id=draw(ids),
        parent_span_id=parent,
        trace_state=draw(states),
        flags=draw(flags),
        name=draw(texts),
        kind=draw(st.integers(1, 5)),
        start_time_unix_nano=start,
        end_time_unix_nano=start + draw(st.integers(0, 2**40)),
        attributes=draw(attributes()),
        dropped_attributes_count=draw(counts),
        dropped_events_count=draw(counts),
        dropped_links_count=draw(counts),
        events=draw(
            st.lists(
                st.builds(
                    Span.Event,
                    name=texts,
                    time_unix_nano=times,
                    attributes=attributes(),
                    dropped_attributes_count=counts,
                ),
                max_size=2,
            )
        ),
        links=draw(
            st.lists(
                st.builds(
                    Span.Link,
                    trace_id=traces,
                    span_id=ids,
                    trace_state=states,
                    flags=flags,
                    attributes=attributes(),
                    dropped_attributes_count=counts,
                ),
                max_size=2,
            )
        ),
        status=draw(st.builds(Status, code=st.integers(0, 2), message=texts)),
    )


def requests() -> st.SearchStrategy[ExportTraceServiceRequest]:
    """Give a request with spans of one resource and one scope."""
    scope = st.builds(
        InstrumentationScope, name=texts, version=texts, attributes=attributes(), dropped_attributes_count=counts
    )
    return st.builds(
        wrapped,
        st.lists(spans(), min_size=1, max_size=3, unique_by=lambda each: each.span_id),
        resource=st.builds(Resource, attributes=attributes(), dropped_attributes_count=counts),
        scope=scope,
        urls=st.tuples(names, names),
    )


def wrapped(
    many: list[Span],
    resource: Resource | None = None,
    scope: InstrumentationScope | None = None,
    urls: tuple[str, str] = ("", ""),
) -> ExportTraceServiceRequest:
    """Return a request with spans."""
    part = ScopeSpans(scope=scope or InstrumentationScope(name="app"), spans=many, schema_url=urls[1])
    resource = resource or Resource(attributes=otlp_attributes({"service.name": "shop", "host.name": "h1"}))
    return ExportTraceServiceRequest(
        resource_spans=[ResourceSpans(resource=resource, scope_spans=[part], schema_url=urls[0])]
    )


def otlp_attributes(attributes: dict[str, str]) -> list[KeyValue]:
    """Return texts as attributes."""
    return [KeyValue(key=key, value=AnyValue(string_value=value)) for key, value in attributes.items()]


def span(number: int = 1, **more: Any) -> Span:
    """Return a small span: the number is its id, within one trace."""
    start = 1_764_000_000_000_000_000 + number
    given = {
        "trace_id": TRACE,
        "span_id": number.to_bytes(8),
        "name": f"work {number}",
        "kind": Span.SPAN_KIND_INTERNAL,
        "start_time_unix_nano": start,
        "end_time_unix_nano": start + 5_000_000,
    }
    return Span(**(given | more))


def of_an_application() -> list[Span]:
    """Return spans with an event, a link, a status and values of each type that an application may have."""
    first = span(
        1, span_id=APP_SPAN, name="handle", kind=Span.SPAN_KIND_SERVER, attributes=otlp_attributes({"http.route": "/a"})
    )
    second = span(
        2,
        parent_span_id=APP_SPAN,
        end_time_unix_nano=first.end_time_unix_nano - 1,  # of a child that outlives its parent Jaeger says so
        events=[
            Span.Event(
                name="retry", time_unix_nano=first.start_time_unix_nano, attributes=otlp_attributes({"why": "it broke"})
            )
        ],
        links=[Span.Link(trace_id=TRACE, span_id=APP_SPAN), Span.Link(trace_id=TRACE, span_id=b"another1")],
    )
    second.status.code, second.status.message = 2, "it broke"
    for key, value in (("bool_value", True), ("int_value", 2**60), ("double_value", 0.5)):
        second.attributes.add(key=key, value={key: value})
    return [first, second]


def as_json(body: ExportTraceServiceRequest) -> dict[str, Any]:
    """Return a request in OTLP's JSON: as protobuf's, but ids are hexadecimal and enums are numbers."""
    made = json_format.MessageToDict(body, use_integers_for_enums=True)
    for of in made.get("resourceSpans", []):
        for part in of.get("scopeSpans", []):
            for each, sent in zip(part["spans"], body.resource_spans[0].scope_spans[0].spans, strict=True):
                _hex(each, sent)
                for link, link_sent in zip(each.get("links", []), sent.links, strict=True):
                    _hex(link, link_sent)
    return made


def _hex(made: dict[str, Any], message: Any) -> None:
    for name, field in (("traceId", "trace_id"), ("spanId", "span_id"), ("parentSpanId", "parent_span_id")):
        if name in made:
            made[name] = getattr(message, field).hex()


async def send(
    url: str,
    body: bytes | Message,
    *headers: tuple[str, str],
    zipped: bool = False,
    path: str = "/v1/traces",
) -> Answer:
    """Send a request of OTLP, in protobuf by default, and return the answer."""
    data = body if isinstance(body, bytes) else body.SerializeToString()
    if zipped:
        data, headers = gzip.compress(data), (*headers, ("Content-Encoding", "gzip"))
    if not any(name == "Content-Type" for name, _ in headers):
        headers = (*headers, PROTOBUF)
    return await exchange(url, request("POST", path, headers, data))
