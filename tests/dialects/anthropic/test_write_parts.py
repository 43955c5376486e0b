"""Parts as Anthropic's content blocks."""

from typing import Any

import pytest
from msgspec.structs import replace

from gateway.dialects.conversation import (
    Blob,
    Citation,
    Compaction,
    File,
    Other,
    Part,
    Refusal,
    ServerToolCall,
    Text,
    ToolCall,
    Uri,
)
from tests.dialects.anthropic.requests import ASK, PNG, PNG_BLOCK, chat, model, sent, tool_says, user


@pytest.mark.parametrize(
    ("part", "block", "dropped"),
    [
        (Refusal(content="No."), {"type": "text", "text": "No."}, []),
        (Compaction(content="So far."), {"type": "compaction", "content": "So far."}, []),
        (
            Blob(modality="document", mime_type="text/markdown", content="IyBI", name="a.md"),
            {
                "type": "document",
                "source": {"type": "text", "media_type": "text/plain", "data": "# H"},
                "title": "a.md",
            },
            [],
        ),
        (
            Blob(modality="document", content="JVBERi0="),
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="},
            },
            [],
        ),
        (
            Uri(modality="document", uri="https://x/a.pdf"),
            {"type": "document", "source": {"type": "url", "url": "https://x/a.pdf"}},
            [],
        ),
        (Uri(modality="image", uri="gs://b/a.png"), None, ["messages[0].parts[1]: image uri"]),
        (Blob(modality="image", mime_type="image/bmp", content="AA=="), None, ["messages[0].parts[1]: image blob"]),
        (
            Blob(modality="document", mime_type="application/msword", content="AA=="),
            None,
            ["messages[0].parts[1]: document blob"],
        ),
        (Blob(modality="audio", mime_type="audio/wav", content="AA=="), None, ["messages[0].parts[1]: audio blob"]),
        (File(modality="video", file_id="f"), None, ["messages[0].parts[1]: video file"]),
        (Other(kind="novel", dialect="openai-chat"), None, ["messages[0].parts[1]: novel"]),
        (
            ServerToolCall(name="web", server_tool_call={"type": "web_search_call"}),
            None,
            ["messages[0].parts[1]: server tool call"],
        ),
        (Text(content=" \n"), None, []),
        (
            Text(content="b", citations=[Citation(uri="https://x")]),
            {"type": "text", "text": "b"},
            ["messages[0].parts[1].citations"],
        ),
        (replace(PNG, extra={"openai-chat": {"detail": "low"}}), PNG_BLOCK, ["messages[0].parts[1].detail"]),
    ],
)
def test_parts_are_written_or_named(part: Part, block: dict[str, Any] | None, dropped: list[str]) -> None:
    """Each kind of part has its block, or its name in the list; an empty text is nothing."""
    body, named = sent(chat(user(Text(content="a"), part)))
    assert body["messages"][0]["content"] == [{"type": "text", "text": "a"}, *([block] if block else [])]
    assert named == dropped


@pytest.mark.parametrize(
    ("arguments", "written"),
    [
        (None, {}),
        ({"a": 1}, {"a": 1}),
        ([1], {"arguments": [1]}),
        ('{"a', {"arguments": '{"a'}),
        (False, {"arguments": False}),
    ],
)
def test_arguments_are_an_object(arguments: Any, written: dict[str, Any]) -> None:
    """Arguments that are no object, such as a broken call's text, are wrapped in one."""
    body, _ = sent(chat(ASK, model(ToolCall(id="c", name="f", arguments=arguments)), tool_says(id="c")))
    assert body["messages"][1]["content"][0]["input"] == written
