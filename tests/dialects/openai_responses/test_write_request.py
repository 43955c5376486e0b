import json
from typing import Any

import pytest
from hypothesis import given
from msgspec.structs import replace

from gateway.dialects.conversation import (
    ChatRequest,
    Message,
    Reasoning,
    ResponseFormat,
    Text,
    Tool,
    ToolCall,
    ToolCallResponse,
    ToolChoice,
)
from gateway.dialects.openai_responses import RESPONSES, RESPONSES_WRITER
from tests.dialects import drawing
from tests.dialects import strategies_responses as drawn
from tests.dialects.openai_responses.requests import PNG, chat, model, sent, user

PNG_PART = {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo=", "detail": "auto"}


ASK = user(Text(content="a"))


@given(drawn.asked())
def test_a_request_comes_back_as_it_was(asked: ChatRequest) -> None:
    """Any request for a response is written and read back the same, with nothing dropped."""
    request = RESPONSES_WRITER.request(asked)
    assert (request.path, request.query, request.dropped) == ("/responses", "", [])
    assert RESPONSES.read_conversation is not None
    read_back = RESPONSES.read_conversation(request.body, request.path)
    assert replace(read_back, tool_definitions=None) == asked


def test_an_agents_session_as_it_is_written() -> None:
    """System texts are the instructions, calls and results are items of their own, and nothing is to be kept."""
    asked = chat(
        Message(role="developer", parts=[Text(content="Be kind.")]),
        user(Text(content="Look."), PNG, name="ann"),
        model(
            Reasoning(content="Hm.", extra={"anthropic-messages": {"signature": "EqQB"}}),
            Text(content="I look."),
            ToolCall(id="toolu_1", name="look", arguments={"at": "a"}),
            ToolCall(name="now"),
        ),
        Message(
            role="tool",
            parts=[
                ToolCallResponse(id="toolu_1", response=[Text(content="see", cache="5m"), PNG]),
                ToolCallResponse(response={"hour": 3}, is_error=True),
            ],
        ),
        user(Text(content="And?")),
        system_instructions=[Text(content="You are a guide.", cache="default"), Text(content="Be short.")],
        stream=True,
        include_usage=True,
        tools=[
            Tool(name="look", description="L", parameters={"type": "object"}, cache="1h"),
            Tool(name="now", parameters=drawing.STRICT, strict=True),
            Tool(name="old", strict=True, parameters={"type": "object"}),
        ],
        tool_choice=ToolChoice(mode="tool", name="look"),
        parallel_tool_calls=False,
        parameters={
            "gen_ai.request.max_tokens": 9,
            "gen_ai.request.stop_sequences": ["END"],
            "gen_ai.request.top_k": 3,
            "gen_ai.request.reasoning.level": "enabled",
            "gen_ai.request.stream": True,
        },
        reasoning_budget=2048,
        show_reasoning=True,
        logprobs=True,
        top_logprobs=2,
        metadata={"a": "b"},
        user="u-1",
    )
    assert sent(asked) == (
        {
            "model": "m",
            "input": [
                {"type": "message", "role": "developer", "content": "Be kind."},
                {
                    "type": "message",
                    "role": "user",
                    "content": [{"type": "input_text", "text": "ann: Look."}, PNG_PART],
                },
                {"type": "message", "role": "assistant", "content": "I look."},
                {"type": "function_call", "call_id": "toolu_1", "name": "look", "arguments": '{"at":"a"}'},
                {"type": "function_call", "call_id": "call_1", "name": "now", "arguments": "{}"},
                {
                    "type": "function_call_output",
                    "call_id": "toolu_1",
                    "output": [{"type": "input_text", "text": "see"}, PNG_PART],
                },
                {"type": "function_call_output", "call_id": "call_1", "output": '{"hour":3}'},
                {"type": "message", "role": "user", "content": "And?"},
            ],
            "instructions": "You are a guide.\n\nBe short.",
            "max_output_tokens": 9,
            "stream": True,
            "reasoning": {"effort": "medium", "summary": "auto"},
            "top_logprobs": 2,
            "metadata": {"a": "b"},
            "user": "u-1",
            "store": False,
            "tools": [
                {
                    "type": "function",
                    "name": "look",
                    "description": "L",
                    "parameters": {"type": "object"},
                    "strict": False,
                },
                {"type": "function", "name": "now", "parameters": drawing.STRICT, "strict": True},
                {"type": "function", "name": "old", "parameters": {"type": "object"}, "strict": False},
            ],
            "tool_choice": {"type": "function", "name": "look"},
            "parallel_tool_calls": False,
            "include": ["message.output_text.logprobs"],
        },
        [
            "messages[2].parts[0].signature",
            "messages[2].parts[0]: reasoning",
            "cache_control",
            "messages[3].parts[1].is_error",
            "stop_sequences",
            "top_k",
            "reasoning_budget",
            "tools.old.strict",
        ],
    )


def test_a_session_of_its_own_goes_back_as_it_came() -> None:
    """Reasoning in several parts is one item; a tool's result is in its call's; a message keeps its phase."""
    items = [
        {
            "type": "reasoning",
            "summary": [{"type": "summary_text", "text": "One."}, {"type": "summary_text", "text": "Two."}],
            "id": "rs_1",
            "encrypted_content": "gAAA",
        },
        {
            "type": "code_interpreter_call",
            "code": "1+1",
            "id": "ci_1",
            "status": "completed",
            "outputs": [{"type": "logs", "logs": "2"}],
        },
        {"type": "message", "role": "assistant", "phase": "commentary", "content": "So."},
        {
            "type": "image_generation_call",
            "output_format": "png",
            "id": "ig_1",
            "status": "failed",
            "result": "iVBORw0KGgo=",
        },
        {"type": "custom_tool_call", "call_id": "c", "name": "run", "input": "ls"},
        {"type": "custom_tool_call_output", "call_id": "c", "output": "a.txt"},
    ]
    assert RESPONSES.read_conversation is not None
    asked = RESPONSES.read_conversation(json.dumps({"model": "m", "input": items}).encode(), "/")
    request = RESPONSES_WRITER.request(asked)
    assert (json.loads(request.body)["input"], request.dropped) == (items, [])


@pytest.mark.parametrize(
    ("more", "written", "dropped"),
    [
        ({"tool_choice": ToolChoice(mode="required")}, {}, ["tool_choice"]),
        ({"tool_choice": ToolChoice(mode="auto"), "parallel_tool_calls": True}, {}, []),
        ({"show_reasoning": False}, {}, []),
        ({"reasoning_budget": 0}, {"reasoning": {"effort": "none"}}, []),
        ({"parameters": {"gen_ai.request.reasoning.level": "novel"}}, {}, ["reasoning.level"]),
        ({"logprobs": True}, {"top_logprobs": 0, "include": ["message.output_text.logprobs"]}, []),
        ({"logprobs": False}, {}, []),
        ({"response_format": ResponseFormat(type="json")}, {"text": {"format": {"type": "json_object"}}}, []),
        (
            {"response_format": ResponseFormat(type="json_schema", schema={}, strict=True)},
            {"text": {"format": {"type": "json_schema", "name": "answer", "schema": {}, "strict": True}}},
            [],
        ),
        ({"extra": {"openai-chat": {"logit_bias": {"1": 2}}}}, {}, ["logit_bias"]),
        (
            {
                "tools": [
                    Tool(
                        name="patch",
                        kind="custom",
                        extra={
                            "openai-chat": {
                                "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "s"}}
                            }
                        },
                    )
                ],
                "tool_choice": ToolChoice(mode="tool", name="patch"),
            },
            {
                "tools": [
                    {
                        "type": "custom",
                        "name": "patch",
                        "format": {"type": "grammar", "syntax": "lark", "definition": "s"},
                    }
                ],
                "tool_choice": {"type": "custom", "name": "patch"},
            },
            [],
        ),
    ],
)
def test_settings_are_written_or_named(more: dict[str, Any], written: dict[str, Any], dropped: list[str]) -> None:
    """Each setting has its field, or its name in the list; what means the same unsaid is neither."""
    body, named = sent(replace(chat(ASK), **more))
    assert {key: body[key] for key in body if key not in {"model", "input", "store"}} == written
    assert named == dropped
