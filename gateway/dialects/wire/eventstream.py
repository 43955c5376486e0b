"""AWS's binary event stream: frames out of bytes, and bytes out of frames. Pure.

A frame is a prelude (its length, its headers' length, and their checksum), headers, a payload and a checksum over it
all; numbers are big-endian. The kind of a message is in its headers: `:message-type` is event, exception or
error. Source: the Smithy specification of `application/vnd.amazon.eventstream`.
"""

import struct
from collections.abc import Iterable
from functools import lru_cache
from zlib import crc32

import msgspec

from gateway.dialects.wire.sse import LIMIT, Event

CONTENT_TYPE = "application/vnd.amazon.eventstream"

_PRELUDE = struct.Struct(">III")
_CHECKSUM = struct.Struct(">I")
_AROUND = _PRELUDE.size + _CHECKSUM.size  # the bytes of a frame besides headers and payload
_HEADERS_LIMIT = 128 * 1024
_STRING = 7
# The sizes of header values by their type: true, false, byte, short, integer, long, timestamp, UUID. The two others,
# bytes and strings, have their length before them.
_SIZES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}


class EventStreamDecoder:
    """Takes the next bytes and returns the frames that are whole now.

    An event's name is its type; an exception's is `exception` and its type, an error's `error` and its code, with its
    message as the data: `exception throttlingException`. A frame that is over the limit or damaged is dropped and
    counted. A damaged prelude hides the beginning of the next frame, so that all that follows is skipped.
    """

    __slots__ = ("_limit", "_lost", "_needed", "_pending", "_skip", "dropped")

    def __init__(self, limit: int = LIMIT) -> None:
        self.dropped = 0
        self._limit = limit
        self._pending = bytearray()
        self._needed = _PRELUDE.size  # bytes that must have come before there is anything to do
        self._skip = 0  # bytes that are left of a frame over the limit
        self._lost = False

    def __repr__(self) -> str:
        return f"<EventStreamDecoder pending={len(self._pending)} dropped={self.dropped}>"

    @property
    def between(self) -> bool:
        """Whether all that came are whole frames."""
        return not (self._pending or self._skip or self._lost)

    def feed(self, data: bytes) -> list[Event]:
        """Take the next bytes; return the events that end in them."""
        if self._lost:
            return []
        if self._skip:
            skipped = min(self._skip, len(data))
            self._skip -= skipped
            data = data[skipped:]
        if self._pending:
            self._pending += data
            if len(self._pending) < self._needed:
                return []
            data = bytes(self._pending)
            self._pending.clear()
        events, at = self._events(data)
        if at < len(data) and not self._lost:
            self._pending += data[at:]
        return events

    def _events(self, data: bytes) -> tuple[list[Event], int]:
        """Return the events of the whole frames, and the offset of the first incomplete one."""
        events: list[Event] = []
        at, end = 0, len(data)
        self._needed = _PRELUDE.size
        while end - at >= _PRELUDE.size:
            length, headers, checksum = _PRELUDE.unpack_from(data, at)
            if crc32(data[at : at + 8]) != checksum or headers > length - _AROUND or headers > _HEADERS_LIMIT:
                self.dropped += 1
                self._lost = True
                break
            if length > self._limit:
                self.dropped += 1
                self._skip = max(0, length - (end - at))
                at = min(end, at + length)
                continue
            if end - at < length:
                self._needed = length
                break
            event = _event(data[at : at + length], headers)
            if event is None:
                self.dropped += 1
            else:
                events.append(event)
            at += length
        return events, at


def _event(frame: bytes, headers_length: int) -> Event | None:
    """Read a whole frame; None if it is damaged or of an unknown kind."""
    (checksum,) = _CHECKSUM.unpack_from(frame, len(frame) - _CHECKSUM.size)
    if crc32(frame[: -_CHECKSUM.size]) != checksum:
        return None
    start = _PRELUDE.size + headers_length
    described = _name_and_data(frame[_PRELUDE.size : start])
    if described is None:
        return None
    name, message = described
    return Event(name, frame[start : -_CHECKSUM.size] if message is None else message)


@lru_cache(maxsize=64)  # a stream's frames have a handful of different headers
def _name_and_data(headers: bytes) -> tuple[str, bytes | None] | None:
    """Return the event's name, and its data if they are in the headers."""
    values = _headers(headers)
    if values is None:
        return None
    match values.get(":message-type", "event"):
        case "event":
            return values.get(":event-type", ""), None
        case "exception":
            return f"exception {values.get(':exception-type', '')}", None
        case "error":
            message = msgspec.json.encode({"message": values.get(":error-message", "")})
            return f"error {values.get(':error-code', '')}", message
    return None


def _headers(data: bytes) -> dict[str, str] | None:
    """Read the headers that are strings; None if they are malformed."""
    values: dict[str, str] = {}
    at = 0
    try:
        while at < len(data):
            name = data[at + 1 : at + 1 + data[at]].decode("utf-8", "replace")
            at += 1 + data[at]
            kind = data[at]
            at += 1
            if (size := _SIZES.get(kind)) is None:
                size = int.from_bytes(data[at : at + 2], "big")
                at += 2
            if kind not in _SIZES and kind not in {_STRING, _STRING - 1}:
                return None
            if kind == _STRING:
                values[name] = data[at : at + size].decode("utf-8", "replace")
            at += size
    except IndexError:
        return None
    return values if at == len(data) else None


def frame(headers: Iterable[tuple[str, str]], payload: bytes) -> bytes:
    """Write a frame whose headers are strings."""
    written = b"".join([_header(name.encode(), value.encode()) for name, value in headers])
    lengths = struct.pack(">II", _AROUND + len(written) + len(payload), len(written))
    head = lengths + _CHECKSUM.pack(crc32(lengths)) + written + payload
    return head + _CHECKSUM.pack(crc32(head))


def event(name: str, payload: bytes) -> bytes:
    """Write an event of JSON."""
    return frame(((":event-type", name), (":content-type", "application/json"), (":message-type", "event")), payload)


def exception(name: str, payload: bytes) -> bytes:
    """Write an exception of JSON; its stream ends with it."""
    return frame(
        ((":exception-type", name), (":content-type", "application/json"), (":message-type", "exception")), payload
    )


def _header(name: bytes, value: bytes) -> bytes:
    return bytes([len(name)]) + name + bytes([_STRING]) + len(value).to_bytes(2, "big") + value
