"""The retry loop: one attempt after another until one is relayed or the policy says stop. One span per attempt.

The loop only does; whether to try again, where and when is `retry.next_step`, a pure function.
"""

import asyncio
import random
from time import perf_counter, time

from aiohttp import web
from msgspec import Struct, structs

from gateway import attributes as seen
from gateway import error_bodies
from gateway.dialects.conversation import Answered, Asked
from gateway.dialects.openai_chat import UsageFilter
from gateway.dialects.registry import WRITERS
from gateway.errors import ExchangeError, Kind, kind_of_status
from gateway.headers import lower, secrets_in
from gateway.planning import Plan
from gateway.providers.groq import recovered
from gateway.recording import OK, Attempt, Exchange
from gateway.relay import Relayed, dropped_header, extra_headers, relay
from gateway.retry import Again, Ended, next_step, retry_after
from gateway.routing import Family
from gateway.semconv import CHAT
from gateway.translation import Translation, plain, told, translate_error
from gateway.upstream import Body, Signer, open_response
from gateway.wire import Client, Response

# An error body up to this is read whole before it is decided on; a larger one is relayed as it comes.
ERROR_BODY_MAX = 1024 * 1024


class _Failed(Struct, frozen=True, kw_only=True):
    """A failed attempt: our error, or the provider's whole error response."""

    kind: Kind
    error: ExchangeError | None = None
    response: Response | None = None
    body: bytes = b""


async def answer(
    request: web.Request, client: Client, signer: Signer, plan: Plan, exchange: Exchange, rng: random.Random
) -> web.StreamResponse:
    """Answer the client's request by as many attempts as the policy allows."""
    reason, wait, tries = "first", 0.0, 0
    while True:
        attempt = exchange.attempt(reason, wait)
        tries += 1
        outcome = await _try_once(request, client, signer, plan, exchange, attempt)
        if not isinstance(outcome, _Failed):
            return outcome
        attempt.end(outcome.kind, outcome.error.message if outcome.error is not None else None)
        step = next_step(
            _ended(outcome),
            tries=tries,
            candidate=0,
            candidates=1,
            start=0,
            policy=plan.policy,
            jitter=rng.random(),
        )
        if not isinstance(step, Again):
            return await _give_up(request, outcome, plan, exchange)
        reason, wait = step.reason, step.wait
        if wait:
            await exchange.waiting(asyncio.sleep(wait))


async def _try_once(
    request: web.Request, client: Client, signer: Signer, plan: Plan, exchange: Exchange, attempt: Attempt
) -> web.StreamResponse | _Failed:
    """Send once; relay what comes, or say how it failed while another try is still possible."""
    upstream: Response | None = None
    try:
        # What was asked is read for the trace while the provider thinks.
        asyncio.get_running_loop().call_soon(exchange.request_attributes)
        before = perf_counter()
        try:
            upstream = await open_response(client, signer, plan.route, plan.request, plan.deadlines)
        finally:
            exchange.waited += perf_counter() - before
            if plan.route.provider.signs(plan.route.understood):
                exchange.keys.ours = (*secrets_in(plan.route.provider), *signer.secrets)
        headers = lower(upstream.headers)
        coding = headers.get("content-encoding", "")
        tee = attempt.head(upstream.status, content_type=headers.get("content-type", ""), coding=coding)
        body = Body(upstream, plan.route.provider, plan.deadlines, exchange)
        kind = kind_of_status(upstream.status)
        if kind is not None:
            error_body = await body.whole(ERROR_BODY_MAX)
            if error_body is not None:
                tee.feed(error_body)
                attempt.span.set_attributes(
                    seen.of_error_body(plain(error_body, coding), exchange.keys.all, exchange.capture)
                )
                if plan.route.provider.recovers and (answered := recovered(plain(error_body, coding))) is not None:
                    return await _recover(request, plan, exchange, attempt, upstream, answered)
                return _Failed(kind=kind, response=upstream, body=error_body)
        usage_filter = UsageFilter() if plan.asked_usage and tee.streamed and not coding else None
        reply = None
        if plan.translation is not None:
            attempt.dropped(plan.translation.dropped)
            reply = plan.translation.reply(tee, coding, time())
        return await relay(request, body, plan.route, exchange, attempt, usage_filter, reply)
    except ExchangeError as error:
        return _Failed(kind=error.kind, error=error)
    finally:
        if upstream is not None:
            upstream.abort()


async def _recover(
    request: web.Request, plan: Plan, exchange: Exchange, attempt: Attempt, upstream: Response, answered: Answered
) -> web.StreamResponse:
    """Give the client the response that a provider's error has in it."""
    translation, route = plan.translation, plan.route
    asked = translation.asked if translation is not None else exchange.asked or Asked(operation=CHAT)
    asked = structs.replace(asked, model=asked.model or route.model, stream=route.stream or asked.stream)
    client = translation.client if translation is not None else WRITERS[route.spoken or "openai-chat"]
    content_type, body = told(client, asked, answered, time())
    attempt.recovered = answered
    extra = extra_headers(exchange, streamed=asked.stream)
    if translation is not None:
        attempt.dropped(translation.dropped)
        extra |= dropped_header(translation.dropped)
    exchange.end(attempt.end(OK), 200)
    response = Relayed(upstream, extra, content_type=content_type, status=200)
    await response.prepare(request)
    await response.write_eof(body)
    return response


def _ended(failure: _Failed) -> Ended:
    """Say how an attempt ended, in the policy's words."""
    if failure.response is None:
        return Ended(kind=failure.kind, retry_after=None, relayed=False, should_retry=None)
    headers = lower(failure.response.headers)
    told = {"true": True, "false": False}.get(headers.get("x-should-retry", ""))
    # The rate limits' reset times come with any response; they are the reason to wait only where a limit was hit.
    wait = retry_after(headers, time(), resets=failure.kind is Kind.RATE_LIMIT)
    return Ended(kind=failure.kind, retry_after=wait, relayed=False, should_retry=told)


async def _give_up(request: web.Request, failure: _Failed, plan: Plan, exchange: Exchange) -> web.StreamResponse:
    """Give the client the last failure: the provider's own bytes where it answered, else an error of ours.

    Where we have tried again ourselves, the client's SDK is told not to, so that its retries do not multiply ours.
    """
    extra = extra_headers(exchange, streamed=False)
    if plan.translation is not None:
        extra |= dropped_header(plan.translation.dropped)
    if exchange.attempts > 1:
        extra["x-should-retry"] = "false"
    if failure.response is not None and plan.translation is not None:
        return await _tell(request, failure, failure.response, plan, plan.translation, exchange, extra)
    if failure.response is not None:
        exchange.end(failure.kind.value, failure.response.status)
        response = Relayed(failure.response, extra)
        await response.prepare(request)
        await response.write_eof(failure.body)
        return response
    error = failure.error or ExchangeError(failure.kind, "The attempt failed.")
    exchange.end(error.kind.value, error.status, error.message)
    return await refuse(request, error, plan.route.family, exchange, extra)


async def _tell(
    request: web.Request,
    failure: _Failed,
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
    response = Relayed(answered, extra, content_type="application/json", status=status)
    await response.prepare(request)
    await response.write_eof(body)
    return response


async def refuse(
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
