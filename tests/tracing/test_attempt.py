"""The span of one attempt, without a socket: its outcome, its reader, its overhead and its tokens."""

import asyncio
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.trace import SpanKind

from gateway.config.model import Capture, parse
from gateway.dialects.conversation import ChatResponse, Usage
from gateway.dialects.wire.edit import Peek
from gateway.errors import ExchangeError, Kind
from gateway.providers.route import Route
from gateway.proxy.routing.context import build_runtime
from gateway.proxy.routing.routes import choose, parse_path
from gateway.tracing.attempt import Attempt
from gateway.tracing.capture import CapturePolicy
from gateway.tracing.exchange import Exchange
from gateway.tracing.journal import Journal
from gateway.tracing.outcome import HEDGE_LOST, Outcome
from gateway.tracing.tracer import JournalTracer

RUNTIME = build_runtime(parse("", {}, "test.toml"), {})
REQUEST = b'{"model": "gpt-5", "messages": [{"role": "user", "content": "How high is the tide?"}]}'
WHOLE = b"""{"id": "c1", "model": "gpt-5-1", "usage": {"prompt_tokens": 7, "completion_tokens": 2},
"choices": [{"index": 0, "message": {"role": "assistant", "content": "High"}, "finish_reason": "stop"}]}"""
PIECE = b'data: {"model": "gpt-5-1", "choices": [{"index": 0, "delta": {"content": "High"}}]}\n\n'
EVERYTHING = CapturePolicy()
KEY = "sk-client-0123456789abcdef"


class Finished(SpanProcessor):
    """Collects finished spans."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)


@pytest.fixture(name="finished")
def _finished() -> Finished:
    return Finished()


@pytest.fixture(name="exchange")
def _exchange(tmp_path: Path, finished: Finished) -> Iterator[Exchange]:
    journal = Journal(tmp_path, "w0", {}, rotate_bytes=10**9, rotate_seconds=10**9)
    yield started(JournalTracer(journal, Resource({}), time.time_ns, random.Random(1), finished))
    journal.close()


def started(tracer: JournalTracer, policy: CapturePolicy = EVERYTHING, *, stopping: bool = False) -> Exchange:
    """Return an exchange whose client brought a key of its own."""
    exchange = Exchange(
        tracer,
        policy,
        method="POST",
        target="/v1/chat/completions",
        headers={"authorization": f"Bearer {KEY}"},
        options={},
        stopping=lambda: stopping,
    )
    exchange.set_route(routed(), REQUEST, ())
    return exchange


def routed(path: str = "/v1/chat/completions", *, stream: bool = False) -> Route:
    """Return the route of a chat completion to OpenAI."""
    parsed = parse_path("POST", path, (), RUNTIME.providers)
    return choose(parsed, Peek(model="gpt-5", stream=stream), RUNTIME.providers["openai"], None)


def answered(attempt: Attempt, body: bytes, status: int = 200, content_type: str = "application/json") -> Outcome:
    """Feed a response to an attempt, and return the outcome."""
    attempt.head(status, content_type=content_type, coding="").feed(body)
    return attempt.conclude()


def attributes(finished: Finished) -> dict[str, Any]:
    """Return the attributes of the only finished span."""
    (span,) = finished.spans
    return dict(span.attributes or {})


def test_a_response_is_on_the_span(exchange: Exchange, finished: Finished):
    """The span has the request, the response and the tokens, and the exchange the sum of its attempts' tokens."""
    for _ in range(2):
        with exchange.attempt("first", 0.0) as attempt:
            assert answered(attempt, WHOLE) == Outcome("ok")
    first, second = finished.spans
    assert (first.name, first.kind, first.status.is_unset) == ("chat gpt-5", SpanKind.CLIENT, True)
    assert first.parent is not None
    assert first.parent.span_id == exchange.span.get_span_context().span_id
    assert (
        dict(first.attributes or {}).items()
        >= {
            "gateway.outcome": "ok",
            "gateway.stream": False,
            "gateway.attempt.index": 0,
            "http.response.status_code": 200,
            "gen_ai.request.model": "gpt-5",
            "gen_ai.response.model": "gpt-5-1",
            "gen_ai.usage.input_tokens": 7,
            "gateway.usage.source": "reported",
        }.items()
    )
    assert (second.attributes or {})["gateway.attempt.index"] == 1
    finished.spans.clear()
    with exchange:
        exchange.outcome = Outcome("ok", 200)
    assert attributes(finished)["gateway.usage.input_tokens"] == 14


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (ExchangeError(Kind.TIMEOUT, "too slow"), "timeout"),
        (asyncio.CancelledError(), "client_abort"),
        (ZeroDivisionError(), "generic"),
    ],
    ids=repr,
)
def test_an_exception_ends_the_span_and_passes_on(
    exchange: Exchange, finished: Finished, error: BaseException, outcome: str
):
    """An exception that leaves the block is the outcome if none was set, and is raised further."""
    with pytest.raises(type(error)), exchange.attempt("first", 0.0):
        raise error
    assert attributes(finished)["gateway.outcome"] == outcome


def test_an_outcome_that_was_set_has_precedence(exchange: Exchange, finished: Finished):
    """A loser of a hedge is cancelled, and its outcome stays that of a loser; its prompt's tokens are estimated."""
    attempt = exchange.attempt("first", 0.0)
    attempt.outcome = Outcome(HEDGE_LOST)
    with pytest.raises(asyncio.CancelledError), attempt:
        raise asyncio.CancelledError
    found = attributes(finished)
    assert found["gateway.outcome"] == HEDGE_LOST
    assert "error.type" not in found
    assert found["gateway.usage.source"] == "estimated"
    assert found["gen_ai.usage.input_tokens"] > 0
    assert "gen_ai.usage.output_tokens" not in found


@pytest.mark.parametrize(
    ("status", "body", "word"),
    [
        (200, PIECE + b'data: {"error": {"type": "overloaded", "message": "later"}}\n\n', "overloaded"),
        (200, PIECE, "upstream_abort"),
        (429, b'{"error": {"type": "tokens", "message": "slow down"}}', "429"),
    ],
    ids=["an error event", "no last event", "a status"],
)
def test_the_error_type(exchange: Exchange, finished: Finished, status: int, body: bytes, word: str):
    """`error.type` is the status of an error response, else the provider's own word, else the outcome."""
    with exchange.attempt("first", 0.0) as attempt:
        answered(attempt, body, status, "text/event-stream" if status == 200 else "application/json")
    (span,) = finished.spans
    assert attributes(finished)["error.type"] == word
    assert attributes(finished)["gateway.error"] == attempt.error
    assert not span.status.is_ok
    assert not span.status.is_unset


def test_a_rate_limit_marks_the_exchange(exchange: Exchange):
    """Only the status 429 marks an exchange as rate limited."""
    with exchange.attempt("first", 0.0) as attempt:
        attempt.head(503, content_type="", coding="")
        assert not exchange.rate_limited
        attempt.head(429, content_type="", coding="")
        assert exchange.rate_limited


def test_a_streams_missing_usage_is_estimated(exchange: Exchange, finished: Finished):
    """A stream without usage has an estimate of both counts, marked as one, and the times of its chunks."""
    with exchange.attempt("first", 0.0) as attempt:
        assert not attempt.streamed
        answered(attempt, PIECE + b"data: [DONE]\n\n", content_type="text/event-stream")
        assert attempt.streamed
    found = attributes(finished)
    assert found["gateway.usage.source"] == attempt.usage_source == "estimated"
    assert found["gen_ai.usage.output_tokens"] > 0
    assert len(found["gateway.attempt.chunk_times_ms"]) == 1
    assert found["gen_ai.response.time_to_first_chunk"] >= 0


def test_a_whole_responses_missing_usage_is_not(exchange: Exchange, finished: Finished):
    """A whole response without usage has no count: its provider has none either."""
    with exchange.attempt("first", 0.0) as attempt:
        answered(attempt, b'{"model": "gpt-5-1", "choices": []}')
    assert "gateway.usage.source" not in attributes(finished)


def test_the_reader_comes_with_the_head(exchange: Exchange):
    """Before the response's head there is no reader and no time of a first byte."""
    with exchange.attempt("first", 0.0) as attempt:
        with pytest.raises(RuntimeError):
            _ = attempt.reader
        assert attempt.first_byte is None
        assert attempt.head(200, content_type="", coding="") is attempt.reader
        assert attempt.first_byte is not None
        assert attempt.first_byte >= 0.0
        attempt.outcome = Outcome()


def test_a_clients_key_is_redacted(exchange: Exchange, finished: Finished):
    """A provider's error that repeats the client's key, and a dropped field named by it, are redacted."""
    with exchange.attempt("first", 0.0) as attempt:
        attempt.dropped(["store", KEY])
        attempt.dropped(["store"])
        answered(attempt, b'{"error": {"message": "invalid key %b"}}' % KEY.encode(), 401)
    found = attributes(finished)
    assert KEY not in str(found)
    assert found["gateway.error"] == "invalid key [redacted]"
    assert found["gateway.dropped"] == ["store", "[redacted]"]


def test_waiting_is_no_overhead(exchange: Exchange, finished: Finished):
    """Seconds that the attempt waits count for the exchange, and are no overhead of either."""
    with exchange.attempt("first", 0.0) as attempt:
        attempt.started -= 10.0
        attempt.waited += 9.0
        answered(attempt, WHOLE)
    assert exchange.waited == 9.0
    assert 1.0 <= exchange.within < 2.0
    found = attributes(finished)
    assert found["gateway.overhead_us"] == int(exchange.within * 1e6)
    phases = [found[f"gateway.attempt.overhead.{phase}_us"] for phase in ("send", "relay")]
    assert sum(phases) == pytest.approx(found["gateway.overhead_us"], abs=2)


def test_attempts_made_at_once_wait_each_for_themselves(exchange: Exchange, finished: Finished):
    """Beside another attempt an attempt's overhead is measured by its own waiting, and has no phases."""
    with exchange.attempt("first", 0.0) as attempt:
        attempt.apart = 0.0
        attempt.started -= 10.0
        exchange.waited += 5.0  # the other attempt's
        attempt.waited += 9.0
        answered(attempt, WHOLE)
    assert attempt.apart == 9.0
    assert 1.0 <= exchange.within < 2.0
    assert "gateway.attempt.overhead.send_us" not in attributes(finished)


def test_a_winner_has_waited_until_now(exchange: Exchange):
    """The attempt that won has waited all its time so far: the race is no overhead."""
    with exchange.attempt("first", 0.0) as attempt:
        attempt.apart = 0.0
        attempt.started -= 10.0
        attempt.waited_so_far()
        assert attempt.apart is None
        answered(attempt, WHOLE)
    assert exchange.within < 1.0


def test_a_recovered_response_is_the_spans(exchange: Exchange, finished: Finished):
    """A response that an error body has in it replaces that error on the span."""
    with exchange.attempt("first", 0.0) as attempt:
        answered(attempt, b'{"error": {"message": "failed_generation"}}', 400)
        attempt.recovered = ChatResponse(model="m", usage=Usage(input_tokens=1, output_tokens=2))
        attempt.outcome = Outcome()
    found = attributes(finished)
    assert found["gateway.attempt.recovered"] is True
    assert (found["gen_ai.usage.input_tokens"], found["gen_ai.usage.output_tokens"]) == (1, 2)
    assert "gateway.error" not in found


def test_an_unfinished_span_still_ends(
    exchange: Exchange, finished: Finished, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """An error while the attributes are collected is logged; the span ends, and the call goes on."""

    def broken() -> dict[str, Any]:
        raise ZeroDivisionError

    monkeypatch.setattr(exchange, "request_attributes", broken)
    with exchange.attempt("first", 0.0) as attempt:
        answered(attempt, WHOLE)
    assert len(finished.spans) == 1
    assert "an attempt's span is not complete" in caplog.text


def test_a_request_that_is_only_relayed_is_not_read(exchange: Exchange, finished: Finished):
    """The span of a path that is not read has HTTP's attributes alone."""
    relayed = routed("/openai/v1/files")
    with exchange.attempt("first", 0.0, relayed) as attempt:
        answered(attempt, WHOLE)
    found = attributes(finished)
    assert finished.spans[0].name.startswith("relay")
    assert "gen_ai.response.model" not in found
    assert found["http.response.status_code"] == 200


def test_without_capture_nothing_is_read(tmp_path: Path, finished: Finished):
    """With `store = "off"` neither the request nor the response is read; a whole response has no usage then."""
    journal = Journal(tmp_path / "off", "w0", {}, rotate_bytes=10**9, rotate_seconds=10**9)
    tracer = JournalTracer(journal, Resource({}), time.time_ns, random.Random(1), finished)
    exchange = started(tracer, CapturePolicy(Capture(store="off")))
    with exchange.attempt("first", 0.0) as attempt:
        answered(attempt, WHOLE)
    journal.close()
    assert exchange.request is None
    assert not {name for name in attributes(finished) if name.startswith(("gen_ai.usage", "gen_ai.response"))}


def test_a_stop_is_not_the_clients(tmp_path: Path, finished: Finished):
    """While the worker drains, a cancelled attempt was stopped by the gateway, not left by the client."""
    journal = Journal(tmp_path / "stop", "w0", {}, rotate_bytes=10**9, rotate_seconds=10**9)
    tracer = JournalTracer(journal, Resource({}), time.time_ns, random.Random(1), finished)
    with pytest.raises(asyncio.CancelledError), started(tracer, stopping=True).attempt("first", 0.0):
        raise asyncio.CancelledError
    journal.close()
    assert attributes(finished)["gateway.outcome"] == "shutdown"
