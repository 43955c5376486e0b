"""Ledger of a journal: exchanges accepted, stored, dropped and interrupted, by reading its lines."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

INTERRUPTED = "interrupted"


class _Line(Struct, gc=False, tag_field="t"):
    """Fields of a line that the ledger needs. A line of another kind is damaged: a byte of its tag is wrong."""


class _Journal(_Line, gc=False, tag="journal"):
    worker: str | None = None


class _Start(_Line, gc=False, tag="start"):
    span_id: str
    kind: Literal["SERVER"]


class _Span(_Line, gc=False, tag="span"):
    span_id: str
    kind: Literal["SERVER", "CLIENT", "INTERNAL", "PRODUCER", "CONSUMER"]


class _Dropped(_Span, gc=False, tag="dropped"):
    reason: str = ""


class _Event(_Line, gc=False, tag="event"):
    event_id: str
    type: str
    time_ns: int


class _EventsDropped(_Line, gc=False, tag="events_dropped"):
    count: int


class _Received(_Line, gc=False, tag="received"):
    span_id: str
    kind: Literal["SERVER", "CLIENT", "INTERNAL", "PRODUCER", "CONSUMER"]


class _ReceivedDropped(_Line, gc=False, tag="received_dropped"):
    count: int


class _Log(_Line, gc=False, tag="log"):
    log_id: str
    received_ns: int


class _LogsDropped(_Line, gc=False, tag="logs_dropped"):
    count: int


class _Metric(_Line, gc=False, tag="metric"):
    pass


class _MetricsDropped(_Line, gc=False, tag="metrics_dropped"):
    pass


class _Closed(_Line, gc=False, tag="closed"):
    pass


_line_decoder = msgspec.json.Decoder(
    _Journal
    | _Start
    | _Span
    | _Dropped
    | _Event
    | _EventsDropped
    | _Received
    | _ReceivedDropped
    | _Log
    | _LogsDropped
    | _Metric
    | _MetricsDropped
    | _Closed
)


class Ledger(Struct):
    """Counts of a journal: accepted = stored + interrupted + dropped, once no worker writes to it.

    `events` are stored events of runs, `events_dropped` those refused, on a full disk for example; `received` and
    `received_dropped` are the same for spans of applications, `logs` and `logs_dropped` for their log records.
    """

    journal: str
    worker: str | None = None
    accepted: int = 0
    stored: int = 0
    in_flight: int = 0
    interrupted: int = 0
    dropped: int = 0
    dropped_by_reason: dict[str, int] = {}
    attempts: int = 0
    damaged_lines: int = 0
    events: int = 0
    events_dropped: int = 0
    received: int = 0
    received_dropped: int = 0
    logs: int = 0
    logs_dropped: int = 0
    longest_line: int = 0


def read_ledger(journal: Path) -> tuple[Ledger, list[dict[str, Any]]]:
    """Read a journal; return its counts, and the starts of the exchanges without an end in it."""
    ledger = Ledger(journal=journal.stem, dropped_by_reason={})
    starts: dict[str, bytes] = {}
    ended: set[str] = set()
    dropped: dict[str, str] = {}
    for raw, line in lines(journal):
        if line is None:
            ledger.damaged_lines += 1
            continue
        ledger.longest_line = max(ledger.longest_line, len(raw))
        match line:
            case _Journal():
                ledger.worker = line.worker
            case _Start():
                starts[line.span_id] = raw
            case _Dropped(kind="SERVER"):
                dropped[line.span_id] = line.reason
            case _Event():
                ledger.events += 1
            case _EventsDropped():
                ledger.events_dropped += line.count
            case _Received():
                ledger.received += 1
            case _ReceivedDropped():
                ledger.received_dropped += line.count
            case _Log():
                ledger.logs += 1
            case _LogsDropped():
                ledger.logs_dropped += line.count
            case _Dropped() | _Closed() | _Metric() | _MetricsDropped():
                pass
            case _Span(kind="SERVER"):
                ended.add(line.span_id)
                starts.pop(line.span_id, None)
            case _Span():
                ledger.attempts += 1
    for span_id, reason in dropped.items():
        starts.pop(span_id, None)
        ledger.dropped_by_reason[reason] = ledger.dropped_by_reason.get(reason, 0) + 1
    ledger.stored = len(ended)
    ledger.dropped = len(dropped)
    ledger.interrupted = len(starts)
    ledger.accepted = ledger.stored + ledger.dropped + ledger.interrupted
    return ledger, [msgspec.json.decode(raw) for raw in starts.values()]


def lines(journal: Path) -> Iterator[tuple[bytes, _Line | None]]:
    """Yield each line of a journal, raw and decoded; None for a damaged one."""
    with journal.open("rb") as file:
        for raw in file:
            try:
                raw.isascii() or raw.decode()  # the decoder does not validate the text that it skips
                yield raw, _line_decoder.decode(raw)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                yield raw, None


def interrupted(start: dict[str, Any]) -> dict[str, Any]:
    """Return the row of an exchange whose gateway stopped before its end; its duration is unknown."""
    return start | {
        "t": "span",
        "outcome": INTERRUPTED,
        "error_type": INTERRUPTED,
        "status": "ERROR",
        "status_message": INTERRUPTED,
        "error": "the gateway stopped before this exchange ended",
    }
