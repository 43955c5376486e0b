"""Delivery: refused, throttled, rejected and oversized batches."""

import json
from typing import Any

import pytest

from gateway.config.model import Capture
from tests.support.exported import exchange, journal_in, messages, names_of, until
from tests.support.otlp_receiver import Answer, attributes_of


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
        exchange(journal, number, input_messages=messages(12_000 if number == 20 else 2_000))
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


def test_full_content_is_sent_as_it_is(tmp_path, receiver, export):
    """With `otlp = "full"` a collector gets every byte, in batches bounded by bytes all the same."""
    journal = journal_in(tmp_path)
    for number in range(8):
        exchange(journal, number, input_messages=messages(300_000))
    journal.close()
    export(Capture(otlp="full"))
    until(lambda: len(receiver.names) == 16)
    assert receiver.names == names_of(range(8))
    assert json.loads(attributes_of(receiver.batches[0][0])["gen_ai.input.messages"]) == messages(300_000)
    assert max(request.ByteSize() for _, request in receiver.requests) < 2 * 1024 * 1024
