"""What was seen -> span. One `Exchange` per client request, one `Attempt` per request sent upstream.

The only place where a span ends. Observation never breaks a call: what fails while a span is put together is logged,
and the span ends with what was known.
"""

import logging
from collections.abc import Awaitable, Mapping, Sequence
from time import perf_counter, time_ns
from typing import Any, TypeVar

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import DefaultGetter
from opentelemetry.trace import SpanKind, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from gateway import attributes as seen
from gateway.config import Capture
from gateway.dialects.conversation import Answered, Asked
from gateway.dialects.estimate import estimate
from gateway.dialects.registry import DIALECTS
from gateway.errors import Kind, kind_of_status
from gateway.keys import Keys
from gateway.routing import Route
from gateway.tee import Tee

log = logging.getLogger("gateway.recording")

T = TypeVar("T")

OK = "ok"
CLIENT_ABORT = "client_abort"

# Errors look much the same in all dialects: what is only relayed has its errors read by this one.
_ERRORS = DIALECTS["openai-chat"]

_propagator = TraceContextTextMapPropagator()
_getter: DefaultGetter = DefaultGetter()
_TOTALS = ("input_tokens", "output_tokens", "total_tokens")


class Exchange:
    """One client request and what it got back: the root span, from acceptance to just before the last byte.

    Attributes:
        waited: Seconds spent waiting for others (the client's bytes, the provider, a backoff), which are not overhead.

    """

    def __init__(
        self, tracer: Tracer, capture: Capture, *, method: str, target: str, headers: Mapping[str, str]
    ) -> None:
        self._tracer = tracer
        self.capture = capture
        self.method = method
        self.started = perf_counter()
        self.started_ns = time_ns()
        self.waited = 0.0
        self.attempts = 0
        self._retries = 0
        self.ended = False
        self.rate_limited = False
        self._last: Attempt | None = None
        self._route: Route | None = None
        self._body: bytes | None = None
        self._asked: Asked | None = None
        self._request: dict[str, Any] | None = None
        self._tokens: dict[str, int] = {}
        self.keys = Keys(headers, target)
        attributes = seen.of_client(method, target, headers)
        self._says_user = "user.id" in attributes
        parent = _propagator.extract(headers, Context(), _getter) if "traceparent" in headers else Context()
        self.span = tracer.start_span(
            f"{method} {attributes['url.path']}", parent, SpanKind.SERVER, attributes, start_time=self.started_ns
        )
        self.context = trace.set_span_in_context(self.span, Context())

    @property
    def trace_id(self) -> str:
        """The trace's id, as Jaeger shows it."""
        return format(self.span.get_span_context().trace_id, "032x")

    @property
    def traceresponse(self) -> str:
        """The W3C `traceresponse` header: our trace and the root span."""
        context = self.span.get_span_context()
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-01"

    @property
    def asked(self) -> Asked | None:
        """What the request asks for, read once; None where its dialect is unknown or capture is off."""
        if self._asked is None and self._body is not None and self._route is not None and self._route.dialect:
            body, self._body = self._body, None
            try:
                self._asked = self._route.dialect.read_request(body)
            except Exception:
                log.exception("a request could not be read")
        return self._asked

    def routed(self, route: Route, body: bytes | None, keys: tuple[str, ...], *, asked: Asked | None = None) -> None:
        """Say where the exchange goes, what its (decoded) body is, and which keys of ours no text may show.

        `asked`: the body, where it has been read already.
        """
        self._route = route
        self.keys.ours = keys
        if self.capture.store != "off":
            self._body, self._asked = body, asked

    def attempt(self, reason: str, backoff: float, route: Route | None = None) -> "Attempt":
        """Begin the next attempt. `backoff`: seconds waited before it. `route`: where it goes, if not as all others."""
        route = route or self._route
        if route is None:
            raise RuntimeError("an exchange is routed before it is attempted")
        self._last = Attempt(self, route, self.attempts, reason, backoff)
        self.attempts += 1
        self._retries += seen.is_retry(reason)
        return self._last

    def start_attempt_span(self, name: str, attributes: dict[str, Any], started_ns: int) -> trace.Span:
        """Start the span of an attempt, a child of ours."""
        return self._tracer.start_span(name, self.context, SpanKind.CLIENT, attributes, start_time=started_ns)

    def request_attributes(self) -> dict[str, Any]:
        """Return the attributes that say what was asked; the same for each attempt."""
        if self._request is None:
            asked = self.asked
            self._request = {} if asked is None else seen.of_asked(asked, self.capture)
        return self._request

    async def waiting(self, awaitable: Awaitable[T]) -> T:
        """Await somebody else, and count the time as theirs."""
        before = perf_counter()
        try:
            return await awaitable
        finally:
            self.waited += perf_counter() - before

    def scrub(self, text: str) -> str:
        """Take this exchange's keys out of a text, such as an error that repeats what it was sent."""
        return self.keys.scrub(text)

    def account(self, usage: Mapping[str, Any]) -> None:
        """Add an attempt's tokens to the exchange's."""
        for name in _TOTALS:
            count = usage.get(f"gen_ai.usage.{name}")
            if count is not None:
                own = f"gateway.usage.{name}"
                self._tokens[own] = self._tokens.get(own, 0) + count

    def abandon(self, outcome: str, error: str) -> None:
        """End what is not ended: the client left, or the gateway stops."""
        status = None
        # Between two attempts the client has got none.
        if self._last is not None and not self._last.ended:
            self._last.end(outcome, error)
            status = self._last.status
        self.end(outcome, status, error)

    def end(self, outcome: str, status: int | None, error: str | None = None) -> None:
        """End the root span; a second call changes nothing. `status` is what the client got, None if it got none."""
        if self.ended:
            return
        self.ended = True
        now = perf_counter()
        try:
            attributes = self._closing(outcome, status, error, now)
            seen.scrub(attributes, self.keys.all)
            self.span.set_attributes(attributes)
            clients_fault = status is not None and 400 <= status < 500
            if outcome not in {OK, CLIENT_ABORT} and not clients_fault:
                self.span.set_status(StatusCode.ERROR, outcome)
        except Exception:
            log.exception("an exchange's span is not complete")
        self.span.end(self.started_ns + int((now - self.started) * 1e9))

    def _closing(self, outcome: str, status: int | None, error: str | None, now: float) -> dict[str, Any]:
        attributes: dict[str, Any] = {
            "gateway.outcome": outcome,
            "gateway.attempts": self.attempts,
            "gateway.retries": self._retries,
            "gateway.rate_limited": self.rate_limited,
            "gateway.overhead_us": int((now - self.started - self.waited) * 1e6),
        }
        if status is not None:
            attributes["http.response.status_code"] = status
        route, last = self._route, self._last
        if outcome != OK and last is not None:
            error = error or last.error
        if error:
            attributes["gateway.error"] = self.scrub(error)
        if outcome not in {OK, CLIENT_ABORT}:
            attributes["error.type"] = str(status) if status and status >= 400 else outcome
        if route is not None:
            attributes |= seen.of_route(route)
        if last is not None:
            attributes["gateway.stream"] = last.streamed
            if last.response_model:
                attributes["gateway.response.model"] = last.response_model
            if last.usage_source:
                attributes["gateway.usage.source"] = last.usage_source
        if self._asked is not None and self._asked.user and not self._says_user:
            attributes["user.id"] = self.scrub(self._asked.user)
        attributes.update(self._tokens)
        return attributes


class Attempt:
    """One request sent upstream: a CLIENT span, child of the exchange, ended exactly once."""

    def __init__(self, exchange: Exchange, route: Route, index: int, reason: str, backoff: float) -> None:
        self._exchange = exchange
        self._route = route
        self.started = perf_counter()
        self._started_ns = time_ns()
        self._waited_before = exchange.waited
        self._head_at: float | None = None
        self.status: int | None = None
        self._tee: Tee | None = None
        self.ended = False
        self.error: str | None = None
        self.response_model: str | None = None
        self.usage_source: str | None = None
        self.recovered: Answered | None = None
        self._dropped: list[str] = []
        self.apart: float | None = None  # seconds waited for others, where several attempts are made at once
        model = route.rename or route.model
        name = f"{route.operation} {model}" if model else route.operation
        attributes = seen.of_attempt(route, exchange.method, index, reason, backoff)
        self.span = exchange.start_attempt_span(name, attributes, self._started_ns)

    @property
    def streamed(self) -> bool:
        """Whether the response is a stream of events."""
        return self._tee is not None and self._tee.streamed

    @property
    def tee(self) -> Tee:
        """Where the response's bytes are fed; there is one once the head has come."""
        if self._tee is None:
            raise RuntimeError("no response head has come yet")
        return self._tee

    def head(self, status: int, *, content_type: str, coding: str) -> Tee:
        """Say that the response's head has come."""
        self._head_at = perf_counter()
        self.status = status
        if status == 429:
            self._exchange.rate_limited = True
        # A translation hears what the reader reads, kept or not.
        translated = self._route.sent is not None
        read = translated or self._exchange.capture.store != "off"
        heard = self._route.heard
        if heard is None and status >= 400:
            heard = _ERRORS
        self._tee = Tee(
            heard if read else None,
            content_type=content_type,
            coding=coding,
            started=self.started,
            tells=translated,
            streams=self._route.stream and status < 400 and heard is not None and heard.name == "gemini",
        )
        return self._tee

    def dropped(self, names: Sequence[str]) -> None:
        """Say what a translation could not tell."""
        self._dropped += [name for name in names if name not in self._dropped]

    def end(self, kind: Kind | str | None, error: str | None = None) -> str:
        """End the span and return its outcome; a second call changes nothing.

        `kind` is None where the body came whole: what its status says, and a stream that stopped without its last
        event or carried an error, is found out here.
        """
        if kind is None and self.status is not None:
            kind = kind_of_status(self.status)
        outcome = kind.value if isinstance(kind, Kind) else kind or OK
        if self.ended:
            return outcome
        self.ended = True
        now = perf_counter()
        try:
            outcome = self._finish(outcome, error, now)
        except Exception:
            log.exception("an attempt's span is not complete")
        self.span.end(self._started_ns + int((now - self.started) * 1e9))
        return outcome

    def _finish(self, outcome: str, error: str | None, now: float) -> str:
        exchange = self._exchange
        answered = self.recovered or (self._tee.answered() if self._tee is not None else None)
        if outcome == OK and answered is not None and self.streamed:
            if answered.error_type or answered.error_message:
                outcome = Kind.SERVER.value
            elif not self.tee.ended and not answered.finish_reasons:
                outcome, error = Kind.CLOSED.value, error or "the stream stopped before its last event"
        attributes = dict(exchange.request_attributes())
        attributes["gateway.outcome"] = outcome
        waited = exchange.waited - self._waited_before if self.apart is None else self.apart
        overhead = now - self.started - waited
        attributes["gateway.overhead_us"] = int(overhead * 1e6)
        attributes["gateway.stream"] = self.streamed
        if self.status is not None:
            attributes["http.response.status_code"] = self.status
        if self._head_at is not None:
            attributes["gateway.attempt.first_byte_ms"] = round((self._head_at - self.started) * 1000, 3)
        if self.streamed:
            attributes["gateway.attempt.chunk_times_ms"] = self.tee.times_ms
            if self.tee.first_output_at is not None:
                attributes["gen_ai.response.time_to_first_chunk"] = round(self.tee.first_output_at - self.started, 6)
        if self.recovered is not None:
            attributes["gateway.attempt.recovered"] = True
        if self._dropped:
            attributes["gateway.dropped"] = [exchange.scrub(name) for name in self._dropped]
        if answered is not None:
            if self._route.dialect is not None:
                attributes.update(self._response_attributes(answered, outcome))
            error = error or answered.error_message
        if outcome not in {OK, CLIENT_ABORT}:
            status = self.status
            word = answered.error_type if answered is not None else None
            attributes["error.type"] = str(status) if status and status >= 400 else word or outcome
            self.span.set_status(StatusCode.ERROR, outcome)
        if error:
            self.error = attributes["gateway.error"] = exchange.scrub(error)
        seen.scrub(attributes, exchange.keys.all)
        self.span.set_attributes(attributes)
        return outcome

    def _response_attributes(self, answered: Answered, outcome: str) -> dict[str, Any]:
        exchange = self._exchange
        if outcome != OK:
            answered = seen.broken_off(answered)
        attributes = seen.of_answered(answered, exchange.capture) if exchange.capture.store != "off" else {}
        self.response_model = answered.model
        usage = answered.usage
        partly = usage is None or usage.input_tokens is None or usage.output_tokens is None
        if partly and self.streamed and exchange.asked is not None and self.status == 200:
            usage = estimate(exchange.asked, answered)
        if usage is not None and (usage.input_tokens, usage.output_tokens) != (None, None):
            self.usage_source = usage.source
            spent = seen.of_usage(usage)
            exchange.account(spent)
            attributes |= spent
        return attributes
