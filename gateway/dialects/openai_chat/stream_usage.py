"""Reported token counts for OpenAI's streams: requested if the client does not, and hidden from it.

A chat stream reports usage only if `stream_options.include_usage` asks for it, and then in one more event
than the client expects. Both functions here change nothing else: not a byte of the request, not a byte
of the stream.
"""

import re
from typing import Any

import msgspec
from msgspec import UNSET, Struct

from gateway.dialects.wire.json import decode
from gateway.dialects.wire.sse import SseDecoder

_ASKING = b'"stream_options":{"include_usage":true}'


class _Options(Struct, gc=False):
    stream: Any = None
    stream_options: Any = UNSET


_OPTIONS = msgspec.json.Decoder(_Options)


def ask_for_usage(body: bytes) -> bytes | None:
    """Return the body of a streamed request with usage asked for; None if it is none or has `stream_options`."""
    options = decode(body, _OPTIONS)
    if options is None or options.stream is not True or options.stream_options is not UNSET:
        return None
    end = body.rindex(b"}")  # the object's own: only white space may follow it
    return b"%b,%b%b" % (body[:end], _ASKING, body[end:])


# A usage event is some hundred bytes. A longer one is another event, and need not be held until its end.
_LONGEST = 64 * 1024

_HAS_CHOICES = b'"choices":[{'

# A blank line, in any mix of line ends, and the line end before it.
EVENT_END = re.compile(rb"(?:\r\n|\r(?!\n)|\n){2}")


class _Chunk(Struct, gc=False):
    choices: Any = None
    usage: Any = None


_CHUNK = msgspec.json.Decoder(_Chunk)


class UsageFilter:
    """Passes a streamed response through, without the event that has only the usage."""

    __slots__ = ("_held", "_passing", "withheld")

    def __init__(self) -> None:
        self.withheld = 0
        self._held = b""  # the event that has begun, or its last CR: a LF may follow
        self._passing = False  # within an event that is too long to be the one

    def __repr__(self) -> str:
        return f"<UsageFilter held={len(self._held)} withheld={self.withheld}>"

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; return those that may be passed on."""
        # After a third line end in a row it takes the whole run to decide which of them end an event.
        if not self._held and not self._passing and data[-2:] == b"\n\n" and data[-3:-2] not in b"\r\n":
            one = data.find(b"\n\n") == len(data) - 2
            if (one and _HAS_CHOICES in data and b"\r" not in data) or b'"usage"' not in data:
                return data  # whole events, none of them the one
        return self._pass(self._held + data, last=False)

    def flush(self) -> bytes:
        """Return the held bytes, at the stream's end."""
        return self._pass(self._held, last=True)

    def _pass(self, data: bytes, *, last: bool) -> bytes:
        passed = []
        start = 0
        for end in EVENT_END.finditer(data):
            if not last and end.end() == len(data) and data.endswith(b"\r"):
                break  # its line end may not be whole
            event = data[start : end.end()]
            if not self._passing and _is_usage(event):
                self.withheld += 1
            else:
                passed.append(event)
            self._passing = False
            start = end.end()
        rest = data[start:]
        self._passing = self._passing or len(rest) > _LONGEST
        held_back = len(rest) if not self._passing else len(rest) - len(rest.rstrip(b"\r\n"))
        keep_from = len(data) if last else len(data) - held_back
        passed.append(data[start:keep_from])
        self._held = data[keep_from:]
        return b"".join(passed)


def _is_usage(event: bytes) -> bool:
    """Whether the event's `choices` is an empty list and its `usage` something."""
    if b'"usage"' not in event or _HAS_CHOICES in event or len(event) > _LONGEST:
        return False
    for message in SseDecoder().feed(event):
        chunk = decode(message.data, _CHUNK)
        if chunk is not None and chunk.choices == [] and chunk.usage is not None:
            return True
    return False
