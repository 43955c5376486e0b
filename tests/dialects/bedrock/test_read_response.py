import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from gateway.dialects.bedrock import CONVERSE, model_in
from gateway.dialects.conversation import (
    Blob,
    ChatRequest,
    ChatResponse,
    Citation,
    Message,
    Other,
    Part,
    Reasoning,
    ResponseFormat,
    ServerToolCallResponse,
    Text,
    Tool,
    ToolCall,
    ToolCallResponse,
    ToolChoice,
    Uri,
    Usage,
)
from tests.dialects.botocores import checked, operation, parsed
from tests.dialects.botocores import given as shaped
from tests.dialects.strategies_bedrock import hidden, own, proven

Read = Callable[[str], bytes]
CLAUDE = "anthropic.claude-sonnet-4-5-20250929-v1:0"
PATH = "/model/anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse"


def answer(*parts: Part, finish_reason: str | None, finish_word: str | None = None) -> Message:
    """Make an output message."""
    return Message(role="assistant", parts=list(parts), finish_reason=finish_reason, finish_word=finish_word)


def full(body: dict[str, Any], path: str = PATH) -> ChatRequest:
    """Read a request for a translation."""
    return CONVERSE.read_conversation(json.dumps(body).encode(), path)


def test_a_whole_response_is_read(read: Read) -> None:
    """A response that was not streamed gives the same form."""
    assert CONVERSE.read_response(read("bedrock_whole.json")) == ChatResponse(
        finish_reasons=["tool_calls"],
        output_messages=[
            answer(
                Reasoning(content="Simple.", extra=proven("EqoBCkgIARABGAIiQ==")),
                Text(content="Paris.", citations=[Citation(uri="https://example.com", title="A page")]),
                ToolCall(id="tooluse_09", name="note", arguments={"city": "Paris"}),
                finish_reason="tool_calls",
                finish_word="tool_use",
            )
        ],
        usage=Usage(input_tokens=125, output_tokens=30, total_tokens=155, cache_read_tokens=100, cache_write_tokens=5),
        extra=own({"metrics": {"latencyMs": 1275}}),
    )


def test_a_whole_response_is_one_that_botocore_knows(read: Read) -> None:
    """Botocore reads the fixture, strictly."""
    found = parsed(read("bedrock_whole.json"))
    del found["ResponseMetadata"]
    assert found == shaped(operation(stream=False).output_shape, json.loads(read("bedrock_whole.json")))


@pytest.mark.parametrize(
    ("body", "error_type", "message"),
    [
        ({"message": "The provided model identifier is invalid."}, None, "The provided model identifier is invalid."),
        ({"Message": "Missing Authentication Token"}, None, "Missing Authentication Token"),
        ({"__type": "com.amazon.coral.service#ThrottlingException", "message": "slow"}, "ThrottlingException", "slow"),
        (
            {"__type": "com.amazon#UnrecognizedClientException:http://internal/x", "message": "m"},
            "UnrecognizedClientException",
            "m",
        ),
        ({"code": "ValidationException", "message": "m"}, "ValidationException", "m"),
        ({"message": {"a": 1}, "__type": 7}, None, None),
    ],
)
def test_an_error_body_is_read(body: dict[str, Any], error_type: str | None, message: str | None) -> None:
    """An error body gives the message, and the type where it tells it: most often a header does."""
    assert CONVERSE.read_response(json.dumps(body).encode()) == ChatResponse(
        error_type=error_type, error_message=message
    )


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b'{"output":7,"usage":[]}', b"[" * 9999])
def test_a_response_that_says_nothing_is_an_empty_record(body: bytes) -> None:
    """What cannot be read leaves nothing."""
    assert CONVERSE.read_response(body) == ChatResponse()


@pytest.mark.parametrize(
    ("told", "reason", "word"),
    [
        ("end_turn", "stop", "end_turn"),
        ("stop_sequence", "stop", "stop_sequence"),
        ("max_tokens", "length", "max_tokens"),
        ("tool_use", "tool_calls", "tool_use"),
        ("guardrail_intervened", "content_filter", "guardrail_intervened"),
        ("content_filtered", "content_filter", "content_filtered"),
        ("malformed_tool_use", "error", "malformed_tool_use"),
        ("malformed_model_output", "error", "malformed_model_output"),
        ("model_context_window_exceeded", "model_context_window_exceeded", None),
    ],
)
def test_stop_reasons_are_the_one_vocabularys(told: str, reason: str, word: str | None) -> None:
    """Converse's words become the common ones, and are kept beside them."""
    body = json.dumps({"output": {"message": {"content": []}}, "stopReason": told}).encode()
    assert CONVERSE.read_response(body) == ChatResponse(
        finish_reasons=[reason], output_messages=[answer(finish_reason=reason, finish_word=word)]
    )


def test_every_stop_reason_of_the_service_is_known() -> None:
    """The service's model has no word that the tests above do not."""
    known = operation(stream=False).output_shape.members["stopReason"].enum
    marks = test_stop_reasons_are_the_one_vocabularys.pytestmark
    assert set(known) == {case[0] for case in marks[0].args[1]}


@pytest.mark.parametrize(
    ("told", "usage"),
    [
        (
            {"inputTokens": 3, "outputTokens": 4, "totalTokens": 7},
            Usage(input_tokens=3, output_tokens=4, total_tokens=7),
        ),
        ({"totalTokens": 9}, Usage(total_tokens=9)),
        ({"inputTokens": "3", "outputTokens": None}, Usage()),
        (
            {"inputTokens": 1, "outputTokens": 2, "totalTokens": 3, "cacheReadInputTokens": 10},
            Usage(input_tokens=11, output_tokens=2, total_tokens=13, cache_read_tokens=10),
        ),
        ({}, None),
    ],
)
def test_cached_input_is_input(told: dict[str, Any], usage: Usage | None) -> None:
    """Converse's input leaves out what the cache gave and took; the conventions' has it."""
    assert CONVERSE.read_response(json.dumps({"output": {}, "usage": told}).encode()).usage == usage


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/model/amazon.nova-pro-v1%3A0/converse", ("amazon.nova-pro-v1:0", False)),
        ("/model/amazon.nova-pro-v1:0/converse-stream", ("amazon.nova-pro-v1:0", True)),
        (
            "/bedrock/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fus.a.b/converse-stream",
            ("arn:aws:bedrock:us-east-1:1:inference-profile/us.a.b", True),
        ),
        ("/model/arn:aws:bedrock:us-east-1:1:prompt/AB/converse/", ("arn:aws:bedrock:us-east-1:1:prompt/AB", False)),
        ("/model/converse/converse", ("converse", False)),
        ("/model/%E4%B8%96/converse", ("世", False)),
        ("/model/a/invoke", None),
        ("/model//converse", None),
        ("/model/converse", None),
        ("/v1/chat/completions", None),
        ("", None),
    ],
)
def test_the_model_stands_in_the_path(path: str, found: tuple[str, bool] | None) -> None:
    """The path names the model, with its escapes or without, and whether the answer is streamed."""
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
    """The rest of it is in the conversation too, and what that has no place for stands in `extra`."""
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
    ("block", "part"),
    [
        (
            {"guardContent": {"image": {"format": "png", "source": {"bytes": "AA=="}}}},
            Blob(modality="image", mime_type="image/png", content="AA==", extra=own({"guardContent": {}})),
        ),
        (
            {"guardContent": {"novel": 1}},
            Other(kind="guardContent", value={"novel": 1}, dialect="bedrock-converse"),
        ),
        (
            {"toolAddition": {"tool": {"name": "look"}}},
            Other(kind="toolAddition", value={"tool": {"name": "look"}}, dialect="bedrock-converse"),
        ),
        (
            {"cachePoint": {"type": "default"}},
            Other(kind="cachePoint", value={"type": "default"}, dialect="bedrock-converse"),
        ),
        (
            {"document": {"name": "n", "source": {"content": [{"text": "a"}]}}},
            Other(
                kind="document",
                value={"name": "n", "source": {"content": [{"text": "a"}]}},
                dialect="bedrock-converse",
            ),
        ),
        (
            {"image": {"format": "bmp", "source": {"bytes": "AA=="}, "error": {"message": "m"}}},
            Blob(modality="image", mime_type="image/bmp", content="AA==", extra=own({"error": {"message": "m"}})),
        ),
        (
            {"citationsContent": {"content": [{"text": "a"}, {"text": "b"}], "citations": []}},
            Text(content="ab"),
        ),
        (
            {
                "citationsContent": {
                    "content": [{"text": "a"}],
                    "citations": [{"sourceContent": [{"text": "q"}, {"text": "r"}], "location": {"web": {}}}],
                }
            },
            Text(
                content="a",
                citations=[
                    Citation(
                        quote="qr",
                        extra=own({"sourceContent": [{"text": "q"}, {"text": "r"}], "location": {"web": {}}}),
                    )
                ],
            ),
        ),
        (
            {"toolResult": {"toolUseId": "t", "type": "x_result", "content": [{"text": "a"}]}},
            ServerToolCallResponse(
                id="t",
                server_tool_call_response={"type": "x_result", "content": [{"text": "a"}]},
                extra=own({"type": "x_result"}),
            ),
        ),
        ({"reasoningContent": {}}, Other(kind="reasoningContent", value={}, dialect="bedrock-converse")),
        ({"text": 7}, Other(kind="text", value=7, dialect="bedrock-converse")),
        ({}, Other(kind="", value=None, dialect="bedrock-converse")),
    ],
)
def test_blocks_of_every_kind_have_a_place(block: dict[str, Any], part: Part) -> None:
    """Blocks without a word in the form are kept as they stand."""
    body = json.dumps({"messages": [{"role": "assistant", "content": [block, 7]}]}).encode()
    assert CONVERSE.read_request(body).input_messages == [Message(role="assistant", parts=[part])]


@pytest.mark.parametrize(
    ("content", "response"),
    [
        (None, ""),
        ([], ""),
        ([{"text": "one"}], "one"),
        ([{"json": {"a": 1}}], {"a": 1}),
        ([{"json": [1]}], [Other(kind="json", value=[1], dialect="bedrock-converse")]),
        (
            [{"toolResult": {"content": []}}],
            [Other(kind="toolResult", value={"content": []}, dialect="bedrock-converse")],
        ),
    ],
)
def test_a_tools_answer_is_its_text_or_its_json(content: Any, response: Any) -> None:
    """A result is a text, a JSON object, or a list of parts."""
    block = {"toolResult": {"toolUseId": "t", "content": content, "status": "success"}}
    body = json.dumps({"messages": [{"role": "user", "content": [block]}]}).encode()
    expected = Message(role="tool", parts=[ToolCallResponse(id="t", response=response)])
    assert CONVERSE.read_request(body).input_messages == [expected]


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (["text", "default", "5m"], [Text(content="text", cache="default"), "5m"]),
        (["5m", "text"], ["5m", Text(content="text")]),
        (["thought", "default"], [Reasoning(content="thought"), "default"]),
        (["text", {"type": "novel"}], [Text(content="text"), {"type": "novel"}]),
    ],
)
def test_a_cache_point_without_a_part_to_mark_is_kept(content: list[Any], parts: list[Any]) -> None:
    """A point is a mark of what stands before it; where that has one, or can have none, it stays a part."""

    def block(word: Any) -> dict[str, Any]:
        if word == "text":
            return {"text": "text"}
        if word == "thought":
            return {"reasoningContent": {"reasoningText": {"text": word}}}
        return {"cachePoint": point(word)}

    def point(word: Any) -> Any:
        ttl = {} if word == "default" else {"ttl": word}
        return word if isinstance(word, dict) else {"type": "default", **ttl}

    read = full({"system": [block(word) for word in content]}).system_instructions
    kept = [
        Other(kind="cachePoint", value=point(p), dialect="bedrock-converse") if isinstance(p, str | dict) else p
        for p in parts
    ]
    assert read == kept


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
    """What cannot be read leaves the operation only; for a translation the path is read all the same."""
    assert CONVERSE.read_request(body) == ChatRequest(operation="chat")
    asked = CONVERSE.read_conversation(body, PATH)
    assert asked == ChatRequest(operation="chat", model=CLAUDE)
