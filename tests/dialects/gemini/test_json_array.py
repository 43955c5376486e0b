import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects.gemini.json_array import END, EitherDecoder, JsonDecoder
from gateway.dialects.wire.sse import Event
from tests.dialects.strategies_gemini import OBJECTS

CLOSED = Event(END, b"")


def decoded(data: bytes, cuts: list[int], decoder: Any = None) -> list[Event]:
    """Decode in pieces."""
    decoder = JsonDecoder() if decoder is None else decoder
    bounds = [0, *sorted(c % (len(data) + 1) for c in cuts), len(data)]
    return [event for a, b in pairwise(bounds) for event in decoder.feed(data[a:b])]


@given(
    objects=st.lists(OBJECTS, max_size=4),
    indent=st.sampled_from([None, 2]),
    between=st.sampled_from([",", "\n,\r\n", " , "]),
    cuts=st.lists(st.integers(0, 3000), max_size=20),
)
def test_objects_come_out_of_an_array_as_they_stand(
    objects: list[dict[str, Any]], indent: int | None, between: str, cuts: list[int]
) -> None:
    """However an array is laid out and cut, its objects are those that went in, and its end is emitted."""
    texts = [json.dumps(each, indent=indent, ensure_ascii=False).encode() for each in objects]
    data = b"[" + between.encode().join(texts) + b"\r\n]"
    assert decoded(data, cuts) == [*(Event(None, text) for text in texts), CLOSED]


def test_brackets_and_quotes_in_strings_are_text() -> None:
    """A cut after a backslash does not lose what it escapes."""
    text = b'{"a":"}]\\"{[\\\\","b":[{}]}'
    data = b"[" + text + b"]"
    for cut in range(len(data)):
        assert decoded(data, [cut]) == [Event(None, text), CLOSED]
    decoder = JsonDecoder()
    assert [e for i in range(len(data)) for e in [*decoder.feed(data[i : i + 1]), *decoder.feed(b"")]] == [
        Event(None, text),
        CLOSED,
    ]


def test_an_object_over_the_limit_is_dropped_and_counted() -> None:
    """An object that is too long is never collected; the next one is read."""
    decoder = JsonDecoder(limit=20)
    assert decoded(b'[{"a":"%b"},{"b":1}]' % (b"x" * 50), list(range(0, 80, 7)), decoder) == [
        Event(None, b'{"b":1}'),
        CLOSED,
    ]
    assert decoder.dropped == 1


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b'data: {"a":1}\r\n\r\n', [Event(None, b'{"a":1}')]),
        (b'\xef\xbb\xbf\n[{"a":1}]', [Event(None, b'{"a":1}'), CLOSED]),
        (b'{"a":1}\n{"b":2}', [Event(None, b'{"a":1}'), Event(None, b'{"b":2}')]),
        (b": ping\n\ndata: 1\n\n", [Event(None, b"1")]),
        (b" \n ", []),
        (b"]]}}", []),
    ],
)
def test_the_first_byte_says_what_it_is(data: bytes, expected: list[Event]) -> None:
    """Events, an array, or a row of objects: each is decoded as what it is, byte by byte too."""
    assert decoded(data, [], EitherDecoder()) == expected
    assert decoded(data, list(range(len(data))), EitherDecoder()) == expected
