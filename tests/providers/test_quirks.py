import json
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.dialects.conversation import (
    Blob,
    ChatRequest,
    Message,
    Part,
    Reasoning,
    ResponseFormat,
    Text,
    Tool,
    ToolCall,
    ToolCallResponse,
    ToolChoice,
)
from gateway.dialects.openai_chat.write_request import write_request
from gateway.dialects.shared import parameters as name
from gateway.dialects.shared.writer import Written
from gateway.providers.catalog import CATALOG
from gateway.providers.entry import CHAT, Entry
from gateway.providers.quirks import MODES, Quirks, fitted, nine, renamed

ASKED = ChatRequest(operation="chat", model="m")
NAMED = Message(role="user", name="ada", parts=[Text(content="Hi")])
ADD = Tool(name="add", parameters={"type": "object"}, strict=True)
SUB = Tool(name="sub", parameters={"type": "object"})
SHELL = Tool(name="shell", kind="custom", description="Run it.", extra={CHAT: {"format": {"type": "text"}}})
FORCED = ToolChoice(mode="tool", name="add")
SCHEMA = ResponseFormat(type="json_schema", name="answer", schema={"type": "object", "properties": {}})
TAKES_REASONING = Quirks(reasoning="reasoning_content")
CHATS = [entry for entry in CATALOG.values() if CHAT in entry.dialects]


def says(role: str, *texts: str, **more: Any) -> Message:
    """Make a turn of texts."""
    return Message(role=role, parts=[Text(content=text) for text in texts], **more)


def turns(asked: ChatRequest) -> list[tuple[str, list[Any]]]:
    """Return the turns as roles and texts."""
    return [(m.role, [getattr(part, "content", part) for part in m.parts]) for m in asked.input_messages]


EVERYTHING = ChatRequest(
    operation="chat",
    model="m",
    stream=True,
    system_instructions=[Text(content="Be brief.")],
    input_messages=[
        says("developer", "Be kind."),
        NAMED,
        says("user", "Add 1 and 2."),
        Message(
            role="assistant",
            name="bob",
            parts=[
                Reasoning(content="Hm"),
                ToolCall(id="call_0123456789", name="add", arguments={"a": 1}),
                ToolCall(id="call_abcdefghij", name="add", arguments={"a": 2}),
            ],
        ),
        Message(role="tool", parts=[ToolCallResponse(id="call_0123456789", name="add", response="3")]),
        Message(role="tool", parts=[ToolCallResponse(id="call_abcdefghij", name="add", response="4")]),
        says("system", "Go on."),
        says("user", "And?"),
    ],
    parameters={
        name.MAX_TOKENS: 100,
        name.TEMPERATURE: 0.5,
        name.TOP_P: 0.9,
        name.TOP_K: 40,
        name.SEED: 7,
        name.STOP_SEQUENCES: ["END"],
        name.FREQUENCY_PENALTY: 0.25,
        name.PRESENCE_PENALTY: 0.5,
        name.CHOICE_COUNT: 2,
        name.REASONING_LEVEL: "low",
    },
    user="u",
    tools=[ADD, SUB, SHELL],
    tool_choice=FORCED,
    parallel_tool_calls=False,
    response_format=SCHEMA,
    logprobs=True,
    top_logprobs=3,
    include_usage=True,
    metadata={"a": "b"},
    extra={CHAT: {"logit_bias": {"50256": -100}, "service_tier": "flex", "store": True}},
)


def test_openais_own_ways_change_nothing() -> None:
    """For a provider without quirks a request stays as it is."""
    assert fitted(TAKES_REASONING, EVERYTHING) == (EVERYTHING, [])


@pytest.mark.parametrize(
    ("field", "asked", "lost"),
    [
        ("temperature", replace(ASKED, parameters={name.TEMPERATURE: 0.5}), True),
        ("temperature", replace(ASKED, parameters={name.TEMPERATURE: 1.0}), False),
        ("top_p", replace(ASKED, parameters={name.TOP_P: 0.9}), True),
        ("top_p", replace(ASKED, parameters={name.TOP_P: 1.0}), False),
        ("top_k", replace(ASKED, parameters={name.TOP_K: 40}), True),
        ("seed", replace(ASKED, parameters={name.SEED: 0}), True),
        ("stop", replace(ASKED, parameters={name.STOP_SEQUENCES: ["END"]}), True),
        ("max_tokens", replace(ASKED, parameters={name.MAX_TOKENS: 100}), True),
        ("n", replace(ASKED, parameters={name.CHOICE_COUNT: 2}), True),
        ("frequency_penalty", replace(ASKED, parameters={name.FREQUENCY_PENALTY: 0.5}), True),
        ("frequency_penalty", replace(ASKED, parameters={name.FREQUENCY_PENALTY: 0.0}), False),
        ("presence_penalty", replace(ASKED, parameters={name.PRESENCE_PENALTY: -0.5}), True),
        ("presence_penalty", replace(ASKED, parameters={name.PRESENCE_PENALTY: 0.0}), False),
        ("reasoning_effort", replace(ASKED, parameters={name.REASONING_LEVEL: "low"}), True),
        ("reasoning_effort", replace(ASKED, reasoning_budget=1024), True),
        ("logprobs", replace(ASKED, logprobs=True), True),
        ("logprobs", replace(ASKED, logprobs=False), False),
        ("top_logprobs", replace(ASKED, top_logprobs=2), True),
        ("parallel_tool_calls", replace(ASKED, tools=[ADD], parallel_tool_calls=False), True),
        ("parallel_tool_calls", replace(ASKED, tools=[ADD], parallel_tool_calls=True), False),
        ("user", replace(ASKED, user="u"), True),
        ("metadata", replace(ASKED, metadata={"a": "b"}), True),
        ("response_format", replace(ASKED, response_format=SCHEMA), True),
        ("stream_options", replace(ASKED, stream=True, include_usage=True), False),
        ("logit_bias", replace(ASKED, extra={CHAT: {"logit_bias": {"1": 2}}}), True),
    ],
)
def test_a_refused_field_is_not_said(field: str, asked: ChatRequest, *, lost: bool) -> None:
    """Refused fields are dropped, and named unless they had their default value."""
    assert field in json.loads(written(Quirks(max_tokens="max_tokens"), asked))
    quirks = Quirks(refuses=frozenset({field}), max_tokens="max_tokens")
    fit, dropped = fitted(quirks, asked)
    assert dropped == ([field] if lost else [])
    assert field not in json.loads(written(quirks, fit))
    assert fitted(quirks, ASKED) == (ASKED, [])


def written(quirks: Quirks, asked: ChatRequest) -> bytes:
    """Write a request as the provider calls its fields."""
    return renamed(quirks, write_request(asked)).body


def test_what_is_not_refused_stays() -> None:
    """A refused field takes nothing else with it, and what was asked is left as it was."""
    asked = replace(EVERYTHING, extra={**EVERYTHING.extra, "gemini": {"labels": {}}})
    before = msgspec.json.encode(asked)
    fit, dropped = fitted(replace(TAKES_REASONING, refuses=frozenset({"top_k", "logit_bias"})), asked)
    assert dropped == ["logit_bias", "top_k"]
    assert fit.extra == {CHAT: {"service_tier": "flex", "store": True}, "gemini": {"labels": {}}}
    assert fit.parameters == {k: v for k, v in asked.parameters.items() if k != name.TOP_K}
    assert msgspec.json.encode(asked) == before


def test_only_fields_that_are_known_are_taken() -> None:
    """A provider that lists its fields gets no others of those that OpenAI or another provider added."""
    fit, dropped = fitted(replace(TAKES_REASONING, takes=frozenset({"service_tier", "documents"})), EVERYTHING)
    assert dropped == ["logit_bias", "store"]
    assert fit == replace(EVERYTHING, extra={CHAT: {"service_tier": "flex"}})


@pytest.mark.parametrize(("model", "lost"), [("o3-mini", ["top_p"]), ("gpt-o3", []), (None, [])])
def test_a_models_refusals_are_added(model: str | None, lost: list[str]) -> None:
    """Fields refused by some models are dropped for those whose names match."""
    quirks = Quirks(refuses_by_model=((r"o\d", frozenset({"top_p"})),))
    assert fitted(quirks, replace(ASKED, model=model, parameters={name.TOP_P: 0.5}))[1] == lost


def test_a_developers_message_is_the_systems() -> None:
    """Without a role `developer` its messages get the role `system`, and nothing is lost."""
    asked = replace(ASKED, input_messages=[says("developer", "Be kind."), says("user", "Hi")])
    fit, dropped = fitted(Quirks(developer=False), asked)
    assert turns(fit) == [("system", ["Be kind."]), ("user", ["Hi"])]
    assert dropped == []


def test_a_users_name_is_put_into_the_text() -> None:
    """If a user's message cannot have a `name`, its text begins with it."""
    fit, dropped = fitted(Quirks(names=frozenset()), replace(ASKED, input_messages=[NAMED, says("user", "Yes")]))
    assert turns(fit) == [("user", ["ada: Hi"]), ("user", ["Yes"])]
    assert [m.name for m in fit.input_messages] == [None, None]
    assert dropped == []


def test_an_assistants_name_is_named_as_lost() -> None:
    """An assistant's name is dropped: in the text the model would repeat it."""
    turn = says("assistant", "Hello", name="bob")
    fit, dropped = fitted(Quirks(names=frozenset({"user"})), replace(ASKED, input_messages=[NAMED, turn]))
    assert fit.input_messages == [NAMED, says("assistant", "Hello")]
    assert dropped == ["messages[1].name"]


def test_a_results_tool_is_known_by_its_call() -> None:
    """If a tool's message cannot have a `name` it is dropped without being named: the call has it."""
    result = ToolCallResponse(id="1", name="add", response="3")
    asked = replace(ASKED, input_messages=[Message(role="tool", parts=[result])])
    fit, dropped = fitted(Quirks(names=frozenset({"user"})), asked)
    assert fit.input_messages == [Message(role="tool", parts=[replace(result, name=None)])]
    assert dropped == []
    assert fitted(Quirks(names=frozenset({"tool"})), asked) == (asked, [])


def test_the_systems_words_come_first() -> None:
    """One system message stands before all others; what moved there from between them is named."""
    asked = replace(
        ASKED,
        system_instructions=[Text(content="A")],
        input_messages=[says("developer", "B"), says("user", "Hi"), says("system", "C"), says("user", "Yes")],
    )
    fit, dropped = fitted(Quirks(system="first"), asked)
    assert fit.system_instructions == [Text(content="A"), Text(content="B"), Text(content="C")]
    assert turns(fit) == [("user", ["Hi"]), ("user", ["Yes"])]
    assert dropped == ["messages[2]: place"]


def test_turns_alternate() -> None:
    """Turns of one speaker that follow one another become one; tools' results stay apart."""
    results = [Message(role="tool", parts=[ToolCallResponse(id=each, response="r")]) for each in "12"]
    asked = replace(
        ASKED,
        input_messages=[
            says("user", "a"),
            says("user", "b", extra={CHAT: {"x": 1}}),
            says("assistant", "c"),
            says("assistant", "d", "e"),
            *results,
            says("user", "f"),
        ],
    )
    fit, dropped = fitted(Quirks(alternates=True), asked)
    assert [(m.role, len(m.parts)) for m in fit.input_messages] == [
        ("user", 2),
        ("assistant", 3),
        ("tool", 1),
        ("tool", 1),
        ("user", 1),
    ]
    assert fit.input_messages[0].extra == {CHAT: {"x": 1}}
    assert dropped == []


def test_reasoning_goes_back_only_where_it_is_taken() -> None:
    """A turn's reasoning is named as lost where there is no field for it, and a turn of nothing else with it."""
    thought = Reasoning(content="Hm")
    asked = replace(
        ASKED,
        input_messages=[
            says("user", "Hi"),
            Message(role="assistant", parts=[thought]),
            says("user", "Well?"),
            Message(role="assistant", parts=[thought, Text(content="Hello")]),
            says("user", "Bye"),
        ],
    )
    fit, dropped = fitted(Quirks(reasoning=None), asked)
    assert turns(fit) == [("user", ["Hi"]), ("user", ["Well?"]), ("assistant", ["Hello"]), ("user", ["Bye"])]
    assert dropped == ["messages[1].parts[0]: reasoning", "messages[3].parts[0]: reasoning"]
    assert fitted(Quirks(reasoning="reasoning"), asked) == (asked, [])


def test_openais_turns_take_no_reasoning() -> None:
    """OpenAI's chat completions have no field for reasoning, so it is left out by default."""
    turn = Message(role="assistant", parts=[Reasoning(content="Hm"), Text(content="Hello")])
    fit, dropped = fitted(Quirks(), replace(ASKED, input_messages=[turn]))
    assert fit.input_messages == [says("assistant", "Hello")]
    assert dropped == ["messages[0].parts[0]: reasoning"]


AUTO, NONE, REQUIRED = (ToolChoice(mode=mode) for mode in ("auto", "none", "required"))


@pytest.mark.parametrize(
    ("understood", "choice", "tools", "expected", "lost"),
    [
        ({"auto", "none", "required"}, FORCED, [ADD], REQUIRED, []),
        ({"auto", "none", "required"}, REQUIRED, [ADD, SUB], REQUIRED, []),
        ({"auto", "none"}, FORCED, [ADD, SUB], None, ["tool_choice"]),
        ({"auto", "none"}, REQUIRED, [ADD, SUB], None, ["tool_choice"]),
        ({"auto"}, NONE, [], None, []),
        ({"auto"}, AUTO, [ADD, SUB], AUTO, []),
        (MODES, FORCED, [ADD, SUB], FORCED, []),
        (MODES, None, [ADD, SUB], None, []),
    ],
)
def test_a_choice_of_tools_is_said_in_words_that_are_understood(
    understood: set[str], choice: ToolChoice | None, tools: list[Tool], expected: ToolChoice | None, lost: list[str]
) -> None:
    """A tool by its name is the only one that is shown, no tools are none that are shown, the rest is named as lost."""
    asked = replace(ASKED, tools=[ADD, SUB], tool_choice=choice)
    fit, dropped = fitted(Quirks(tool_choice=frozenset(understood)), asked)
    assert (fit.tools, fit.tool_choice, dropped) == (tools, expected, lost)


def test_a_model_that_takes_no_forced_tool_is_left_its_choice() -> None:
    """If `tool_choice` is refused, a forced tool is named as dropped, `none` removes the tools, `auto` is omitted."""
    quirks = Quirks(refuses=frozenset({"tool_choice"}))
    asked = replace(ASKED, tools=[ADD], tool_choice=FORCED)
    assert fitted(quirks, asked) == (replace(asked, tool_choice=None), ["tool_choice"])
    assert fitted(quirks, replace(asked, tool_choice=AUTO)) == (replace(asked, tool_choice=None), [])
    assert fitted(quirks, replace(asked, tool_choice=NONE)) == (replace(asked, tools=[], tool_choice=None), [])


def test_strict_is_not_said_where_it_is_refused() -> None:
    """A tool that was to be held to its schema is named, one that was not is no loss."""
    asked = replace(ASKED, tools=[ADD, replace(SUB, strict=False)])
    fit, dropped = fitted(Quirks(strict=False), asked)
    assert fit.tools == [replace(ADD, strict=None), SUB]
    assert dropped == ["tools.add.strict"]


def test_a_custom_tool_is_a_function_where_there_are_no_others() -> None:
    """A tool that takes any text is a function of one, and so are its calls; the text's form is named as lost."""
    call = ToolCall(id="1", name="shell", arguments="ls", custom=True)
    turn = Message(role="assistant", parts=[call])
    asked = replace(ASKED, tools=[ADD, SHELL, replace(SHELL, name="sh", extra={})], input_messages=[turn])
    fit, dropped = fitted(Quirks(custom=False), asked)
    schema = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
    function = Tool(name="shell", description="Run it.", parameters=schema)
    assert fit.tools == [ADD, function, replace(function, name="sh")]
    assert fit.input_messages == [replace(turn, parts=[replace(call, arguments={"input": "ls"}, custom=False)])]
    assert dropped == ["tools.shell.format"]
    assert fitted(Quirks(), asked) == (asked, [])


@pytest.mark.parametrize(
    ("quirks", "form", "expected", "lost"),
    [
        (Quirks(json_schema=False), SCHEMA, ResponseFormat(type="json"), ["response_format.schema"]),
        (
            Quirks(json_object=False),
            ResponseFormat(type="json"),
            ResponseFormat(type="json_schema", name="object", schema={"type": "object"}),
            [],
        ),
        (Quirks(json_object=False), SCHEMA, SCHEMA, []),
        (Quirks(json_schema=False), ResponseFormat(type="json"), ResponseFormat(type="json"), []),
        (Quirks(json_schema=False, json_object=False), ResponseFormat(type="text"), ResponseFormat(type="text"), []),
        (Quirks(json_schema=False, json_object=False), None, None, []),
    ],
)
def test_a_form_is_asked_for_as_near_as_can_be(
    quirks: Quirks, form: ResponseFormat | None, expected: ResponseFormat | None, lost: list[str]
) -> None:
    """A schema becomes plain JSON where there are none, and plain JSON the schema of any object."""
    fit, dropped = fitted(quirks, replace(ASKED, response_format=form))
    assert (fit.response_format, dropped) == (expected, lost)


@given(st.text())
def test_ids_of_nine_are_the_same_for_the_same(tool_id: str) -> None:
    """Any id becomes nine letters and digits, the same each time, and one that is such stays."""
    made = nine(tool_id)
    assert len(made) == 9
    assert made.isascii()
    assert made.isalnum()
    assert nine(tool_id) == made
    assert nine(made) == made


def test_ids_of_nine_differ_and_meet_their_results() -> None:
    """Calls of one turn keep different ids, and each result that of its call."""
    fit, dropped = fitted(replace(TAKES_REASONING, tool_ids="nine"), EVERYTHING)
    calls = [part.id for m in fit.input_messages for part in m.parts if isinstance(part, ToolCall)]
    results = [part.id for m in fit.input_messages for part in m.parts if isinstance(part, ToolCallResponse)]
    assert calls == results
    assert len(set(calls)) == 2
    assert all(len(each or "") == 9 for each in calls)
    assert dropped == []


def test_ids_of_nine_are_made_where_there_are_none() -> None:
    """A call and its result without ids get one of nine, the same for both."""
    call, result = ToolCall(name="add"), ToolCallResponse(name="add", response="3")
    asked = replace(ASKED, input_messages=[says("user", "a"), Message(role="assistant", parts=[call])])
    asked.input_messages.append(Message(role="tool", parts=[result]))
    fit, _ = fitted(Quirks(tool_ids="nine"), asked)
    (called,), (answer,) = (message.parts for message in fit.input_messages[1:])
    assert called == replace(call, id=nine("call_1"))
    assert answer == replace(result, id=nine("call_1"))


def test_fields_are_called_as_the_provider_calls_them() -> None:
    """The most tokens, the seed and a turn's reasoning have the provider's names; all else stays."""
    body = {
        "model": "m",
        "messages": [{"role": "assistant", "content": "a", "reasoning_content": "t"}, {"role": "user", "content": "b"}],
        "max_completion_tokens": 5,
        "seed": 1,
        "other": {"seed": 2},
    }
    asked = Written(body=msgspec.json.encode(body), path="/chat/completions", dropped=["x"])
    quirks = Quirks(max_tokens="max_tokens", seed="random_seed", reasoning="reasoning")
    said = renamed(quirks, asked)
    assert json.loads(said.body) == {
        "model": "m",
        "messages": [{"role": "assistant", "content": "a", "reasoning": "t"}, {"role": "user", "content": "b"}],
        "max_tokens": 5,
        "random_seed": 1,
        "other": {"seed": 2},
    }
    assert (said.path, said.dropped) == ("/chat/completions", ["x"])


def test_a_body_that_needs_no_other_names_is_not_written_again() -> None:
    """Without renamed fields the bytes stay the same."""
    asked = Written(body=b'{ "model": "m", "max_completion_tokens": 5 }', path="/chat/completions")
    assert renamed(Quirks(), asked) is asked
    assert json.loads(renamed(Quirks(), replace(asked, body=b'{"max_tokens": 5}')).body) == {"max_completion_tokens": 5}


@pytest.mark.parametrize("entry", CHATS, ids=[entry.name for entry in CHATS])
def test_a_provider_is_told_nothing_that_it_refuses(entry: Entry) -> None:
    """Everything that can be asked, fitted and written, has nothing in it that the provider refuses."""
    quirks = entry.quirks
    fit, dropped = fitted(quirks, EVERYTHING)
    body = json.loads(written(quirks, fit))
    assert not body.keys() & quirks.refused("m")
    assert set(dropped) >= (quirks.refuses - {"stream_options"}) & json.loads(written(quirks, EVERYTHING)).keys()
    roles = [message["role"] for message in body["messages"]]
    assert quirks.developer or "developer" not in roles
    if quirks.system == "first":
        assert roles.count("system") == 1
        assert roles[0] == "system"
    if quirks.alternates:
        assert not [pair for pair in pairwise(roles) if pair == ("user", "user")]
    assert all(message["role"] in quirks.names for message in body["messages"] if "name" in message)
    assert quirks.max_tokens in body
    assert ("stream_options" in body) == entry.stream_usage
    assert quirks.strict or not any("strict" in tool["function"] for tool in body["tools"])
    assert quirks.custom or {tool["type"] for tool in body["tools"]} == {"function"}
    assert fitted(quirks, fit) == (fit, [])


PARTS: st.SearchStrategy[Part] = st.one_of(
    st.builds(Text, content=st.text(max_size=4)),
    st.builds(Reasoning, content=st.text(max_size=4)),
    st.builds(ToolCall, id=st.none() | st.text(max_size=10), name=st.sampled_from(["add", "sub"])),
    st.builds(ToolCallResponse, id=st.none() | st.text(max_size=10), response=st.text(max_size=4)),
    st.just(Blob(modality="image", content="iVBORw0KGgo=")),
)
MESSAGES = st.builds(
    Message,
    role=st.sampled_from(["system", "developer", "user", "assistant", "tool"]),
    parts=st.lists(PARTS, max_size=3),
    name=st.none() | st.just("ada"),
)


@given(st.sampled_from(CHATS), st.lists(MESSAGES, max_size=6))
def test_what_is_fitted_fits(entry: Entry, messages: list[Message]) -> None:
    """Any conversation can be fitted to any provider, and once it is, nothing more is changed or lost."""
    fit, _ = fitted(entry.quirks, replace(ASKED, input_messages=messages))
    assert fitted(entry.quirks, fit) == (fit, [])
    json.loads(written(entry.quirks, fit))
