from typing import Any

import msgspec
import ollama
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.dialects.conversation import (
    ChatRequest,
    ChatResponse,
    Message,
    Other,
    Part,
    Reasoning,
    Refusal,
    ResponseFormat,
    Text,
    Tool,
    ToolCall,
    ToolCallResponse,
    ToolChoice,
    Uri,
)
from gateway.dialects.ollama import OLLAMA_CHAT, OLLAMA_GENERATE, OLLAMA_WRITER
from tests.dialects import strategies_ollama as drawn
from tests.dialects.ollama.requests import NOW, PNG, PROMPTED, chat, sent


@given(drawn.asked())
def test_a_chat_comes_back_as_it_was(asked: ChatRequest) -> None:
    """Any request to Ollama is written and read back the same, with nothing dropped."""
    written = OLLAMA_WRITER.request(asked)
    assert (written.path, written.query, written.dropped) == ("/api/chat", "", [])
    read = OLLAMA_CHAT.read_conversation(written.body, written.path)
    assert replace(read, tool_definitions=None) == asked


@given(drawn.asked("text_completion"))
def test_a_prompt_comes_back_as_it_was(asked: ChatRequest) -> None:
    """The same of the completion of a prompt."""
    written = OLLAMA_WRITER.request(asked)
    assert (written.path, written.query, written.dropped) == ("/api/generate", "", [])
    assert OLLAMA_GENERATE.read_conversation(written.body, written.path) == asked


def test_a_whole_request_as_it_is_written() -> None:
    """System texts lead, developers are systems, results are messages of their own with their tool's name."""
    asked = chat(
        Message(role="developer", parts=[Text(content="Be kind.")]),
        Message(role="user", parts=[Text(content="One"), Text(content="Two"), PNG]),
        Message(
            role="assistant",
            parts=[
                Reasoning(content="Hm."),
                Text(content="I "),
                Text(content="look."),
                ToolCall(id="a", name="f", arguments={"x": 1}),
                ToolCall(id="b", name="g"),
            ],
        ),
        Message(
            role="tool",
            parts=[
                ToolCallResponse(id="b", response={"ok": True}),
                ToolCallResponse(id="a", response=[Text(content="see"), PNG]),
            ],
        ),
        system_instructions=[Text(content="You are a guide."), Text(content="Be short.")],
        stream=True,
        tools=[Tool(name="f", description="F", parameters={"type": "object"}), Tool(name="g")],
        tool_choice=ToolChoice(mode="auto"),
        parameters={
            "gen_ai.request.max_tokens": 9,
            "gen_ai.request.stop_sequences": ["."],
            "gen_ai.request.reasoning.level": "low",
            "gen_ai.request.stream": True,
            "gen_ai.output.type": "json",
        },
        response_format=ResponseFormat(type="json_schema", name="n", schema={"type": "object"}, strict=True),
    )
    assert sent(asked) == (
        {
            "model": "qwen3",
            "messages": [
                {"role": "system", "content": "You are a guide.\n\nBe short."},
                {"role": "system", "content": "Be kind."},
                {"role": "user", "content": "One\n\nTwo", "images": ["iVBORw0KGgo="]},
                {
                    "role": "assistant",
                    "content": "I look.",
                    "thinking": "Hm.",
                    "tool_calls": [
                        {"id": "a", "function": {"index": 0, "name": "f", "arguments": {"x": 1}}},
                        {"id": "b", "function": {"index": 1, "name": "g", "arguments": {}}},
                    ],
                },
                {"role": "tool", "content": '{"ok":true}', "tool_name": "g", "tool_call_id": "b"},
                {
                    "role": "tool",
                    "content": "see",
                    "images": ["iVBORw0KGgo="],
                    "tool_name": "f",
                    "tool_call_id": "a",
                },
            ],
            "tools": [
                {"type": "function", "function": {"name": "f", "description": "F", "parameters": {"type": "object"}}},
                {"type": "function", "function": {"name": "g", "parameters": {"type": "object", "properties": {}}}},
            ],
            "format": {"type": "object"},
            "think": "low",
            "options": {"num_predict": 9, "stop": ["."]},
            "stream": True,
        },
        [],
    )


@pytest.mark.parametrize(
    ("more", "dropped"),
    [
        ({"tool_choice": ToolChoice(mode="required")}, ["tool_choice"]),
        ({"tool_choice": ToolChoice(mode="tool", name="f")}, ["tool_choice"]),
        ({"tool_choice": ToolChoice(mode="auto", extra={"gemini": {"x": 1}})}, ["tool_choice.x"]),
        ({"parallel_tool_calls": False}, ["parallel_tool_calls"]),
        ({"parallel_tool_calls": True}, []),
        ({"parameters": {"gen_ai.request.choice.count": 2}}, ["choice.count"]),
        ({"parameters": {"gen_ai.output.type": "speech"}}, ["output_type"]),
        ({"parameters": {"gen_ai.request.previous_response.id": "r"}}, ["previous_response.id"]),
        ({"user": "u", "metadata": {"a": "b"}, "conversation_id": "c"}, ["user", "metadata", "conversation"]),
        ({"show_reasoning": False}, ["show_reasoning"]),
        ({"show_reasoning": True, "include_usage": True}, []),
        ({"extra": {"openai-chat": {"logit_bias": {"1": 2}}}}, ["logit_bias"]),
        ({"extra": {"ollama": {"suffix": "s"}}}, ["suffix"]),
        ({"response_format": ResponseFormat(type="json", description="d")}, ["response_format.description"]),
        ({"tools": [Tool(name="w", kind="server", extra={"openai-responses": {}})]}, ["tools.w"]),
        ({"tools": [Tool(name="w", strict=True)]}, ["tools.w.strict"]),
        ({"tools": [Tool(name="w", strict=False, extra={"gemini": {"x": 1}})]}, ["tools.w.x"]),
        ({"system_instructions": [Text(content="a"), PNG]}, ["system: images"]),
        ({"system_instructions": [Other(kind="novel")]}, ["system[0]: novel"]),
    ],
)
def test_what_a_request_cannot_say_is_named(more: dict[str, Any], dropped: list[str]) -> None:
    """Each setting without a word is named; what means the same without one is not."""
    assert sent(chat(Message(role="user", parts=[Text(content="a")]), **more))[1] == dropped


@pytest.mark.parametrize(
    ("level", "budget", "think"),
    [
        ("none", None, False),
        ("disabled", None, False),
        ("enabled", None, True),
        ("enabled", 2048, "medium"),
        ("adaptive", None, True),
        ("minimal", None, "low"),
        ("medium", None, "medium"),
        ("xhigh", None, "max"),
        ("max", None, "max"),
        (None, 0, False),
        (None, 512, "low"),
        (None, None, None),
    ],
)
def test_levels_of_reasoning_have_words(level: str | None, budget: int | None, think: bool | str | None) -> None:
    """Other dialects' levels and budgets become Ollama's switch, or one of its four levels; the number is lost."""
    parameters = {"gen_ai.request.reasoning.level": level} if level else {}
    body, dropped = sent(chat(parameters=parameters, reasoning_budget=budget))
    assert (body.get("think"), dropped) == (think, ["reasoning_budget"] if budget else [])


def test_a_custom_tool_is_a_function_of_one_text() -> None:
    """Calls of it have the text as their only argument."""
    calls = [ToolCall(id="a", name="sh", arguments="ls", custom=True), ToolCall(name="sh", custom=True)]
    body, dropped = sent(chat(Message(role="assistant", parts=[*calls]), tools=[Tool(name="sh", kind="custom")]))
    functions = [call["function"] for call in body["messages"][0]["tool_calls"]]
    assert [function["arguments"] for function in functions] == [{"input": "ls"}, {"input": ""}]
    schema = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
    assert body["tools"] == [{"type": "function", "function": {"name": "sh", "parameters": schema}}]
    assert dropped == []


def test_a_model_that_may_call_no_tool_is_shown_none() -> None:
    """Ollama has no word for it, and this means the same."""
    body, dropped = sent(chat(tools=[Tool(name="f")], tool_choice=ToolChoice(mode="none")))
    assert "tools" not in body
    assert dropped == []


def test_only_the_first_prompt_is_completed() -> None:
    """Prompts beyond the first, and what is no prompt, are named."""
    parts: list[Part] = [Text(content="a"), Text(content="b"), Uri(modality="image", uri="u"), Reasoning(content="r")]
    asked = replace(PROMPTED, input_messages=[Message(role="user", parts=parts)])
    body, dropped = sent(asked)
    assert body == {"model": "qwen3", "prompt": "a", "stream": False}
    assert dropped == ["messages[0].parts[1]: text", "messages[0].parts[2]: image uri", "messages: thinking"]


@given(data=st.data())
def test_whatever_another_dialect_says_is_written_or_named(data: st.DataObject) -> None:
    """Any sequence of parts gives JSON that the package takes."""
    extra = st.dictionaries(st.sampled_from(["gemini", "ollama"]), drawn.OBJECTS)
    texts = [st.builds(kind, content=st.text(max_size=5), extra=extra) for kind in (Text, Refusal, Reasoning)]
    places = st.builds(Uri, modality=st.text(max_size=5), uri=st.text(max_size=5), extra=extra)
    values = st.none() | st.text(max_size=5) | st.integers(0, 9) | drawn.OBJECTS | st.lists(drawn.PLAIN, max_size=2)
    calls = st.builds(ToolCall, id=st.none() | drawn.WORDS, name=drawn.NAMES, arguments=values)
    results = st.builds(ToolCallResponse, id=st.none() | drawn.WORDS, response=values)
    parts = data.draw(st.lists(st.one_of(*texts, places, calls, results), max_size=5))
    role = data.draw(st.sampled_from(["user", "assistant", "tool", "developer", "novel"]))
    asked = chat(Message(role=role, parts=parts, name=data.draw(st.none() | drawn.NAMES)))
    body, _ = sent(asked)
    ollama._types.ChatRequest.model_validate(body)
    for message in body["messages"]:
        ollama.Message.model_validate(message)
    response, _ = OLLAMA_WRITER.response(ChatResponse(output_messages=asked.input_messages), asked, NOW)
    ollama.ChatResponse.model_validate_json(response)
    assert msgspec.json.decode(response)["model"] == "qwen3"
