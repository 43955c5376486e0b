"""The shape every streamed reader has: bytes to events, events to what is kept until the end."""

from abc import ABC, abstractmethod

from gateway.dialects.conversation import Usage
from gateway.dialects.framing import Event, SseDecoder


class EventReader(ABC):
    """Feeds a dialect's reader one event at a time; an event it cannot read is counted and left."""

    def __init__(self) -> None:
        self.ended = False
        self.first_output = False
        self._decoder = SseDecoder()
        self._unread = 0

    def __repr__(self) -> str:
        state = "ended" if self.ended else "reading"
        return f"<{type(self).__name__} {state} unread={self.unread}>"

    @property
    def unread(self) -> int:
        """How many events could not be read."""
        return self._unread + self._decoder.dropped

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        for event in self._decoder.feed(data):
            if not self._take(event):
                self._unread += 1

    @abstractmethod
    def _take(self, event: Event) -> bool:
        """Take one event; say whether it could be read."""


def merged(earlier: Usage | None, later: Usage | None) -> Usage | None:
    """Merge usage field by field: later values win."""
    if earlier is None or later is None:
        return later or earlier
    return Usage(
        **{
            f: after if (after := getattr(later, f)) is not None else getattr(earlier, f)
            for f in Usage.__struct_fields__
        }
    )
