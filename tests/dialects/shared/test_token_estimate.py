from typing import Any

import msgspec
import pytest

from gateway.dialects.conversation import (
    Blob,
    ChatRequest,
    ChatResponse,
    Message,
    Other,
    Part,
    Reasoning,
    Text,
    ToolCall,
    ToolCallResponse,
    Uri,
    Usage,
)
from gateway.dialects.shared.token_estimate import estimate

DEEP: list[Any] = []
for _ in range(200_000):
    DEEP = [DEEP]
HELLO = [Message(role="user", parts=[Text(content="x" * 40)])]
ANSWER = [Message(role="assistant", parts=[Text(content="y" * 21)])]


def test_what_was_not_reported_is_estimated_from_its_length() -> None:
    """Four bytes are a token, rounded up, and a turn costs a little more; the result names its method."""
    usage = estimate(ChatRequest(operation="chat", input_messages=HELLO), ChatResponse(output_messages=ANSWER))
    assert usage == Usage(input_tokens=14, output_tokens=6, total_tokens=20, source="estimated")


def test_what_was_reported_stays() -> None:
    """Of a stream that broke, the counts that came are kept beside the estimate of the rest."""
    answered = ChatResponse(output_messages=ANSWER, usage=Usage(input_tokens=900, cache_read_tokens=800))
    assert estimate(ChatRequest(operation="chat", input_messages=HELLO), answered) == Usage(
        input_tokens=900, output_tokens=6, total_tokens=906, cache_read_tokens=800, source="estimated"
    )
    reported = ChatResponse(usage=Usage(output_tokens=3))
    assert estimate(ChatRequest(operation="chat", input_messages=HELLO), reported).output_tokens == 3


@pytest.mark.parametrize(("total", "parts"), [(63, (14, 49)), (9, (9, 0)), (0, (0, 0))])
def test_a_total_that_was_reported_is_divided(total: int, parts: tuple[int, int]) -> None:
    """A provider that reports nothing else is right about the total: only the parts are estimates."""
    answered = ChatResponse(output_messages=ANSWER, usage=Usage(total_tokens=total))
    usage = estimate(ChatRequest(operation="chat", input_messages=HELLO), answered)
    assert (usage.total_tokens, usage.input_tokens, usage.output_tokens) == (total, *parts)
    assert usage.source == "estimated"


def test_instructions_and_tools_are_part_of_the_input() -> None:
    """All that the model reads is counted."""
    asked = ChatRequest(
        operation="chat",
        system_instructions=[Text(content="z" * 8)],
        input_messages=HELLO,
        tool_definitions=msgspec.Raw(b'[{"a": 1}, {"b": 22}]'),
    )
    assert estimate(asked, ChatResponse()).input_tokens == 14 + 2 + 5


@pytest.mark.parametrize(
    ("part", "tokens"),
    [
        (Text(content=""), 0),
        (Text(content="東京"), 2),
        (Reasoning(content="abcd"), 1),
        (ToolCall(id="c", name="f", arguments={"city": "Paris"}), 5),
        (ToolCallResponse(response="sunny!"), 2),
        (ToolCallResponse(response={"sky": "blue"}), 4),
        (Other(kind="novel", value="x"), 11),
        (ToolCall(name="deep", arguments=DEEP), 1),
    ],
)
def test_parts_are_measured_in_bytes(part: Part, tokens: int) -> None:
    """Bytes of UTF-8 hold across scripts; a tool call is its name and the JSON of its arguments."""
    answered = ChatResponse(output_messages=[Message(role="assistant", parts=[part])])
    assert estimate(ChatRequest(operation="chat"), answered).output_tokens == tokens


@pytest.mark.parametrize(
    "asked",
    [
        ChatRequest(operation="chat"),
        ChatRequest(operation="chat", input_messages=[Message(role="user", parts=[Uri(modality="image", uri="u")])]),
        ChatRequest(
            operation="chat",
            input_messages=[
                Message(role="tool", parts=[ToolCallResponse(response=[Blob(modality="image", content="AA==")])])
            ],
        ),
        ChatRequest(operation="chat", input_messages=HELLO, conversation_id="c"),
        ChatRequest(
            operation="chat",
            input_messages=HELLO,
            parameters={"gen_ai.request.previous_response.id": "resp_1"},
        ),
    ],
    ids=["unread", "an image", "an image from a tool", "a conversation", "an earlier response"],
)
def test_what_cannot_be_seen_is_not_estimated(asked: ChatRequest) -> None:
    """Media have no length in tokens, and what the provider remembers is not in the request: unknown, never 0."""
    assert estimate(asked, ChatResponse()) == Usage(source="estimated")
