"""How an exchange is answered where nothing could be relayed: the last failure, or what an error had in it."""

from time import time

from aiohttp import web
from msgspec import Struct, structs

from gateway.dialects.conversation import ChatRequest, ChatResponse
from gateway.dialects.registry import WRITERS
from gateway.errors import ExchangeError, Kind
from gateway.providers.http.client import Response
from gateway.providers.route import Family
from gateway.proxy import error_bodies
from gateway.proxy.chronicle import errors, responses
from gateway.proxy.headers import lower
from gateway.proxy.relay import Relayed, dropped_header, extra_headers
from gateway.proxy.translation import Translation, plain, told, translate_error
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
    client = translation.client if translation is not None else WRITERS[route.client_dialect or "openai-chat"]
    content_type, body = told(client, asked, answered, time())
    if route.family == "chronicle":
        body = responses.finished(body, responses.meta_of(exchange, route), streamed=asked.stream)
    attempt.recovered = answered
    extra = extra_headers(exchange, streamed=asked.stream)
    if translation is not None:
        attempt.dropped(translation.dropped)
        extra |= dropped_header(translation.dropped)
    exchange.end(attempt.end(OK), 200)
    return await _sent(request, Relayed(upstream, extra, content_type=content_type, status=200), body)


async def relay_failure(
    request: web.Request, failure: Failed, plan: Plan | None, family: Family, exchange: Exchange
) -> web.StreamResponse:
    """Give the client the last failure: the provider's own bytes where it answered, else an error of ours.

    Where we have tried again ourselves, the client's SDK is told not to, so that its retries do not multiply ours.
    """
    extra = extra_headers(exchange, streamed=False)
    if plan is not None and plan.translation is not None:
        extra |= dropped_header(plan.translation.dropped)
    if exchange.attempts > 1:
        extra["x-should-retry"] = "false"
    if failure.response is not None and plan is not None and plan.route.family == "chronicle":
        return await _tell_chronicle(request, failure, failure.response, plan, exchange, extra)
    if failure.response is not None and plan is not None and plan.translation is not None:
        return await _tell(request, failure, failure.response, plan, plan.translation, exchange, extra)
    if failure.response is not None:
        exchange.end(failure.kind.value, failure.response.status)
        return await _sent(request, Relayed(failure.response, extra), failure.body)
    error = failure.error or ExchangeError(failure.kind, "The attempt failed.")
    exchange.end(error.kind.value, error.status, error.message)
    return await send_error(request, error, family, exchange, extra)


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
    extra |= error_bodies.headers(failure.kind, status, plan.route.family)
    return await _sent(request, Relayed(answered, extra, content_type="application/json", status=status), body)


async def _tell_chronicle(
    request: web.Request,
    failure: Failed,
    answered: Response,
    plan: Plan,
    exchange: Exchange,
    extra: dict[str, str],
) -> web.StreamResponse:
    """Tell a client of chronicle's of the provider's error, whose body it gets within ours."""
    text = plain(failure.body, lower(answered.headers).get("content-encoding", ""))
    heard = plan.route.upstream_reader
    said = heard.read_response(text).error_message if heard is not None else None
    message = f"The provider {plan.route.provider.name!r} answered {answered.status}" + (f": {said}" if said else ".")
    body = errors.providers(failure.kind, exchange.scrub(message), exchange.scrub(text.decode("utf-8", "replace")))
    exchange.end(failure.kind.value, answered.status)
    return await _sent(request, Relayed(answered, extra, content_type="application/json"), body)


async def _sent(request: web.Request, response: Relayed, body: bytes) -> web.StreamResponse:
    await response.prepare(request)
    await response.write_eof(body)
    return response


async def send_error(
    request: web.Request,
    error: ExchangeError,
    family: Family,
    exchange: Exchange,
    extra: dict[str, str] | None = None,
) -> web.StreamResponse:
    """Answer with an error of our own, in the client's dialect. The exchange has ended before."""
    exchange.end(error.kind.value, error.status, error.message)
    headers = extra or extra_headers(exchange, streamed=False)
    headers |= error_bodies.headers(error.kind, error.status, family)
    text = ExchangeError(error.kind, exchange.scrub(error.message), status=error.status, code=error.code)
    response = web.Response(
        status=error.status,
        body=error_bodies.body(text, family, exchange.trace_id),
        content_type="application/json",
        headers=headers,
    )
    await response.prepare(request)
    await response.write_eof()
    return response
