"""Parts of the conversation as Gemini's parts."""

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
    Reasoning,
    Refusal,
    ServerToolCall,
    ServerToolCallResponse,
    Text,
    ToolCall,
    ToolCallResponse,
    Uri,
)
from tests.dialects.gemini.requests import SKIP, contents, message_of


def test_a_signature_that_came_by_way_of_openais_dialect_is_geminis_again() -> None:
    """Google's own API in OpenAI's dialect puts it beside the call, and its clients send it back so."""
    extra: Any = {"openai-chat": {"extra_content": {"google": {"thought_signature": "c2ln"}}}}
    call = ToolCall(id="c", name="f", arguments={}, extra=extra)
    (turn,), dropped = contents(message_of("assistant", call, replace(call, extra={})))
    assert [part.get("thoughtSignature") for part in turn["parts"]] == ["c2ln", None]
    assert dropped == []
    extra["openai-chat"]["more"] = 1
    _, dropped = contents(message_of("assistant", replace(call, extra=extra)))
    assert dropped == ["messages[0].parts[0].more"]
    (turn,), dropped = contents(message_of("assistant", replace(call, extra={"openai-chat": {"extra_content": 7}})))
    assert turn["parts"][0]["thoughtSignature"] == SKIP
    assert dropped == ["messages[0].parts[0].extra_content"]


@pytest.mark.parametrize(
    ("part", "written", "dropped"),
    [
        (Text(content="a", cache="default"), {"text": "a"}, ["cache"]),
        (Text(content=""), None, []),
        (Reasoning(content="", extra={"openai-responses": {"encrypted_content": "x"}}), None, ["{}.encrypted_content"]),
        (Text(content="a", citations=[Citation(uri="u")]), {"text": "a"}, ["{}.citations"]),
        (Refusal(content="no"), {"text": "no"}, ["{}: refusal"]),
        (Compaction(content="So far: tea."), {"text": "So far: tea."}, []),
        (Compaction(id="c"), None, ["{}: compaction"]),
        (
            ToolCall(id="c", name="patch", arguments="*** Begin", custom=True),
            {"functionCall": {"id": "c", "name": "patch", "args": {"input": "*** Begin"}}, "thoughtSignature": SKIP},
            [],
        ),
        (ServerToolCall(name="web_search", server_tool_call={"type": "web_search"}), None, ["{}: server tool call"]),
        (
            ServerToolCallResponse(server_tool_call_response={"type": "web_search_tool_result"}),
            None,
            ["{}: server tool call response"],
        ),
        (File(modality="document", file_id="file-1"), None, ["{}: document file"]),
        (
            File(modality="video", mime_type="video/mp4", file_id="files/f1"),
            {"fileData": {"fileUri": "files/f1", "mimeType": "video/mp4"}},
            [],
        ),
        (Other(kind="input_x", value={"a": 1}, dialect="openai-chat"), None, ["{}: input_x"]),
        (
            Blob(modality="audio", content="AAAA"),
            {"inlineData": {"mimeType": "audio/wav", "data": "AAAA"}},
            [],
        ),
        (
            Uri(modality="image", uri="https://example.com/A.JPG?x=1"),
            {"fileData": {"fileUri": "https://example.com/A.JPG?x=1", "mimeType": "image/jpeg"}},
            [],
        ),
        (Uri(modality="image", uri="https://example.com/a"), {"fileData": {"fileUri": "https://example.com/a"}}, []),
    ],
)
def test_parts_of_others_are_written_or_named(part: Part, written: Any, dropped: list[str]) -> None:
    """Each part of the form has words in Gemini's, or is named as dropped; what is empty is left out."""
    turns, names = contents(message_of("user", Text(content="hi")), message_of("assistant", part))
    assert turns[1:] == ([] if written is None else [{"role": "model", "parts": [written]}])
    assert names == [name.format("messages[1].parts[0]") for name in dropped]


@pytest.mark.parametrize(
    ("response", "written", "dropped"),
    [
        ("warm", {"output": "warm"}, []),
        ({"t": 20}, {"t": 20}, []),
        ([Other(kind="search_result", value={}), Text(content="a")], {"output": "a"}, [".parts[0]: search_result"]),
        (None, {"output": None}, []),
    ],
)
def test_results_are_objects(response: Any, written: Any, dropped: list[str]) -> None:
    """A result that is none of its own is marked as the output; a result without a call gets a name."""
    (turn,), names = contents(message_of("tool", ToolCallResponse(id="c", response=response)))
    assert turn["parts"] == [{"functionResponse": {"id": "c", "name": "c", "response": written}}]
    assert names == [f"messages[0].parts[0]{name}" for name in dropped]
