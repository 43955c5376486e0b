"""A real Collector receives what the gateway records: the tree, names, content and tokens, over both protocols."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.store.query import run_sql
from tests.support.collector import ROOT, Collector, collector_binary, free_port
from tests.support.prometheus import Prometheus

pytestmark = pytest.mark.integration

CHAT = {
    "model": "demo/chat",
    "messages": [{"role": "user", "content": "What is a span?"}],
    "temperature": 0.5,
    "stream": True,
}


class Exporting:
    """A gateway that exports to a collector."""

    def __init__(self, data: Path, endpoint: str, protocol: str, **more: str) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.data = data
        environment = os.environ | {
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "600",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
            **more,
        }
        command = [sys.executable, "-m", "gateway", "serve", "--port", str(port), "--data", str(data)]
        self.process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            if "listening" in line:
                break

    def ask(self, body: dict) -> None:
        data = json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/v1/chat/completions", data=data)
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request) as response:
                response.read()
        except urllib.error.HTTPError as error:
            error.read()
            error.close()

    def stop(self) -> None:
        """Stop it, which waits for no request to a collector: those have a timeout beyond the one here."""
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=120)
        assert self.process.returncode == 0


def _await(collector: Collector, count: int) -> list[dict]:
    for _ in range(300):
        if len(collector.spans()) >= count:
            break
        time.sleep(0.05)
    return collector.spans()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_the_collector_has_the_tree_with_names_content_and_tokens(tmp_path, protocol):
    """One exchange with a retry arrives as a root and two attempts below it, with what SQL has of them."""
    with Collector(tmp_path) as collector:
        endpoint = collector.grpc_endpoint if protocol == "grpc" else collector.http_endpoint
        gateway = Exporting(tmp_path / "data", endpoint, protocol)
        gateway.ask(CHAT | {"model": "demo/flaky"})
        spans = _await(collector, 3)
        gateway.stop()
    (root,) = [span for span in spans if span["kind"] == "SERVER"]
    failed, answered = sorted((s for s in spans if s["kind"] == "CLIENT"), key=lambda s: s["start_ns"])
    assert {failed["parent_span_id"], answered["parent_span_id"]} == {root["span_id"]}
    assert {failed["trace_id"], answered["trace_id"]} == {root["trace_id"]}
    assert (root["name"], answered["name"]) == ("POST /v1/chat/completions", "chat flaky")
    assert (root["status"], failed["status"], answered["status"]) == ("UNSET", "ERROR", "UNSET")
    assert not [key for key in root["attributes"] if key.startswith("gen_ai.")]
    assert root["attributes"]["gateway.retries"] == 1
    assert answered["attributes"]["http.request.resend_count"] == 1
    assert failed["attributes"]["error.type"] == "500"
    asked = json.loads(answered["attributes"]["gen_ai.input.messages"])
    assert asked == [{"role": "user", "parts": [{"type": "text", "content": "What is a span?"}]}]
    said = json.loads(answered["attributes"]["gen_ai.output.messages"])
    assert (said[0]["role"], said[0]["finish_reason"]) == ("assistant", "stop")
    assert answered["attributes"]["gen_ai.request.temperature"] == 0.5
    assert answered["resource"]["deployment.environment.name"] == "test"
    rows = run_sql(
        tmp_path / "data",
        "SELECT span_id, input_tokens, output_tokens, response_id FROM attempts WHERE outcome = 'ok'",
    ).rows
    attributes = answered["attributes"]
    assert rows == [
        [
            answered["span_id"],
            attributes["gen_ai.usage.input_tokens"],
            attributes["gen_ai.usage.output_tokens"],
            attributes["gen_ai.response.id"],
        ]
    ]


@pytest.mark.timeout(900)
def test_nothing_is_lost_while_the_collector_is_down_or_the_gateway_restarts(tmp_path):
    """Spans wait in the journals through a dead collector and a stop of the gateway, which is quick all the same."""
    with Collector(tmp_path) as collector:
        gateway = Exporting(tmp_path / "data", collector.grpc_endpoint, "grpc")
        gateway.ask(CHAT)
        assert len(_await(collector, 2)) == 2
        collector.kill()
        for _ in range(5):
            gateway.ask(CHAT)
        gateway.stop()
        gateway = Exporting(tmp_path / "data", collector.grpc_endpoint, "grpc")
        gateway.ask(CHAT)
        time.sleep(1.0)
        collector.start()
        spans = _await(collector, 14)
        gateway.stop()
    stored = run_sql(tmp_path / "data", "SELECT span_id FROM spans").rows
    assert {row[0] for row in stored} == {span["span_id"] for span in spans}
    assert len(stored) == 14


CONFIG = ROOT / "collector-config.yaml"


def _validated(config: Path, environment: dict[str, str]) -> None:
    command = [str(collector_binary()), "validate", "--config", str(config)]
    checked = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert checked.returncode == 0, checked.stderr.decode()


@contextmanager
def _shipped(folder: Path, **more: str) -> Iterator[tuple[str, Path]]:
    """Run the Collector by collector-config.yaml on free ports; give its address and its log."""
    http = free_port()
    environment = os.environ | {
        "OTLP_GRPC_LISTEN": f"127.0.0.1:{free_port()}",
        "OTLP_HTTP_LISTEN": f"127.0.0.1:{http}",
        "JAEGER_OTLP_ENDPOINT": f"127.0.0.1:{free_port()}",
        "PROMETHEUS_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}",
        **more,
    }
    _validated(CONFIG, environment)
    log = folder / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [str(collector_binary()), "--config", str(CONFIG)], stderr=out, stdout=out, env=environment
        )
    try:
        yield f"http://127.0.0.1:{http}", log
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.timeout(900)
def test_the_shipped_configuration_is_valid_and_runs(tmp_path):
    """collector-config.yaml starts, takes spans though nothing is there to pass them on to, and writes its log."""
    with _shipped(tmp_path, DEBUG_VERBOSITY="detailed") as (url, log):
        gateway = Exporting(tmp_path / "data", url, "http/protobuf")
        gateway.ask(CHAT)
        for _ in range(200):
            if "What is a span?" in log.read_text():
                break
            time.sleep(0.05)
        gateway.stop()
    assert "chat chat" in log.read_text()
    assert "What is a span?" in log.read_text()


@pytest.mark.timeout(900)
def test_the_shipped_configuration_is_valid_with_clickhouse(tmp_path):
    """As the file says: with the # taken off its lines."""
    text = re.sub(r"(?m)^( +)# (clickhouse:|  \S.*|exporters:.*)$", r"\1\2", CONFIG.read_text())
    traces = "      exporters: [otlp_grpc/jaeger, span_metrics, debug]\n"
    assert text.count(traces) == 1
    config = tmp_path / "config.yaml"
    config.write_text(text.replace(traces, ""))
    assert "\n  clickhouse:\n    endpoint:" in config.read_text()
    _validated(config, dict(os.environ))


@pytest.mark.timeout(900)
def test_metrics_come_to_prometheus_by_the_shipped_configuration(tmp_path):
    """The gateway's own, under the names that its page has, and those made of spans, with exemplars of both."""
    with Prometheus(tmp_path) as prometheus:
        environment = {"PROMETHEUS_OTLP_ENDPOINT": prometheus.otlp, "SPAN_METRICS_INTERVAL": "200ms"}
        with _shipped(tmp_path, **environment) as (url, _):
            gateway = Exporting(tmp_path / "data", url, "http/protobuf", OTEL_METRIC_EXPORT_INTERVAL="200")
            gateway.ask(CHAT)
            ended = prometheus.until('gateway_exchange_ended_total{gateway_outcome="ok"}')
            asked = 'gen_ai_request_model="chat"'
            own = prometheus.until(f"gen_ai_client_operation_duration_seconds_count{{{asked}}}")
            of_spans = prometheus.until(f"traces_span_metrics_duration_seconds_count{{{asked}}}")
            calls = prometheus.until("sum by (gateway_outcome) (traces_span_metrics_calls_total)")
            exemplars = {
                exemplar["labels"]["trace_id"]
                for name in ("gen_ai_client_operation_duration", "traces_span_metrics_duration")
                for series in prometheus.get(
                    "query_exemplars", query=f"{name}_seconds_bucket", start=str(time.time() - 60), end=str(time.time())
                )
                for exemplar in series["exemplars"]
            }
            gateway.stop()
    assert [float(each["value"][1]) for each in (*ended, *own, *of_spans)] == [1, 1, 1]
    assert ended[0]["metric"]["job"] == "gateway"
    assert calls[0]["metric"] == {"gateway_outcome": "ok"}
    stored = run_sql(tmp_path / "data", "SELECT trace_id FROM exchanges").rows
    assert [[trace] for trace in exemplars] == stored
