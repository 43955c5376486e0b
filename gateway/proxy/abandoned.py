"""Attempts whose client has left, read on for the usage in the provider's last bytes.

Without this a client that leaves cancels the request upstream, and its tokens are estimated. With `[usage]
drain_seconds`, and always for an API that reads every response to its end (chronicle's), the attempt goes on without
the client: nothing is written to it, no other attempt is made, and the outcome is `client_abort`.
"""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from gateway.errors import ExchangeError
from gateway.proxy.answer import Answer
from gateway.tracing.exchange import Exchange

log = logging.getLogger("gateway.proxy")

ATTEMPTS_MAX = 200
"""Attempts that one worker reads on at once; the client that leaves then cancels its request as ever."""


class Abandoned:
    """The attempts of one worker whose clients have left. Each is an owned task, which `cancel` ends.

    Attributes:
        total: The number of attempts that have been read on so far.

    """

    def __init__(self) -> None:
        self.total = 0
        self._stopped = False
        self._reading: set[asyncio.Task[Answer]] = set()
        self._handlers: set[asyncio.Task[Any]] = set()

    def __repr__(self) -> str:
        return f"<Abandoned active={self.active} total={self.total}>"

    @property
    def active(self) -> int:
        """The number of attempts that are read on."""
        return len(self._reading)

    async def answer(self, work: Coroutine[Any, Any, Answer], exchange: Exchange, seconds: float | None) -> Answer:
        """Return the answer of an exchange's attempts, which go on for `seconds` once the client has left.

        `seconds`: None if the attempt's own deadlines suffice. If the client has left, CancelledError is raised once
        the attempts have ended.
        """
        task, handler = asyncio.get_running_loop().create_task(work), asyncio.current_task()
        exchange.read_on = lambda: self._begin(task, handler, seconds)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if not exchange.abandon():
                task.cancel()
            answer = await _ended(task)
            if answer is not None and not exchange.abandoned:  # it was whole before the client left
                exchange.outcome = answer.outcome
            raise
        finally:
            exchange.read_on = None

    def cancel(self) -> None:
        """Cancel all that is read on, and read nothing on from now on."""
        self._stopped = True
        for task in self._reading:
            task.cancel()

    async def ended(self) -> None:
        """Wait, after `cancel`, until the spans of the exchanges have ended."""
        if self._handlers:
            await asyncio.wait(self._handlers)

    def _begin(self, task: asyncio.Task[Answer], handler: asyncio.Task[Any] | None, seconds: float | None) -> bool:
        """Read an attempt on from now on; return whether it is. `handler`: the task that ends the exchange's span."""
        if self._stopped or task.done() or len(self._reading) >= ATTEMPTS_MAX:
            return False
        self.total += 1
        self._reading.add(task)
        task.add_done_callback(self._reading.discard)
        if seconds is not None:
            timer = asyncio.get_running_loop().call_later(seconds, task.cancel)
            task.add_done_callback(lambda _: timer.cancel())
        if handler is not None:
            self._handlers.add(handler)
            handler.add_done_callback(self._handlers.discard)
        return True


async def _ended(task: asyncio.Task[Answer]) -> Answer | None:
    """Wait for the end of attempts whose answer is not sent; return it, without what it still held, if there is one."""
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:  # the worker stops
            task.cancel()
    if task.cancelled():
        return None
    if (error := task.exception()) is not None:
        if not isinstance(error, (ConnectionError, ExchangeError)):
            log.error("an attempt failed in the gateway after its client had left", exc_info=error)
        return None
    answer = task.result()
    if answer.rest is not None:
        answer.rest.response.abort()
    return answer
