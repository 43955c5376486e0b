"""OTLP over gRPC."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status as RpcStatus
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.logs.v1.logs_service_pb2_grpc import (
    LogsServiceServicer,
    add_LogsServiceServicer_to_server,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)

from gateway.config.model import Capture
from gateway.errors import ConfigError
from gateway.store.otlp.forwarding import log_of
from gateway.store.otlp.grpc import GrpcSender, proxy_options, reply_of
from gateway.store.otlp.request import Later, Refused, Taken, Unsupported
from gateway.tracing.ingest.otlp.protocol import LOGS, METRICS
from tests.support.exported import exchange, journal_in, messages, names_of, until
from tests.support.otlp_receiver import spans_in
from tests.support.proxies import ScriptedProxy


class GrpcReceiver(TraceServiceServicer):
    """An OTLP/gRPC receiver; its script answers with a code, with a status of details, or by hanging."""

    def __init__(self) -> None:
        self.script: Callable[[list[Any]], RpcStatus | str | None] = lambda _: None
        self.batches: list[list[Any]] = []
        self.calls: list[float] = []
        self.released = threading.Event()
        self._server = grpc.server(futures.ThreadPoolExecutor(2))
        add_TraceServiceServicer_to_server(self, self._server)
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def Export(self, request: ExportTraceServiceRequest, context: Any) -> ExportTraceServiceResponse:  # noqa: N802
        self.calls.append(time.monotonic())
        spans = spans_in(request)
        said = self.script(spans)
        if said == "hang":
            self.released.wait(30)
        elif isinstance(said, RpcStatus):
            context.set_trailing_metadata([("grpc-status-details-bin", said.SerializeToString())])
            code = next(code for code in grpc.StatusCode if code.value[0] == said.code)
            context.abort(code, said.message)
        else:
            self.batches.append(spans)
        return ExportTraceServiceResponse()

    @property
    def names(self) -> list[str]:
        return [span.name for batch in self.batches for span in batch]

    def close(self) -> None:
        self.released.set()
        self._server.stop(None).wait()


@pytest.fixture(name="grpc_receiver")
def _grpc_receiver(monkeypatch: pytest.MonkeyPatch, export: object) -> Iterator[GrpcReceiver]:  # noqa: ARG001
    receiver = GrpcReceiver()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{receiver.port}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    yield receiver
    receiver.close()


class _Logs(LogsServiceServicer):
    def __init__(self) -> None:
        self.requests: list[ExportLogsServiceRequest] = []

    def Export(self, request: ExportLogsServiceRequest, _context: Any) -> ExportLogsServiceResponse:  # noqa: N802
        self.requests.append(request)
        return ExportLogsServiceResponse()


def test_grpc_carries_logs_to_a_collector_that_takes_them(monkeypatch):
    """A collector without the service of metrics has them unsupported, and nothing waits for it."""
    logs, server = _Logs(), grpc.server(futures.ThreadPoolExecutor(2))
    add_LogsServiceServicer_to_server(logs, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", f"http://127.0.0.1:{port}")
    items = [log_of({"body": text, "otlp": {"scope": {"name": "s"}}}, Capture(otlp="full")) for text in ("a", "b")]
    sender, other = GrpcSender(signal=LOGS), GrpcSender(f"http://127.0.0.1:{port}", METRICS)
    assert (sender.send(items), other.send([])) == (Taken(), Unsupported("UNIMPLEMENTED"))
    (request,) = logs.requests
    (group,) = request.resource_logs[0].scope_logs
    assert (group.scope.name, [each.body.string_value for each in group.log_records]) == ("s", ["a", "b"])
    for each in (sender, other):
        each.close()
    server.stop(None).wait()


def test_grpc_carries_the_same_spans_in_order(tmp_path, grpc_receiver, export):
    """Batches of more than a receiver's four megabytes are never made."""
    journal = journal_in(tmp_path)
    for number in range(8):
        exchange(journal, number, input_messages=messages(500_000))
    journal.close()
    exporter = export(Capture(otlp="full"))
    (path,) = (tmp_path / "live").glob("*.jsonl")
    until(lambda: exporter.exported(path))
    assert grpc_receiver.names == names_of(range(8))
    assert exporter.counters()["retries"] == 0


def test_grpc_halves_what_is_too_long_and_drops_content_last(tmp_path, grpc_receiver, export):
    """A single span above the receiver's limit arrives without content; its neighbours whole."""
    journal = journal_in(tmp_path)
    for number in range(3):
        exchange(journal, number, input_messages=messages(2_500_000 if number == 1 else 5))
    journal.close()
    exporter = export(Capture(otlp="full"))
    (path,) = (tmp_path / "live").glob("*.jsonl")
    until(lambda: exporter.exported(path))
    assert grpc_receiver.names == names_of(range(3))
    assert exporter.counters()["last_error"] == "RESOURCE_EXHAUSTED"
    assert exporter.counters()["dropped"] == {}


def test_grpc_throttling_is_kept_and_no_span_lost(tmp_path, grpc_receiver, export):
    """A quota is not a refusal; the delay a server asks for is kept."""
    detail = AnyMessage()
    detail.Pack(RetryInfo(retry_delay=Duration(seconds=1)))
    answers = [RpcStatus(code=8, message="quota", details=[detail])]
    grpc_receiver.script = lambda _: answers.pop() if answers else None
    journal = journal_in(tmp_path)
    exchange(journal, 0)
    journal.close()
    export()
    until(lambda: grpc_receiver.names)
    first, second = grpc_receiver.calls
    assert second - first >= 1
    assert grpc_receiver.names == names_of([0])


def test_grpc_call_that_hangs_is_cancelled_at_the_end(tmp_path, grpc_receiver, export):
    """`stop` ends the call under way, and the thread with it, long before the call's own timeout."""
    grpc_receiver.script = lambda _: "hang"
    journal = journal_in(tmp_path)
    exchange(journal, 0)
    journal.close()
    exporter = export(EXPORTER_OTLP_TIMEOUT="600")
    until(lambda: grpc_receiver.calls)
    exporter.stop(0.3)
    until(lambda: not exporter._thread.is_alive())
    assert exporter.counters()["exported"] == 0
    assert exporter.counters()["dropped"] == {}


class Failure(grpc.RpcError):
    """A failed call, with a code, a text and the details of a status."""

    def __init__(self, code: grpc.StatusCode, details: str | None = "", trailers: Any = ()) -> None:
        self._code, self._details, self._trailers = code, details, trailers

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str | None:
        return self._details

    def trailing_metadata(self) -> Any:
        return self._trailers


def retry_info(**duration: int) -> bytes:
    """Return the details of a status that asks for a wait."""
    other, detail = AnyMessage(type_url="x"), AnyMessage()
    detail.Pack(RetryInfo(retry_delay=Duration(**duration)))
    return RpcStatus(code=8, details=[other, detail]).SerializeToString()


@pytest.mark.parametrize(
    ("duration", "seconds"),
    [({"seconds": 1}, 1.0), ({"nanos": 500_000_000}, 0.5), ({"seconds": 1, "nanos": 500_000_000}, 1.5), ({}, 0.0)],
)
def test_grpc_delays_have_fractions(duration, seconds):
    """Both parts of RetryInfo count."""
    trailers = [("other", "x"), ("grpc-status-details-bin", retry_info(**duration))]
    assert reply_of(Failure(grpc.StatusCode.UNAVAILABLE, "", trailers)) == Later("UNAVAILABLE", seconds)


@pytest.mark.parametrize("trailers", [None, (), [("grpc-status-details-bin", b"\xff")], [("x", "y")]])
def test_grpc_failures_without_a_delay_leave_the_backoff(trailers):
    """No trailers, others, or details that are no status."""
    assert reply_of(Failure(grpc.StatusCode.UNAVAILABLE, None, trailers)) == Later("UNAVAILABLE")


TOO_LONG = [
    "Sent message larger than max (5 vs. 4)",
    "grpc: received message exceeds maximum size",
    "message too large",
]


@pytest.mark.parametrize("code", [grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.OUT_OF_RANGE])
@pytest.mark.parametrize("text", TOO_LONG)
def test_grpc_messages_that_are_too_long_are_refused(code, text):
    """By the texts of three servers; with another text the same codes are a quota, which passes."""
    assert reply_of(Failure(code, text)) == Refused(code.name)
    assert reply_of(Failure(code, "quota")) == Later(code.name)


def test_grpc_invalid_arguments_are_refused():
    """Whatever the text."""
    assert reply_of(Failure(grpc.StatusCode.INVALID_ARGUMENT)) == Refused("INVALID_ARGUMENT")


@pytest.mark.parametrize(
    "code",
    [each for each in grpc.StatusCode if each.name not in {"OK", "INVALID_ARGUMENT"}],
    ids=lambda each: each.name,
)
def test_grpc_codes_that_may_pass_are_tried_again(code):
    """All but that for a bad request."""
    assert reply_of(Failure(code, "x")) == Later(code.name)


async def test_a_proxy_of_the_environment(grpc_receiver, monkeypatch):
    """Spans go through a tunnel of HTTP_PROXY with its credentials, and past it if NO_PROXY has the collector."""
    async with ScriptedProxy(grpc_receiver.port) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url("user:planted@"))
        sender = GrpcSender("http://collector.corp.example:4317")
        assert await asyncio.to_thread(sender.send, []) == Taken()
        sender.close()
        assert proxy.lines() == [b"CONNECT collector.corp.example:4317 HTTP/1.1"]
        assert b"Basic dXNlcjpwbGFudGVk" in proxy.heads[0]
        monkeypatch.setenv("NO_PROXY", "127.0.0.0/8")
        sender = GrpcSender(f"http://127.0.0.1:{grpc_receiver.port}")
        assert await asyncio.to_thread(sender.send, []) == Taken()
        sender.close()
        assert len(proxy.heads) == 1


def test_options_of_a_proxy(monkeypatch):
    """The library's own variables are not read; a proxy that it cannot use is an error."""
    assert proxy_options("collector:4317") == (("grpc.enable_http_proxy", 0),)
    monkeypatch.setenv("ALL_PROXY", "u:p@proxy:1")
    assert proxy_options("collector:4317") == (("grpc.http_proxy", "http://u:p@proxy:1"),)
    monkeypatch.setenv("ALL_PROXY", "https://proxy:1")
    with pytest.raises(ConfigError, match="ALL_PROXY: OTLP over gRPC needs an http:// proxy"):
        proxy_options("https://collector:4317")
