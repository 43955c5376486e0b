"""Streams of OpenAI's Responses, read."""

import pytest

from gateway.dialects.conversation import (
    ChatResponse,
    Text,
)
from gateway.dialects.openai_responses import RESPONSES
from tests.dialects.openai_responses.reading import Read, answer
from tests.dialects.openai_responses.streams import STREAMS, events_of


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_is_read_whole(read: Read, name: str) -> None:
    """All content of a stream is in the record."""
    reader = RESPONSES.stream_reader()
    reader.feed(read(name))
    assert reader.response() == STREAMS[name]
    assert reader.unread == 0


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_ends_with_its_last_event_only(read: Read, name: str) -> None:
    """`ended` turns true with the event that ends the response, not before."""
    reader = RESPONSES.stream_reader()
    events = events_of(read(name))
    ended = []
    for event in events:
        reader.feed(event)
        ended.append(reader.ended)
    assert ended == [*[False] * (len(events) - 1), True]


def test_the_last_event_alone_says_as_much_as_the_deltas(read: Read) -> None:
    """A stream that is resumed near its end has all that the whole response tells."""
    reader = RESPONSES.stream_reader()
    reader.feed(events_of(read("responses_text.sse"))[-1])
    assert reader.response() == STREAMS["responses_text.sse"]


@pytest.mark.parametrize(
    ("name", "first"),
    [("responses_text.sse", 4), ("responses_tools.sse", 1), ("responses_incomplete.sse", 1)],
)
def test_output_begins_with_content(read: Read, name: str, first: int) -> None:
    """`first_output` turns true with the first words or with a tool call, not with an empty item."""
    reader = RESPONSES.stream_reader()
    seen = []
    for event in events_of(read(name)):
        reader.feed(event)
        seen.append(reader.first_output)
    assert seen.index(True) == first
    assert all(seen[first:])


@pytest.mark.parametrize(
    "data",
    [
        b'event: error\ndata: {"type":"error","error":{"type":"a","message":"c"}}\n\n',
        b'event: error\ndata: {"code":"a","message":"c"}\n\n',
    ],
)
def test_an_error_event_ends_the_stream(data: bytes) -> None:
    """Both shapes of an error event are read."""
    reader = RESPONSES.stream_reader()
    reader.feed(data)
    assert reader.ended
    assert reader.response() == ChatResponse(error_type="a", error_message="c")


def test_an_event_that_cannot_be_read_costs_only_itself() -> None:
    """Unreadable events are counted and left."""
    reader = RESPONSES.stream_reader()
    reader.feed(b'data: 7\n\ndata: {"response":7}\n\ndata: {"type":"response.output_text.delta","delta":"a"}\n\n')
    assert reader.unread == 2
    assert reader.response().output_messages == [answer(Text(content="a"), finish_reason=None)]
