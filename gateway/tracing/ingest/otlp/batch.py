"""One request of OTLP as lines of a journal: each valid item once, and the reasons of those that are rejected. Pure.

A client without a response sends the same items again. Spans have ids of their own; log records and metrics get one
here, a hash of all that is stored of them, so that the store and the export know a repeated one.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec

from gateway.tracing.capture import CapturePolicy
from gateway.tracing.ingest.otlp.lines import Line, encode, source_fields, span_line
from gateway.tracing.ingest.otlp.log_lines import log_line
from gateway.tracing.ingest.otlp.metric_lines import data_points, metric_line
from gateway.tracing.ingest.otlp.protocol import (
    LOGS,
    METRICS,
    TRACES,
    Encoding,
    Malformed,
    Signal,
    Source,
    items_in,
)
from gateway.tracing.ingest.otlp.values import TooManyError, limited
from gateway.tracing.journal import LINE_BYTES
from gateway.tracing.secrets import scrub_json
from gateway.tracing.tracer import INSTANCE, SCOPE

_HASH_BYTES = 16
# Attributes, events and links of one item.
_FIELDS_MAX = 50_000
# Of all metrics of a request: half a second's work.
_POINTS_MAX = 100_000


class Ingest(NamedTuple):
    """The parts of a request that lines are made of.

    Attributes:
        received_ns: Its arrival, in Unix nanoseconds.
        body: Its body without content coding.
        capture_policy: The policy of its content.
        secrets: Credentials that are removed wherever they appear.
        instance: The gateway's own `service.instance.id`, which identifies telemetry that a collector sends back.

    """

    received_ns: int
    body: bytes
    capture_policy: CapturePolicy
    secrets: Sequence[str]
    instance: str

    def __repr__(self) -> str:
        """Keep the secrets out."""
        return f"<Ingest {len(self.body)} bytes>"


class Parsed(NamedTuple):
    """Journal lines, and the items without one: counted by reason for the client (`rejected`), and for metrics."""

    lines: list[bytes]
    rejected: Counter[str]
    dropped: Counter[str]


def lines_in(ingest: Ingest, signal: Signal, encoding: Encoding) -> Parsed:
    """Return a request's items as journal lines. May run in a thread. Raises UnreadableError, TooManyError."""
    with limited():
        return _lines_in(ingest, signal, encoding)


def _lines_in(ingest: Ingest, signal: Signal, encoding: Encoding) -> Parsed:
    parsed = Parsed([], Counter(), Counter())
    last: Source | None = None
    shared: Line = {}
    is_own = False
    seen: Counter[str] = Counter()
    line_of = _line_of(signal, ingest)
    points = 0
    for source, item in items_in(ingest.body, signal, encoding):
        if signal is METRICS and not isinstance(item, Malformed):
            points += len(data_points(item))
            if points > _POINTS_MAX:
                raise TooManyError(f"there are more than {_POINTS_MAX} data points; send fewer metrics at once")
        if source is not last:
            last, shared = source, source_fields(source, ingest.capture_policy)
            is_own = _is_own(source, ingest.instance)
        if (size := _fields_of(item)) > _FIELDS_MAX:
            item = Malformed(f"it has {size} attributes, events and links, more than {_FIELDS_MAX}")  # noqa: PLW2901
        line = item if isinstance(item, Malformed) else line_of(item, shared, ingest.capture_policy)
        reason = "malformed"
        if not isinstance(line, Malformed):
            data, identity = _identified(line, signal, ingest, seen)
            if is_own:
                reason, line = "own", Malformed("it is this gateway's own, which a collector has sent back")
            elif signal is TRACES and identity in seen:
                reason, line = "twice", Malformed("it is there twice")
            elif len(data) >= LINE_BYTES:
                reason, line = "too_long", Malformed(f"it has {len(data)} bytes, more than {LINE_BYTES}")
            else:
                seen[identity] += 1
                parsed.lines.append(data)
                continue
        parsed.rejected[line.reason] += 1
        parsed.dropped[reason] += 1
    return parsed


def _line_of(signal: Signal, ingest: Ingest) -> Callable[[Any, Line, CapturePolicy], Line | Malformed]:
    line_of: Any = {"traces": span_line, "logs": log_line, "metrics": metric_line}[signal.name]
    if signal is METRICS:  # they are encoded, so that secrets cannot be found in their lines
        return partial(line_of, received_ns=ingest.received_ns, scrub=partial(_scrubbed, ingest.secrets))
    return partial(line_of, received_ns=ingest.received_ns)


def _scrubbed(secrets: Sequence[str], attributes: dict[str, Any]) -> dict[str, Any]:
    if not secrets:
        return attributes
    scrubbed: dict[str, Any] = msgspec.json.decode(scrub_json(msgspec.json.encode(attributes), secrets))
    return scrubbed


def _identified(line: Line, signal: Signal, ingest: Ingest, seen: Counter[str]) -> tuple[bytes, str]:
    """Return a line's JSON and the identity of its item.

    Of equal log records in one request each is one; the same records in a later request are repeated ones.
    """
    if signal is TRACES:
        return scrub_json(encode(line), ingest.secrets), line["trace_id"] + line["span_id"]
    received_ns = line.pop("received_ns")
    data = scrub_json(encode(line), ingest.secrets)
    # Records without a time may be equal and still be different events.
    timeless = signal is LOGS and not ("time_ns" in line or "observed_ns" in line)
    content = _hash(b"%b %d" % (data, received_ns) if timeless else data)
    identity = _hash(f"{content} {seen[content]}".encode()) if content in seen else content
    name = "log_id" if signal is LOGS else "metric_id"
    return b'%b,"%b":"%b","received_ns":%d}' % (data[:-1], name.encode(), identity.encode(), received_ns), content


def _fields_of(item: Any) -> int:
    return sum(len(getattr(item, name, ())) for name in ("attributes", "events", "links"))


def _hash(data: bytes) -> str:
    return blake2b(data, digest_size=_HASH_BYTES).hexdigest()


def _is_own(source: Source, instance: str) -> bool:
    attributes = {pair.key: pair.value.string_value for pair in source.resource.attributes}
    return source.scope.name == SCOPE and attributes.get(INSTANCE) == instance
