"""The attempts of an exchange, one after another until one is relayed or the retry policy stops. One span per attempt.

The schedule decides which candidate is next, and when. If an attempt's first byte is late another one
may be made beside it (`hedging`): the first to be answered is relayed, the other one is cancelled.
"""

import asyncio
import random
from collections.abc import Callable
from contextlib import ExitStack
from time import monotonic, perf_counter, time

import msgspec
from aiohttp import web
from msgspec import structs

from gateway.dialects.endpoint import ResponseRewriter
from gateway.dialects.registry import failure_in
from gateway.dialects.wire.content_coding import worth_reading
from gateway.errors import ExchangeError, Kind, kind_of_status
from gateway.providers.groq import recovered
from gateway.providers.http.client import Client, Response
from gateway.providers.route import Route
from gateway.proxy.answer import Answer
from gateway.proxy.error_response import Failed, failure_answer, recovered_answer
from gateway.proxy.headers import lower
from gateway.proxy.hedging import Missed, Opened, race
from gateway.proxy.relay import relay
from gateway.proxy.routing.context import RequestContext
from gateway.proxy.routing.retry import Stop
from gateway.proxy.routing.schedule import AttemptSchedule, ScheduledAttempt
from gateway.proxy.translation import plain, rewritten
from gateway.proxy.upstream import Body, Signer, open_response
from gateway.proxy.upstream_request import Plan, plan
from gateway.tracing import attributes as span_attributes
from gateway.tracing.attempt import Attempt
from gateway.tracing.exchange import Exchange
from gateway.tracing.secrets import provider_secrets

# An error body up to this size is read whole before the next step is decided; a larger one is relayed as it comes. So
# is a body that may have an error in it in spite of its status.
ERROR_BODY_MAX = 1024 * 1024
# Seconds for the event after one without content: some APIs announce each response before they may fail.
_NEXT_EVENT_SECONDS = 0.1
# Seconds for the rest of a stream that began with an error.
_REST_SECONDS = 1.0
# Statuses of responses that have a body of their own dialect.
_WITH_BODY = frozenset({200, 201, 202, 203})

_KINDS = {kind.value: kind for kind in Kind}


class Attempts:
    """Makes the attempts of one exchange."""

    def __init__(
        self,
        request: web.Request,
        context: RequestContext,
        schedule: AttemptSchedule,
        exchange: Exchange,
        client: Client,
        signer: Signer,
    ) -> None:
        self._request = request
        self._context = context
        self._schedule = schedule
        self._exchange = exchange
        self._client = client
        self._signer = signer
        self._last: Plan | None = None
        self._last_route: Route | None = None
        self._recorded = context.decoded
        if self._recorded and not worth_reading(self._recorded):
            exchange.span.set_attribute("gateway.request.unread", "too large")
            self._recorded = None

    async def answer(self, rng: random.Random) -> Answer:
        """Answer the client's request by as many attempts as the policy allows.

        Raises ExchangeError if the only candidate cannot be sent what the client asks for: nothing was sent then.
        """
        schedule, exchange = self._schedule, self._exchange
        step = schedule.begin(monotonic())
        sent: Missed | None = None
        try:
            while True:
                if step.wait:
                    await self._back_off(step.wait)
                result = await self._attempted(step)
                if isinstance(result, Answer):
                    return result
                # A provider's own failure is the client's answer, and no refusal of a candidate after it.
                sent = result if result.plan is not None else sent
                then = schedule.failed(result.step, result.failed.ended(time()), monotonic(), rng.random())
                if isinstance(then, Stop):
                    endpoint, last = self._context.path.endpoint, sent or result
                    return failure_answer(last.failed, last.plan, endpoint, exchange, hopeless=schedule.hopeless)
                step = then
        finally:
            schedule.over()

    async def _back_off(self, seconds: float) -> None:
        """Wait before the next attempt; if the client leaves meanwhile there is none to be read on."""
        exchange = self._exchange
        read_on, exchange.read_on = exchange.read_on, None
        await exchange.waiting(asyncio.sleep(seconds))
        exchange.read_on = read_on

    async def _attempted(self, step: ScheduledAttempt) -> Answer | Missed:
        """Make one attempt, or two if the first is late, and relay the response up to its last bytes."""
        schedule, exchange = self._schedule, self._exchange
        opened = await (
            self._open(step) if step.late is None else race(step, step.late, self._open, schedule, exchange)
        )
        if isinstance(opened, Missed):
            return opened
        attempt = opened.attempt
        schedule.answered(opened.step, opened.seconds or attempt.first_byte or 0.0)
        with opened.span:
            try:
                answer = await self._relayed(opened)
            except ExchangeError as error:  # before anything was relayed
                opened.response.abort()
                return _missed(opened.step, opened.plan, attempt, Failed(kind=error.kind, error=error))
            except BaseException:
                opened.response.abort()
                raise
        if answer.rest is None:
            opened.response.abort()
        kind = None if attempt.outcome is None else _KINDS.get(attempt.outcome.kind)
        schedule.note(opened.step, kind, monotonic())
        return answer

    async def _open(self, step: ScheduledAttempt, begun: Callable[[Attempt], None] | None = None) -> Opened | Missed:
        """Send once and return the response once its head is here; or the failure. `begun` is given the attempt."""
        exchange, route = self._exchange, structs.replace(_route(step), provider=step.provider)
        if exchange.abandoned:
            raise ConnectionResetError("the client left, and no other attempt is made without it")
        try:
            plan = self._plan(step, route)
        except ExchangeError as error:
            if len(self._schedule.candidates) == 1:
                raise
            # The span has the request, though nothing is sent.
            exchange.set_route(route, self._recorded, provider_secrets(step.provider))
            self._schedule.left(step)
            with exchange.attempt(step.reason, step.wait) as attempt:
                return _missed(step, None, attempt, Failed(kind=error.kind, error=error))
        read = None if plan.translation is None else plan.translation.request
        exchange.set_route(plan.route, self._recorded, provider_secrets(step.provider), request=read)
        with ExitStack() as span:
            attempt = span.enter_context(exchange.attempt(step.reason, step.wait))
            if begun is not None:
                attempt.apart = 0.0
                begun(attempt)
            if not exchange.large:  # the request is read for the trace while the provider works
                asyncio.get_running_loop().call_soon(exchange.request_attributes)
            try:
                upstream = await self._sent(plan, attempt)
                span.callback(upstream.abort)
                result = await self._headed(step, plan, attempt, upstream)
            except ExchangeError as error:
                return _missed(step, plan, attempt, Failed(kind=error.kind, error=error))
            if isinstance(result, Opened):
                span.pop_all()
                result.span.push(attempt)
            return result

    def _plan(self, step: ScheduledAttempt, route: Route) -> Plan:
        """Return what is sent on a route; a retry sends the same again. Raises ExchangeError if that cannot be sent."""
        if step.candidate.refusal is not None:
            raise step.candidate.refusal
        if self._last is None or self._last_route != route:
            self._last, self._last_route = plan(self._context, route), route
        return self._last

    async def _sent(self, plan: Plan, attempt: Attempt) -> Response:
        exchange, provider = self._exchange, plan.route.provider
        before = perf_counter()
        try:
            return await open_response(self._client, self._signer, plan.route, plan.request, plan.deadlines)
        finally:
            attempt.waited += perf_counter() - before
            if provider.signs(plan.route.upstream_dialect):
                exchange.secrets.add(self._signer.secrets)

    async def _headed(
        self, step: ScheduledAttempt, plan: Plan, attempt: Attempt, upstream: Response
    ) -> Opened | Missed:
        """Look at a response's head; the body of an error is read, as far as it is small."""
        exchange = self._exchange
        headers = lower(upstream.headers)
        coding = headers.get("content-encoding", "")
        reader = attempt.head(
            upstream.status, content_type=headers.get("content-type", ""), coding=coding, headers=headers
        )
        body = Body(upstream, plan.route.provider, plan.deadlines, attempt)
        opened = Opened(step=step, plan=plan, attempt=attempt, response=upstream, body=body, coding=coding)
        kind = kind_of_status(upstream.status)
        error_body = await body.whole(ERROR_BODY_MAX) if kind is not None else None
        if kind is None:
            failed = await self._peek(opened)
            return opened if failed is None else _missed(step, plan, attempt, failed)
        if error_body is None:
            return opened
        reader.feed(error_body)
        reader.finish()
        text = plain(error_body, coding)
        attempt.span.set_attributes(span_attributes.of_error_body(text, exchange.secrets, exchange.capture_policy))
        if plan.route.provider.recovers and (response := recovered(text)) is not None:
            return structs.replace(opened, recovered=response)
        in_body = failure_in(text)
        if in_body.exhausted and upstream.status < 500:
            kind = Kind.CREDITS
        failed = Failed(kind=kind, response=upstream, body=error_body, in_body=in_body)
        return _missed(step, plan, attempt, failed)

    async def _peek(self, opened: Opened) -> Failed | None:
        """Read a successful response up to its first content, or a small body whole; return the failure it reports.

        The head waits for it too, but not for longer than a moment once an event has come. Signs of life, which keep a
        client from giving up, are relayed at once.
        """
        reader, body, begun, size = opened.attempt.reader, opened.body, opened.begun, 0
        status = opened.response.status
        while status in _WITH_BODY and reader.reads and not body.complete and size <= ERROR_BODY_MAX:
            if data := await body.read():
                reader.feed(data)
                begun.append(data)
                size += len(data)
            if reader.first_output or reader.ended or (reader.idle and body.waiting):
                break
            if reader.begun and not (body.complete or await body.comes_within(_NEXT_EVENT_SECONDS)):
                break
        opened.seconds = perf_counter() - opened.attempt.started
        if status not in _WITH_BODY or not reader.reads or size > ERROR_BODY_MAX:
            return None
        if body.complete:
            reader.finish()
        failure = reader.failure(complete=body.complete)
        if failure is None:
            return None
        kind, reported = failure
        if reader.streamed:
            await self._read_rest(opened)
        data = b"".join(begun)
        text = plain(data, opened.coding)
        exchange = self._exchange
        read = reader.response()
        if read is not None and (read.error_type or read.error_message):  # else the body is content, if anything
            opened.attempt.span.set_attributes(
                span_attributes.of_error_body(text, exchange.secrets, exchange.capture_policy)
            )
        in_body = failure_in(text if not reader.streamed else msgspec.json.encode({"error": structs.asdict(reported)}))
        if in_body.exhausted and reported.status < 500:
            kind = Kind.CREDITS
        exchange.rate_limited = exchange.rate_limited or kind is Kind.RATE_LIMIT
        return Failed(
            kind=kind,
            response=opened.response,
            body=data,
            in_body=in_body,
            reported=reported,
            streamed=reader.streamed,
        )

    async def _read_rest(self, opened: Opened) -> None:
        """Read the rest of a stream that began with an error: little follows, and soon."""
        size = 0
        try:
            async with asyncio.timeout(_REST_SECONDS):
                while not opened.body.complete and size < ERROR_BODY_MAX:
                    data = await opened.body.read()
                    opened.begun.append(data)
                    size += len(data)
        except (TimeoutError, ExchangeError):
            opened.response.abort()

    async def _relayed(self, opened: Opened) -> Answer:
        """Give the client the response, up to its last bytes."""
        plan, attempt, exchange = opened.plan, opened.attempt, self._exchange
        reader = attempt.reader
        if opened.recovered is not None:
            return recovered_answer(plan, exchange, attempt, opened.response, opened.recovered)
        withhold = plan.withhold_usage if reader.streamed and not opened.coding else None
        reply: ResponseRewriter | None = None
        if plan.translation is not None:
            attempt.dropped(plan.translation.dropped)
            reply = plan.translation.reply(reader, opened.coding, time())
        if 200 <= opened.response.status < 300:
            reply = rewritten(plan.route, exchange, reader, opened.coding, reply, time())
        usage_filter = None if withhold is None else withhold()
        begun = b"".join(opened.begun)
        opened.begun.clear()
        return await relay(self._request, opened.body, plan.route, exchange, attempt, usage_filter, reply, begun=begun)


def _missed(step: ScheduledAttempt, plan: Plan | None, attempt: Attempt, failed: Failed) -> Missed:
    attempt.outcome = failed.outcome
    return Missed(step=step, plan=plan, failed=failed)


def _route(step: ScheduledAttempt) -> Route:
    if step.candidate.route is None:
        raise RuntimeError("a candidate is routed before it is attempted")
    return step.candidate.route
