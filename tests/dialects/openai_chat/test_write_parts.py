"""Parts of a chat completion's messages."""

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
    Uri,
)
from tests.dialects.openai_chat.requests import PNG, chat, sent, user


@pytest.mark.parametrize(
    ("part", "content", "dropped"),
    [
        (Compaction(content="So far: tea."), [{"type": "text", "text": "So far: tea."}], []),
        (Refusal(content="No."), [{"type": "text", "text": "No."}], []),
        (
            Blob(modality="document", content="JVBERi0="),
            [{"type": "file", "file": {"filename": "document.pdf", "file_data": "JVBERi0="}}],
            [],
        ),
        (Compaction(), "", ["messages[0].parts[0]: compaction"]),
        (Uri(modality="document", uri="https://x/a.pdf"), "", ["messages[0].parts[0]: document uri"]),
        (File(modality="image", file_id="f"), "", ["messages[0].parts[0]: image file"]),
        (ServerToolCall(name="web", server_tool_call={}), "", ["messages[0].parts[0]: server tool call"]),
        (Other(kind="novel", dialect="gemini"), "", ["messages[0].parts[0]: novel"]),
        (Text(content="a", citations=[Citation(uri="u")]), "a", ["messages[0].parts[0].citations"]),
        (
            replace(PNG, extra={"gemini": {"mediaResolution": {}}}),
            [{"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}],
            ["messages[0].parts[0].mediaResolution"],
        ),
    ],
)
def test_parts_are_written_or_named(part: Part, content: Any, dropped: list[str]) -> None:
    """Each kind of part has its place in a user's message, or its name in the list."""
    body, named = sent(chat(user(part)))
    assert (body["messages"][0]["content"], named) == (content, dropped)
