"""Requests to Gemini, read."""

import json
from typing import Any

import pytest
from google.genai import types
from msgspec.structs import replace
from pydantic import TypeAdapter

from gateway.dialects.conversation import (
    Blob,
    ChatRequest,
    File,
    Message,
    Reasoning,
    ResponseFormat,
    ServerToolCall,
    ServerToolCallResponse,
    Text,
    Tool,
    ToolCall,
    ToolCallResponse,
    ToolChoice,
    Uri,
)
from gateway.dialects.gemini import EMBED, GEMINI, model_in
from tests.dialects.gemini.reading import OWN, Read

PATH = "/v1beta/models/gemini-3-flash:generateContent"


def full(body: Any, path: str = PATH) -> ChatRequest:
    """Read a request for a translation."""
    assert GEMINI.read_conversation is not None
    return GEMINI.read_conversation(body if isinstance(body, bytes) else json.dumps(body).encode(), path)


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("/v1beta/models/gemini-3-flash:generateContent", ("gemini-3-flash", "generateContent")),
        ("/v1/models/gemini-3-flash:streamGenerateContent", ("gemini-3-flash", "streamGenerateContent")),
        ("/gemini/v1beta/models/llama3:8b:countTokens", ("llama3:8b", "countTokens")),
        ("/v1beta/models/local/big:generateContent", ("local/big", "generateContent")),
        ("/v1beta/models/local%2Fbig:generateContent", ("local/big", "generateContent")),
        ("/v1beta/tunedModels/mine-1:generateContent", ("tunedModels/mine-1", "generateContent")),
        (
            "/v1beta1/projects/p/locations/eu/publishers/google/models/gemini-3-flash:generateContent",
            ("gemini-3-flash", "generateContent"),
        ),
        ("/v1beta1/publishers/google/models/gemini-3-flash:generateContent", ("gemini-3-flash", "generateContent")),
        ("/v1beta1/publishers/local/models/big:generateContent", ("local/big", "generateContent")),
        ("/v1/projects/p/locations/eu/endpoints/42:generateContent", ("endpoints/42", "generateContent")),
        ("/v1beta/models/llama3:8b", None),
        ("/v1beta/models", None),
        ("/v1beta/models/:generateContent", None),
        ("/v1beta/cachedContents:create", None),
        ("/v1beta/files/a:download", None),
        (":generateContent", None),
        ("", None),
    ],
)
def test_the_path_names_the_model_and_the_action(path: str, named: tuple[str, str] | None) -> None:
    """The model is in the path, with or without Vertex's prefix; a path without one gives None."""
    assert model_in(path) == named


def test_a_request_is_read_whole(read: Read) -> None:
    """Every message, part and parameter has its place; the rest is kept as it is."""
    asked = full(read("gemini_request.json"), PATH.replace("generateContent", "streamGenerateContent"))
    assert json.loads(bytes(asked.tool_definitions or b""))[1] == {"googleSearch": {}}
    assert asked == ChatRequest(
        operation="generate_content",
        model="gemini-3-flash",
        stream=True,
        system_instructions=[Text(content="You are a guide."), Text(content="Be kind.")],
        input_messages=[
            Message(
                role="user",
                parts=[
                    Text(content="What is in these?"),
                    Blob(modality="image", mime_type="image/png", content="+/8=", name="dot.png"),
                    Uri(
                        modality="video",
                        mime_type="video/mp4",
                        uri="https://www.youtube.com/watch?v=abc",
                        extra={OWN: {"videoMetadata": {"startOffset": "10s", "endOffset": "20s"}}},
                    ),
                    File(
                        modality="document",
                        mime_type="application/pdf",
                        file_id="https://generativelanguage.googleapis.com/v1beta/files/f1",
                    ),
                    Uri(modality="audio", mime_type="audio/wav", uri="gs://bucket/a.wav"),
                ],
            ),
            Message(
                role="assistant",
                parts=[
                    Reasoning(content="Looking.", extra={OWN: {"thoughtSignature": "c2lnMQ=="}}),
                    Text(content="One moment."),
                    ToolCall(
                        id="call_1",
                        name="look",
                        arguments={"zoom": 2},
                        extra={OWN: {"thoughtSignature": "c2lnMg=="}},
                    ),
                    ToolCall(id="given", name="look", arguments={}),
                    ToolCall(id="call_2", name="look", arguments={}),
                ],
            ),
            Message(
                role="tool",
                parts=[
                    ToolCallResponse(id="call_1", name="look", response="a cat"),
                    ToolCallResponse(id="given", name="look", response="out of film", is_error=True),
                    ToolCallResponse(
                        id="call_2",
                        name="look",
                        response=[
                            Text(content='{"animals":["dog"]}'),
                            Blob(modality="image", mime_type="image/jpeg", content="/9j/4A=="),
                        ],
                    ),
                ],
            ),
            Message(role="user", parts=[Text(content="And now?")]),
            Message(
                role="assistant",
                parts=[
                    ServerToolCall(
                        name="code_execution",
                        server_tool_call={"type": "code_execution", "language": "PYTHON", "code": "1"},
                    ),
                    ServerToolCallResponse(
                        server_tool_call_response={"type": "code_execution", "outcome": "OUTCOME_OK", "output": "1"}
                    ),
                ],
            ),
            Message(role="user", parts=[Text(content="Thanks.")]),
        ],
        tool_definitions=asked.tool_definitions,
        parameters={
            "gen_ai.request.max_tokens": 1024,
            "gen_ai.request.temperature": 0.5,
            "gen_ai.request.top_p": 0.9,
            "gen_ai.request.top_k": 40,
            "gen_ai.request.stop_sequences": ["END"],
            "gen_ai.request.frequency_penalty": 0.2,
            "gen_ai.request.presence_penalty": 0.1,
            "gen_ai.request.seed": 7,
            "gen_ai.request.choice.count": 2,
            "gen_ai.request.reasoning.level": "high",
            "gen_ai.request.stream": True,
            "gen_ai.output.type": "json",
        },
        tools=[
            Tool(
                name="look",
                description="Looks.",
                parameters={
                    "type": "object",
                    "properties": {
                        "at": {"type": "array", "items": {"type": "string", "enum": ["sky", "sea"]}, "maxItems": 2},
                        "zoom": {"type": ["integer", "null"], "format": "int32"},
                    },
                    "required": ["zoom"],
                },
            ),
            Tool(
                name="note",
                parameters={"type": "object", "properties": {"n": {"type": "integer"}}},
                extra={OWN: {"behavior": "NON_BLOCKING"}},
            ),
            *(
                Tool(name=each, kind="server", extra={OWN: {each: {}}})
                for each in ("googleSearch", "codeExecution", "urlContext")
            ),
        ],
        tool_choice=ToolChoice(mode="tool", name="look"),
        response_format=ResponseFormat(
            type="json_schema", schema={"type": "object", "properties": {"name": {"type": "string"}}}
        ),
        show_reasoning=True,
        logprobs=True,
        top_logprobs=3,
        extra={
            OWN: {
                "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
                "cachedContent": "cachedContents/c1",
                "labels": {"team": "maps"},
                "generationConfig": {
                    "mediaResolution": "MEDIA_RESOLUTION_LOW",
                    "speechConfig": {"languageCode": "de-DE"},
                },
                "toolConfig": {"retrievalConfig": {"languageCode": "de"}},
            }
        },
    )


def test_the_requests_of_the_fixtures_are_ones_that_the_sdk_knows(read: Read) -> None:
    """The package's types take the parts of a request, strictly."""
    request = json.loads(read("gemini_request.json"))
    TypeAdapter(list[types.Content]).validate_python(request["contents"])
    TypeAdapter(list[types.Tool]).validate_python(request["tools"])
    types.Content.model_validate(request["systemInstruction"])
    types.ToolConfig.model_validate(request["toolConfig"])
    types.GenerationConfig.model_validate(request["generationConfig"])


def test_the_trace_reads_the_same_without_what_only_a_translation_needs(read: Read) -> None:
    """For the trace, messages have no signatures and no ids that were not sent; the model is in the path."""
    body = read("gemini_request.json")
    traced, whole = GEMINI.read_request(body), full(body)
    assert traced.model is None
    assert traced.parameters == whole.parameters
    assert traced.tools == []
    assert traced.extra == {}
    parts = [part for message in traced.input_messages for part in message.parts]
    assert not any(getattr(part, "extra", None) for part in parts)
    assert [part.id for part in parts if isinstance(part, ToolCall)] == [None, "given", None]
    assert bytes(traced.tool_definitions or b"") == bytes(whole.tool_definitions or b"")


def test_snake_case_is_read_too(read: Read) -> None:
    """The API takes each field in both spellings; what is kept for the way back stays as it was spelled."""
    asked = full(read("gemini_request_snake.json"))
    assert asked.system_instructions == [Text(content="Be brief.")]
    assert asked.input_messages == [
        Message(
            role="user",
            parts=[
                Blob(modality="image", mime_type="image/png", content="AAAA"),
                Uri(
                    modality="video",
                    mime_type="video/mp4",
                    uri="gs://b/v.mp4",
                    extra={OWN: {"video_metadata": {"fps": 1}}},
                ),
            ],
        ),
        Message(
            role="assistant",
            parts=[
                ToolCall(id="call_1", name="f", arguments={"some_key": 1}, extra={OWN: {"thought_signature": "c2ln"}})
            ],
        ),
        Message(role="tool", parts=[ToolCallResponse(id="call_1", name="f", response="ok")]),
    ]
    assert asked.parameters == {
        "gen_ai.request.max_tokens": 5,
        "gen_ai.request.top_k": 1,
        "gen_ai.request.stop_sequences": ["x"],
        "gen_ai.output.type": "json",
    }
    assert asked.tools == [
        Tool(name="f", parameters={"type": "object"}),
        Tool(name="googleSearch", kind="server", extra={OWN: {"google_search": {"exclude_domains": ["example.com"]}}}),
    ]
    assert asked.tool_choice == ToolChoice(
        mode="required", allowed=["f", "g"], extra={OWN: {"allowed_function_names": ["f", "g"]}}
    )
    assert asked.response_format == ResponseFormat(type="json_schema", schema={"type": "object"})
    assert (asked.reasoning_budget, asked.show_reasoning) == (128, False)
    assert asked.extra == {OWN: {"safety_settings": []}}


@pytest.mark.parametrize(
    ("config", "choice"),
    [
        ({"mode": "AUTO"}, ToolChoice(mode="auto")),
        ({"mode": "none"}, ToolChoice(mode="none")),
        ({"mode": "ANY"}, ToolChoice(mode="required")),
        ({"mode": "ANY", "allowedFunctionNames": ["a"]}, ToolChoice(mode="tool", name="a")),
        (
            {"mode": "ANY", "allowedFunctionNames": ["a", "b"]},
            ToolChoice(mode="required", allowed=["a", "b"], extra={OWN: {"allowedFunctionNames": ["a", "b"]}}),
        ),
        ({"mode": "VALIDATED"}, ToolChoice(mode="auto", extra={OWN: {"mode": "VALIDATED"}})),
        ({"mode": "MODE_UNSPECIFIED"}, ToolChoice(mode="auto", extra={OWN: {"mode": "MODE_UNSPECIFIED"}})),
        ({"mode": 7}, ToolChoice(mode="auto", extra={OWN: {"mode": 7}})),
        ({}, None),
        (None, None),
    ],
)
def test_whether_functions_are_called_is_read(config: Any, choice: ToolChoice | None) -> None:
    """Each mode has its word; what the form has no word for is kept."""
    assert full({"toolConfig": {"functionCallingConfig": config}}).tool_choice == choice


@pytest.mark.parametrize(
    ("config", "form", "output"),
    [
        ({"responseMimeType": "text/plain"}, ResponseFormat(type="text"), "text"),
        ({"responseMimeType": "application/json"}, ResponseFormat(type="json"), "json"),
        ({"responseModalities": ["TEXT", "IMAGE"]}, None, "image"),
        ({"responseModalities": ["AUDIO"]}, None, "speech"),
        ({"responseMimeType": "text/x.enum", "responseSchema": {"type": "STRING", "enum": ["a"]}}, None, None),
        ({"responseMimeType": 7, "responseModalities": "AUDIO"}, None, None),
    ],
)
def test_the_form_of_the_answer_is_read(config: Any, form: ResponseFormat | None, output: str | None) -> None:
    """A form that others know has its word; one of Gemini's own is kept for the way back."""
    asked = full({"generationConfig": config})
    assert asked.response_format == form
    assert asked.parameters.get("gen_ai.output.type") == output
    kept = asked.extra.get(OWN, {}).get("generationConfig", {})
    assert kept == ({} if form is not None else config)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b'{"contents":7,"generationConfig":[],"tools":{}}'])
def test_a_request_that_says_nothing_is_an_empty_record(body: bytes) -> None:
    """An unreadable body gives the operation, and the values in the path."""
    assert replace(GEMINI.read_request(body), tool_definitions=None) == ChatRequest(operation="generate_content")
    expected = ChatRequest(operation="generate_content", model="gemini-3-flash")
    assert replace(full(body), tool_definitions=None) == expected


@pytest.mark.parametrize(
    "body",
    [
        {"content": {"parts": [{"text": "hi"}]}, "outputDimensionality": 256},
        {"requests": [{"model": "models/g", "content": {"parts": [{"text": "hi"}]}, "outputDimensionality": 256}]},
        {"content": {"parts": [{"text": "hi"}]}, "embedContentConfig": {"outputDimensionality": 256}},
    ],
)
def test_texts_to_embed_are_turns(body: dict[str, Any]) -> None:
    """One, or those of a batch, with the size of their vectors."""
    read = EMBED.read_request(json.dumps(body).encode())
    assert [m.parts for m in read.input_messages] == [[Text(content="hi")]]
    assert read.parameters == {"gen_ai.embeddings.dimension.count": 256}


@pytest.mark.parametrize("body", [b"", b"[]", b'{"requests":[]}', b'{"requests":3,"content":"x"}', b"\xff"])
def test_a_request_to_embed_is_read_without_an_error(body: bytes) -> None:
    """Whatever it is."""
    assert EMBED.read_request(body).operation == "embeddings"


def test_a_lone_object_counts_as_a_list_of_one() -> None:
    """As it does for Google: of tools, declarations, contents and parts."""
    asked = full({"contents": {"parts": {"text": "hi"}}, "tools": {"functionDeclarations": {"name": "look_up"}}})
    assert [tool.name for tool in asked.tools] == ["look_up"]
    assert asked.input_messages == [Message(role="user", parts=[Text(content="hi")])]
