"""Server-sent events out of bytes: the first step of every streamed reader.

A provider's stream arrives in pieces that are cut anywhere. The decoder buffers an event until it is whole, follows
the HTML standard's event stream rules (all three line ends, BOM, comments, several `data` lines), and is
bounded: an event over the limit is dropped and counted, never collected.
"""

from typing import Protocol

from msgspec import Struct

LIMIT = 16 * 1024 * 1024
_BOM = b"\xef\xbb\xbf"


class Event(Struct, frozen=True, gc=False):
    """One dispatched event: its `event:` name, if it had one, and its data lines joined by newlines."""

    name: str | None
    data: bytes


class Decoder(Protocol):
    """Takes the next bytes of a stream, cut anywhere, and returns the events that are whole now; never raises."""

    dropped: int

    def feed(self, data: bytes) -> list[Event]:
        """Take the next bytes; return the events that end in them."""


class SseDecoder:
    """Takes the next bytes and returns the events that are whole now."""

    __slots__ = ("_after_cr", "_between", "_limit", "_pending", "_skipping", "_started", "dropped")

    def __init__(self, limit: int = LIMIT) -> None:
        self.dropped = 0
        self._limit = limit
        self._pending = bytearray()  # an event that has begun, its line ends already normalized
        self._skipping = False  # within an event that is over the limit
        self._started = False  # past the place of a BOM
        self._after_cr = False
        self._between = False  # nothing of the above matters to the next bytes

    def __repr__(self) -> str:
        return f"<SseDecoder pending={len(self._pending)} dropped={self.dropped}>"

    def feed(self, data: bytes) -> list[Event]:
        """Take the next bytes; return the events that end in them."""
        size = len(data)
        if self._between and data.endswith(b"\n\n") and size <= self._limit and b"\r" not in data:
            # the usual case, fast: one whole event, of a data line or of a name and a data line
            first = data.find(b"\n")
            if first == size - 2 and data.startswith(b"data: "):
                return [Event(None, data[6:-2])]
            named = data.startswith(b"event: ") and data.startswith(b"data: ", first + 1)
            if named and data.find(b"\n", first + 1) == size - 2:
                return [Event(data[7:first].decode("utf-8", "replace"), data[first + 7 : -2])]
            return self._events(data[:-2])
        return self._feed(data)

    def _feed(self, data: bytes) -> list[Event]:
        if b"\r" in data or self._after_cr:
            data = self._without_cr(data)
        if not self._started:
            data = self._without_bom(data)
        held = self._held(data)
        self._between = self._started and not self._after_cr and not self._pending
        return [] if held is None else self._events(held)

    def _without_cr(self, data: bytes) -> bytes:
        if not data:
            return data
        if self._after_cr:  # the CR ended the line already, wherever the bytes were cut
            data = data.removeprefix(b"\n")
        self._after_cr = data[-1:] == b"\r"
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _without_bom(self, data: bytes) -> bytes:
        data = bytes(self._pending) + data
        self._pending.clear()
        if len(data) < len(_BOM) and _BOM.startswith(data):
            self._pending += data
            return b""
        self._started = True
        return data.removeprefix(_BOM)

    def _held(self, data: bytes) -> bytes | None:
        """Buffer the bytes; return the part that ends with a blank line, None if there is none yet."""
        pending = self._pending
        searched = max(0, len(pending) - 1)
        pending += data
        end = pending.rfind(b"\n\n", searched)
        blocks = None
        if end >= 0:
            blocks = bytes(pending[:end])
            del pending[: end + 2]
            if self._skipping:
                self._skipping = False
                blocks = blocks.partition(b"\n\n")[2]
        if len(pending) > self._limit + 1:  # one more than the limit may be its line end
            self.dropped += not self._skipping
            self._skipping = True
            del pending[:-1]  # the last byte may be half of the blank line
        return blocks

    def _events(self, blocks: bytes) -> list[Event]:
        events = []
        for block in blocks.split(b"\n\n") if b"\n\n" in blocks else (blocks,):
            if len(block) > self._limit:
                self.dropped += 1
            elif block[:6] == b"data: " and b"\n" not in block:
                events.append(Event(None, block[6:]))
            elif (event := _event(block)) is not None:
                events.append(event)
        return events


def _event(block: bytes) -> Event | None:
    """Read one event's lines; None if it has no data."""
    name = None
    data = []
    for line in block.split(b"\n"):
        field, colon, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event" and colon:
            name = value.decode("utf-8", "replace")
    return Event(name, b"\n".join(data)) if data else None
