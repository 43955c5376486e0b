"""OTLP over gRPC. The stock exporter reads the settings and makes the channel; the call and its answer are ours.

The stock call retries for its whole timeout, and tells success from failure only.
"""

import os
from collections.abc import Sequence
from typing import Any

import grpc  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

from gateway.errors import ConfigError
from gateway.providers.http.ways_out import proxy_for
from gateway.store.otlp.exporter import variable
from gateway.store.otlp.request import Later, Outgoing, Refused, Reply, Taken, Unsupported, rejected_in, request_of
from gateway.tracing.ingest.otlp.protocol import TRACES, Signal

# The library's own wait before it connects again grows to two minutes.
_CHANNEL_OPTIONS: tuple[tuple[str, str | int], ...] = (
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 5_000),
)
# Texts of servers for a message that is too long; the same codes are used for quotas.
_TOO_LONG = ("larger than max", "exceeds maximum", "too large")


_STOCK: dict[str, Any] = {"traces": OTLPSpanExporter, "logs": OTLPLogExporter, "metrics": OTLPMetricExporter}


class GrpcSender:
    """Sends over one channel to a URL, or OTEL_EXPORTER_OTLP_(TRACES_)ENDPOINT."""

    def __init__(self, url: str | None = None, signal: Signal = TRACES) -> None:
        self._signal = signal
        options = (*_CHANNEL_OPTIONS, *proxy_options(url or variable(os.environ, "ENDPOINT", signal.name.upper())))
        self._exporter = _STOCK[signal.name](endpoint=url, channel_options=options)

    def send(self, items: Sequence[Outgoing]) -> Reply:
        """Send a batch once, and wait for the reply."""
        try:
            request = request_of(items, self._signal)
        except Exception:
            return Refused("encoding")
        stock: Any = self._exporter
        try:
            answer = stock._client.Export(request, metadata=stock._headers, timeout=stock._timeout)  # noqa: SLF001
        except grpc.RpcError as error:
            return reply_of(error, self._signal)
        except ValueError:  # the channel was closed under us
            return Later("closed")
        return Taken(rejected_in(answer))

    def close(self) -> None:
        """Close the channel; a call under way is cancelled."""
        self._exporter.shutdown()


def proxy_options(url: str) -> tuple[tuple[str, str | int], ...]:
    """Return the options of a channel by the rules of `ways_out`; the library reads three variables in lower case only.

    Raises ConfigError for a proxy that the library cannot use.
    """
    proxy = proxy_for(url, os.environ)
    if proxy is None:
        return (("grpc.enable_http_proxy", 0),)
    if proxy.secure:
        raise ConfigError(f"{proxy.setting}: OTLP over gRPC needs an http:// proxy; set NO_PROXY for the collector")
    return (("grpc.http_proxy", proxy.url),)


def reply_of(error: grpc.RpcError, signal: Signal = TRACES) -> Reply:
    """Return the reply that a failed call amounts to."""
    code, details = error.code(), error.details() or ""
    if code is grpc.StatusCode.UNIMPLEMENTED and signal is not TRACES:
        return Unsupported(code.name)
    too_long = code in {grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.OUT_OF_RANGE} and any(
        words in details for words in _TOO_LONG
    )
    if too_long or code is grpc.StatusCode.INVALID_ARGUMENT:
        return Refused(code.name)
    return Later(code.name, _retry_delay(error))


def _retry_delay(error: grpc.RpcError) -> float | None:
    """Return the seconds in the RetryInfo of a throttling server, fractions included."""
    for key, value in error.trailing_metadata() or ():
        if key != "grpc-status-details-bin":
            continue
        try:
            details = Status.FromString(value).details
        except DecodeError:
            return None
        info = RetryInfo()
        for detail in details:
            if detail.Is(RetryInfo.DESCRIPTOR) and detail.Unpack(info):
                return float(info.retry_delay.seconds + info.retry_delay.nanos / 1e9)
    return None
