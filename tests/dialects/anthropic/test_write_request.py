import json
from typing import Any

import pytest
from hypothesis import given
from msgspec.structs import replace

from gateway.dialects.anthropic import MESSAGES, MESSAGES_WRITER
from gateway.dialects.conversation import (
    Blob,
    ChatRequest,
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
    Text,
    Tool,
    ToolCall,
    ToolCallResponse,
    ToolChoice,
    Uri,
)
from tests.dialects import sdk_types
from tests.dialects import strategies_messages as drawn

PNG = Blob(modality="image", mime_type="image/png", content="iVBORw0KGgo=")
PNG_BLOCK = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}


def sent(asked: ChatRequest) -> tuple[dict[str, Any], list[str]]:
    """Write a request that the SDK's types take; return its body and what could not be said."""
    request = MESSAGES_WRITER.request(asked)
    body = json.loads(request.body)
    sdk_types.check_request("anthropic-messages", body)
    return body, request.dropped


def chat(*messages: Message, **more: Any) -> ChatRequest:
    """Make a request."""
    return replace(ChatRequest(operation="chat", model="claude-sonnet-5", input_messages=list(messages)), **more)


def user(*parts: Part, **more: Any) -> Message:
    """Make a user's turn."""
    return Message(role="user", parts=list(parts), **more)


def model(*parts: Part, **more: Any) -> Message:
    """Make a turn of the model's."""
    return Message(role="assistant", parts=list(parts), **more)


def tool_says(**fields: Any) -> Message:
    """Make a tool's turn."""
    return Message(role="tool", parts=[ToolCallResponse(**{"response": "r", **fields})])


ASK = user(Text(content="a"))


@given(drawn.asked())
def test_a_request_comes_back_as_it_was(asked: ChatRequest) -> None:
    """What a message can be asked is read back from what is written, with nothing dropped."""
    request = MESSAGES_WRITER.request(asked)
    assert (request.path, request.query, request.dropped) == ("/messages", "", [])
    assert MESSAGES.read_conversation is not None
    read_back = MESSAGES.read_conversation(request.body, request.path)
    assert replace(read_back, tool_definitions=None) == asked


def test_an_agents_session_as_it_is_written() -> None:
    """System texts lead wherever they stood; results of parallel calls are one turn, and the user's goes on in it."""
    asked = chat(
        Message(role="developer", parts=[Text(content="Be kind.")]),
        user(Text(content="Look."), PNG, name="ann"),
        model(
            Reasoning(content="Hm."),
            Text(content="I look."),
            ToolCall(id="functions.look:0", name="look", arguments={"at": "a"}),
        ),
        model(ToolCall(id="call_2", name="now"), ToolCall(id="call_3", name="run", arguments="ls", custom=True)),
        tool_says(id="functions.look:0", response=[Text(content="see", cache="5m"), PNG]),
        tool_says(id="call_2", response={"hour": 3}, is_error=True),
        tool_says(id="call_3", response=""),
        user(Text(content="And?")),
        system_instructions=[Text(content="You are a guide.", cache="default")],
        stream=True,
        tools=[
            Tool(name="look", description="L", parameters={"type": "object"}, cache="1h"),
            Tool(name="now"),
            Tool(name="run", kind="custom", description="R"),
        ],
        tool_choice=ToolChoice(mode="required"),
        parallel_tool_calls=False,
        parameters={
            "gen_ai.request.max_tokens": 9,
            "gen_ai.request.temperature": 1.5,
            "gen_ai.request.stop_sequences": ["\n", "END"],
            "gen_ai.request.stream": True,
            "gen_ai.request.seed": 3,
            "gen_ai.request.choice.count": 2,
        },
        user="u-1",
        metadata={"a": "b"},
        logprobs=True,
        top_logprobs=2,
        extra={"openai-chat": {"logit_bias": {"1": 2}}},
    )
    assert sent(asked) == (
        {
            "model": "claude-sonnet-5",
            "max_tokens": 9,
            "system": [
                {"type": "text", "text": "You are a guide.", "cache_control": {"type": "ephemeral"}},
                {"type": "text", "text": "Be kind."},
            ],
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "ann: Look."}, PNG_BLOCK]},
                {
                    "role": "assistant",
                    "content": [
                        {"type": "text", "text": "I look."},
                        {"type": "tool_use", "id": "functions_look_0", "name": "look", "input": {"at": "a"}},
                        {"type": "tool_use", "id": "call_2", "name": "now", "input": {}},
                        {"type": "tool_use", "id": "call_3", "name": "run", "input": {"input": "ls"}},
                    ],
                },
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "tool_result",
                            "tool_use_id": "functions_look_0",
                            "content": [{"type": "text", "text": "see"}, PNG_BLOCK],
                            "cache_control": {"type": "ephemeral", "ttl": "5m"},
                        },
                        {"type": "tool_result", "tool_use_id": "call_2", "content": '{"hour":3}', "is_error": True},
                        {"type": "tool_result", "tool_use_id": "call_3"},
                        {"type": "text", "text": "And?"},
                    ],
                },
            ],
            "temperature": 1.0,
            "stop_sequences": ["END"],
            "stream": True,
            "tools": [
                {
                    "name": "look",
                    "input_schema": {"type": "object"},
                    "description": "L",
                    "cache_control": {"type": "ephemeral", "ttl": "1h"},
                },
                {"name": "now", "input_schema": {"type": "object", "properties": {}}},
                {
                    "name": "run",
                    "input_schema": {
                        "type": "object",
                        "properties": {"input": {"type": "string"}},
                        "required": ["input"],
                    },
                    "description": "R",
                },
            ],
            "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
            "metadata": {"user_id": "u-1"},
        },
        [
            "messages[2].parts[0]: reasoning",
            "seed",
            "choice.count",
            "temperature: above 1",
            "stop_sequences: white space",
            "logprobs",
            "top_logprobs",
            "metadata",
            "logit_bias",
        ],
    )


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
    ("arguments", "told"),
    [
        (None, {}),
        ({"a": 1}, {"a": 1}),
        ([1], {"arguments": [1]}),
        ('{"a', {"arguments": '{"a'}),
        (False, {"arguments": False}),
    ],
)
def test_arguments_are_an_object(arguments: Any, told: dict[str, Any]) -> None:
    """What was none, as a broken call's text, is told within one."""
    body, _ = sent(chat(ASK, model(ToolCall(id="c", name="f", arguments=arguments)), tool_says(id="c")))
    assert body["messages"][1]["content"][0]["input"] == told


def test_calls_and_results_without_ids_get_those_that_agree() -> None:
    """As in the older function calls."""
    body, _ = sent(chat(ASK, model(ToolCall(name="f"), ToolCall(name="g")), tool_says(name="g"), tool_says(name="f")))
    _, calls, results = body["messages"]
    assert [block["id"] for block in calls["content"]] == ["call_1", "call_2"]
    assert [block["tool_use_id"] for block in results["content"]] == ["call_2", "call_1"]


LOOK = Tool(name="look", parameters={"type": "object"})
SIGNED = Reasoning(content="Hm.", extra={"anthropic-messages": {"signature": "EqQB"}})
CALLED = [ASK, model(ToolCall(id="c", name="look")), tool_says(id="c")]


def level(value: str) -> dict[str, Any]:
    """Ask for a level of reasoning."""
    return {"parameters": {"gen_ai.request.reasoning.level": value}}


@pytest.mark.parametrize(
    ("called", "more", "told", "dropped"),
    [
        (
            "claude-sonnet-5",
            level("minimal"),
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}},
            [],
        ),
        ("claude-sonnet-5", level("adaptive"), {"thinking": {"type": "adaptive"}}, []),
        ("claude-sonnet-5", level("none"), {"thinking": {"type": "disabled"}}, []),
        ("claude-sonnet-5", level("novel"), {}, ["reasoning.level"]),
        (
            "claude-opus-4-7",
            {"reasoning_budget": 4096, "show_reasoning": True},
            {"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "medium"}},
            ["reasoning_budget"],
        ),
        ("claude-opus-4-7", {"reasoning_budget": -1}, {"thinking": {"type": "adaptive"}}, []),
        ("claude-opus-4-7", {"show_reasoning": True}, {}, ["show_reasoning"]),
        (
            "claude-sonnet-4-5",
            level("low"),
            {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 5120},
            [],
        ),
        (
            "claude-sonnet-4-5",
            {"reasoning_budget": 512},
            {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 5120},
            [],
        ),
        (
            "claude-sonnet-4-5",
            {"parameters": {"gen_ai.request.reasoning.level": "high", "gen_ai.request.max_tokens": 9000}},
            {"thinking": {"type": "enabled", "budget_tokens": 4500}, "max_tokens": 9000},
            [],
        ),
        (
            "claude-sonnet-4-5",
            {"parameters": {"gen_ai.request.reasoning.level": "high", "gen_ai.request.max_tokens": 1000}},
            {"max_tokens": 1000},
            ["reasoning.level"],
        ),
        (
            "claude-sonnet-5",
            level("high") | {"tools": [LOOK], "tool_choice": ToolChoice(mode="required")},
            {"tool_choice": {"type": "any"}},
            ["reasoning.level"],
        ),
        (
            "claude-sonnet-5",
            {
                "parameters": {
                    "gen_ai.request.reasoning.level": "high",
                    "gen_ai.request.temperature": 0.2,
                    "gen_ai.request.top_p": 0.5,
                    "gen_ai.request.top_k": 3,
                }
            },
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}},
            ["temperature: beside reasoning", "top_k: beside reasoning", "top_p: beside reasoning"],
        ),
        (
            "claude-sonnet-5",
            {
                "parameters": {
                    "gen_ai.request.reasoning.level": "high",
                    "gen_ai.request.temperature": 1.0,
                    "gen_ai.request.top_p": 0.95,
                }
            },
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}, "temperature": 1.0, "top_p": 0.95},
            [],
        ),
        ("claude-sonnet-4-5", level("low") | {"input_messages": CALLED}, {}, ["reasoning.level"]),
        (
            "claude-sonnet-5",
            level("low") | {"input_messages": CALLED},
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}},
            [],
        ),
        (
            "claude-sonnet-4-5",
            level("low") | {"input_messages": [ASK, replace(CALLED[1], parts=[SIGNED, *CALLED[1].parts]), CALLED[2]]},
            {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 5120},
            [],
        ),
    ],
)
def test_thinking_is_asked_for_as_the_model_takes_it(
    called: str, more: dict[str, Any], told: dict[str, Any], dropped: list[str]
) -> None:
    """By an effort or by a budget; what the API refuses beside it is left out and named, or else the thinking is."""
    body, named = sent(replace(chat(ASK, model=called), **more))
    rest = {key: body[key] for key in body if key not in {"model", "messages", "tools"}}
    assert rest == {"max_tokens": 4096} | told
    assert named == dropped


@pytest.mark.parametrize(
    ("more", "told", "dropped"),
    [
        ({"tool_choice": ToolChoice(mode="tool", name="f")}, {}, ["tool_choice"]),
        ({"tool_choice": ToolChoice(mode="none"), "parallel_tool_calls": False}, {}, []),
        (
            {"tools": [LOOK], "parallel_tool_calls": False},
            {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
            [],
        ),
        (
            {"tools": [LOOK], "tool_choice": ToolChoice(mode="none"), "parallel_tool_calls": False},
            {"tool_choice": {"type": "none"}},
            [],
        ),
        ({"tools": [Tool(name="w", kind="server", extra={"gemini": {}})]}, {}, ["tools.w"]),
        ({"response_format": ResponseFormat(type="text")}, {}, []),
        ({"response_format": ResponseFormat(type="json")}, {}, ["response_format"]),
        (
            {
                "response_format": ResponseFormat(
                    type="json_schema", name="n", description="d", schema={"type": "object"}
                )
            },
            {
                "output_config": {
                    "format": {"type": "json_schema", "schema": {"type": "object", "additionalProperties": False}}
                }
            },
            ["response_format.description"],
        ),
        (
            {"conversation_id": "c", "parameters": {"gen_ai.request.previous_response.id": "r"}},
            {},
            [
                "previous_response.id",
                "conversation",
            ],
        ),
    ],
)
def test_settings_are_written_or_named(more: dict[str, Any], told: dict[str, Any], dropped: list[str]) -> None:
    """Each setting has its field, or its name in the list; without tools nothing is said of how they are called."""
    body, named = sent(replace(chat(ASK), **more))
    assert {key: body[key] for key in body if key not in {"model", "messages", "tools", "max_tokens"}} == told
    assert named == dropped


def test_a_custom_tools_form_is_named() -> None:
    """A tool that takes any text is a function of one string; the form of that text cannot be told."""
    form = {"openai-responses": {"format": {"type": "grammar", "syntax": "lark", "definition": "s"}}}
    _, dropped = sent(chat(ASK, tools=[Tool(name="patch", kind="custom", extra=form)]))
    assert dropped == ["tools.patch.format"]
