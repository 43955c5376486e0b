"""One request sent upstream and its CLIENT span, which ends once: when the attempt's `with` block is left.

Observation never breaks a call: an error while the attributes are collected is logged, and the span ends without them.
"""

import logging
from collections.abc import Mapping, Sequence
from time import perf_counter, time_ns
from types import TracebackType
from typing import Any, Protocol, Self

from msgspec import structs
from opentelemetry import trace
from opentelemetry.trace import StatusCode

from gateway.dialects.conversation import ChatRequest, ChatResponse, Usage
from gateway.dialects.registry import DIALECTS, TABLES
from gateway.dialects.shared.token_estimate import estimate
from gateway.providers.route import Route
from gateway.semconv import COUNT_TOKENS, UNREAD_REASON
from gateway.tracing import attributes as span_attributes
from gateway.tracing import outcome as outcomes
from gateway.tracing.capture import CapturePolicy
from gateway.tracing.outcome import HEDGE_LOST, OK, Outcome
from gateway.tracing.response_reader import ResponseReader
from gateway.tracing.secrets import ExchangeSecrets

log = logging.getLogger("gateway.recording")

# Errors look much alike in all dialects: this one reads those of requests that are only relayed.
_ERRORS = DIALECTS[TABLES.default.dialect]

_NO_HEADERS: Mapping[str, str] = {}


class Owner(Protocol):
    """The part of an exchange that its attempts use."""

    capture_policy: CapturePolicy
    method: str
    waited: float
    within: float
    rate_limited: bool
    secrets: ExchangeSecrets

    @property
    def request(self) -> ChatRequest | None:
        """The parsed request."""

    @property
    def large(self) -> bool:
        """Whether the values of the request are not held between attempts."""

    def forget_request(self) -> None:
        """Drop the values of the request."""

    @property
    def stopping(self) -> bool:
        """Whether the worker drains."""

    def start_attempt_span(self, name: str, attributes: dict[str, Any], started_ns: int) -> trace.Span:
        """Start the span of an attempt."""

    def request_attributes(self) -> dict[str, Any]:
        """Return the attributes of the request."""

    def scrub(self, text: str) -> str:
        """Redact the exchange's keys in a text."""

    def account(self, usage: Mapping[str, Any]) -> None:
        """Add an attempt's tokens to the exchange's."""


class Attempt:
    """One request sent upstream: a CLIENT span, child of the exchange's, over the `with` block that makes the attempt.

    Attributes:
        outcome: Set by the code that makes it; if none is set, an exception that leaves the block decides.
        first_byte: Seconds until the response's head came; None if none has.
        apart: Seconds this attempt waited by itself, if several are made at once.

    """

    def __init__(self, exchange: Owner, route: Route, index: int, reason: str, backoff: float) -> None:
        self._exchange = exchange
        self._route = route
        self.started = perf_counter()
        self._started_ns = time_ns()
        self._waited_before = exchange.waited
        self._head_at: float | None = None
        self._sending: float | None = None  # the seconds of overhead until then
        self.status: int | None = None
        self._reader: ResponseReader | None = None
        self.outcome: Outcome | None = None
        self._response: ChatResponse | None = None
        self._recorded = False  # what the body says
        self.error: str | None = None
        self.response_model: str | None = None
        self.usage_source: str | None = None
        self.recovered: ChatResponse | None = None
        self._dropped: list[str] = []
        self.apart: float | None = None  # seconds that it waited by itself, if several are made at once
        model = route.rename or route.model
        name = f"{route.operation} {model}" if model else route.operation
        attributes = span_attributes.of_attempt(route, exchange.method, index, reason, backoff)
        self.span = exchange.start_attempt_span(name, attributes, self._started_ns)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the span, with the outcome that was set or that the exception means."""
        if self.outcome is None:
            self.outcome = outcomes.of_exception(error, stopping=self._exchange.stopping)
        now = perf_counter()
        try:
            self._finish(self.outcome, now)
        except Exception:
            log.exception("an attempt's span is not complete")
        self.span.end(self._started_ns + int((now - self.started) * 1e9))
        if self._exchange.large:
            self._exchange.forget_request()

    @property
    def streamed(self) -> bool:
        """Whether the response is a stream of events."""
        return self._reader is not None and self._reader.streamed

    @property
    def reader(self) -> ResponseReader:
        """The reader of the response's bytes; there is one once the head has come."""
        if self._reader is None:
            raise RuntimeError("no response head has come yet")
        return self._reader

    def head(
        self, status: int, *, content_type: str, coding: str, headers: Mapping[str, str] = _NO_HEADERS
    ) -> ResponseReader:
        """Note the response's head, and return the reader of its body. `headers`: by lower-case name."""
        self._head_at = perf_counter()
        if self.apart is None:  # while several wait at once, the time is not one attempt's
            self._sending = self._head_at - self.started - (self._exchange.waited - self._waited_before)
        self.status = status
        if status == 429:
            self._exchange.rate_limited = True
        # Success is in the body: it is read even if nothing of it is recorded.
        translated = self._route.translated_to is not None
        read = translated or self._route.endpoint.rewrite is not None or self._exchange.capture_policy.reads
        dialect = self._route.upstream_reader
        if dialect is None and status >= 400:
            dialect = _ERRORS
        in_headers = dialect.read_usage_headers if read and dialect is not None else None
        self._recorded = read
        self._reader = ResponseReader(
            dialect,
            usage=in_headers(headers) if in_headers is not None else None,
            content_type=content_type,
            coding=coding,
            started=self.started,
            collects_events=translated,
            streams=self._route.stream and status < 400,
        )
        return self._reader

    @property
    def first_byte(self) -> float | None:
        """Seconds until the response's head came; None if none has."""
        return None if self._head_at is None else self._head_at - self.started

    @property
    def waited(self) -> float:
        """Seconds that the exchange spent waiting; an increase counts for this attempt."""
        return self._exchange.waited

    @waited.setter
    def waited(self, seconds: float) -> None:
        if self.apart is not None:
            self.apart += seconds - self._exchange.waited
        self._exchange.waited = seconds

    def waited_so_far(self) -> None:
        """Count all the time since the attempt began as waiting for the provider, beside another attempt."""
        self.apart = None
        self._waited_before = self._exchange.waited - (perf_counter() - self.started)

    def dropped(self, names: Sequence[str]) -> None:
        """Add the names of fields that a translation dropped."""
        self._dropped += [name for name in names if name not in self._dropped]

    def conclude(self) -> Outcome:
        """Set the outcome to that of the response, which has come to its end, and return it."""
        self._response = self.reader.response()
        self.outcome = outcomes.of_response(
            self.status or 0,
            self._response,
            streamed=self.streamed,
            ended=self.reader.ended,
            unread=self.reader.unread_reason is not None,
        )
        return self.outcome

    def _finish(self, outcome: Outcome, now: float) -> None:
        exchange = self._exchange
        answered = self.recovered or self._response or (self._reader.response() if self._reader is not None else None)
        error = outcome.message
        attributes = dict(exchange.request_attributes())
        attributes["gateway.outcome"] = outcome.kind
        waited = exchange.waited - self._waited_before if self.apart is None else self.apart
        overhead = now - self.started - waited
        exchange.within += overhead
        attributes["gateway.overhead_us"] = int(overhead * 1e6)
        if self._sending is not None and self.apart is None:
            sending = min(max(self._sending, 0.0), overhead)
            attributes["gateway.attempt.overhead.send_us"] = int(sending * 1e6)
            attributes["gateway.attempt.overhead.relay_us"] = int((overhead - sending) * 1e6)
        attributes["gateway.stream"] = self.streamed
        if self.status is not None:
            attributes["http.response.status_code"] = self.status
        if self._head_at is not None:
            attributes["gateway.attempt.first_byte_ms"] = round((self._head_at - self.started) * 1000, 3)
        if self.streamed:
            attributes["gateway.attempt.chunk_times_ms"] = self.reader.times_ms
            if self.reader.first_output_at is not None:
                attributes["gen_ai.response.time_to_first_chunk"] = round(self.reader.first_output_at - self.started, 6)
        if self.recovered is not None:
            attributes["gateway.attempt.recovered"] = True
        if self._dropped:
            attributes["gateway.dropped"] = [exchange.scrub(name) for name in self._dropped]
        if self._reader is not None and (reason := self._reader.unread_reason) is not None:
            attributes[UNREAD_REASON] = reason
        if answered is not None:
            if self._route.dialect is not None and (self._recorded or self.recovered is not None):
                attributes.update(self._response_attributes(answered, outcome.kind))
            if self._recorded:
                error = error or answered.error_message
            elif error == answered.error_message:
                error = None  # which may repeat content
        if outcome.is_error:
            status = self.status
            word = outcome.error_type or (answered.error_type if answered is not None else None)
            attributes["error.type"] = str(status) if status and status >= 400 else word or outcome.kind
            self.span.set_status(StatusCode.ERROR, outcome.kind)
        if (
            outcome.kind == HEDGE_LOST
            and "gen_ai.usage.input_tokens" not in attributes
            and exchange.request is not None
        ):
            attributes |= self._spent(structs.replace(estimate(exchange.request, ChatResponse()), output_tokens=None))
        if error:
            self.error = attributes["gateway.error"] = exchange.scrub(error)
        exchange.secrets.scrub_attributes(attributes)
        self.span.set_attributes(attributes)

    def _response_attributes(self, answered: ChatResponse, outcome: str) -> dict[str, Any]:
        exchange, policy = self._exchange, self._exchange.capture_policy
        if outcome != OK:
            answered = span_attributes.interrupted(answered)
        attributes = span_attributes.of_response(answered, policy) if policy.reads else {}
        self.response_model = answered.model
        if self._reader is not None and (billing := self._reader.billing()) is not None:
            attributes |= span_attributes.of_billing(billing)
        usage = answered.usage
        partly = usage is None or usage.input_tokens is None or usage.output_tokens is None
        if partly and self.streamed and exchange.request is not None and self.status == 200:
            usage = estimate(exchange.request, answered)
        if usage is not None:
            attributes |= self._spent(usage)
        return attributes

    def _spent(self, usage: Usage) -> dict[str, Any]:
        """Account for the tokens of this attempt, as far as they are known."""
        if (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (None, None, None):
            return {}
        spent = span_attributes.of_usage(usage)
        if self._route.operation != COUNT_TOKENS:  # which uses none
            self.usage_source = usage.source
            self._exchange.account(spent)
        return spent
