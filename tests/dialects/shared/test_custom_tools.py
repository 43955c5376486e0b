import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects import events
from gateway.dialects.conversation import ChatRequest, ChatResponse, Message, Text, Tool, ToolCall, ToolCallResponse
from gateway.dialects.shared.custom_tools import (
    CustomToolRestorer,
    as_functions,
    custom_tool_names,
    restore_custom_calls,
)
from tests.dialects.streams import stream_events

RUN = frozenset({"run"})
LETTERS = st.text(st.characters(exclude_categories=["Cs"]))


def called(arguments: Any, **more: Any) -> ToolCall:
    """Make a call as a provider without custom tools tells it."""
    return ToolCall(id="c", name="run", arguments=arguments, **more)


def restore(emitted: list[events.Event]) -> list[events.Event]:
    """Restore a stream."""
    return list(CustomToolRestorer(RUN).restore(emitted))


def test_what_is_sent_is_a_function_of_one_string() -> None:
    """The tool, and the calls of it so far; everything else is left as it is."""
    schema = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
    look = Tool(name="look", parameters={"type": "object"})
    turns = [
        Message(role="user", parts=[Text(content="a")]),
        Message(role="assistant", parts=[called("ls", custom=True), ToolCall(id="d", name="look", arguments={})]),
        Message(role="tool", parts=[ToolCallResponse(id="c", response="a.txt", custom=True)]),
    ]
    asked = ChatRequest(
        operation="chat", tools=[Tool(name="run", kind="custom", description="R"), look], input_messages=turns
    )
    sent = as_functions(asked)
    assert sent.tools == [Tool(name="run", description="R", parameters=schema), look]
    assert sent.input_messages[1].parts[0] == called({"input": "ls"})
    assert sent.input_messages[1].parts[1] is turns[1].parts[1]
    assert sent.input_messages[0] is turns[0]
    assert custom_tool_names(asked) == RUN


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"input": "ls"}, "ls"),
        ({"input": 7}, "7"),
        ({}, ""),
        (None, ""),
        ("ls", "ls"),
        ({"input": ["a"]}, '["a"]'),
    ],
)
def test_a_whole_call_is_its_text_again(arguments: Any, text: str) -> None:
    """Whatever a model put there becomes a text; calls of other tools are left."""
    other = ToolCall(id="d", name="look", arguments={"input": "x"})
    message = Message(role="assistant", parts=[called(arguments), other])
    answered = ChatResponse(output_messages=[message])
    [back] = restore_custom_calls(answered, RUN).output_messages
    assert back.parts == [called(text, custom=True), other]
    assert restore_custom_calls(answered, frozenset()) is answered


@given(LETTERS, st.integers(1, 9), st.booleans())
def test_a_streamed_call_is_its_text_again(text: str, piece: int, spaced: bool) -> None:
    """Its JSON is undone piece by piece, wherever it is cut, and each piece of the text leaves once."""
    arguments = json.dumps({"input": text}, ensure_ascii=piece % 2 == 0, indent=1 if spaced else None)
    sequence: list[events.Event] = [events.PartBegun(index=0, part=called(None))]
    sequence += [events.PartGrown(index=0, text=arguments[i : i + piece]) for i in range(0, len(arguments), piece)]
    sequence.append(events.PartDone(index=0, part=called({"input": text})))
    begun, *grown, done = restore(sequence)
    assert begun == events.PartBegun(index=0, part=called(None, custom=True))
    assert "".join(each.text for each in grown if isinstance(each, events.PartGrown)) == text
    assert all(isinstance(each, events.PartGrown) and each.text for each in grown)
    assert done == events.PartDone(index=0, part=called(text, custom=True))


def test_text_leaves_as_soon_as_it_is_known() -> None:
    """Only half an escape waits for its other half."""
    restoring = CustomToolRestorer(RUN)
    list(restoring.restore([events.PartBegun(index=0, part=called(None))]))
    arguments = []
    for piece in ('{"in', 'put":"l', "s", " \\", "n\\ud83d", '\\udc4b"', "}"):
        sequence = restoring.restore([events.PartGrown(index=0, text=piece)])
        arguments.append("".join(each.text for each in sequence if isinstance(each, events.PartGrown)))
    assert arguments == ["", "l", "s", " ", "\n", "👋", ""]


def test_what_stands_beside_the_text_is_none_of_it() -> None:
    """A model may add fields to its arguments."""
    arguments = '{"input":"ls","input2":"rm","x":{"y":"z"}}'
    sequence: list[events.Event] = [events.PartBegun(index=0, part=called(None))]
    sequence += [events.PartGrown(index=0, text=letter) for letter in arguments]
    grown = [event.text for event in restore(sequence) if isinstance(event, events.PartGrown)]
    assert "".join(grown) == "ls"


def test_other_events_pass_as_they_are() -> None:
    """Texts, other tools' calls and the ends."""
    message = Message(role="assistant", parts=[Text(content="a"), ToolCall(id="d", name="look", arguments={})])
    sequence = list(stream_events(ChatResponse(id="r", output_messages=[message])))
    assert restore(sequence) == sequence
