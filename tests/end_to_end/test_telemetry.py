"""Logs and metrics of an application with OpenTelemetry's own SDK: stored, forwarded, never relayed."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

from tests.support.gateways import Process, ask, to
from tests.support.otlp_receiver import Receiver, attributes_of
from tests.support.otlp_spans import send
from tests.support.otlp_telemetry import log, logs_request
from tests.support.upstream import Upstream

RESOURCE = Resource.create({"service.name": "shop", "session.id": "s-1"})
RULES = '[redaction]\nbuiltin = ["emails"]\n[capture]\notlp = "metadata"\n'


@pytest.fixture(name="receiver")
def _receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


async def until(done: Callable[[], object]) -> None:
    """Wait until something has come about."""
    for _ in range(500):
        if done():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not come about")


def application(endpoint: str) -> None:
    """Log two messages and count once, as an application does; all of it is sent when this returns."""
    logs = LoggerProvider(resource=RESOURCE)
    logs.add_log_record_processor(
        BatchLogRecordProcessor(OTLPLogExporter(f"{endpoint}/v1/logs", compression=Compression.Gzip))
    )
    logger = logs.get_logger("shop.orders")
    attributes = {"prompt": "hello", "order": 7}
    logger.emit(
        LogRecord(timestamp=1, severity_number=SeverityNumber.INFO, body="of me@example.com", attributes=attributes)
    )
    logger.emit(LogRecord(timestamp=2, severity_number=SeverityNumber.ERROR, severity_text="ERROR", body="no stock"))
    logs.shutdown()
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(f"{endpoint}/v1/metrics"))
    metrics = MeterProvider([reader], resource=RESOURCE)
    metrics.get_meter("shop").create_counter("orders").add(
        3, {"mail": "me@example.com", "prompt": "hello", "kind": "a"}
    )
    metrics.shutdown()


@pytest.mark.integration
async def test_an_applications_logs_and_metrics(upstream: Upstream, receiver: Receiver, tmp_path: Path):
    """Records are in the store, redacted; the collector gets both without content; the provider gets nothing."""
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{receiver.port}",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_BSP_SCHEDULE_DELAY": "50",
    }
    async with Process(tmp_path, to(upstream.url, RULES), environ=environ) as gateway:
        await asyncio.to_thread(application, gateway.url)
        await until(lambda: len(receiver.logs) == 2 and any(each.name == "orders" for each in receiver.metrics))
        assert upstream.asked == []
        await gateway.stop()
        await gateway.sealed()
        rows = gateway.ask(
            "SELECT severity, body, session_id, service_name, attributes ->> '$.prompt', "
            "resource ->> '$.\"service.name\"' FROM logs ORDER BY time"
        )
    assert rows == [
        ("INFO", "of [redacted: email]", "s-1", "shop", "hello", "shop"),
        ("ERROR", "no stock", "s-1", "shop", None, "shop"),
    ]
    first, second = receiver.logs
    assert (first.HasField("body"), second.severity_text) == (False, "ERROR")
    assert attributes_of(first)["order"] == 7
    assert "prompt" not in attributes_of(first)
    (orders,) = [each for each in receiver.metrics if each.name == "orders"]
    (point,) = orders.sum.data_points
    assert (point.as_int, attributes_of(point)) == (3, {"mail": "[redacted: email]", "kind": "a"})


@pytest.mark.integration
async def test_accepted_log_records_survive_kill_9(upstream: Upstream, tmp_path: Path):
    """Every accepted record is in the store once, of any worker, and sealed by the next start."""
    async with Process(tmp_path, to(upstream.url), workers=2) as gateway:
        for number in range(40):
            body = logs_request(log(f"record {number}"))
            for _ in range(2):  # a client without a response sends again, perhaps to another worker
                assert (await send(gateway.url, body, path="/v1/logs")).status == 200
        await gateway.kill_everything()
        await gateway.start()
        await gateway.stop()
        await gateway.sealed()
        assert ask(gateway.data, "SELECT count(*), count(DISTINCT body) FROM logs") == [(40, 40)]
        assert ask(gateway.data, "SELECT sum(logs), sum(logs_dropped), sum(damaged_lines) FROM ledger") == [(80, 0, 0)]
