"""Requests to Converse, read."""

import json
from typing import Any

import msgspec
import pytest

from gateway.dialects.bedrock import CONVERSE, model_in
from gateway.dialects.conversation import (
    Blob,
    ChatRequest,
    Message,
    Other,
    Reasoning,
    ResponseFormat,
    Text,
    Tool,
    ToolCall,
    ToolCallResponse,
    ToolChoice,
    Uri,
)
from tests.dialects.bedrock.parts import PATH, full
from tests.dialects.bedrock.reading import Read
from tests.dialects.botocores import checked
from tests.dialects.strategies_bedrock import hidden, own, proven

CLAUDE = "anthropic.claude-sonnet-4-5-20250929-v1:0"


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/model/amazon.nova-pro-v1%3A0/converse", ("amazon.nova-pro-v1:0", "converse")),
        ("/model/amazon.nova-pro-v1:0/converse-stream", ("amazon.nova-pro-v1:0", "converse-stream")),
        (
            "/bedrock/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fus.a.b/converse-stream",
            ("arn:aws:bedrock:us-east-1:1:inference-profile/us.a.b", "converse-stream"),
        ),
        (
            "/model/arn:aws:bedrock:us-east-1:1:prompt/AB/converse/",
            ("arn:aws:bedrock:us-east-1:1:prompt/AB", "converse"),
        ),
        ("/model/converse/converse", ("converse", "converse")),
        ("/model/%E4%B8%96/converse", ("世", "converse")),
        ("/model/a/invoke", ("a", "invoke")),
        ("/aws-bedrock/model/a%2Fb/invoke-with-response-stream", ("a/b", "invoke-with-response-stream")),
        ("/model/a/async-invoke", None),
        ("/model//converse", None),
        ("/model/converse", None),
        ("/v1/chat/completions", None),
        ("", None),
    ],
)
def test_the_model_stands_in_the_path(path: str, found: tuple[str, str] | None) -> None:
    """The path names the model, with its escapes or without, and the operation."""
    assert model_in(path) == found


MESSAGES = [
    Message(role="user", parts=[Text(content="Hello", cache="1h")]),
    Message(
        role="assistant",
        parts=[
            Reasoning(content="They greet.", extra=proven("c2ln")),
            Reasoning(content="", extra=hidden("cmVk")),
            Text(content="Hi."),
            ToolCall(id="tooluse_01", name="look", arguments={"zoom": 2}),
            ToolCall(id="tooluse_02", name="look", arguments={}),
            ToolCall(id="tooluse_03", name="look", arguments={}),
        ],
    ),
    Message(
        role="tool",
        parts=[
            ToolCallResponse(
                id="tooluse_01",
                response=[Text(content="a cat"), Blob(modality="image", mime_type="image/jpeg", content="/9j/4A==")],
            ),
            ToolCallResponse(id="tooluse_02", response="out of film", is_error=True),
            ToolCallResponse(id="tooluse_03", response={"seen": ["a", "dog"]}),
        ],
    ),
    Message(
        role="user",
        parts=[
            Text(content="And these?"),
            Uri(
                modality="image",
                mime_type="image/png",
                uri="s3://my-bucket/dog.png",
                extra=own({"bucketOwner": "123456789012"}),
            ),
            Blob(
                modality="document",
                mime_type="application/pdf",
                content="JVBERi0=",
                name="report",
                extra=own({"citations": {"enabled": True}}),
            ),
            Text(content="plain words", extra=own({"document": {"format": "txt", "name": "notes"}})),
            Uri(modality="video", mime_type="video/3gpp", uri="s3://my-bucket/clip"),
            Blob(modality="audio", mime_type="audio/mpeg", content="SUQz"),
            Other(
                kind="searchResult",
                value={"source": "https://example.com", "title": "A page", "content": [{"text": "words"}]},
                dialect="bedrock-converse",
            ),
        ],
    ),
]


PARAMETERS = {
    "gen_ai.request.max_tokens": 1024,
    "gen_ai.request.temperature": 1.0,
    "gen_ai.request.top_p": 0.5,
    "gen_ai.request.top_k": 40,
    "gen_ai.request.stop_sequences": ["END", "STOP"],
    "gen_ai.request.reasoning.level": "enabled",
    "gen_ai.output.type": "json",
}


def test_a_request_is_read_for_the_trace(read: Read) -> None:
    """Every message, part and parameter is in the record; the model and the stream stand in the path."""
    asked = CONVERSE.read_request(read("bedrock_request.json"))
    tools = json.loads(bytes(asked.tool_definitions or b""))
    assert tools == json.loads(read("bedrock_request.json"))["toolConfig"]["tools"]
    assert asked == ChatRequest(
        operation="chat",
        system_instructions=[
            Text(content="You are a guide.", cache="default"),
            Text(content="Be kind.", extra=own({"guardContent": {"qualifiers": ["guard_content"]}})),
        ],
        input_messages=MESSAGES,
        tool_definitions=asked.tool_definitions,
        parameters=PARAMETERS,
    )


def test_a_request_is_read_for_a_translation(read: Read) -> None:
    """The rest of it is in the conversation too, and fields that it has no place for are in `extra`."""
    body = read("bedrock_request.json")
    asked = full(json.loads(body), PATH + "-stream")
    trace = CONVERSE.read_request(body)
    assert asked == msgspec.structs.replace(
        trace,
        tool_definitions=asked.tool_definitions,
        model=CLAUDE,
        stream=True,
        parameters={**PARAMETERS, "gen_ai.request.stream": True},
        tools=[
            Tool(name="look", description="Looks.", parameters={"type": "object"}, strict=True, cache="default"),
            Tool(name="nova_grounding", kind="server", extra=own({"systemTool": {"name": "nova_grounding"}})),
        ],
        tool_choice=ToolChoice(mode="tool", name="look"),
        response_format=ResponseFormat(type="json_schema", name="answer", schema={"type": "object"}),
        reasoning_budget=2048,
        metadata={"team": "tea"},
        extra=own(
            {
                "guardrailConfig": {"guardrailIdentifier": "g1", "guardrailVersion": "1"},
                "additionalModelRequestFields": {"anthropic_beta": ["some-beta"]},
            }
        ),
    )


def test_the_request_is_one_that_botocore_sends(read: Read) -> None:
    """The fixture keeps to the service's model."""
    body = json.loads(read("bedrock_request.json"))
    sent = checked(body, CLAUDE, stream=False)
    assert sent["url_path"] == PATH
    assert json.loads(sent["body"]) == body


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        ({"outputConfig": {"effort": "high"}}, {"gen_ai.request.reasoning.level": "high"}),
        (
            {"outputConfig": {"effort": "max"}, "additionalModelRequestFields": {"thinking": {"type": "adaptive"}}},
            {"gen_ai.request.reasoning.level": "max"},
        ),
        (
            {"additionalModelRequestFields": {"reasoning_config": {"type": "enabled"}}},
            {"gen_ai.request.reasoning.level": "enabled"},
        ),
        ({"additionalModelRequestFields": {"reasoning_effort": "low"}}, {"gen_ai.request.reasoning.level": "low"}),
        (
            {"additionalModelRequestFields": {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}}},
            {"gen_ai.request.reasoning.level": "low"},
        ),
        (
            {"additionalModelRequestFields": {"reasoningConfig": {"type": "disabled"}}},
            {"gen_ai.request.reasoning.level": "disabled"},
        ),
        ({"additionalModelRequestFields": {"inferenceConfig": {"topK": 3}}}, {"gen_ai.request.top_k": 3}),
        ({"additionalModelRequestFields": {"k": 4}}, {"gen_ai.request.top_k": 4}),
        ({"additionalModelRequestFields": [], "inferenceConfig": 7, "outputConfig": None, "toolConfig": 7}, {}),
    ],
)
def test_thinking_and_top_k_become_parameters(body: dict[str, Any], kept: dict[str, Any]) -> None:
    """Each family's own words for how to think are read."""
    assert CONVERSE.read_request(json.dumps(body).encode()).parameters == kept


@pytest.mark.parametrize(
    ("body", "extra"),
    [
        (
            {"additionalModelRequestFields": {"reasoning_config": {"type": "enabled", "budget_tokens": 1024, "x": 1}}},
            {"additionalModelRequestFields": {"thinking": {"x": 1}}},
        ),
        ({"inferenceConfig": {"maxTokens": 1, "novel": 2}}, {"inferenceConfig": {"novel": 2}}),
        ({"toolConfig": {"tools": [], "novel": 2}}, {"toolConfig": {"novel": 2}}),
        ({"outputConfig": {"effort": "novel"}}, {"outputConfig": {"effort": "novel"}}),
        ({"novel": 1, "serviceTier": None}, {"novel": 1}),
    ],
)
def test_what_the_form_has_no_place_for_is_kept(body: dict[str, Any], extra: dict[str, Any]) -> None:
    """Unknown fields stand in this dialect's `extra`, without those that were understood."""
    assert full(body).extra == own(extra)


@pytest.mark.parametrize(
    ("choice", "read"),
    [
        ({"auto": {}}, ToolChoice(mode="auto")),
        ({"any": {}}, ToolChoice(mode="required")),
        ({"tool": {"name": "look"}}, ToolChoice(mode="tool", name="look")),
        ({"novel": {}}, ToolChoice(mode="auto", extra=own({"novel": {}}))),
        ({}, None),
        (7, None),
    ],
)
def test_tool_choices_are_read(choice: Any, read: ToolChoice | None) -> None:
    """Whether tools are called, and which."""
    assert full({"toolConfig": {"tools": [], "toolChoice": choice}}).tool_choice == read


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b'{"messages":{},"system":7,"toolConfig":[]}'])
def test_a_request_that_says_nothing_is_an_empty_record(body: bytes) -> None:
    """An unreadable body gives the operation only; for a translation the path is read all the same."""
    assert CONVERSE.read_request(body) == ChatRequest(operation="chat")
    asked = CONVERSE.read_conversation(body, PATH)
    assert asked == ChatRequest(operation="chat", model=CLAUDE)
