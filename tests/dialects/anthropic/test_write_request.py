import json
from typing import Any

import pytest
from hypothesis import given
from msgspec.structs import replace

from gateway.dialects.anthropic import MESSAGES, MESSAGES_WRITER
from gateway.dialects.anthropic.write_request import write_request
from gateway.dialects.conversation import (
    ChatRequest,
    Message,
    Reasoning,
    ResponseFormat,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
)
from tests.dialects import strategies_messages as drawn
from tests.dialects.anthropic.requests import ASK, LOOK, PNG, PNG_BLOCK, chat, model, sent, tool_says, user


@given(drawn.asked())
def test_a_request_comes_back_as_it_was(asked: ChatRequest) -> None:
    """Any request for a message is written and read back the same, with nothing dropped."""
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


def test_calls_and_results_without_ids_get_those_that_agree() -> None:
    """As in the older function calls."""
    body, _ = sent(chat(ASK, model(ToolCall(name="f"), ToolCall(name="g")), tool_says(name="g"), tool_says(name="f")))
    _, calls, results = body["messages"]
    assert [block["id"] for block in calls["content"]] == ["call_1", "call_2"]
    assert [block["tool_use_id"] for block in results["content"]] == ["call_2", "call_1"]


@pytest.mark.parametrize(
    ("more", "written", "dropped"),
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
def test_settings_are_written_or_named(more: dict[str, Any], written: dict[str, Any], dropped: list[str]) -> None:
    """Each setting has its field, or its name in the list; without tools there is no tool choice."""
    body, named = sent(replace(chat(ASK), **more))
    assert {key: body[key] for key in body if key not in {"model", "messages", "tools", "max_tokens"}} == written
    assert named == dropped


def test_a_custom_tools_form_is_named() -> None:
    """A tool that takes any text is a function of one string; the form of that text is lost."""
    form = {"openai-responses": {"format": {"type": "grammar", "syntax": "lark", "definition": "s"}}}
    _, dropped = sent(chat(ASK, tools=[Tool(name="patch", kind="custom", extra=form)]))
    assert dropped == ["tools.patch.format"]


@pytest.mark.parametrize("blank", ["", " ", "\n", " \n\t"])
def test_a_text_of_white_space_is_not_written(blank: str) -> None:
    """The API refuses one, in a turn and in the system prompt."""
    turns = [
        Message(role="user", parts=[Text(content="hi")]),
        Message(role="assistant", parts=[Text(content=blank)]),
        Message(role="user", parts=[Text(content="go on")]),
    ]
    request = ChatRequest(operation="chat", system_instructions=[Text(content=blank)], input_messages=turns)
    body = json.loads(write_request(request).body)
    assert body["messages"] == [{"role": "user", "content": "hi"}, {"role": "user", "content": "go on"}]
    assert "system" not in body
