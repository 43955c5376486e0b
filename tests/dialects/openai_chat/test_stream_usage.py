import json
import re
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects.openai_chat.stream_usage import UsageFilter, ask_for_usage

Read = Callable[[str], bytes]

ASKED = b'"stream_options":{"include_usage":true}'


@pytest.mark.parametrize(
    ("body", "changed"),
    [
        (b'{"stream":true}', b'{"stream":true,' + ASKED + b"}"),
        (b' { "stream" : true }\r\n', b' { "stream" : true ,' + ASKED + b"}\r\n"),
        (b'{"stream":true,"messages":[{"a":"}"}]}', b'{"stream":true,"messages":[{"a":"}"}],' + ASKED + b"}"),
        (rb'{"stream":true,"content":"\ud83d"}', rb'{"stream":true,"content":"\ud83d",' + ASKED + b"}"),
        (
            b'{"stream":true,"metadata":{"stream_options":"x"}}',
            b'{"stream":true,"metadata":{"stream_options":"x"},' + ASKED + b"}",
        ),
    ],
)
def test_usage_is_asked_for_and_nothing_else_is_touched(body: bytes, changed: bytes) -> None:
    """The one member is added before the last brace; every other byte stays."""
    assert changed == ask_for_usage(body)
    assert {**json.loads(body), "stream_options": {"include_usage": True}} == json.loads(changed)


@pytest.mark.parametrize(
    "body",
    [
        b'{"stream":true,"stream_options":null}',
        b'{"stream":true,"stream_options":{}}',
        b'{"stream":true,"stream_options":{"include_usage":false}}',
        rb'{"stream":true,"stream_opt\u0069ons":null}',
        b'{"stream_options":null,"stream":true,"stream_options":null}',
        b'{"stream":true,"stream":false}',
        b'{"stream":false}',
        b'{"stream":"true"}',
        b'{"stream":1}',
        b'{"stream":null}',
        b"{}",
        b"[]",
        b"null",
        b'"stream"',
        b'{"stream":true',
        b'{"stream":true}}',
        b'\xef\xbb\xbf{"stream":true}',
        b"",
        b"\xff",
        b"[" * 10_000,
    ],
)
def test_a_request_that_has_its_own_say_is_left(body: bytes) -> None:
    """An explicit value, even null, no stream, or no JSON object: nothing is asked for."""
    assert ask_for_usage(body) is None


USAGE = b'data: {"id":"a","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}'
SPACED = b'data: {"choices": [ ],\ndata: "usage": {"prompt_tokens": 1}}'
EVENTS = [
    USAGE,
    SPACED,
    b'data: {"choices":[{"index":0,"delta":{"content":"\\"usage\\""}}],"usage":null}',
    b'data: {"choices":[{"index":0,"delta":{}}],"usage":{"prompt_tokens":1}}',
    b'data: {"choices":[],"usage":null,"prompt_filter_results":[]}',
    b'data: {"choices":[],"usage"',
    b'event: x\ndata: {"usage":{},"choices":null}',
    b": comment",
    b"",
    b"data: [DONE]",
    b"\xff\x00",
]
BLANKS = [b"\n\n", b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r\n", b"\r\n\n"]
END = re.compile(rb"(?:\r\n|\r(?!\n)|\n){2}")


def without_usage(data: bytes) -> bytes:
    """Say what should be left, by reading the stream whole."""
    kept, start = [], 0
    for end in END.finditer(data):
        event = data[start : end.end()]
        lines = event.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        if b"\n".join(line for line in lines if line) not in {USAGE, SPACED}:
            kept.append(event)
        start = end.end()
    return b"".join([*kept, data[start:]])


@given(
    events=st.lists(st.tuples(st.sampled_from(EVENTS), st.sampled_from(BLANKS)), max_size=12),
    tail=st.sampled_from([b"", b"\r", b"\n", b"data: half", USAGE, USAGE + b"\n", USAGE + b"\r\n\r"]),
    cuts=st.lists(st.integers(0, 3000), max_size=30),
)
def test_only_the_usage_event_is_withheld(events: list[tuple[bytes, bytes]], tail: bytes, cuts: list[int]) -> None:
    """However a stream is cut, what passes is what came, less the event that tells only the usage."""
    data = b"".join(event + blank for event, blank in events) + tail
    bounds = [0, *sorted(c % (len(data) + 1) for c in cuts), len(data)]
    relay = UsageFilter()
    passed = [relay.feed(data[a:b]) for a, b in pairwise(bounds)]
    assert without_usage(data) == b"".join([*passed, relay.flush()])
    assert relay.flush() == b""


@pytest.mark.parametrize("run", [b"\n\n\n", b"\n\r\n\n\n", b"\r\n\n\n"])
def test_a_run_of_blank_lines_may_be_cut_anywhere(run: bytes) -> None:
    """Bytes after a piece that ends in blank lines are read as if uncut."""
    data = b": c" + run + b"\n" + USAGE + b"\n\n" + b"data: b\n\n"
    for cut in range(len(data)):
        relay = UsageFilter()
        assert relay.feed(data[:cut]) + relay.feed(data[cut:]) + relay.flush() == without_usage(data)


@pytest.mark.parametrize("blank", BLANKS)
def test_a_blank_line_may_be_cut_anywhere(blank: bytes) -> None:
    """Byte by byte, the line end that belongs to the withheld event goes with it."""
    data = b"data: a" + blank + USAGE + blank + b"data: b" + blank
    relay = UsageFilter()
    passed = [relay.feed(data[i : i + 1]) for i in range(len(data))]
    assert b"".join([*passed, relay.flush()]) == b"data: a" + blank + b"data: b" + blank


def test_a_whole_stream_is_the_clients_own_again(read: Read) -> None:
    """Of a provider's stream with usage, the client sees what it would have without having it asked for."""
    stream = read("chat_text.sse")
    relay = UsageFilter()
    events = [event + b"\n\n" for event in stream.split(b"\n\n")[:-1]]
    assert [*events[:4], b"", events[5]] == [relay.feed(event) for event in events]
    assert relay.withheld == 1


@pytest.mark.parametrize("event", [e for e in EVENTS if e not in {USAGE, SPACED}])
def test_an_event_is_passed_on_as_soon_as_it_is_whole(event: bytes) -> None:
    """No event waits for the one after it."""
    assert event + b"\n\n" == UsageFilter().feed(event + b"\n\n")


def test_a_long_event_is_not_held_to_its_end() -> None:
    """An event too long to be the one passes as it comes, and the next is watched again."""
    relay = UsageFilter()
    piece = b"x" * 40_000
    assert relay.feed(b"data: " + piece) == b""
    assert b"data: " + piece + piece == relay.feed(piece)
    assert piece == relay.feed(piece)
    assert relay.feed(b"\n") == b""
    assert relay.feed(b"\n" + USAGE + b"\n\n" + b"data: a\n\n") == b"\n\ndata: a\n\n"


def test_the_filter_says_what_it_holds() -> None:
    """Its repr tells how much is held and how many events were withheld."""
    relay = UsageFilter()
    relay.feed(USAGE + b"\n\ndata:")
    assert repr(relay) == "<UsageFilter held=5 withheld=1>"
