import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects.wire.ndjson import SHORT, NdjsonDecoder
from gateway.dialects.wire.sse import Event

LINES = st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=9) | st.integers(), max_size=3), max_size=8)


def fed(pieces: list[bytes], limit: int = 1000) -> list[bytes]:
    """Decode pieces of a stream that has no line over the limit."""
    decoder = NdjsonDecoder(limit)
    events = [event for piece in pieces for event in decoder.feed(piece)]
    assert decoder.dropped == 0
    assert all(event.name is None for event in events)
    return [event.data for event in events]


@given(lines=LINES, cuts=st.lists(st.integers(0, 2000)), end=st.sampled_from([b"\n", b"\r\n"]), last=st.booleans())
def test_lines_are_the_same_however_they_are_cut(
    lines: list[dict[str, Any]], cuts: list[int], end: bytes, last: bool
) -> None:
    """Any cut, both line ends, and a last line without one, give the same lines."""
    written = [json.dumps(line).encode() for line in lines]
    stream = end.join(written) + (end if last else b"")
    bounds = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    assert fed([stream[a:b] for a, b in pairwise(bounds)]) == written
    assert fed([stream[i : i + 1] for i in range(len(stream))]) == written


def test_a_line_is_given_with_the_bytes_that_end_it() -> None:
    """Each line leaves with its line end, and the last one even without."""
    decoder = NdjsonDecoder()
    assert decoder.feed(b'{"a":1}\n{"b"') == [Event(None, b'{"a":1}')]
    assert decoder.feed(b":2}\n") == [Event(None, b'{"b":2}')]
    assert decoder.feed(b'{"c":{"d":4}') == []
    assert decoder.feed(b"}") == [Event(None, b'{"c":{"d":4}}')]
    assert decoder.feed(b"\n") == []


def test_blank_lines_are_none() -> None:
    """Blank lines, and blanks round a line, do not matter."""
    assert fed([b"\n\n \r\n", b'  {"a":1} \n\n']) == [b'{"a":1}']


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_a_line_over_the_limit_is_dropped_and_counted(size: int) -> None:
    """One endless line costs itself only, and is not held."""
    stream = b'{"a":1}\n' + b"x" * 5000 + b'\n{"b":2}\n' + b"y" * 101 + b"\n" + b"z" * 5000
    decoder = NdjsonDecoder(100)
    events = []
    for start in range(0, len(stream), size):
        events += decoder.feed(stream[start : start + size])
        assert len(decoder._pending) <= 100
    assert [event.data for event in events] == [b'{"a":1}', b'{"b":2}']
    assert decoder.dropped == 3


def test_a_line_of_the_limit_is_taken() -> None:
    """The limit is the longest line that is taken."""
    assert fed([b"x" * 100 + b"\n"], limit=100) == [b"x" * 100]


def test_a_long_last_line_without_its_end_waits() -> None:
    """A long line is not searched for its end: a search costs as much as the line is long."""
    whole = json.dumps({"a": "x" * SHORT}).encode()
    decoder = NdjsonDecoder()
    assert decoder.feed(whole) == []
    assert decoder.feed(b"\n") == [Event(None, whole)]


@given(st.lists(st.binary(max_size=50)))
def test_no_bytes_are_too_strange(pieces: list[bytes]) -> None:
    """Random bytes raise nothing."""
    decoder = NdjsonDecoder(64)
    for piece in pieces:
        decoder.feed(piece)
    assert repr(decoder)
