"""Parts as Ollama's messages."""

import pytest
from msgspec.structs import replace

from gateway.dialects.conversation import (
    Blob,
    Citation,
    Compaction,
    File,
    Message,
    Other,
    Part,
    Reasoning,
    ServerToolCall,
    Text,
    ToolCall,
    ToolCallResponse,
    Uri,
)
from tests.dialects.ollama.requests import PNG, chat, sent


@pytest.mark.parametrize(
    ("part", "word"),
    [
        (Uri(modality="image", uri="https://example.com/cat.png"), "messages[0].parts[0]: image uri"),
        (
            Blob(modality="document", mime_type="application/pdf", content="JVBERi0="),
            "messages[0].parts[0]: document blob",
        ),
        (File(modality="document", file_id="f"), "messages[0].parts[0]: document file"),
        (ServerToolCall(name="web", server_tool_call={}), "messages[0].parts[0]: server tool call"),
        (Other(kind="novel"), "messages[0].parts[0]: novel"),
        (Compaction(), "messages[0].parts[0]: compaction"),
        (replace(PNG, name="cat.png"), "messages[0].parts[0].name"),
        (replace(PNG, extra={"openai-chat": {"detail": "low"}}), "messages[0].parts[0].detail"),
        (Text(content="a", citations=[Citation(uri="u")]), "messages[0].parts[0].citations"),
        (Reasoning(content="", extra={"anthropic-messages": {"signature": "s"}}), "messages[0].parts[0].signature"),
        (ToolCall(name="f", arguments="{"), "messages[0].parts[0].arguments"),
        (ToolCallResponse(response="", is_error=True), "messages[0].parts[0].is_error"),
        (
            ToolCallResponse(response=[Uri(modality="image", uri="u")], extra={"gemini": {"x": 1}}),
            "messages[0].parts[0].response[0]: image uri",
        ),
    ],
)
def test_what_a_part_cannot_say_is_named(part: Part, word: str) -> None:
    """URLs, files, documents, server tools, and what belongs to other dialects: named, and only that."""
    _, dropped = sent(chat(Message(role="user", parts=[part])))
    assert dropped[:1] == [word]


def test_a_name_is_said_in_the_text() -> None:
    """A message has no field for who speaks."""
    body, dropped = sent(chat(Message(role="user", name="ann", parts=[Text(content="Hi")])))
    assert body["messages"] == [{"role": "user", "content": "ann: Hi"}]
    assert dropped == []


def test_results_among_other_parts_are_messages_before_them() -> None:
    """A turn that has both is two messages; its own extra stays on the second."""
    parts: list[Part] = [Text(content="so"), ToolCallResponse(id="a", name="f", response=7)]
    body, _ = sent(chat(Message(role="user", parts=parts, extra={"ollama": {"novel": 1}, "gemini": {"x": 1}})))
    assert body["messages"] == [
        {"role": "tool", "content": "7", "tool_name": "f", "tool_call_id": "a"},
        {"role": "user", "content": "so", "novel": 1},
    ]
