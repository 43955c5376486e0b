"""How an exchange is answered where nothing could be relayed: the last failure, or what an error had in it."""

from time import time

from aiohttp import web
from msgspec import Struct, structs

from gateway.dialects.conversation import ChatRequest, ChatResponse
from gateway.dialects.endpoint import Endpoint, ErrorWrapper
from gateway.dialects.registry import TABLES, WRITERS
from gateway.dialects.shared.synthesize_stream import write_whole
from gateway.errors import ExchangeError, Kind
from gateway.providers.http.client import Response
from gateway.proxy.headers import lower
from gateway.proxy.relay import Relayed, dropped_header, extra_headers
from gateway.proxy.translation import Translation, facts, plain, translate_error
from gateway.proxy.upstream_request import Plan
from gateway.semconv import CHAT
from gateway.tracing.attempt import OK, Attempt
from gateway.tracing.exchange import Exchange


class Failed(Struct, frozen=True, kw_only=True):
    """A failed attempt: our error, or the provider's whole error response."""

    kind: Kind
    error: ExchangeError | None = None
    response: Response | None = None
    body: bytes = b""


async def send_recovered(
    request: web.Request, plan: Plan, exchange: Exchange, attempt: Attempt, upstream: Response, answered: ChatResponse
) -> web.StreamResponse:
    """Give the client the response that a provider's error has in it."""
    translation, route = plan.translation, plan.route
    asked = translation.asked if translation is not None else exchange.asked or ChatRequest(operation=CHAT)
    asked = structs.replace(asked, model=asked.model or route.model, stream=route.stream or asked.stream)
    client = translation.client if translation is not None else WRITERS[route.client_dialect or TABLES.default.dialect]
    content_type, body = write_whole(client, asked, answered, time())
    if route.endpoint.rewrite_whole is not None:
        body = route.endpoint.rewrite_whole(body, facts(exchange, route), asked.stream)
    attempt.recovered = answered
    extra = extra_headers(exchange, streamed=asked.stream)
    if translation is not None:
        attempt.dropped(translation.dropped)
        extra |= dropped_header(translation.dropped)
    exchange.end(attempt.end(OK), 200)
    return await _sent(request, Relayed(upstream, extra, content_type=content_type, status=200), body)


async def relay_failure(
    request: web.Request, failure: Failed, plan: Plan | None, endpoint: Endpoint, exchange: Exchange
) -> web.StreamResponse:
    """Give the client the last failure: the provider's own bytes where it answered, else an error of ours.

    Where we have tried again ourselves, the client's SDK is told not to, so that its retries do not multiply ours.
    """
    extra = extra_headers(exchange, streamed=False)
    if plan is not None and plan.translation is not None:
        extra |= dropped_header(plan.translation.dropped)
    if exchange.attempts > 1:
        extra["x-should-retry"] = "false"
    wrap = plan.route.endpoint.wrap_error if plan is not None else None
    if failure.response is not None and plan is not None and wrap is not None:
        return await _send_wrapped(request, failure, failure.response, plan, wrap, exchange, extra)
    if failure.response is not None and plan is not None and plan.translation is not None:
        return await _tell(request, failure, failure.response, plan, plan.translation, exchange, extra)
    if failure.response is not None:
        exchange.end(failure.kind.value, failure.response.status)
        return await _sent(request, Relayed(failure.response, extra), failure.body)
    error = failure.error or ExchangeError(failure.kind, "The attempt failed.")
    exchange.end(error.kind.value, error.status, error.message)
    return await send_error(request, error, endpoint, exchange, extra)


async def _tell(
    request: web.Request,
    failure: Failed,
    answered: Response,
    plan: Plan,
    translation: Translation,
    exchange: Exchange,
    extra: dict[str, str],
) -> web.StreamResponse:
    """Tell a client of another dialect of the provider's error."""
    coding = lower(answered.headers).get("content-encoding", "")
    status, body = translate_error(
        translation, failure.kind, answered.status, failure.body, coding, exchange.trace_id, exchange.scrub
    )
    exchange.end(failure.kind.value, status)
    extra |= plan.route.endpoint.error_headers(failure.kind, status)
    return await _sent(request, Relayed(answered, extra, content_type="application/json", status=status), body)


async def _send_wrapped(
    request: web.Request,
    failure: Failed,
    answered: Response,
    plan: Plan,
    wrap: ErrorWrapper,
    exchange: Exchange,
    extra: dict[str, str],
) -> web.StreamResponse:
    """Answer with the provider's error inside an error of the endpoint's."""
    text = plain(failure.body, lower(answered.headers).get("content-encoding", ""))
    heard = plan.route.upstream_reader
    said = heard.read_response(text).error_message if heard is not None else None
    message = f"The provider {plan.route.provider.name!r} answered {answered.status}" + (f": {said}" if said else ".")
    body = wrap(failure.kind, exchange.scrub(message), exchange.scrub(text.decode("utf-8", "replace")))
    exchange.end(failure.kind.value, answered.status)
    return await _sent(request, Relayed(answered, extra, content_type="application/json"), body)


async def _sent(request: web.Request, response: Relayed, body: bytes) -> web.StreamResponse:
    await response.prepare(request)
    await response.write_eof(body)
    return response


async def send_error(
    request: web.Request,
    error: ExchangeError,
    endpoint: Endpoint,
    exchange: Exchange,
    extra: dict[str, str] | None = None,
) -> web.StreamResponse:
    """Answer with an error of our own, in the client's dialect. The exchange has ended before."""
    exchange.end(error.kind.value, error.status, error.message)
    headers = extra or extra_headers(exchange, streamed=False)
    headers |= endpoint.error_headers(error.kind, error.status)
    text = ExchangeError(error.kind, exchange.scrub(error.message), status=error.status, code=error.code)
    response = web.Response(
        status=error.status,
        body=endpoint.error_body(text, exchange.trace_id),
        content_type="application/json",
        headers=headers,
    )
    await response.prepare(request)
    await response.write_eof()
    return response
