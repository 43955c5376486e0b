import json
from collections.abc import Callable
from typing import Any

import pytest

from gateway.dialects.conversation import (
    Blob,
    ChatRequest,
    File,
    Message,
    Other,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolCallResponse,
    Uri,
)
from gateway.dialects.openai_chat import CHAT_COMPLETIONS, COMPLETIONS, EMBEDDINGS

Read = Callable[[str], bytes]


def test_a_request_is_read_whole(read: Read) -> None:
    """Every message, part and parameter of a chat request is in the record."""
    asked = CHAT_COMPLETIONS.read_request(read("chat_request.json"))
    tools = json.loads(bytes(asked.tool_definitions or b""))
    assert tools == [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
    expected = ChatRequest(
        operation="chat",
        model="gpt-5.4",
        stream=True,
        input_messages=[
            Message(role="developer", parts=[Text(content="Be terse.")]),
            Message(
                role="user",
                name="ada",
                parts=[
                    Text(content="What is this?"),
                    Uri(
                        modality="image",
                        uri="https://example.com/cat.png",
                        extra={"openai-chat": {"detail": "low"}},
                    ),
                    Blob(modality="image", mime_type="image/png", content="iVBORw0KGgo="),
                    Blob(modality="audio", mime_type="audio/wav", content="UklGRg=="),
                    File(modality="document", file_id="file-abc"),
                    Blob(modality="document", mime_type="application/pdf", content="JVBERi0=", name="a.pdf"),
                ],
            ),
            Message(
                role="assistant",
                parts=[
                    ToolCall(id="call_1", name="look", arguments={"zoom": 2}),
                    ToolCall(id="call_2", name="look", arguments='{"zoom": '),
                ],
            ),
            Message(role="tool", parts=[ToolCallResponse(id="call_1", response="a cat")]),
            Message(role="tool", parts=[ToolCallResponse(id="call_2", response="a dog")]),
            Message(role="assistant", parts=[Refusal(content="No.")]),
            Message(role="user", parts=[Text(content="Why?")]),
        ],
        tool_definitions=asked.tool_definitions,
        parameters={
            "gen_ai.request.max_tokens": 100,
            "gen_ai.request.temperature": 0.0,
            "gen_ai.request.top_p": 0.9,
            "gen_ai.request.stop_sequences": ["END"],
            "gen_ai.request.frequency_penalty": 0.5,
            "gen_ai.request.presence_penalty": -0.5,
            "gen_ai.request.seed": 42,
            "gen_ai.request.choice.count": 2,
            "gen_ai.request.stream": True,
            "gen_ai.request.reasoning.level": "low",
            "gen_ai.output.type": "json",
        },
        user="user-1",
    )
    assert expected == asked


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        ({"n": 1, "stream": False, "temperature": None}, {}),
        ({"max_tokens": 5}, {"gen_ai.request.max_tokens": 5}),
        ({"max_tokens": "5", "temperature": "hot", "stop": [], "seed": True, "top_p": []}, {}),
        ({"stop": ["a", 7, "b"]}, {"gen_ai.request.stop_sequences": ["a", "b"]}),
        ({"seed": 2**70, "max_tokens": 3.0}, {"gen_ai.request.max_tokens": 3}),
        ({"response_format": {"type": "text"}}, {"gen_ai.output.type": "text"}),
        ({"modalities": ["text", "audio"]}, {"gen_ai.output.type": "speech"}),
        ({"reasoning": {"effort": "high"}}, {"gen_ai.request.reasoning.level": "high"}),
    ],
)
def test_only_parameters_of_the_right_type_are_kept(body: dict[str, Any], kept: dict[str, Any]) -> None:
    """A value that a span could not hold is left out; the provider will report it as wrong."""
    assert kept == CHAT_COMPLETIONS.read_request(json.dumps(body).encode()).parameters


@pytest.mark.parametrize(
    ("part", "read_as"),
    [
        ({"type": "video_url", "video_url": {"url": "https://x/v"}}, Uri(modality="video", uri="https://x/v")),
        ({"type": "image_url", "image_url": "https://x/i"}, Uri(modality="image", uri="https://x/i")),
        (
            {"type": "image_url", "image_url": {}},
            Other(kind="image_url", value={"image_url": {}}, dialect="openai-chat"),
        ),
        ({"type": "file", "file": {"file_data": "AAA="}}, Blob(modality="document", content="AAA=")),
        ({"type": "file", "file": None}, Other(kind="file")),
        ({"type": "input_audio"}, Other(kind="input_audio")),
        (
            {"type": "novel", "x": 1, "cache_control": {}},
            Other(kind="novel", value={"x": 1}, dialect="openai-chat", cache="default"),
        ),
        ({"text": "no type"}, Other(kind="", value={"text": "no type"}, dialect="openai-chat")),
    ],
)
def test_parts_of_every_kind_have_a_place(part: dict[str, Any], read_as: Part) -> None:
    """A part without a word in the schema is kept as it is."""
    body = json.dumps({"messages": [{"role": "user", "content": [part, "stray"]}]}).encode()
    assert [Message(role="user", parts=[read_as])] == CHAT_COMPLETIONS.read_request(body).input_messages


def test_an_answer_sent_back_is_read() -> None:
    """Reasoning, the older function calls and audio by its id are read from earlier turns."""
    messages = [
        {"role": "assistant", "reasoning_content": "Hm.", "content": "Yes.", "audio": {"id": "audio_1"}},
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "done"},
    ]
    expected = [
        Message(
            role="assistant",
            parts=[
                Reasoning(content="Hm."),
                Text(content="Yes."),
                File(modality="audio", file_id="audio_1"),
            ],
        ),
        Message(role="assistant", parts=[ToolCall(name="f", arguments={})]),
        Message(role="tool", parts=[ToolCallResponse(name="f", response="done")]),
    ]
    body = json.dumps({"messages": messages}).encode()
    assert expected == CHAT_COMPLETIONS.read_request(body).input_messages


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        (b'{"tools":[ 1 ]}', b"[ 1 ]"),
        (b'{"tools":null,"functions":[2]}', b"[2]"),
        (b'{"tools":null}', None),
        ('{"tools":["é"]}'.encode(), '["é"]'.encode()),
        (b'{"tools":["\xff"]}', '["\ufffd"]'.encode()),
        (rb'{"tools":["\ud83d"]}', b'["?"]'),
    ],
)
def test_tool_definitions_stay_as_they_stand(body: bytes, kept: bytes | None) -> None:
    """They are copied byte for byte, unless that would break the JSON they are put into."""
    definitions = CHAT_COMPLETIONS.read_request(body).tool_definitions
    assert kept == (None if definitions is None else bytes(definitions))


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff", b'{"messages":7,"model":[]}', b"[" * 9999])
def test_a_request_that_says_nothing_is_an_empty_record(body: bytes) -> None:
    """An unreadable body gives the operation only."""
    assert ChatRequest(operation="chat") == CHAT_COMPLETIONS.read_request(body)
    assert ChatRequest(operation="embeddings") == EMBEDDINGS.read_request(body)
    assert ChatRequest(operation="text_completion") == COMPLETIONS.read_request(body)


@pytest.mark.parametrize(
    ("given", "parts"),
    [
        ("a", [Text(content="a")]),
        (["a", "b"], [Text(content="a"), Text(content="b")]),
        ([1, 2], [Other(kind="tokens", value=[1, 2])]),
        ([[1], [2]], [Other(kind="tokens", value=[1]), Other(kind="tokens", value=[2])]),
    ],
)
def test_prompts_and_embedding_inputs_are_user_messages(given: Any, parts: list[Part]) -> None:
    """A text, several, or the same in tokens, for completions and embeddings alike."""
    body = json.dumps({"model": "m", "prompt": given, "input": given, "user": "u", "dimensions": 8}).encode()
    expected = ChatRequest(
        operation="embeddings",
        model="m",
        input_messages=[Message(role="user", parts=parts)],
        parameters={"gen_ai.embeddings.dimension.count": 8},
        user="u",
    )
    assert expected == EMBEDDINGS.read_request(body)
    assert expected.input_messages == COMPLETIONS.read_request(body).input_messages
