"""Two attempts at once: a second one beside a first whose first byte is late. The first to be answered is relayed."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from time import monotonic, perf_counter, time
from typing import Any

from msgspec import Struct, field

from gateway.dialects.conversation import ChatResponse
from gateway.providers.http.client import Response
from gateway.proxy.error_response import Failed
from gateway.proxy.routing.schedule import AttemptSchedule, ScheduledAttempt
from gateway.proxy.upstream import Body
from gateway.proxy.upstream_request import Plan
from gateway.tracing import outcome as outcomes
from gateway.tracing.attempt import Attempt
from gateway.tracing.exchange import Exchange
from gateway.tracing.outcome import HEDGE_LOST, Outcome


class Opened(Struct, kw_only=True):
    """An attempt whose response may be relayed: its head has come, and it is no error that another attempt could mend.

    Attributes:
        span: Ends the attempt's span when it is left.
        recovered: The response that an error's body has in it.
        begun: The bytes of the body that were read, and fed to the reader, to see whether the response fails at once.
        seconds: Seconds until then.

    """

    step: ScheduledAttempt
    plan: Plan
    attempt: Attempt
    response: Response
    body: Body
    coding: str
    span: ExitStack = field(default_factory=ExitStack)
    recovered: ChatResponse | None = None
    begun: list[bytes] = field(default_factory=list)
    seconds: float = 0.0


class Missed(Struct, frozen=True, kw_only=True):
    """An attempt that failed while another one is still possible. `plan`: None if no request could be made for it."""

    step: ScheduledAttempt
    plan: Plan | None
    failed: Failed


Open = Callable[[ScheduledAttempt, Callable[[Attempt], None]], Coroutine[Any, Any, Opened | Missed]]


async def race(
    step: ScheduledAttempt, late: float, open_attempt: Open, schedule: AttemptSchedule, exchange: Exchange
) -> Opened | Missed:
    """Send once, and once more after `late` seconds without a first byte; return the first response, or a failure."""
    waited, before = exchange.waited, perf_counter()
    racers = [_Racer(step, open_attempt)]
    result: Opened | Missed | None = None
    try:
        result = await _first_opened(racers, late, open_attempt, schedule, exchange)
    finally:
        for racer in racers:
            racer.cancel(beaten=isinstance(result, Opened))
        for racer in racers:
            await _cancelled(racer, schedule, exchange, beaten=isinstance(result, Opened))
        exchange.waited = waited + perf_counter() - before  # both waited, at the same time
    if isinstance(result, Opened):
        exchange.set_winner(result.attempt, result.plan.route)
        result.attempt.waited_so_far()
    return result


async def _first_opened(
    racers: list["_Racer"], late: float, open_attempt: Open, schedule: AttemptSchedule, exchange: Exchange
) -> Opened | Missed:
    """Wait for the first of `racers`, and add a second if it is late; those left in the list have lost."""
    first = racers[0]
    late_and_wanted = not await first.done_within(late) and not exchange.abandoned
    if late_and_wanted and (beside := schedule.hedge(first.step, monotonic())) is not None:
        racers.append(_Racer(beside, open_attempt))
    while True:
        await asyncio.wait({racer.task for racer in racers}, return_when=asyncio.FIRST_COMPLETED)
        first = next(racer for racer in racers if racer.task.done())
        racers.remove(first)
        result = first.task.result()
        if isinstance(result, Opened) or not racers:
            return result
        schedule.note_failure(result.step, result.failed.ended(time()), monotonic())


async def _cancelled(racer: "_Racer", schedule: AttemptSchedule, exchange: Exchange, *, beaten: bool) -> None:
    """Wait until an attempt has been cancelled. `beaten`: another one won, so its slowness is noted."""
    await asyncio.wait({racer.task})
    failed = racer.task.cancelled() or racer.task.exception() is not None
    lost = None if failed else racer.task.result()
    if isinstance(lost, Opened):
        lost.response.abort()
        if lost.attempt.outcome is None:
            lost.attempt.outcome = outcomes.of_exception(asyncio.CancelledError(), stopping=exchange.stopping)
        lost.span.close()
    if isinstance(lost, Missed):
        schedule.note_failure(lost.step, lost.failed.ended(time()), monotonic())
    elif beaten and racer.attempt is not None:
        schedule.answered(racer.step, perf_counter() - racer.attempt.started)
    schedule.left(racer.step)


class _Racer:
    """One of the attempts that are made at once."""

    def __init__(self, step: ScheduledAttempt, open_attempt: Open) -> None:
        self.step = step
        self.attempt: Attempt | None = None
        self.task = asyncio.get_running_loop().create_task(open_attempt(step, self._begun))

    def _begun(self, attempt: Attempt) -> None:
        self.attempt = attempt

    async def done_within(self, seconds: float) -> bool:
        """Wait for the attempt to be opened or to fail, for `seconds` at most; return whether it is."""
        return bool((await asyncio.wait({self.task}, timeout=seconds))[0])

    def cancel(self, *, beaten: bool) -> None:
        """Cancel the attempt. `beaten`: its span has that outcome, if it has no other one yet."""
        if beaten and self.attempt is not None and self.attempt.outcome is None:
            self.attempt.outcome = Outcome(HEDGE_LOST)
        self.task.cancel()
