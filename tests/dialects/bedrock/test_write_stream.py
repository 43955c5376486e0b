"""Streams of Converse, written."""

from typing import Any

import pytest
from botocore.exceptions import EventStreamError

from gateway.dialects import events
from gateway.dialects.bedrock import CONVERSE_WRITER
from gateway.dialects.conversation import (
    Blob,
    Citation,
    Part,
    Reasoning,
    ServerToolCall,
    Text,
    ToolCall,
    Usage,
)
from tests.dialects.bedrock.responses import (
    ASKED,
    BEGUN,
    ENDED,
    NOW,
    STOP,
    arguments,
    begun,
    call,
    stop,
    stream,
    text,
)
from tests.dialects.botocores import streamed


def grown(index: int, text: str) -> events.PartGrown:
    """Let it grow."""
    return events.PartGrown(index=index, text=text)


def done(index: int, part: Part) -> events.PartDone:
    """End it."""
    return events.PartDone(index=index, part=part)


START = {"messageStart": {"role": "assistant"}}


END = [
    {"messageStop": {"stopReason": "end_turn"}},
    {
        "metadata": {
            "usage": {"inputTokens": 0, "outputTokens": 0, "totalTokens": 0},
            "metrics": {"latencyMs": 0},
        }
    },
]


def test_a_text_is_streamed() -> None:
    """Each delta leaves at once, in a block without a start; usage is in the last event."""
    usage = Usage(input_tokens=9, output_tokens=2, total_tokens=11, cache_read_tokens=4)
    frames, dropped = stream(
        BEGUN,
        begun(0, Text(content="")),
        grown(0, "Hel"),
        grown(0, "lo"),
        done(0, Text(content="Hello")),
        STOP,
        events.UsageUpdated(usage=usage),
        ENDED,
    )
    usage_told = {"inputTokens": 5, "outputTokens": 2, "totalTokens": 11, "cacheReadInputTokens": 4}
    assert frames == [
        START,
        text(0, "Hel"),
        text(0, "lo"),
        stop(0),
        {"messageStop": {"stopReason": "end_turn"}},
        {"metadata": {"usage": usage_told, "metrics": {"latencyMs": 0}}},
    ]
    assert dropped == []


def test_no_delta_waits() -> None:
    """The content of an event leaves with it."""
    writer = CONVERSE_WRITER.stream(ASKED, NOW)
    sizes = [
        bool(writer.write(event))
        for event in (
            BEGUN,
            begun(0, Text(content="")),
            grown(0, "a"),
            grown(0, "b"),
            begun(1, ToolCall(id="1", name="f")),
            grown(1, "{"),
            events.UsageUpdated(usage=Usage(input_tokens=1)),
            STOP,
            ENDED,
        )
    ]
    assert sizes == [True, False, True, True, True, True, False, True, True]


def test_a_text_ends_where_a_call_begins() -> None:
    """Many clients know one block at a time; a late end changes nothing."""
    frames, _ = stream(
        BEGUN,
        begun(0, Text(content="")),
        grown(0, "Look."),
        begun(1, ToolCall(id="1", name="f")),
        grown(1, "{}"),
        done(0, Text(content="Look.")),
        done(1, ToolCall(id="1", name="f", arguments={})),
        STOP,
        ENDED,
    )
    assert frames[1:-2] == [text(0, "Look."), stop(0), call(1, "1", "f"), arguments(1, "{}"), stop(1)]


def test_calls_one_after_the_other_end_one_after_the_other() -> None:
    """A call whose arguments are whole ends where the next begins, though its end comes later."""
    frames, _ = stream(
        BEGUN,
        begun(0, ToolCall(id="1", name="f")),
        grown(0, '{"a":'),
        grown(0, "1}"),
        begun(1, ToolCall(id="2", name="g")),
        grown(1, "{}"),
        done(0, ToolCall(id="1", name="f", arguments={"a": 1})),
        done(1, ToolCall(id="2", name="g", arguments={})),
        events.ChoiceDone(finish_reason="tool_calls"),
        ENDED,
    )
    assert frames[1:-2] == [
        call(0, "1", "f"),
        arguments(0, '{"a":'),
        arguments(0, "1}"),
        stop(0),
        call(1, "2", "g"),
        arguments(1, "{}"),
        stop(1),
    ]


def test_calls_side_by_side_are_told_by_their_numbers() -> None:
    """Calls that grow in turn stay open together; nothing waits and nothing is lost."""
    frames, dropped = stream(
        BEGUN,
        begun(0, ToolCall(id="1", name="f")),
        begun(1, ToolCall(id="2", name="g")),
        grown(0, "[1,"),
        grown(1, "[2]"),
        grown(0, "1]"),
        done(0, ToolCall(id="1", name="f", arguments=[1, 1])),
        done(1, ToolCall(id="2", name="g", arguments=[2])),
        STOP,
        ENDED,
    )
    assert frames[1:-2] == [
        call(0, "1", "f"),
        call(1, "2", "g"),
        arguments(0, "[1,"),
        arguments(1, "[2]"),
        arguments(0, "1]"),
        stop(0),
        stop(1),
    ]
    assert dropped == []


def test_a_text_that_grows_after_its_block_ended_goes_on_in_another() -> None:
    """No word is lost where parts overlap; what comes too late for its block is named."""
    cited = Text(content="ab", citations=[Citation(uri="https://example.com")])
    frames, dropped = stream(
        BEGUN,
        begun(0, Text(content="")),
        grown(0, "a"),
        begun(1, Reasoning(content="")),
        grown(0, "b"),
        begun(2, Text(content="")),
        done(0, cited),
        STOP,
        ENDED,
    )
    thought = {"contentBlockDelta": {"delta": {"reasoningContent": {"text": ""}}, "contentBlockIndex": 1}}
    assert frames[1:-2] == [text(0, "a"), stop(0), text(2, "b"), stop(2), thought, stop(1), text(3, ""), stop(3)]
    assert dropped == ["parts[0].citations"]


@pytest.mark.parametrize(
    ("part", "deltas"),
    [
        (Text(content="all"), [text(0, "all")]),
        (Text(content=""), [text(0, "")]),
        (ToolCall(id="1", name="f", arguments={"a": 1}), [call(0, "1", "f"), arguments(0, '{"a":1}')]),
        (ToolCall(id="1", name="f"), [call(0, "1", "f"), arguments(0, "{}")]),
        (ToolCall(id="1", name="f", arguments="{bro"), [call(0, "1", "f"), arguments(0, "{bro")]),
        (
            Reasoning(content="all"),
            [{"contentBlockDelta": {"delta": {"reasoningContent": {"text": "all"}}, "contentBlockIndex": 0}}],
        ),
        (
            Reasoning(content="", extra={"bedrock-converse": {"redactedContent": "QQ=="}}),
            [{"contentBlockDelta": {"delta": {"reasoningContent": {"redactedContent": b"A"}}, "contentBlockIndex": 0}}],
        ),
        (
            Blob(modality="image", mime_type="image/png", content="QQ=="),
            [
                {"contentBlockStart": {"start": {"image": {"format": "png"}}, "contentBlockIndex": 0}},
                {"contentBlockDelta": {"delta": {"image": {"source": {"bytes": b"A"}}}, "contentBlockIndex": 0}},
            ],
        ),
    ],
)
def test_a_part_that_is_told_at_once_is_whole(part: Part, deltas: list[dict[str, Any]]) -> None:
    """A part that has not grown is written where it ends."""
    empty = (
        ToolCall(id="1", name="f")
        if isinstance(part, ToolCall)
        else type(part)(content="")
        if not isinstance(part, Blob)
        else part
    )
    frames, dropped = stream(BEGUN, begun(0, empty), done(0, part), STOP, ENDED)
    assert frames[1:-2] == [*deltas, stop(0)]
    assert dropped == []


def test_parts_that_converse_cannot_stream_are_named() -> None:
    """A part with a word in whole answers only, and growth of a part without a beginning, leave nothing."""
    document = Blob(modality="document", mime_type="application/pdf", content="QQ==")
    search = ServerToolCall(name="web_search", server_tool_call={})
    frames, dropped = stream(
        BEGUN, begun(0, document), done(0, document), begun(1, search), grown(1, "{}"), done(1, search), STOP, ENDED
    )
    assert frames == [START, *END]
    assert dropped == ["parts[0]: document", "parts[1]: server tool call"]


def test_a_stream_is_whole_whatever_is_told() -> None:
    """Without a beginning, an end of a part or of the choice, or a usage, its SDK still finds all it waits for."""
    assert stream(ENDED)[0] == [START, *END]
    assert stream(begun(0, Text(content="")), grown(0, "a"), ENDED)[0] == [
        START,
        text(0, "a"),
        stop(0),
        *END,
    ]
    extra = {"bedrock-converse": {"additionalModelResponseFields": {"a": 1}}}
    stopped = events.ChoiceDone(finish_reason="length", extra={**extra, "x": {"y": 1}})
    frames, dropped = stream(BEGUN, stopped, ENDED)
    assert frames[1] == {"messageStop": {"stopReason": "max_tokens", "additionalModelResponseFields": {"a": 1}}}
    assert dropped == ["y"]


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("throttlingException", "throttlingException"),
        ("modelStreamErrorException", "modelStreamErrorException"),
        ("rate_limit_error", "throttlingException"),
        ("overloaded_error", "serviceUnavailableException"),
        ("invalid_request_error", "validationException"),
        ("internal_error", "internalServerException"),
        ("UNAVAILABLE", "serviceUnavailableException"),
        ("novel", "modelStreamErrorException"),
        (None, "modelStreamErrorException"),
    ],
)
def test_a_break_is_an_exception(word: str | None, name: str) -> None:
    """Botocore raises for it, with the message."""
    writer = CONVERSE_WRITER.stream(ASKED, NOW)
    pieces = [writer.write(event) for event in (BEGUN, events.Broken(type=word, message="the reason"))]
    with pytest.raises(EventStreamError, match="the reason") as raised:
        streamed(*pieces)
    assert raised.value.response["Error"]["Code"] == name
