"""Answers in place of a relayed response: the last failure, or the response inside a provider's error."""

from math import ceil
from time import time

from aiohttp import web
from msgspec import Struct, structs

from gateway.dialects.conversation import ChatRequest, ChatResponse
from gateway.dialects.endpoint import Endpoint, ErrorWrapper
from gateway.dialects.registry import TABLES, WRITERS
from gateway.dialects.shared.failure import NOTHING, Failure
from gateway.dialects.shared.reported_error import ResponseFailure
from gateway.dialects.shared.writer import write_whole
from gateway.errors import ExchangeError, Kind
from gateway.providers.http.client import Response
from gateway.proxy.answer import Answer, Relayed, dropped_header, extra_headers
from gateway.proxy.headers import lower
from gateway.proxy.routing.retry import Ended, retry_after
from gateway.proxy.translation import Translation, facts, plain, translate_error, write_error
from gateway.proxy.upstream import STALE_CONNECTION
from gateway.proxy.upstream_request import Plan
from gateway.semconv import CHAT
from gateway.tracing import outcome as outcomes
from gateway.tracing.attempt import Attempt
from gateway.tracing.exchange import Exchange
from gateway.tracing.outcome import OK, Outcome
from gateway.tracing.secrets import ExchangeSecrets


class Stray(Struct, frozen=True):
    """A request that is no exchange: the API in whose form it is refused, the error, and headers to add."""

    endpoint: Endpoint
    error: ExchangeError
    headers: dict[str, str] = {}


# Statuses of errors that SDKs send again by themselves (`_should_retry` of openai 3.57 and anthropic 2.14); also 5xx.
_SENT_AGAIN = frozenset({408, 409, 429})
# Claude Code gives up if it is to wait for longer than a minute.
_LONGEST_WAIT = 60


class Failed(Struct, frozen=True, kw_only=True):
    """A failed attempt: our error, or the provider's whole error response.

    Attributes:
        in_body: Facts in the response's body that decide on further attempts.
        reported: The failure that a response with a status of success reports.
        streamed: Whether that response is a stream.

    """

    kind: Kind
    error: ExchangeError | None = None
    response: Response | None = None
    body: bytes = b""
    in_body: Failure = NOTHING
    reported: ResponseFailure | None = None
    streamed: bool = False

    @property
    def outcome(self) -> Outcome:
        """The attempt's outcome."""
        if self.reported is not None:
            return Outcome(self.kind.value, None, self.reported.message, self.reported.type)
        return Outcome(self.kind.value, None, self.error.message if self.error is not None else None)

    def ended(self, now: float) -> Ended:
        """Return the failure as the retry policy needs it. `now`: seconds since the epoch."""
        if self.response is None:
            return Ended(kind=self.kind, stale=self.error is not None and self.error.code == STALE_CONNECTION)
        headers = lower(self.response.headers)
        should_retry = {"true": True, "false": False}.get(headers.get("x-should-retry", ""))
        # The rate limits' reset times come with any response; they are the reason to wait only after a rate limit.
        wait = retry_after(headers, now, resets=self.kind is Kind.RATE_LIMIT, in_body=self.in_body.wait)
        return Ended(kind=self.kind, retry_after=wait, should_retry=should_retry)


def recovered_answer(
    plan: Plan, exchange: Exchange, attempt: Attempt, upstream: Response, response: ChatResponse
) -> Answer:
    """Answer with the response that a provider's error has in it."""
    translation, route = plan.translation, plan.route
    request = translation.request if translation is not None else exchange.request or ChatRequest(operation=CHAT)
    request = structs.replace(request, model=request.model or route.model, stream=route.stream or request.stream)
    client = WRITERS.get(route.client_dialect or "", WRITERS[TABLES.default.dialect])
    client = client if translation is None else translation.client
    content_type, body = write_whole(client, request, response, time())
    if route.endpoint.rewrite_whole is not None:
        body = route.endpoint.rewrite_whole(body, facts(exchange, route), request.stream)
    attempt.recovered = response
    attempt.outcome = Outcome(OK)
    extra = extra_headers(exchange, streamed=request.stream)
    if translation is not None:
        attempt.dropped(translation.dropped)
        extra |= dropped_header(translation.dropped)
    head = Relayed(upstream, extra, content_type=content_type, status=200)
    return Answer(outcome=Outcome(OK, 200), response=head, last=body)


def failure_answer(
    failure: Failed, plan: Plan | None, endpoint: Endpoint, exchange: Exchange, *, hopeless: bool
) -> Answer:
    """Answer with the last failure: the provider's own bytes if it answered, else an error of ours.

    `hopeless`: no attempt failed in a way that may pass. Then `x-should-retry: false` stops an SDK that would send the
    request again. After any other failure the client's own retries, which go on for longer, are of use.
    """
    extra = extra_headers(exchange, streamed=failure.streamed)
    dropped = plan.translation.dropped if plan is not None and plan.translation is not None else ()
    extra |= dropped_header(dropped)
    upstream = failure.response
    if upstream is None or plan is None:
        return error_answer(
            failure.error or ExchangeError(failure.kind, "The attempt failed."), endpoint, exchange, extra
        )
    status, body = upstream.status, failure.body
    rewrites = plan.route.endpoint.wrap_error is not None or plan.translation is not None
    if rewrites and failure.reported is not None:
        status, extra = failure.reported.status, extra_headers(exchange, streamed=False) | dropped_header(dropped)
    if hopeless and failure.kind.fact.final and (status in _SENT_AGAIN or status >= 500):
        extra["x-should-retry"] = "false"
    content_type: str | None = "application/json"
    if (wrap := plan.route.endpoint.wrap_error) is not None:
        body = _wrapped(failure, upstream, plan, wrap, exchange)
    elif plan.translation is not None:
        status, body = _translated(failure, upstream, plan.translation, exchange)
        extra |= plan.route.endpoint.error_headers(failure.kind, status)
    else:
        content_type = None
    if content_type is not None and (wait := failure.in_body.wait) is not None and not failure.kind.fact.final:
        # The body that has the wait is not the client's.
        extra["Retry-After"] = str(min(ceil(wait), _LONGEST_WAIT))
    response = Relayed(upstream, extra, content_type=content_type, status=status)
    return Answer(outcome=Outcome(failure.kind.value, status), response=response, last=body)


def _translated(failure: Failed, upstream: Response, translation: Translation, exchange: Exchange) -> tuple[int, bytes]:
    """Return the provider's error in the client's dialect: its status and its body."""
    if failure.reported is not None:
        status, message, word = failure.reported.status, failure.reported.message, failure.reported.type
        return write_error(translation, failure.kind, status, exchange.scrub(message), word, exchange.trace_id)
    coding = lower(upstream.headers).get("content-encoding", "")
    return translate_error(
        translation, failure.kind, upstream.status, failure.body, coding, exchange.trace_id, exchange.scrub
    )


def _wrapped(failure: Failed, upstream: Response, plan: Plan, wrap: ErrorWrapper, exchange: Exchange) -> bytes:
    """Return an error body of the endpoint's that has the provider's within it."""
    text = plain(failure.body, lower(upstream.headers).get("content-encoding", ""))
    reader = plan.route.upstream_reader
    reported = reader.read_response(text).error_message if reader is not None else None
    if failure.reported is not None:
        reported = failure.reported.message
        if failure.kind in {Kind.PARSING, Kind.CLOSED}:  # the body is no error of the provider's
            error = ExchangeError(failure.kind, exchange.scrub(reported))
            return plan.route.endpoint.error_body(error, exchange.trace_id)
    message = f"The provider {plan.route.provider.name!r} answered {upstream.status}"
    message += f": {reported}" if reported else "."
    return wrap(failure.kind, exchange.scrub(message), exchange.scrub(text.decode("utf-8", "replace")))


def error_answer(
    error: ExchangeError, endpoint: Endpoint, exchange: Exchange, extra: dict[str, str] | None = None
) -> Answer:
    """Answer with an error of our own, in the client's dialect."""
    headers = extra or extra_headers(exchange, streamed=False)
    headers |= endpoint.error_headers(error.kind, error.status)
    text = ExchangeError(error.kind, exchange.scrub(error.message), status=error.status, code=error.code)
    response = web.Response(
        status=error.status,
        body=endpoint.error_body(text, exchange.trace_id),
        content_type="application/json",
        headers=headers,
    )
    return Answer(outcome=outcomes.of_error(error), response=response)


def unrecorded(request: web.Request, stray: Stray) -> web.Response:
    """Return the refusal of a request that is no exchange, and has neither a span nor a trace id."""
    endpoint, error = stray.endpoint, stray.error
    secrets = ExchangeSecrets(request.headers, request.raw_path)
    text = ExchangeError(error.kind, secrets.scrub(error.message), status=error.status, code=error.code)
    return web.Response(
        status=error.status,
        body=endpoint.error_body(text, ""),
        content_type="application/json",
        headers=endpoint.error_headers(error.kind, error.status) | stray.headers,
    )
