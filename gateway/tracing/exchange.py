"""One client request and its SERVER span, which ends once: when the exchange's `with` block is left.

It has one `Attempt` per request sent upstream. Observation never breaks a call: an error while the attributes are
collected is logged, and the span ends without them.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from time import perf_counter, time_ns
from types import TracebackType
from typing import Any, Self, TypeVar

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import DefaultGetter
from opentelemetry.trace import SpanContext, SpanKind, StatusCode, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from gateway.config.model import CaptureMode
from gateway.dialects.conversation import ChatRequest
from gateway.dialects.wire.json import count
from gateway.ids import run_span_id, step_span_id, trace_id
from gateway.providers.route import Route
from gateway.semconv import CAPTURE_OTLP
from gateway.tracing import attributes as span_attributes
from gateway.tracing import outcome as outcomes
from gateway.tracing.attempt import Attempt
from gateway.tracing.capture import CapturePolicy
from gateway.tracing.metadata import Metadata
from gateway.tracing.outcome import OK, Outcome
from gateway.tracing.secrets import ExchangeSecrets
from gateway.tracing.tracer import JournalTracer

log = logging.getLogger("gateway.recording")

T = TypeVar("T")

_propagator = TraceContextTextMapPropagator()
_getter: DefaultGetter = DefaultGetter()
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
LARGE = 128 * 1024
"""Bytes of a body from which on its values are not held while the provider works: they are as large as the body."""
_TOTALS = ("input_tokens", "output_tokens", "total_tokens")


def _of_run(attributes: Mapping[str, Any]) -> SpanContext | None:
    """Return the span of the run, or of its step, that an exchange belongs to; None if it names no run."""
    run, step = attributes.get("gateway.run.id"), attributes.get("gateway.step.id")
    if run is None:
        return None
    span = run_span_id(run) if step is None else step_span_id(step, run)
    return SpanContext(int(trace_id(run), 16), int(span, 16), is_remote=True, trace_flags=_SAMPLED)


def _restricted(
    capture_policy: CapturePolicy, options: Mapping[str, tuple[str, str]]
) -> tuple[CapturePolicy, CaptureMode | None]:
    """Return the capture policy of an exchange, and its own mode for OTLP if its header sets one.

    With a header that cannot be read nothing is captured; the request is refused later.
    """
    if "capture" not in options:
        return capture_policy, None
    try:
        less = capture_policy.within(options["capture"][1])
    except ValueError:
        less = capture_policy.within("off")
    return less, less.capture.otlp


class Exchange:
    """One client request: the root span, over the `with` block that answers it, up to the response's last bytes.

    Attributes:
        outcome: Set by the code that answers; if none is set, an exception that leaves the block decides.
        chat_id: The id by which the client's API knows the exchange; empty if it has none.
        waited: Seconds spent waiting: for the client's bytes, the provider, a backoff. They are no overhead.
        within: Seconds of overhead that lie within attempts.
        read_on: Reads the attempt on without the client, and returns whether it does; None if it may not.

    """

    def __init__(
        self,
        tracer: JournalTracer,
        capture_policy: CapturePolicy,
        *,
        method: str,
        target: str,
        headers: Mapping[str, str],
        options: Mapping[str, tuple[str, str]],
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        """Start the span. `stopping`: whether the worker drains, so that no client left a response cut short."""
        self._stopping = stopping
        self.read_on: Callable[[], bool] | None = None
        self._left_at: float | None = None
        self.outcome: Outcome | None = None
        self._tracer = tracer
        self.capture_policy, otlp_mode = _restricted(capture_policy, options)
        self.method = method
        self.started = perf_counter()
        self.started_ns = time_ns()
        self.chat_id = ""
        self.waited = 0.0
        self.within = 0.0
        self._accepting: float | None = None  # the seconds of overhead before the first attempt
        self.attempts = 0
        self._retries = 0
        self.rate_limited = False
        self._last: Attempt | None = None
        self._route: Route | None = None
        self._body: bytes | None = None
        self._chat_request: ChatRequest | None = None
        self._request_attributes: dict[str, Any] | None = None
        self._tokens: dict[str, int] = {}
        self.secrets = ExchangeSecrets(headers, target)
        attributes = span_attributes.of_client(method, target, headers, options, self.secrets)
        self.marks: dict[str, Any] = {} if otlp_mode is None else {CAPTURE_OTLP: otlp_mode}
        attributes |= self.marks
        self._attributes = attributes
        self._has_user = "user.id" in attributes
        parent = _propagator.extract(headers, Context(), _getter) if "traceparent" in headers else Context()
        self._continues = trace.get_current_span(parent).get_span_context().is_valid
        run = _of_run(attributes) if not self._continues else None
        if run is not None:
            parent = trace.set_span_in_context(trace.NonRecordingSpan(run), Context())
        self.span = tracer.start_span(
            f"{method} {attributes['url.path']}", parent, SpanKind.SERVER, attributes, start_time=self.started_ns
        )
        self.context = trace.set_span_in_context(self.span, Context())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the root span, with the outcome that was set or that the exception means."""
        outcome = self.outcome
        if outcome is None:
            outcome, last = outcomes.of_exception(error, stopping=self.stopping), self._last
            # Of a response that was cut short the client may have the head.
            if last is not None and last.outcome is not None and last.outcome.kind == outcome.kind:
                outcome = Outcome(outcome.kind, last.status, outcome.message)
        now = perf_counter()
        try:
            attributes = self._closing(outcome, now)
            self.secrets.scrub_attributes(attributes)
            self.span.set_attributes(attributes)
            clients_fault = outcome.status is not None and 400 <= outcome.status < 500
            if outcome.is_error and not clients_fault:
                self.span.set_status(StatusCode.ERROR, outcome.kind)
        except Exception:
            log.exception("an exchange's span is not complete")
        self.span.end(self.started_ns + int((now - self.started) * 1e9))
        # Without the cycle with its attempts, the body and the values are freed now, not by the garbage collector.
        self._last = self._body = None
        self.forget_request()

    @property
    def stopping(self) -> bool:
        """Whether the worker drains, so that no client left."""
        return self._stopping() and not self.abandoned

    @property
    def abandoned(self) -> bool:
        """Whether the client has left and the attempt is read on."""
        return self._left_at is not None

    def abandon(self) -> bool:
        """Note that the client has left; return whether the attempt is read on."""
        if not self.abandoned and self.read_on is not None and self.read_on():
            self._left_at = perf_counter()
        return self.abandoned

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
    def request(self) -> ChatRequest | None:
        """The request, read when it is first needed; None if its dialect is unknown or nothing is captured."""
        if self._chat_request is None and self._body is not None and self._route is not None and self._route.dialect:
            body = self._body
            if not self.large:
                self._body = None
            try:
                self._chat_request = self._route.dialect.read_request(body)
            except Exception:
                self._body = None
                log.exception("a request could not be read")
        return self._chat_request

    @property
    def large(self) -> bool:
        """Whether the request is read at the end of each attempt only, and the values are not held in between."""
        return self._body is not None and len(self._body) >= LARGE

    def forget_request(self) -> None:
        """Drop the values of the request; they are read again from the body if they are needed."""
        self._chat_request = self._request_attributes = None

    def _scrubbed(self, attributes: dict[str, Any]) -> dict[str, Any]:
        """Return a span's first attributes without the request's own keys, which it may repeat as a model or a user."""
        self.secrets.scrub_attributes(attributes)
        return attributes

    def add_keys(self, keys: tuple[str, ...]) -> None:
        """Add keys that the request brings as options, and remove them from the span so far."""
        if keys:
            self.secrets.add(keys)
            self.span.set_attributes(self._scrubbed(self._attributes))
            self.span.update_name(f"{self.method} {self._attributes['url.path']}")

    def set_chat_id(self, chat_id: str) -> None:
        """Set the id by which the client's API knows the exchange."""
        self.chat_id = chat_id
        self.span.set_attribute("gateway.chat.id", chat_id)

    def add_metadata(self, metadata: Metadata) -> None:
        """Add the metadata of the body to the span; a run in it becomes the span's parent."""
        attributes = self._scrubbed(span_attributes.of_metadata(metadata))
        self._has_user = self._has_user or "user.id" in attributes
        self.span.set_attributes(attributes)
        run = _of_run(attributes) if not self._continues else None
        if run is not None:
            self._tracer.move(self.span, run)
            self.context = trace.set_span_in_context(self.span, Context())

    def set_route(
        self, route: Route, body: bytes | None, keys: tuple[str, ...], *, request: ChatRequest | None = None
    ) -> None:
        """Set the route of the next attempt, the decoded body to record, and the keys of ours to redact.

        `request`: the body, if it has been read already.
        """
        first = self._route is None
        self._route = route
        self.secrets.add(keys)
        if first and self.capture_policy.reads:
            self._body = body
            self._chat_request = None if self.large else request

    def attempt(self, reason: str, backoff: float, route: Route | None = None) -> Attempt:
        """Begin the next attempt. `backoff`: seconds waited before it. `route`: if it is not the exchange's."""
        route = route or self._route
        if route is None:
            raise RuntimeError("an exchange is routed before it is attempted")
        self._last = Attempt(self, route, self.attempts, reason, backoff)
        if self._accepting is None:
            self._accepting = self._last.started - self.started - self.waited
        self.attempts += 1
        self._retries += span_attributes.is_retry(reason)
        return self._last

    @property
    def retries(self) -> int:
        """The number of attempts made because another one had failed."""
        return self._retries

    def set_winner(self, attempt: Attempt, route: Route) -> None:
        """Set which of the attempts made at once is relayed to the client."""
        self._last, self._route = attempt, route

    def start_attempt_span(self, name: str, attributes: dict[str, Any], started_ns: int) -> trace.Span:
        """Start the span of an attempt, a child of ours."""
        attributes = self._scrubbed(attributes) | self.marks
        name = self.secrets.scrub_name(name)
        return self._tracer.start_span(name, self.context, SpanKind.CLIENT, attributes, start_time=started_ns)

    def request_attributes(self) -> dict[str, Any]:
        """Return the attributes of the request, which are the same for each attempt."""
        if self._request_attributes is None:
            request = self.request
            self._request_attributes = (
                {} if request is None else span_attributes.of_request(request, self.capture_policy)
            )
        return self._request_attributes

    async def waiting(self, awaitable: Awaitable[T]) -> T:
        """Await the client or a provider, and count the time as waiting, not as overhead."""
        before = perf_counter()
        try:
            return await awaitable
        finally:
            self.waited += perf_counter() - before

    def scrub(self, text: str) -> str:
        """Redact this exchange's keys in a text, such as an error that repeats the request."""
        return self.secrets.scrub(text)

    def account(self, usage: Mapping[str, Any]) -> None:
        """Add an attempt's tokens to the exchange's."""
        for name in _TOTALS:
            tokens = usage.get(f"gen_ai.usage.{name}")
            own = f"gateway.usage.{name}"
            if tokens is not None and (total := count(self._tokens.get(own, 0) + tokens)) is not None:
                self._tokens[own] = total

    def _closing(self, outcome: Outcome, now: float) -> dict[str, Any]:
        overhead = now - self.started - self.waited
        accepting = overhead if self._accepting is None else self._accepting
        attributes: dict[str, Any] = {
            "gateway.outcome": outcome.kind,
            "gateway.attempts": self.attempts,
            "gateway.retries": self._retries,
            "gateway.rate_limited": self.rate_limited,
            "gateway.overhead_us": int(overhead * 1e6),
            # Its phases: these two, and those of each attempt.
            "gateway.overhead.accept_us": int(accepting * 1e6),
            "gateway.overhead.record_us": int(max(0.0, overhead - accepting - self.within) * 1e6),
        }
        if self._left_at is not None:
            attributes["gateway.drained_ms"] = round((now - self._left_at) * 1000, 3)
        status, error = outcome.status, outcome.message
        if status is not None:
            attributes["http.response.status_code"] = status
        route, last = self._route, self._last
        if outcome.kind != OK and last is not None:
            error = error or last.error
        if error:
            attributes["gateway.error"] = self.scrub(error)
        if outcome.is_error:
            attributes["error.type"] = str(status) if status and status >= 400 else outcome.error_type or outcome.kind
        if route is not None:
            attributes |= span_attributes.of_route(route)
        if last is not None:
            attributes["gateway.stream"] = last.streamed
            if last.response_model:
                attributes["gateway.response.model"] = last.response_model
            if last.usage_source:
                attributes["gateway.usage.source"] = last.usage_source
        if self._chat_request is not None and self._chat_request.user and not self._has_user:
            attributes["user.id"] = self.scrub(self._chat_request.user)
        attributes.update(self._tokens)
        return attributes
