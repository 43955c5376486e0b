import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.dialects.bedrock import CONVERSE, CONVERSE_WRITER
from gateway.dialects.conversation import (
    Blob,
    ChatRequest,
    ChatResponse,
    Citation,
    Compaction,
    File,
    Message,
    Other,
    Part,
    Reasoning,
    Refusal,
    ResponseFormat,
    ServerToolCall,
    ServerToolCallResponse,
    Text,
    TokenLogprob,
    Tool,
    ToolCall,
    ToolCallResponse,
    ToolChoice,
    Uri,
)
from gateway.dialects.events import synthesize
from tests.dialects import strategies_bedrock as drawn
from tests.dialects.bedrock.requests import ASKED, HI, LOOK, assistant, sent, user
from tests.dialects.botocores import checked, operation, parsed, streamed
from tests.dialects.botocores import given as shaped

NOW = 1_795_162_800.0


@given(drawn.conversations())
def test_a_request_says_all_that_the_dialect_can_say(asked: ChatRequest) -> None:
    """A written value is read back the same, and nothing is lost."""
    written = CONVERSE_WRITER.request(asked)
    read = CONVERSE.read_conversation(written.body, written.path)
    assert replace(read, tool_definitions=None) == asked
    assert written.dropped == []


@given(drawn.answers())
def test_a_response_says_all_that_the_dialect_can_say(answered: ChatResponse) -> None:
    """A written value is read back the same, and nothing is lost."""
    body, dropped = CONVERSE_WRITER.response(answered, ASKED, NOW)
    assert CONVERSE.read_response(body) == answered
    assert dropped == []


@given(drawn.answers(), st.lists(st.integers(0, 5000)))
def test_a_stream_says_all_that_the_dialect_can_say(answered: ChatResponse, cuts: list[int]) -> None:
    """The same of a stream, however it is cut; and what its reader tells is what it keeps."""
    writer = CONVERSE_WRITER.stream(ASKED, NOW)
    data = b"".join([writer.write(event) for event in synthesize(answered)])
    reader = CONVERSE.stream_reader()
    reader.events = []
    bounds = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for a, b in pairwise(bounds):
        reader.feed(data[a:b])
    assert reader.response() == answered
    assert reader.ended
    assert reader.unread == 0
    assert drawn.folded(reader.events) == answered.output_messages
    assert writer.dropped == []


@given(drawn.conversations())
def test_a_request_is_one_that_botocore_takes(asked: ChatRequest) -> None:
    """Each body keeps to the service's model, and botocore would send the same to the same path."""
    written = CONVERSE_WRITER.request(asked)
    body = json.loads(written.body)
    sent = checked(body, asked.model or "", stream=asked.stream)
    assert sent["url_path"] == written.path
    assert json.loads(sent["body"]) == body


@given(drawn.answers())
def test_a_response_is_one_that_botocore_reads(answered: ChatResponse) -> None:
    """Botocore finds in a response the fields of the service's model, nothing missing and nothing else."""
    body, _ = CONVERSE_WRITER.response(answered, ASKED, NOW)
    shape = operation(stream=False).output_shape
    found = parsed(body)
    del found["ResponseMetadata"]
    assert found == shaped(shape, json.loads(body))


@given(drawn.answers())
def test_a_stream_is_one_that_botocore_reads(answered: ChatResponse) -> None:
    """Botocore reads every event of a stream, and each agrees with the service's model."""
    writer = CONVERSE_WRITER.stream(ASKED, NOW)
    events = streamed(*[writer.write(event) for event in synthesize(answered)])
    kinds = [next(iter(event)) for event in events]
    assert [kinds[0], *kinds[-2:]] == ["messageStart", "messageStop", "metadata"]
    started = [e["contentBlockStart"]["contentBlockIndex"] for e in events if "contentBlockStart" in e]
    stopped = [e["contentBlockStop"]["contentBlockIndex"] for e in events if "contentBlockStop" in e]
    assert stopped == list(range(len(answered.output_messages[0].parts)))
    assert started == sorted(set(started))


SPEC = {"toolSpec": {"name": "look", "inputSchema": {"json": {"type": "object"}}}}


@pytest.mark.parametrize(
    ("model", "stream", "path"),
    [
        ("amazon.nova-pro-v1:0", False, "/model/amazon.nova-pro-v1%3A0/converse"),
        ("amazon.nova-pro-v1:0", True, "/model/amazon.nova-pro-v1%3A0/converse-stream"),
        (
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.a-b.c",
            False,
            "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ainference-profile%2Fus.a-b.c/converse",
        ),
    ],
)
def test_the_path_names_the_model(model: str, stream: bool, path: str) -> None:
    """The model is in the path, each of its characters that is not plain escaped."""
    written = CONVERSE_WRITER.request(ChatRequest(operation="chat", model=model, stream=stream))
    assert (written.path, written.query) == (path, "")


def test_calls_without_ids_get_them() -> None:
    """A made-up id is the same at the call and at its result, which is found by its tool or by its turn."""
    body, _ = sent(
        assistant(ToolCall(name="a", arguments={}), ToolCall(name="b", arguments={}), ToolCall(id="x", name="a")),
        Message(role="tool", parts=[ToolCallResponse(name="b", response="B"), ToolCallResponse(response="A")]),
        Message(role="tool", parts=[ToolCallResponse(id="x", response="X"), ToolCallResponse(response="?")]),
    )
    assert [block["toolUse"]["toolUseId"] for block in body["messages"][0]["content"]] == ["call_1", "call_2", "x"]
    results = [block["toolResult"] for block in body["messages"][1]["content"]]
    assert [(r["toolUseId"], r["content"][0]["text"]) for r in results] == [
        ("call_2", "B"),
        ("call_1", "A"),
        ("x", "X"),
        ("call_3", "?"),
    ]


def test_ids_are_made_to_fit() -> None:
    """An id with characters that Converse refuses, or too long, is another one, the same at call and result."""
    for number in ("fc|1/ü", "y" * 100):
        body, _ = sent(
            assistant(ToolCall(id=number, name="a", arguments={})),
            Message(role="tool", parts=[ToolCallResponse(id=number, response="r")]),
        )
        call, result = (turn["content"][0] for turn in body["messages"])
        assert call["toolUse"]["toolUseId"] == result["toolResult"]["toolUseId"]


@pytest.mark.parametrize(
    ("part", "lost"),
    [
        (Uri(modality="image", uri="https://example.com/a.png"), "parts[1]: image uri"),
        (File(modality="document", file_id="f1"), "parts[1]: document file"),
        (Blob(modality="image", mime_type="image/tiff", content="AA=="), "parts[1]: image blob"),
        (Blob(modality="document", mime_type="application/zip", content="AA=="), "parts[1]: document blob"),
        (Blob(modality="image", mime_type="image/png", content="AA==", name="n"), "parts[1].name"),
        (Text(content="a", extra={"openai-chat": {"x": 1}}), "parts[1].x"),
        (Text(content="a", cache="24h"), "parts[1].cache: 24h"),
        (Text(content="", cache="5m"), "parts[1].cache"),
        (Text(content="a", citations=[Citation(uri="u", start=1, extra={"x": {"y": 1}})]), "parts[1].citations.y"),
        (Text(content="a", logprobs=[TokenLogprob(token="a", logprob=-1.0)]), "parts[1].logprobs"),
        (Refusal(content="no"), "parts[1]: refusal"),
        (Refusal(content=""), "parts[1]: refusal"),
        (Compaction(content="so far"), "parts[1]: compaction"),
        (Compaction(), "parts[1]: compaction"),
        (ServerToolCall(name="web_search", server_tool_call={}), "parts[1]: server tool call"),
        (ServerToolCallResponse(server_tool_call_response={}), "parts[1]: server tool call response"),
        (Other(kind="novel", value=1), "parts[1]: novel"),
        (Reasoning(content="unproven"), "parts[1]: reasoning"),
        (Reasoning(content="a", extra={"gemini": {"thoughtSignature": "s"}}), "parts[1].thoughtSignature"),
    ],
)
def test_what_cannot_be_said_is_named(part: Part, lost: str) -> None:
    """Each part that Converse has no word for is in the list, by its path."""
    _, dropped = sent(user(HI, part))
    assert f"messages[0].{lost}" in dropped


@pytest.mark.parametrize(
    ("more", "lost"),
    [
        ({"parameters": {"gen_ai.request.seed": 1}}, ["seed"]),
        ({"parameters": {"gen_ai.request.choice.count": 2}}, ["choice.count"]),
        ({"parameters": {"gen_ai.request.frequency_penalty": 1.0}}, ["frequency_penalty"]),
        ({"parameters": {"gen_ai.request.temperature": 1.5}}, ["temperature: over 1"]),
        ({"parameters": {"gen_ai.output.type": "speech"}}, ["output_type: speech"]),
        ({"parallel_tool_calls": False}, ["parallel_tool_calls"]),
        ({"parallel_tool_calls": True}, []),
        ({"logprobs": True, "top_logprobs": 2}, ["logprobs", "top_logprobs"]),
        ({"user": "u"}, ["user"]),
        ({"conversation_id": "c"}, ["conversation"]),
        ({"response_format": ResponseFormat(type="json")}, ["response_format: json"]),
        ({"response_format": ResponseFormat(type="text")}, []),
        ({"response_format": ResponseFormat(type="json_schema", schema={}, strict=False)}, ["response_format.strict"]),
        ({"response_format": ResponseFormat(type="json_schema", schema={}, strict=True)}, []),
        ({"metadata": {"a": "ü", "": "x", "k": "v"}}, ["metadata.a", "metadata."]),
        ({"extra": {"openai-chat": {"logit_bias": {}}}}, ["logit_bias"]),
        ({"tools": [Tool(name="web_search", kind="server", extra={"anthropic-messages": {}})]}, ["tools.web_search"]),
        ({"tools": [Tool(name="f", extra={"anthropic-messages": {"x": 1}})]}, ["tools.f.x"]),
        ({"tools": [LOOK], "tool_choice": ToolChoice(mode="auto", extra={"a": {"b": 1}})}, ["tool_choice.b"]),
    ],
)
def test_what_else_cannot_be_said_is_named(more: dict[str, Any], lost: list[str]) -> None:
    """The same of parameters, tools and fields of other dialects."""
    assert sent(user(HI), **more)[1] == lost


def test_only_so_much_metadata_is_told() -> None:
    """Converse takes sixteen pairs."""
    body, dropped = sent(user(HI), metadata={f"k{i}": "v" for i in range(18)})
    assert len(body["requestMetadata"]) == 16
    assert dropped == ["metadata.k16", "metadata.k17"]


CALLED = [assistant(ToolCall(id="1", name="look", arguments={}))]


@pytest.mark.parametrize(
    ("messages", "more", "config"),
    [
        ([], {"tools": [LOOK]}, {"tools": [SPEC]}),
        (
            [],
            {"tools": [Tool(name="f")]},
            {"tools": [{"toolSpec": {"name": "f", "inputSchema": {"json": {"type": "object", "properties": {}}}}}]},
        ),
        ([], {"tools": [LOOK], "tool_choice": ToolChoice(mode="auto")}, {"tools": [SPEC], "toolChoice": {"auto": {}}}),
        (
            [],
            {"tools": [LOOK], "tool_choice": ToolChoice(mode="required")},
            {"tools": [SPEC], "toolChoice": {"any": {}}},
        ),
        ([], {"tools": [LOOK], "tool_choice": ToolChoice(mode="none")}, None),
        (CALLED, {"tools": [LOOK], "tool_choice": ToolChoice(mode="none")}, {"tools": [SPEC]}),
        ([], {"tool_choice": ToolChoice(mode="auto")}, None),
    ],
)
def test_tools_are_told_as_they_may_be_used(messages: list[Message], more: dict[str, Any], config: Any) -> None:
    """Converse cannot forbid tools: they are left out, or stay where some were used."""
    body, dropped = sent(user(HI), *messages, **more)
    assert body.get("toolConfig") == config
    assert dropped == (["tool_choice: none"] if messages else [])


def test_tools_that_were_used_are_told_again() -> None:
    """Converse refuses calls in a conversation without tools: those that were called are named."""
    body, _ = sent(user(HI), *CALLED)
    (tool,) = body["toolConfig"]["tools"]
    assert tool["toolSpec"]["name"] == "look"


def test_a_custom_tool_is_a_function_of_one_text() -> None:
    """A tool that takes any text becomes the nearest that Converse has."""
    body, _ = sent(user(HI), tools=[Tool(name="patch", kind="custom", description="Patches.", cache="default")])
    spec, point = body["toolConfig"]["tools"]
    assert spec["toolSpec"]["inputSchema"]["json"]["required"] == ["input"]
    assert point == {"cachePoint": {"type": "default"}}


def test_what_only_some_families_take_is_named_for_the_others() -> None:
    """A model that caches nothing gets no cache point, and no failed tool."""
    failed = ToolCallResponse(id="1", response="r", is_error=True)
    messages = [user(Text(content="a", cache="5m")), *CALLED, Message(role="tool", parts=[failed])]
    more = {"tools": [Tool(name="look", parameters={"type": "object"}, cache="default")]}
    body, dropped = sent(*messages, **more, model="meta.llama3-1-70b-instruct-v1:0")
    assert body["messages"][0]["content"] == [{"text": "a"}]
    assert body["messages"][2]["content"] == [{"toolResult": {"toolUseId": "1", "content": [{"text": "r"}]}}]
    assert body["toolConfig"]["tools"] == [SPEC]
    assert dropped == ["cache", "messages[2].parts[0].is_error"]
    body, dropped = sent(*messages, **more, model="amazon.nova-pro-v1:0")
    assert body["messages"][2]["content"][0]["toolResult"]["status"] == "error"
    assert dropped == []


def test_thinking_of_anthropics_dialect_is_passed_on_to_a_claude() -> None:
    """An Anthropic client's thinking settings beside an effort reach a Claude, and are not named as lost."""
    extra = {"anthropic-messages": {"thinking": {"type": "adaptive"}, "betas": 1}}
    body, dropped = sent(user(HI), extra=extra, parameters={"gen_ai.request.reasoning.level": "max"})
    assert body["additionalModelRequestFields"] == {"thinking": {"type": "adaptive"}}
    assert body["outputConfig"] == {"effort": "max"}
    assert dropped == ["betas"]
    assert "thinking" in sent(user(HI), extra=extra, model="meta.llama3-1-70b-instruct-v1:0")[1]
