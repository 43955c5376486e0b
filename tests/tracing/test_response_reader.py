"""A relayed response is read in any content coding and any pieces; one that cannot be read is relayed all the same."""

import gzip
import itertools
from collections.abc import Callable

import brotli
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects import Dialect
from gateway.dialects.conversation import ChatRequest, ChatResponse
from gateway.dialects.registry import DIALECTS
from gateway.dialects.wire import eventstream
from gateway.dialects.wire.content_coding import (
    FEW_STRINGS,
    READ_MAX,
    READ_MAX_OF_FEW,
    STRINGS_MAX,
    decode,
    worth_reading,
    zstd,
)
from gateway.dialects.wire.sse import LIMIT
from gateway.errors import Kind
from gateway.tracing import response_reader as module
from gateway.tracing.response_reader import KEPT_MAX, TIMELINE_MAX, ResponseReader

CHAT = DIALECTS["openai-chat"]
CODERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "identity": bytes,
    "gzip": gzip.compress,
    "zstd": zstd.compress,
    "br": brotli.compress,
    "gzip, br": lambda data: brotli.compress(gzip.compress(data)),
}


def reader_of(content_type: str, coding: str = "", dialect: Dialect | None = CHAT) -> ResponseReader:
    """Return a reader that starts at 0."""
    return ResponseReader(dialect, content_type=content_type, coding=coding, started=0.0)


@pytest.mark.parametrize("coding", CODERS)
def test_a_whole_body_is_read_in_its_coding(coding, read):
    """A body that arrives in two pieces is read as one."""
    reader, data = reader_of("application/json", coding), CODERS[coding](read("chat_whole.json"))
    reader.feed(data[:100])
    assert not reader.ended
    reader.feed(data[100:])
    assert not reader.streamed
    assert reader.response() == CHAT.read_response(read("chat_whole.json"))
    assert reader.times_ms == []


@pytest.mark.parametrize("content_type", ["text/event-stream", "text/event-stream; charset=utf-8", "Text/Event-Stream"])
@pytest.mark.parametrize("coding", CODERS)
def test_a_stream_is_read_in_its_coding(content_type, coding, read):
    """A stream in any content coding is read up to its terminal event."""
    reader, data = reader_of(content_type, coding), CODERS[coding](read("chat_text.sse"))
    for at in range(0, len(data), 50):
        reader.feed(data[at : at + 50])
    assert reader.streamed
    assert reader.ended
    assert reader.first_output_at is not None
    answered = reader.response()
    assert answered is not None
    assert answered.finish_reasons == ["stop"]


UNREADABLE = {
    "a bad coding": ("gzip", b"garbage"),
    "half of it": ("gzip", gzip.compress(b"data: {}\n\n" * 9)[:-9] + b"garbage"),
    "damaged Brotli": ("br", b"garbage"),
    "an unknown coding": ("compress", b"\x0b\x02\x80{}\x03"),
    "an unknown one of two": ("compress, gzip", gzip.compress(b"{}")),
}


@pytest.mark.parametrize("content_type", ["application/json", "text/event-stream"])
@pytest.mark.parametrize("name", UNREADABLE)
def test_an_undecodable_response_is_not_read(name, content_type):
    """Nothing is read after the first byte that cannot be decoded, and nothing before it is reported."""
    coding, data = UNREADABLE[name]
    reader = reader_of(content_type, coding)
    for _ in range(3):
        reader.feed(data)
    assert reader.response() is None
    assert not reader.ended
    assert "content coding" in (reader.unread_reason or "")


SSE = b'data: {"id":"c1","object":"chat.completion.chunk","choices":[]}\n\n'
FRAME = eventstream.event("messageStart", b'{"role":"assistant"}')
FORMS: list[tuple[str, str, bytes, bool, bool]] = [
    ("openai-chat", "text/plain", SSE, True, True),
    ("openai-chat", "application/json", b"\n" + SSE, True, True),
    ("openai-chat", "", b"\xef\xbb\xbf: comment\n\n" + SSE, True, True),
    ("openai-chat", "text/html", b"event: error\ndata: {}\n\n", False, True),
    ("openai-chat", "text/event-stream", b' {"error": {"message": "no"}}', True, False),
    ("openai-chat", "application/json", b'{"id": "c1"}', True, False),
    ("openai-chat", "text/plain", b"database is down", True, False),
    ("openai-chat", "text/event-stream", b"hello", True, True),
    ("gemini", "application/json", b'[{"candidates": []}', True, True),
    ("gemini", "text/plain", b'[{"candidates": []}', True, True),
    ("gemini", "application/json", b'[{"candidates": []}', False, False),
    ("ollama", "application/json", b'{"model": "m", "done": false}\n', True, True),
    ("ollama", "application/x-ndjson", b'{"model": "m", "done": false}\n', False, True),
    ("ollama", "application/json", b'{\n "model": "m",\n "done": true\n}', True, False),
    ("ollama", "application/json", b'{"model": "m", "done": true}', False, False),
    ("ollama", "application/json", b'{"model": "m", "done": true}\n', False, False),
    ("ollama", "application/json", b'{"model": "m", "done": false}\n{"model": "m", "done": true}\n', False, True),
    ("gemini", "application/json", b'{\n "candidates": []\n}', False, False),
    ("bedrock-converse", "application/octet-stream", FRAME, True, True),
    ("bedrock-converse", "application/json", b'{"output": {}}', True, False),
]


@pytest.mark.parametrize("piece", [1, 1000])
@pytest.mark.parametrize(("name", "content_type", "data", "streams", "streamed"), FORMS)
def test_a_stream_is_known_by_its_bytes(
    name: str, content_type: str, data: bytes, streams: bool, streamed: bool, piece: int
):
    """The first bytes show the form of a response, whatever its media type and wherever they are cut."""
    reader = ResponseReader(
        DIALECTS[name], content_type=content_type, coding="", started=0.0, collects_events=True, streams=streams
    )
    for at in range(0, len(data), piece):
        reader.feed(data[at : at + piece])
    reader.finish()
    assert reader.streamed is streamed
    assert reader.unread_reason is None
    assert (reader.response() is None) is False


@pytest.mark.parametrize("name", ["openai-chat", "anthropic-messages", "gemini", "ollama"])
@pytest.mark.parametrize("finished", [False, True])
def test_an_error_body_on_one_line_is_read(name: str, finished: bool):
    """JSON that may be the first line of a stream is read as a whole body as well."""
    reader = reader_of("application/json", dialect=DIALECTS[name])
    reader.feed(b'{"error": {"message": "no"}}')
    if finished:
        reader.finish()
    response = reader.response()
    assert response is not None
    assert response.error_message == "no"


@pytest.mark.parametrize(
    ("content_type", "data", "reason"),
    [
        ("application/json", b'{"a": "' + b"a" * KEPT_MAX, "too large"),
        ("text/event-stream", b"data: " + b"a" * (LIMIT + 1) + b"\n\n", "larger than 16 MiB"),
    ],
)
def test_the_reason_for_an_unread_response_is_named(content_type: str, data: bytes, reason: str):
    """A body over the limit and an event over the limit leave their reason."""
    reader = reader_of(content_type)
    assert reader.unread_reason is None
    reader.feed(data)
    assert reason in (reader.unread_reason or "")


@pytest.mark.parametrize(
    ("data", "complete", "kind"),
    [
        (b'{"error": {"message": "no", "code": 429}}', True, Kind.RATE_LIMIT),
        (b"", True, Kind.PARSING),
        (b" \n", True, Kind.PARSING),
        (b"<html>", True, Kind.PARSING),
        (b'{"id": ', True, Kind.PARSING),
        (b'{"ok": true}', True, None),
        (b"[1]", True, None),
        (b'{"id": ', False, None),
        (b'data: {"error": {"message": "no", "code": 401}}\n\n', False, Kind.AUTH),
        (b": comment\n\n", False, None),
        (b": comment\n\n", True, Kind.CLOSED),
        (b'data: {"choices":[{"delta":{"role":"assistant"}}]}\n\n', True, Kind.CLOSED),
        (b'data: {"choices":[{"delta":{"content":"a"}}]}\n\ndata: {"error": {"code": 429}}\n\n', True, None),
        (b"data: [DONE]\n\n", True, None),
    ],
)
def test_a_failure_shows_before_any_content(data: bytes, complete: bool, kind: Kind | None):
    """An error, an empty body, a page or a stream without content fail; what has content does not fail here."""
    reader = reader_of("application/json")
    reader.feed(data)
    if complete:
        reader.finish()
    found = reader.failure(complete=complete)
    assert (found and found[0]) == kind


@pytest.mark.parametrize(
    ("content_type", "data", "idle"),
    [
        ("text/event-stream", b": comment\n\n", True),
        ("text/event-stream", b"\n", True),
        ("text/event-stream", b": comm", False),
        ("text/event-stream", b"event: error\n", False),
        ("text/event-stream", b"data: {}\n\n", False),
        ("application/json", b"\n\n ", True),
        ("application/json", b'\n{"id', False),
    ],
)
def test_signs_of_life_are_known(content_type: str, data: bytes, idle: bool):
    """Blank lines and whole comments are signs of life; the beginning of an event or of a body is none."""
    reader = reader_of(content_type)
    reader.feed(data)
    assert reader.idle is idle


def test_a_body_beyond_the_limit_is_not_held():
    """The memory of a whole body is freed once it exceeds the limit."""
    reader = reader_of("application/json")
    for _ in range(KEPT_MAX // 2**20):
        reader.feed(b"a" * 2**20)
    assert reader.response() is not None
    reader.feed(b"a")
    assert reader.response() is None
    reader.feed(b"a" * 100)
    assert reader.response() is None
    assert reader._whole == []


def test_a_compression_bomb_is_not_decoded():
    """The limit holds for the decoded size."""
    reader = reader_of("application/json", "gzip")
    reader.feed(gzip.compress(bytes(2 * KEPT_MAX)))
    assert reader.response() is None


class _Raising:
    """A stream reader with a bug."""

    ended = first_output = False
    unread = 0

    def feed(self, data: bytes) -> None:
        raise ZeroDivisionError(data)

    def answered(self) -> ChatResponse:
        raise ZeroDivisionError


def _raise(body: bytes) -> ChatResponse:
    raise ZeroDivisionError(body)


BROKEN = Dialect(
    name="broken", read_request=lambda _: ChatRequest(operation="chat"), read_response=_raise, stream_reader=_Raising
)


@pytest.mark.parametrize("content_type", ["application/json", "text/event-stream"])
def test_a_reader_with_a_bug_breaks_nothing(content_type):
    """An exception of a reader is logged, and the response is relayed as if there were none."""
    reader = reader_of(content_type, dialect=BROKEN)
    reader.feed(b"{}")
    reader.feed(b"{}")
    assert reader.response() is None
    assert not reader.ended


def test_a_stream_without_a_dialect_has_a_timeline_only():
    """A response of an unknown API is not decoded."""
    reader = reader_of("text/event-stream", "gzip", None)
    reader.feed(b"garbage")
    assert reader.chunks == len(reader.times_ms) == 1
    assert reader.response() is None


@given(st.integers(1, 3 * TIMELINE_MAX))
def test_a_timeline_is_thinned_out_evenly(count):
    """A timeline has a bounded number of chunks, the first among them and the rest evenly spread."""
    ticks = itertools.count()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "perf_counter", lambda: float(next(ticks)))
        reader = reader_of("text/event-stream", dialect=None)
        for _ in range(count):
            reader.feed(b"x")
    times = [round(time / 1000) for time in reader.times_ms]
    stride = times[1] - times[0] if len(times) > 1 else 1
    assert times == list(range(0, times[-1] + 1, stride))
    assert len(times) <= TIMELINE_MAX
    assert count - times[-1] <= stride
    assert reader.chunks == count


def test_events_are_drained_once(read):
    """A translation takes the events of a stream as they arrive; without one none are collected."""
    reader = ResponseReader(CHAT, content_type="text/event-stream", coding="", started=0.0, collects_events=True)
    data = read("chat_text.sse")
    reader.feed(data[: len(data) // 2])
    first = reader.drain_events()
    assert first != []
    assert reader.drain_events() == []
    reader.feed(data[len(data) // 2 :])
    last = reader.drain_events()
    whole = ResponseReader(CHAT, content_type="text/event-stream", coding="", started=0.0, collects_events=True)
    whole.feed(data)
    assert whole.drain_events() == first + last
    untranslated = reader_of("text/event-stream")
    untranslated.feed(data)
    assert untranslated.drain_events() == []
    assert reader_of("text/event-stream", dialect=None).drain_events() == []


@pytest.mark.parametrize(
    ("content_type", "data", "between"),
    [
        ("text/event-stream", b"data: 1\n\n", True),
        ("text/event-stream", b"data: 1\r\n\r\n", True),
        ("text/event-stream", b"data: 1\n", False),
        ("application/x-ndjson", b"{}\n", True),
        ("application/x-ndjson", b"{}", False),
        ("application/vnd.amazon.eventstream", b"\n\n", False),
    ],
)
def test_an_event_can_be_inserted_at_a_boundary_only(content_type, data, between):
    """Inside an event of the provider another one would break both."""
    assert reader_of(content_type, dialect=None).between_events(data) is between


@pytest.mark.parametrize(
    ("content_type", "streams", "streamed"),
    [
        ("application/json", False, False),
        ("application/json", True, True),
        ("text/event-stream", False, True),
        ("application/x-ndjson", False, True),
        ("application/vnd.amazon.eventstream", False, True),
        ("text/html", True, False),
    ],
)
def test_a_stream_is_known_by_its_media_type(content_type, streams, streamed):
    """JSON is a stream if the request asked for one in an API that streams an array."""
    reader = ResponseReader(DIALECTS["gemini"], content_type=content_type, coding="", started=0.0, streams=streams)
    assert reader.streamed is streamed


@pytest.mark.parametrize(
    ("fixture", "content_type"), [("chat_whole.json", "application/json"), ("chat_text.sse", "text/event-stream")]
)
def test_billing_facts_are_read_with_the_response(fixture, content_type, read):
    """Whole or streamed; a body that is not read, or not yet there, has none."""
    reader = reader_of(content_type)
    assert reader.billing() is None
    reader.feed(read(fixture))
    facts, usage = reader.billing(), reader.response().usage
    assert facts is not None
    assert facts.reported["prompt_tokens"] == usage.input_tokens
    unread = reader_of(content_type, dialect=None)
    unread.feed(read(fixture))
    assert unread.billing() is None


def test_small_bodies_are_worth_reading():
    """A body is read if that blocks the event loop for a moment only: by its size, and by the number of strings."""
    text = b'{"content": "%b"}'
    assert worth_reading(b"")
    assert worth_reading(text % (b"a" * (READ_MAX_OF_FEW - 100)))
    assert not worth_reading(text % (b"a" * READ_MAX_OF_FEW))
    many = b"[" + b'"a",' * (STRINGS_MAX - 1)
    assert worth_reading(many + b'"a"]')
    assert not worth_reading(many + b'"a","a"]')
    quoted = text % (rb"\"" * (2 * STRINGS_MAX))  # quotes within a text make no strings
    assert worth_reading(quoted)
    some = b"[" + b'"%b",' % (b"a" * (READ_MAX // FEW_STRINGS)) * (FEW_STRINGS + 1) + b"1]"
    assert not worth_reading(some)


@given(st.sampled_from(["gzip", "zstd"]), st.integers(1, 2**20), st.integers(1, 300), st.integers(1, 60_000))
def test_large_bodies_are_decoded_in_full(coding, size, period, piece):
    """No byte is missing beyond any step of the decoders, in one piece or in many."""
    body = (bytes(range(256)) * 2)[:period] * (size // period + 1)
    coded = CODERS[coding](body)
    assert decode(coded, coding) == body
    inner = module.decoder(coding)
    assert inner is not None
    assert b"".join(inner.feed(coded[at : at + piece]) for at in range(0, len(coded), piece)) == body
