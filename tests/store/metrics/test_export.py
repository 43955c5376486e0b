"""Metrics over OTLP: by the standard variables, cumulative, with exemplars, and harmless where nobody takes them."""

import gzip
import socket
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import (
    MetricsServiceServicer,
    add_MetricsServiceServicer_to_server,
)

from gateway.store.metrics.export import MetricsExporter
from gateway.store.metrics.meter import Meter
from gateway.store.metrics.observed import Sources
from gateway.tracing.journal import Journal
from tests.server.admin.test_metrics import ask
from tests.support.gateways import Process
from tests.support.metrics_pages import SPAN, TRACE

HEALTH = {"sealed": 2, "failures": 0, "otlp": {"exported": 7, "retries": 1, "lag_bytes": 9, "dropped": {"refused": 3}}}


class Receiver:
    """An OTLP/HTTP receiver of metrics; `status` is what it answers, and it hangs while `hangs`."""

    def __init__(self) -> None:
        self.status = 200
        self.hangs = False
        self.asked: list[tuple[str, ExportMetricsServiceRequest]] = []
        self.released = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                if self.path.endswith("/v1/metrics"):
                    receiver.asked.append((self.path, ExportMetricsServiceRequest.FromString(body)))
                if receiver.hangs:
                    receiver.released.wait(30)
                self.send_response(receiver.status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def until(self, count: int) -> None:
        """Wait until so many requests have come."""
        for _ in range(500):
            if len(self.asked) >= count:
                return
            time.sleep(0.01)
        raise AssertionError(f"{len(self.asked)} requests have come, not {count}")


@pytest.fixture(name="receiver")
def _receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture(name="meter")
def _meter(tmp_path: Path) -> Iterator[Meter]:
    meter = Meter(tmp_path, Sources(tmp_path, lambda: HEALTH, tuple), {"service.name": "gateway"})
    journal = Journal(tmp_path / "live", "w0", {}, rotate_bytes=10**9, rotate_seconds=10**9)
    journal.start(1, {"span_id": SPAN, "kind": "SERVER"})
    row = {"span_id": SPAN, "trace_id": TRACE, "start_ns": 10**18, "duration_ns": 1_500_000_000, "outcome": "ok"}
    journal.attempt(1, row | {"kind": "CLIENT", "operation": "chat", "provider": "openai", "reason": "first"})
    journal.end(1, row | {"kind": "SERVER", "http_status": 200, "method": "POST"})
    yield meter
    journal.close()
    meter.close()


def sending(
    monkeypatch: pytest.MonkeyPatch, meter: Meter, endpoint: str, interval_ms: int = 100, **more: str
) -> MetricsExporter | None:
    """Make what the variables ask for; the stock exporters read them from the process's environment."""
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_METRIC_EXPORT_INTERVAL": str(interval_ms), **more}
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    return MetricsExporter.from_environment(environ, meter)


def metrics_in(request: ExportMetricsServiceRequest) -> dict[str, Any]:
    """Return the metrics of a request by name."""
    return {
        metric.name: metric
        for source in request.resource_metrics
        for scope in source.scope_metrics
        for metric in scope.metrics
    }


def attributes(point: Any) -> dict[str, Any]:
    """Return a point's attributes."""
    return {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in point.attributes}


def check(request: ExportMetricsServiceRequest) -> None:
    """Require that all sorts of metrics are there as they should be."""
    metrics = metrics_in(request)
    duration = metrics["gen_ai.client.operation.duration"]
    assert duration.unit == "s"
    assert duration.histogram.aggregation_temporality == 2
    (point,) = duration.histogram.data_points
    assert (point.count, point.sum, point.min, point.max) == (1, 1.5, 1.5, 1.5)
    assert list(point.explicit_bounds)[:3] == [0.01, 0.02, 0.04]
    assert sum(point.bucket_counts) == 1
    assert attributes(point)["gen_ai.operation.name"] == "chat"
    (exemplar,) = point.exemplars
    assert (exemplar.trace_id.hex(), exemplar.span_id.hex(), exemplar.as_double) == (TRACE, SPAN, 1.5)
    (http,) = metrics["http.server.request.duration"].histogram.data_points
    assert attributes(http)["http.response.status_code"] == 200
    ended = metrics["gateway.exchange.ended"].sum
    assert ended.is_monotonic
    assert ended.aggregation_temporality == 2
    assert sorted(point.as_int for point in ended.data_points) == [0, 1]  # the outcome "ok" is there from the start
    assert metrics["gateway.exchange.active"].gauge.data_points[0].as_int == 0
    dropped = {
        attributes(point)["gateway.reason"]: point.as_int for point in metrics["gateway.otlp.dropped"].sum.data_points
    }
    assert dropped.pop("refused") == 3
    assert set(dropped.values()) <= {0}
    (source,) = request.resource_metrics
    assert attributes(source.resource) == {"service.name": "gateway"}


def test_a_collector_gets_all_metrics_over_http(monkeypatch, meter, receiver):
    """Again and again, and with what has come by the end."""
    thread = sending(monkeypatch, meter, receiver.url)
    assert thread is not None
    thread.start()
    receiver.until(2)
    thread.stop()
    path, request = receiver.asked[-1]
    assert path == "/v1/metrics"
    check(request)
    assert thread.sent == len(receiver.asked)


def test_a_collector_gets_all_metrics_over_grpc(monkeypatch, meter):
    """By the protocol that is said, or the port that belongs to it."""
    got: list[ExportMetricsServiceRequest] = []

    class Servicer(MetricsServiceServicer):
        def Export(self, request: Any, _context: Any) -> ExportMetricsServiceResponse:  # noqa: N802
            got.append(request)
            return ExportMetricsServiceResponse()

    server = grpc.server(futures.ThreadPoolExecutor(1))
    add_MetricsServiceServicer_to_server(Servicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    thread = sending(monkeypatch, meter, f"http://127.0.0.1:{port}", 60_000, OTEL_EXPORTER_OTLP_PROTOCOL="grpc")
    assert thread is not None
    thread.start()
    thread.stop()
    server.stop(None).wait()
    check(got[-1])


def test_nothing_is_sent_unless_it_is_asked_for(monkeypatch, meter, receiver):
    """An endpoint asks for it, OTEL_METRICS_EXPORTER=none and OTEL_SDK_DISABLED do not."""
    assert MetricsExporter.from_environment({}, meter) is None
    assert MetricsExporter.from_environment({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": receiver.url}, meter) is None
    assert sending(monkeypatch, meter, receiver.url, OTEL_METRICS_EXPORTER="none") is None
    assert sending(monkeypatch, meter, receiver.url, OTEL_METRICS_EXPORTER="otlp", OTEL_SDK_DISABLED="true") is None


@pytest.mark.parametrize("wrong", [{"OTEL_METRIC_EXPORT_INTERVAL": "soon"}, {"OTEL_EXPORTER_OTLP_PROTOCOL": "x"}])
def test_variables_that_cannot_be_used_turn_it_off(monkeypatch, meter, receiver, caplog, wrong):
    """Which is said, and the page goes on."""
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, **wrong}
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert MetricsExporter.from_environment(environ, meter) is None
    assert "OTLP of metrics is off" in caplog.text


@pytest.mark.parametrize("status", [404, 400])
def test_a_collector_that_takes_none_is_said_once(monkeypatch, meter, receiver, caplog, status):
    """With what to do about it; once it takes them it has all that was counted meanwhile."""
    receiver.status = status
    thread = sending(monkeypatch, meter, receiver.url)
    assert thread is not None
    thread.start()
    receiver.until(3)
    assert caplog.text.count("takes no metrics") == 1
    assert "OTEL_METRICS_EXPORTER=none" in caplog.text
    receiver.status = 200
    receiver.until(len(receiver.asked) + 2)
    thread.stop()
    check(receiver.asked[-1][1])


@pytest.mark.parametrize("how", ["down", "hangs"])
def test_a_collector_that_is_down_does_not_hold_up_a_stop(monkeypatch, meter, receiver, how):
    """A stop waits for as long as it may, not for the timeout of a request, which is beyond that of this test."""
    receiver.hangs = how == "hangs"
    url = receiver.url
    if how == "down":
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    thread = sending(monkeypatch, meter, url, OTEL_EXPORTER_OTLP_TIMEOUT="600")
    assert thread is not None
    thread.start()
    time.sleep(0.3)
    thread.stop(0.5)
    receiver.released.set()


@pytest.mark.integration
async def test_the_command_sends_metrics(tmp_path, receiver):
    """Beside the spans, and once more when it stops; a failing collector is said, and changes nothing else."""
    environ = {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"{receiver.url}/v1/metrics"}
    async with Process(tmp_path, environ=environ) as gateway:
        assert (await ask(gateway, b'{"model":"demo/chat","messages":[]}')).status == 200
        assert await gateway.stop() == 0
    points = metrics_in(receiver.asked[-1][1])["gateway.exchange.ended"].sum.data_points
    assert [(attributes(point)["gateway.outcome"], point.as_int) for point in points if point.as_int] == [("ok", 1)]
    assert "no metrics" not in gateway.log.read_text()
