"""The collector on loopback: takes what is sent over OTLP, spans and metrics, and keeps the bytes."""

import gzip
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from msgspec import Struct
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Batch(Struct, frozen=True, kw_only=True):
    """One request. `signal`: traces or metrics. `headers`: their bytes; `body`: without its coding."""

    signal: str
    headers: bytes
    body: bytes


class Collector:
    """Takes everything with a 200. The batches are written by its own threads, and read after."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.unread = 0
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                collector.take(self.path, self.headers.as_bytes(), body, self.headers.get("content-encoding"))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def take(self, path: str, headers: bytes, body: bytes, coding: str | None) -> None:
        """Keep one request."""
        if coding == "gzip":
            try:
                body = gzip.decompress(body)
            except (OSError, EOFError, zlib.error):
                self.unread += 1
                return
        self.batches.append(Batch(signal=path.rpartition("/")[2], headers=headers, body=body))

    def spans(self) -> list[tuple[str, str, bytes]]:
        """Return each span that came: its trace's id, its name, and its bytes."""
        found: list[tuple[str, str, bytes]] = []
        for batch in list(self.batches):
            if batch.signal != "traces":
                continue
            try:
                request = ExportTraceServiceRequest.FromString(batch.body)
            except DecodeError:
                self.unread += 1
                continue
            for source in request.resource_spans:
                for scope in source.scope_spans:
                    found += [(span.trace_id.hex(), span.name, span.SerializeToString()) for span in scope.spans]
        return found
