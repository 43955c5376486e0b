"""Ids of tool calls: one each, in the form that the API takes, the same at a call and at its result."""

import json
import re
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects import events
from gateway.dialects.anthropic.write_parts import ID_FORM as ANTHROPIC
from gateway.dialects.bedrock.write_parts import ID_FORM as BEDROCK
from gateway.dialects.conversation import (
    ChatRequest,
    ChatResponse,
    Message,
    ServerToolCall,
    Text,
    ToolCall,
    ToolCallResponse,
)
from gateway.dialects.registry import WRITERS
from gateway.dialects.shared.tool_ids import ANY_FORM, IdForm, ResponseIds, identified, made_id
from tests.dialects.pairs import SPOKEN
from tests.dialects.streams import read, stream_events

REQUEST = ChatRequest(operation="chat", model="m", stream=True)
NOW = 1795162800.25
# Dialects whose clients need an id to send a result back.
NEEDED = ("chat", "responses", "messages", "bedrock")


def ids_of(messages: list[Message]) -> list[str | None]:
    """Return the ids of calls and results, in order."""
    return [part.id for m in messages for part in m.parts if isinstance(part, ToolCall | ToolCallResponse)]


def conversation(*parts: ToolCall | ToolCallResponse) -> list[Message]:
    """Return a message per call or result."""
    return [
        Message(role="assistant" if isinstance(p, ToolCall) else "tool", parts=[Text(content="a"), p]) for p in parts
    ]


def result(call_id: str | None = None, name: str | None = None) -> ToolCallResponse:
    """Return the result of a call."""
    return ToolCallResponse(id=call_id, name=name, response="")


@pytest.mark.parametrize(
    ("form", "call_id", "fit"),
    [
        (ANTHROPIC, "functions.look:0", "functions_look_0"),
        (ANTHROPIC, "call_a-B9", "call_a-B9"),
        (ANTHROPIC, "\u00e9", "_"),
        (ANTHROPIC, "", ""),
        (BEDROCK, "call/1", "call_1"),
        (BEDROCK, "functions.look:0", "functions.look:0"),
        (BEDROCK, "x" * 64, "x" * 64),
        (ANY_FORM, "any \u00e9 text", "any \u00e9 text"),
    ],
)
def test_an_id_is_in_the_characters_that_the_api_takes(form: IdForm, call_id: str, fit: str) -> None:
    """Characters that Anthropic and Bedrock refuse become `_`; an id that they take stays."""
    assert form.fit(call_id) == fit


def test_a_long_id_is_cut_to_one_of_its_own() -> None:
    """Two long ids that begin alike stay two."""
    one, other = BEDROCK.fit("x" * 65), BEDROCK.fit("x" * 66)
    assert len(one) == len(other) == 64
    assert one != other


def test_messages_that_have_ids_stay_as_they_are() -> None:
    """The usual case costs nothing."""
    messages = conversation(ToolCall(id="a", name="f"), result("a"))
    assert identified(messages) is messages


def test_ids_that_are_missing_are_made_so_that_call_and_result_agree() -> None:
    """Across messages, by the tool's name if there is one, and never one that is taken."""
    messages = [
        Message(role="assistant", parts=[ToolCall(name="f"), ToolCall(id="call_1", name="g"), ToolCall(name="h")]),
        Message(role="tool", parts=[result(name="h")]),
        Message(role="tool", parts=[result("call_1"), result()]),
        Message(role="assistant", parts=[ToolCall(name="f")]),
        Message(role="tool", parts=[result(name="f"), result()]),
    ]
    assert ids_of(identified(messages)) == [
        *("call_2", "call_1", "call_3", "call_3", "call_1", "call_2", "call_4", "call_4", "call_5")
    ]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (  # the same id in each turn, as some servers count from 0 again
            [ToolCall(id="c", name="f"), result("c"), ToolCall(id="c", name="f"), result("c")],
            ["c", "c", "c_2", "c_2"],
        ),
        ([ToolCall(id="c", name="f"), ToolCall(id="c", name="g"), result("c"), result("c")], ["c", "c_2", "c", "c_2"]),
        ([ToolCall(id="c", name="f"), result("c"), result("c")], ["c", "c", "c"]),  # two results of one call
        ([ToolCall(id="a.b", name="f"), ToolCall(id="a_b", name="f"), result("a_b")], ["a_b", "a_b_2", "a_b_2"]),
        ([result("lost.1")], ["lost_1"]),
    ],
)
def test_no_two_calls_have_one_id(before: list[ToolCall | ToolCallResponse], after: list[str]) -> None:
    """Anthropic and Bedrock refuse a request in which an id occurs twice; each result stays with its call."""
    assert ids_of(identified(conversation(*before), ANTHROPIC)) == after


def test_results_get_the_names_of_their_calls_where_they_are_wanted() -> None:
    """Gemini and Ollama find a call by its name."""
    messages = conversation(ToolCall(id="a", name="f"), result("a"))
    (named,) = identified(messages, names=True)[1].parts[1:]
    assert named == result("a", "f")
    (unnamed,) = identified(conversation(ToolCall(name="f"), result()))[1].parts[1:]
    assert unnamed == result("call_1")


CALLS = st.builds(ToolCall, id=st.sampled_from([None, "a", "a.b", "a_b", "call_1", "a_2"]), name=st.sampled_from("fg"))
RESULTS = st.builds(result, st.sampled_from([None, "a", "a.b", "call_1"]), st.sampled_from([None, "f", "g"]))


@given(parts=st.lists(CALLS | RESULTS, max_size=8), form=st.sampled_from([ANY_FORM, ANTHROPIC, BEDROCK]))
def test_every_call_of_a_conversation_has_an_id_of_its_own(
    parts: list[ToolCall | ToolCallResponse], form: IdForm
) -> None:
    """Whatever ids a client sends, and doing it twice changes nothing more."""
    messages = identified(conversation(*parts), form)
    calls = [part.id for m in messages for part in m.parts if isinstance(part, ToolCall)]
    assert len(set(calls)) == len(calls)
    assert all(call_id and form.fit(call_id) == call_id for call_id in ids_of(messages))
    assert identified(messages, form) == messages


def test_ids_made_for_a_response_are_those_of_no_other() -> None:
    """The same for the same place in the same response, since a client sends them back; a call's own stays."""
    call = ToolCall(name="f")
    assert ResponseIds("r-1").id_of(call, 0) == ResponseIds("r-1").id_of(call, 0) == made_id("r-1", 0)
    assert re.fullmatch(r"call_[0-9a-f]{8}_0", made_id("r-1", 0))
    assert len({made_id(response_id, index) for response_id in ("r-1", "r-2") for index in (0, 1)}) == 4
    ids = ResponseIds("r-1")
    assert ids.id_of(ToolCall(id="mine", name="f"), 0) == "mine"
    assert ids.id_of(ToolCall(id="mine", name="f"), 0) == "mine"
    assert ids.id_of(ToolCall(id="mine", name="f"), 0, choice=1) == "mine_2"
    assert repr(ids) == "<ResponseIds of r-1: 2>"


def test_calls_of_a_providers_own_tools_keep_their_ids() -> None:
    """Their results come in the same response, by that id."""
    server = ServerToolCall(id=None, name="search", server_tool_call={})
    parts = [server, ToolCall(name="f"), Text(content="a")]
    assert ResponseIds("r").identified(parts) == [server, ToolCall(id=made_id("r", 1), name="f"), Text(content="a")]


TWICE = [
    [None, None],
    ["c", "c"],
    ["a.b", "a_b", "a/b"],
    [None, made_id("r", 0)],
    ["x" * 70, "x" * 71],
]


@pytest.mark.parametrize(("to", "given_ids"), list(product(NEEDED, TWICE)))
def test_no_writer_gives_one_id_twice(to: str, given_ids: list[str | None]) -> None:
    """Whole or streamed, each call of a response has an id, and the same one in both."""
    calls = [ToolCall(id=each, name="f", arguments={}) for each in given_ids]
    message = Message(role="assistant", parts=[*calls], finish_reason="tool_calls")
    response = ChatResponse(id="r", output_messages=[message])
    writer, dialect = SPOKEN[to].writer, SPOKEN[to].dialect
    whole, _ = writer.response(response, REQUEST, NOW)
    stream = writer.stream(REQUEST, NOW)
    reader, _ = read(dialect, b"".join([stream.write(event) for event in stream_events(response)]))
    streamed = ids_of(reader.response().output_messages)
    assert len(set(streamed)) == len(given_ids)
    assert None not in streamed
    assert ids_of(dialect.read_response(whole).output_messages) == streamed


def test_bedrocks_made_ids_differ_from_turn_to_turn() -> None:
    """A client sends both turns back in one conversation, in which an id may stand once."""
    writer = WRITERS["bedrock-converse"]
    message = Message(role="assistant", parts=[ToolCall(name="f", arguments={})], finish_reason="tool_calls")

    def whole(response_id: str | None, now: float) -> str:
        data, _ = writer.response(ChatResponse(id=response_id, output_messages=[message]), REQUEST, now)
        return str(json.loads(data)["output"]["message"]["content"][0]["toolUse"]["toolUseId"])

    assert len({whole("r-1", NOW), whole("r-2", NOW), whole(None, NOW), whole(None, NOW + 1)}) == 4
    stream = writer.stream(REQUEST, NOW)
    begun = [events.Begun(id="r-1"), events.PartBegun(index=0, part=ToolCall(name="f"))]
    assert whole("r-1", NOW).encode() in b"".join([stream.write(event) for event in begun])
