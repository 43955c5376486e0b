"""Reader of a relayed response: decodes a copy of its bytes and reads it in its dialect. Failures are logged only."""

import logging
from time import perf_counter

from msgspec import structs

from gateway.dialects import Dialect, StreamReader
from gateway.dialects.conversation import ChatResponse, Usage
from gateway.dialects.endpoint import SERVER_SENT
from gateway.dialects.events import Event
from gateway.dialects.registry import TABLES
from gateway.dialects.shared.billing import Billing, billing, members_of
from gateway.dialects.shared.usage import merged_usage
from gateway.dialects.wire.content_coding import MAX_DECODED, decoder

log = logging.getLogger("gateway.tracing")

_EVENT_ENDS = (b"\n\n", b"\r\n\r\n")

KEPT_MAX = MAX_DECODED
"""Bytes of a whole body, decoded, up to which it is read; a longer one is relayed unread."""

STREAM_MAX = 8 * MAX_DECODED
"""Bytes of a stream, decoded, up to which it is read: it is decoded piece by piece."""

TIMELINE_MAX = 256
"""Chunks in the timeline: whenever it is full, every other one is dropped and half as many are added from then on."""


class ResponseReader:
    """Feeds one response to the reader of its dialect, and records when its chunks arrived.

    `collects_events`: events are collected for `drain_events`. `streams`: the request asked for a stream, which may
    arrive as JSON. `usage`: token counts in the response's head, for those that its body lacks.

    Attributes:
        streamed: Whether the response is a stream.
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
        self.streamed = kind.startswith(TABLES.stream_types) or (streams and kind.startswith("application/json"))
        self._is_sse = kind.startswith(SERVER_SENT)
        self._is_eventstream = kind.startswith(TABLES.framed_types)
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
        elif self.streamed and dialect is not None:
            self._reader = dialect.stream_reader()
            if collects_events:
                self._reader.events = []

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
            if self._reader is not None:
                self._reader.feed(decoded)
                if self.first_output_at is None and self._reader.first_output:
                    self.first_output_at = now
                return
            self._size += len(decoded)
            if self._size > KEPT_MAX:
                raise ValueError(f"a body of more than {KEPT_MAX} bytes is not read")
            self._whole.append(decoded)
        except Exception as error:
            self._dialect = self._reader = None
            self._whole.clear()
            log.warning("a response is relayed without being read any further: %s", error)

    def response(self) -> ChatResponse | None:
        """Return the response as read so far, None if it cannot be read."""
        read = self._read()
        if self._usage is None:
            return read
        read = ChatResponse() if read is None else read
        return structs.replace(read, usage=merged_usage(self._usage, read.usage))

    def _read(self) -> ChatResponse | None:
        try:
            if self._reader is not None:
                return self._reader.response()
            if self._dialect is not None and self._whole:
                return self._dialect.read_response(b"".join(self._whole))
        except Exception:
            log.exception("a response could not be read")
        return None

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
