"""The events of a streamed response, which every reader emits by the same rules."""

import pytest

from gateway.dialects import events
from gateway.dialects.conversation import Text, Usage
from tests.dialects.pairs import SPOKEN, STREAMS, family, pieces_of
from tests.dialects.telling import folded

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
