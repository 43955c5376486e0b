"""Every metric of the gateway, by its OpenTelemetry name: meaning, unit, labels, buckets.

Names, units and buckets of `gen_ai.*` and `http.*` are those of the conventions (the former in
`open-telemetry/semantic-conventions-genai`). Buckets of `http.server.request.duration` extend to ten minutes, the time
that a response may take.
"""

from typing import Literal

from msgspec import Struct

from gateway.store.ledger import INTERRUPTED

Sort = Literal["counter", "gauge", "histogram"]

_DOUBLING = tuple(0.01 * 2**step for step in range(14))
_TOKENS = tuple(float(4**step) for step in range(14))
_FIRST_TOKEN = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_PER_TOKEN = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
_HTTP = (
    0.005,
    0.01,
    0.025,
    0.05,
    0.075,
    0.1,
    0.25,
    0.5,
    0.75,
    1.0,
    2.5,
    5.0,
    7.5,
    10.0,
    30.0,
    60.0,
    120.0,
    300.0,
    600.0,
)
_OVERHEAD = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)

JOURNAL_DROPS = ("disk_full", "write_error", "too_long", "encoding")
"""Reasons for which the journal drops a line."""
RECEIVED_DROPS = (*JOURNAL_DROPS, "malformed", "own", "twice")
"""Reasons for which a span of an application is dropped; the last three are found before the journal."""
EXPORT_DROPS = ("otlp_backlog", "never_ended", "refused", "rejected", "damaged")
"""Reasons for a span that no collector gets."""
EVENT_TYPES = ("run:start", "run:update", "step:start", "step:end", "step:error", "step:state")
OTHER_EVENT = "other"

_GEN_AI = ("gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "gen_ai.response.model")
_REQUESTED = ("gateway.provider", "gen_ai.request.model")


class Instrument(Struct, frozen=True, kw_only=True):
    """One metric.

    Attributes:
        unit: In UCUM: `s`, `By`, or `{things}`.
        labels: Attribute names of its series, in the order of their values.
        bounds: Upper bounds of a histogram's buckets; the last bucket has none.

    """

    name: str
    sort: Sort
    unit: str
    help: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()


class WorkerGauges(Struct, frozen=True):
    """Gauges of one worker, read for each scrape. `pid` 0: the worker has not started, or has ended."""

    pid: int = 0
    connections: int = 0  # to providers
    idle: int = 0  # of these, open for the next request


def _counter(name: str, unit: str, what: str, *labels: str) -> Instrument:
    return Instrument(name=name, sort="counter", unit=unit, help=what, labels=labels)


def _gauge(name: str, unit: str, what: str, *labels: str) -> Instrument:
    return Instrument(name=name, sort="gauge", unit=unit, help=what, labels=labels)


def _histogram(name: str, unit: str, what: str, bounds: tuple[float, ...], *labels: str) -> Instrument:
    return Instrument(name=name, sort="histogram", unit=unit, help=what, labels=labels, bounds=bounds)


# Attempts whose dialect is read.
OPERATION_DURATION = _histogram(
    "gen_ai.client.operation.duration", "s", "Duration of an attempt upstream.", _DOUBLING, *_GEN_AI, "error.type"
)
TIME_TO_FIRST_CHUNK = _histogram(
    "gen_ai.client.operation.time_to_first_chunk",
    "s",
    "Time from sending a request to the first chunk of its streamed response.",
    _DOUBLING,
    *_GEN_AI,
)
TOKEN_USAGE = _histogram(
    "gen_ai.client.token.usage",
    "{token}",
    "Tokens of an attempt, as the provider reported them or, where the source says so, estimated.",
    _TOKENS,
    *_GEN_AI,
    "gen_ai.token.type",
    "gateway.usage.source",
)
# In the conventions these two are of a model's server. Dashboards read them; here they are measured by the gateway.
TIME_TO_FIRST_TOKEN = _histogram(
    "gen_ai.server.time_to_first_token",
    "s",
    "Time to the first token of a good streamed response, as the gateway sees it.",
    _FIRST_TOKEN,
    *_GEN_AI,
)
TIME_PER_OUTPUT_TOKEN = _histogram(
    "gen_ai.server.time_per_output_token",
    "s",
    "Time per token after the first of a good streamed response, as the gateway sees it.",
    _PER_TOKEN,
    *_GEN_AI,
)
# Parts of the input and output tokens above, not to be added to them.
CACHE_READ = _counter("gateway.usage.cache_read", "{token}", "Input tokens that were read from a cache.", *_REQUESTED)
CACHE_WRITE = _counter(
    "gateway.usage.cache_write", "{token}", "Input tokens that were written to a cache.", *_REQUESTED
)
REASONING = _counter("gateway.usage.reasoning", "{token}", "Output tokens that were spent on reasoning.", *_REQUESTED)

# Exchanges: started = ended + dropped + active.
REQUEST_DURATION = _histogram(
    "http.server.request.duration",
    "s",
    "Duration of an exchange, from the client's request to the last byte of the response.",
    _HTTP,
    "http.request.method",
    "url.scheme",
    "http.response.status_code",
    "error.type",
    "gateway.dialect",
)
EXCHANGES_STARTED = _counter("gateway.exchange.started", "{exchange}", "Exchanges that were accepted.")
EXCHANGES_ENDED = _counter(
    "gateway.exchange.ended",
    "{exchange}",
    "Exchanges that ended and are stored, those included that a dying worker interrupted.",
    "gateway.outcome",
    "gateway.provider",
    "gateway.dialect",
)
EXCHANGES_DROPPED = _counter(
    "gateway.exchange.dropped", "{exchange}", "Exchanges that ended and could not be stored.", "gateway.reason"
)
EXCHANGES_DRAINED = _counter(
    "gateway.exchange.drained", "{exchange}", "Exchanges whose response was read on after their client had left."
)
EXCHANGES_ACTIVE = _gauge("gateway.exchange.active", "{exchange}", "Exchanges in flight.")
EXCHANGE_OVERHEAD = _histogram(
    "gateway.exchange.overhead",
    "s",
    "Time of an exchange that was not spent waiting for the client or an upstream.",
    _OVERHEAD,
    "gateway.stream",
)

OVERHEAD_PHASE = _histogram(
    "gateway.overhead.phase",
    "s",
    "Overhead by phase: accept (until the first attempt), send and relay (of each attempt), record (the rest).",
    _OVERHEAD,
    "gateway.phase",
)

ATTEMPTS = _counter(
    "gateway.attempt.ended",
    "{attempt}",
    "Requests sent upstream, by how they ended and why they were made.",
    "gateway.outcome",
    "gateway.attempt.reason",
    *_REQUESTED,
)
RETRIES = _counter(
    "gateway.attempt.retries",
    "{attempt}",
    "Attempts that were made because another one had failed, with its error.",
    "gateway.attempt.reason",
    "gateway.attempt.after",
    *_REQUESTED,
)
FALLBACKS = _counter(
    "gateway.attempt.fallbacks",
    "{attempt}",
    "Retries that went on to the next candidate of a list.",
    "gateway.attempt.after",
    *_REQUESTED,
)
RATE_LIMITS = _counter("gateway.attempt.rate_limits", "{attempt}", "Attempts that hit a rate limit.", *_REQUESTED)
BACKOFF = _counter("gateway.attempt.backoff", "s", "Time waited before retries.", "gateway.provider")
FIRST_BYTE = _histogram(
    "gateway.attempt.time_to_first_byte", "s", "Time to the head of the provider's response.", _DOUBLING, *_REQUESTED
)
ATTEMPT_OVERHEAD = _histogram(
    "gateway.attempt.overhead",
    "s",
    "The part of an exchange's overhead that lies within an attempt.",
    _OVERHEAD,
    "gateway.stream",
)

EVENTS = _counter("gateway.event.stored", "{event}", "Events of runs and steps that were stored.", "gateway.event.type")
EVENTS_DROPPED = _counter(
    "gateway.event.dropped",
    "{event}",
    "Events that could not be stored; their senders got an error.",
    "gateway.reason",
)
RECEIVED = _counter("gateway.received.stored", "{span}", "Spans of applications that came over OTLP and were stored.")
RECEIVED_DROPPED = _counter(
    "gateway.received.dropped",
    "{span}",
    "Spans of applications that were not stored; their senders got an error.",
    "gateway.reason",
)
DAMAGED = _counter("gateway.journal.damaged", "{line}", "Lines of journals that could not be read.")

# Observed for each scrape.
JOURNALS = _gauge("gateway.journal.files", "{journal}", "Journals that are not sealed yet.")
JOURNAL_BYTES = _gauge("gateway.journal.size", "By", "Size of the journals that are not sealed yet.")
UNREAD_BYTES = _gauge("gateway.journal.unread", "By", "Bytes of journals that these metrics do not count yet.")
SEGMENTS = _gauge("gateway.store.segments", "{segment}", "Sealed files of the store.")
STORE_BYTES = _gauge("gateway.store.size", "By", "Size of the sealed files of the store.")
FREE_BYTES = _gauge("gateway.store.free", "By", "Free space of the disk that the store is on.")
SEALED = _counter("gateway.recorder.sealed", "{journal}", "Journals that were sealed.")
FAILURES = _counter("gateway.recorder.failures", "{failure}", "Steps of the recorder that failed and are tried again.")
EXPORTED = _counter("gateway.otlp.exported", "{span}", "Spans that a collector took.")
EXPORT_DROPPED = _counter("gateway.otlp.dropped", "{span}", "Spans that no collector gets.", "gateway.reason")
EXPORT_RETRIES = _counter("gateway.otlp.retries", "{request}", "Requests to a collector that failed.")
EXPORT_WAITING = _gauge("gateway.otlp.waiting", "By", "Bytes of journals that no collector has yet.")
CONNECTIONS = _gauge(
    "gateway.upstream.connections", "{connection}", "Connections to providers, in use or kept.", "gateway.state"
)
WORKERS = _gauge("gateway.worker.running", "{worker}", "Workers that are running.")

FOLDED = (
    OPERATION_DURATION,
    TIME_TO_FIRST_CHUNK,
    TOKEN_USAGE,
    TIME_TO_FIRST_TOKEN,
    TIME_PER_OUTPUT_TOKEN,
    CACHE_READ,
    CACHE_WRITE,
    REASONING,
    REQUEST_DURATION,
    EXCHANGES_STARTED,
    EXCHANGES_ENDED,
    EXCHANGES_DROPPED,
    EXCHANGES_DRAINED,
    EXCHANGES_ACTIVE,
    EXCHANGE_OVERHEAD,
    OVERHEAD_PHASE,
    ATTEMPTS,
    RETRIES,
    FALLBACKS,
    RATE_LIMITS,
    BACKOFF,
    FIRST_BYTE,
    ATTEMPT_OVERHEAD,
    EVENTS,
    EVENTS_DROPPED,
    RECEIVED,
    RECEIVED_DROPPED,
    DAMAGED,
)
OBSERVED = (
    JOURNALS,
    JOURNAL_BYTES,
    UNREAD_BYTES,
    SEGMENTS,
    STORE_BYTES,
    FREE_BYTES,
    SEALED,
    FAILURES,
    EXPORTED,
    EXPORT_DROPPED,
    EXPORT_RETRIES,
    EXPORT_WAITING,
    CONNECTIONS,
    WORKERS,
)

ZEROS = {
    EXCHANGES_STARTED: ((),),
    EXCHANGES_ENDED: ((INTERRUPTED, None, None),),
    EXCHANGES_DROPPED: tuple((reason,) for reason in JOURNAL_DROPS),
    EVENTS: tuple((kind,) for kind in (*EVENT_TYPES, OTHER_EVENT)),
    EVENTS_DROPPED: tuple((reason,) for reason in JOURNAL_DROPS),
    RECEIVED: ((),),
    RECEIVED_DROPPED: tuple((reason,) for reason in RECEIVED_DROPS),
    DAMAGED: ((),),
}
"""Series whose labels are known beforehand. They begin at 0: `increase` misses the first of one that begins at 1."""
