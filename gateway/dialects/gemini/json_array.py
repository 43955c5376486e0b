"""The framing of Gemini's streams: server-sent events if `alt=sse` asks for them, else one JSON array.

The array's objects come one by one, as events do. The first byte shows which of the two it is.
"""

import re

from gateway.dialects.wire.sse import LIMIT, Decoder, Event, SseDecoder

# The name of the event for the array's end.
END = "]"

_SPACE = b" \t\r\n\xef\xbb\xbf"  # a byte order mark too
_MARK = re.compile(rb'["{}\[\]]')
_IN_STRING = re.compile(rb'["\\]')


class JsonDecoder:
    """Cuts the objects out of a JSON array, or out of a row of objects, as they become whole; it does not read them."""

    __slots__ = ("_depth", "_escaped", "_in_string", "_limit", "_pending", "_skipping", "dropped")

    def __init__(self, limit: int = LIMIT) -> None:
        self.dropped = 0
        self._limit = limit
        self._pending = bytearray()  # an object that has begun
        self._depth = 0  # of objects and lists, within such an object
        self._in_string = False
        self._escaped = False
        self._skipping = False  # within an object that is over the limit

    def __repr__(self) -> str:
        return f"<JsonDecoder pending={len(self._pending)} dropped={self.dropped}>"

    def feed(self, data: bytes) -> list[Event]:
        """Take the next bytes; return the objects that end in them."""
        if not data:
            return []
        events: list[Event] = []
        start, at = 0, int(self._escaped)
        while found := (_IN_STRING if self._in_string else _MARK).search(data, at):
            mark, at = found.group(), found.end()
            if self._in_string:
                if mark == b"\\":
                    at += 1
                else:
                    self._in_string = False
            elif mark == b'"':
                self._in_string = self._depth > 0
            elif self._depth == 0:
                if mark == b"{":
                    self._depth, start = 1, found.start()
                elif mark == b"]":
                    events.append(Event(END, b""))
            elif mark in b"{[":
                self._depth += 1
            else:
                self._depth -= 1
                if self._depth == 0:
                    self._keep(data[start:at])
                    events += self._whole()
        self._escaped = at > len(data)
        if self._depth:
            self._keep(data[start:])
        return events

    def _keep(self, data: bytes) -> None:
        if self._skipping:
            return
        self._pending += data
        if len(self._pending) > self._limit:
            self.dropped += 1
            self._skipping = True
            self._pending.clear()

    def _whole(self) -> list[Event]:
        if self._skipping:
            self._skipping = False
            return []
        data = bytes(self._pending)
        self._pending.clear()
        return [Event(None, data)]


class EitherDecoder:
    """Looks at the first byte, and decodes by it."""

    __slots__ = ("_decoder",)

    def __init__(self) -> None:
        self._decoder: Decoder | None = None

    def __repr__(self) -> str:
        return f"<EitherDecoder {self._decoder!r}>"

    @property
    def dropped(self) -> int:
        """The number of events over the limit."""
        return 0 if self._decoder is None else self._decoder.dropped

    @dropped.setter
    def dropped(self, value: int) -> None:
        if self._decoder is not None:
            self._decoder.dropped = value

    def feed(self, data: bytes) -> list[Event]:
        """Take the next bytes; return the events that end in them."""
        if self._decoder is None:
            data = data.lstrip(_SPACE)
            if not data:
                return []
            self._decoder = JsonDecoder() if data[:1] in b"[{" else SseDecoder()
        return self._decoder.feed(data)
