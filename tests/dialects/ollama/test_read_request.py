import json
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.dialects.conversation import (
    Blob,
    ChatRequest,
    Message,
    Other,
    Part,
    Reasoning,
    ResponseFormat,
    Text,
    Tool,
    ToolCall,
    ToolCallResponse,
)
from gateway.dialects.ollama import OLLAMA_CHAT, OLLAMA_EMBED, OLLAMA_GENERATE

Read = Callable[[str], bytes]

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
JPEG = "/9j/4AAQSkZJRgABAQEASABIAAD/2w=="

CHAT_REQUEST = ChatRequest(
    operation="chat",
    model="qwen3:8b",
    stream=True,
    input_messages=[
        Message(role="system", parts=[Text(content="You are a guide.")]),
        Message(
            role="user",
            parts=[Text(content="What is on this?"), Blob(modality="image", mime_type="image/png", content=PNG)],
        ),
        Message(
            role="assistant",
            parts=[
                Reasoning(content="A picture."),
                Text(content="Let me look."),
                ToolCall(id="call_1", name="zoom", arguments={"factor": 2}),
                ToolCall(id="call_given", name="palette", arguments={}),
            ],
        ),
        Message(role="tool", parts=[ToolCallResponse(id="call_given", name="palette", response="red, green")]),
        Message(role="tool", parts=[ToolCallResponse(id="call_1", name="zoom", response="a cat")]),
        Message(role="user", parts=[Text(content="And now?")]),
    ],
    parameters={
        "gen_ai.request.max_tokens": 100,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.top_p": 0.9,
        "gen_ai.request.top_k": 20,
        "gen_ai.request.seed": 42,
        "gen_ai.request.stop_sequences": ["\n\n", "user:"],
        "gen_ai.request.frequency_penalty": 1.0,
        "gen_ai.request.presence_penalty": 1.5,
        "gen_ai.request.stream": True,
        "gen_ai.request.reasoning.level": "high",
        "gen_ai.output.type": "json",
    },
    tools=[
        Tool(
            name="zoom",
            description="Look closer",
            parameters={
                "type": "object",
                "required": ["factor"],
                "properties": {"factor": {"type": "number", "description": "How close"}},
            },
        ),
        Tool(name="palette", parameters={"type": "object", "properties": {}}),
    ],
    response_format=ResponseFormat(
        type="json_schema",
        schema={"type": "object", "properties": {"animal": {"type": "string"}}, "required": ["animal"]},
    ),
    logprobs=True,
    top_logprobs=3,
    extra={
        "ollama": {
            "keep_alive": "10m",
            "truncate": False,
            "options": {"num_ctx": 8192, "min_p": 0.05, "repeat_penalty": 1.2},
        }
    },
)


def test_a_chat_is_read_whole(read: Read) -> None:
    """Every message, part, tool and option of a request is in the form; calls and results agree on ids."""
    asked = OLLAMA_CHAT.read_conversation(read("ollama_chat_request.json"), "/api/chat")
    tools = json.loads(bytes(asked.tool_definitions or b""))
    assert [tool["function"]["name"] for tool in tools] == ["zoom", "palette"]
    assert replace(asked, tool_definitions=None) == CHAT_REQUEST


def test_the_trace_invents_no_ids(read: Read) -> None:
    """For the trace a call without an id has none; all else is as in a translation."""
    asked = OLLAMA_CHAT.read_request(read("ollama_chat_request.json"))
    calls = [p for m in asked.input_messages for p in m.parts if isinstance(p, ToolCall | ToolCallResponse)]
    assert [call.id for call in calls] == [None, "call_given", "call_given", None]
    assert asked.parameters == CHAT_REQUEST.parameters
    assert (asked.tools, asked.extra, asked.response_format) == ([], {}, None)


def test_a_prompt_is_read_whole(read: Read) -> None:
    """A completion's prompt, system and images have places; the rest is Ollama's own."""
    asked = OLLAMA_GENERATE.read_conversation(read("ollama_generate_request.json"), "/api/generate")
    assert asked == ChatRequest(
        operation="text_completion",
        model="codellama:code",
        system_instructions=[Text(content="You complete code.")],
        input_messages=[
            Message(
                role="user",
                parts=[
                    Text(content="def compute_gcd(a, b):"),
                    Blob(modality="image", mime_type="image/jpeg", content=JPEG),
                ],
            )
        ],
        parameters={
            "gen_ai.request.temperature": 0.0,
            "gen_ai.request.stop_sequences": ["<EOT>"],
            "gen_ai.request.reasoning.level": "disabled",
            "gen_ai.output.type": "json",
        },
        response_format=ResponseFormat(type="json"),
        extra={
            "ollama": {
                "suffix": "    return result",
                "template": "{{ .Prompt }}",
                "context": [1, 2, 3],
                "raw": False,
                "keep_alive": 300,
                "options": {"num_predict": -1},
            }
        },
    )


@pytest.mark.parametrize(
    ("body", "texts"),
    [
        ({"model": "m", "input": ["a", "b"]}, ["a", "b"]),
        ({"model": "m", "input": "a"}, ["a"]),
        ({"model": "m", "prompt": "a"}, ["a"]),
        ({"model": "m", "input": []}, []),
        ({"model": "m"}, []),
    ],
)
def test_what_is_to_be_embedded_is_read(body: dict[str, Any], texts: list[str]) -> None:
    """One text or a list of them, and the older path's prompt; nothing is streamed."""
    parts: list[Part] = [Text(content=text) for text in texts]
    messages = [Message(role="user", parts=parts)] if parts else []
    assert OLLAMA_EMBED.read_request(json.dumps(body).encode()) == ChatRequest(
        operation="embeddings", model="m", input_messages=messages
    )


@pytest.mark.parametrize(("body", "stream"), [({}, True), ({"stream": None}, True), ({"stream": False}, False)])
@pytest.mark.parametrize("dialect", [OLLAMA_CHAT, OLLAMA_GENERATE])
def test_a_response_is_streamed_unless_it_is_declined(dialect: Any, body: dict[str, Any], stream: bool) -> None:
    """Ollama streams by default."""
    asked = dialect.read_request(json.dumps(body).encode())
    assert asked.stream is stream
    assert ("gen_ai.request.stream" in asked.parameters) is stream


@pytest.mark.parametrize(
    ("message", "read_as"),
    [
        ({"role": "User", "content": ""}, Message(role="user", parts=[])),
        ({"content": "a", "name": "ann"}, Message(role="user", name="ann", parts=[Text(content="a")])),
        (
            {"role": "user", "content": [{"type": "text"}]},
            Message(role="user", parts=[Other(kind="content", value=[{"type": "text"}], dialect="ollama")]),
        ),
        (
            {"role": "user", "images": ["AAAA", 7, ""], "novel": 1},
            Message(role="user", parts=[Blob(modality="image", content="AAAA")], extra={"ollama": {"novel": 1}}),
        ),
        (
            {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": '{"a":1}'}}, 7]},
            Message(role="assistant", parts=[ToolCall(id="c", name="f", arguments={"a": 1})]),
        ),
        (
            {"role": "tool", "name": "f", "content": "", "tool_call_id": "c"},
            Message(role="tool", parts=[ToolCallResponse(id="c", name="f", response="")]),
        ),
        (
            {"role": "tool", "content": "see", "images": ["R0lGODlh"]},
            Message(
                role="tool",
                parts=[
                    ToolCallResponse(
                        response=[
                            Text(content="see"),
                            Blob(modality="image", mime_type="image/gif", content="R0lGODlh"),
                        ]
                    )
                ],
            ),
        ),
    ],
)
def test_odd_messages_have_a_place(message: dict[str, Any], read_as: Message) -> None:
    """Other spellings are read, and an unknown field is kept as it is."""
    body = json.dumps({"messages": [message, 7]}).encode()
    assert OLLAMA_CHAT.read_request(body).input_messages == [read_as]


def test_results_find_their_calls_by_name_and_order() -> None:
    """A result without an id answers the first call of its name that waits; one without a name, the first of all."""
    calls = [{"function": {"name": name, "arguments": {}}} for name in ("f", "g", "f")]
    results = [{"role": "tool", "content": "", **names} for names in ({"tool_name": "g"}, {}, {"tool_name": "f"}, {})]
    taken = {"role": "assistant", "tool_calls": [{"id": "call_1", "function": {"name": "h", "arguments": {}}}]}
    done = {"role": "tool", "tool_call_id": "call_1", "content": ""}
    body = json.dumps({"messages": [{"role": "assistant", "tool_calls": calls}, *results, taken, done]}).encode()
    asked = OLLAMA_CHAT.read_conversation(body, "/api/chat")
    parts = [p for m in asked.input_messages for p in m.parts]
    assert [(p.id, p.name) for p in parts if isinstance(p, ToolCall | ToolCallResponse)] == [
        ("call_2", "f"),
        ("call_3", "g"),
        ("call_4", "f"),
        ("call_3", "g"),
        ("call_2", "f"),
        ("call_4", "f"),
        ("call_5", None),
        ("call_1", "h"),
        ("call_1", "h"),
    ]


def test_what_is_empty_says_nothing() -> None:
    """Clients send empty texts and nulls for what they do not set."""
    body = b'{"prompt":"","system":"","suffix":"","context":null,"format":"","options":{"num_ctx":null},"stream":false}'
    assert OLLAMA_GENERATE.read_conversation(body, "/api/generate") == ChatRequest(operation="text_completion")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b'{"messages":{},"options":7,"think":3,"format":""}'])
def test_a_request_that_says_nothing_is_an_empty_record(body: bytes) -> None:
    """An unreadable body gives the operation only."""
    asked = OLLAMA_CHAT.read_conversation(body, "")
    assert replace(asked, stream=False, parameters={}, extra={}) == ChatRequest(operation="chat")
