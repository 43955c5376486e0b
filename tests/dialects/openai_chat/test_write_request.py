import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from openai.types.chat import ChatCompletion

from gateway.dialects.conversation import (
    ChatRequest,
    Message,
    Part,
    Reasoning,
    ResponseFormat,
    ServerToolCall,
    Text,
    Tool,
    ToolCall,
    ToolCallResponse,
    ToolChoice,
)
from gateway.dialects.openai_chat import CHAT_COMPLETIONS, CHAT_WRITER, COMPLETIONS, MARKING_CHAT_WRITER
from tests.dialects import drawing, sdk_types
from tests.dialects import strategies_chat as drawn
from tests.dialects.openai_chat.requests import PNG, chat, sent, user
from tests.dialects.streams import folded, read, stream_events, written

NOW = 1795162800.25


ASKED = ChatRequest(operation="chat", model="gpt-5.4", include_usage=True)


STRICT = drawing.STRICT


GRAMMAR = {"syntax": "lark", "definition": "s"}


def model(*parts: Part, **more: Any) -> Message:
    """Make a turn of the model's."""
    return Message(role="assistant", parts=list(parts), **more)


def tool_says(**fields: Any) -> Message:
    """Make a tool's turn."""
    return Message(role="tool", parts=[ToolCallResponse(response="r", **fields)])


@given(drawn.asked())
def test_a_request_comes_back_as_it_was(asked: ChatRequest) -> None:
    """Any request for a chat is written and read back the same, with nothing dropped."""
    sent = MARKING_CHAT_WRITER.request(asked)
    assert (sent.path, sent.query, sent.dropped) == ("/chat/completions", "", [])
    assert CHAT_COMPLETIONS.read_conversation is not None
    read_back = CHAT_COMPLETIONS.read_conversation(sent.body, sent.path)
    assert replace(read_back, tool_definitions=None) == asked


@given(drawn.asked())
def test_what_is_not_openais_own_is_left_out_and_named(asked: ChatRequest) -> None:
    """Marks of what is to be cached are refused by OpenAI, and by most others."""
    sent = CHAT_WRITER.request(asked)
    plain = drawn.unmarked(asked)
    assert sent.dropped == ([] if plain == asked else ["cache_control"])
    assert sent.body == CHAT_WRITER.request(plain).body


@given(st.data())
def test_a_response_comes_back_as_it_was(data: st.DataObject) -> None:
    """Any response is written and read back the same, and the SDK takes it."""
    answered = data.draw(drawn.answered())
    body, dropped = CHAT_WRITER.response(answered, ASKED, NOW)
    assert dropped == []
    assert CHAT_COMPLETIONS.read_response(body) == answered
    ChatCompletion.model_validate_json(body)


@given(st.data())
def test_a_stream_comes_back_as_it_was(data: st.DataObject) -> None:
    """A written stream, cut anywhere, is read as the same events."""
    answered = data.draw(drawn.answered(streamed=True))
    emitted = stream_events(answered, data.draw(st.integers(1, 20)))
    stream, writer = written(CHAT_WRITER, ASKED, emitted)
    assert writer.dropped == []
    reader, told_again = read(CHAT_COMPLETIONS, stream, data.draw(st.lists(st.integers(0, 9999), max_size=8)))
    assert reader.response() == answered
    assert (reader.ended, reader.unread) == (True, 0)
    assert folded(told_again) == answered.output_messages


@given(st.data())
def test_the_sdk_puts_a_stream_together(data: st.DataObject) -> None:
    """OpenAI's SDK knows each chunk, and makes the same message of them."""
    answered = drawn.known_to_sdk(data.draw(drawn.answered(streamed=True)))
    stream, _ = written(CHAT_WRITER, ASKED, stream_events(answered, data.draw(st.integers(1, 20))))
    made = sdk_types.chat_message(stream)
    body, _ = CHAT_WRITER.response(answered, ASKED, NOW)
    whole = json.loads(body)
    assert (made.id, made.created, made.model) == (whole["id"], whole["created"], whole["model"])
    for choice, expected in zip(made.choices, whole["choices"], strict=True):
        message = choice.message
        texts = (expected["message"]["content"], expected["message"]["refusal"])
        assert (message.content or None, message.refusal) == texts
        calls = [(call.id, call.function.name, call.function.arguments) for call in message.tool_calls or []]
        functions = [(c["id"], c["function"]) for c in expected["message"].get("tool_calls", [])]
        assert calls == [(ident, f["name"], f["arguments"]) for ident, f in functions]
        assert choice.finish_reason == expected["finish_reason"]
        assert [c.token for c in (choice.logprobs and choice.logprobs.content) or []] == [
            c["token"] for c in (expected["logprobs"] or {"content": []})["content"]
        ]
    assert (made.usage and made.usage.to_dict()) == whole.get("usage")


def test_an_agents_session_as_it_is_written() -> None:
    """System blocks lead, thinking goes back as reasoning, what tools show follows their texts as the user's."""
    asked = chat(
        user(Text(content="Look.")),
        model(
            Reasoning(content="Two.", extra={"anthropic-messages": {"signature": "EqQB"}}),
            Reasoning(content="", extra={"anthropic-messages": {"data": "EmwK"}}),
            Text(content="I look."),
            ToolCall(id="toolu_1", name="look", arguments={"at": "a"}),
            ToolCall(id="toolu_2", name="now"),
        ),
        Message(
            role="tool",
            parts=[
                ToolCallResponse(id="toolu_1", response=[Text(content="see"), PNG], cache="default"),
                ToolCallResponse(id="toolu_2", response={"hour": 3}, is_error=True),
            ],
        ),
        user(Text(content="And?"), name="ann"),
        system_instructions=[Text(content="You are an agent.", cache="1h"), Text(content="Be brief.")],
        stream=True,
        include_usage=True,
        tools=[Tool(name="look", description="L", parameters=STRICT, strict=True, cache="default")],
        tool_choice=ToolChoice(mode="tool", name="look"),
        parallel_tool_calls=False,
        parameters={
            "gen_ai.request.max_tokens": 9,
            "gen_ai.request.stop_sequences": ["."],
            "gen_ai.request.reasoning.level": "enabled",
            "gen_ai.request.stream": True,
        },
        reasoning_budget=2048,
        user="u-1",
    )
    body = {
        "model": "m",
        "messages": [
            {
                "role": "system",
                "content": [{"type": "text", "text": "You are an agent."}, {"type": "text", "text": "Be brief."}],
            },
            {"role": "user", "content": "Look."},
            {
                "role": "assistant",
                "reasoning_content": "Two.",
                "tool_calls": [
                    {"id": "toolu_1", "type": "function", "function": {"name": "look", "arguments": '{"at":"a"}'}},
                    {"id": "toolu_2", "type": "function", "function": {"name": "now", "arguments": "{}"}},
                ],
                "content": "I look.",
            },
            {"role": "tool", "tool_call_id": "toolu_1", "content": "see"},
            {"role": "tool", "tool_call_id": "toolu_2", "content": '{"hour":3}'},
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}],
            },
            {"role": "user", "content": "And?", "name": "ann"},
        ],
        "max_completion_tokens": 9,
        "stop": ["."],
        "stream": True,
        "stream_options": {"include_usage": True},
        "reasoning_effort": "medium",
        "tools": [
            {
                "type": "function",
                "function": {"name": "look", "description": "L", "parameters": STRICT, "strict": True},
            }
        ],
        "tool_choice": {"type": "function", "function": {"name": "look"}},
        "parallel_tool_calls": False,
        "user": "u-1",
    }
    assert sent(asked) == (
        body,
        [
            "cache_control",
            "messages[1].parts[0].signature",
            "messages[1].parts[1].data",
            "messages[2].parts[1].is_error",
            "reasoning_budget",
        ],
    )


@pytest.mark.parametrize(
    ("messages", "ids"),
    [
        (
            [model(ToolCall(name="f"), ToolCall(name="g")), tool_says(name="g"), tool_says(name="f")],
            ["call_1", "call_2", "call_2", "call_1"],
        ),
        ([model(ToolCall(name="f"), ToolCall(name="f")), tool_says(), tool_says()], ["call_1", "call_2"] * 2),
        (
            [model(ToolCall(id="call_1", name="f")), tool_says(id="call_1"), model(ToolCall(name="f")), tool_says()],
            ["call_1", "call_1", "call_2", "call_2"],
        ),
        ([tool_says(name="f")], ["call_1"]),
    ],
)
def test_calls_and_results_without_ids_get_those_that_agree(messages: list[Message], ids: list[str]) -> None:
    """As in the older function calls: a result is of the first open call of its name, else of the first."""
    body, dropped = sent(chat(*messages))
    written_ids = [
        ident
        for message in body["messages"]
        for ident in [c["id"] for c in message.get("tool_calls", [])] or [message["tool_call_id"]]
    ]
    assert (written_ids, dropped) == (ids, [])


@pytest.mark.parametrize(
    ("more", "changed", "dropped"),
    [
        ({"tool_choice": ToolChoice(mode="required")}, {}, ["tool_choice"]),
        ({"tool_choice": ToolChoice(mode="auto"), "parallel_tool_calls": True}, {}, []),
        ({"show_reasoning": True}, {}, ["show_reasoning"]),
        ({"reasoning_budget": 0}, {"reasoning_effort": "none"}, []),
        ({"reasoning_budget": -1}, {"reasoning_effort": "medium"}, []),
        ({"reasoning_budget": 20000}, {"reasoning_effort": "high"}, ["reasoning_budget"]),
        ({"parameters": {"gen_ai.request.reasoning.level": "adaptive"}}, {"reasoning_effort": "medium"}, []),
        ({"parameters": {"gen_ai.request.reasoning.level": "disabled"}}, {"reasoning_effort": "none"}, []),
        ({"parameters": {"gen_ai.request.reasoning.level": "novel"}}, {}, ["reasoning.level"]),
        ({"parameters": {"gen_ai.request.previous_response.id": "r"}}, {}, ["previous_response.id"]),
        ({"conversation_id": "c"}, {}, ["conversation"]),
        (
            {"extra": {"openai-responses": {"text": {"verbosity": "low"}, "truncation": "auto"}}},
            {},
            [
                "text.verbosity",
                "truncation",
            ],
        ),
        ({"tools": [Tool(name="w", kind="server", extra={"gemini": {"googleSearch": {}}})]}, {}, ["tools.w"]),
        (
            {"tools": [Tool(name="f", parameters={"type": "object", "properties": {"a": {}}}, strict=True)]},
            {
                "tools": [
                    {
                        "type": "function",
                        "function": {
                            "name": "f",
                            "parameters": {"type": "object", "properties": {"a": {}}},
                            "strict": False,
                        },
                    }
                ]
            },
            ["tools.f.strict"],
        ),
        (
            {"response_format": ResponseFormat(type="json_schema", schema={})},
            {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": {}}}},
            [],
        ),
        (
            {
                "tools": [
                    Tool(
                        name="patch",
                        kind="custom",
                        extra={
                            "openai-responses": {"format": {"type": "grammar", "syntax": "lark", "definition": "s"}}
                        },
                    )
                ]
            },
            {
                "tools": [
                    {
                        "type": "custom",
                        "custom": {
                            "name": "patch",
                            "format": {"type": "grammar", "grammar": GRAMMAR},
                        },
                    }
                ]
            },
            [],
        ),
    ],
)
def test_settings_are_written_or_named(more: dict[str, Any], changed: dict[str, Any], dropped: list[str]) -> None:
    """Each setting has its field, or its name in the list; what means the same unsaid is neither."""
    plain = chat(user(Text(content="a")))
    body, named = sent(replace(plain, **more))
    assert body == json.loads(CHAT_WRITER.request(plain).body) | changed
    assert named == dropped


def test_a_prompt_becomes_a_chat() -> None:
    """The first prompt alone is asked for; what only the older API has is named."""
    request = {"model": "m", "prompt": ["a", "b"], "suffix": "c", "logprobs": 2, "max_tokens": 5}
    assert COMPLETIONS.read_conversation is not None
    asked = COMPLETIONS.read_conversation(json.dumps(request).encode(), "/v1/completions")
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": "a"}],
        "max_completion_tokens": 5,
        "logprobs": True,
        "top_logprobs": 2,
    }
    assert sent(asked) == (body, ["messages[0].parts[1]: prompt", "suffix"])


def test_turns_of_which_nothing_is_left_are_left_out() -> None:
    """A turn of thinking that only its provider can read, or of its tools, has no form here."""
    hidden = Reasoning(content="", extra={"anthropic-messages": {"data": "EmwK"}})
    web = ServerToolCall(name="web", server_tool_call={})
    body, dropped = sent(chat(user(Text(content="a")), model(hidden, web), model(), user(Text(content="b"))))
    assert [message["content"] for message in body["messages"]] == ["a", "", "b"]
    assert dropped == ["messages[1].parts[0].data", "messages[1].parts[1]: server tool call"]
