"""Rows back to spans: types, content and its limits."""

import json
import random
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from gateway.config.model import Capture
from gateway.store.otlp.rows import attributes_of as exported_of
from gateway.store.otlp.rows import row_in, span_of
from gateway.tracing.tracer import JournalTracer
from tests.support.exported import START, exchange, journal_in, messages, until
from tests.support.otlp_receiver import attributes_of, spans_in

SCOPE = InstrumentationScope("tracing-gateway", "1")


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


@pytest.mark.parametrize("otlp", ["full", "off"])
def test_tokens_that_were_only_counted_are_not_exported_as_used(otlp):
    """They have a name of their own, and none if the collector gets nothing that is read from bodies."""
    row = {"kind": "CLIENT", "start_ns": START, "operation": "count_tokens", "input_tokens": 7, "total_tokens": 7}
    attributes = exported_of(row, Capture(otlp=otlp))
    counted = {f"gateway.usage.counted.{name}_tokens": 7 for name in ("input", "total")} if otlp == "full" else {}
    assert {name: value for name, value in attributes.items() if "usage" in name} == counted
    used = exported_of(row | {"operation": "chat"}, Capture(otlp=otlp))
    assert ("gen_ai.usage.input_tokens" in used) == (otlp == "full")


def test_long_content_is_cut_to_valid_json_with_a_pointer(tmp_path, receiver, export):
    """What is too long for a collector is sent shorter, still JSON, and says how the whole of it is found."""
    journal = journal_in(tmp_path)
    exchange(journal, 0, input_messages=messages(5000), output_messages=messages(5))
    journal.close()
    export()
    until(lambda: receiver.names)
    span = receiver.batches[0][0]
    attributes = attributes_of(span)
    cut = attributes["gen_ai.input.messages"]
    assert len(cut.encode()) <= 2000
    assert json.loads(cut)[0]["role"] == "user"
    assert json.loads(attributes["gen_ai.output.messages"]) == messages(5)
    assert attributes["gateway.content.truncated"] is True
    assert span.span_id.hex() in attributes["gateway.content.full"]


@pytest.mark.parametrize(("capture", "kept"), [("truncated", "You said"), ("full", "You said: hello")])
def test_the_body_of_an_error_is_content(tmp_path, receiver, export, capture, kept):
    """It is sent as content is: whole, or cut."""
    journal = journal_in(tmp_path)
    exchange(journal, 0, attributes={"gateway.error.body": "You said: hello"})
    journal.close()
    export(Capture(otlp=capture, otlp_bytes=8))
    until(lambda: receiver.names)
    assert attributes_of(receiver.batches[0][0]) == {"gateway.error.body": kept}


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
