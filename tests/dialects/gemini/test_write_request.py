from itertools import pairwise
from typing import Any

import pytest
from google.genai import types
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from pydantic import TypeAdapter

from gateway.dialects.conversation import (
    Blob,
    ChatRequest,
    ChatResponse,
    Reasoning,
    ResponseFormat,
    ServerToolCall,
    Text,
    Tool,
    ToolCall,
    ToolCallResponse,
    ToolChoice,
)
from gateway.dialects.gemini import GEMINI, GEMINI_ARRAY_WRITER, GEMINI_WRITER
from gateway.dialects.shared.writer import Writer
from tests.dialects import strategies_gemini as drawn
from tests.dialects.gemini.requests import ASKED, SKIP, contents, message_of, sent

NOW = 1795162800.25


PNG = Blob(modality="image", mime_type="image/png", content="iVBORw0KGgo=")


@given(drawn.asked())
def test_a_request_comes_back_as_it_was(asked: ChatRequest) -> None:
    """Any request to Gemini is written and read back the same, with nothing dropped."""
    written = GEMINI_WRITER.request(asked)
    assert written.dropped == []
    assert written.query == ("alt=sse" if asked.stream else "")
    read = GEMINI.read_conversation(written.body, f"/v1beta{written.path}") if GEMINI.read_conversation else None
    assert read is not None
    assert replace(read, tool_definitions=None) == asked


@given(drawn.answered())
def test_a_response_comes_back_as_it_was(answered: ChatResponse) -> None:
    """Any response of Gemini is written and read back the same, with nothing dropped."""
    body, dropped = GEMINI_WRITER.response(answered, ASKED, NOW)
    assert dropped == []
    assert GEMINI.read_response(body) == answered


@pytest.mark.parametrize("writer", [GEMINI_WRITER, GEMINI_ARRAY_WRITER])
@given(data=st.data())
def test_a_stream_comes_back_as_it_was(writer: Writer, data: st.DataObject) -> None:
    """A written stream, cut anywhere and in either framing, is read as the same events."""
    answered = data.draw(drawn.answered(streamed=True))
    stream = writer.stream(ASKED, NOW)
    wire = b"".join(stream.write(event) for event in drawn.stream_events(answered, data.draw(st.integers(1, 20))))
    assert stream.dropped == []
    reader = GEMINI.stream_reader()
    reader.events = []
    cuts = sorted(c % (len(wire) + 1) for c in data.draw(st.lists(st.integers(0, 5000), max_size=20)))
    for a, b in pairwise([0, *cuts, len(wire)]):
        reader.feed(wire[a:b])
    assert (reader.ended, reader.unread) == (True, 0)
    assert reader.response() == answered
    assert drawn.folded(reader.events) == answered.output_messages


@pytest.mark.parametrize(
    ("model", "stream", "path"),
    [
        ("gemini-3-flash", False, "/models/gemini-3-flash:generateContent"),
        ("gemini-3-flash", True, "/models/gemini-3-flash:streamGenerateContent"),
        ("models/gemini-3-flash", False, "/models/gemini-3-flash:generateContent"),
        ("tunedModels/mine", False, "/tunedModels/mine:generateContent"),
        ("a b?c#d", False, "/models/a%20b%3Fc%23d:generateContent"),
        ("../files", False, "/models/..%2Ffiles:generateContent"),
        (None, False, "/models/:generateContent"),
    ],
)
def test_the_path_says_the_model_and_whether_it_streams(model: str | None, stream: bool, path: str) -> None:
    """The model's name stays within its place in the path."""
    written = GEMINI_WRITER.request(replace(ASKED, model=model, stream=stream))
    assert (written.path, written.query) == (path, "alt=sse" if stream else "")


def test_a_conversation_of_another_dialect_is_gemini_s() -> None:
    """Instructions go to the top, results get their call's name and are one turn, and calls are marked as unsigned."""
    written, dropped = sent(
        replace(
            ASKED,
            input_messages=[
                message_of("system", Text(content="Be brief.")),
                message_of("developer", Text(content="Be kind.")),
                message_of("user", Text(content="Compare:"), PNG, name="ann"),
                message_of(
                    "assistant",
                    Reasoning(content="Two calls.", extra={"anthropic-messages": {"signature": "s"}}),
                    ToolCall(id="c1", name="look", arguments={"a": 1}),
                    ToolCall(id="c2", name="find", arguments=None),
                ),
                message_of("tool", ToolCallResponse(id="c2", response="lost", is_error=True)),
                message_of("tool", ToolCallResponse(id="c1", response=[Text(content="a cat"), PNG])),
                message_of("user", Text(content="And?")),
            ],
        )
    )
    assert written["systemInstruction"] == {"parts": [{"text": "Be brief."}, {"text": "Be kind."}]}
    png = {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}
    assert written["contents"] == [
        {"role": "user", "parts": [{"text": "ann: Compare:"}, png]},
        {
            "role": "model",
            "parts": [
                {"text": "Two calls.", "thought": True},
                {"functionCall": {"id": "c1", "name": "look", "args": {"a": 1}}, "thoughtSignature": SKIP},
                {"functionCall": {"id": "c2", "name": "find", "args": {}}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"id": "c2", "name": "find", "response": {"error": "lost"}}},
                {"functionResponse": {"id": "c1", "name": "look", "response": {"output": "a cat"}, "parts": [png]}},
            ],
        },
        {"role": "user", "parts": [{"text": "And?"}]},
    ]
    assert dropped == ["messages[3].parts[0].signature"]
    TypeAdapter(list[types.Content]).validate_python(written["contents"])


@pytest.mark.parametrize(
    ("model", "marked"),
    [
        ("gemini-3-flash", True),
        ("gemini-3.1-pro-preview", True),
        ("gemini-flash-latest", True),
        ("gemini-2.5-pro", False),
        ("gemini-1.5-flash", False),
        ("gemma-3", False),
    ],
)
def test_calls_without_a_signature_are_marked_where_one_is_demanded(model: str, marked: bool) -> None:
    """Models since Gemini 3 refuse a call without one; one that is signed by Gemini needs no mark."""
    call = ToolCall(id="c", name="f", arguments={})
    own = replace(call, extra={"gemini": {"thoughtSignature": "c2ln"}})
    ((turn, signed), _) = contents(message_of("assistant", call), message_of("assistant", call, own), model=model)
    assert turn["parts"][0].get("thoughtSignature") == (SKIP if marked else None)
    assert [part.get("thoughtSignature") for part in signed["parts"]] == [None, "c2ln"]


def test_media_of_tools_follow_their_results_for_models_that_cannot_hold_them() -> None:
    """Before Gemini 3 a function's response had no parts."""
    turns, dropped = contents(
        message_of("assistant", ToolCall(id="a", name="look", arguments={})),
        message_of("tool", ToolCallResponse(id="a", response=[PNG])),
        message_of("tool", ToolCallResponse(id="b", name="see", response=[Text(content="1"), Text(content="2"), PNG])),
        message_of("user", Text(content="Well?")),
        model="gemini-2.5-flash",
    )
    png = {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}
    assert turns[1:] == [
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"id": "a", "name": "look", "response": {"output": ""}}},
                {"functionResponse": {"id": "b", "name": "see", "response": {"output": "1\n2"}}},
            ],
        },
        {"role": "user", "parts": [png, png]},
        {"role": "user", "parts": [{"text": "Well?"}]},
    ]
    assert dropped == []


def test_results_that_media_come_between_are_two_turns() -> None:
    """Results are one turn only if nothing is between them."""
    result = ToolCallResponse(id="a", name="look", response="")
    foreign = ServerToolCall(name="web_search", server_tool_call={"type": "web_search"})
    shown = replace(result, response=[PNG])
    turns, _ = contents(
        message_of("tool", shown), message_of("assistant", foreign), message_of("tool", result), model="gemini-2.5-pro"
    )
    assert [[*part] for turn in turns for part in turn["parts"]] == [
        ["functionResponse"],
        ["inlineData"],
        ["functionResponse"],
    ]
    assert len(turns) == 3


def test_instructions_have_their_place() -> None:
    """Later ones lose theirs, and say so; media are no instructions; where there is nothing else, they are the turn."""
    body, dropped = sent(
        replace(
            ASKED,
            system_instructions=[Text(content="a", cache="1h"), PNG],
            input_messages=[message_of("user", Text(content="hi")), message_of("system", Text(content="b"))],
        )
    )
    assert body["systemInstruction"] == {"parts": [{"text": "a"}, {"text": "b"}]}
    assert dropped == ["cache", "system.parts[1]", "messages[1]: place"]
    body, _ = sent(replace(ASKED, input_messages=[message_of("system", Text(content="a"))]))
    assert body == {"contents": [{"role": "user", "parts": [{"text": "a"}]}]}
    _, dropped = contents(message_of("user", PNG, name="ann"))
    assert dropped == ["messages[0].name"]


def test_what_has_no_word_is_named() -> None:
    """Settings of another dialect that Gemini lacks are in the list, each by its name."""
    body, dropped = sent(
        replace(
            ASKED,
            input_messages=[message_of("user", Text(content="hi"), extra={"openai-chat": {"weight": 1}})],
            parameters={"gen_ai.request.encoding_formats": ["float"], "gen_ai.request.previous_response.id": "r"},
            user="u",
            metadata={"a": "b"},
            conversation_id="c",
            parallel_tool_calls=False,
            include_usage=True,
            tools=[
                Tool(name="web_search", kind="server", extra={"openai-responses": {"type": "web_search"}}),
                Tool(name="f", cache="default", extra={"anthropic-messages": {"defer_loading": True}}),
            ],
            tool_choice=ToolChoice(mode="auto", extra={"openai-chat": {"type": "allowed_tools"}}),
            response_format=ResponseFormat(type="json_schema", name="n", description="d", schema={}),
            extra={"openai-chat": {"logit_bias": {}, "store": True}, "gemini": {"labels": {"a": "b"}}},
        )
    )
    assert body == {
        "contents": [{"role": "user", "parts": [{"text": "hi"}]}],
        "generationConfig": {"responseMimeType": "application/json", "responseJsonSchema": {}},
        "tools": [{"functionDeclarations": [{"name": "f"}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "AUTO"}},
        "labels": {"a": "b"},
    }
    assert sorted(dropped) == sorted(
        [
            "messages[0].weight",
            "encoding_formats",
            "previous_response.id",
            "response_format.description",
            "cache",
            "tools.web_search",
            "tools.f.defer_loading",
            "tool_choice.type",
            "user",
            "metadata",
            "conversation",
            "parallel_tool_calls",
            "logit_bias",
            "store",
        ]
    )


LOOK = Tool(name="look", parameters={"type": "object", "$defs": {"x": {}}}, strict=True)


FIND = Tool(name="find", description="Finds.")


@pytest.mark.parametrize(
    ("model", "tools", "choice", "calling", "dropped"),
    [
        ("gemini-3-flash", [FIND], None, None, []),
        ("gemini-3-flash", [FIND], ToolChoice(mode="required"), {"mode": "ANY"}, []),
        ("gemini-3-flash", [LOOK], ToolChoice(mode="required"), {"mode": "ANY"}, []),
        (
            "gemini-3-flash",
            [LOOK],
            ToolChoice(mode="tool", name="look"),
            {"mode": "ANY", "allowedFunctionNames": ["look"]},
            [],
        ),
        ("gemini-3-flash", [LOOK], None, {"mode": "VALIDATED"}, []),
        ("gemini-3-flash", [LOOK], ToolChoice(mode="none"), {"mode": "NONE"}, []),
        ("gemini-3-flash", [LOOK, FIND], None, {"mode": "AUTO"}, ["tools.look.strict"]),
        ("gemini-2.0-flash", [LOOK], None, {"mode": "AUTO"}, ["tools.look.strict"]),
        ("gemini-3-flash", [], ToolChoice(mode="required"), None, ["tool_choice"]),
        ("gemini-3-flash", [], ToolChoice(mode="auto"), None, []),
    ],
)
def test_whether_functions_are_called_is_written(
    model: str, tools: list[Tool], choice: ToolChoice | None, calling: Any, dropped: list[str]
) -> None:
    """A choice has its mode; strict functions are held to their schemas where the mode can say so for all."""
    body, names = sent(replace(ASKED, model=model, tools=tools, tool_choice=choice))
    assert body.get("toolConfig", {}).get("functionCallingConfig") == calling
    assert names == dropped


def test_tools_are_declared_with_their_schemas_untouched() -> None:
    """A JSON schema goes where one belongs; a custom tool is a function of one text; the package takes all of it."""
    patch = Tool(name="patch", kind="custom", description="Patches.")
    body, dropped = sent(replace(ASKED, tools=[LOOK, patch, replace(FIND, parameters=None)]))
    (declared,) = body["tools"]
    assert declared["functionDeclarations"] == [
        {"name": "look", "parametersJsonSchema": LOOK.parameters},
        {
            "name": "patch",
            "description": "Patches.",
            "parametersJsonSchema": {
                "type": "object",
                "properties": {"input": {"type": "string"}},
                "required": ["input"],
            },
        },
        {"name": "find", "description": "Finds."},
    ]
    assert dropped == ["tools.look.strict"]
    types.Tool.model_validate(declared)


@pytest.mark.parametrize(
    ("model", "level", "budget", "thinking", "dropped"),
    [
        ("gemini-3-flash", "low", None, {"thinkingLevel": "LOW"}, []),
        ("gemini-3-flash", "minimal", None, {"thinkingLevel": "MINIMAL"}, []),
        ("gemini-3-pro", "minimal", None, {"thinkingLevel": "LOW"}, ["reasoning.level: minimal"]),
        ("gemini-3-flash", "none", None, {"thinkingLevel": "MINIMAL"}, ["reasoning.level: none"]),
        ("gemini-3-flash", "disabled", None, {"thinkingLevel": "MINIMAL"}, ["reasoning.level: none"]),
        ("gemini-3-flash", "xhigh", None, {"thinkingLevel": "XHIGH"}, []),
        ("gemini-3-flash", "max", None, {"thinkingLevel": "HIGH"}, ["reasoning.level: max"]),
        ("gemini-3-flash", "enabled", 2000, {"thinkingBudget": 2000}, []),
        ("gemini-3-flash", "high", 2000, {"thinkingBudget": 2000}, ["reasoning.level"]),
        ("gemini-3-flash", "adaptive", None, {}, []),
        ("gemini-3-flash", "novel", None, {}, ["reasoning.level: novel"]),
        ("gemini-2.5-flash", "none", None, {"thinkingBudget": 0}, []),
        ("gemini-2.5-flash", "medium", None, {"thinkingBudget": 8192}, []),
        ("gemini-2.5-flash", "max", None, {"thinkingBudget": 24576}, []),
        ("gemini-2.5-flash", "adaptive", None, {"thinkingBudget": -1}, []),
        ("gemini-2.5-flash", None, None, {}, []),
    ],
)
def test_thinking_is_a_level_or_a_budget(
    model: str, level: str | None, budget: int | None, thinking: dict[str, Any], dropped: list[str]
) -> None:
    """Models before Gemini 3 take budgets only, and the API refuses both at once."""
    parameters: Any = {} if level is None else {"gen_ai.request.reasoning.level": level}
    asked = replace(ASKED, model=model, parameters=parameters, reasoning_budget=budget)
    body, names = sent(asked)
    assert body.get("generationConfig", {}).get("thinkingConfig", {}) == thinking
    assert names == dropped
    body, _ = sent(replace(asked, show_reasoning=True))
    assert body["generationConfig"]["thinkingConfig"] == thinking | {"includeThoughts": True}


def test_modalities_are_asked_for() -> None:
    """Speech and images are modalities; what Gemini's own client asked for stays as it was."""
    for word, modalities in (("speech", ["AUDIO"]), ("image", ["TEXT", "IMAGE"])):
        asked = replace(ASKED, parameters={"gen_ai.output.type": word})
        assert sent(asked)[0]["generationConfig"] == {"responseModalities": modalities}
        own = replace(asked, extra={"gemini": {"generationConfig": {"responseModalities": ["IMAGE"]}}})
        assert sent(own)[0]["generationConfig"] == {"responseModalities": ["IMAGE"]}
