import json
from itertools import pairwise
from typing import Any

import msgspec
import ollama
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.dialects import events
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
    Text,
    TokenLogprob,
    Tool,
    ToolCall,
    ToolCallResponse,
    ToolChoice,
    Uri,
    Usage,
)
from gateway.dialects.ollama import OLLAMA_CHAT, OLLAMA_GENERATE, OLLAMA_WRITER
from gateway.errors import Kind
from tests.dialects import strategies_ollama as drawn

NOW = 1795162800.25
PNG = Blob(modality="image", mime_type="image/png", content="iVBORw0KGgo=")
ASKED = ChatRequest(operation="chat", model="qwen3")
PROMPTED = ChatRequest(operation="text_completion", model="qwen3")


def sent(asked: ChatRequest) -> tuple[dict[str, Any], list[str]]:
    """Write a request; return its body and what could not be said."""
    written = OLLAMA_WRITER.request(asked)
    return json.loads(written.body), written.dropped


def chat(*messages: Message, **more: Any) -> ChatRequest:
    """Make a request to chat."""
    return replace(ASKED, input_messages=list(messages), **more)


def told(parts: list[Part], asked: ChatRequest = ASKED, **more: Any) -> tuple[dict[str, Any], list[str]]:
    """Write a whole response; return its body and what could not be said."""
    message = Message(role="assistant", parts=parts, finish_reason="stop")
    body, dropped = OLLAMA_WRITER.response(ChatResponse(model="m", output_messages=[message], **more), asked, NOW)
    return json.loads(body), dropped


@given(drawn.asked())
def test_a_chat_comes_back_as_it_was(asked: ChatRequest) -> None:
    """What Ollama can be asked is read back from what is written, with nothing dropped."""
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


@pytest.mark.parametrize("asked", [ASKED, PROMPTED])
@given(data=st.data())
def test_a_response_comes_back_as_it_was(asked: ChatRequest, data: st.DataObject) -> None:
    """What Ollama can answer is read back from what is written, and its package takes it."""
    answered = data.draw(drawn.answered())
    body, dropped = OLLAMA_WRITER.response(answered, asked, NOW)
    assert dropped == []
    assert OLLAMA_CHAT.read_response(body) == answered
    (ollama.ChatResponse if asked is ASKED else ollama.GenerateResponse).model_validate_json(body)


@pytest.mark.parametrize("asked", [ASKED, PROMPTED])
@given(data=st.data())
def test_a_stream_comes_back_as_it_was(asked: ChatRequest, data: st.DataObject) -> None:
    """What is written of a stream, cut anywhere, is read as what it told; the package takes each line."""
    answered = data.draw(drawn.answered(streamed=True))
    writer = OLLAMA_WRITER.stream(asked, NOW)
    stream = b"".join(writer.write(event) for event in drawn.told_of(answered, data.draw(st.integers(1, 20))))
    assert writer.dropped == []
    reader = OLLAMA_CHAT.stream_reader()
    reader.events = []
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=8))
    for start, end in pairwise([0, *sorted(cuts), len(stream)]):
        reader.feed(stream[start:end])
    assert reader.response() == answered
    assert reader.ended
    assert drawn.folded(reader.events) == answered.output_messages
    for line in stream.splitlines():
        (ollama.ChatResponse if asked is ASKED else ollama.GenerateResponse).model_validate_json(line)


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
    ("part", "word"),
    [
        (Uri(modality="image", uri="https://example.com/cat.png"), "messages[0].parts[0]: image uri"),
        (
            Blob(modality="document", mime_type="application/pdf", content="JVBERi0="),
            "messages[0].parts[0]: document blob",
        ),
        (File(modality="document", file_id="f"), "messages[0].parts[0]: document file"),
        (ServerToolCall(name="web", server_tool_call={}), "messages[0].parts[0]: server tool call"),
        (Other(kind="novel"), "messages[0].parts[0]: novel"),
        (Compaction(), "messages[0].parts[0]: compaction"),
        (replace(PNG, name="cat.png"), "messages[0].parts[0].name"),
        (replace(PNG, extra={"openai-chat": {"detail": "low"}}), "messages[0].parts[0].detail"),
        (Text(content="a", citations=[Citation(uri="u")]), "messages[0].parts[0].citations"),
        (Reasoning(content="", extra={"anthropic-messages": {"signature": "s"}}), "messages[0].parts[0].signature"),
        (ToolCall(name="f", arguments="{"), "messages[0].parts[0].arguments"),
        (ToolCallResponse(response="", is_error=True), "messages[0].parts[0].is_error"),
        (
            ToolCallResponse(response=[Uri(modality="image", uri="u")], extra={"gemini": {"x": 1}}),
            "messages[0].parts[0].response[0]: image uri",
        ),
    ],
)
def test_what_a_part_cannot_say_is_named(part: Part, word: str) -> None:
    """URLs, files, documents, server tools, and what belongs to other dialects: named, and only that."""
    _, dropped = sent(chat(Message(role="user", parts=[part])))
    assert dropped[:1] == [word]


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


def test_a_name_is_said_in_the_text() -> None:
    """A message has no field for who speaks."""
    body, dropped = sent(chat(Message(role="user", name="ann", parts=[Text(content="Hi")])))
    assert body["messages"] == [{"role": "user", "content": "ann: Hi"}]
    assert dropped == []


def test_results_among_other_parts_are_messages_before_them() -> None:
    """A turn that has both is two messages; its own extra stays on the second."""
    parts: list[Part] = [Text(content="so"), ToolCallResponse(id="a", name="f", response=7)]
    body, _ = sent(chat(Message(role="user", parts=parts, extra={"ollama": {"novel": 1}, "gemini": {"x": 1}})))
    assert body["messages"] == [
        {"role": "tool", "content": "7", "tool_name": "f", "tool_call_id": "a"},
        {"role": "user", "content": "so", "novel": 1},
    ]


def test_only_the_first_prompt_is_completed() -> None:
    """Prompts beyond the first, and what is no prompt, are named."""
    parts: list[Part] = [Text(content="a"), Text(content="b"), Uri(modality="image", uri="u"), Reasoning(content="r")]
    asked = replace(PROMPTED, input_messages=[Message(role="user", parts=parts)])
    body, dropped = sent(asked)
    assert body == {"model": "qwen3", "prompt": "a", "stream": False}
    assert dropped == ["messages[0].parts[1]: text", "messages[0].parts[2]: image uri", "messages: thinking"]


def test_a_whole_response_as_it_is_written() -> None:
    """Texts are one text, a refusal too; counts and dates are in Ollama's words."""
    parts = [Text(content="It is ", logprobs=[TokenLogprob(token="It", logprob=-1.0)]), Refusal(content="secret.")]
    usage = Usage(input_tokens=3, output_tokens=4, total_tokens=7, cache_read_tokens=2, reasoning_tokens=0)
    body, dropped = told(parts, id="r-1", usage=usage, extra={"openai-chat": {"system_fingerprint": "f"}})
    assert body == {
        "model": "m",
        "created_at": "2026-11-20T08:20:00.250000Z",
        "message": {"role": "assistant", "content": "It is secret."},
        "logprobs": [{"token": "It", "logprob": -1.0}],
        "done": True,
        "done_reason": "stop",
        "prompt_eval_count": 3,
        "eval_count": 4,
    }
    assert dropped == ["usage.cache_read_tokens", "system_fingerprint"]


def test_the_answer_to_a_prompt_has_its_own_shape() -> None:
    """Who asked to complete a prompt gets `response`, and its package reads it."""
    body, dropped = told([Reasoning(content="hm"), Text(content="blue"), PNG], PROMPTED)
    assert (body["response"], body["thinking"], "message" in body) == ("blue", "hm", False)
    assert dropped == ["choices[0]: images"]
    assert ollama.GenerateResponse.model_validate(body).response == "blue"


def test_other_choices_are_named() -> None:
    """There is room for one choice."""
    messages = [Message(role="assistant", parts=[Text(content=c)], finish_reason="stop") for c in "ab"]
    body, dropped = OLLAMA_WRITER.response(ChatResponse(output_messages=messages, conversation_id="c"), ASKED, NOW)
    assert json.loads(body)["message"]["content"] == "a"
    assert dropped == ["conversation", "choices[1]"]


def test_a_response_that_is_an_error_is_written_as_one() -> None:
    """A provider may tell of an error in a body that looks well."""
    body, _ = OLLAMA_WRITER.response(ChatResponse(error_type="overloaded", error_message="busy"), ASKED, NOW)
    assert json.loads(body) == {"error": "busy"}


def test_each_delta_leaves_at_once() -> None:
    """A piece of text is a line as soon as it is told; a tool call is one once it is whole."""
    writer = OLLAMA_WRITER.stream(ASKED, NOW)
    call = ToolCall(id="c", name="f", arguments={"a": 1})
    steps: list[tuple[events.Event, dict[str, Any] | None]] = [
        (events.Begun(id="r", model="m", created=0, usage=Usage(input_tokens=5)), None),
        (events.PartBegun(index=0, part=Reasoning(content="")), None),
        (events.PartGrown(index=0, text="hm"), {"role": "assistant", "content": "", "thinking": "hm"}),
        (events.PartBegun(index=1, part=Text(content="")), None),
        (events.PartGrown(index=1, text="a"), {"role": "assistant", "content": "a"}),
        (events.PartDone(index=0, part=Reasoning(content="hm", extra={"gemini": {"x": 1}})), None),
        (events.PartBegun(index=2, part=replace(call, arguments=None)), None),
        (events.PartGrown(index=2, text='{"a":1}'), None),
        (
            events.PartDone(index=2, part=call),
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"id": "c", "function": {"index": 0, "name": "f", "arguments": {"a": 1}}}],
            },
        ),
        (
            events.PartDone(index=4, part=ToolCall(name="g")),
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"function": {"index": 1, "name": "g", "arguments": {}}}],
            },
        ),
        (events.PartDone(index=1, part=Text(content="a")), None),
        (events.PartBegun(index=3, part=PNG), None),
        (events.PartDone(index=3, part=PNG), None),
        (events.PartGrown(index=0, choice=1, text="b"), None),
        (events.ChoiceDone(finish_reason="tool_calls"), None),
        (events.UsageUpdated(usage=Usage(output_tokens=7, reasoning_tokens=1)), None),
    ]
    for event, message in steps:
        line = writer.write(event)
        assert line.endswith(b"\n") or line == b""
        assert (json.loads(line)["message"] if line else None) == message
    assert json.loads(writer.write(events.Ended())) == {
        "model": "m",
        "created_at": "1970-01-01T00:00:00Z",
        "message": {"role": "assistant", "content": ""},
        "done": True,
        "done_reason": "stop",
        "prompt_eval_count": 5,
        "eval_count": 7,
    }
    assert writer.dropped == [
        "choices[0].parts[0].x",
        "choices[0]: images",
        "choices[1]",
        "usage.reasoning_tokens",
    ]
    assert writer.content_type == "application/x-ndjson"


def test_a_stream_that_breaks_ends_with_the_error() -> None:
    """The package raises what stands in an `error` line."""
    for broken, message in (
        (events.Broken(type="overloaded_error", message="busy"), "busy"),
        (events.Broken(type="overloaded_error"), "overloaded_error"),
    ):
        assert json.loads(OLLAMA_WRITER.stream(ASKED, NOW).write(broken)) == {"error": message}


def test_an_error_body_is_what_the_package_raises() -> None:
    """An error has a message, which the package's exception shows."""
    body = OLLAMA_WRITER.error(Kind.NOT_FOUND, 404, "no such model", "model_not_found", "req-1")
    assert ollama.ResponseError(body.decode(), 404).error == "no such model"


@given(data=st.data())
def test_whatever_another_dialect_says_is_written_or_named(data: st.DataObject) -> None:
    """Any sequence of parts gives JSON that the package takes, whatever stands in them."""
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
