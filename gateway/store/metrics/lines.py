"""Lines of a journal decoded as far as metrics need them: all content is skipped."""

from typing import Literal

import msgspec
from msgspec import Struct, field


class _Line(Struct, gc=False, tag_field="t"):
    pass


class Start(_Line, gc=False, tag="start"):
    """An exchange was accepted."""

    span_id: str


class Dropped(_Line, gc=False, tag="dropped"):
    """A span could not be stored."""

    span_id: str
    kind: str
    reason: str = "unknown"


class Event(_Line, gc=False, tag="event"):
    """An event of a run or a step."""

    type: str = ""


class EventsDropped(_Line, gc=False, tag="events_dropped"):
    """Events could not be stored."""

    reason: str = "unknown"
    count: int = 0


class Received(_Line, gc=False, tag="received"):
    """A span that an application sent."""

    name: str


class ReceivedDropped(_Line, gc=False, tag="received_dropped"):
    """Spans that an application sent and that are not stored."""

    reason: str = "unknown"
    count: int = 0


class Rest(Struct, gc=False):
    """Attributes without a column that are counted."""

    genai_provider: str | None = field(default=None, name="gen_ai.provider.name")
    drained_ms: float | None = field(default=None, name="gateway.drained_ms")
    accept_us: int | None = field(default=None, name="gateway.overhead.accept_us")
    record_us: int | None = field(default=None, name="gateway.overhead.record_us")
    send_us: int | None = field(default=None, name="gateway.attempt.overhead.send_us")
    relay_us: int | None = field(default=None, name="gateway.attempt.overhead.relay_us")


class Span(_Line, gc=False, tag="span"):
    """A finished exchange (SERVER) or attempt (CLIENT); the columns are those of `semconv`."""

    span_id: str
    kind: Literal["SERVER", "CLIENT", "INTERNAL", "PRODUCER", "CONSUMER"]
    trace_id: str
    start_ns: int
    duration_ns: int | None = None
    method: str | None = None
    http_status: int | None = None
    error_type: str | None = None
    outcome: str | None = None
    provider: str | None = None
    dialect: str | None = None
    stream: bool | None = None
    overhead_us: int | None = None
    reason: str | None = None
    backoff_ms: float | None = None
    ttfb_ms: float | None = None
    ttfc_s: float | None = None
    operation: str | None = None
    request_model: str | None = None
    response_model: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    usage_source: str | None = None
    attributes: Rest | None = None


Line = Start | Span | Dropped | Event | EventsDropped | Received | ReceivedDropped

_PREFIXES = (b'{"t":"start"', b'{"t":"span"', b'{"t":"dropped"', b'{"t":"event', b'{"t":"received')
_decoder: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)


def line_in(raw: bytes) -> Line | None:
    """Return a decoded line, None for a kind that is not counted. Raises msgspec.DecodeError if it is damaged."""
    if not raw.startswith(_PREFIXES):
        if raw.strip() and not (raw.startswith(b"{") and raw.rstrip().endswith(b"}")):
            raise msgspec.DecodeError("no line of a journal")
        return None
    return _decoder.decode(raw)
