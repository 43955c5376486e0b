"""A scripted OTLP/HTTP receiver on a real socket."""

import gzip
import threading
import time
import zlib
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


class Answer(NamedTuple):
    """What a scripted receiver says to one request."""

    status: int = 200
    retry_after: str | None = None
    rejected: int = 0
    hang: bool = False


Script = Callable[[list[Any]], Answer]


class Receiver:
    """An OTLP/HTTP receiver that answers as its script says; what it took with a 200 is in `batches`."""

    def __init__(self) -> None:
        self.script: Script = lambda _: Answer()
        self.batches: list[list[Any]] = []
        self.requests: list[tuple[float, ExportTraceServiceRequest]] = []
        self.headers: list[dict[str, str]] = []
        self.released = threading.Event()
        self.telemetry: dict[str, list[Any]] = {"/v1/logs": [], "/v1/metrics": []}
        self.statuses: dict[str, int] = {}
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                coding = self.headers.get("content-encoding")
                if coding is not None:
                    body = {"gzip": gzip, "deflate": zlib}[coding].decompress(body)
                receiver.headers.append({key.lower(): value for key, value in self.headers.items()})
                if (path := self.path.rstrip("/")) in receiver.telemetry:
                    receiver.take(self, path, body)
                    return
                answer = receiver.answer(ExportTraceServiceRequest.FromString(body))
                if answer.hang:
                    receiver.released.wait(30)
                    self.close_connection = True
                    return
                reply = ExportTraceServiceResponse()
                reply.partial_success.rejected_spans = answer.rejected
                said = reply.SerializeToString()
                self.send_response(answer.status)
                if answer.retry_after:
                    self.send_header("retry-after", answer.retry_after)
                self.send_header("content-length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def answer(self, request: ExportTraceServiceRequest) -> Answer:
        self.requests.append((time.monotonic(), request))
        spans = spans_in(request)
        answer = self.script(spans)
        if answer.status == 200 and not answer.hang:
            self.batches.append(spans)
        return answer

    def take(self, handler: BaseHTTPRequestHandler, path: str, body: bytes) -> None:
        """Answer a request with logs or metrics by the status of its path; `telemetry` has those answered by 200."""
        status = self.statuses.get(path, 200)
        if status == 200:
            kind = ExportLogsServiceRequest if path == "/v1/logs" else ExportMetricsServiceRequest
            self.telemetry[path].append(kind.FromString(body))
        handler.send_response(status)
        handler.send_header("content-length", "0")
        handler.end_headers()

    @property
    def logs(self) -> list[Any]:
        """The log records that came, in order."""
        groups = [group for request in self.telemetry["/v1/logs"] for group in request.resource_logs]
        return [record for group in groups for scope in group.scope_logs for record in scope.log_records]

    @property
    def metrics(self) -> list[Any]:
        """The metrics that came, in order."""
        groups = [group for request in self.telemetry["/v1/metrics"] for group in request.resource_metrics]
        return [metric for group in groups for scope in group.scope_metrics for metric in scope.metrics]

    @property
    def names(self) -> list[str]:
        return [span.name for batch in self.batches for span in batch]

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def spans_in(request: ExportTraceServiceRequest) -> list[Any]:
    """Return the spans of a request, in order."""
    return [span for source in request.resource_spans for scope in source.scope_spans for span in scope.spans]


def attributes_of(span: Any) -> dict[str, Any]:
    """Return the attributes of a span, or of a resource, as Python values."""
    return {item.key: value_of(item.value) for item in span.attributes}


def value_of(value: Any) -> Any:
    """Return an attribute's value."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [value_of(item) for item in value.array_value.values]
    return getattr(value, kind)
