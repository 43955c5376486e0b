"""An OTLP/HTTP receiver on loopback for the spans, log records and metrics of the examined gateway."""

import gzip
import threading
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from msgspec import Struct
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Batch(Struct, frozen=True, kw_only=True):
    """One request. `signal`: traces, logs or metrics. `headers`: as bytes; `body`: decompressed."""

    signal: str
    headers: bytes
    body: bytes


class Collector(ThreadingHTTPServer):
    """Answers 200 to everything. `batches` is appended to by its threads; `unreadable` counts what is not in it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.batches: list[Batch] = []
        self.unreadable = 0
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def spans(self) -> Iterator[tuple[str, str, bytes]]:
        """Yield trace id, name and bytes of each span."""
        for batch in list(self.batches):
            if batch.signal != "traces":
                continue
            try:
                request = ExportTraceServiceRequest.FromString(batch.body)
            except DecodeError:
                self.unreadable += 1
                continue
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        yield span.trace_id.hex(), span.name, span.SerializeToString()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        try:
            body = gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body
        except (OSError, EOFError, zlib.error):
            self.server.unreadable += 1
        else:
            signal = self.path.rpartition("/")[2]
            self.server.batches.append(Batch(signal=signal, headers=self.headers.as_bytes(), body=body))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Log nothing."""
