"""The attempts of an exchange, one after another until one is relayed or the policy says stop. One span per attempt.

The loop only does; whom to ask, whether to try again and when is `course`, which does nothing. Where an attempt's first
byte is late another may be made beside it (hedging): who answers first is relayed, the other one is given up.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine
from time import monotonic, perf_counter, time
from typing import Any

from aiohttp import web
from msgspec import Struct, structs

from gateway.dialects.conversation import ChatResponse
from gateway.dialects.endpoint import ResponseRewriter
from gateway.errors import ExchangeError, Kind, kind_of_status
from gateway.providers.groq import recovered
from gateway.providers.http.client import Client, Response
from gateway.proxy.error_response import Failed, relay_failure, send_recovered
from gateway.proxy.headers import lower
from gateway.proxy.relay import relay
from gateway.proxy.routing.retry import Ended, Stop, retry_after
from gateway.proxy.routing.schedule import AttemptSchedule, ScheduledAttempt
from gateway.proxy.translation import plain, rewritten
from gateway.proxy.upstream import Body, Signer, open_response
from gateway.proxy.upstream_request import Plan, Planner
from gateway.tracing import attributes as seen
from gateway.tracing.attempt import CLIENT_ABORT, HEDGE_LOST, Attempt
from gateway.tracing.exchange import Exchange
from gateway.tracing.response_reader import ResponseReader
from gateway.tracing.secrets import provider_secrets

# An error body up to this is read whole before it is decided on; a larger one is relayed as it comes.
ERROR_BODY_MAX = 1024 * 1024

_KINDS = {kind.value: kind for kind in Kind}


class _Opened(Struct, frozen=True, kw_only=True):
    """An attempt whose response may be passed on: its head has come, and it is no error that could be mended.

    `recovered`: the answer, where an error had it.
    """

    step: ScheduledAttempt
    plan: Plan
    attempt: Attempt
    response: Response
    body: Body
    tee: ResponseReader
    coding: str
    recovered: ChatResponse | None = None


class _Missed(Struct, frozen=True, kw_only=True):
    """An attempt that failed while another one is still possible. `plan`: None where it could not be planned."""

    step: ScheduledAttempt
    plan: Plan | None
    failed: Failed


class Attempts:
    """Makes the attempts of one exchange."""

    def __init__(
        self,
        request: web.Request,
        client: Client,
        signer: Signer,
        planner: Planner,
        course: AttemptSchedule,
        exchange: Exchange,
        decoded: bytes | None,
    ) -> None:
        self._request = request
        self._client = client
        self._signer = signer
        self._planner = planner
        self._course = course
        self._exchange = exchange
        self._decoded = decoded

    async def answer(self, rng: random.Random) -> web.StreamResponse:
        """Answer the client's request by as many attempts as the policy allows.

        Raises ExchangeError where the only candidate cannot be told what the client asks for: nothing was sent then.
        """
        course, exchange = self._course, self._exchange
        step = course.begin(monotonic())
        try:
            while True:
                if step.wait:
                    await exchange.waiting(asyncio.sleep(step.wait))
                outcome = await self._tried(step)
                if not isinstance(outcome, _Missed):
                    return outcome
                then = course.failed(outcome.step, _ended(outcome.failed), monotonic(), rng.random())
                if isinstance(then, Stop):
                    return await relay_failure(
                        self._request, outcome.failed, outcome.plan, self._planner.endpoint, exchange
                    )
                step = then
        finally:
            course.over()

    async def _tried(self, step: ScheduledAttempt) -> web.StreamResponse | _Missed:
        """Make one attempt, or two where the first is late, and relay what comes."""
        opened = await (self._open(step) if step.late is None else self._hedged(step, step.late))
        if isinstance(opened, _Missed):
            return opened
        attempt = opened.attempt
        if attempt.first_byte is not None:
            self._course.answered(opened.step, attempt.first_byte)
        try:
            response = await self._pass_on(opened)
        except ExchangeError as error:  # before anything was passed on
            return self._missed(opened.step, opened.plan, attempt, Failed(kind=error.kind, error=error))
        except BaseException:  # the client left, though it may have been when all had come
            self._note(opened)
            raise
        finally:
            opened.response.abort()
        self._note(opened)
        return response

    def _note(self, opened: _Opened) -> None:
        """Note how an attempt ended, where it has come to an end of its own."""
        if opened.attempt.outcome not in {None, CLIENT_ABORT}:
            self._course.note(opened.step, _KINDS.get(opened.attempt.outcome or ""), monotonic())

    async def _open(self, step: ScheduledAttempt, begun: Callable[[Attempt], None] | None = None) -> _Opened | _Missed:
        """Send once, and return the response once its head is here; or how it failed. `begun`: told of the attempt."""
        exchange = self._exchange
        model = step.candidate.model
        try:
            plan = self._planner.plan(step.provider, model)
        except ExchangeError as error:
            if len(self._course.candidates) == 1:
                raise
            # What was asked is known of this attempt too, though nothing is sent.
            route = self._planner.unplanned(step.provider, model)
            exchange.routed(route, self._decoded, provider_secrets(step.provider))
            attempt = exchange.attempt(step.reason, step.wait)
            self._course.left(step)
            return self._missed(step, None, attempt, Failed(kind=error.kind, error=error))
        read = None if plan.translation is None else plan.translation.asked
        exchange.routed(plan.route, self._decoded, provider_secrets(step.provider), asked=read)
        attempt = exchange.attempt(step.reason, step.wait)
        if begun is not None:
            attempt.apart = 0.0
            begun(attempt)
        upstream: Response | None = None
        opened: _Opened | _Missed | None = None
        try:
            # What was asked is read for the trace while the provider thinks.
            asyncio.get_running_loop().call_soon(exchange.request_attributes)
            upstream = await self._sent(plan, attempt)
            opened = await self._headed(step, plan, attempt, upstream)
        except ExchangeError as error:
            return self._missed(step, plan, attempt, Failed(kind=error.kind, error=error))
        finally:
            if upstream is not None and not isinstance(opened, _Opened):
                upstream.abort()
        return opened

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
    ) -> _Opened | _Missed:
        """Look at a response's head; the body of an error is read, as far as it is small."""
        exchange = self._exchange
        headers = lower(upstream.headers)
        coding = headers.get("content-encoding", "")
        tee = attempt.head(upstream.status, content_type=headers.get("content-type", ""), coding=coding)
        body = Body(upstream, plan.route.provider, plan.deadlines, attempt)
        opened = _Opened(step=step, plan=plan, attempt=attempt, response=upstream, body=body, tee=tee, coding=coding)
        kind = kind_of_status(upstream.status)
        error_body = await body.whole(ERROR_BODY_MAX) if kind is not None else None
        if kind is None or error_body is None:
            return opened
        tee.feed(error_body)
        text = plain(error_body, coding)
        attempt.span.set_attributes(seen.of_error_body(text, exchange.secrets, exchange.capture_policy))
        if plan.route.provider.recovers and (answered := recovered(text)) is not None:
            return structs.replace(opened, recovered=answered)
        return self._missed(step, plan, attempt, Failed(kind=kind, response=upstream, body=error_body))

    async def _pass_on(self, opened: _Opened) -> web.StreamResponse:
        """Give the client the response."""
        plan, tee = opened.plan, opened.tee
        if opened.recovered is not None:
            return await send_recovered(
                self._request, plan, self._exchange, opened.attempt, opened.response, opened.recovered
            )
        withhold = plan.withhold_usage if tee.streamed and not opened.coding else None
        reply: ResponseRewriter | None = None
        if plan.translation is not None:
            opened.attempt.dropped(plan.translation.dropped)
            reply = plan.translation.reply(tee, opened.coding, time())
        if 200 <= opened.response.status < 300:
            reply = rewritten(plan.route, self._exchange, tee, opened.coding, reply, time())
        usage_filter = None if withhold is None else withhold()
        return await relay(self._request, opened.body, plan.route, self._exchange, opened.attempt, usage_filter, reply)

    def _missed(self, step: ScheduledAttempt, plan: Plan | None, attempt: Attempt, failed: Failed) -> _Missed:
        attempt.end(failed.kind, failed.error.message if failed.error is not None else None)
        return _Missed(step=step, plan=plan, failed=failed)

    async def _hedged(self, step: ScheduledAttempt, late: float) -> _Opened | _Missed:
        """Send once, and once more where no first byte comes in time; return what answers first, or a failure."""
        exchange = self._exchange
        waited, before = exchange.waited, perf_counter()
        racers = [_Racer(step, self._open)]
        outcome: _Opened | _Missed | None = None
        try:
            outcome = await self._raced(racers, late)
        finally:
            await self._given_up(racers, beaten=isinstance(outcome, _Opened))
            exchange.waited = waited + perf_counter() - before  # both waited, at the same time
        if isinstance(outcome, _Opened):
            exchange.won(outcome.attempt, outcome.plan.route)
            outcome.attempt.waited_so_far()
        return outcome

    async def _raced(self, racers: list["_Racer"], late: float) -> _Opened | _Missed:
        """Wait for the first of `racers`, and for a second where it is late; what is left in the list has lost."""
        course, first = self._course, racers[0]
        if not await first.done_within(late) and (beside := course.hedge(first.step, monotonic())) is not None:
            racers.append(_Racer(beside, self._open))
        while True:
            first = await _first_of(racers)
            racers.remove(first)
            outcome = first.task.result()
            if isinstance(outcome, _Opened) or not racers:
                return outcome
            ended = _ended(outcome.failed)
            course.note(outcome.step, ended.kind, monotonic(), ended.retry_after)

    async def _given_up(self, racers: list["_Racer"], *, beaten: bool) -> None:
        """Cancel attempts. `beaten`: another one has won, and what is known of these is that they were slower."""
        for racer in racers:
            racer.task.cancel()
        for racer in racers:
            lost = await racer.given_up(beaten=beaten)
            if isinstance(lost, _Opened):
                lost.response.abort()
            if isinstance(lost, _Missed):
                self._course.note(lost.step, lost.failed.kind, monotonic())
            elif beaten and racer.attempt is not None:
                self._course.answered(racer.step, perf_counter() - racer.attempt.started)
            self._course.left(racer.step)


class _Racer:
    """One of the attempts that are made at once."""

    def __init__(
        self,
        step: ScheduledAttempt,
        opening: Callable[[ScheduledAttempt, Callable[[Attempt], None]], Coroutine[Any, Any, _Opened | _Missed]],
    ) -> None:
        self.step = step
        self.attempt: Attempt | None = None
        self.task = asyncio.get_running_loop().create_task(opening(self.step, self._begun))

    def _begun(self, attempt: Attempt) -> None:
        self.attempt = attempt

    async def done_within(self, seconds: float) -> bool:
        """Wait for it, but no longer than that; say whether it is done."""
        return bool((await asyncio.wait({self.task}, timeout=seconds))[0])

    async def given_up(self, *, beaten: bool) -> _Opened | _Missed | None:
        """Wait until it has been cancelled, and return what had come of it. `beaten`: its span says that."""
        await asyncio.wait({self.task})
        if beaten and self.attempt is not None:
            self.attempt.end(HEDGE_LOST)
        failed = self.task.cancelled() or self.task.exception() is not None
        return None if failed else self.task.result()


async def _first_of(racers: list[_Racer]) -> _Racer:
    await asyncio.wait({racer.task for racer in racers}, return_when=asyncio.FIRST_COMPLETED)
    return next(racer for racer in racers if racer.task.done())


def _ended(failed: Failed) -> Ended:
    """Say how an attempt ended, in the policy's words."""
    if failed.response is None:
        return Ended(kind=failed.kind, retry_after=None, relayed=False, should_retry=None)
    headers = lower(failed.response.headers)
    told = {"true": True, "false": False}.get(headers.get("x-should-retry", ""))
    # The rate limits' reset times come with any response; they are the reason to wait only where a limit was hit.
    wait = retry_after(headers, time(), resets=failed.kind is Kind.RATE_LIMIT)
    return Ended(kind=failed.kind, retry_after=wait, relayed=False, should_retry=told)
