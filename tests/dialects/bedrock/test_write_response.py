import json
from typing import Any

import pytest

from gateway.dialects import events
from gateway.dialects.bedrock import CONVERSE, CONVERSE_WRITER
from gateway.dialects.bedrock.write_response import error_type
from gateway.dialects.conversation import (
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
from gateway.dialects.events import synthesize
from gateway.dialects.shared.tool_ids import made_id
from gateway.errors import Kind
from tests.dialects.bedrock.responses import ASKED, BEGUN, ENDED, NOW, begun, stream
from tests.dialects.botocores import MODEL, parsed


def whole(*parts: Part, **more: Any) -> tuple[dict[str, Any], list[str]]:
    """Write a whole response, which botocore must read; return its body and what is lost."""
    reason, word = more.pop("finish_reason", "stop"), more.pop("finish_word", None)
    message = Message(role="assistant", parts=list(parts), finish_reason=reason, finish_word=word)
    body, dropped = CONVERSE_WRITER.response(ChatResponse(**{"output_messages": [message], **more}), ASKED, NOW)
    assert parsed(body)["output"]["message"]["role"] == "assistant"
    return json.loads(body), dropped


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
    ("usage", "expected", "lost"),
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
def test_cached_input_is_told_apart(usage: Usage, expected: dict[str, int], lost: list[str]) -> None:
    """Converse's input leaves out what the cache gave and took."""
    body, dropped = whole(Text(content="Hi"), usage=usage)
    assert body["usage"] == expected
    assert dropped == lost


@pytest.mark.parametrize(
    ("reason", "word", "expected"),
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
def test_the_reason_is_converses_word(reason: str | None, word: str | None, expected: str) -> None:
    """A word that Converse has is written as it is, else the one for the common reason."""
    assert whole(finish_reason=reason, finish_word=word)[0]["stopReason"] == expected


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
    """Content that Converse has no form for becomes text, or is named; whole and streamed."""
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
