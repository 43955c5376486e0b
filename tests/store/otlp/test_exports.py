"""Logs and metrics of applications reach the collector: each once, by either protocol, and without delaying spans."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from gateway.config.model import Capture
from gateway.store.otlp import Exports
from gateway.tracing.capture import CapturePolicy
from gateway.tracing.ingest.otlp.batch import Ingest, lines_in
from gateway.tracing.ingest.otlp.protocol import LOGS, METRICS
from tests.support.exported import exchange, journal_in, names_of, until
from tests.support.otlp_receiver import Receiver, attributes_of
from tests.support.otlp_telemetry import log, logs_request, metric, metrics_request


def telemetry_in(data: Path, *texts: str) -> Any:
    """Return a journal with an exchange, and with a log record and a metric of each text."""
    journal = journal_in(data)
    exchange(journal, 0)
    write(journal, texts)
    return journal


def write(journal: Any, texts: tuple[str, ...]) -> None:
    """Write a log record and a metric of each text, as a request of both."""
    for signal, counts, request in (
        (LOGS, journal.logs, logs_request(*[log(text, {"prompt": text, "n": text}) for text in texts])),
        (METRICS, journal.metrics, metrics_request(*[metric(text, {"prompt": text, "n": text}) for text in texts])),
    ):
        ingest = Ingest(1, request.SerializeToString(), CapturePolicy(), (), "")
        assert journal.append_received(counts, lines_in(ingest, signal, "protobuf").lines) is None


def test_logs_and_metrics_are_forwarded_with_their_source(tmp_path, receiver, export):
    """Whole, with resource and scope; the journal is exported once each of the three has its own."""
    journal = telemetry_in(tmp_path, "a", "b")
    exports = export(Capture(otlp="full"), Exports)
    until(lambda: len(receiver.logs) == len(receiver.metrics) == len(receiver.names) == 2)
    assert receiver.telemetry["/v1/logs"] == [logs_request(*[log(text, {"prompt": text, "n": text}) for text in "ab"])]
    expected = metrics_request(*[metric(text, {"prompt": text, "n": text}) for text in "ab"])
    assert receiver.telemetry["/v1/metrics"] == [expected]
    (path,) = (tmp_path / "live").glob("*.jsonl")
    assert not exports.exported(path)
    journal.close()
    until(lambda: exports.exported(path))
    assert {name: counters["exported"] for name, counters in exports.counters().items()} == {
        "otlp": 2,
        "otlp_logs": 2,
        "otlp_metrics": 2,
    }
    exports.forget(path)
    assert not exports.exported(path)


def test_content_is_captured_for_the_collector(tmp_path, receiver, export):
    """Bodies and attributes of content are left out; others are sent."""
    telemetry_in(tmp_path, "secret").close()
    export(Capture(otlp="metadata"), Exports)
    until(lambda: receiver.logs and receiver.metrics)
    (record,), (sent,) = receiver.logs, receiver.metrics
    assert (record.HasField("body"), attributes_of(record)) == (False, {"n": "secret"})
    assert attributes_of(sent.sum.data_points[0]) == {"n": "secret"}


def test_a_restart_sends_nothing_again(tmp_path, receiver, export):
    """The cursors of each signal are on disk."""
    journal = telemetry_in(tmp_path, "a")
    first = export(None, Exports)
    until(lambda: receiver.logs and receiver.metrics)
    first.stop()
    write(journal, ("b",))
    journal.close()
    second = export(None, Exports)
    (path,) = (tmp_path / "live").glob("*.jsonl")
    until(lambda: second.exported(path))
    assert [attributes_of(record)["n"] for record in receiver.logs] == ["a", "b"]
    assert [sent.name for sent in receiver.metrics] == ["a", "b"]


def test_an_item_that_comes_again_is_forwarded_once(tmp_path, receiver, export):
    """A client that had no response, or a collector that sends back to the gateway, makes no loop."""
    journal = telemetry_in(tmp_path, "a")
    for _ in range(3):
        write(journal, ("a",))
    write(journal, ("b",))
    journal.close()
    exports = export(None, Exports)
    (path,) = (tmp_path / "live").glob("*.jsonl")
    until(lambda: exports.exported(path))
    assert [attributes_of(record)["n"] for record in receiver.logs] == ["a", "b"]
    assert [sent.name for sent in receiver.metrics] == ["a", "b"]


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_collector_without_the_signal_keeps_no_journal(tmp_path, receiver, export, status):
    """Jaeger takes spans only: the others are counted, and nothing waits for them."""
    receiver.statuses |= {"/v1/logs": status, "/v1/metrics": status}
    telemetry_in(tmp_path, "a", "b").close()
    exports = export(None, Exports)
    (path,) = (tmp_path / "live").glob("*.jsonl")
    until(lambda: exports.exported(path))
    counters = exports.counters()
    assert receiver.names == names_of([0])
    assert [counters[name]["dropped"] for name in ("otlp_logs", "otlp_metrics")] == [{"unsupported": 2}] * 2


def test_an_outage_of_one_signal_delays_no_other(tmp_path, receiver, export):
    """Log records wait for their collector, while metrics and spans are sent."""
    receiver.statuses["/v1/logs"] = 503
    telemetry_in(tmp_path, "a").close()
    exports = export(None, Exports)
    until(lambda: receiver.metrics and receiver.names and exports.counters()["otlp_logs"]["retries"])
    (path,) = (tmp_path / "live").glob("*.jsonl")
    assert (receiver.logs, exports.exported(path)) == ([], False)
    receiver.statuses.clear()
    until(lambda: exports.exported(path))
    assert len(receiver.logs) == 1


def test_each_signal_has_variables_of_its_own(tmp_path, receiver, export, monkeypatch):
    """Its endpoint and its headers come before the general ones, and one without a collector is not exported."""
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT")
    other = Receiver()
    try:
        telemetry_in(tmp_path, "a").close()
        exports = export(
            None,
            Exports,
            EXPORTER_OTLP_LOGS_ENDPOINT=f"http://127.0.0.1:{other.port}/v1/logs",
            EXPORTER_OTLP_LOGS_HEADERS="x-team=logs",
            EXPORTER_OTLP_METRICS_ENDPOINT=f"http://127.0.0.1:{receiver.port}/v1/metrics",
            EXPORTER_OTLP_METRICS_HEADERS="x-team=metrics",
        )
        (path,) = (tmp_path / "live").glob("*.jsonl")
        until(lambda: exports.exported(path))
        assert (len(other.logs), len(other.metrics), len(receiver.logs), len(receiver.metrics)) == (1, 0, 0, 1)
        assert (other.headers[0]["x-team"], receiver.headers[0]["x-team"]) == ("logs", "metrics")
        assert exports.counters()["otlp"] is None
    finally:
        other.close()


@pytest.mark.parametrize("variable", ["OTEL_LOGS_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_TRACES_EXPORTER"])
def test_a_signal_can_be_switched_off(tmp_path, environ, monkeypatch, variable):  # noqa: ARG001
    """By its own variable; without any there is no export."""
    monkeypatch.setenv(variable, "none")
    exports = Exports.from_environment(os.environ, tmp_path, Capture())
    assert exports is not None
    names = {name for name, counters in exports.counters().items() if counters is not None}
    switched_off = {"OTEL_LOGS_EXPORTER": "otlp_logs", "OTEL_METRICS_EXPORTER": "otlp_metrics"}.get(variable, "otlp")
    assert names == {"otlp", "otlp_logs", "otlp_metrics"} - {switched_off}
    assert Exports.from_environment({}, tmp_path, Capture()) is None
    assert Exports.from_environment(os.environ, tmp_path, Capture(otlp="off")) is None


def test_the_repr_names_its_exporters(tmp_path, environ):  # noqa: ARG001
    """And no endpoint."""
    text = repr(Exports.from_environment(os.environ, tmp_path, Capture()))
    assert (text.count("Exporter"), "127.0.0.1" in text) == (3, False)


def test_counters_are_json(tmp_path, environ):  # noqa: ARG001
    """They are a part of the recorder's health page."""
    exports = Exports.from_environment(os.environ, tmp_path, Capture())
    assert exports is not None
    assert json.loads(json.dumps(exports.counters())) == exports.counters()
