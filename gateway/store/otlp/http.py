"""OTLP over HTTP, with the settings of the stock exporter.

The stock exporter retries inside a call, returns success or failure only, and encodes spans of the SDK only. Here its
session is replaced by one that ends those retries, keeps the reply, and sends its own body.
"""

import gzip
import logging
import os
import time
import zlib
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from typing import Any

import requests
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics.export import MetricsData
from requests.structures import CaseInsensitiveDict

from gateway.errors import ConfigError
from gateway.providers.http.ways_out import proxy_for
from gateway.store.otlp.request import Later, Outgoing, Refused, Reply, Taken, Unsupported, rejected_in, request_of
from gateway.tracing.ingest.otlp.protocol import TRACES, Signal

# Statuses about these very bytes. All others (a wrong path or token, a proxy's error) may be mended while spans wait.
REFUSALS = frozenset({400, 413, 422})


# Of a collector without the signal: logs and metrics do not wait until the path is mended.
UNSUPPORTED = frozenset({404, 405, 501})

_STOCK: dict[str, Any] = {"traces": OTLPSpanExporter, "logs": OTLPLogExporter, "metrics": OTLPMetricExporter}
_NOTHING: dict[str, Any] = {"traces": [], "logs": [], "metrics": MetricsData([])}


class HttpSender:
    """Sends over one kept-alive connection to `/v1/...` of a URL, or to OTEL_EXPORTER_OTLP_(TRACES_)ENDPOINT."""

    def __init__(self, url: str | None = None, signal: Signal = TRACES) -> None:
        # It logs every failed try, and values that it cannot encode.
        logging.getLogger("opentelemetry.exporter.otlp").setLevel(logging.CRITICAL)
        self._signal = signal
        self._session = _Session(signal)
        self._closed = False
        self._exporter = _STOCK[signal.name](endpoint=url and _below(url, signal.path), session=self._session)

    def send(self, items: Sequence[Outgoing]) -> Reply:
        """Send a batch once, and wait for the reply."""
        try:
            self._session.body = request_of(items, self._signal).SerializeToString()
        except Exception:
            return Refused("encoding")
        self._session.reply = None
        self._exporter.export(_NOTHING[self._signal.name])  # the session has the items
        return self._session.reply or Later("closed")

    def close(self) -> None:
        """Close the connection. A request under way ends by its own timeout."""
        self._closed = True
        self._exporter.shutdown()


class _NoRetry(requests.RequestException):
    """Ends the stock exporter's own retries."""


class _Session(requests.Session):
    """Sends `body` in place of the exporter's, in the same content coding, and keeps the last reply."""

    body = b""
    reply: Reply | None = None

    def __init__(self, signal: Signal) -> None:
        super().__init__()
        self._signal = signal

    def request(self, *args: Any, **options: Any) -> requests.Response:
        """Send a request; raise after any reply but success."""
        headers = CaseInsensitiveDict(self.headers)
        headers.update(options.get("headers") or {})
        url = str(options.get("url") or args[1])
        try:
            response = super().request(*args, **options | {"data": _coded(self.body, headers.get("content-encoding"))})
        except Exception as error:  # of requests, or of what it is built on
            self.reply = Later(f"{type(error).__name__}{_by_proxy(url)}")
            raise _NoRetry from None
        retry_after = response.headers.get("retry-after")
        self.reply = reply_of(response.status_code, retry_after, response.content, time.time(), self._signal)
        if response.status_code == 407:
            self.reply = Later(f"HTTP 407{_by_proxy(url)}")
        if not isinstance(self.reply, Taken):
            raise _NoRetry
        return response


def _by_proxy(url: str) -> str:
    """Return the proxy on the way to a URL, and its setting, as they end an error; "" without one."""
    try:
        proxy = proxy_for(url, os.environ)
    except (ConfigError, ValueError):
        return ""
    return f" by the proxy {proxy}" if proxy is not None else ""


def reply_of(status: int, retry_after: str | None, body: bytes, now: float, signal: Signal = TRACES) -> Reply:
    """Return the reply that an HTTP response amounts to. `now`: Unix time in seconds."""
    if 200 <= status < 300:
        return Taken(_rejected(body, signal))
    if status in UNSUPPORTED and signal is not TRACES:
        return Unsupported(f"HTTP {status}")
    if status in REFUSALS:
        return Refused(f"HTTP {status}")
    return Later(f"HTTP {status}", _seconds(retry_after, now))


def _coded(body: bytes, coding: str | bytes | None) -> bytes:
    match coding:
        case "gzip":
            return gzip.compress(body)
        case "deflate":
            return zlib.compress(body)
        case _:
            return body


def _below(url: str, path: str) -> str:
    return url if url.rstrip("/").endswith(path) else f"{url.rstrip('/')}{path}"


def _rejected(body: bytes, signal: Signal) -> int:
    try:
        return rejected_in(signal.response.FromString(body))
    except DecodeError:
        return 0  # some collectors reply with JSON or a page; the status decides


def _seconds(retry_after: str | None, now: float) -> float | None:
    """Return the seconds of a Retry-After header, which may be a date."""
    if retry_after is None:
        return None
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - now)
    except ValueError:
        return None
