"""Streamed responses read event by event."""

import pytest

from gateway.dialects import events
from gateway.dialects.conversation import ChatResponse, Message, Text
from gateway.dialects.shared import stream_reader
from gateway.dialects.shared.stream_reader import EventReader
from gateway.dialects.wire import eventstream
from gateway.dialects.wire.eventstream import EventStreamDecoder
from gateway.dialects.wire.sse import Event


class Lines(EventReader):
    """Reads each event's data as a piece of text, up to `end`; `bad` is unreadable."""

    def __init__(self, decoder: EventStreamDecoder | None = None) -> None:
        super().__init__(decoder)
        self.pieces: list[str] = []

    def _take(self, event: Event) -> bool:
        if event.data == b"bad":
            return False
        self.ended = event.data == b"end"
        if not self.ended:
            self._keep(self.pieces, event.data.decode())
            if self.events is not None:
                self.events.append(events.PartGrown(index=0, text=event.data.decode()))
        return True

    def response(self) -> ChatResponse:
        """Return the text so far."""
        return ChatResponse(output_messages=[Message(role="assistant", parts=[Text(content="".join(self.pieces))])])


def test_an_unreadable_event_is_counted_and_skipped() -> None:
    """Events before and after it are read."""
    reader = Lines()
    assert repr(reader) == "<Lines reading unread=0>"
    reader.feed(b"data: a\n\ndata: bad\n\ndata: b\n\ndata: end\n\n")
    assert (reader.pieces, reader.unread, reader.ended, reader.first_output) == (["a", "b"], 1, True, True)
    assert repr(reader) == "<Lines ended unread=1>"


def test_events_are_collected_if_they_are_wanted_and_drained_once() -> None:
    """A reader for the trace alone collects none."""
    reader = Lines()
    reader.feed(b"data: a\n\n")
    assert reader.drain_events() == []
    reader.events = []
    reader.feed(b"data: b\n\ndata: c\n\n")
    assert reader.drain_events() == [events.PartGrown(index=0, text="b"), events.PartGrown(index=0, text="c")]
    assert reader.drain_events() == []
    reader.feed(b"data: d\n\n")
    assert reader.drain_events() == [events.PartGrown(index=0, text="d")]


def test_a_stream_of_frames_is_between_frames_or_not() -> None:
    """A stream of server-sent events has no frames."""
    frame = eventstream.event("x", b"a")
    reader = Lines(EventStreamDecoder())
    assert reader.between
    reader.feed(frame[:5])
    assert not reader.between
    reader.feed(frame[5:])
    assert reader.between
    assert not Lines().between


def test_content_over_the_limit_is_counted_and_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """An endless stream costs no more memory than the limit, and its end is read all the same."""
    monkeypatch.setattr(stream_reader, "KEPT_MAX", 200)
    reader = Lines()
    for _ in range(3):
        reader.feed(b"data: " + b"x" * 60 + b"\n\n")
    reader.feed(b"data: end\n\n")
    assert (len(reader.pieces), reader.unread, reader.ended) == (1, 2, True)
