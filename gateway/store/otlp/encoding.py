"""Spans as a request of OTLP: our own as the SDK has them, those of applications as they were sent. Pure."""

from collections.abc import Sequence

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans
from opentelemetry.sdk.trace import ReadableSpan

from gateway.store.otlp import rows
from gateway.store.otlp.passing import Passed

Outgoing = ReadableSpan | Passed


def request_of(spans: Sequence[Outgoing]) -> ExportTraceServiceRequest:
    """Return a request, in which each resource and each scope stands once. Raises what the SDK's encoder raises."""
    request = encode_spans([each for each in spans if not isinstance(each, Passed)])
    resources: dict[tuple[bytes, str], ResourceSpans] = {}
    scopes: dict[tuple[bytes, str, bytes, str], ScopeSpans] = {}
    for each in spans:
        if not isinstance(each, Passed):
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
    """Return about how many bytes a span takes in a request; rather more than less."""
    if isinstance(span, Passed):
        return 512 + sum(int(part.ByteSize()) for part in (span.span, span.resource, span.scope))
    return rows.weight(span)
