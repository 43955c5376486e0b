"""Fold of journal lines into counts: no file, no clock, no lock.

An exchange is in flight from its start line to its end line, whichever journals they are in.
"""

from typing import Final

import msgspec

from gateway.semconv import COUNT_TOKENS
from gateway.store.ledger import INTERRUPTED
from gateway.store.metrics import instruments as i
from gateway.store.metrics.instruments import Instrument
from gateway.store.metrics.lines import Dropped, Event, EventsDropped, Received, ReceivedDropped, Span, Start, line_in
from gateway.store.metrics.series import Exemplar, Family, Known, Labels
from gateway.tracing.attributes import is_retry

MODELS_MAX: Final = 200
_PROVIDERS_MAX, _WORDS_MAX = 100, 60
# The conventions' value for one that is not well known.
_OTHER = "_OTHER"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"})


class Fold:
    """Counts of the lines so far, and the exchanges in flight."""

    def __init__(self) -> None:
        self.families = {instrument.name: Family(instrument, i.ZEROS.get(instrument, ())) for instrument in i.FOLDED}
        self._models = Known(MODELS_MAX)
        self._providers = Known(_PROVIDERS_MAX)
        self._errors = Known(_WORDS_MAX, _OTHER)
        self._words = Known(4 * _WORDS_MAX)
        self._open: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"<Fold {len(self._open)} in flight>"

    @property
    def in_flight(self) -> int:
        """Number of exchanges that started and have not ended."""
        return len(self._open)

    def line(self, raw: bytes, journal: str, *, counts: bool = True) -> None:
        """Count a line of a journal. `counts` False: only update the exchanges in flight."""
        try:
            line = line_in(raw)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            if counts:
                self._of(i.DAMAGED).add(())
            return
        match line:
            case Start():
                self._open[line.span_id] = journal
                if counts:
                    self._of(i.EXCHANGES_STARTED).add(())
            case Span(kind="SERVER"):
                self._ended(line.span_id, counts=counts)
                if counts:
                    self._exchange(line)
            case Span(kind="CLIENT") if counts:
                self._attempt(line)
            case Dropped(kind="SERVER"):
                self._ended(line.span_id, counts=counts)
                if counts:
                    self._of(i.EXCHANGES_DROPPED).add((self._words(line.reason),))
            case EventsDropped() if counts:
                self._of(i.EVENTS_DROPPED).add((self._words(line.reason),), line.count)
            case Received() if counts:
                self._of(i.RECEIVED).add(())
            case ReceivedDropped() if counts:
                self._of(i.RECEIVED_DROPPED).add((self._words(line.reason),), line.count)
            case Event() if counts:
                self._of(i.EVENTS).add((line.type if line.type in i.EVENT_TYPES else i.OTHER_EVENT,))

    def closed(self, journal: str) -> None:
        """Count the exchanges open in a journal as interrupted: no worker writes to it any more."""
        for span_id in [span_id for span_id, own in self._open.items() if own == journal]:
            del self._open[span_id]
            self._of(i.EXCHANGES_ENDED).add((INTERRUPTED, None, None))

    def _of(self, instrument: Instrument) -> Family:
        return self.families[instrument.name]

    def _ended(self, span_id: str, *, counts: bool) -> None:
        if self._open.pop(span_id, None) is None and counts:  # its start could not be written
            self._of(i.EXCHANGES_STARTED).add(())

    def _exchange(self, row: Span) -> None:
        outcome = row.outcome or "unknown"
        exemplar = _exemplar(row)
        labels: Labels = (self._words(outcome), self._providers(row.provider), self._words(row.dialect))
        self._of(i.EXCHANGES_ENDED).add(labels, 1, exemplar)
        if row.attributes is not None and row.attributes.drained_ms is not None:
            self._of(i.EXCHANGES_DRAINED).add((), 1, exemplar)
        if row.duration_ns is not None:
            method = row.method if row.method in _METHODS else _OTHER
            error = self._errors(row.error_type)
            self._of(i.REQUEST_DURATION).record(
                (method, "http", row.http_status, error, labels[2]), row.duration_ns / 1e9, exemplar
            )
        if row.overhead_us is not None:
            self._of(i.EXCHANGE_OVERHEAD).record((_yes(row.stream),), row.overhead_us / 1e6, exemplar)
        self._phases(row, exemplar)

    def _attempt(self, row: Span) -> None:
        answered = row.outcome == "ok"
        model = self._models(row.request_model, sure=answered)
        asked: Labels = (self._providers(row.provider), model)
        exemplar = _exemplar(row)
        self._of(i.ATTEMPTS).add((self._words(row.outcome or "unknown"), self._why(row.reason)[0], *asked), 1, exemplar)
        if row.reason is not None and is_retry(row.reason):
            self._retry(row, row.reason, asked, exemplar)
        if row.outcome == "rate_limit":
            self._of(i.RATE_LIMITS).add(asked, 1, exemplar)
        if row.overhead_us is not None:
            self._of(i.ATTEMPT_OVERHEAD).record((_yes(row.stream),), row.overhead_us / 1e6, exemplar)
        self._phases(row, exemplar)
        if row.ttfb_ms is not None:
            self._of(i.FIRST_BYTE).record(asked, row.ttfb_ms / 1e3, exemplar)
        if row.operation is not None:
            self._operation(row, asked, exemplar)

    def _phases(self, row: Span, exemplar: Exemplar | None) -> None:
        overhead = row.attributes
        if overhead is None:
            return
        for phase, took_us in (
            ("accept", overhead.accept_us),
            ("send", overhead.send_us),
            ("relay", overhead.relay_us),
            ("record", overhead.record_us),
        ):
            if took_us is not None:
                self._of(i.OVERHEAD_PHASE).record((phase,), took_us / 1e6, exemplar)

    def _retry(self, row: Span, reason: str, asked: Labels, exemplar: Exemplar | None) -> None:
        why, after = self._why(reason)
        self._of(i.RETRIES).add((why, after, *asked), 1, exemplar)
        if why == "fallback":
            self._of(i.FALLBACKS).add((after, *asked), 1, exemplar)
        if row.backoff_ms:
            self._of(i.BACKOFF).add((asked[0],), row.backoff_ms / 1e3)

    def _operation(self, row: Span, asked: Labels, exemplar: Exemplar | None) -> None:
        provider = (row.attributes.genai_provider if row.attributes is not None else None) or row.provider
        answered = row.outcome == "ok"
        labels = (
            self._words(row.operation),
            self._providers(provider),
            asked[1],
            self._models(row.response_model, sure=answered),
        )
        seconds = None if row.duration_ns is None else row.duration_ns / 1e9
        if seconds is not None:
            error = self._errors(row.error_type or (None if answered else row.outcome))
            self._of(i.OPERATION_DURATION).record((*labels, error), seconds, exemplar)
        if row.ttfc_s is not None:
            self._of(i.TIME_TO_FIRST_CHUNK).record(labels, row.ttfc_s, exemplar)
            if answered:
                self._of(i.TIME_TO_FIRST_TOKEN).record(labels, row.ttfc_s, exemplar)
                if seconds is not None and row.output_tokens is not None and row.output_tokens > 1:
                    each = max(0.0, seconds - row.ttfc_s) / (row.output_tokens - 1)
                    self._of(i.TIME_PER_OUTPUT_TOKEN).record(labels, each, exemplar)
        if row.operation == COUNT_TOKENS:  # which uses none
            return
        source = self._words(row.usage_source)
        usage = self._of(i.TOKEN_USAGE)
        if row.input_tokens is not None:
            usage.record((*labels, "input", source), row.input_tokens, exemplar)
        if row.output_tokens is not None:
            usage.record((*labels, "output", source), row.output_tokens, exemplar)
        for instrument, tokens in (
            (i.CACHE_READ, row.cache_read_tokens),
            (i.CACHE_WRITE, row.cache_write_tokens),
            (i.REASONING, row.reasoning_tokens),
        ):
            if tokens:
                self._of(instrument).add(asked, tokens)

    def _why(self, reason: str | None) -> tuple[str | None, str | None]:
        """Split an attempt's reason, "retry after server", into kind and cause; that of a hedge has a number."""
        why, _, after = (reason or "").partition(" after ")
        return self._words(why or "unknown"), self._words(after or None) if why != "hedge" else None


def _exemplar(row: Span) -> Exemplar | None:
    """Return the exemplar of a span; None if its ids are not hexadecimal."""
    try:
        int(row.trace_id, 16), int(row.span_id, 16)
    except ValueError:
        return None
    return Exemplar(row.trace_id, row.span_id, row.start_ns + (row.duration_ns or 0))


def _yes(value: bool | None) -> str:
    return "true" if value else "false"
