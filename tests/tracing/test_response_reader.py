"""The copy of a response: what it says is read in any coding and any pieces, and what cannot be read costs nothing."""

import gzip
import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects import Dialect
from gateway.dialects.conversation import ChatRequest, ChatResponse
from gateway.dialects.registry import DIALECTS
from gateway.dialects.wire.content_coding import (
    FEW_STRINGS,
    READ_MAX,
    READ_MAX_OF_FEW,
    STRINGS_MAX,
    decode,
    worth_reading,
    zstd,
)
from gateway.tracing import response_reader as module
from gateway.tracing.response_reader import KEPT_MAX, TIMELINE_MAX, ResponseReader

CHAT = DIALECTS["openai-chat"]
CODERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "identity": bytes,
    "gzip": gzip.compress,
    "zstd": zstd.compress,
}


def tee_of(content_type: str, coding: str = "", dialect: Dialect | None = CHAT) -> ResponseReader:
    """Return a tee that starts at 0."""
    return ResponseReader(dialect, content_type=content_type, coding=coding, started=0.0)


@pytest.mark.parametrize("coding", CODERS)
def test_a_whole_body_is_read_in_its_coding(coding, read):
    """A body that came in two pieces is read as one."""
    tee, data = tee_of("application/json", coding), CODERS[coding](read("chat_whole.json"))
    tee.feed(data[:100])
    assert not tee.ended
    tee.feed(data[100:])
    assert not tee.streamed
    assert tee.answered() == CHAT.read_response(read("chat_whole.json"))
    assert tee.times_ms == []


@pytest.mark.parametrize("content_type", ["text/event-stream", "text/event-stream; charset=utf-8", "Text/Event-Stream"])
@pytest.mark.parametrize("coding", CODERS)
def test_a_stream_is_read_in_its_coding(content_type, coding, read):
    """A stream of any coding is read up to its last event."""
    tee, data = tee_of(content_type, coding), CODERS[coding](read("chat_text.sse"))
    for at in range(0, len(data), 50):
        tee.feed(data[at : at + 50])
    assert tee.streamed
    assert tee.ended
    assert tee.first_output_at is not None
    answered = tee.answered()
    assert answered is not None
    assert answered.finish_reasons == ["stop"]


UNREADABLE = {
    "a bad coding": ("gzip", b"garbage"),
    "half of it": ("gzip", gzip.compress(b"data: {}\n\n" * 9)[:-9] + b"garbage"),
    "an unknown coding": ("br", b"\x0b\x02\x80{}\x03"),
}


@pytest.mark.parametrize("content_type", ["application/json", "text/event-stream"])
@pytest.mark.parametrize("name", UNREADABLE)
def test_what_cannot_be_decoded_is_not_read(name, content_type):
    """From the first byte that cannot be decoded on nothing is known of a response, and nothing is guessed."""
    coding, data = UNREADABLE[name]
    tee = tee_of(content_type, coding)
    for _ in range(3):
        tee.feed(data)
    assert tee.answered() is None
    assert not tee.ended


def test_a_body_beyond_the_bound_is_not_kept():
    """A whole body that is larger than what is kept is let go of."""
    tee = tee_of("application/json")
    for _ in range(KEPT_MAX // 2**20):
        tee.feed(b"a" * 2**20)
    assert tee.answered() is not None
    tee.feed(b"a")
    assert tee.answered() is None
    tee.feed(b"a" * 100)
    assert tee.answered() is None
    assert tee._whole == []


def test_a_bomb_is_not_unpacked():
    """A coded body is decoded up to the same bound."""
    tee = tee_of("application/json", "gzip")
    tee.feed(gzip.compress(bytes(2 * KEPT_MAX)))
    assert tee.answered() is None


class _Raising:
    """A reader that has a bug."""

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
    """What a reader raises is logged, and the response is relayed as if there were none."""
    tee = tee_of(content_type, dialect=BROKEN)
    tee.feed(b"{}")
    tee.feed(b"{}")
    assert tee.answered() is None
    assert not tee.ended


def test_without_a_dialect_only_the_times_are_known():
    """A stream that is not ours to read has a timeline and nothing else."""
    tee = tee_of("text/event-stream", "gzip", None)
    tee.feed(b"garbage")
    assert tee.chunks == len(tee.times_ms) == 1
    assert tee.answered() is None


@given(st.integers(1, 3 * TIMELINE_MAX))
def test_a_timeline_is_thinned_out_evenly(count):
    """However many chunks come, a bounded number of times is kept, the first among them and the rest evenly spread."""
    ticks = itertools.count()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "perf_counter", lambda: float(next(ticks)))
        tee = tee_of("text/event-stream", dialect=None)
        for _ in range(count):
            tee.feed(b"x")
    times = [round(time / 1000) for time in tee.times_ms]
    stride = times[1] - times[0] if len(times) > 1 else 1
    assert times == list(range(0, times[-1] + 1, stride))
    assert len(times) <= TIMELINE_MAX
    assert count - times[-1] <= stride
    assert tee.chunks == count


# The bounds of what is read on the loop.


def test_what_is_worth_reading():
    """A body is read where it holds up the loop for a moment only: by its size, and by the strings in it."""
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
    """Beyond every step of the decoders not a byte is missing, in one piece or in many."""
    body = (bytes(range(256)) * 2)[:period] * (size // period + 1)
    coded = CODERS[coding](body)
    assert decode(coded, coding) == body
    inner = module.decoder(coding)
    assert inner is not None
    assert b"".join(inner.feed(coded[at : at + piece]) for at in range(0, len(coded), piece)) == body
