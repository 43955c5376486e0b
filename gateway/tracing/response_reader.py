"""A copy of a response as it passes: decoded, and read by its dialect. What fails here is logged, never raised."""

import logging
from time import perf_counter

from gateway.dialects import Dialect, StreamReader
from gateway.dialects.conversation import ChatResponse
from gateway.dialects.events import Event
from gateway.dialects.wire.content_coding import MAX_DECODED, decoder

log = logging.getLogger("gateway.tee")

# Content types of streams: server-sent events, lines of JSON, AWS's event stream.
_STREAMS = ("text/event-stream", "application/x-ndjson", "application/vnd.amazon.eventstream")
_EVENT_ENDS = (b"\n\n", b"\r\n\r\n")

# Of a whole body no more than this is kept to be read; one beyond it is relayed and not read.
KEPT_MAX = MAX_DECODED
# A coded stream is decoded piece by piece, over a longer time.
STREAM_MAX = 8 * MAX_DECODED
# The timeline keeps at most this many chunks: when it is full, every other one goes, then every 2nd, 4th .. is kept.
TIMELINE_MAX = 256


class ResponseReader:
    """Feeds one response to the reader of its dialect, and notes when its chunks came.

    `tells`: the reader keeps what happens, to be taken by `told`. `streams`: a stream was asked for, which may come as
    JSON.

    Attributes:
        streamed: Whether the response is a stream.
        events: Whether it is one of server-sent events.
        chunks: How many chunks came.
        first_output_at: `perf_counter()` of the first content of a stream.

    """

    def __init__(
        self,
        dialect: Dialect | None,
        *,
        content_type: str,
        coding: str,
        started: float,
        tells: bool = False,
        streams: bool = False,
    ) -> None:
        kind = content_type.lower()
        self.streamed = kind.startswith(_STREAMS) or (streams and kind.startswith("application/json"))
        self.events = kind.startswith(_STREAMS[0])
        self._frames = kind.startswith(_STREAMS[2])
        self.chunks = 0
        self.first_output_at: float | None = None
        self._dialect = dialect
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
            if tells:
                self._reader.told = []

    @property
    def ended(self) -> bool:
        """Whether a stream's own last event has passed."""
        return self._reader is not None and self._reader.ended

    def between_events(self, data: bytes) -> bool:
        """Whether an event of ours can follow. `data`: the last that was passed on."""
        if self._frames:
            return self._reader is not None and self._reader.between
        return data.endswith(_EVENT_ENDS if self.events else b"\n")

    def told(self) -> list[Event]:
        """Return what happened in the stream since the last call, for a translation."""
        reader = self._reader
        if reader is None or not reader.told:
            return []
        told, reader.told = reader.told, []
        return told

    @property
    def times_ms(self) -> list[float]:
        """When chunks came, in milliseconds after the attempt began; thinned out evenly where they were many."""
        return self._times

    def feed(self, data: bytes) -> None:
        """Take the next bytes, as they came from upstream."""
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
            log.warning("a response is relayed unread from here on: %s", error)

    def answered(self) -> ChatResponse | None:
        """Return what was read, None where nothing could be."""
        try:
            if self._reader is not None:
                return self._reader.answered()
            if self._dialect is not None and self._whole:
                return self._dialect.read_response(b"".join(self._whole))
        except Exception:
            log.exception("a response could not be read")
        return None
