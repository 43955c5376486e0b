import json
from typing import Any

import pytest
from botocore.exceptions import EventStreamError

from gateway.dialects import events
from gateway.dialects.bedrock import CONVERSE, CONVERSE_WRITER
from gateway.dialects.bedrock.write_response import error_type
from gateway.dialects.conversation import (
    Blob,
    ChatRequest,
    ChatResponse,
    Citation,
    Compaction,
    Message,
    Part,
    Reasoning,
    Refusal,
    ServerToolCall,
    Text,
    TokenLogprob,
    ToolCall,
    Usage,
)
from gateway.dialects.shared.synthesize_stream import synthesize
from gateway.dialects.shared.tool_ids import made_id
from gateway.errors import Kind
from tests.dialects.botocores import MODEL, parsed, streamed

NOW = 1_795_162_800.0
ASKED = ChatRequest(operation="chat", model="smart", stream=True)


def whole(*parts: Part, **more: Any) -> tuple[dict[str, Any], list[str]]:
    """Write a whole response, which botocore must read; return its body and what is lost."""
    reason, word = more.pop("finish_reason", "stop"), more.pop("finish_word", None)
    message = Message(role="assistant", parts=list(parts), finish_reason=reason, finish_word=word)
    body, dropped = CONVERSE_WRITER.response(ChatResponse(**{"output_messages": [message], **more}), ASKED, NOW)
    assert parsed(body)["output"]["message"]["role"] == "assistant"
    return json.loads(body), dropped


def stream(*told: events.Event) -> tuple[list[dict[str, Any]], list[str]]:
    """Write a stream, which botocore must read; return its events and what is lost."""
    writer = CONVERSE_WRITER.stream(ASKED, NOW)
    assert writer.content_type == "application/vnd.amazon.eventstream"
    return streamed(*[writer.write(event) for event in told]), writer.dropped


def begun(index: int, part: Part) -> events.PartBegun:
    """Begin a part."""
    return events.PartBegun(index=index, part=part)


def grown(index: int, text: str) -> events.PartGrown:
    """Let it grow."""
    return events.PartGrown(index=index, text=text)


def done(index: int, part: Part) -> events.PartDone:
    """End it."""
    return events.PartDone(index=index, part=part)


BEGUN, STOP, ENDED = events.Begun(), events.ChoiceDone(finish_reason="stop"), events.Ended()
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


def text(index: int, words: str) -> dict[str, Any]:
    """Make a delta of text."""
    return {"contentBlockDelta": {"delta": {"text": words}, "contentBlockIndex": index}}


def arguments(index: int, words: str) -> dict[str, Any]:
    """Make a delta of a tool call."""
    return {"contentBlockDelta": {"delta": {"toolUse": {"input": words}}, "contentBlockIndex": index}}


def call(index: int, number: str, name: str) -> dict[str, Any]:
    """Make the start of a tool call."""
    return {
        "contentBlockStart": {"start": {"toolUse": {"toolUseId": number, "name": name}}, "contentBlockIndex": index}
    }


def stop(index: int) -> dict[str, Any]:
    """Make the end of a block."""
    return {"contentBlockStop": {"contentBlockIndex": index}}


def test_what_is_unknown_is_told_as_nothing() -> None:
    """Converse's SDKs want a usage, a latency and a stop reason in each response."""
    body, dropped = whole(Text(content="Hi"), finish_reason=None)
    assert body == {
        "output": {"message": {"role": "assistant", "content": [{"text": "Hi"}]}},
        "stopReason": "end_turn",
        "usage": {"inputTokens": 0, "outputTokens": 0, "totalTokens": 0},
        "metrics": {"latencyMs": 0},
    }
    assert dropped == []


@pytest.mark.parametrize(
    ("usage", "told", "lost"),
    [
        (
            Usage(input_tokens=100, output_tokens=7, total_tokens=107, cache_read_tokens=60, cache_write_tokens=30),
            {
                "inputTokens": 10,
                "outputTokens": 7,
                "totalTokens": 107,
                "cacheReadInputTokens": 60,
                "cacheWriteInputTokens": 30,
            },
            [],
        ),
        (
            Usage(input_tokens=5, output_tokens=7, reasoning_tokens=3),
            {"inputTokens": 5, "outputTokens": 7, "totalTokens": 12},
            ["usage.reasoning_tokens"],
        ),
        (
            Usage(output_tokens=7, cache_read_tokens=1),
            {"inputTokens": 0, "outputTokens": 7, "totalTokens": 7, "cacheReadInputTokens": 1},
            [],
        ),
    ],
)
def test_cached_input_is_told_apart(usage: Usage, told: dict[str, int], lost: list[str]) -> None:
    """Converse's input leaves out what the cache gave and took."""
    body, dropped = whole(Text(content="Hi"), usage=usage)
    assert body["usage"] == told
    assert dropped == lost


@pytest.mark.parametrize(
    ("reason", "word", "told"),
    [
        ("stop", None, "end_turn"),
        ("stop", "stop_sequence", "stop_sequence"),
        ("tool_calls", "tool_use", "tool_use"),
        ("tool_calls", None, "tool_use"),
        ("length", "max_output_tokens", "max_tokens"),
        ("content_filter", "SAFETY", "content_filtered"),
        ("error", None, "malformed_model_output"),
        ("pause_turn", None, "pause_turn"),
        (None, None, "end_turn"),
    ],
)
def test_the_reason_is_converses_word(reason: str | None, word: str | None, told: str) -> None:
    """A word that Converse has is told as it is, else the one for the common reason."""
    assert whole(finish_reason=reason, finish_word=word)[0]["stopReason"] == told


def test_one_choice_is_told() -> None:
    """Converse has one answer; the others are named, and so is what only other dialects say."""
    message = Message(role="assistant", parts=[Text(content="Hi")], finish_reason="stop")
    answered = ChatResponse(output_messages=[message] * 3, extra={"openai-chat": {"service_tier": "flex"}})
    assert CONVERSE_WRITER.response(answered, ASKED, NOW)[1] == ["choices[1]", "choices[2]", "service_tier"]
    other = events.PartGrown(index=0, text="x", choice=1)
    assert stream(BEGUN, begun(0, Text(content="")), other, ENDED)[1] == ["choices[1]"]


@pytest.mark.parametrize(
    ("part", "block", "lost"),
    [
        (Refusal(content="No."), {"text": "No."}, ["parts[0]: refusal"]),
        (ToolCall(name="f"), {"toolUse": {"toolUseId": made_id(str(NOW), 0), "name": "f", "input": {}}}, []),
        (
            ToolCall(id="1", name="f", arguments="{bro"),
            {"toolUse": {"toolUseId": "1", "name": "f", "input": "{bro"}},
            [],
        ),
        (
            Reasoning(content="t", extra={"anthropic-messages": {"signature": "s"}}),
            {"reasoningContent": {"reasoningText": {"text": "t", "signature": "s"}}},
            [],
        ),
        (
            Text(content="a", logprobs=[TokenLogprob(token="a", logprob=0.0)]),
            {"text": "a"},
            ["parts[0].logprobs"],
        ),
        (
            Text(content="a", citations=[Citation(uri="https://example.com", start=1, end=2)]),
            {
                "citationsContent": {
                    "content": [{"text": "a"}],
                    "citations": [{"location": {"web": {"url": "https://example.com"}}}],
                }
            },
            ["parts[0].citations: place"],
        ),
        (Compaction(content="so far"), {"text": "so far"}, ["parts[0]: compaction"]),
        (ServerToolCall(name="web_search", server_tool_call={}), None, ["parts[0]: server tool call"]),
    ],
)
def test_parts_are_told_as_far_as_they_can_be(part: Part, block: dict[str, Any] | None, lost: list[str]) -> None:
    """What Converse has no word for becomes text, or is named; whole and streamed."""
    body, dropped = whole(part)
    assert body["output"]["message"]["content"] == ([block] if block else [])
    assert dropped == lost
    message = Message(role="assistant", parts=[part], finish_reason="stop")
    writer = CONVERSE_WRITER.stream(ASKED, NOW)
    reader = CONVERSE.stream_reader()
    for event in synthesize(ChatResponse(output_messages=[message])):
        reader.feed(writer.write(event))
    assert writer.dropped == lost
    assert reader.response().output_messages == CONVERSE.read_response(json.dumps(body).encode()).output_messages


def test_a_text_is_streamed() -> None:
    """Each delta leaves at once, in a block without a start; usage stands in the last event."""
    usage = Usage(input_tokens=9, output_tokens=2, total_tokens=11, cache_read_tokens=4)
    told, dropped = stream(
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
    assert told == [
        START,
        text(0, "Hel"),
        text(0, "lo"),
        stop(0),
        {"messageStop": {"stopReason": "end_turn"}},
        {"metadata": {"usage": usage_told, "metrics": {"latencyMs": 0}}},
    ]
    assert dropped == []


def test_no_delta_waits() -> None:
    """What an event says leaves with it."""
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
    """Many clients know one block at a time; the reader that told the end late changes nothing."""
    told, _ = stream(
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
    assert told[1:-2] == [text(0, "Look."), stop(0), call(1, "1", "f"), arguments(1, "{}"), stop(1)]


def test_calls_one_after_the_other_end_one_after_the_other() -> None:
    """A call whose arguments are whole ends where the next begins, though its end is told later."""
    told, _ = stream(
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
    assert told[1:-2] == [
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
    told, dropped = stream(
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
    assert told[1:-2] == [
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
    told, dropped = stream(
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
    assert told[1:-2] == [text(0, "a"), stop(0), text(2, "b"), stop(2), thought, stop(1), text(3, ""), stop(3)]
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
    told, dropped = stream(BEGUN, begun(0, empty), done(0, part), STOP, ENDED)
    assert told[1:-2] == [*deltas, stop(0)]
    assert dropped == []


def test_parts_that_converse_cannot_stream_are_named() -> None:
    """A part with a word in whole answers only, and growth of a part that was not told, leave nothing."""
    document = Blob(modality="document", mime_type="application/pdf", content="QQ==")
    search = ServerToolCall(name="web_search", server_tool_call={})
    told, dropped = stream(
        BEGUN, begun(0, document), done(0, document), begun(1, search), grown(1, "{}"), done(1, search), STOP, ENDED
    )
    assert told == [START, *END]
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
    told, dropped = stream(BEGUN, stopped, ENDED)
    assert told[1] == {"messageStop": {"stopReason": "max_tokens", "additionalModelResponseFields": {"a": 1}}}
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


@pytest.mark.parametrize(
    ("kind", "status", "word", "code"),
    [
        (Kind.RATE_LIMIT, 429, None, "ThrottlingException"),
        (Kind.SERVER, 500, None, "InternalServerException"),
        (Kind.SERVER, 503, "overloaded_error", "ServiceUnavailableException"),
        (Kind.AUTH, 401, None, "AccessDeniedException"),
        (Kind.AUTH, 403, None, "AccessDeniedException"),
        (Kind.CREDITS, 402, None, "ServiceQuotaExceededException"),
        (Kind.BAD_INPUT, 400, None, "ValidationException"),
        (Kind.BAD_INPUT, 422, None, "ValidationException"),
        (Kind.TOO_LARGE, 413, None, "ValidationException"),
        (Kind.NOT_FOUND, 404, None, "ResourceNotFoundException"),
        (Kind.TIMEOUT, 504, None, "ModelTimeoutException"),
        (Kind.SENDING, 502, None, "ServiceUnavailableException"),
        (Kind.GENERIC, 599, None, "InternalServerException"),
        (Kind.SERVER, 424, "ModelErrorException", "ModelErrorException"),
    ],
)
def test_an_error_is_the_class_that_botocore_expects(kind: Kind, status: int, word: str | None, code: str) -> None:
    """Its type is in the body, where botocore finds it without the header, and reads back."""
    body = CONVERSE_WRITER.error(kind, status, "the reason", word, "req-1")
    assert parsed(body, status=status)["Error"] == {"Message": "the reason", "Code": code}
    assert CONVERSE.read_response(body) == ChatResponse(error_type=code, error_message="the reason")
    assert error_type(kind, status, word) == code
    if code != "ServiceQuotaExceededException":
        assert code in {shape.name for shape in MODEL.operation_model("Converse").error_shapes}
