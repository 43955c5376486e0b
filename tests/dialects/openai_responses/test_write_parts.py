"""Parts as items of OpenAI's Responses."""

import json
from typing import Any

import pytest

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
from gateway.dialects.openai_responses import RESPONSES_WRITER
from tests.dialects.openai_responses.requests import PNG, chat, model, sent, user


@pytest.mark.parametrize(
    ("part", "content", "dropped"),
    [
        (Refusal(content="No."), [{"type": "input_text", "text": "No."}], []),
        (
            Uri(modality="image", uri="https://x/i"),
            [{"type": "input_image", "image_url": "https://x/i", "detail": "auto"}],
            [],
        ),
        (
            Blob(modality="document", mime_type="application/pdf", content="JVBERi0="),
            [
                {
                    "type": "input_file",
                    "file_data": "data:application/pdf;base64,JVBERi0=",
                    "filename": "document.pdf",
                }
            ],
            [],
        ),
        (File(modality="document", file_id="f"), [{"type": "input_file", "file_id": "f"}], []),
        (Uri(modality="video", uri="https://x/v"), None, ["messages[0].parts[0]: video uri"]),
        (Compaction(content="So far."), None, ["messages[0].parts[0]: compaction"]),
        (Other(kind="novel", dialect="gemini"), None, ["messages[0].parts[0]: novel"]),
        (
            ServerToolCall(name="web", server_tool_call={"type": "web_search", "input": {}}),
            None,
            ["messages[0].parts[0]: server tool call"],
        ),
        (
            Text(content="a", citations=[Citation(uri="u")], cache="5m"),
            [{"type": "input_text", "text": "a"}],
            [
                "cache_control",
                "messages[0].parts[0].citations",
            ],
        ),
    ],
)
def test_parts_are_written_or_named(part: Part, content: Any, dropped: list[str]) -> None:
    """Each kind of part has its place in a user's message, or its name in the list."""
    body, named = sent(chat(user(part)))
    assert [item["content"] for item in body["input"]] == ([content] if content else [])
    assert named == dropped


def test_the_models_own_turns_are_told_as_its_output() -> None:
    """Several texts and a refusal are parts of one message; an image is none of them."""
    body, dropped = (
        RESPONSES_WRITER.request(chat(model(Text(content="a"), Refusal(content="No."), PNG, name="x"))),
        None,
    )
    [item] = json.loads(body.body)["input"]
    assert item["content"] == [
        {"type": "output_text", "text": "a", "annotations": []},
        {"type": "refusal", "refusal": "No."},
    ]
    assert body.dropped == ["messages[0].name", "messages[0].parts[2]: image blob"]
    assert dropped is None
