"""A request of OTLP with spans, and the reply of a collector. Pure.

Our own spans are encoded by the SDK's encoder; those of applications go out as they were sent.
"""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans
from opentelemetry.sdk.trace import ReadableSpan

from gateway.store.otlp import rows
from gateway.store.otlp.forwarding import ForwardedSpan

Outgoing = ReadableSpan | ForwardedSpan


def request_of(spans: Sequence[Outgoing]) -> ExportTraceServiceRequest:
    """Return a request, with each resource and each scope once. Raises whatever the SDK's encoder raises."""
    request = encode_spans([each for each in spans if not isinstance(each, ForwardedSpan)])
    resources: dict[tuple[bytes, str], ResourceSpans] = {}
    scopes: dict[tuple[bytes, str, bytes, str], ScopeSpans] = {}
    for each in spans:
        if not isinstance(each, ForwardedSpan):
            continue
        of = (each.resource.SerializeToString(deterministic=True), each.resource_schema_url)
        if of not in resources:
            resources[of] = request.resource_spans.add(resource=each.resource, schema_url=each.resource_schema_url)
        by = (*of, each.scope.SerializeToString(deterministic=True), each.scope_schema_url)
        if by not in scopes:
            scopes[by] = resources[of].scope_spans.add(scope=each.scope, schema_url=each.scope_schema_url)
        scopes[by].spans.append(each.span)
    return request


def weight(span: Outgoing) -> int:
    """Return an upper estimate of the bytes of a span in a request."""
    if isinstance(span, ForwardedSpan):
        return 512 + sum(int(part.ByteSize()) for part in (span.span, span.resource, span.scope))
    return rows.weight(span)


class Taken(Struct, frozen=True):
    """The collector took the batch, except `rejected` spans (partial success)."""

    rejected: int = 0


class Later(Struct, frozen=True):
    """A failure that is not about the spans; `after`: the seconds that the collector asks to wait."""

    error: str
    after: float | None = None


class Refused(Struct, frozen=True):
    """A refusal of these bytes for good: a span is invalid, or the request is too large."""

    error: str


Reply = Taken | Later | Refused


class Sender(Protocol):
    """A connection to a collector. Its error texts have no addresses, headers or content."""

    def send(self, spans: Sequence[Outgoing]) -> Reply:
        """Send a batch once, and wait for the reply."""

    def close(self) -> None:
        """Close the connection; a `send` under way is cancelled if the transport can do that."""
