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
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from requests.structures import CaseInsensitiveDict

from gateway.errors import ConfigError
from gateway.providers.http.ways_out import proxy_for
from gateway.store.otlp.request import Later, Outgoing, Refused, Reply, Taken, request_of

# Statuses about these very bytes. All others (a wrong path or token, a proxy's error) may be mended while spans wait.
REFUSALS = frozenset({400, 413, 422})


class HttpSender:
    """Sends over one kept-alive connection to `/v1/traces` of a URL, or to OTEL_EXPORTER_OTLP_(TRACES_)ENDPOINT."""

    def __init__(self, url: str | None = None) -> None:
        # It logs every failed try, and values that it cannot encode.
        logging.getLogger("opentelemetry.exporter.otlp").setLevel(logging.CRITICAL)
        self._session = _Session()
        self._closed = False
        self._exporter = OTLPSpanExporter(endpoint=url and _below(url), session=self._session)

    def send(self, spans: Sequence[Outgoing]) -> Reply:
        """Send a batch once, and wait for the reply."""
        try:
            self._session.body = request_of(spans).SerializeToString()
        except Exception:
            return Refused("encoding")
        self._session.reply = None
        self._exporter.export([])  # the session has the spans
        return self._session.reply or Later("closed")

    def close(self) -> None:
        """Close the connection. A request under way ends by its own timeout."""
        self._closed = True
        self._exporter.shutdown()  # type: ignore[no-untyped-call]


class _NoRetry(requests.RequestException):
    """Ends the stock exporter's own retries."""


class _Session(requests.Session):
    """Sends `body` in place of the exporter's, in the same content coding, and keeps the last reply."""

    body = b""
    reply: Reply | None = None

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
        self.reply = reply_of(response.status_code, response.headers.get("retry-after"), response.content, time.time())
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


def reply_of(status: int, retry_after: str | None, body: bytes, now: float) -> Reply:
    """Return the reply that an HTTP response amounts to. `now`: Unix time in seconds."""
    if 200 <= status < 300:
        return Taken(_rejected(body))
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


def _below(url: str) -> str:
    return url if url.rstrip("/").endswith("/v1/traces") else f"{url.rstrip('/')}/v1/traces"


def _rejected(body: bytes) -> int:
    try:
        return int(ExportTraceServiceResponse.FromString(body).partial_success.rejected_spans)
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
