"""OTLP export: every span of every journal reaches a collector at least once, whatever happens on the way."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status as RpcStatus
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from gateway.config.model import Capture
from gateway.errors import ConfigError
from gateway.store.otlp import Exporter
from gateway.store.otlp.exporter import protocol, wanted
from gateway.store.otlp.http import HttpSender, reply_of
from gateway.store.otlp.replies import Later, Refused, Taken
from gateway.store.otlp.rows import row_in, span_of
from gateway.tracing.journal import Journal
from gateway.tracing.tracer import JournalTracer
from tests.support.receiver import Answer, Receiver, attributes_of, spans_in

START = 1_700_000_000_000_000_000
SCOPE = InstrumentationScope("tracing-gateway", "1")


@pytest.fixture(name="receiver")
def _receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture(name="export")
def _export(tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Exporter]]:
    """Return what starts an exporter of `tmp_path` to the receiver, by the environment alone."""
    for name in os.environ:
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{receiver.port}")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    started: list[Exporter] = []

    def start(capture: Capture | None = None, **more: str) -> Exporter:
        for name, value in more.items():
            monkeypatch.setenv(f"OTEL_{name}", value)
        exporter = Exporter.from_environment(os.environ, tmp_path, capture or Capture())
        assert exporter is not None
        exporter.start()
        started.append(exporter)
        return exporter

    yield start
    receiver.released.set()
    for exporter in started:
        exporter.stop(0.1)


def journal_in(data: Path, worker: str = "w0", began: int = START) -> Journal:
    """Return a worker's journal that never rotates."""
    return Journal(
        data / "live",
        worker,
        {"service.name": "gateway", "deployment.environment.name": "test"},
        rotate_bytes=1 << 30,
        rotate_seconds=1e9,
        clock=lambda: began,
    )


def line(number: int, kind: str, name: str, **columns: Any) -> dict[str, Any]:
    """Return a row of `spans`."""
    row = {
        "trace_id": format(number + 1, "032x"),
        "span_id": format(2 * number + (1 if kind == "SERVER" else 2), "016x"),
        "name": name,
        "kind": kind,
        "service_name": "gateway",
        "start_ns": START + number,
        "duration_ns": 1_000_000,
    }
    return row | columns


def exchange(journal: Journal, number: int, **columns: Any) -> None:
    """Write an exchange and its one attempt, named by the number."""
    root = line(number, "SERVER", f"root {number}")
    journal.start(number, {key: value for key, value in root.items() if key != "duration_ns"})
    journal.attempt(number, line(number, "CLIENT", f"chat {number}", parent_span_id=root["span_id"], **columns))
    journal.end(number, root)


def names_of(numbers: Iterable[int]) -> list[str]:
    """Return the names of the spans of these exchanges, as they are written."""
    return [name for number in numbers for name in (f"chat {number}", f"root {number}")]


def until(done: Callable[[], object]) -> None:
    """Wait for what the exporter's thread does."""
    deadline = time.monotonic() + 20
    while not done():
        assert time.monotonic() < deadline, "it did not come about in 20 s"
        time.sleep(0.01)


# what is sent


class _Kept(SpanProcessor):
    def __init__(self) -> None:
        self.spans: list[Any] = []

    def on_end(self, span: Any) -> None:
        self.spans.append(span)


def test_a_span_comes_back_from_its_line_as_it_was(tmp_path):
    """What the journal stores of a span is enough to send the same span: ids, parents, times, types and all."""
    kept = _Kept()
    source = Resource({"service.name": "gateway"})
    journal = journal_in(tmp_path)
    tracer = JournalTracer(journal, source, lambda: START, random.Random(1), kept)
    tracer.scope = SCOPE
    carrier = {"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01", "tracestate": "a=1,b=2"}
    context = TraceContextTextMapPropagator().extract(carrier)
    root = tracer.start_span(
        "POST /v1/x", context, SpanKind.SERVER, {"http.request.method": "POST", "url.path": "/v1/x"}
    )
    attempt = tracer.start_span(
        "chat m", trace.set_span_in_context(root), SpanKind.CLIENT, {"gateway.attempt.index": 0, "other": [1, 2]}
    )
    attempt.set_attributes(
        {
            "http.response.status_code": 200,
            "gateway.stream": True,
            "gateway.attempt.first_byte_ms": 250.0,
            "gateway.attempt.chunk_times_ms": [1.0, 2.5],
            "gen_ai.response.finish_reasons": ["stop"],
            "gen_ai.usage.input_tokens": 7,
            "gen_ai.output.messages": '[{"role":"assistant","parts":[{"type":"text","content":"\\u00e9 é"}]}]',
        }
    )
    attempt.add_event("said", {"n": 1}, START + 5)
    attempt.set_status(StatusCode.ERROR, "server")
    attempt.end(START + 9)
    root.end(START + 10)
    (path,) = (tmp_path / "live").glob("*.jsonl")
    rows = [row_in(text) for text in path.read_bytes().splitlines() if text.startswith(b'{"t":"span"')]
    again = [span_of(row, source, SCOPE, Capture(otlp="full")) for row in rows]
    for one, other in zip(kept.spans, again, strict=True):
        (sent,) = spans_in(encode_spans([one]))
        (back,) = spans_in(encode_spans([other]))
        # Which kind of value each is counts as well: an integer stays one.
        assert {item.key: item.value for item in back.attributes} == {item.key: item.value for item in sent.attributes}
        sent.ClearField("attributes")
        back.ClearField("attributes")
        assert back == sent
    journal.close()


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


def test_older_names_are_sent_beside_todays(tmp_path, receiver, export):
    """Consumers that read last year's conventions, and Langfuse's own name, find what they look for."""
    journal = journal_in(tmp_path)
    columns = {"cache_write_tokens": 5, "total_tokens": 9, "ttfc_s": 0.5}
    exchange(journal, 0, **columns, attributes={"gen_ai.provider.name": "openai"})
    journal.close()
    export()
    until(lambda: receiver.names)
    attributes = attributes_of(receiver.batches[0][0])
    assert attributes["gen_ai.usage.cache_write.input_tokens"] == 5
    assert attributes["gen_ai.usage.cache_creation.input_tokens"] == 5
    assert attributes["gen_ai.usage.total_tokens"] == 9
    assert attributes["gen_ai.system"] == attributes["gen_ai.provider.name"] == "openai"
    assert attributes["langfuse.observation.completion_start_time"] == "2023-11-14T22:13:20.500000+00:00"


def _messages(length: int) -> list[dict[str, Any]]:
    return [{"role": "user", "parts": [{"type": "text", "content": "é" * length}]}]


def test_long_content_is_cut_to_valid_json_with_a_pointer(tmp_path, receiver, export):
    """What is too long for a collector is sent shorter, still JSON, and says how the whole of it is found."""
    journal = journal_in(tmp_path)
    exchange(journal, 0, input_messages=_messages(5000), output_messages=_messages(5))
    journal.close()
    export()
    until(lambda: receiver.names)
    span = receiver.batches[0][0]
    attributes = attributes_of(span)
    cut = attributes["gen_ai.input.messages"]
    assert len(cut.encode()) <= 2000
    assert json.loads(cut)[0]["role"] == "user"
    assert json.loads(attributes["gen_ai.output.messages"]) == _messages(5)
    assert attributes["gateway.content.truncated"] is True
    assert span.span_id.hex() in attributes["gateway.content.full"]


def test_full_content_is_sent_as_it_is(tmp_path, receiver, export):
    """With `otlp = "full"` a collector gets every byte, in batches bounded by bytes all the same."""
    journal = journal_in(tmp_path)
    for number in range(8):
        exchange(journal, number, input_messages=_messages(300_000))
    journal.close()
    export(Capture(otlp="full"))
    until(lambda: len(receiver.names) == 16)
    assert receiver.names == names_of(range(8))
    assert json.loads(attributes_of(receiver.batches[0][0])["gen_ai.input.messages"]) == _messages(300_000)
    assert max(request.ByteSize() for _, request in receiver.requests) < 2 * 1024 * 1024


@pytest.mark.parametrize(
    ("capture", "environ"),
    [("metadata", {}), ("full", {"INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "NO_CONTENT"})],
)
def test_content_stays_here_where_it_is_not_wanted(tmp_path, receiver, export, capture, environ):
    """Neither the setting nor the conventions' own switch lets content out; the rest is sent."""
    journal = journal_in(tmp_path)
    said = {"gateway.error.body": "You said: hello"}
    exchange(journal, 0, input_messages=_messages(5), input_tokens=3, attributes=said)
    journal.close()
    export(Capture(otlp=capture), **environ)
    until(lambda: receiver.names)
    assert attributes_of(receiver.batches[0][0]) == {"gen_ai.usage.input_tokens": 3}


@pytest.mark.parametrize(("capture", "kept"), [("truncated", "You said"), ("full", "You said: hello")])
def test_the_body_of_an_error_is_content(tmp_path, receiver, export, capture, kept):
    """It is sent as content is: whole, or cut."""
    journal = journal_in(tmp_path)
    exchange(journal, 0, attributes={"gateway.error.body": "You said: hello"})
    journal.close()
    export(Capture(otlp=capture, otlp_bytes=8))
    until(lambda: receiver.names)
    assert attributes_of(receiver.batches[0][0]) == {"gateway.error.body": kept}


def test_headers_path_and_compression_are_the_standard_ones(tmp_path, receiver, export):
    """The stock exporter's variables are honoured."""
    journal = journal_in(tmp_path)
    exchange(journal, 0)
    journal.close()
    export(EXPORTER_OTLP_HEADERS="x-team=a%20b", EXPORTER_OTLP_COMPRESSION="gzip")
    until(lambda: receiver.names)
    assert receiver.headers[0]["x-team"] == "a b"
    assert receiver.headers[0]["content-encoding"] == "gzip"


# what is left when somebody dies


def test_an_interrupted_exchange_is_sent_as_an_error(tmp_path, receiver, export):
    """A start that never ended becomes a failed span once its worker is gone, and not before."""
    journal = journal_in(tmp_path)
    exchange(journal, 0)
    journal.start(1, line(1, "SERVER", "root 1", duration_ns=None))
    exporter = export()
    until(lambda: len(receiver.names) == 2)
    (path,) = (tmp_path / "live").glob("*.jsonl")
    assert not exporter.exported(path)
    journal.close()
    until(lambda: exporter.exported(path))
    assert receiver.names == [*names_of([0]), "root 1"]
    span = receiver.batches[-1][-1]
    assert span.status.code == 2
    assert span.end_time_unix_nano == span.start_time_unix_nano == START + 1
    assert attributes_of(span)["gateway.outcome"] == "interrupted"


def test_interrupted_exchanges_are_found_behind_the_cursor(tmp_path, receiver, export):
    """Where the start was passed before a restart of the exporter, its missing end is noticed, and sent once."""
    journal = journal_in(tmp_path)
    for number in (5, 6, 7):
        journal.start(number, line(number, "SERVER", f"root {number}"))
    exchange(journal, 0)
    first = export()
    until(lambda: len(receiver.names) == 2)
    first.stop()
    journal.close()
    second = export(BSP_MAX_EXPORT_BATCH_SIZE="2")
    (path,) = (tmp_path / "live").glob("*.jsonl")
    until(lambda: second.exported(path))
    assert receiver.names == [*names_of([0]), "root 5", "root 6", "root 7"]


def test_half_a_line_waits_while_its_writer_lives(tmp_path, receiver, export):
    """Only whole lines are sent; what a killed worker left of its last one is counted."""
    journal = journal_in(tmp_path)
    exchange(journal, 0)
    (path,) = (tmp_path / "live").glob("*.jsonl")
    torn = json.dumps({"t": "span", **line(1, "CLIENT", "chat 1")}, separators=(",", ":")).encode()
    with path.open("ab") as file:
        file.write(torn[:-20])
        file.flush()
        exporter = export()
        until(lambda: len(receiver.names) == 2)
        file.write(torn[-20:] + b"\n" + torn[:-20])
    until(lambda: len(receiver.names) == 3)
    assert exporter.counters()["dropped"] == {}
    os.close(journal._current.fd)
    journal._current.fd = -1
    until(lambda: exporter.exported(path))
    assert receiver.names == [*names_of([0]), "chat 1"]
    assert exporter.counters()["dropped"] == {"damaged": 1}


@pytest.mark.parametrize(
    "bad", [b"\x00\xff garbage", b'{"t":"span","kind":"CLIENT"}', b'{"t":"span","kind":7,"x":', b"[]"]
)
def test_a_damaged_line_is_passed_by(tmp_path, receiver, export, bad):
    """Whatever stands in a line, the ones behind it are sent."""
    journal = journal_in(tmp_path)
    exchange(journal, 0)
    (path,) = (tmp_path / "live").glob("*.jsonl")
    with path.open("ab") as file:
        file.write(bad + b"\n")
    exchange(journal, 1)
    journal.close()
    exporter = export()
    until(lambda: exporter.exported(path))
    assert receiver.names == names_of([0, 1])
    assert exporter.counters()["dropped"] == {"damaged": 1}


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


def test_a_cursor_that_cannot_be_read_sends_all_again(tmp_path, receiver, export):
    """A damaged cursor costs duplicates, never spans."""
    journal = journal_in(tmp_path)
    exchange(journal, 0)
    journal.close()
    (path,) = (tmp_path / "live").glob("*.jsonl")
    first = export()
    until(lambda: first.exported(path))
    first.stop()
    (tmp_path / "otlp" / "cursor.json").write_bytes(b"{")
    second = export()
    until(lambda: second.exported(path))
    assert receiver.names == names_of([0, 0])


def test_a_journal_that_is_gone_is_forgotten(tmp_path, export):
    """The cursor keeps no word of journals that the recorder removed."""
    journal = journal_in(tmp_path)
    exchange(journal, 0)
    journal.close()
    (path,) = (tmp_path / "live").glob("*.jsonl")
    exporter = export()
    until(lambda: exporter.exported(path))
    assert path.name in (tmp_path / "otlp" / "cursor.json").read_text()
    path.unlink()
    exporter.forget(path)
    until(lambda: path.name not in (tmp_path / "otlp" / "cursor.json").read_text())
    assert not exporter.exported(path)


# a collector that does not take them


def test_one_refused_span_is_found_and_the_others_arrive(tmp_path, receiver, export):
    """A batch refused for good is halved until the one span is alone; it is counted, all others arrive once."""
    journal = journal_in(tmp_path)
    for number in range(20):
        exchange(journal, number)
    journal.close()
    receiver.script = lambda spans: Answer(400 if any(span.name == "chat 13" for span in spans) else 200)
    exporter = export()
    (path,) = (tmp_path / "live").glob("*.jsonl")
    until(lambda: exporter.exported(path))
    assert receiver.names == [name for name in names_of(range(20)) if name != "chat 13"]
    counters = exporter.counters()
    assert (counters["exported"], counters["dropped"], counters["last_error"]) == (39, {"refused": 1}, "HTTP 400")


def test_a_span_that_is_too_long_arrives_without_its_content(tmp_path, receiver, export):
    """A receiver with a small limit gets the spans in small batches, and the longest one without content."""

    def limited(spans: list[Any]) -> Answer:
        return Answer(413 if sum(span.ByteSize() for span in spans) > 20_000 else 200)

    journal = journal_in(tmp_path)
    for number in range(40):
        exchange(journal, number, input_messages=_messages(12_000 if number == 20 else 2_000))
    journal.close()
    receiver.script = limited
    exporter = export(Capture(otlp="full"))
    (path,) = (tmp_path / "live").glob("*.jsonl")
    until(lambda: exporter.exported(path))
    assert receiver.names == names_of(range(40))
    assert exporter.counters()["dropped"] == {}
    without = [
        span.name
        for batch in receiver.batches
        for span in batch
        if span.name.startswith("chat") and "gen_ai.input.messages" not in attributes_of(span)
    ]
    assert without == ["chat 20"]


@pytest.mark.parametrize("status", [400, 401, 404, 500])
def test_a_receiver_that_refuses_everything_loses_nothing(tmp_path, receiver, export, status):
    """Where not even an empty batch is taken it is not the spans' fault: they wait until that is mended."""
    journal = journal_in(tmp_path)
    exchange(journal, 0)
    journal.close()
    receiver.script = lambda _: Answer(status)
    exporter = export()
    until(lambda: exporter.counters()["retries"])
    receiver.script = lambda _: Answer()
    until(lambda: len(receiver.names) == 2)
    assert receiver.names == names_of([0])
    assert exporter.counters()["dropped"] == {}


def test_retry_after_is_kept(tmp_path, receiver, export):
    """A throttling collector is left alone for as long as it asks."""
    answers = [Answer(503, "1"), Answer(429, "1")]
    receiver.script = lambda _: answers.pop(0) if answers else Answer()
    journal = journal_in(tmp_path)
    exchange(journal, 0)
    journal.close()
    exporter = export()
    until(lambda: receiver.names)
    first, second, third = (moment for moment, _ in receiver.requests)
    assert second - first >= 1
    assert third - second >= 1
    assert exporter.counters()["retries"] == 2


def test_rejected_spans_of_a_partial_success_are_counted(tmp_path, receiver, export):
    """A collector that takes a batch but not all of it is believed."""
    receiver.script = lambda _: Answer(rejected=1)
    journal = journal_in(tmp_path)
    exchange(journal, 0)
    journal.close()
    exporter = export()
    until(lambda: exporter.counters()["exported"])
    assert exporter.counters()["exported"] == 1
    assert exporter.counters()["dropped"] == {"rejected": 1}


def test_a_collector_that_hangs_does_not_keep_us(tmp_path, receiver, export):
    """`stop` returns within seconds while a request is out, and the spans are there for the next run."""
    receiver.script = lambda _: Answer(hang=True)
    journal = journal_in(tmp_path)
    exchange(journal, 0)
    journal.close()
    exporter = export()
    until(lambda: receiver.requests)
    before = time.monotonic()
    exporter.stop(0.5)
    assert time.monotonic() - before < 5
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


def test_a_backlog_too_large_loses_its_oldest_spans(tmp_path, receiver, monkeypatch):
    """Past the bound the oldest journal is given up and its spans are counted; newer ones still arrive."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{receiver.port}")
    for number in range(3):
        journal = journal_in(tmp_path, f"w{number}", START + number)
        exchange(journal, number)
        if number == 0:
            journal.start(9, line(9, "SERVER", "root 9"))
        journal.close()
    oldest, *newer = sorted((tmp_path / "live").glob("*.jsonl"))
    receiver.script = lambda _: Answer(503)
    exporter = Exporter(
        tmp_path, HttpSender(), Capture(), delay=0.05, max_backlog_bytes=sum(path.stat().st_size for path in newer)
    )
    exporter.start()
    until(lambda: exporter.counters()["dropped"])
    assert exporter.exported(oldest)
    assert exporter.counters()["dropped"] == {"otlp_backlog": 3}
    receiver.script = lambda _: Answer()
    until(lambda: all(exporter.exported(path) for path in newer))
    assert receiver.names == names_of([1, 2])
    exporter.stop()


def test_what_a_status_means():
    """Only what is said of the bytes themselves is final; a redirect is no success."""
    assert reply_of(202, None, b"", 0.0) == Taken()
    assert reply_of(200, None, b"<html>", 0.0) == Taken()
    assert reply_of(413, None, b"", 0.0) == Refused("HTTP 413")
    assert reply_of(302, None, b"", 0.0) == Later("HTTP 302")
    assert reply_of(429, "7", b"", 0.0) == Later("HTTP 429", 7.0)
    assert reply_of(503, "Thu, 01 Jan 1970 00:01:00 GMT", b"", 10.0) == Later("HTTP 503", 50.0)
    assert reply_of(503, "soon", b"", 0.0) == Later("HTTP 503")


# whether and how


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


# gRPC


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


def test_grpc_carries_the_same_spans_in_order(tmp_path, grpc_receiver, export):
    """Batches of more than a receiver's four megabytes are never made."""
    journal = journal_in(tmp_path)
    for number in range(8):
        exchange(journal, number, input_messages=_messages(500_000))
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
        exchange(journal, number, input_messages=_messages(2_500_000 if number == 1 else 5))
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
    """`stop` ends the call under way, and the thread with it."""
    grpc_receiver.script = lambda _: "hang"
    journal = journal_in(tmp_path)
    exchange(journal, 0)
    journal.close()
    exporter = export()
    until(lambda: grpc_receiver.calls)
    before = time.monotonic()
    exporter.stop(0.3)
    assert time.monotonic() - before < 5
    until(lambda: not exporter._thread.is_alive())
    assert exporter.counters()["exported"] == 0
    assert exporter.counters()["dropped"] == {}


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
