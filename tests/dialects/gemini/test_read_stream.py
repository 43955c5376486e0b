import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects.conversation import (
    ChatResponse,
    Citation,
    Message,
    Part,
    Reasoning,
    Text,
    TokenLogprob,
    ToolCall,
    Usage,
)
from gateway.dialects.events import (
    Begun,
    Broken,
    ChoiceDone,
    Ended,
    Event,
    PartBegun,
    PartDone,
    PartGrown,
    UsageUpdated,
)
from gateway.dialects.gemini import GEMINI
from gateway.dialects.shared import stream_reader
from tests.dialects.strategies_gemini import folded

Read = Callable[[str], bytes]

OWN = "gemini"
MODEL = "gemini-3-flash-001"


def answer(*parts: Part, finish_reason: str | None, finish_word: str | None = None, **own: Any) -> Message:
    """Make an output message."""
    return Message(
        role="assistant",
        parts=list(parts),
        finish_reason=finish_reason,
        finish_word=finish_word,
        extra={OWN: own} if own else {},
    )


def events_of(data: bytes) -> list[bytes]:
    """Cut a stream into its events."""
    return [event + b"\n\n" for event in data.split(b"\n\n") if event]


def sse(*chunks: Any) -> list[bytes]:
    """Make events."""
    return [b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks]


def chunk(*parts: dict[str, Any], index: int = 0, **candidate: Any) -> dict[str, Any]:
    """Make one event of one candidate."""
    return {"candidates": [{"content": {"role": "model", "parts": list(parts)}, "index": index, **candidate}]}


def emitted_by(pieces: list[bytes]) -> tuple[ChatResponse, list[Event], list[int]]:
    """Read a stream in pieces; return the response, the events, and their number after each piece."""
    reader = GEMINI.stream_reader()
    emitted: list[Event] = []
    counts = []
    for piece in pieces:
        reader.events = []  # each time another list, as who listens leaves it
        reader.feed(piece)
        emitted += reader.events
        counts.append(len(emitted))
    return reader.response(), emitted, counts


WEATHER = Text(
    content="Zürich was wärmer.",
    citations=[
        Citation(uri="https://example.com/a", title="example.com", start=0, end=6),
        Citation(uri="https://example.com/a", title="example.com", start=7, end=18),
        Citation(uri="https://example.org/b", title="example.org", start=7, end=18),
    ],
)
BOOKING = {
    "city": 'Par"is"',
    "guests": [{"name": "Ann", "age": 30}, {"name": "Bob"}],
    "quiet": True,
    "late check-in": None,
}
STREAMS: dict[str, tuple[list[Message], Usage | None]] = {
    "gemini_text.sse": (
        [
            answer(
                Reasoning(content="**Greeting** They say hello."),
                Text(content="Hello, 世界!", extra={OWN: {"thoughtSignature": "CiQBVKhc7vB+/w=="}}),
                finish_reason="stop",
            )
        ],
        Usage(input_tokens=14, output_tokens=32, total_tokens=46, cache_read_tokens=8, reasoning_tokens=26),
    ),
    "gemini_tools.sse": (
        [
            answer(
                Reasoning(content="Two cities, two calls."),
                Text(content="Looking it up."),
                ToolCall(
                    id="fc_1",
                    name="get_weather",
                    arguments={"city": "Paris", "days": 3},
                    extra={OWN: {"thoughtSignature": "EpQBCpEB"}},
                ),
                ToolCall(id="fc_2", name="get_time", arguments={}),
                finish_reason="tool_calls",
                finish_word="STOP",
                safetyRatings=[{"category": "HARM_CATEGORY_HARASSMENT", "probability": "NEGLIGIBLE"}],
            )
        ],
        Usage(input_tokens=80, output_tokens=55, total_tokens=135, reasoning_tokens=15),
    ),
    "gemini_partial_args.sse": (
        [
            answer(
                ToolCall(name="book", arguments=BOOKING, extra={OWN: {"thoughtSignature": "AbCd"}}),
                finish_reason="tool_calls",
                finish_word="STOP",
            )
        ],
        Usage(input_tokens=30, output_tokens=22, total_tokens=52),
    ),
    "gemini_two_candidates.sse": (
        [
            answer(
                Text(content="First."),
                finish_reason="content_filter",
                finish_word="SAFETY",
                finishMessage="It was not safe.",
                safetyRatings=[{"category": "HARM_CATEGORY_DANGEROUS_CONTENT", "probability": "HIGH", "blocked": True}],
            ),
            answer(Text(content="Second one."), finish_reason="length", finish_word="MAX_TOKENS"),
        ],
        Usage(input_tokens=3, output_tokens=5, total_tokens=8),
    ),
    "gemini_blocked.sse": (
        [answer(finish_reason="content_filter", finish_word="PROHIBITED_CONTENT")],
        Usage(input_tokens=11, output_tokens=0, total_tokens=11),
    ),
    "gemini_array.json": (
        [answer(Text(content='One, two "{[\\ three.'), finish_reason="stop")],
        Usage(input_tokens=4, output_tokens=7, total_tokens=11),
    ),
}


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_is_read_as_what_it_says(read: Read, name: str) -> None:
    """Every kind of stream gives its messages and its usage, and is known to have ended."""
    messages, usage = STREAMS[name]
    reader = GEMINI.stream_reader()
    reader.feed(read(name))
    answered = reader.response()
    assert (reader.ended, reader.unread) == (True, 0)
    assert (answered.output_messages, answered.usage) == (messages, usage)
    assert answered.finish_reasons == [m.finish_reason for m in messages]
    assert answered.model == MODEL
    assert answered.id is not None


def test_sources_are_told_for_places_in_the_text(read: Read) -> None:
    """Places are in bytes on the wire, in characters in the form; all fields of the sources are kept."""
    answered, _, _ = emitted_by([read("gemini_grounded.sse")])
    (message,) = answered.output_messages
    assert message.parts == [WEATHER]
    assert message.extra[OWN]["groundingMetadata"]["webSearchQueries"] == ["weather zurich"]
    assert answered.usage == Usage(input_tokens=9 + 25, output_tokens=6, total_tokens=40)


@pytest.mark.parametrize("name", [*STREAMS, "gemini_grounded.sse", "gemini_error.sse"])
def test_what_is_told_is_what_is_read(read: Read, name: str) -> None:
    """The events of a stream, folded, are its messages, however it is cut; without a listener the same is read."""
    data = read(name)
    whole = GEMINI.stream_reader()
    whole.feed(data)
    answered, emitted, _ = emitted_by([data[i : i + 1] for i in range(len(data))])
    assert answered == whole.response()
    if not answered.error_type:
        assert folded(emitted) == answered.output_messages
        assert emitted[-1] == Ended()
        usages = [e.usage for e in emitted if isinstance(e, UsageUpdated)]
        assert usages[-1:] == ([answered.usage] if answered.usage else [])


@given(cuts=st.lists(st.integers(0, 5000), max_size=20), name=st.sampled_from(list(STREAMS)))
def test_cuts_change_nothing(read: Read, cuts: list[int], name: str) -> None:
    """However a stream is cut, the record is the same, and so are the events."""
    data = read(name)
    bounds = [0, *sorted(c % (len(data) + 1) for c in cuts), len(data)]
    assert emitted_by([data[a:b] for a, b in pairwise(bounds)])[:2] == emitted_by([data])[:2]


def test_each_delta_is_told_when_its_event_comes(read: Read) -> None:
    """Nothing is held back: with each event, its new content is emitted."""
    _, emitted, counts = emitted_by(events_of(read("gemini_text.sse")))
    news = [emitted[a:b] for a, b in pairwise([0, *counts])]
    assert [[type(e) for e in new] for new in news] == [
        [Begun, PartBegun, PartGrown, UsageUpdated],
        [PartDone, PartBegun, PartGrown, UsageUpdated],
        [PartGrown, UsageUpdated],
        [PartDone, ChoiceDone, UsageUpdated, Ended],
    ]
    assert [e.text for e in emitted if isinstance(e, PartGrown)] == ["**Greeting** They say hello.", "Hello, ", "世界!"]
    assert isinstance(emitted[0], Begun)
    assert (emitted[0].id, emitted[0].model) == ("resp_01", MODEL)
    assert emitted[0].usage == Usage(input_tokens=14, output_tokens=26, total_tokens=40, reasoning_tokens=26)


def test_arguments_that_come_in_pieces_are_told_in_pieces(read: Read) -> None:
    """Vertex's pieces of arguments grow a JSON text, event by event."""
    _, emitted, counts = emitted_by(events_of(read("gemini_partial_args.sse")))
    grown = ["".join(e.text for e in emitted[a:b] if isinstance(e, PartGrown)) for a, b in pairwise([0, *counts])]
    assert grown == [
        "",
        '{"city":"Par',
        '\\"is\\""',
        ',"guests":[{"name":"Ann","age":30},{"name":"Bob"',
        '}],"quiet":true,"late check-in":null',
        "}",
        "",
    ]


def test_a_call_that_comes_whole_is_told_at_once(read: Read) -> None:
    """A whole call begins, grows by all of its arguments, and is done."""
    _, emitted, _ = emitted_by([read("gemini_tools.sse")])
    signed = {OWN: {"thoughtSignature": "EpQBCpEB"}}
    at = next(i for i, e in enumerate(emitted) if isinstance(e, PartBegun) and isinstance(e.part, ToolCall))
    assert emitted[at : at + 3] == [
        PartBegun(index=2, part=ToolCall(id="fc_1", name="get_weather", extra=signed)),
        PartGrown(index=2, text='{"city":"Paris","days":3}'),
        PartDone(
            index=2,
            part=ToolCall(id="fc_1", name="get_weather", arguments={"city": "Paris", "days": 3}, extra=signed),
        ),
    ]


def test_an_error_in_the_middle_ends_a_stream(read: Read) -> None:
    """Content before an error is kept; the error has Google's word."""
    answered, emitted, _ = emitted_by([read("gemini_error.sse")])
    assert answered.output_messages == [answer(Text(content="Once "), finish_reason=None)]
    assert (answered.error_type, answered.error_message) == ("UNAVAILABLE", "The model is overloaded.")
    assert emitted[-1] == Broken(type="UNAVAILABLE", message="The model is overloaded.")


@pytest.mark.parametrize("name", ["gemini_array_error.json", "gemini_error.json"])
def test_an_error_in_place_of_a_stream_is_told(read: Read, name: str) -> None:
    """An error body is read as one by the stream's reader too, in a list or not."""
    answered, emitted, _ = emitted_by([read(name)])
    assert [type(event) for event in emitted] == [Begun, Broken]
    assert answered.error_type in {"NOT_FOUND", "INVALID_ARGUMENT"}


@pytest.mark.parametrize(
    ("name", "first"), [("gemini_text.sse", 0), ("gemini_tools.sse", 0), ("gemini_blocked.sse", None)]
)
def test_the_first_output_is_the_first_that_says_something(read: Read, name: str, first: int | None) -> None:
    """Text, thought or call: from then on there is output; there is none in a prompt that was blocked."""
    reader = GEMINI.stream_reader()
    seen = []
    for event in events_of(read(name)):
        reader.feed(event)
        seen.append(reader.first_output)
    assert (seen.index(True) if True in seen else None) == first


def test_a_broken_stream_tells_what_came_and_no_count_of_it(read: Read) -> None:
    """A cut stream has its parts; output that Google has not counted yet is unknown, not what the total lacks."""
    reader = GEMINI.stream_reader()
    reader.feed(events_of(read("gemini_tools.sse"))[0])
    assert not reader.ended
    assert reader.response().usage == Usage(input_tokens=80, total_tokens=80)
    assert reader.response().output_messages == [
        answer(Reasoning(content="Two cities, two calls."), finish_reason=None)
    ]


def test_an_array_that_closes_ends_what_did_not_finish() -> None:
    """An array's end is a stream's end, even if a candidate has no finish reason."""
    answered, emitted, _ = emitted_by([b"[", json.dumps(chunk({"text": "a"})).encode(), b"]"])
    assert answered.output_messages == folded(emitted) == [answer(Text(content="a"), finish_reason=None)]
    assert emitted[-2:] == [ChoiceDone(finish_reason=None), Ended()]


def test_a_text_after_a_signature_is_another_part() -> None:
    """A signature belongs to the text before it; the next text is a part of its own."""
    signed = {OWN: {"thoughtSignature": "c2ln"}}
    pieces = sse(
        chunk({"text": "a", "thought": True}),
        chunk({"text": "b", "thought": True, "thoughtSignature": "c2ln"}),
        chunk({"text": "c", "thought": True}),
        chunk({"text": "d"}, {"text": "", "thoughtSignature": "c2ln"}, {"text": "e"}, finishReason="STOP"),
    )
    answered, emitted, _ = emitted_by(pieces)
    assert answered.output_messages == folded(emitted)
    assert answered.output_messages[0].parts == [
        Reasoning(content="ab", extra=signed),
        Reasoning(content="c"),
        Text(content="d", extra=signed),
        Text(content="e"),
    ]


def test_probabilities_add_up_over_events() -> None:
    """Each event has those of its own tokens."""

    def likely(token: str) -> dict[str, Any]:
        return {"chosenCandidates": [{"token": token, "logProbability": -1}]}

    pieces = sse(
        chunk({"text": "a"}, logprobsResult=likely("a")),
        chunk({"text": "b"}, logprobsResult=likely("b"), finishReason="STOP"),
    )
    answered, emitted, _ = emitted_by(pieces)
    logprobs = [TokenLogprob(token="a", logprob=-1.0), TokenLogprob(token="b", logprob=-1.0)]
    assert answered.output_messages == folded(emitted)
    assert answered.output_messages[0].parts == [Text(content="ab", logprobs=logprobs)]


def test_what_follows_a_finish_is_read_for_the_trace_alone() -> None:
    """If each event has STOP, as in the first versions, all is read, though the events have ended by then."""
    pieces = sse(chunk({"text": "a"}, finishReason="STOP"), chunk({"text": "b"}, finishReason="STOP"))
    reader = GEMINI.stream_reader()
    for piece in pieces:
        reader.feed(piece)
    assert reader.unread == 0
    assert "".join(p.content for p in reader.response().output_messages[0].parts if isinstance(p, Text)) == "ab"
    answered, emitted, _ = emitted_by(pieces)
    assert folded(emitted) == answered.output_messages == [answer(Text(content="a"), finish_reason="stop")]


def test_odd_pieces_of_a_call_cost_only_themselves() -> None:
    """Pieces without a call, without a name or a place, and a call within a call are read as far as they go."""
    pieces = sse(
        chunk({"functionCall": {"partialArgs": [{"jsonPath": "$.a", "numberValue": 1}], "willContinue": True}}),
        chunk({"functionCall": {"partialArgs": [{"stringValue": "lost"}, 7], "willContinue": True}}),
        chunk({"functionCall": {"name": "g", "willContinue": True}}),
        chunk({"functionCall": {"name": "h", "args": {"b": 2}}}),
        chunk({"functionCall": {"name": "i", "partialArgs": [{"jsonPath": "$.c", "boolValue": False}]}}),
        chunk({"text": "end"}, finishReason="STOP"),
    )
    answered, emitted, _ = emitted_by(pieces)
    assert answered.output_messages == folded(emitted)
    assert answered.output_messages[0].parts == [
        ToolCall(name="", arguments={"a": 1}),
        ToolCall(name="g", arguments={}),
        ToolCall(name="h", arguments={"b": 2}),
        ToolCall(name="i", arguments={"c": False}),
        Text(content="end"),
    ]


ENDLESS = [
    chunk({"text": "x" * 1_000_000}),
    chunk({"text": "x" * 1_000_000}),
    chunk({"functionCall": {"name": "f", "args": {"a": "x" * 1_000_000}}}),
    chunk({"text": "late"}, index=9),
    {**chunk(finishReason="STOP"), "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 2}},
]


def test_an_endless_stream_is_kept_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Content beyond the limit is counted and left; the usage and the end are read all the same."""
    monkeypatch.setattr(stream_reader, "KEPT_MAX", 1_500_000)
    answered, emitted, _ = emitted_by(sse(*ENDLESS))
    reader = GEMINI.stream_reader()
    reader.feed(b"".join(sse(*ENDLESS)))
    assert reader.ended
    assert reader.unread == 3
    assert answered.usage == Usage(input_tokens=1, output_tokens=2, total_tokens=3)
    assert folded(emitted) == answered.output_messages
    assert [p.content[-2:] for p in answered.output_messages[0].parts if isinstance(p, Text)] == ["xx"]
    assert len(answered.output_messages) == 1
