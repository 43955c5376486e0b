"""Streamed responses read event by event, in any framing, up to a limit of memory."""

from abc import ABC, abstractmethod
from typing import Any

from gateway.dialects import events
from gateway.dialects.conversation import ChatResponse
from gateway.dialects.shared.reported_error import NO_ERROR, ReportedError
from gateway.dialects.wire.eventstream import EventStreamDecoder
from gateway.dialects.wire.sse import Decoder, Event, SseDecoder

# The limit of one stream in memory, in bytes of content and, roughly, of the objects that hold it. No model writes as
# much; an endless stream does, and its usage and its end are read all the same.
KEPT_MAX = 64 * 1024 * 1024
_OBJECT = 64
# Characters of an error event that is no JSON.
_TEXT_MAX = 1000


class EventReader(ABC):
    """Reads a streamed response event by event; an unreadable event is counted and skipped.

    Attributes:
        started: Whether an event has come.
        expects_end: Whether the events so far are of a stream that ends with a terminal event.
        events: None, or the list to which the conversation form's events are appended, for a translation.

    """

    def __init__(self, decoder: Decoder | None = None) -> None:
        self.ended = False
        self.started = False
        self.expects_end = False
        self.first_output = False
        self.events: list[events.Event] | None = None
        self._decoder: Decoder = SseDecoder() if decoder is None else decoder
        self._unread = 0
        self._error = NO_ERROR
        self._room = KEPT_MAX

    def __repr__(self) -> str:
        state = "ended" if self.ended else "reading"
        return f"<{type(self).__name__} {state} unread={self.unread}>"

    @property
    def unread(self) -> int:
        """The number of unreadable events."""
        return self._unread + self._decoder.dropped

    @property
    def dropped(self) -> int:
        """The number of events that are over the limit, or whose framing is damaged."""
        return self._decoder.dropped

    @property
    def between(self) -> bool:
        """Whether the bytes so far are whole frames; False for streams without frames."""
        return isinstance(self._decoder, EventStreamDecoder) and self._decoder.between

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        for event in self._decoder.feed(data):
            self.take(event)

    def take(self, event: Event) -> None:
        """Take one event that another framing had around it."""
        self.started = True
        if not self._take(event):
            self._unread += 1
            if event.name == "error":
                self._fail(ReportedError(None, event.data[:_TEXT_MAX].decode("utf-8", "replace")))

    def drain_events(self) -> list[events.Event]:
        """Return the events since the last call; none are collected while `events` is None."""
        drained = self.events or []
        if drained:
            self.events = []
        return drained

    def reported(self) -> dict[str, Any]:
        """Return the members of the response that its billing is read from; none unless a reader keeps them."""
        return {}

    def _fail(self, error: ReportedError) -> None:
        """Take an error event, which ends the stream. After the stream's end it is ignored."""
        if self.ended:
            return
        self._error = error
        self.ended = True
        if self.events is not None:
            self.events.append(events.Broken(type=error.type, message=error.message))

    @abstractmethod
    def _take(self, event: Event) -> bool:
        """Take one event; return whether it could be read."""

    @abstractmethod
    def response(self) -> ChatResponse:
        """Return the response as read so far."""

    def _keep(self, pieces: list[str], piece: Any) -> None:
        """Keep a piece of content; a value that is no text, or empty, is ignored."""
        if isinstance(piece, str) and piece:
            self.first_output = True
            if self._has_room(len(piece)):
                pieces.append(piece)

    def _has_room(self, size: int) -> bool:
        """Take room for something more to keep; once it is used up, later bytes are counted as unread."""
        self._room -= size + _OBJECT
        if self._room >= 0:
            return True
        self._room = 0
        self._unread += 1
        return False
