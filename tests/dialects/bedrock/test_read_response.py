import json
from typing import Any

import pytest

from gateway.dialects.bedrock import CONVERSE
from gateway.dialects.conversation import (
    ChatResponse,
    Citation,
    Message,
    Part,
    Reasoning,
    Text,
    ToolCall,
    Usage,
)
from tests.dialects.bedrock.reading import Read
from tests.dialects.botocores import given as shaped
from tests.dialects.botocores import operation, parsed
from tests.dialects.strategies_bedrock import own, proven


def answer(*parts: Part, finish_reason: str | None, finish_word: str | None = None) -> Message:
    """Make an output message."""
    return Message(role="assistant", parts=list(parts), finish_reason=finish_reason, finish_word=finish_word)


def test_a_whole_response_is_read(read: Read) -> None:
    """A response that was not streamed gives the same form."""
    assert CONVERSE.read_response(read("bedrock_whole.json")) == ChatResponse(
        finish_reasons=["tool_calls"],
        output_messages=[
            answer(
                Reasoning(content="Simple.", extra=proven("EqoBCkgIARABGAIiQ==")),
                Text(content="Paris.", citations=[Citation(uri="https://example.com", title="A page")]),
                ToolCall(id="tooluse_09", name="note", arguments={"city": "Paris"}),
                finish_reason="tool_calls",
                finish_word="tool_use",
            )
        ],
        usage=Usage(input_tokens=125, output_tokens=30, total_tokens=155, cache_read_tokens=100, cache_write_tokens=5),
        extra=own({"metrics": {"latencyMs": 1275}}),
    )


def test_a_whole_response_is_one_that_botocore_knows(read: Read) -> None:
    """Botocore reads the fixture, strictly."""
    found = parsed(read("bedrock_whole.json"))
    del found["ResponseMetadata"]
    assert found == shaped(operation(stream=False).output_shape, json.loads(read("bedrock_whole.json")))


@pytest.mark.parametrize(
    ("body", "error_type", "message"),
    [
        ({"message": "The provided model identifier is invalid."}, None, "The provided model identifier is invalid."),
        ({"Message": "Missing Authentication Token"}, None, "Missing Authentication Token"),
        ({"__type": "com.amazon.coral.service#ThrottlingException", "message": "slow"}, "ThrottlingException", "slow"),
        (
            {"__type": "com.amazon#UnrecognizedClientException:http://internal/x", "message": "m"},
            "UnrecognizedClientException",
            "m",
        ),
        ({"code": "ValidationException", "message": "m"}, "ValidationException", "m"),
        ({"message": {"a": 1}, "__type": 7}, None, None),
    ],
)
def test_an_error_body_is_read(body: dict[str, Any], error_type: str | None, message: str | None) -> None:
    """An error body gives the message, and the type where it tells it: most often a header does."""
    assert CONVERSE.read_response(json.dumps(body).encode()) == ChatResponse(
        error_type=error_type, error_message=message
    )


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b'{"output":7,"usage":[]}', b"[" * 9999])
def test_a_response_that_says_nothing_is_an_empty_record(body: bytes) -> None:
    """An unreadable body gives an empty response."""
    assert CONVERSE.read_response(body) == ChatResponse()


@pytest.mark.parametrize(
    ("reported", "reason", "word"),
    [
        ("end_turn", "stop", "end_turn"),
        ("stop_sequence", "stop", "stop_sequence"),
        ("max_tokens", "length", "max_tokens"),
        ("tool_use", "tool_calls", "tool_use"),
        ("guardrail_intervened", "content_filter", "guardrail_intervened"),
        ("content_filtered", "content_filter", "content_filtered"),
        ("malformed_tool_use", "error", "malformed_tool_use"),
        ("malformed_model_output", "error", "malformed_model_output"),
        ("model_context_window_exceeded", "model_context_window_exceeded", None),
    ],
)
def test_stop_reasons_are_the_one_vocabularys(reported: str, reason: str, word: str | None) -> None:
    """Converse's words become the common ones, and are kept beside them."""
    body = json.dumps({"output": {"message": {"content": []}}, "stopReason": reported}).encode()
    assert CONVERSE.read_response(body) == ChatResponse(
        finish_reasons=[reason], output_messages=[answer(finish_reason=reason, finish_word=word)]
    )


def test_every_stop_reason_of_the_service_is_known() -> None:
    """The service's model has no word that the tests above do not."""
    known = operation(stream=False).output_shape.members["stopReason"].enum
    marks = test_stop_reasons_are_the_one_vocabularys.pytestmark
    assert set(known) == {case[0] for case in marks[0].args[1]}


@pytest.mark.parametrize(
    ("reported", "usage"),
    [
        (
            {"inputTokens": 3, "outputTokens": 4, "totalTokens": 7},
            Usage(input_tokens=3, output_tokens=4, total_tokens=7),
        ),
        ({"totalTokens": 9}, Usage(total_tokens=9)),
        ({"inputTokens": "3", "outputTokens": None}, Usage()),
        (
            {"inputTokens": 1, "outputTokens": 2, "totalTokens": 3, "cacheReadInputTokens": 10},
            Usage(input_tokens=11, output_tokens=2, total_tokens=13, cache_read_tokens=10),
        ),
        ({}, None),
    ],
)
def test_cached_input_is_input(reported: dict[str, Any], usage: Usage | None) -> None:
    """Converse's input leaves out what the cache gave and took; the conventions' has it."""
    assert CONVERSE.read_response(json.dumps({"output": {}, "usage": reported}).encode()).usage == usage
