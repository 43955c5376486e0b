"""Reader of a relayed response: decodes a copy of its bytes and reads it in its dialect. Failures are logged only."""

import json
import logging
import re
import struct
from time import perf_counter
from typing import Literal
from zlib import crc32

from msgspec import structs

from gateway.dialects import Dialect, StreamReader
from gateway.dialects.conversation import ChatResponse, Usage
from gateway.dialects.endpoint import SERVER_SENT
from gateway.dialects.events import Event
from gateway.dialects.registry import TABLES
from gateway.dialects.shared.billing import Billing, billing, members_of
from gateway.dialects.shared.reported_error import ResponseFailure, failure_of
from gateway.dialects.shared.usage import merged_usage
from gateway.dialects.wire.content_coding import MAX_DECODED, TooLargeError, decoder
from gateway.errors import Kind, kind_of_status

log = logging.getLogger("gateway.tracing")

_EVENT_ENDS = (b"\n\n", b"\r\n\r\n")

KEPT_MAX = MAX_DECODED
"""Bytes of a whole body, decoded, up to which it is read; a longer one is relayed unread."""

STREAM_MAX = 8 * MAX_DECODED
"""Bytes of a stream, decoded, up to which it is read: it is decoded piece by piece."""

TIMELINE_MAX = 256
"""Chunks in the timeline: whenever it is full, every other one is dropped and half as many are added from then on."""


_LEAD_MAX = 64 * 1024
"""Bytes without an event up to which the beginning of a response is held to find its form."""

_IDLE = re.compile(rb"(?:\xef\xbb\xbf)?(?:[ \t]*[\r\n]+|:[^\r\n]*[\r\n]+|[ \t]+\Z)+")
_FIELD = re.compile(rb"(?:data|event|id|retry)[:\r\n]|:")
_FIELDS = (b"data:", b"event:", b"id:", b"retry:")
_BOM = b"\xef\xbb\xbf"
_FRAME_HEAD = struct.Struct(">III")


def _form(lead: bytes) -> Literal["sse", "json", "frames", "other"] | None:
    """Return the form that the first bytes of a body show; None while more of them are needed."""
    text = lead.removeprefix(_BOM).lstrip()
    if not text or _BOM.startswith(text):
        return None
    if text[:1] in b"{[":
        return "json"
    if _FIELD.match(text):
        return "sse"
    if any(field.startswith(text) for field in _FIELDS):
        return None
    if lead[0] == 0:  # the length of a frame, which has its checksum
        if len(lead) < _FRAME_HEAD.size:
            return None
        if crc32(lead[:8]) == _FRAME_HEAD.unpack_from(lead)[2]:
            return "frames"
    return "other"


def _begins_stream(lead: bytes, *, asked_for: bool) -> bool | None:
    """Whether JSON is a stream, of an array or of lines: an object over several lines is none. None: not yet known.

    `asked_for`: a stream is expected; else there must be two lines, as some APIs stream unless they are asked not to.
    """
    text = lead.lstrip()
    if text[:1] == b"[":
        return asked_for
    line, end, rest = text.partition(b"\n")
    if not end:
        return None
    if line.rstrip()[-1:] != b"}":
        return False
    return True if asked_for or rest.lstrip()[:1] == b"{" else None


class ResponseReader:
    """Feeds one response to the reader of its dialect, and records when its chunks arrived.

    `collects_events`: events are collected for `drain_events`. `streams`: the request asked for a stream. `usage`:
    token counts in the response's head, for those that its body lacks.

    Attributes:
        streamed: Whether the response is a stream: by its media type, until its first bytes show its form.
        chunks: The number of chunks that arrived.
        first_output_at: `perf_counter()` at the first content of a stream.

    """

    def __init__(
        self,
        dialect: Dialect | None,
        *,
        content_type: str,
        coding: str,
        started: float,
        collects_events: bool = False,
        streams: bool = False,
        usage: Usage | None = None,
    ) -> None:
        kind = content_type.lower()
        json_streams = streams and dialect is not None and dialect.json_streams
        self._is_sse = kind.startswith(SERVER_SENT)
        self._is_eventstream = kind.startswith(TABLES.framed_types)
        declared = kind.startswith(TABLES.stream_types)
        self.streamed = declared or (json_streams and kind.startswith("application/json"))
        self._is_lines = declared and not self._is_sse
        self._json_streams = json_streams or self._is_lines
        self._collects_events = collects_events
        self.unread_reason: str | None = None
        self._coding = coding.strip().lower()
        self._lead: bytes | None = b""  # the decoded bytes, until an event has come or the body is known to be whole
        self._formed = False  # the first bytes have shown the form
        self._last: tuple[int, ChatResponse | None] | None = None
        self.chunks = 0
        self.first_output_at: float | None = None
        self._dialect = dialect
        self._usage = usage
        self._decoder = decoder(coding, STREAM_MAX if self.streamed else KEPT_MAX) if dialect is not None else None
        self._reader: StreamReader | None = None
        self._whole: list[bytes] = []
        self._size = 0
        self._started = started
        self._stride = 1
        self._times: list[float] = []
        if self._decoder is None:
            self._dialect = None
            if dialect is not None:
                self.unread_reason = f"unknown content coding {self._coding[:40]!r}"

    @property
    def reads(self) -> bool:
        """Whether the response is still read."""
        return self._dialect is not None

    @property
    def begun(self) -> bool:
        """Whether the first event of a stream has come."""
        return self._reader is not None and self._reader.started

    @property
    def first_output(self) -> bool:
        """Whether the first content of a stream has come."""
        return self._reader is not None and self._reader.first_output

    @property
    def idle(self) -> bool:
        """Whether nothing but signs of life has come so far: blank lines, and comments of server-sent events."""
        return self._lead is not None and _IDLE.fullmatch(self._lead) is not None

    @property
    def expects_end(self) -> bool:
        """Whether the events so far are of a stream that ends with a terminal event."""
        return self._reader is not None and self._reader.expects_end

    @property
    def ended(self) -> bool:
        """Whether the stream's terminal event has passed."""
        return self._reader is not None and self._reader.ended

    def between_events(self, data: bytes) -> bool:
        """Return whether another event may follow `data`, the last bytes relayed: they end at an event's boundary."""
        if self._is_eventstream:
            return self._reader is not None and self._reader.between
        return data.endswith(_EVENT_ENDS if self._is_sse else b"\n")

    def drain_events(self) -> list[Event]:
        """Return the stream's events since the last call, for a translation."""
        return [] if self._reader is None else self._reader.drain_events()

    @property
    def times_ms(self) -> list[float]:
        """The arrival times of chunks, in milliseconds after the attempt's start; thinned out evenly."""
        return self._times

    def feed(self, data: bytes) -> None:
        """Read the next bytes from upstream."""
        now = perf_counter()
        if self.streamed:
            if self.chunks % self._stride == 0:
                if len(self._times) == TIMELINE_MAX:
                    del self._times[1::2]
                    self._stride *= 2
                self._times.append(round((now - self._started) * 1000, 2))
            self.chunks += 1
        if self._dialect is None or self._decoder is None:
            return
        try:
            decoded = self._decoder.feed(data)
            if not self._formed:
                decoded = self._find_form(self._dialect, (self._lead or b"") + decoded)
            if self._reader is not None:
                self._feed_stream(self._reader, decoded, now)
                return
            if not self._formed:
                return
            self._size += len(decoded)
            if self._size > KEPT_MAX:
                raise TooLargeError(f"a body of more than {KEPT_MAX} bytes is not read")
            self._whole.append(decoded)
        except Exception as error:
            coded = isinstance(error, ValueError)
            damaged = f"damaged content coding {self._coding[:40]!r}" if coded else "a reader failed"
            self.unread_reason = "too large" if isinstance(error, TooLargeError) else damaged
            self._dialect = self._reader = None
            self._lead = None
            self._whole.clear()
            log.warning("a response is relayed without being read any further: %s", error)

    def _feed_stream(self, reader: StreamReader, decoded: bytes, now: float) -> None:
        reader.feed(decoded)
        if self.first_output_at is None and reader.first_output:
            self.first_output_at = now
        if reader.started:
            self._lead = None
        elif self._lead is not None:
            self._lead = self._lead + decoded if len(self._lead) < _LEAD_MAX else None
        if reader.dropped:
            self.unread_reason = "an event is damaged, or larger than 16 MiB"

    def _find_form(self, dialect: Dialect, lead: bytes) -> bytes:
        """Look at the first bytes for the form of the response; return those to read, none if more must come."""
        form = _form(lead)
        may_stream = self._json_streams or dialect.json_streams
        begins = may_stream and _begins_stream(lead, asked_for=self._json_streams)
        if form == "json" and begins is None and not self._is_lines and len(lead) < _LEAD_MAX:
            self._lead = lead
            return b""
        if form is None and len(lead) < _LEAD_MAX and not (self.streamed and lead.strip()):
            self._lead = lead
            return b""
        if form == "sse":
            self.streamed = self._is_sse = True
        elif form == "frames":
            self.streamed = self._is_eventstream = True
        elif form == "json":
            self.streamed = begins is True or (begins is None and self._json_streams)
        self._formed = True
        self._lead = b"" if self.streamed else None
        if self.streamed:
            self._begin_stream(dialect)
        return lead

    def _begin_stream(self, dialect: Dialect) -> StreamReader:
        reader = self._reader = dialect.stream_reader()
        if self._collects_events:
            reader.events = []
        return reader

    def finish(self) -> None:
        """Read bytes that have waited for more to show the form: the body is complete."""
        if self._formed or self._dialect is None:
            return
        lead, self._lead, self._formed = self._lead or b"", None, True
        if self.streamed:
            self._begin_stream(self._dialect).feed(lead)
        elif lead:
            self._whole.append(lead)

    def response(self) -> ChatResponse | None:
        """Return the response as read so far, None if it cannot be read."""
        read = self._read()
        if self._usage is None:
            return read
        read = ChatResponse() if read is None else read
        return structs.replace(read, usage=merged_usage(self._usage, read.usage))

    @property
    def is_json(self) -> bool:
        """Whether the whole body is JSON, as far as its first bytes and its reader know."""
        body = b"".join(self._whole)
        if body.lstrip()[:1] not in (b"{", b"["):
            return False
        if self._read() != ChatResponse():
            return True
        try:
            json.loads(body)
        except (ValueError, RecursionError):
            return False
        return True

    def _read(self) -> ChatResponse | None:
        try:
            if self._reader is not None:
                return self._reader.response()
            if self._dialect is not None and not self._formed and self._lead:
                return self._dialect.read_response(self._lead)
            if self._dialect is not None and self._whole:
                if self._last is None or self._last[0] != self._size:
                    self._last = (self._size, self._dialect.read_response(b"".join(self._whole)))
                return self._last[1]
        except Exception:
            log.exception("a response could not be read")
        return None

    def failure(self, *, complete: bool) -> tuple[Kind, ResponseFailure] | None:
        """Return the failure of a response of which no content has come yet; None if it has none so far.

        `complete`: the body has come to its end.
        """
        read = self._read()
        reported = None if read is None else failure_of(read)
        if reported is not None and not (self.streamed and self.first_output):
            return kind_of_status(reported.status) or Kind.SERVER, reported
        if self.streamed:
            if not complete or self.ended or self.first_output or (read is not None and read.finish_reasons):
                return None
            return Kind.CLOSED, ResponseFailure(
                status=Kind.CLOSED.fact.status, type=None, message="the stream stopped before its first content"
            )
        if not complete or self.is_json:
            return None
        found = "empty" if not b"".join(self._whole).strip() else "no JSON"
        name = self._dialect.name if self._dialect is not None else "known"
        return Kind.PARSING, ResponseFailure(
            status=Kind.PARSING.fact.status,
            type=None,
            message=f"the provider's response is {found}, and so no {name} response",
        )

    def billing(self) -> Billing | None:
        """Return the billing facts of the response as read so far, None if it reports no usage."""
        try:
            if self._reader is not None:
                return billing(self._reader.reported())
            if self._dialect is not None and self._whole:
                return billing(members_of(b"".join(self._whole)))
        except Exception:
            log.exception("the billing facts of a response could not be read")
        return None
