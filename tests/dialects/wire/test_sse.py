from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects.wire.sse import Event, SseDecoder


def decode(data: bytes, *, cuts: list[int] | None = None, limit: int = 100) -> tuple[list[Event], int]:
    """Decode in the pieces that the cuts make; say how many events were dropped, too."""
    decoder = SseDecoder(limit)
    bounds = [0, *sorted(c % (len(data) + 1) for c in cuts or []), len(data)]
    events = [e for a, b in pairwise(bounds) for e in decoder.feed(data[a:b])]
    return events, decoder.dropped


@pytest.mark.parametrize(
    ("data", "events"),
    [
        (b"data: a\n\n", [Event(None, b"a")]),
        (b"data: a\n\ndata: b\n\n", [Event(None, b"a"), Event(None, b"b")]),
        (b"data:a\r\n\r\n", [Event(None, b"a")]),
        (b"data: a\r\rdata: b\r\r", [Event(None, b"a"), Event(None, b"b")]),
        (b"data: a\n\r\ndata: b\r\n\n", [Event(None, b"a"), Event(None, b"b")]),
        (b"event: ping\ndata: {}\n\n", [Event("ping", b"{}")]),
        (b"data: {}\nevent: ping\n\n", [Event("ping", b"{}")]),
        (b"\xef\xbb\xbfdata: a\n\n", [Event(None, b"a")]),
        (b": keep alive\n\ndata: a\n\n", [Event(None, b"a")]),
        (b": with data\ndata: a\nid: 7\nretry: 10\n\n", [Event(None, b"a")]),
        (b"data: one\ndata: two\n\n", [Event(None, b"one\ntwo")]),
        (b"data\n\ndata:\n\n", [Event(None, b""), Event(None, b"")]),
        (b"data:  two spaces\n\n", [Event(None, b" two spaces")]),
        (b"event: nothing\n\n\n\n\ndata: a\n\n", [Event(None, b"a")]),
        (b"event: \xff\ndata: a\n\n", [Event("\ufffd", b"a")]),
        (b"data: a\n", []),
        (b"data: a", []),
        (b"", []),
    ],
)
def test_events_follow_the_standard(data: bytes, events: list[Event]) -> None:
    """Line ends, BOM, comments, names and several data lines are read by the HTML standard."""
    assert (events, 0) == decode(data)


LINES = st.sampled_from(
    [b"data: a", b"data: {}", b"data", b"event: x", b": c", b"", b"", b"data: " + b"x" * 95, b"\xef\xbb\xbf", b"\xff"]
)
ENDS = st.sampled_from([b"\n", b"\n", b"\r\n", b"\r"])


@given(
    lines=st.lists(st.tuples(LINES, ENDS)),
    bom=st.booleans(),
    cuts=st.lists(st.integers(0, 10_000), max_size=40),
)
def test_cuts_change_nothing(lines: list[tuple[bytes, bytes]], bom: bool, cuts: list[int]) -> None:
    """However a stream is cut, the same events come out and the same ones are dropped."""
    data = (b"\xef\xbb\xbf" if bom else b"") + b"".join(line + end for line, end in lines)
    assert decode(data) == decode(data, cuts=cuts)


@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_an_event_over_the_limit_is_dropped_and_counted(piece: int) -> None:
    """One event too many bytes long is dropped alone; those around it are read."""
    data = b"data: before\n\ndata: " + b"x" * 200 + b"\n\ndata: after\n\n"
    cuts = list(range(0, len(data), piece))
    assert ([Event(None, b"before"), Event(None, b"after")], 1) == decode(data, cuts=cuts)


def test_a_single_event_over_the_limit_is_dropped_too() -> None:
    """Neither coming whole and alone nor ending in two pieces gets an event past the limit."""
    assert decode(b"data: " + b"x" * 95 + b"\n\n") == ([], 1)
    assert decode(b"data: " + b"x" * 94 + b"\n\n") == ([Event(None, b"x" * 94)], 0)
    decoder = SseDecoder(limit=100)
    assert decoder.feed(b"data: " + b"x" * 200 + b"\n") == []
    assert decoder.feed(b"\ndata: a\n\n") == [Event(None, b"a")]
    assert decoder.feed(b"data: " + b"x" * 200 + b"\n") == []
    assert decoder.feed(b"data: its second line\n\n") == []
    assert decoder.dropped == 2


def test_an_endless_event_is_not_collected() -> None:
    """The buffer of an event that never ends stays within the limit."""
    decoder = SseDecoder(limit=1000)
    for _ in range(100):
        assert decoder.feed(b"data: " + b"x" * 500) == []
        assert len(decoder._pending) <= 1001
    assert decoder.dropped == 1


def test_the_decoder_says_what_it_holds() -> None:
    """Its repr tells how much is pending and how many events were dropped."""
    decoder = SseDecoder()
    decoder.feed(b"data: ab")
    assert repr(decoder) == "<SseDecoder pending=8 dropped=0>"
