"""The events of a streamed response, which every reader emits by the same rules."""

import pytest

from gateway.dialects import events
from gateway.dialects.conversation import Blob, ChatResponse, Message, Part, Reasoning, Refusal, Text, ToolCall, Usage
from gateway.dialects.events import synthesize
from tests.dialects.pairs import SPOKEN, STREAMS, family, pieces_of
from tests.dialects.streams import folded

OWN = {"openai-chat": {"x": 1}}
ALL = events.Event.__args__


@pytest.mark.parametrize("kind", ALL, ids=[kind.__name__ for kind in ALL])
def test_an_event_is_a_value(kind: type) -> None:
    """Two of one content are equal, and none can be changed once it was emitted."""
    fields = {"index": 0, "part": Text(content=""), "text": "a", "usage": Usage(), "finish_reason": None}
    needed = {name: value for name, value in fields.items() if name in kind.__struct_fields__}
    event = kind(**needed)
    assert event == kind(**needed)
    for name in kind.__struct_fields__[:1]:
        with pytest.raises(AttributeError):
            setattr(event, name, None)


@pytest.mark.parametrize("stream", STREAMS)
def test_parts_begin_once_grow_and_end_once(stream: str) -> None:
    """In the fixtures of every dialect: `folded` checks the order of the events."""
    reader = SPOKEN[family(stream)].dialect.stream_reader()
    reader.events = []
    reader.feed(b"".join(pieces_of(stream)))
    emitted = reader.drain_events()
    messages = folded(emitted)
    ended = [m for m in reader.response().output_messages if m.finish_reason is not None]
    if isinstance(emitted[-1], events.Ended):
        assert [m.finish_reason for m in messages] == [m.finish_reason for m in ended]


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [Text(content="a"), Text(content=""), Refusal(content="no"), Reasoning(content="hm", extra=OWN)],
        [ToolCall(id="a", name="f", arguments={"b": [1]}, extra=OWN), ToolCall(name="g")],
        [ToolCall(id="a", name="f", arguments='{"broken'), ToolCall(id="b", name="run", arguments="ls", custom=True)],
        [Blob(modality="image", content="AA==")],
    ],
)
def test_a_replayed_response_is_the_response(parts: list[Part]) -> None:
    """Its events fold into what they were made from, as those of any stream do."""
    messages = [Message(role="assistant", parts=parts, finish_reason="stop", finish_word="end", extra=OWN)] * 2
    emitted = list(synthesize(ChatResponse(id="r", output_messages=messages)))
    assert folded(emitted) == messages
    assert isinstance(emitted[-1], events.Ended)


def test_what_is_known_of_a_response_is_told_first_and_its_counts_last() -> None:
    """Id, model, date and what is its dialect's own begin the stream; the usage comes before its end."""
    usage = Usage(input_tokens=1, output_tokens=2)
    assert list(synthesize(ChatResponse(id="r", model="m", created=7, usage=usage, extra=OWN))) == [
        events.Begun(id="r", model="m", created=7, usage=usage, extra=OWN),
        events.UsageUpdated(usage=usage),
        events.Ended(),
    ]


def test_an_error_breaks_the_stream() -> None:
    """A response with an error has no end."""
    message = Message(role="assistant", parts=[Text(content="Half")])
    emitted = list(synthesize(ChatResponse(id="r", output_messages=[message], error_type="t", error_message="No.")))
    assert emitted == [events.Begun(id="r"), events.Broken(type="t", message="No.")]
