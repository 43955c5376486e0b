"""The shape every streamed reader has: bytes to events, events to what is kept until the end."""

from abc import ABC, abstractmethod
from typing import Any

from gateway.dialects import events
from gateway.dialects.wire.eventstream import EventStreamDecoder
from gateway.dialects.wire.sse import Decoder, Event, SseDecoder

# What is kept of one stream, in bytes of content and, roughly, of the objects that hold it. No model says as
# much; an endless stream does, and its usage and its end are read all the same.
KEPT_MAX = 64 * 1024 * 1024
_OBJECT = 64


class EventReader(ABC):
    """Feeds a dialect's reader one event at a time; an event it cannot read is counted and left.

    Attributes:
        told: None, or a list to which what happens is appended, for a translation to take from.

    """

    def __init__(self, decoder: Decoder | None = None) -> None:
        self.ended = False
        self.first_output = False
        self.told: list[events.Event] | None = None
        self._decoder: Decoder = SseDecoder() if decoder is None else decoder
        self._unread = 0
        self._room = KEPT_MAX

    def __repr__(self) -> str:
        state = "ended" if self.ended else "reading"
        return f"<{type(self).__name__} {state} unread={self.unread}>"

    @property
    def unread(self) -> int:
        """How many events could not be read."""
        return self._unread + self._decoder.dropped

    @property
    def between(self) -> bool:
        """Whether all that came are whole frames, where the stream has frames."""
        return isinstance(self._decoder, EventStreamDecoder) and self._decoder.between

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        for event in self._decoder.feed(data):
            if not self._take(event):
                self._unread += 1

    @abstractmethod
    def _take(self, event: Event) -> bool:
        """Take one event; say whether it could be read."""

    def _keep(self, pieces: list[str], piece: Any) -> None:
        """Keep a piece of content; what is no text, or empty, is none."""
        if isinstance(piece, str) and piece:
            self.first_output = True
            if self._has_room(len(piece)):
                pieces.append(piece)

    def _has_room(self, size: int) -> bool:
        """Take room for something more to keep; once it is used up, what comes is counted as unread."""
        self._room -= size + _OBJECT
        if self._room >= 0:
            return True
        self._room = 0
        self._unread += 1
        return False
