"""Streams of Gemini, written."""

import json

import pytest
from msgspec.structs import replace

from gateway.dialects import events
from gateway.dialects.conversation import (
    Citation,
    Reasoning,
    Text,
    TokenLogprob,
    ToolCall,
    Usage,
)
from gateway.dialects.gemini import GEMINI, GEMINI_ARRAY_WRITER, GEMINI_WRITER
from tests.dialects.gemini.responses import ASKED, NOW, answered, parts_of, streamed, whole
from tests.dialects.strategies_gemini import stream_events


def test_each_piece_leaves_when_it_comes() -> None:
    """A delta is an event at once; a call leaves when it is whole; the end waits for the usage alone."""
    writer = GEMINI_WRITER.stream(ASKED, NOW)
    usage = Usage(input_tokens=3, output_tokens=4, total_tokens=7)
    call = ToolCall(id="c", name="f", arguments={"a": 1})
    steps: list[tuple[events.Event, bool]] = [
        (events.Begun(id="r", model="m"), False),
        (events.PartBegun(index=0, part=Reasoning(content="")), False),
        (events.PartGrown(index=0, text="a"), True),
        (events.PartGrown(index=0, text="b"), True),
        (events.PartDone(index=0, part=Reasoning(content="ab")), False),
        (events.PartBegun(index=1, part=ToolCall(id="c", name="f")), False),
        (events.PartGrown(index=1, text='{"a"'), False),
        (events.PartGrown(index=1, text=":1}"), False),
        (events.PartDone(index=1, part=call), True),
        (events.ChoiceDone(finish_reason="tool_calls"), False),
        (events.UsageUpdated(usage=usage), True),
        (events.Ended(), False),
    ]
    assert [bool(writer.write(event)) for event, _ in steps] == [leaves for _, leaves in steps]


def test_the_last_event_has_the_end_and_the_counts() -> None:
    """Late or early usage is in the event that ends the candidates; each event names the response."""
    usage = Usage(input_tokens=3, output_tokens=4, total_tokens=7, reasoning_tokens=1, cache_write_tokens=2)
    answer = answered(Text(content="hi"), id="r", model="m", usage=usage)
    late, dropped = streamed(stream_events(answer, 100))
    early, _ = streamed(e for e in stream_events(answer, 100) if not isinstance(e, events.UsageUpdated))
    assert late == early
    assert late == [
        {
            "candidates": [{"content": {"parts": [{"text": "hi"}], "role": "model"}, "index": 0}],
            "modelVersion": "m",
            "responseId": "r",
        },
        {
            "candidates": [{"content": {"parts": [{"text": ""}], "role": "model"}, "index": 0, "finishReason": "STOP"}],
            "usageMetadata": {
                "promptTokenCount": 3,
                "candidatesTokenCount": 3,
                "thoughtsTokenCount": 1,
                "totalTokenCount": 7,
            },
            "modelVersion": "m",
            "responseId": "r",
        },
    ]
    assert dropped == ["usage.cache_write_tokens"]


def test_sources_are_told_with_the_end() -> None:
    """Sources of a streamed text are in the event that ends it, as in a whole response, each once."""
    sources = [
        Citation(uri="https://example.com/a", title="A", start=0, end=6),
        Citation(title="Notes", quote="It was warm.", start=0, end=6),
        Citation(uri="https://example.com/a", title="A", start=7, end=18, extra={"x": {"y": 1}}),
    ]
    answer = answered(Reasoning(content="hm"), Text(content="Zürich was wärmer.", citations=sources))
    grounding = {
        "groundingChunks": [
            {"web": {"uri": "https://example.com/a", "title": "A"}},
            {"retrievedContext": {"title": "Notes", "text": "It was warm."}},
        ],
        "groundingSupports": [
            {
                "segment": {"partIndex": 1, "startIndex": 0, "endIndex": 7, "text": "Zürich"},
                "groundingChunkIndices": [0, 1],
            },
            {
                "segment": {"partIndex": 1, "startIndex": 8, "endIndex": 20, "text": "was wärmer."},
                "groundingChunkIndices": [0],
            },
        ],
    }
    body, dropped = whole(answer)
    assert body["candidates"][0]["groundingMetadata"] == grounding
    chunks, names = streamed(stream_events(answer))
    assert chunks[-1]["candidates"][0]["groundingMetadata"] == grounding
    assert dropped == names == ["output[0].parts[1].citations.y"]
    reader = GEMINI.stream_reader()
    reader.feed(b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks))
    for read in (reader.response(), GEMINI.read_response(json.dumps(body).encode())):
        (text,) = [p for p in read.output_messages[0].parts if isinstance(p, Text)]
        assert text.citations == [replace(s, extra={}) for s in sources]


def test_probabilities_are_told_once_their_text_is_whole() -> None:
    """They are in an event of their own, whose candidate has no content."""
    likely = TokenLogprob(token="hi", logprob=-0.5)
    chunks, _ = streamed(stream_events(answered(Text(content="hi", logprobs=[likely])), 100))
    result = {"chosenCandidates": [{"token": "hi", "logProbability": -0.5}]}
    assert chunks[1]["candidates"] == [{"index": 0, "logprobsResult": result}]


@pytest.mark.parametrize(
    ("word", "code", "status"),
    [
        ("overloaded_error", 503, "UNAVAILABLE"),
        ("rate_limit_error", 429, "RESOURCE_EXHAUSTED"),
        ("UNAVAILABLE", 503, "UNAVAILABLE"),
        ("server_error", 500, "INTERNAL"),
        (None, 500, "INTERNAL"),
    ],
)
def test_an_error_in_the_middle_is_told(word: str | None, code: int, status: str) -> None:
    """A stream that breaks ends in Google's form of an error; an array is closed as well."""
    sequence = [events.Begun(), events.Broken(type=word, message="It broke.")]
    chunks, _ = streamed(sequence)
    error = {"code": code, "message": "It broke.", "status": status}
    assert chunks[0]["error"] == error
    array = GEMINI_ARRAY_WRITER.stream(ASKED, NOW)
    (chunk,) = json.loads(b"".join(array.write(event) for event in sequence))
    assert chunk["error"] == error


def test_an_array_is_one_json_value() -> None:
    """Without `alt=sse` a stream is a list, however little is in it."""
    writer = GEMINI_ARRAY_WRITER.stream(ASKED, NOW)
    assert writer.content_type == "application/json"
    data = b"".join(writer.write(event) for event in stream_events(answered(Text(content="hello")), 2))
    assert ["".join(p["text"] for p in parts_of(chunk)) for chunk in json.loads(data)] == ["he", "ll", "o", ""]
    empty = GEMINI_ARRAY_WRITER.stream(ASKED, NOW)
    data = b"".join(empty.write(event) for event in (events.Begun(id="r"), events.Ended()))
    assert json.loads(data) == [{"modelVersion": "gemini-3-flash", "responseId": "r"}]
