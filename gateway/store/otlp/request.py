"""A request of OTLP, and the reply of a collector. Pure.

Our own spans are encoded by the SDK's encoder; the telemetry of applications goes out as it was sent.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from msgspec import Struct
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan

from gateway.store.otlp import rows
from gateway.store.otlp.forwarding import Forwarded
from gateway.tracing.ingest.otlp.protocol import TRACES, Signal

Outgoing = ReadableSpan | Forwarded


def request_of(items: Sequence[Outgoing], signal: Signal = TRACES) -> Any:
    """Return a signal's request, with each resource and each scope once. Raises whatever the SDK's encoder raises."""
    ours = [each for each in items if not isinstance(each, Forwarded)]
    request: Any = encode_spans(ours) if signal is TRACES else signal.request()
    in_request, in_resource, in_scope = signal.fields
    resources: dict[tuple[bytes, str], Any] = {}
    scopes: dict[tuple[bytes, str, bytes, str], Any] = {}
    for each in items:
        if not isinstance(each, Forwarded):
            continue
        of = (each.resource.SerializeToString(deterministic=True), each.resource_schema_url)
        if of not in resources:
            groups = getattr(request, in_request)
            resources[of] = groups.add(resource=each.resource, schema_url=each.resource_schema_url)
        by = (*of, each.scope.SerializeToString(deterministic=True), each.scope_schema_url)
        if by not in scopes:
            groups = getattr(resources[of], in_resource)
            scopes[by] = groups.add(scope=each.scope, schema_url=each.scope_schema_url)
        getattr(scopes[by], in_scope).append(each.item)
    return request


def weight(item: Outgoing) -> int:
    """Return an upper estimate of the bytes of an item in a request."""
    if isinstance(item, Forwarded):
        return 512 + sum(int(part.ByteSize()) for part in (item.item, item.resource, item.scope))
    return rows.weight(item)


def rejected_in(response: Any) -> int:
    """Return the number of items that a response of OTLP rejects (partial success)."""
    partial = response.partial_success
    return int(getattr(partial, partial.DESCRIPTOR.fields_by_number[1].name))


class Taken(Struct, frozen=True):
    """The collector took the batch, except `rejected` items (partial success)."""

    rejected: int = 0


class Later(Struct, frozen=True):
    """A failure that is not about the spans; `after`: the seconds that the collector asks to wait."""

    error: str
    after: float | None = None


class Refused(Struct, frozen=True):
    """A refusal of these bytes for good: a span is invalid, or the request is too large."""

    error: str


class Unsupported(Struct, frozen=True):
    """The collector takes no such signal: waiting would not help, and journals would grow."""

    error: str


Reply = Taken | Later | Refused | Unsupported


class Sender(Protocol):
    """A connection to a collector. Its error texts have no addresses, headers or content."""

    def send(self, spans: Sequence[Outgoing]) -> Reply:
        """Send a batch once, and wait for the reply."""

    def close(self) -> None:
        """Close the connection; a `send` under way is cancelled if the transport can do that."""
