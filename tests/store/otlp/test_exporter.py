"""The exporter: its thread, its environment, and its end."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from typing import Any

import pytest

from gateway.config.model import Capture
from gateway.errors import ConfigError
from gateway.semconv import CAPTURE_SWITCH
from gateway.store.otlp import Exporter
from gateway.store.otlp.exporter import CONTENT_OFF, METRICS, TRACES, content_wanted, protocol, variable, wanted
from tests.support.exported import START, exchange, journal_in, messages, names_of, until
from tests.support.otlp_receiver import Answer, Receiver, attributes_of


def test_spans_arrive_in_order_with_their_source(tmp_path, receiver, export):
    """Batches follow each other as the lines do, and each span says which service and which scope it is of."""
    journal = journal_in(tmp_path)
    for number in range(20):
        exchange(journal, number)
    exporter = export(BSP_MAX_EXPORT_BATCH_SIZE="7")
    until(lambda: len(receiver.names) == 40)
    exchange(journal, 20)
    until(lambda: len(receiver.names) == 42)
    assert receiver.names == names_of(range(21))
    assert max(len(batch) for batch in receiver.batches) == 7
    source = receiver.requests[0][1].resource_spans[0]
    assert attributes_of(source.resource) == {"service.name": "gateway", "deployment.environment.name": "test"}
    assert source.scope_spans[0].scope.name == "tracing-gateway"
    until(lambda: exporter.counters()["exported"] == 42)
    journal.close()


def test_older_journals_go_first(tmp_path, receiver, export):
    """The journals of several workers are read by age, whatever their names."""
    for worker, began, number in (("w0", START + 2, 2), ("w1", START, 0), ("w2", START + 1, 1)):
        journal = journal_in(tmp_path, worker, began)
        exchange(journal, number)
        journal.close()
    export()
    until(lambda: len(receiver.names) == 6)
    assert receiver.names == names_of([0, 1, 2])


@pytest.mark.parametrize(
    ("environ", "on"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_HEADERS": "a=b"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_SDK_DISABLED": "TRUE"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_TRACES_EXPORTER": "console, otlp"}, True),
    ],
)
def test_it_is_on_where_the_environment_says_so(environ, on):
    """An endpoint turns it on; the SDK's own switches turn it off."""
    assert wanted(environ) is on


def test_the_protocol_is_the_standard_one():
    """The variable for traces wins; without one, gRPC's port speaks gRPC."""
    assert protocol({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}) == "http/protobuf"
    assert protocol({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317/"}) == "grpc"
    both = {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"}
    assert protocol(both) == "http/protobuf"
    with pytest.raises(ConfigError, match="http/json"):
        protocol({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"})


def test_settings_that_cannot_be_used_turn_it_off_aloud(tmp_path, caplog):
    """A wrong variable does not stop the store; the log names it."""
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_EXPORTER_OTLP_PROTOCOL": "smoke"}
    assert Exporter.from_environment(environ, tmp_path, Capture()) is None
    assert "OTEL_EXPORTER_OTLP_PROTOCOL" in caplog.text
    assert Exporter.from_environment({"OTEL_EXPORTER_OTLP_ENDPOINT": "x"}, tmp_path, Capture(otlp="off")) is None


def test_a_collector_that_comes_late_gets_everything(tmp_path, receiver, export, monkeypatch):
    """While nobody listens spans wait, over either protocol; they arrive once somebody does."""
    port = receiver.port
    receiver.close()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    journal = journal_in(tmp_path)
    for number in range(5):
        exchange(journal, number)
    journal.close()
    exporter = export(EXPORTER_OTLP_PROTOCOL="grpc")
    until(lambda: exporter.counters()["retries"])
    assert exporter.counters()["last_error"] == "UNAVAILABLE"
    assert exporter.counters()["lag_bytes"] > 0
    exporter.stop()
    exporter = export(EXPORTER_OTLP_PROTOCOL="http/protobuf")
    until(lambda: exporter.counters()["retries"])
    assert exporter.counters()["last_error"] == "ConnectionError"
    exporter.stop()
    late = Receiver()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{late.port}")
    exporter = export()
    until(lambda: len(late.names) == 10)
    assert late.names == names_of(range(5))
    exporter.stop()
    late.close()


@pytest.mark.parametrize(
    ("capture", "switch"),
    [("metadata", {}), ("full", {"INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "NO_CONTENT"})],
)
def test_content_stays_here_where_it_is_not_wanted(tmp_path, receiver, export, capture, switch):
    """Neither the setting nor the conventions' own switch lets content out; the rest is sent."""
    journal = journal_in(tmp_path)
    said = {"gateway.error.body": "You said: hello"}
    exchange(journal, 0, input_messages=messages(5), input_tokens=3, attributes=said)
    journal.close()
    export(Capture(otlp=capture), **switch)
    until(lambda: receiver.names)
    assert attributes_of(receiver.batches[0][0]) == {"gen_ai.usage.input_tokens": 3}


def test_a_collector_that_hangs_does_not_keep_us(tmp_path, receiver, export):
    """`stop` returns while a request is out, long before its timeout, and the spans are there for the next run."""
    receiver.script = lambda _: Answer(hang=True)
    journal = journal_in(tmp_path)
    exchange(journal, 0)
    journal.close()
    exporter = export(EXPORTER_OTLP_TIMEOUT="600")
    until(lambda: receiver.requests)
    exporter.stop(0.5)
    assert not receiver.released.is_set()
    receiver.script = lambda _: Answer()
    export()
    until(lambda: receiver.names)
    assert receiver.names == names_of([0])


def test_what_waits_is_sent_before_the_end(tmp_path, receiver, export):
    """A stop does not wait for the delay between batches."""
    journal = journal_in(tmp_path)
    exporter = export(BSP_SCHEDULE_DELAY="60000")
    time.sleep(0.2)
    exchange(journal, 0)
    journal.close()
    exporter.stop()
    assert receiver.names == names_of([0])


EXPORT = """
import os, sys, time
from pathlib import Path
from gateway.config.model import Capture
from gateway.store.otlp import Exporter
exporter = Exporter.from_environment(os.environ, Path(sys.argv[1]), Capture())
exporter.start()
time.sleep(60)
"""


@pytest.mark.integration
def test_a_killed_exporter_goes_on_where_it_was(tmp_path, receiver, export):
    """After `kill -9` in the middle, no span is missing, and at most the batch in flight is sent again."""
    journal = journal_in(tmp_path)
    for number in range(50):
        exchange(journal, number)
    journal.close()
    enough = threading.Event()

    def slow(_: list[Any]) -> Answer:
        if len(receiver.batches) >= 5:
            enough.set()
            time.sleep(0.2)
        return Answer()

    receiver.script = slow
    environ = {**os.environ, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "6"}
    with subprocess.Popen([sys.executable, "-c", EXPORT, str(tmp_path)], env=environ) as process:
        assert enough.wait(20)
        process.send_signal(signal.SIGKILL)
    receiver.script = lambda _: Answer()
    taken = len(receiver.names)
    assert 30 <= taken < 100
    exporter = export(BSP_MAX_EXPORT_BATCH_SIZE="6")
    (path,) = (tmp_path / "live").glob("*.jsonl")
    until(lambda: exporter.exported(path))
    times = Counter(receiver.names)
    assert set(times) == set(names_of(range(50)))
    assert sum(times.values()) <= 100 + 2 * 6


@pytest.mark.parametrize("word", ["NO_CONTENT", "EVENT_ONLY", "FALSE", "no_content", "Event_Only", "false"])
def test_the_conventions_switch_keeps_content_off_spans(word):
    """In each of its words, in any case."""
    assert content_wanted({CAPTURE_SWITCH: word}) is False


@pytest.mark.parametrize(
    "environ", [{}, *({CAPTURE_SWITCH: word} for word in ("", "SPAN_ONLY", "SPAN_AND_EVENT", "true"))]
)
def test_content_is_on_spans_unless_it_is_switched_off(environ):
    """Without the variable, and by its other words."""
    assert content_wanted(environ) is True


def test_the_words_that_switch_content_off():
    """Each has its test above."""
    assert {"NO_CONTENT", "EVENT_ONLY", "FALSE"} == CONTENT_OFF


@pytest.mark.parametrize("signal", [TRACES, METRICS])
def test_a_variable_of_the_signal_comes_before_the_general_one(signal):
    """An empty one is as one that is not set."""
    general, own = "OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT"
    assert variable({}, "ENDPOINT", signal) == ""
    assert variable({general: "g"}, "ENDPOINT", signal) == "g"
    assert variable({general: "g", own: "o"}, "ENDPOINT", signal) == "o"
    assert variable({general: "g", own: ""}, "ENDPOINT", signal) == "g"
