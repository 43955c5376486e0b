"""The real OpenTelemetry Collector for tests: built once by tests/tools, run on free ports, its spans read back.

What it receives it passes on, over OTLP/HTTP, to a receiver of ours in this process.
"""

import functools
import gzip
import os
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support.paths import ROOT

_KINDS = {0: "UNSPECIFIED", 1: "INTERNAL", 2: "SERVER", 3: "CLIENT", 4: "PRODUCER", 5: "CONSUMER"}
_STATUS = {0: "UNSET", 1: "OK", 2: "ERROR"}

_CONFIG = """
receivers:
  otlp:
    protocols:
      grpc: {{endpoint: "127.0.0.1:{grpc}", max_recv_msg_size_mib: 16}}
      http: {{endpoint: "127.0.0.1:{http}"}}
exporters:
  otlp_http: {{endpoint: "http://127.0.0.1:{sink}"}}
service:
  telemetry: {{metrics: {{level: none}}}}
  pipelines:
    traces: {{receivers: [otlp], exporters: [otlp_http]}}
"""


@functools.cache
def collector_binary() -> Path:
    """Return the Collector's binary, built if need be; skip where it cannot be had, but fail in CI."""
    script = ROOT / "tests" / "tools" / "install_collector.sh"
    done = subprocess.run([str(script)], capture_output=True, text=True, check=False)
    if done.returncode:
        reason = f"no Collector: {done.stderr.strip().splitlines()[-1:]}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return Path(done.stdout.strip().splitlines()[-1])


def free_port() -> int:
    """Return a port nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Sink:
    """Receives OTLP/HTTP and keeps the spans, flattened."""

    def __init__(self) -> None:
        self.spans: list[dict[str, Any]] = []
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                sink.spans += flattened(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def flattened(request: ExportTraceServiceRequest) -> list[dict[str, Any]]:
    """Return the spans of a request as plain dicts."""
    return [
        {
            "trace_id": span.trace_id.hex(),
            "span_id": span.span_id.hex(),
            "parent_span_id": span.parent_span_id.hex() or None,
            "name": span.name,
            "kind": _KINDS[span.kind],
            "start_ns": span.start_time_unix_nano,
            "end_ns": span.end_time_unix_nano,
            "status": _STATUS[span.status.code],
            "attributes": {item.key: _value(item.value) for item in span.attributes},
            "resource": {item.key: _value(item.value) for item in group.resource.attributes},
        }
        for group in request.resource_spans
        for scope in group.scope_spans
        for span in scope.spans
    ]


def _value(value: Any) -> Any:
    which = value.WhichOneof("value")
    if which == "array_value":
        return [_value(item) for item in value.array_value.values]
    return getattr(value, which) if which else None


class Collector:
    """The Collector as a child process; it can be killed and started again on the same ports."""

    def __init__(self, folder: Path) -> None:
        self._binary = collector_binary()
        self._folder = folder
        self._sink = Sink()
        self._grpc, self._http = free_port(), free_port()
        self.grpc_endpoint = f"http://127.0.0.1:{self._grpc}"
        self.http_endpoint = f"http://127.0.0.1:{self._http}"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._sink.close()

    def start(self) -> None:
        """Start it and wait until it takes spans."""
        config = self._folder / "collector.yaml"
        config.write_text(_CONFIG.format(grpc=self._grpc, http=self._http, sink=self._sink.port))
        with (self._folder / "collector.log").open("ab") as log:
            self._process = subprocess.Popen([str(self._binary), "--config", str(config)], stderr=log)
        for _ in range(200):
            try:
                request = urllib.request.Request(f"{self.http_endpoint}/v1/traces", data=b"")
                request.add_header("Content-Type", "application/x-protobuf")
                with urllib.request.urlopen(request, timeout=1):
                    return
            except (urllib.error.URLError, ConnectionError):
                assert self._process.poll() is None, (self._folder / "collector.log").read_text()
                time.sleep(0.05)
        pytest.fail("the Collector did not start")

    def spans(self) -> list[dict[str, Any]]:
        """Return all spans that it has passed on."""
        return list(self._sink.spans)

    def kill(self) -> None:
        """Kill it."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """Stop it, and wait until it has passed on what it had."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(20)
