"""One JSON object a line out of bytes: the first step of a streamed reader whose provider sends no server-sent events.

A stream arrives in pieces that are cut anywhere. The decoder holds the line that is not yet whole, and is bounded: a
line over the limit is dropped and counted, never collected.
"""

import msgspec
from msgspec import Struct

from gateway.dialects.wire.json import UNREADABLE
from gateway.dialects.wire.sse import LIMIT, Event

# A last line may lack its line end. The buffer is searched for it only up to this size: each look costs as much.
SHORT = 16 * 1024


class _Object(Struct):
    """Any object: its members are checked, and left."""


_OBJECT = msgspec.json.Decoder(_Object)


class NdjsonDecoder:
    """Takes the next bytes and returns the lines that are whole now, as events without a name."""

    __slots__ = ("_limit", "_pending", "_skipping", "dropped")

    def __init__(self, limit: int = LIMIT) -> None:
        self.dropped = 0
        self._limit = limit
        self._pending = bytearray()
        self._skipping = False  # within a line that is over the limit

    def __repr__(self) -> str:
        return f"<NdjsonDecoder pending={len(self._pending)} dropped={self.dropped}>"

    def feed(self, data: bytes) -> list[Event]:
        """Take the next bytes; return the lines that end in them."""
        events: list[Event] = []
        end = data.rfind(b"\n")
        if end >= 0:
            lines = data[:end].split(b"\n")
            if self._skipping:
                self._skipping = False
                del lines[0]
            elif self._pending:
                lines[0] = bytes(self._pending) + lines[0]
                self._pending.clear()
            for line in lines:
                self._take(line, events)
        self._hold(data[end + 1 :])
        if self._pending and data.endswith(b"}") and self._is_whole():
            self._take(bytes(self._pending), events)
            self._pending.clear()
        return events

    def _take(self, line: bytes, events: list[Event]) -> None:
        if len(line) > self._limit:
            self.dropped += 1
        elif content := line.strip():
            events.append(Event(None, content))

    def _hold(self, data: bytes) -> None:
        if self._skipping:
            return
        self._pending += data
        if len(self._pending) > self._limit:
            self.dropped += 1
            self._skipping = True
            self._pending.clear()

    def _is_whole(self) -> bool:
        """Return whether the buffer is an object, of which no more than its line end can follow."""
        if len(self._pending) > SHORT:
            return False
        try:
            _OBJECT.decode(self._pending)
        except UNREADABLE:
            return False
        return True
